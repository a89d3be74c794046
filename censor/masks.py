"""Which pixels a region hides: whole-pixel boxes, and the shapes around them.

A box of whole pixels is (x1, y1, x2, y2), covering columns x1..x2-1 and rows y1..y2-1. The hidden box is the found
box, grown, rounded outward and only then clipped to the picture. Every shape contains every pixel of it: whatever the
shape, what was asked to be hidden is hidden, and the shape may only add to it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from censor.styles import Style
from detector.errors import UsageError

__all__ = [
    "Box",
    "Footprint",
    "area",
    "around",
    "bounding_box",
    "grown_box",
    "intersect",
    "mask_of",
    "slices",
    "stacked",
    "touching",
]

Box = tuple[int, int, int, int]
Weights = NDArray[np.uint8]

# Corner radius of a rounded rectangle, as a share of the box's shorter side.
ROUNDNESS = 0.25

# Coordinates beyond this are brought back to it: no picture is as large, and int() of a huge float stays exact.
FAR = 1e9

HIDDEN = 255  # the weight of a hidden pixel; less is the fade, 0 is untouched


def area(box: Box) -> int:
    """Return the number of pixels in a box; 0 for one turned inside out."""
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def intersect(box1: Box, box2: Box) -> Box:
    """Return the pixels in both boxes; its `area` is 0 when there are none."""
    return max(box1[0], box2[0]), max(box1[1], box2[1]), min(box1[2], box2[2]), min(box1[3], box2[3])


def touching(box: Box, boxes: NDArray[np.int64]) -> list[int]:
    """Return which rows of (N, 4) boxes share a pixel with one box, in order.

    All at once: of thousands of boxes, pair by pair would take minutes.
    """
    wide = np.minimum(boxes[:, 2], box[2]) > np.maximum(boxes[:, 0], box[0])
    high = np.minimum(boxes[:, 3], box[3]) > np.maximum(boxes[:, 1], box[1])
    return np.flatnonzero(wide & high).tolist()


def stacked(boxes: Sequence[Box]) -> NDArray[np.int64]:
    """Return boxes as (N, 4), for `touching`; (0, 4) of none."""
    return np.array(boxes, dtype=np.int64).reshape(-1, 4)


def bounding_box(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around all of at least one box."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def slices(box: Box, origin: Box) -> tuple[slice, slice]:
    """Return the (rows, columns) of `box` in an array that holds the pixels of the box `origin`."""
    x0, y0 = origin[:2]
    return slice(box[1] - y0, box[3] - y0), slice(box[0] - x0, box[2] - x0)


def grown_box(box: Sequence[float], grow: float = 0.0) -> Box:
    """Return the whole-pixel box that covers a found box after growing it; not clipped to any picture.

    Args:
        box: xyxy, continuous pixels of the source picture. A box without width still covers the pixel it lies in.
        grow: share of the box's size that is added, around the same centre.

    Raises:
        UsageError: when the box is not four finite numbers with x1 <= x2 and y1 <= y2. A box that is not a number
            would hide nothing.
    """
    corners = [float(corner) for corner in box]
    if len(corners) != 4 or not all(map(math.isfinite, corners)) or corners[0] > corners[2] or corners[1] > corners[3]:
        raise UsageError(f"a region's box must be four finite numbers with x1 <= x2 and y1 <= y2; got {corners}")
    x1, y1, x2, y2 = (min(max(corner, -FAR), FAR) for corner in corners)
    dx, dy = (x2 - x1) * grow / 2, (y2 - y1) * grow / 2
    left, top = math.floor(x1 - dx), math.floor(y1 - dy)
    return left, top, max(math.ceil(x2 + dx), left + 1), max(math.ceil(y2 + dy), top + 1)


def around(box: Box, core: Box) -> Iterator[Box]:
    """Yield the up to four pieces of `box` that lie outside `core`, a part of it."""
    x1, y1, x2, y2 = core
    pieces = (
        (box[0], box[1], box[2], y1),
        (box[0], y2, box[2], box[3]),
        (box[0], y1, x1, y2),
        (x2, y1, box[2], y2),
    )
    return (piece for piece in pieces if area(piece))


@dataclass(frozen=True)
class Footprint:
    """The pixels of one picture that one region hides and fades.

    Attributes:
        grown: the hidden box before it is clipped; the shape is drawn around this one.
        core: the hidden box inside the picture; without area when the region lies wholly outside.
        window: bounding box of everything that is hidden or faded, inside the picture.
        shape: as in `Style`.
        feather: width of the fade, in pixels.
    """

    grown: Box
    core: Box
    window: Box
    shape: str
    feather: float

    @classmethod
    def of(cls, box: Sequence[float], style: Style, image_size: tuple[int, int]) -> "Footprint":
        """Lay a style around a found box in a picture of (height, width)."""
        grown = grown_box(box, style.grow)
        picture = (0, 0, image_size[1], image_size[0])
        core = intersect(grown, picture)
        width, height = grown[2] - grown[0], grown[3] - grown[1]
        feather = style.feather * min(width, height)
        if not area(core):
            return cls(grown, core, core, style.shape, feather)
        more_x, more_y = (math.ceil(more + feather) for more in _bulge(style.shape, width, height))
        window = (grown[0] - more_x, grown[1] - more_y, grown[2] + more_x, grown[3] + more_y)
        return cls(grown, core, intersect(window, picture), style.shape, feather)

    def pieces(self, box: Box) -> Iterator[tuple[Box, Weights | None]]:
        """Yield the parts of `box` that this touches, each pixel in at most one of them.

        Returns:
            Pairs of a part and its weights, (h, w) uint8: 255 hidden, 1..254 in the fade, 0 untouched; None where
            every pixel is hidden, as it is in the whole hidden box. That one is never computed from the shape's
            formula, so no rounding can uncover a pixel of it.

            In the fade the weight falls evenly with the distance from the shape to the pixel's centre; around an
            ellipse that distance is measured towards its centre, which is never less than the shortest one.
        """
        window, core = intersect(self.window, box), intersect(self.core, box)
        if not area(window):
            return
        if not area(core):
            yield window, self._weights(window)
            return
        yield core, None
        for piece in around(window, core):
            yield piece, self._weights(piece)

    def weights(self, box: Box) -> Weights:
        """Return the weights of all pixels of `box` in one (h, w) array, as `pieces` states them."""
        weights = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.uint8)
        for piece, part in self.pieces(box):
            weights[slices(piece, box)] = HIDDEN if part is None else part
        return weights

    def _weights(self, box: Box) -> Weights:
        half_x, half_y = (self.grown[2] - self.grown[0]) / 2, (self.grown[3] - self.grown[1]) / 2
        x = np.abs(np.arange(box[0], box[2]) + 0.5 - (self.grown[0] + half_x))  # (w,), pixel centres from the middle
        y = np.abs(np.arange(box[1], box[3]) + 0.5 - (self.grown[1] + half_y))  # (h,)
        if self.shape == "ellipse":
            squared = _sum_of_squares(x / (half_x * math.sqrt(2)), y / (half_y * math.sqrt(2)))  # 1 on the ellipse
            hidden = squared <= 1
        else:
            corner = ROUNDNESS * 2 * min(half_x, half_y) if self.shape == "rounded" else 0.0
            more, _ = _bulge(self.shape, half_x * 2, half_y * 2)
            straight_x, straight_y = half_x + more - corner, half_y + more - corner
            squared = _sum_of_squares(np.maximum(x - straight_x, 0), np.maximum(y - straight_y, 0))
            hidden = squared <= corner * corner
        if self.feather == 0:
            return hidden.astype(np.uint8) * np.uint8(HIDDEN)
        if self.shape == "ellipse":
            distance = np.sqrt(_sum_of_squares(x, y)) * (1 - 1 / np.sqrt(np.maximum(squared, 1)))
        else:
            distance = np.sqrt(squared) - np.float32(corner)
        weights = np.clip((1 - distance / np.float32(self.feather)) * HIDDEN, 0, HIDDEN - 1).astype(np.uint8)
        weights[hidden] = HIDDEN
        return weights


def _sum_of_squares(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the (h, w) float32 sums of the squares of (w,) and (h,) numbers."""
    return (x * x).astype(np.float32)[None, :] + (y * y).astype(np.float32)[:, None]


def _bulge(shape: str, width: float, height: float) -> tuple[float, float]:
    """Return how far a shape reaches beyond its box, sideways and up or down, to hold the box's corners."""
    if shape == "ellipse":
        return (math.sqrt(2) - 1) * width / 2, (math.sqrt(2) - 1) * height / 2
    if shape == "rounded":
        more = (1 - math.sqrt(0.5)) * ROUNDNESS * min(width, height)
        return more, more
    return 0.0, 0.0


def mask_of(box: Sequence[float], style: Style, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the (height, width) pixels that a style hides around a found box; the fade is not among them."""
    weights = Footprint.of(box, style, image_size).weights((0, 0, image_size[1], image_size[0]))
    return np.equal(weights, HIDDEN)
