"""Looking in parts: where the windows of a picture lie, and how what was found in them is put together.

A network that squeezes everything to 320 px misses what is small: a part in a group photo, a cell of a collage, a
short stretch of a strip, a picture inside a wide frame.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.boxes import box_area, box_ios, box_iou, nms
from detector.postprocess import Candidates

__all__ = ["Window", "is_cut", "keep_best_of_tiles", "longest_side_needed", "plan_windows", "uniform_border"]

# Tiles along the short side. Recall on collages of mannequins, 6 x 6 and 4 x 4: levels up to 4 find .42 and .59, up to
# 6 .60 and .77, up to 8 .77 and .74; the same mannequins one by one .78 and .70.
LEVELS = (1, 2, 4, 8)

# Neighbouring tiles share this part of their side: a part up to a quarter of a tile is whole in one of them.
OVERLAP = 0.25

# No tile is smaller than this: enlarging fewer pixels to 320 shows the network nothing new.
MIN_TILE = 96

# A level that needs more tiles than this is left out: a 10:1 strip has 13 squares at level 1 and 172 at level 4. A
# 20:9 picture has 144 at level 8.
MAX_TILES = 160

# Level 1 (squares as wide as the picture) looks at what the full pass already saw, unless the picture is a strip.
STRIP_ASPECT = 1.5

# A frame around the picture: pixels that differ from the corner by no more than this (JPEG noise), and that take at
# least this share of a side.
BORDER_TOLERANCE = 12
MIN_BORDER = 0.02

# A box that comes this near to an edge where the tile was cut, as a share of the tile's side, may go on beyond it.
CUT_MARGIN = 0.02

# A cut box is a piece of a whole one, and goes, when this much of it lies inside that one.
PIECE_IOS = 0.7


@dataclass(frozen=True)
class Window:
    """A rectangle of the view, in whole pixels: rows `top` to `bottom`, columns `left` to `right`, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, view: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the pixels of the window, without copying them."""
        return view[self.top : self.bottom, self.left : self.right]


def uniform_border(view: NDArray[np.uint8]) -> Window:
    """Return the picture (h, w, 3) without the border of one colour around it; all of it when all is one colour."""
    height, width = view.shape[:2]
    differs = np.abs(view.astype(np.int16) - view[0, 0].astype(np.int16)).max(axis=2) > BORDER_TOLERANCE
    # A border that differs by a speck is still a border: half a per cent of a line may differ.
    rows = np.flatnonzero(differs.mean(axis=1) > 0.005)
    columns = np.flatnonzero(differs.mean(axis=0) > 0.005)
    if not len(rows) or not len(columns):
        return Window(0, 0, height, width)
    return Window(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _tile_side(short: int, level: int) -> float:
    """Return the side of a tile when `level` of them, overlapping, cover a side of `short`."""
    return short / (level - (level - 1) * OVERLAP)


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles of `side` start so that they cover `length` evenly, overlapping at least by `OVERLAP`."""
    if side >= length:
        return [0]
    count = math.ceil((length - side) / (side * (1 - OVERLAP)) - 1e-3) + 1
    return [round(start) for start in np.linspace(0, length - side, count)]


def _tiles(inner: Window, level: int) -> list[Window]:
    """Return the tiles of one level, square as far as the picture allows; none when it is not worth its cost."""
    height, width = inner.size
    long, short = max(height, width), min(height, width)
    side = math.ceil(_tile_side(short, level))
    if level == 1:
        if long < STRIP_ASPECT * short:
            return []
        # However thin the strip, all of it is looked at, in pieces that are longer then.
        side = max(side, MIN_TILE, math.ceil(long / (1 + (MAX_TILES - 1) * (1 - OVERLAP))))
    elif side < MIN_TILE:
        return []
    tiles = [
        Window(top, left, min(top + side, inner.bottom), min(left + side, inner.right))
        for top in (inner.top + start for start in _starts(height, side))
        for left in (inner.left + start for start in _starts(width, side))
    ]
    return tiles if len(tiles) <= MAX_TILES else []


