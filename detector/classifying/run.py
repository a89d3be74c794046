"""Train a whole-picture classifier from a config file and an image folder.

One process:           detector train-classifier configs/classifier_r101.toml --data photos --out runs/five
Another network:       detector train-classifier configs/classifier_r101.toml --data photos --arch inception_v3
All GPUs of a machine: torchrun --standalone --nproc-per-node 8 -m detector.classifying.run \\
                           configs/classifier_r101.toml --data photos --set train.batch_size=512
Go on after a stop:    the same command, and --resume
Tiny, on a CPU:        detector train-classifier configs/classifier_r101.toml --data photos --arch cnn \\
                           --set model.input_size=64 --set train.epochs=2 --set "train.freeze=[{}]" --out runs/tiny

The folder of --out then holds best.safetensors (highest balanced accuracy, or lowest loss, as train.best_by says) and
last.safetensors, which `ClassifierPredictor.from_file` reads; checkpoint.safetensors, for going on; curves.csv and
curves.png; config.json; split.json, which pictures were learned from and which were judged.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from detector.classifier import build_classifier
from detector.classifier_weights import save_classifier, start_from
from detector.classifying.config import ClassifierRunConfig
from detector.classifying.dataset import TrainingPictures, ValidationPictures, label_loader
from detector.classifying.engine import ClassifierEngine, class_weights, validate
from detector.classifying.folders import FolderData, Labelled, read_folder
from detector.errors import InputError
from detector.training.curves import Panels
from detector.training.dataset import batch_positions
from detector.training.distributed import Group
from detector.training.loop import Loop, Result, Say, check_batch, conduct

__all__ = ["ClassifierRun", "main", "train_classifier"]

SPLIT = "split.json"
_COLUMNS = (
    "step", "epoch", "lr", "loss", "train_accuracy", "grad_norm", "images_per_second",
    "val_loss", "accuracy", "balanced_accuracy", "nsfw_accuracy",
)  # fmt: skip


class ClassifierRun(Loop):
    """One process's part of a classifier's training run."""

    shown = ("loss", "train_accuracy")
    panels: Panels = (
        ("loss", ("loss", "val_loss")),
        ("accuracy", ("train_accuracy", "accuracy", "balanced_accuracy", "nsfw_accuracy")),
        ("learning rate", ("lr",)),
        ("pictures a second", ("images_per_second",)),
    )

    def __init__(self, config: ClassifierRunConfig, group: Group, dtype: torch.dtype, say: Say) -> None:
        check_batch(config.train, group)
        self.config = config
        train, data, classes = config.train, config.data, config.model.classes
        self.data = read_folder(Path(data.folder), classes, val_share=data.val_share, seed=data.split_seed)
        super().__init__(
            recipe=train,
            table=config.to_dict(),
            pictures=len(self.data.train),
            group=group,
            say=say,
            columns=(*_COLUMNS, *(f"recall_{name}" for name in classes)),
        )
        say(f"split: {self.data.split}")
        for part in ("train", "val"):
            counts = Counter(picture.label for picture in getattr(self.data, part))
            say(f"{part}: " + ", ".join(f"{name} {counts[label]}" for label, name in enumerate(classes)))
        torch.manual_seed(train.seed)
        model = build_classifier(config.model)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        say(f"model: {config.model.arch}, {parameters / 1e6:.1f} million parameters, input {config.model.input_size}")
        if train.init:
            say(start_from(model, train.init))
        weights = class_weights(train, classes, [picture.label for picture in self.data.train])
        if train.class_weights != "none":
            say("class weights: " + ", ".join(f"{n} {w:.3g}" for n, w in zip(classes, weights, strict=True)))
        self.engine: ClassifierEngine = ClassifierEngine(
            model=model, config=config, weights=weights, group=group, total=self.total, dtype=dtype
        )
        self._check_split()
        self.begin()

    def records(self) -> dict[str, bytes]:
        """Return which pictures were learned from and which were judged, as JSON."""
        return {SPLIT: _split_record(self.data, Path(self.config.data.folder))}

    def _check_split(self) -> None:
        """Make sure that a run that goes on has the pictures that it began with."""
        path = self.out / SPLIT
        if self.recipe.resume and path.exists() and path.read_bytes() != self.records()[SPLIT]:
            raise InputError(
                f"a run goes on with the pictures that it began with; those of {self.config.data.folder} differ from "
                f"{path}; put them back, or begin another run in another train.out"
            )

    def batches(self, stop: int) -> Iterator[Any]:
        """Yield this process's share of each step's batch, from the present step to `stop`."""
        config, group = self.config, self.group
        pictures = TrainingPictures(
            self.data.train, model=config.model, config=config.data.augment, seed=config.train.seed
        )
        positions = batch_positions(
            self.step, stop, config.train.batch_size, rank=group.rank, world_size=group.world_size
        )
        pin = group.device.type == "cuda"
        batches: Iterator[Any] = iter(label_loader(pictures, positions, workers=config.data.workers, pin=pin))
        return batches

    def evaluate(self) -> dict[str, float] | None:
        """Return the figures on the validation pictures."""
        group, config = self.group, self.config
        pictures = ValidationPictures(self.data.val, model=config.model)
        mine = range(group.rank, len(pictures), group.world_size)
        size = max(1, config.train.batch_size // group.world_size)
        batches = [list(mine[start : start + size]) for start in range(0, len(mine), size)]
        loader = label_loader(pictures, batches, workers=config.data.workers, pin=group.device.type == "cuda")
        figures: dict[str, float] = validate(self.engine.judged, loader, group=group, dtype=self.engine.dtype)
        return figures

    def goodness(self, figures: Mapping[str, float]) -> float | None:
        """Return the balanced accuracy, or the loss with its sign turned."""
        return -figures["val_loss"] if self.config.train.best_by == "loss" else figures["balanced_accuracy"]

    def losses_text(self, shown: Mapping[str, float]) -> str:
        """Return the loss, and the share of the training pictures that was judged right."""
        return f"loss {shown['loss']:.4f}  train accuracy {shown['train_accuracy']:.1%}"

    def figures_text(self, figures: Mapping[str, float]) -> str:
        """Return the figures, what decides marked, and each class's recall."""
        names = ("val_loss", "accuracy", "balanced_accuracy", "nsfw_accuracy")
        parts = [f"{name.replace('_', ' ')} {figures[name]:.4f}" for name in names]
        recalls = [f"{name} {figures[f'recall_{name}']:.3f}" for name in self.config.model.classes]
        good = self.goodness(figures)
        best = good is not None and (self.best is None or good > self.best)
        mark = f"  best so far by {self.config.train.best_by.replace('_', ' ')}" if best else ""
        return f"{'  '.join(parts)}  (recall: {', '.join(recalls)}){mark}"

    def write_weights(self, path: Path) -> None:
        """Write the judged weights."""
        save_classifier(path, self.engine.judged, metadata=self.making())


