"""The RetinaNet's speed beside torchvision's, on the same weights, in one run, post-processing and NMS included.

    python benchmarks/retinanet.py --device cuda               # 320, 512, 800 px; batch 1, 8, 32; eager and CUDA graphs
    python benchmarks/retinanet.py --device cuda --compile     # and torch.compile (minutes for each input shape)
    python benchmarks/retinanet.py                             # CPU: small sizes, ratios only
    python benchmarks/retinanet.py --device cuda --files 480   # and JPEG files in, boxes out (rendered mannequins)

Every party starts from uint8 pictures of the network's size in the CPU's memory, and ends with boxes there. Random
weights, set so that about a thousand anchors a picture pass the threshold: no speed depends on them otherwise. Each
round calls all parties in turn, one uncounted call before each counted one. On a GPU the machine's own roof is measured
first (a matrix product in bfloat16, a copy), and each speed is shown as a share of what the product alone would allow.
A row whose peer moved by more than 15 % between its quartiles is marked `~`. On a CPU absolute times drift with the
machine: only the ratios are shown there.

The guard beside each table is what the speed costs: ours in the device's precision against the same weights in float32,
unfolded, on the same pictures.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.anchors import anchors_for, decode_boxes
from detector.letterbox import Letterbox
from detector.normalise import Normalisation
from detector.preprocess import Prepared
from detector.retinanet import build_retinanet, fold_batch_norm, from_torchvision_state
from detector.retinanet_config import Preprocessing, torchvision_config
from detector.retinanet_predictor import RetinaNetPredictor
from detector.retinanet_runner import RetinaNetRunner
from detector.weights import save_weights

MANNEQUINS = Path(__file__).resolve().parent.parent / "tests" / "data" / "mannequins"
CLASSES = 6
# Both sides: torchvision's defaults.
SETTINGS = {"score_thresh": 0.05, "nms_thresh": 0.5, "topk_candidates": 1000, "detections_per_img": 300}
# Anchors a picture whose score is to pass the threshold: what a trained network sends into the suppression, and more.
CANDIDATES = 1000
# As in benchmarks/speed.py: the peer's middle half may spread over this share of its median.
UNSTEADY = 0.15
# Side of the square matrices, and bytes of the copy, that the roof is measured with.
PRODUCT_SIDE, COPY_BYTES = 8192, 2**31


def pictures(side: int, batch: int) -> list[Prepared]:
    rng = np.random.default_rng(0)
    plan = Letterbox((side, side), (side, side))
    small = rng.integers(0, 256, (batch, side // 8, side // 8, 3), dtype=np.uint8)
    return [Prepared(np.ascontiguousarray(one.repeat(8, axis=0).repeat(8, axis=1)), plan) for one in small]


def torchvision_model(backbone: str, side: int) -> Any:
    """Build torchvision's RetinaNet as written; pictures of `side` go through its own transform unchanged in size."""
    torch.manual_seed(0)
    body = getattr(torchvision.models, backbone)(zero_init_residual=True)
    fpn = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    model = TorchvisionRetinaNet(fpn, num_classes=CLASSES, min_size=side, max_size=side, **SETTINGS).eval()
    with torch.inference_mode():
        for module in model.head.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
        images = torch.stack([torch.from_numpy(one.pixels) for one in pictures(min(side, 320), 2)])
        features = list(model.backbone(images.permute(0, 3, 1, 2).float() / 128 - 1).values())
        outputs = model.head(features)
        head = model.head.classification_head.cls_logits
        head.weight *= 1 / outputs["cls_logits"].std()
        model.head.regression_head.bbox_reg.weight *= 0.2 / outputs["bbox_regression"].std()
        logits = model.head(features)["cls_logits"] - head.bias[0]
        share = CANDIDATES * len(logits) / logits.numel()
        head.bias.fill_(np.log(SETTINGS["score_thresh"] / (1 - SETTINGS["score_thresh"])))
        head.bias -= logits.flatten().kthvalue(int(logits.numel() * (1 - share))).values
    return model


