"""A step of training beside torchvision's RetinaNet on the same pictures and boxes, in one run: pictures/s and memory.

    python benchmarks/training.py                                         # CPU: ResNet-18 at 128 px, ratios only
    python benchmarks/training.py --device cuda --backbone resnet101 --side 512 --batch 16 32

Both: forward, focal and box losses, backward, clipped gradients, SGD with momentum. Ours also keeps the moving average
of its weights. On a GPU ours is in bfloat16 and channels_last; torchvision is shown as written and under autocast. Each
round calls all in turn. On a CPU absolute times drift with the machine: only the ratio is shown there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.retinanet import build_retinanet
from detector.training.config import load_config
from detector.training.dataset import Batch
from detector.training.distributed import Group
from detector.training.engine import Engine

CLASSES, PARTS = 6, 4


def make_batch(side: int, count: int) -> Batch:
    """Return noise with `PARTS` boxes a picture: no speed depends on what is shown."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 4, side, side), generator=random, dtype=torch.uint8)
    images[:, 3] = 1
    targets = []
    for _ in range(count):
        corner = torch.rand(PARTS, 2, generator=random) * side * 0.6
        boxes = torch.cat([corner, corner + side * (0.1 + 0.2 * torch.rand(PARTS, 2, generator=random))], dim=1)
        labels = torch.randint(0, CLASSES, (PARTS,), generator=random)
        targets.append({"boxes": boxes, "labels": labels, "ignore": torch.zeros(0, 4)})
    return Batch(images, targets)


def ours(backbone: str, side: int, batch: Batch, device: torch.device) -> Callable[[], None]:
    size = f"data.image_size=[{side}, {side}]"
    config = load_config(
        f"configs/retinanet_{backbone.replace('resnet', 'r')}.toml",
        [size, f"model.preprocessing.long_side={side}", "train.sync_bn=false", "train.lr=1e-5"],
    )
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model, group = build_retinanet(config.model), Group(device=device)
    engine = Engine(model=model, config=config, group=group, total=10_000, dtype=dtype)
    return lambda: engine.step(0, batch) and None


def theirs(backbone: str, side: int, batch: Batch, device: torch.device, *, autocast: bool) -> Callable[[], None]:
    body = getattr(torchvision.models, backbone)()
    fpn = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    model = TorchvisionRetinaNet(fpn, num_classes=CLASSES, min_size=side, max_size=side).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        moved = batch.to(device)
        images: list[Tensor] = [one[:3].float() / 255 for one in moved.images]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            losses: dict[str, Tensor] = model(images, moved.targets)
        loss = torch.stack(list(losses.values())).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        loss.item()

    return step


def measure(parties: dict[str, Callable[[], None]], rounds: int, device: torch.device) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in parties}
    memory: dict[str, float] = {}
    for _ in range(rounds):
        for name, call in parties.items():
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated() / 2**20
            times[name].append(time.perf_counter() - start)
    return {name: (statistics.median(times[name]), memory.get(name)) for name in parties}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backbone", default="resnet18", choices=("resnet18", "resnet50", "resnet101"))
    parser.add_argument("--side", type=int, default=128, help="pixels; a multiple of 32")
    parser.add_argument("--batch", type=int, nargs="+", default=[4])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        print(torch.cuda.get_device_name())
    for count in arguments.batch:
        batch = make_batch(arguments.side, count)
        common = (arguments.backbone, arguments.side, batch, device)
        parties = {"torchvision as written": theirs(*common, autocast=False)}
        if on_gpu:
            parties["torchvision under bfloat16 autocast"] = theirs(*common, autocast=True)
        parties["ours"] = ours(*common)
        found = measure(parties, arguments.rounds, device)
        peer = found["torchvision as written"][0]
        print(f"{arguments.backbone}, {arguments.side} px, batch {count}")
        for name, (seconds, memory) in found.items():
            absolute = f"{count / seconds:9.1f} pictures/s {memory:9.0f} MiB" if on_gpu else ""
            print(f"  {name:38s}{absolute}  x {peer / seconds:.2f}")


if __name__ == "__main__":
    main()
