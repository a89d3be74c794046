"""Small training runs on the mannequins, shared by the tests of training."""

import json
from pathlib import Path

from detector.training.config import RunConfig, load_config

ROOT = Path(__file__).resolve().parent.parent
MANNEQUINS = ROOT / "tests" / "data" / "mannequins"
R18 = ROOT / "configs" / "retinanet_r18.toml"

# Of the long side: five pixels at 160, less than which no cell of the finest feature map (8) can tell apart.
MIN_SHARE = 0.03

# A network and pictures that a step of takes a fraction of a second; group norm sees each picture for itself.
SMALL = (
    "data.image_size=[64, 64]",
    "model.preprocessing.long_side=64",
    "model.preprocessing.multiple=64",
    "data.workers=0",
    "model.fpn_channels=32",
    "model.norm=group",
    "train.device=cpu",
    "train.batch_size=2",
    "train.optimizer=adamw",
    "train.lr=0.001",
    "train.warmup_steps=1",
    "train.log_every=1",
    "train.checkpoint_every=1000",
    "train.evaluate_every=1000",
    "train.freeze=[{stages=0}]",
    "train.sync_bn=false",
)
# No change but the placement of what is not square.
STILL = (
    *(
        f"data.augment.{kind}=0.0"
        for kind in ("flip", "crop", "blur", "jpeg", "colour", "noise", "cutout", "grayscale")
    ),
    "data.augment.scale=[1.0, 1.0]",
)


def annotations(folder: Path, count: int) -> Path:
    """Write the annotations of the first `count` mannequins whose parts can all be seen at a small size."""
    table = json.loads((MANNEQUINS / "annotations.json").read_text())
    notes = [note for note in table["annotations"] if not note["iscrowd"]]
    long_side = {image["id"]: max(image["width"], image["height"]) for image in table["images"]}
    small = {note["image_id"] for note in notes if min(note["bbox"][2:]) < MIN_SHARE * long_side[note["image_id"]]}
    chosen = sorted({note["image_id"] for note in notes} - small)[:count]
    table["images"] = [image for image in table["images"] if image["id"] in chosen]
    table["annotations"] = [note for note in table["annotations"] if note["image_id"] in chosen]
    path = folder / f"mannequins_{count}.json"
    path.write_text(json.dumps(table))
    return path


def settings(folder: Path, *overrides: str, count: int = 6, validate: bool = False) -> list[str]:
    """Return the overrides of a small run that writes to `folder`/run."""
    path = annotations(folder, count)
    return [
        *SMALL,
        f"data.annotations={path}",
        f"data.images={MANNEQUINS}",
        f"data.val_annotations={path if validate else ''}",
        f"train.out={folder / 'run'}",
        *overrides,
    ]


def small_run(folder: Path, *overrides: str, count: int = 6, validate: bool = False) -> RunConfig:
    """Return the config of a small run that writes to `folder`/run."""
    return load_config(R18, settings(folder, *overrides, count=count, validate=validate))
