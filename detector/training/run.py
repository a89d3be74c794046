"""Train a detector from a config file.

One process:           detector train configs/retinanet_r101.toml
With other settings:   detector train configs/retinanet_r50.toml train.lr=0.005 train.batch_size=8 train.out=runs/r50
All GPUs of a machine: torchrun --standalone --nproc-per-node 8 -m detector.training.run configs/retinanet_r101.toml
On several machines:   torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
                           -m detector.training.run configs/retinanet_r101.toml
Go on after a stop:    the same command, and train.resume=true
Tiny, on a CPU:        detector train configs/retinanet_r18.toml \\
                           data.annotations=tests/data/mannequins/annotations.json \\
                           data.images=tests/data/mannequins "data.image_size=[128, 128]" data.workers=0 \\
                           model.preprocessing.long_side=128 model.norm=group \\
                           train.batch_size=4 train.steps=20 train.log_every=5 train.out=runs/tiny

`train.out` then holds best.safetensors (highest AP) and last.safetensors, which `detector.load` reads;
checkpoint.safetensors, for going on; curves.csv and curves.png; config.json.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from detector.atomic import write_atomic
from detector.errors import OutputError, UsageError
from detector.retinanet import RetinaNet, build_retinanet
from detector.training.annotations import Annotations, read_annotations
from detector.training.checkpoint import CHECKPOINT, load_checkpoint, read_state, save_checkpoint
from detector.training.config import RunConfig, config_differences
from detector.training.curves import Curves, plot_curves
from detector.training.dataset import TrainingSet, ValidationSet, batch_positions, loader
from detector.training.distributed import Group, choose_precision, join_group
from detector.training.engine import Engine, validate
from detector.training.schedule import total_steps
from detector.weights import load_weights, save_weights

__all__ = ["BEST", "LAST", "Result", "main", "train"]

BEST, LAST = "best.safetensors", "last.safetensors"

# cuBLAS needs it for deterministic products (CUDA >= 10.2), and reads it when it starts.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of a run.

    Attributes:
        step: steps that were made, over all continuations.
        losses: of the last step.
        figures: AP, AP50 and AP75 of the last evaluation; empty without validation pictures.
        best_ap: the highest AP; None without validation pictures.
        out: the folder with everything that was written.
    """

    step: int
    losses: dict[str, float]
    figures: dict[str, float]
    best_ap: float | None
    out: Path


