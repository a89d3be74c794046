"""Train a detector from a config file.

One process:           detector train configs/retinanet_r101.toml
With other settings:   detector train configs/retinanet_r50.toml train.lr=0.005 train.batch_size=8 train.out=runs/r50
All GPUs of a machine: torchrun --standalone --nproc-per-node 8 -m detector.training.run configs/retinanet_r101.toml
On several machines:   torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
                           -m detector.training.run configs/retinanet_r101.toml
Go on after a stop:    the same command, and train.resume=true
Tiny, on a CPU:        detector train configs/retinanet_r18.toml \\
                           data.annotations=tests/data/mannequins/annotations.json \\
                           data.val_annotations=tests/data/mannequins/annotations.json \\
                           data.images=tests/data/mannequins "data.image_size=[128, 128]" data.workers=0 \\
                           model.preprocessing.long_side=128 model.norm=group \\
                           train.batch_size=4 train.steps=20 train.log_every=5 train.out=runs/tiny

`train.out` then holds best.safetensors (highest AP) and last.safetensors, which `detector.load` reads;
checkpoint.safetensors, for going on; curves.csv and curves.png; config.json.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from detector.errors import InputError
from detector.retinanet import build_retinanet
from detector.synth.dataset import SynthSet
from detector.training.annotations import read_annotations, unseen_classes
from detector.training.config import RunConfig
from detector.training.dataset import TrainingSet, ValidationSet, batch_positions, loader
from detector.training.distributed import Group
from detector.training.engine import Engine, validate
from detector.training.loop import BEST, LAST, Loop, Result, Say, check_batch, conduct
from detector.training.start import start_from
from detector.weights import save_weights

__all__ = ["BEST", "LAST", "Result", "Run", "main", "train", "training_set"]


class Run(Loop):
    """One process's part of a detector's training run."""

    shown = ("loss", "loss_cls", "loss_box")

    def __init__(self, config: RunConfig, group: Group, dtype: torch.dtype, say: Say) -> None:
        check_batch(config.train, group)
        self.config = config
        train, data = config.train, config.data
        self.training = training_set(config, say)
        super().__init__(recipe=train, table=config.to_dict(), pictures=len(self.training), group=group, say=say)
        self.validation = read_annotations(Path(data.val_annotations), data.classes) if data.val_annotations else None
        torch.manual_seed(train.seed)
        model = build_retinanet(config.model)
        if train.init:
            say(start_from(model, train.init))
        self.engine: Engine = Engine(model=model, config=config, group=group, total=self.total, dtype=dtype)
        self.begin()

    def batches(self, stop: int) -> Iterator[Any]:
        """Yield this process's share of each step's batch, from the present step to `stop`."""
        config, group = self.config, self.group
        positions = batch_positions(
            self.step, stop, config.train.batch_size, rank=group.rank, world_size=group.world_size
        )
        batches: Iterator[Any] = iter(
            loader(self.training, positions, workers=config.data.workers, pin=group.device.type == "cuda")
        )
        return batches

    def losses_text(self, shown: Mapping[str, float]) -> str:
        """Return the loss and its parts."""
        return f"loss {shown['loss']:.4f} (cls {shown['loss_cls']:.4f}, box {shown['loss_box']:.4f})"

    def evaluate(self) -> dict[str, float] | None:
        """Return AP, AP50 and AP75; None without validation pictures."""
        data, group = self.config.data, self.group
        if self.validation is None:
            return None
        pictures = ValidationSet(
            annotations=self.validation, folder=Path(data.val_images or data.images), image_size=data.image_size
        )
        mine = range(group.rank, len(pictures), group.world_size)
        size = max(1, self.config.train.batch_size // group.world_size)
        batches = [list(mine[start : start + size]) for start in range(0, len(mine), size)]
        figures: dict[str, float] = validate(
            self.engine.judged,
            loader(pictures, batches, workers=data.workers, pin=group.device.type == "cuda"),
            self.validation.dataset,
            config=self.config,
            group=group,
            dtype=self.engine.dtype,
        )
        return figures

    def goodness(self, figures: Mapping[str, float]) -> float | None:
        """Return the AP: the highest is the best."""
        return figures.get("AP")

    def write_weights(self, path: Path) -> None:
        """Write the judged weights."""
        metadata = {**self.making(), "classes": list(self.config.data.classes)}
        save_weights(path, self.engine.judged, config=self.config.model, metadata=metadata)


def training_set(config: RunConfig, say: Say) -> TrainingSet | SynthSet:
    """Return what a run learns from: the pictures of a folder, or mannequins that are rendered on the way.

    Args:
        config: of the run.
        say: told of classes that would be learned as background.

    Raises:
        InputError: when the annotations cannot be read, or hold no box at all.
        UsageError: when a class has no category, or mannequins cannot be rendered here.
    """
    data, seed = config.data, config.train.seed
    if data.synth.pictures:
        return SynthSet(
            synth=data.synth, classes=data.classes, image_size=data.image_size, config=data.augment, seed=seed
        )
    annotations = read_annotations(Path(data.annotations), data.classes)
    unseen = unseen_classes(annotations)
    if len(unseen) == len(data.classes):
        raise InputError(f"{data.annotations} must have boxes to learn from; it has none of {', '.join(unseen)}")
    if unseen:
        say(f"warning: no box of {', '.join(unseen)}: learned as background, never found; leave out of data.classes")
    return TrainingSet(
        annotations=annotations, folder=Path(data.images), image_size=data.image_size, config=data.augment, seed=seed
    )


def train(config: RunConfig, *, stop: int | None = None, say: Say | None = None) -> Result:
    """Train; one process of many under torchrun.

    Args:
        config: see `load_config`.
        stop: leave after so many steps of the schedule, with a checkpoint: as if the run had been interrupted there.
        say: takes the lines about the progress; None prints them. Only the first process speaks.

    Raises:
        UsageError: when `train.out` holds another run, or settings contradict each other.
        InputError: when annotations or pictures cannot be read: a run does not go on without some of its data.
        ModelError: when a loss is not finite, or checkpoint or weights do not fit.
        DeviceError: when the device is not there.
        OutputError: when something cannot be written.
    """

    def make(group: Group, dtype: torch.dtype, speak: Say) -> Run:
        return Run(config, group, dtype, speak)

    return conduct(config.train, config.to_dict(), make, stop=stop, say=say)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point under torchrun: `CONFIG [section.key=value ...]`."""
    from detector.cliparts import run_command
    from detector.training.cli import train as command

    sys.exit(run_command(command, "detector train", list(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    main()
