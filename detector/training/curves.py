"""The course of a run: `curves.csv`, one row a line that was printed, and a plot of it."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from detector.atomic import write_atomic
from detector.errors import InputError

__all__ = ["COLUMNS", "PANELS", "Curves", "Panels", "plot_curves"]

COLUMNS = (
    "step", "epoch", "lr", "loss", "loss_cls", "loss_box", "grad_norm", "images_per_second", "AP", "AP50", "AP75",
)  # fmt: skip

Panels: TypeAlias = Sequence[tuple[str, Sequence[str]]]

PANELS: Panels = (
    ("loss", ("loss", "loss_cls", "loss_box")),
    ("AP", ("AP", "AP50", "AP75")),
    ("learning rate", ("lr",)),
    ("pictures a second", ("images_per_second",)),
)


class Curves:
    """The rows of `curves.csv`; a value that a row does not have stays empty.

    Args:
        path: the file. What it holds up to `step` is kept, as after a resume; the rest is dropped.
        step: the last step that counts; 0 starts anew.
        columns: of the file, `step` among them.
    """

    def __init__(self, path: Path, step: int = 0, columns: Sequence[str] = COLUMNS) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.rows: list[dict[str, str]] = []
        if step and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if tuple(reader.fieldnames or ()) != self.columns:
                    raise InputError(
                        f"{path} must have the columns {', '.join(self.columns)}; move it away to start anew"
                    )
                self.rows = [row for row in reader if int(row["step"]) <= step]

    def add(self, values: Mapping[str, Any]) -> None:
        """Append one row and write the file."""
        self.rows.append({name: _text(values.get(name)) for name in self.columns})
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.path, text.getvalue().encode())

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps and values of the rows that have one."""
        found = [(int(row["step"]), float(row[name])) for row in self.rows if row[name]]
        return [step for step, _ in found], [value for _, value in found]


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def plot_curves(curves: Curves, path: Path, panels: Panels = PANELS) -> None:
    """Draw the columns over the steps as a PNG: for a detector losses, AP, learning rate and speed.

    Args:
        curves: of the run.
        path: of the PNG.
        panels: four of (title, columns).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name in names:
            steps, values = curves.column(name)
            axes.plot(steps, values, label=name, marker="." if len(steps) < 30 else "")
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    write_atomic(path, image.getvalue())