def our_model(backbone: str, peer: Any) -> Any:
    config = torchvision_config(backbone=backbone, num_classes=CLASSES, norm="batch", preprocessing=Preprocessing())
    model = build_retinanet(config)
    model.load_state_dict(from_torchvision_state(peer.state_dict()))
    return model.eval()


@torch.inference_mode()
def as_written(model: Any, batch: Sequence[Prepared], device: str) -> list[Any]:
    """Call torchvision's model as its documentation does."""
    images = [torch.from_numpy(one.pixels).to(device).permute(2, 0, 1).float() / 255 for one in batch]
    return [{key: value.cpu() for key, value in found.items()} for found in model(images)]


@torch.inference_mode()
def eager_bf16(model: Any, batch: Sequence[Prepared], device: str) -> list[Any]:
    """Run torchvision's parts in bfloat16 and channels_last; its post-processing in float32, as its NMS needs."""
    images = [torch.from_numpy(one.pixels).to(device).permute(2, 0, 1).float() / 255 for one in batch]
    stacked, _ = model.transform(images)
    tensors = stacked.tensors.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    features = list(model.backbone(tensors).values())
    outputs = {key: value.float() for key, value in model.head(features).items()}
    sizes = [(one.shape[2] * one.shape[3]) * 9 for one in features]
    anchors = model.anchor_generator(ImageList(tensors.float(), stacked.image_sizes), [one.float() for one in features])
    levels = {key: list(value.split(sizes, dim=1)) for key, value in outputs.items()}
    split = [list(one.split(sizes)) for one in anchors]
    found = model.postprocess_detections(levels, split, stacked.image_sizes)
    return [{key: value.cpu() for key, value in one.items()} for one in found]


def run_ours(runner: RetinaNetRunner, batches: Sequence[Sequence[Prepared]]) -> None:
    """Look at batches as the predictor does: one is computed while the next is launched."""
    under_way: deque[Any] = deque()
    for batch in batches:
        under_way.append(
            runner.launch(
                batch,
                score_thresh=[SETTINGS["score_thresh"]] * CLASSES,
                topk_candidates=int(SETTINGS["topk_candidates"]),
            )
        )
        if len(under_way) > 1:
            fetch(runner, under_way.popleft())
    while under_way:
        fetch(runner, under_way.popleft())


def fetch(runner: RetinaNetRunner, launched: Any) -> None:
    runner.fetch(launched, nms_thresh=SETTINGS["nms_thresh"], detections_per_img=int(SETTINGS["detections_per_img"]))


def network_call(
    network: Callable[..., Any],
    batch: Sequence[Prepared],
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    layout: torch.memory_format = torch.contiguous_format,
) -> Callable[[], None]:
    """Return a call of the network alone, on an input that is there: the rest is pre- and post-processing."""
    side = batch[0].plan.network_size[0]
    images = torch.randn(len(batch), 3, side, side, device=device, dtype=dtype).contiguous(memory_format=layout)

    @torch.inference_mode()
    def call() -> None:
        network(images)
        if device == "cuda":
            torch.cuda.synchronize()

    return call


def compare(parties: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time all parties in turn; return each one's seconds. Each ends with a result on the CPU, or waits itself."""
    times: dict[str, list[float]] = {name: [] for name in parties}
    for _ in range(rounds):
        for name, call in parties.items():
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def summary(times: list[float], peer: list[float], count: int) -> dict[str, float]:
    ratios = [a / b for a, b in zip(peer, times, strict=True)]
    return {
        "pictures_per_second": count / statistics.median(times),
        "ms": 1000 * statistics.median(times),
        "ratio": statistics.median(peer) / statistics.median(times),
        "p10": statistics.quantiles(ratios, n=10)[0] if len(ratios) > 1 else ratios[0],
    }


def roof(device: str) -> dict[str, float]:
    """Measure what the machine gives at best: TFLOP/s of a product in bfloat16, GB/s of a copy (read and written)."""

    def best(call: Callable[[], Any], rounds: int = 10) -> float:
        seconds = []
        for _ in range(rounds + 3):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(5):
                call()
            torch.cuda.synchronize()
            seconds.append((time.perf_counter() - start) / 5)
        return min(seconds[3:])

    a = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device=device, dtype=torch.bfloat16)
    b = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device=device, dtype=torch.bfloat16)
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return {
        "tflops": 2 * PRODUCT_SIDE**3 / best(lambda: torch.mm(a, b)) / 1e12,
        "copy_gb_s": 2 * COPY_BYTES / best(lambda: target.copy_(source)) / 1e9,
    }


