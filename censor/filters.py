"""Cell means: all that `blur` and `pixelate` let through.

The argument why nothing else of the picture can be got back (SAFETY, rule 5):

* Soft regions (`blur` and `pixelate`) whose hidden boxes overlap form one group, directly or through others. A group
  is measured once, on the untouched picture, over one grid: at most 8 cells along the long side of its bounding box.
  Thirty regions shifted by a few pixels against each other therefore show no more means than one does; measured one
  by one, each would show another 64 and the differences would give the pixels back.
* What is averaged: the pixels of the group's hidden boxes, each in exactly one cell, except those that a `box` region
  hides. Groups share no pixel. Visible pixels stay out, so bright surroundings do not bleed in, and so do the parts
  of an ellipse or a rounded rectangle beyond its box: those are painted from the nearest cells and count nowhere.
* A cell of fewer than 16 pixels has no mean of its own and takes the nearest cell's: the mean of one pixel is that
  pixel. A group without any mean, such as a region of 3 by 2 pixels, becomes grey.
* Means are rounded to 8 bits, from exact integer sums. What is painted is computed from them alone.

So any two pictures with equal means and equal visible pixels come out alike, byte for byte. This holds for one
output; whoever hides the same picture again with other boxes and publishes both has published both sets of means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from censor.masks import HIDDEN, Box, Footprint, area, bounding_box, intersect, slices

__all__ = ["Cells", "Patch", "cell_edges", "grid_size", "measure_cells"]

Pixels = NDArray[np.uint8]

# A cell is at least this long and wide where the region allows it: a region of 6 by 6 pixels in 6 by 6 cells would
# be shown unchanged.
MIN_CELL_SIDE = 4
# Fewer pixels than this have no mean that may be shown.
MIN_CELL_PIXELS = MIN_CELL_SIDE * MIN_CELL_SIDE

# Where there is no mean to show: grey, which is every canvas's colour.
NO_MEAN = 128

# Each step doubles the grid; after three the creases of the linear enlargement that follows cannot be seen.
SMOOTHING_STEPS = 3


def grid_size(height: int, width: int, cells: int) -> tuple[int, int]:
    """Return (rows, columns) of the grid over a box of height by width pixels.

    At most `cells` along the long side and proportionally fewer along the short one, at least 1 each; every cell has
    at least `MIN_CELL_PIXELS` pixels, unless the box itself has fewer.
    """
    long, short = max(height, width), min(height, width)
    # A cell of a strip thinner than MIN_CELL_SIDE must be longer, to hold enough pixels.
    along = max(1, min(cells, long // max(MIN_CELL_SIDE, -(-MIN_CELL_PIXELS // short))))
    across = max(1, min((2 * along * short + long) // (2 * long), short // MIN_CELL_SIDE))
    return (across, along) if height < width else (along, across)


def cell_edges(side: int, cells: int) -> list[int]:
    """Return the cells + 1 whole-pixel edges from 0 to `side`: each pixel lies in exactly one cell."""
    return [i * side // cells for i in range(cells + 1)]


@dataclass(frozen=True, eq=False)
class Cells:
    """The means of one group.

    Attributes:
        box: the group's bounding box, over which the grid lies.
        means: (rows, columns, channels) uint8.
    """

    box: Box
    means: Pixels


def measure_cells(
    read: Callable[[Box], Pixels], cores: Sequence[Box], cells: int, excluded: Sequence[Footprint] = ()
) -> Cells:
    """Average a group's hidden pixels.

    Args:
        read: gives the (h, w, channels) pixels of a box of the untouched picture.
        cores: the hidden boxes of the group's regions, at least one.
        cells: most cells along the long side of their bounding box.
        excluded: regions that hide their pixels altogether, and may touch; those pixels are not counted.
    """
    box = bounding_box(cores)
    rows, columns = grid_size(box[3] - box[1], box[2] - box[0], cells)
    ys = [box[1] + edge for edge in cell_edges(box[3] - box[1], rows)]
    xs = [box[0] + edge for edge in cell_edges(box[2] - box[0], columns)]
    everything_counts = not excluded and any(core == box for core in cores)
    sums, counts = [], []
    for top, bottom in pairwise(ys):
        strip: Box = (box[0], top, box[2], bottom)
        pixels = read(strip)
        counted = None if everything_counts else _counted(strip, cores, excluded)
        if counted is not None:
            pixels = np.asarray(cv2.copyTo(pixels, counted), dtype=np.uint8).reshape(pixels.shape)
        for left, right in pairwise(xs):
            cell = slices((left, top, right, bottom), strip)
            counts.append((right - left) * (bottom - top) if counted is None else cv2.countNonZero(counted[cell]))
            sums.append(cv2.sumElems(pixels[cell])[: pixels.shape[2]])  # doubles that hold whole numbers exactly
    return Cells(box, _means(np.array(sums, np.int64), np.array(counts, np.int64), rows, columns))


def _counted(strip: Box, cores: Sequence[Box], excluded: Sequence[Footprint]) -> Pixels:
    """Return (h, w) uint8, 255 where a pixel of the strip lies in a hidden box and in no excluded region."""
    counted = np.zeros((strip[3] - strip[1], strip[2] - strip[0]), dtype=np.uint8)
    for core in cores:
        part = intersect(core, strip)
        if area(part):
            counted[slices(part, strip)] = HIDDEN
    for footprint in excluded:
        part = intersect(footprint.window, strip)
        if area(part):
            counted[slices(part, strip)][footprint.weights(part) == HIDDEN] = 0
    return counted


def _means(sums: NDArray[np.int64], counts: NDArray[np.int64], rows: int, columns: int) -> Pixels:
    """Divide (cells, channels) sums by (cells,) counts, rounding halves up; cells with too few pixels borrow."""
    valid = counts >= MIN_CELL_PIXELS
    if not valid.any():
        return np.full((rows, columns, sums.shape[1]), NO_MEAN, dtype=np.uint8)
    divisor = np.maximum(counts, 1)[:, None]
    means = (2 * sums + divisor) // (2 * divisor)
    row, column = np.divmod(np.arange(rows * columns), columns)
    far = (row[:, None] - row[None, valid]) ** 2 + (column[:, None] - column[None, valid]) ** 2
    lender = np.flatnonzero(valid)[far.argmin(axis=1)]  # a valid cell lends to itself, at distance 0
    return np.asarray(means[lender].reshape(rows, columns, -1), dtype=np.uint8)


class Patch:
    """What one group shows in one style, painted from its cell means alone, over its whole bounding box."""

    def __init__(self, cells: Cells, style: str) -> None:
        x1, y1, x2, y2 = self.box = cells.box
        size = (y2 - y1, x2 - x1)
        self._pixels = _smooth(cells.means, size) if style == "blur" else _mosaic(cells.means, size)

    def read(self, box: Box) -> Pixels:
        """Return the (h, w, channels) pixels of a box; beyond the patch its edge pixels are continued outward."""
        x1, y1, x2, y2 = self.box
        height, width = box[3] - box[1], box[2] - box[0]
        if box[1] >= y1 and box[3] <= y2:
            pixels = self._pixels[box[1] - y1 : box[3] - y1]
        else:
            pixels = self._pixels[np.clip(np.arange(box[1], box[3]), y1, y2 - 1) - y1]
        start = min(max(box[0], x1), x2 - 1)
        stop = max(min(box[2], x2), start + 1)
        pixels = pixels[:, start - x1 : stop - x1]
        more = width - (stop - start)
        if not more:
            return pixels
        left = min(max(start - box[0], 0), more)
        wider = cv2.copyMakeBorder(pixels, 0, 0, left, more - left, cv2.BORDER_REPLICATE)
        return np.asarray(wider, dtype=np.uint8).reshape(height, width, pixels.shape[2])


def _mosaic(means: Pixels, size: tuple[int, int]) -> Pixels:
    """Fill each cell of a (rows, columns, channels) grid with its mean; (height, width, channels)."""
    rows, columns = means.shape[:2]
    line = np.repeat(means, np.diff(cell_edges(size[1], columns)), axis=1)  # (rows, width, channels)
    return np.repeat(line, np.diff(cell_edges(size[0], rows)), axis=0)


def _smooth(means: Pixels, size: tuple[int, int]) -> Pixels:
    """Enlarge a (rows, columns, channels) grid without visible cells; (height, width, channels).

    Whole numbers throughout, so that threads, vector units and BLAS cannot change a byte, and weighted averages only,
    so that no value lies outside the means' range.
    """
    grid = means.astype(np.int64)
    for _ in range(SMOOTHING_STEPS):
        grid = _doubled(_doubled(grid).swapaxes(0, 1)).swapaxes(0, 1)
    scale = 16**SMOOTHING_STEPS
    fine = ((grid + scale // 2) // scale).astype(np.uint8)
    pixels = cv2.resize(np.ascontiguousarray(fine), size[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(pixels, dtype=np.uint8).reshape(*size, means.shape[2])


def _doubled(grid: NDArray[np.int64]) -> NDArray[np.int64]:
    """Double the rows by corner cutting, four times the value; the limit of the steps is a quadratic B-spline.

    Source:
        Chaikin, An algorithm for high-speed curve generation (1974); at the ends the last row is repeated.
    """
    before = np.concatenate([grid[:1], grid[:-1]])
    after = np.concatenate([grid[1:], grid[-1:]])
    pair = np.stack([3 * grid + before, 3 * grid + after], axis=1)  # (rows, 2, columns, channels)
    return pair.reshape(2 * len(grid), *grid.shape[1:])
