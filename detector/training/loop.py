"""The course of any training run: steps, lines, looks at the validation pictures, checkpoints, what a folder holds."""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from detector.atomic import write_atomic
from detector.errors import ModelError, OutputError, UsageError
from detector.training.checkpoint import CHECKPOINT, load_checkpoint, read_state, save_checkpoint
from detector.training.config import RecipeConfig, config_differences
from detector.training.curves import COLUMNS, PANELS, Curves, Panels, plot_curves
from detector.training.distributed import Group, choose_precision, join_group
from detector.training.learner import Learner
from detector.training.schedule import total_steps

__all__ = ["BEST", "LAST", "Loop", "Result", "Say", "check_batch", "conduct"]

BEST, LAST = "best.safetensors", "last.safetensors"

# cuBLAS needs it for deterministic products (CUDA >= 10.2), and reads it when it starts.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of a run.

    Attributes:
        step: steps that were made, over all continuations.
        losses: of the last step.
        figures: of the last evaluation; empty without validation pictures.
        best: the best value of the figure that decides; None without validation pictures.
        out: the folder with everything that was written.
    """

    step: int
    losses: dict[str, float]
    figures: dict[str, float]
    best: float | None
    out: Path

    @property
    def best_ap(self) -> float | None:
        """A detector's highest AP: what decides there."""
        return self.best


class Loop(ABC):
    """One process's part of a training run: the loop, and what is written when.

    Args:
        recipe: how it is learned.
        table: all settings of the run, JSON-ready.
        pictures: number of training pictures.
        group: this process among those that train together.
        say: takes lines about the progress.
        columns: of curves.csv.
    """

    # The losses of a step that are averaged over all processes and shown; the first is the one that is learned.
    shown: Sequence[str] = ("loss",)
    panels: Panels = PANELS
    # What an evaluation without any figure says.
    nothing = "the validation pictures hold nothing to find"

    engine: Learner[Any, Any]

    def __init__(
        self,
        *,
        recipe: RecipeConfig,
        table: Mapping[str, Any],
        pictures: int,
        group: Group,
        say: Say,
        columns: Sequence[str] = COLUMNS,
    ) -> None:
        self.recipe, self.table, self.pictures = recipe, table, pictures
        self.group, self.say, self.columns = group, say, columns
        check_batch(recipe, group)
        self.out = Path(recipe.out)
        self.total = total_steps(recipe, pictures)
        self.each_epoch = max(1, round(pictures / recipe.batch_size))
        self.step, self.figures = 0, dict[str, float]()
        self.best: float | None = None

    @abstractmethod
    def batches(self, stop: int) -> Iterator[Any]:
        """Yield this process's share of each step's batch, from the present step to `stop`."""

    @abstractmethod
    def evaluate(self) -> dict[str, float] | None:
        """Return the figures on the validation pictures, the same in every process; None where there are none."""

    @abstractmethod
    def goodness(self, figures: Mapping[str, float]) -> float | None:
        """Return the value of the figure that decides which weights are the best; the higher, the better."""

    @abstractmethod
    def write_weights(self, path: Path) -> None:
        """Write the judged weights."""

    def records(self) -> dict[str, bytes]:
        """Return further files, by name, that are written when the run begins or goes on."""
        return {}

    def begin(self) -> None:
        """Take up the state of the run that goes on, if one does; `engine` is there by now."""
        if self.recipe.resume:
            path = self.out / CHECKPOINT
            began_with = read_state(path).get("config")
            if not isinstance(began_with, Mapping):
                raise ModelError(f"{path} must hold the settings of its run; it does not; train anew")
            changed = config_differences(began_with, self.table)
            if changed:
                raise UsageError(
                    f"a run goes on with the settings that it began with; {', '.join(changed)} differ from {path}; "
                    "take them back, or begin another run in another train.out"
                )
            engine = self.engine
            state = load_checkpoint(path, model=engine.model, ema=engine.ema, optimizer=engine.optimizer)
            self.step, self.best, self.figures = state["step"], state["best"], state["figures"]
        self.curves = Curves(self.out / "curves.csv", self.step, self.columns)

    def loop(self, stop: int | None = None) -> dict[str, float]:
        """Make all steps that are left, or those up to `stop`; return the last one's losses."""
        recipe, last = self.recipe, min(self.total, stop or self.total)
        shown: dict[str, float] = {}
        begun, done = time.perf_counter(), self.step
        for batch in self.batches(last):
            shown = self.engine.step(self.step, batch)
            self.step += 1
            if self.step % recipe.log_every == 0 or self.step == last:
                now = time.perf_counter()
                shown = self._report(shown, (self.step - done) * recipe.batch_size / (now - begun))
                begun, done = now, self.step
            if self._due(recipe.evaluate_every, last):
                self._evaluate()
            if self._due(recipe.checkpoint_every, last):
                self._save()
            if self._due(recipe.evaluate_every, last) or self._due(recipe.checkpoint_every, last):
                begun, done = time.perf_counter(), self.step  # what was not training does not count as such
        return shown

    def making(self) -> dict[str, Any]:
        """Return what a weight file says of its making; of paths only the last part, since such files are passed on."""
        recipe = dict(self.table["train"])
        for name in ("out", "init"):
            recipe[name] = Path(recipe[name]).name
        return {"step": self.step, "metrics": self.figures, "recipe": recipe}

    def _due(self, every: int, last: int) -> bool:
        return self.step % (every or self.each_epoch) == 0 or self.step == last

    def _report(self, shown: dict[str, float], speed: float) -> dict[str, float]:
        """Print a line and write a row; losses are the means over all processes."""
        values = torch.tensor([shown[name] for name in self.shown], device=self.group.device)
        shown = {**shown, **dict(zip(self.shown, self.group.mean(values).tolist(), strict=True))}
        if self.group.is_first:
            left = (self.total - self.step) * self.recipe.batch_size / speed
            self.say(
                f"step {self.step}/{self.total}  {self.losses_text(shown)}  |grad| {shown['grad_norm']:.2f}  "
                f"lr {shown['lr']:.3g}  {speed:.1f} pictures/s  {left / 60:.0f} min left"
            )
            self.curves.add({**shown, **self._place(), "images_per_second": speed})
        return shown

    def losses_text(self, shown: Mapping[str, float]) -> str:
        """Return what a line says of the losses."""
        return "  ".join(f"{name} {shown[name]:.4f}" for name in self.shown)

    def figures_text(self, figures: Mapping[str, float]) -> str:
        """Return what a line says of the figures of an evaluation."""
        return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())

    def _place(self) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.step * self.recipe.batch_size / self.pictures}

    def _evaluate(self) -> None:
        figures = self.evaluate()
        if figures is None:
            return
        self.figures = figures
        good = self.goodness(figures)
        better = good is not None and (self.best is None or good > self.best)
        if self.group.is_first:
            self.say(f"step {self.step}/{self.total}  {self.figures_text(figures) or self.nothing}")
            self.curves.add({**figures, **self._place()})
        if better:
            self.best = good
            if self.group.is_first:
                self.write_weights(self.out / BEST)

    def _save(self) -> None:
        if self.group.is_first:
            engine = self.engine
            state = {"step": self.step, "best": self.best, "figures": self.figures, "config": dict(self.table)}
            path = self.out / CHECKPOINT
            save_checkpoint(path, model=engine.model, ema=engine.ema, optimizer=engine.optimizer, state=state)
            self.write_weights(self.out / LAST)
            plot_curves(self.curves, self.out / "curves.png", self.panels)
        self.group.barrier()


