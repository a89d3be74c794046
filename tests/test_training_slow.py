# ruff: noqa: E402 — without the extra [train] these tests are skipped.
"""Whole runs: it learns, two processes learn what one does, and the full network makes a step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("albumentations")

from safetensors.torch import load_file
from training_runs import R18, ROOT, STILL, settings, small_run

from detector.retinanet_predictor import RetinaNetPredictor
from detector.training.checkpoint import CHECKPOINT
from detector.training.config import load_config
from detector.training.run import BEST, train


def run(arguments: list[str], **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    """Three steps, the last one with the stem and layer1 locked: the processes count other gradients from there on."""
    common = ["train.steps=3", "train.batch_size=4", "train.optimizer=sgd", "train.lr=0.05",
              "train.freeze=[{}, {at=0.6, stages=2}]"]  # fmt: skip
    folders = [tmp_path / name for name in ("one", "two")]
    starts = [[], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]]
    said = []
    for folder, start in zip(folders, starts, strict=True):
        folder.mkdir()
        said.append(run([*start, "-m", "detector.training.run", str(R18), *settings(folder, *common, validate=True)]))
    assert "1 process\n" in said[0]
    assert "2 processes" in said[1]
    assert said[1].count("step 3/3") == 2, "only one of them speaks: a line of losses and one of AP"
    one, two = (load_file(folder / "run" / CHECKPOINT) for folder in folders)
    assert one.keys() == two.keys()
    for name in one:
        if not name.startswith("rng/"):
            assert torch.allclose(one[name], two[name], atol=1e-5, rtol=1e-4), name
    ap = [line.split("AP ")[1] for text in said for line in text.splitlines() if "AP50" in line]
    assert ap[0] == ap[1]


@pytest.mark.slow
def test_it_learns_a_dozen_pictures_by_heart(tmp_path: Path) -> None:
    config = small_run(
        tmp_path,
        *STILL,
        "data.image_size=[160, 160]",
        # Parts are as small as five pixels at this size.
        "model.anchor_sizes=[12, 24, 48, 96, 192]",
        "model.fpn_channels=64",
        "model.head_norm=group",
        "model.preprocessing.long_side=160",
        "model.preprocessing.multiple=160",
        "train.steps=300",
        "train.batch_size=6",
        "train.lr=0.002",
        "train.warmup_steps=20",
        "train.ema_decay=0.95",
        "train.log_every=50",
        count=12,
        validate=True,
    )
    result = train(config)
    assert result.figures["AP50"] > 0.9
    model = RetinaNetPredictor.from_file(result.out / BEST)
    found = model.detect(str(Path(config.data.images) / "0000.jpg"), score_thresh=0.5)
    assert "BELLY_EXPOSED" in found.names


@pytest.mark.slow
def test_the_full_network_makes_a_step(tmp_path: Path) -> None:
    config = load_config(
        ROOT / "configs" / "retinanet_r101.toml",
        settings(
            tmp_path,
            "data.image_size=[128, 128]",
            "model.preprocessing.long_side=128",
            "model.fpn_channels=256",
            "model.norm=batch",
            "train.steps=2",
        ),
    )
    assert config.model.backbone == "resnet101"
    result = train(config)
    assert result.step == 2
    assert 0 < result.losses["loss"] < 100
    state = load_file(result.out / CHECKPOINT)
    assert sum(tensor.numel() for name, tensor in state.items() if name.startswith("model/")) > 50e6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_learns_what_the_cpu_does(tmp_path: Path) -> None:
    losses = {}
    for name, overrides in (
        ("cpu", ("train.device=cpu",)),
        ("float32", ("train.device=cuda", "train.precision=float32")),
        ("bf16", ("train.device=cuda", "train.precision=bf16", "data.workers=2")),
    ):
        folder = tmp_path / name
        folder.mkdir()
        result = train(small_run(folder, "train.steps=3", "train.optimizer=sgd", *overrides, validate=True))
        losses[name] = result.losses["loss"]
    assert losses["float32"] == pytest.approx(losses["cpu"], rel=1e-2)
    assert losses["bf16"] == pytest.approx(losses["cpu"], rel=0.1)