def plan_windows(view: NDArray[np.uint8]) -> tuple[Window, list[Window]]:
    """Plan where to look.

    Args:
        view: (h, w, 3) uint8.

    Returns:
        What lies inside the uniform border; and the windows: the whole view, what lies inside the border where there
        is one, and overlapping tiles of that.
    """
    height, width = view.shape[:2]
    inner = uniform_border(view)
    windows = [Window(0, 0, height, width)]
    if inner.size[0] < height * (1 - MIN_BORDER) or inner.size[1] < width * (1 - MIN_BORDER):
        windows.append(inner)
    return inner, [*windows, *(tile for level in LEVELS for tile in _tiles(inner, level))]


def longest_side_needed(image_size: tuple[int, int], network_side: int) -> int:
    """Return the long side that a view must have so that its smallest tile has `network_side` pixels.

    Never more than the picture's own. A picture inside a border has smaller tiles: they are enlarged then.
    """
    long, short = max(image_size), min(image_size)
    return min(long, math.ceil(network_side * long / _tile_side(short, max(LEVELS))))


def is_cut(boxes: NDArray[np.float32], window: Window, whole: Window) -> NDArray[np.bool_]:
    """Return (N,) whether each box may be a piece: it touches an edge of the window that is not one of `whole`.

    Args:
        boxes: (N, 4) xyxy in pixels of the view.
        window: where they were found.
        whole: what the windows were cut from.
    """
    margin = CUT_MARGIN * min(window.size)
    cut: NDArray[np.bool_] = (
        ((boxes[:, 0] < window.left + margin) & (window.left > whole.left))
        | ((boxes[:, 1] < window.top + margin) & (window.top > whole.top))
        | ((boxes[:, 2] > window.right - margin) & (window.right < whole.right))
        | ((boxes[:, 3] > window.bottom - margin) & (window.bottom < whole.bottom))
    )
    return cut


def keep_best_of_tiles(
    found: Candidates, cut: NDArray[np.bool_], *, nms_thresh: float, detections_per_img: int
) -> Candidates:
    """Return what stays of the boxes of all windows.

    Whole boxes suppress each other by IoU, as without tiles: intersection over smaller would let one large wrong box
    swallow two right ones. Only a box that a tile's edge cut is dropped for lying inside another; a piece that no
    whole box covers stays, so that what is found is hidden.

    Args:
        found: candidates of all windows, in one frame, clipped.
        cut: (N,) whether each may be a piece.
        nms_thresh: highest IoU that two boxes of one class may have.
        detections_per_img: at most so many are returned.
    """
    has_area: NDArray[np.bool_] = np.asarray((found.boxes[:, 2:] > found.boxes[:, :2]).all(axis=1))
    found, cut = found.pick(has_area), cut[has_area]
    wholes, pieces = found.pick(~cut), found.pick(cut)
    wholes = wholes.pick(nms(wholes.boxes, wholes.scores, wholes.labels, nms_thresh))
    pieces = pieces.pick(nms(pieces.boxes, pieces.scores, pieces.labels, nms_thresh))

    kept = Candidates.concatenate([wholes, pieces])
    same = pieces.labels[:, None] == kept.labels[None, :]
    larger = box_area(kept.boxes)[None, :] > box_area(pieces.boxes)[:, None]
    inside = same & larger & (box_ios(pieces.boxes, kept.boxes) > PIECE_IOS)
    alike = same & (box_iou(pieces.boxes, kept.boxes) > nms_thresh)
    alike[:, len(wholes.scores) :] = False  # among pieces that was decided above
    stays = ~(inside | alike).any(axis=1)
    kept = Candidates.concatenate([wholes, pieces.pick(stays)])
    order = np.argsort(-kept.scores, kind="stable")
    return kept.pick(order[:detections_per_img])