def check_batch(recipe: RecipeConfig, group: Group) -> None:
    """Refuse a batch that the processes cannot share evenly."""
    if recipe.batch_size % group.world_size:
        raise UsageError(
            f"train.batch_size counts the pictures of all processes and must divide by their number; got "
            f"{recipe.batch_size} and {group.world_size}"
        )


def conduct(
    recipe: RecipeConfig,
    table: Mapping[str, Any],
    make: Callable[[Group, torch.dtype, Say], Loop],
    *,
    stop: int | None = None,
    say: Say | None = None,
) -> Result:
    """Join the processes that train together, make the loop and run it.

    Args:
        recipe: how it is learned.
        table: all settings, JSON-ready; they are written to config.json.
        make: builds this process's loop.
        stop: leave after so many steps of the schedule, with a checkpoint: as if the run had been interrupted there.
        say: takes the lines about the progress; None prints them. Only the first process speaks.

    Raises:
        UsageError: when `train.out` holds another run, or settings contradict each other.
        DeviceError: when the device is not there.
        OutputError: when something cannot be written.
    """
    out = Path(recipe.out)
    if recipe.deterministic:
        os.environ.setdefault(*_CUBLAS)
        torch.use_deterministic_algorithms(True)
    with join_group(recipe.device) as (group, reason):
        speak = (say or _print) if group.is_first else _hush
        _check_folder(out, resume=recipe.resume)
        group.barrier()  # before anybody writes what others would take for an earlier run's
        dtype, why = choose_precision(recipe.precision, group.device)
        speak(f"device: {group.device} ({reason}); {group.world_size} process{'es' * (group.world_size > 1)}")
        speak(f"precision: {str(dtype).removeprefix('torch.')} ({why})")
        run = make(group, dtype, speak)
        speak(f"data: {run.pictures} pictures; {run.total} steps of {recipe.batch_size}; going on at {run.step}")
        if group.is_first:
            _make_folder(out)
            write_atomic(out / "config.json", (json.dumps(table, indent=2) + "\n").encode())
            for name, content in run.records().items():
                write_atomic(out / name, content)
        losses = run.loop(stop)
        return Result(step=run.step, losses=losses, figures=run.figures, best=run.best, out=out)


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