def flops(backbone: str, side: int) -> float:
    """Count the FLOP of one picture (2 x multiply-add), from the shapes alone."""
    with torch.device("meta"):
        model = build_retinanet(torchvision_config(backbone=backbone, num_classes=CLASSES, norm="batch")).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, 3, side, side))
    return float(counter.get_total_flops())


@torch.inference_mode()
def guard(reference: Any, runner: RetinaNetRunner, batch: Sequence[Prepared]) -> dict[str, float]:
    """Compare ours with float32, unfolded: scores of all anchors, boxes of those that pass the threshold."""
    side = batch[0].plan.network_size[0]
    config = reference.config
    pixels = torch.stack([torch.from_numpy(one.pixels) for one in batch[:2]])
    limits = torch.full((len(pixels), 4), float(side))
    normal = Normalisation(config.preprocessing, torch.device("cpu"), torch.float32)(pixels, limits)
    logits, deltas = reference(normal)
    ours = [part.float().cpu() for part in runner._network(normal.to(device=runner.device, dtype=runner.dtype))]
    anchors = anchors_for(config, (side, side))
    passed = (logits.sigmoid() >= SETTINGS["score_thresh"]).any(dim=2)
    boxes = [decode_boxes(one[passed], anchors.repeat(len(pixels), 1, 1)[passed], config) for one in (deltas, ours[1])]
    off = (boxes[0] - boxes[1]).abs().amax(dim=1)
    return {
        "score_max": float((logits.sigmoid() - ours[0].sigmoid()).abs().max()),
        "box_px_median": float(off.median()),
        "box_px_max": float(off.max()),
        "candidates": float(passed.sum() / len(pixels)),
    }


def parties_for(arguments: argparse.Namespace, side: int, batch: int) -> tuple[dict[str, Any], Any, RetinaNetRunner]:
    """Return the calls, the float32 reference, and the runner that the guard looks at."""
    device = arguments.device
    some = pictures(side, batch)
    # Four batches in a row, so that the overlap of launch and fetch shows; all parties get the same four.
    batches = [some] * 4 if device == "cuda" and batch > 1 else [some]
    peer = torchvision_model(arguments.backbone, side)
    reference = our_model(arguments.backbone, peer)
    plain = RetinaNetRunner(our_model(arguments.backbone, peer), device=device)
    peer = peer.to(device)
    parties = {"torchvision as written": lambda: [as_written(peer, one, device) for one in batches]}
    if device == "cpu":
        eager = our_model(arguments.backbone, peer)
        folded = fold_batch_norm(our_model(arguments.backbone, peer))
        parties["network alone, eager"] = network_call(eager, some)
        parties["network alone, folded"] = network_call(folded, some)
        parties["network alone, folded, channels_last"] = network_call(plain._network, some, layout=torch.channels_last)
    else:
        half = torchvision_model(arguments.backbone, side)
        half = half.to(device=device, dtype=torch.bfloat16, memory_format=torch.channels_last)
        parties["torchvision eager bf16 channels_last"] = lambda: [eager_bf16(half, one, device) for one in batches]
        graphs = RetinaNetRunner(our_model(arguments.backbone, peer), device=device, cuda_graphs=True)
        parties["ours, CUDA graphs"] = lambda: run_ours(graphs, batches)
        alone = network_call(plain._network, some, device=device, dtype=plain.dtype, layout=torch.channels_last)
        parties["network alone, eager bf16, folded"] = lambda: [alone() for _ in batches]
        if arguments.compile:
            compiled = RetinaNetRunner(
                our_model(arguments.backbone, peer),
                device=device,
                compile_mode="max-autotune-no-cudagraphs",
                cuda_graphs=True,
            )
            parties["ours, compiled, CUDA graphs"] = lambda: run_ours(compiled, batches)
    parties["ours"] = lambda: run_ours(plain, batches)
    arguments.count = len(batches) * batch
    return parties, reference, plain


