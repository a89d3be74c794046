"""What the readers of all annotation formats return: pictures with boxes under the source's own class names."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Labelled", "Layout", "NamedBox", "enclosing_box"]

# Decimals of a pixel that are kept: formats that store shares of a side would give fifteen.
_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class NamedBox:
    """One box.

    Attributes:
        name: of the class, as the source spells it.
        box_xywh: left, top, width, height in pixels of the picture, or in shares of its sides.
        relative: whether it is in shares.
        ignore: whether a detection there counts neither for nor against.
        score: where a detector made the box.
    """

    name: str
    box_xywh: tuple[float, float, float, float]
    relative: bool = False
    ignore: bool = False
    score: float | None = None

    def in_pixels(self, image_size: tuple[int, int]) -> list[float]:
        """Return [x, y, width, height] in pixels of a picture of (height, width), to a thousandth."""
        height, width = image_size if self.relative else (1, 1)
        return [round(v * side, _DECIMALS) for v, side in zip(self.box_xywh, (width, height) * 2, strict=True)]


@dataclass
class Labelled:
    """One picture with its boxes.

    Attributes:
        file_name: relative to the folder of pictures, with / between its parts.
        image_size: (height, width); None where the source does not say.
        boxes: may be empty: somebody looked, and there is nothing.
    """

    file_name: str
    image_size: tuple[int, int] | None = None
    boxes: list[NamedBox] = field(default_factory=list)

    def add(
        self,
        name: str,
        box_xywh: tuple[float, float, float, float],
        *,
        relative: bool = False,
        ignore: bool = False,
        score: float | None = None,
    ) -> None:
        """Append a box; see `NamedBox` for the arguments."""
        self.boxes.append(NamedBox(name=name, box_xywh=box_xywh, relative=relative, ignore=ignore, score=score))


@dataclass(frozen=True)
class Layout:
    """All that a source holds, and notes on it for a person, one sentence each."""

    pictures: Sequence[Labelled]
    notes: Sequence[str] = ()


def enclosing_box(
    box_xywh: tuple[float, float, float, float], degrees: float, pivot: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Return the upright box (x, y, width, height) around a box that is turned clockwise about a point.

    Args:
        box_xywh: the box before it is turned, in pixels: shares of unequal sides would shear.
        degrees: clockwise, as y points down.
        pivot: (x, y) in pixels.
    """
    x, y, width, height = box_xywh
    if degrees % 360 == 0:
        return box_xywh
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(cx - pivot[0], cy - pivot[1]) for cx in (x, x + width) for cy in (y, y + height)]
    xs = [pivot[0] + dx * cos - dy * sin for dx, dy in corners]
    ys = [pivot[1] + dx * sin + dy * cos for dx, dy in corners]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
