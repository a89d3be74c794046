"""RetinaNet on the CPU: torch eager beside ONNX Runtime, as ratios of time in one run.

    python benchmarks/onnx_retinanet.py                  # ResNet-18, -50 and -101 at 320 px, one picture
    python benchmarks/onnx_retinanet.py --rounds 5 --threads 1

Above 1, ONNX Runtime is faster. Random weights: no speed depends on them. Each round calls all in turn, one uncounted
call before each counted one. The largest difference of the outputs stands beside each ratio.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from detector.classes import CLASSES
from detector.exchange.onnx_export import export_onnx
from detector.exchange.onnx_format import INPUT, OUTPUT
from detector.retinanet import build_retinanet, fold_batch_norm
from detector.retinanet_config import ModelConfig

BACKBONES = ("resnet18", "resnet50", "resnet101")


def seconds(call: Callable[[], object]) -> float:
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(backbone: str, side: int, rounds: int, threads: int) -> str:
    torch.manual_seed(0)
    model = build_retinanet(ModelConfig(backbone=backbone)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        difference = export_onnx(model, path, class_names=CLASSES)
        data = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(0, 1, (1, 3, side, side)).astype(np.float32)
    tensor = torch.from_numpy(images)
    folded = fold_batch_norm(build_retinanet(ModelConfig(backbone=backbone)).eval())
    calls = {
        "onnx": lambda: session.run([OUTPUT], {INPUT: images}),
        "eager": lambda: model(tensor),
        "folded": lambda: folded(tensor),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(seconds(call))
    middle = {name: statistics.median(values) for name, values in times.items()}
    low = {
        name: statistics.quantiles(values, n=10)[0] if len(values) > 1 else values[0] for name, values in times.items()
    }
    return (
        f"{backbone:<10} eager / ONNX Runtime {middle['eager'] / middle['onnx']:.2f} (10th percentile "
        f"{low['eager'] / low['onnx']:.2f}), folded eager / ONNX Runtime {middle['folded'] / middle['onnx']:.2f}, "
        f"largest difference {difference:.1g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--side", type=int, default=320, help="a multiple of 32")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    print(
        f"{options.side} px, batch 1, {options.threads} threads, "
        f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    )
    for backbone in options.backbones.split(","):
        print(compare(backbone, options.side, options.rounds, options.threads), flush=True)


if __name__ == "__main__":
    main()