def show(side: int, batch: int, found: dict[str, Any], cuda: bool) -> None:
    print(f"\n{side} x {side}, batch {batch}" + ("" if found["steady"] else "   ~ the peer was not steady"))
    for name, row in found["rows"].items():
        absolute = f"{row['pictures_per_second']:9.1f} /s {row['ms']:9.2f} ms" if cuda else ""
        share = f"  {row['share_of_roof']:6.1%} of the roof" if "share_of_roof" in row else ""
        print(f"  {name:40s}{absolute}  x {row['ratio']:.2f} (10th percentile {row['p10']:.2f}){share}")
    print("  guard: " + ", ".join(f"{key} {value:.3g}" for key, value in found["guard"].items()))


def files(arguments: argparse.Namespace, peer: Any) -> float:
    """Return pictures/s of JPEG files in, boxes out: decoding, resizing, the network, NMS."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        save_weights(path, our_model(arguments.backbone, peer))
        options = {"cuda_graphs": True} if arguments.device == "cuda" else {}
        model = RetinaNetPredictor.from_file(path, device=arguments.device, **options)
    paths = sorted(MANNEQUINS.glob("*.jpg"))
    many = [str(paths[i % len(paths)]) for i in range(arguments.files)]
    model.detect(many)
    start = time.perf_counter()
    model.detect(many)
    return len(many) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="resnet101")
    parser.add_argument("--sizes", type=int, nargs="+", help="sides, pixels; multiples of 32")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads on the CPU")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--files", type=int, default=0, help="how many JPEG files to look at, too")
    parser.add_argument("--json", type=Path, help="write all figures there")
    arguments = parser.parse_args()
    cuda = arguments.device == "cuda"
    sizes = arguments.sizes or ([320, 512, 800] if cuda else [128, 256])
    batches = arguments.batches or ([1, 8, 32] if cuda else [1, 4])
    rounds = arguments.rounds or (20 if cuda else 5)
    torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    report: dict[str, Any] = {"torch": torch.__version__, "machine": platform.machine(), "threads": arguments.threads}
    if cuda:
        report |= {"gpu": torch.cuda.get_device_name(), "roof": roof("cuda")}
        print(f"{report['gpu']}: {report['roof']['tflops']:.0f} TFLOP/s bf16, {report['roof']['copy_gb_s']:.0f} GB/s")
    for side in sizes:
        flop = flops(arguments.backbone, side)
        print(f"\n{arguments.backbone}, {side} px: {flop / 1e9:.0f} GFLOP a picture")
        for batch in batches:
            parties, reference, runner = parties_for(arguments, side, batch)
            times = compare(parties, rounds)
            peer = times["torchvision as written"]
            low, middle, high = statistics.quantiles(peer, n=4) if len(peer) > 1 else [peer[0]] * 3
            rows = {name: summary(seconds, peer, arguments.count) for name, seconds in times.items()}
            if cuda:
                for row in rows.values():
                    row["share_of_roof"] = row["pictures_per_second"] * flop / (report["roof"]["tflops"] * 1e12)
            found = {
                "rows": rows,
                "steady": high - low <= UNSTEADY * middle,
                "guard": guard(reference, runner, pictures(side, batch)),
                "peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
            }
            report[f"{side} x {batch}"] = found
            show(side, batch, found, cuda)
    if arguments.files:
        report["files_per_second"] = files(arguments, torchvision_model(arguments.backbone, 512))
        print(f"\nJPEG files in, boxes out: {report['files_per_second']:.1f} /s")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
