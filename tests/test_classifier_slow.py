# ruff: noqa: E402 — without the extra [train] these tests are skipped.
"""Whole runs of a classifier: it learns drawn pictures, two processes learn what one does, the full network steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("albumentations")

from drawn_classes import CLASSES, MODEL, draw_folder, drawn
from safetensors.torch import load_file

from detector.classifier_predictor import ClassifierPredictor
from detector.classifying.config import load_classifier_config
from detector.classifying.run import train_classifier
from detector.training.checkpoint import CHECKPOINT
from detector.training.loop import BEST

ROOT = Path(__file__).resolve().parent.parent
R101 = ROOT / "configs" / "classifier_r101.toml"
COMMON = (*MODEL, "data.workers=0", "train.device=cpu", "train.freeze=[{}]")


@pytest.mark.slow
def test_it_learns_five_drawn_classes(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "drawn", train=150, val=40)
    config = load_classifier_config(
        R101,
        [
            *COMMON,
            "model.arch=resnet18",
            "model.input_size=32",
            f"data.folder={folder}",
            f"train.out={tmp_path / 'run'}",
            "train.batch_size=25",
            "train.epochs=10",
            "train.optimizer=adamw",
            "train.lr=0.002",
            "train.head_lr_multiplier=1.0",
            "train.schedule=cosine",
            "train.warmup_steps=20",
            "train.ema_decay=0.98",
        ],
    )
    result = train_classifier(config)
    assert result.best is not None
    assert result.best >= 0.95
    predictor = ClassifierPredictor.from_file(result.out / BEST)
    # Pictures that neither part of the folder holds.
    images = [(label, drawn(name, seed)) for label, name in enumerate(CLASSES) for seed in range(2000, 2020)]
    rows = predictor.probabilities([image for _, image in images])
    right = sum(int(row.argmax()) == label for row, (label, _) in zip(rows, images, strict=True))
    assert right >= 93
    scores = predictor.score([image for _, image in images])
    two = sum((score > 0.5) == (CLASSES[label] in config.model.nsfw_classes)
              for score, (label, _) in zip(scores, images, strict=True))  # fmt: skip
    assert two >= 95


def run(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Four steps with class weights, the last ones with the stem locked: other gradients are counted from there on."""
    folder = draw_folder(tmp_path / "drawn", train=4, val=3, side=32)
    for path in sorted((folder / "train" / "noise").glob("*.png"))[1:]:
        path.unlink()
    overrides = [
        *COMMON[:-1],
        "model.arch=cnn",
        "model.input_size=32",
        "train.batch_size=4",
        "train.steps=4",
        "train.warmup_steps=1",
        "train.freeze=[{}, {at=0.6, stages=1}]",
    ]
    starts = {"one": [], "two": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]}
    said = []
    for name, start in starts.items():
        options = [f"--set={text}" for text in overrides]
        out = ["--data", str(folder), "--out", str(tmp_path / name)]
        said.append(run([*start, "-m", "detector.classifying.run", str(R101), *out, *options]))
    assert "1 process\n" in said[0]
    assert "2 processes" in said[1]
    assert said[1].count("val loss") == said[0].count("val loss"), "only one of them speaks"
    one, two = (load_file(tmp_path / name / CHECKPOINT) for name in starts)
    assert one.keys() == two.keys()
    for name in one:
        if not name.startswith("rng/"):
            assert torch.allclose(one[name], two[name], atol=1e-5, rtol=1e-4), name
    figures = [line.split("val loss")[1] for text in said for line in text.splitlines() if "val loss" in line]
    assert figures[0] == figures[1]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet101", "inception_v3"])
def test_the_full_networks_make_steps(tmp_path: Path, arch: str) -> None:
    """One step of everything and one with three stages locked."""
    folder = draw_folder(tmp_path / "drawn", train=1, val=1)
    config = load_classifier_config(
        R101,
        [
            *COMMON[:-1],
            f"model.arch={arch}",
            f"data.folder={folder}",
            f"train.out={tmp_path / 'run'}",
            "train.batch_size=2",
            "train.steps=2",
            "train.freeze=[{}, {at=0.5, stages=3}]",
        ],
    )
    result = train_classifier(config)
    assert result.step == 2
    assert 0 < result.losses["loss"] < 20
    state = load_file(result.out / CHECKPOINT)
    count = sum(tensor.numel() for name, tensor in state.items() if name.startswith("model/"))
    assert count > (42e6 if arch == "resnet101" else 24e6)
    assert ClassifierPredictor.from_file(result.out / BEST).probabilities(drawn("checks", 1)).shape == (5,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_and_judges_what_the_cpu_does(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "drawn", train=4, val=3, side=32)
    losses, scores = {}, {}
    for name, overrides in (
        ("cpu", ["train.device=cpu"]),
        ("float32", ["train.device=cuda", "train.precision=float32"]),
        ("bf16", ["train.device=cuda", "train.precision=bf16", "data.workers=2"]),
    ):
        out = tmp_path / name
        fixed = ["model.arch=cnn", "model.input_size=32", f"data.folder={folder}", f"train.out={out}"]
        recipe = ["train.steps=3", "train.batch_size=4", *overrides]
        result = train_classifier(load_classifier_config(R101, [*COMMON, *fixed, *recipe]))
        losses[name] = result.losses["loss"]
        device = "cpu" if name == "cpu" else "cuda"
        scores[name] = ClassifierPredictor.from_file(tmp_path / "cpu" / BEST, device=device).score(drawn("checks", 1))
    assert losses["float32"] == pytest.approx(losses["cpu"], rel=1e-2)
    assert losses["bf16"] == pytest.approx(losses["cpu"], rel=0.1)
    assert scores["float32"] == pytest.approx(scores["cpu"], abs=0.02)