def _split_record(data: FolderData, folder: Path) -> bytes:
    def names(pictures: Sequence[Labelled]) -> list[str]:
        return [picture.path.relative_to(folder).as_posix() for picture in pictures]

    table = {"how": data.split, "train": names(data.train), "val": names(data.val)}
    return (json.dumps(table, indent=1) + "\n").encode()


def train_classifier(config: ClassifierRunConfig, *, stop: int | None = None, say: Say | None = None) -> Result:
    """Train; one process of many under torchrun.

    Args:
        config: see `load_classifier_config`.
        stop: leave after so many steps of the schedule, with a checkpoint: as if the run had been interrupted there.
        say: takes the lines about the progress; None prints them. Only the first process speaks.

    Raises:
        UsageError: when `train.out` holds another run, or settings contradict each other.
        InputError: when the data folder is not as it must be, or a picture cannot be read: a run does not go on without
            some of its data.
        ModelError: when a loss is not finite, or checkpoint or weights do not fit.
        DeviceError: when the device is not there.
        OutputError: when something cannot be written.
    """

    def make(group: Group, dtype: torch.dtype, speak: Say) -> ClassifierRun:
        return ClassifierRun(config, group, dtype, speak)

    return conduct(config.train, config.to_dict(), make, stop=stop, say=say)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point under torchrun: the arguments of `detector train-classifier`."""
    from detector.classifying.cli import train_classifier as command
    from detector.cliparts import run_command

    sys.exit(run_command(command, "detector train-classifier", list(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    main()