class Run:
    """One process's part of a training run: the loop, and what is written when."""

    def __init__(self, config: RunConfig, group: Group, dtype: torch.dtype, say: Say) -> None:
        self.config, self.group, self.dtype, self.say = config, group, dtype, say
        train, data = config.train, config.data
        if train.batch_size % group.world_size:
            raise UsageError(
                f"train.batch_size counts the pictures of all processes and must divide by their number; got "
                f"{train.batch_size} and {group.world_size}"
            )
        self.out = Path(train.out)
        self.annotations = read_annotations(Path(data.annotations), data.classes)
        self.pictures = len(self.annotations.dataset["images"])
        self.total = total_steps(train, self.pictures)
        self.each_epoch = max(1, round(self.pictures / train.batch_size))
        self.validation = read_annotations(Path(data.val_annotations), data.classes) if data.val_annotations else None
        torch.manual_seed(train.seed)
        model = build_retinanet(config.model)
        if train.init:
            say(_initialise(model, Path(train.init)))
        self.engine = Engine(model=model, config=config, group=group, total=self.total, dtype=dtype)
        self.step, self.best_ap, self.figures = 0, -1.0, dict[str, float]()
        if train.resume:
            self._resume()
        self.curves = Curves(self.out / "curves.csv", self.step)

    def _resume(self) -> None:
        path = self.out / CHECKPOINT
        changed = config_differences(read_state(path)["config"], self.config.to_dict())
        if changed:
            raise UsageError(
                f"a run goes on with the settings that it began with; {', '.join(changed)} differ from {path}; "
                "take them back, or begin another run in another train.out"
            )
        engine = self.engine
        state = load_checkpoint(path, model=engine.model, ema=engine.ema, optimizer=engine.optimizer)
        self.step, self.best_ap, self.figures = state["step"], state["best_ap"], state["figures"]

    def loop(self, stop: int | None = None) -> dict[str, float]:
        """Make all steps that are left, or those up to `stop`; return the last one's losses."""
        train, last = self.config.train, min(self.total, stop or self.total)
        shown: dict[str, float] = {}
        begun, done = time.perf_counter(), self.step
        for batch in self._batches(last):
            shown = self.engine.step(self.step, batch)
            self.step += 1
            if self.step % train.log_every == 0 or self.step == last:
                now = time.perf_counter()
                speed = (self.step - done) * train.batch_size / (now - begun)
                shown = self._report(shown, speed)
                begun, done = now, self.step
            if self._due(train.evaluate_every, last) and self.validation is not None:
                self._evaluate(self.validation)
            if self._due(train.checkpoint_every, last):
                self._save()
            if self.step > done and self._due(train.evaluate_every, last):
                begun, done = time.perf_counter(), self.step  # what was not training does not count as such
        return shown

    def _due(self, every: int, last: int) -> bool:
        return self.step % (every or self.each_epoch) == 0 or self.step == last

    def _batches(self, stop: int) -> Iterator[Any]:
        config, group = self.config, self.group
        pictures = TrainingSet(
            annotations=self.annotations,
            folder=Path(config.data.images),
            image_size=config.data.image_size,
            config=config.data.augment,
            seed=config.train.seed,
        )
        positions = batch_positions(
            self.step, stop, config.train.batch_size, rank=group.rank, world_size=group.world_size
        )
        batches: Iterator[Any] = iter(
            loader(pictures, positions, workers=config.data.workers, pin=group.device.type == "cuda")
        )
        return batches

    def _report(self, shown: dict[str, float], speed: float) -> dict[str, float]:
        """Print a line and write a row; losses are the means over all processes."""
        names = ["loss", "loss_cls", "loss_box"]
        means = self.group.mean(torch.tensor([shown[name] for name in names], device=self.group.device)).tolist()
        shown = {**shown, **dict(zip(names, means, strict=True))}
        if self.group.is_first:
            left = (self.total - self.step) * self.config.train.batch_size / speed
            self.say(
                f"step {self.step}/{self.total}  loss {shown['loss']:.4f} (cls {shown['loss_cls']:.4f}, box "
                f"{shown['loss_box']:.4f})  |grad| {shown['grad_norm']:.2f}  lr {shown['lr']:.3g}  "
                f"{speed:.1f} pictures/s  {left / 60:.0f} min left"
            )
            self.curves.add({**shown, **self._place(), "images_per_second": speed})
        return shown

    def _place(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.step * self.config.train.batch_size / self.pictures}

    def _evaluate(self, validation: Annotations) -> None:
        data, group = self.config.data, self.group
        pictures = ValidationSet(
            annotations=validation, folder=Path(data.val_images or data.images), image_size=data.image_size
        )
        mine = range(group.rank, len(pictures), group.world_size)
        size = max(1, self.config.train.batch_size // group.world_size)
        batches = [list(mine[start : start + size]) for start in range(0, len(mine), size)]
        self.figures = validate(
            self.engine.judged,
            loader(pictures, batches, workers=data.workers, pin=group.device.type == "cuda"),
            validation.dataset,
            config=self.config,
            group=group,
            dtype=self.dtype,
        )
        if group.is_first:
            text = "  ".join(f"{name} {value:.4f}" for name, value in self.figures.items())
            self.say(f"step {self.step}/{self.total}  {text or 'the validation pictures hold nothing to find'}")
            self.curves.add({**self.figures, **self._place()})
        if self.figures.get("AP", -1.0) > self.best_ap:
            self.best_ap = self.figures["AP"]
            if group.is_first:
                self._write_weights(BEST)

    def _save(self) -> None:
        if self.group.is_first:
            engine = self.engine
            state = {
                "step": self.step,
                "best_ap": self.best_ap,
                "figures": self.figures,
                "config": self.config.to_dict(),
            }
            path = self.out / CHECKPOINT
            save_checkpoint(path, model=engine.model, ema=engine.ema, optimizer=engine.optimizer, state=state)
            self._write_weights(LAST)
            plot_curves(self.curves, self.out / "curves.png")
        self.group.barrier()

    def _write_weights(self, name: str) -> None:
        metadata = {
            "step": self.step,
            "metrics": self.figures,
            "recipe": self.config.to_dict()["train"],
            "classes": list(self.config.data.classes),
        }
        save_weights(self.out / name, self.engine.judged, config=self.config.model, metadata=metadata)


def _initialise(model: RetinaNet, path: Path) -> str:
    """Copy the tensors of another model that have the same name and shape; return what to say about it."""
    theirs, ours = load_weights(path).state_dict(), model.state_dict()
    fits = {name: tensor for name, tensor in theirs.items() if name in ours and ours[name].shape == tensor.shape}
    if not any(name.startswith("body.") for name in fits):
        raise UsageError(f"train.init must hold weights for this backbone; none of {path} fit")
    model.load_state_dict({**ours, **fits})
    left = [name for name in ours if name not in fits]
    return f"init: {len(fits)} of {len(ours)} tensors from {path}" + (f"; random: {', '.join(left)}" if left else "")


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
    settings = config.train
    out = Path(settings.out)
    if settings.deterministic:
        os.environ.setdefault(*_CUBLAS)
        torch.use_deterministic_algorithms(True)
    with join_group(settings.device) as (group, reason):
        speak = (say or _print) if group.is_first else _hush
        _check_folder(out, resume=settings.resume)
        group.barrier()  # before anybody writes what others would take for an earlier run's
        dtype, why = choose_precision(settings.precision, group.device)
        speak(f"device: {group.device} ({reason}); {group.world_size} process{'es' * (group.world_size > 1)}")
        speak(f"precision: {str(dtype).removeprefix('torch.')} ({why})")
        run = Run(config, group, dtype, speak)
        speak(f"data: {run.pictures} pictures; {run.total} steps of {settings.batch_size}; going on at {run.step}")
        if group.is_first:
            _make_folder(out)
            write_atomic(out / "config.json", (json.dumps(config.to_dict(), indent=2) + "\n").encode())
        losses = run.loop(stop)
        best = run.best_ap if run.best_ap >= 0 else None
        return Result(step=run.step, losses=losses, figures=run.figures, best_ap=best, out=out)


def _check_folder(out: Path, *, resume: bool) -> None:
    """Make sure that the folder holds the run that goes on, and no other."""
    there = (out / CHECKPOINT).exists()
    if resume and not there:
        raise UsageError(f"train.resume needs a checkpoint in train.out; there is none in {out}; leave resume out")
    if there and not resume:
        raise UsageError(f"{out} holds a run already; give train.resume=true to go on, or another train.out")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"train.out must be a folder that can be made; {out} cannot ({error.strerror})") from error


def _print(line: str) -> None:
    print(line, flush=True)


def _hush(_: str) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point under torchrun: `CONFIG [section.key=value ...]`."""
    from detector.cliparts import run_command
    from detector.training.cli import train as command

    sys.exit(run_command(command, "detector train", list(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    main()
