import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from detector.errors import PolicyError, UsageError
from detector.training.config import RunConfig, TrainConfig, config_differences, load_config, parse_override

ROOT = Path(__file__).resolve().parent.parent
R18 = ROOT / "configs" / "retinanet_r18.toml"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("retinanet_*.toml")), ids=lambda path: path.stem)
def test_the_configs_that_we_ship_are_read(path: Path) -> None:
    config = load_config(path)
    names = {"retinanet_thin": "resnet50_thin", "retinanet_r101_mannequins": "resnet101"}
    assert config.model.backbone == names.get(path.stem, path.stem.replace("retinanet_r", "resnet"))
    locked = [phase.stages for phase in config.train.freeze]
    # open_nsfw's backbone comes trained, and on mannequins nothing was learned before: each locks as suits it.
    assert locked == [0, 2] or path.stem in names, "the whole network first, then a part locked"
    assert config.train.loss.focal_alpha == 0.25
    assert config.train.loss.focal_gamma == 2


def test_the_command_line_has_the_last_word() -> None:
    config = load_config(
        R18,
        [
            "train.lr=0.5",
            "train.optimizer=adamw",
            "data.image_size=[64, 96]",
            "model.preprocessing.long_side=96",
            "data.augment.flip=0.25",
            "train.loss.box_loss=giou",
            'train.out="a b"',
            "train.freeze=[{at=0.0, stages=1}]",
        ],
    )
    assert (config.train.lr, config.train.optimizer, config.train.out) == (0.5, "adamw", "a b")
    assert config.data.image_size == (64, 96)
    assert config.data.augment.flip == 0.25
    assert config.train.loss.box_loss == "giou"
    assert [phase.stages for phase in config.train.freeze] == [1]
    assert config.data.augment.scale == load_config(R18).data.augment.scale, "the rest is the file's"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=3", r"\[train\]: a key must be one of .*got 'batchsize'; the nearest is batch_size$"),
        ("data.augment.blurr=0.5", r"augment: a key must be one of .*got 'blurr'; the nearest is blur$"),
        ("model.backbon=x", r"\[model\]: .*; the nearest is backbone$"),
        ("trian.lr=1.0", r"a section must be one of model, data, train; got 'trian'; the nearest is train$"),
        ("train.lr", r"must be section.key=value, .*; got 'train.lr'"),
        ("lr=3", r"must be section.key=value"),
        ("train.lr=fast", r"lr must be of type float; got 'fast'"),
        ("train.lr.x=3", r"'lr' must be a table"),
        ("train.optimizer=adam", r"train.optimizer must be one of sgd, adamw; got 'adam'; the nearest is adamw"),
        ("train.schedule=cosin", r"the nearest is cosine"),
        ("train.lr=0.0", r"train.lr must be above 0"),
        ("train.lr=nan", r"train.lr must be above 0"),
        ("train.ema_decay=1.5", r"train.ema_decay must lie in \[0, 1\]; got 1.5"),
        ("train.batch_size=0", r"train.batch_size must lie in"),
        ("train.freeze=[]", r"rising `at`, the first at 0; got \[\]"),
        ("train.freeze=[{at=0.5}]", r"the first at 0; got \[0.5\]"),
        ("train.freeze=[{stages=6}]", r"stages must lie in \[0, 5\]; got 6"),
        ("data.image_size=[100, 128]", r"multiples of 32"),
        (
            "data.image_size=[128, 256]",
            r"long_side must be the longer side of data.image_size; got 512 and \[128, 256\]",
        ),
        ("model.head_norm=group", r"padded in use as in training: .* got \[512, 512\] and 128"),
        ("data.classes=['BELLY']", r"number of data.classes; got 6 and 1"),
        ("data.augment.scale=[1.5, 0.5]", r"scale must be \[low, high\]"),
        ("data.augment.flip=2.0", r"flip must lie in \[0, 1\]"),
        ("data.augment.jpeg_quality=[30, 101]", r"jpeg_quality must lie in"),
        ("train.loss.box_loss=iou", r"box_loss must be one of"),
    ],
)
def test_what_is_not_understood_is_refused(override: str, message: str) -> None:
    overrides = [override, *(["train.sync_bn=false"] if override.startswith("train.freeze_bn") else [])]
    with pytest.raises(UsageError, match=message):
        load_config(R18, overrides)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="must be readable"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=1", 1), ("a.b=1.5", 1.5), ("a.b=true", True), ("a.b=runs/x", "runs/x"), ("a.b=a=b", "a=b"), ("a.b=", "")],
)
def test_values_are_toml_and_bare_words_are_strings(text: str, value: Any) -> None:
    assert parse_override(text) == (["a", "b"], value)


def test_a_continuation_may_change_only_what_changes_no_weight() -> None:
    first = RunConfig(train=TrainConfig(lr=0.1, log_every=1)).to_dict()
    second = RunConfig(train=TrainConfig(lr=0.1, log_every=9, resume=True)).to_dict()
    assert config_differences(first, second) == []
    third = RunConfig(train=TrainConfig(lr=0.2, seed=1)).to_dict()
    assert config_differences(first, third) == ["train.lr", "train.seed"]


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from detector.cliparts import run_command
    from detector.training.cli import train

    assert run_command(train, "detector train", [str(R18), "train.lr=fast"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("detector train: error: ")
    assert error.count("\n") == 1
    assert (
        run_command(train, "detector train", [str(R18), "data.annotations=none.json", f"train.out={tmp_path / 'x'}"])
        == 1
    )
    assert "none.json" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_asking_for_help_loads_no_engine(root: Path) -> None:
    code = "import sys, detector.training.cli; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert not {"torch", "torchvision", "albumentations", "numpy"} & set(loaded.split())
