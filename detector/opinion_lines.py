"""Lines of one colour in a picture: borders around it, gutters and seams within; NumPy and Pillow, on a small sample.

A line is a row or a column. Every line is seen at a few places only, and large pictures in a reduced copy, so all of
this costs little beside decoding. Places are in lines of that copy; `LineCopy.spans` leads back to the picture.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["AXES", "Area", "LineCopy", "Span", "between_gutters", "pieces", "trimmed", "without_border"]

Span = tuple[int, int]
Axis = Literal[0, 1]  # 0: rows, from top to bottom; 1: columns, from left to right
Lines = NDArray[np.uint8]
Colours = NDArray[np.float32]

AXES: tuple[Axis, Axis] = (0, 1)

# At most so many lines along each axis are looked at: a gutter's edge is then found to .1 % of the side.
MAX_LINES = 1024
# Every line is seen at so many places, and first of all at each eighth of these.
SAMPLES = 64
FEW = 8

# A line is flat when its samples lie this close together, in each channel, but for the lowest and the highest: a
# speck of dust spoils a sample. JPEG at quality 50 moves what lies beside a border's edge by as much.
FLAT_RANGE = 16
SPOILT = 1

# One border inside another, and rows that are flat only once the columns beside them are gone.
MAX_BORDERS = 6

# A border or gutter ends within so many lines after the last flat one: JPEG blurs colours over 16.
MAX_SMEAR = 16

# Bands, what stands side by side in each, and once more within these.
MAX_CUTS = 3

# A colour changes when most of a line does by more than this.
JUMP = 12
# At a seam by so many times more than at the lines around it; and seams are at least so far apart.
SEAM_TIMES = 4
SEAM_WINDOW = 16


@dataclass(frozen=True)
class Area:
    """A rectangle of the reduced copy.

    Attributes:
        rows: the first, and the one after the last.
        columns: the same.
    """

    rows: Span
    columns: Span

    def span(self, axis: Axis) -> Span:
        """Return its lines along an axis."""
        return self.columns if axis else self.rows

    def having(self, axis: Axis, span: Span) -> "Area":
        """Return it with other lines along an axis."""
        return Area(self.rows, span) if axis else Area(span, self.columns)


class LineCopy:
    """A picture in a reduced copy, each side at most `MAX_LINES`, and the way back to the picture.

    Args:
        image: mode RGB.
    """

    def __init__(self, image: Image.Image) -> None:
        size = (min(image.width, MAX_LINES), min(image.height, MAX_LINES))
        # Lines are picked, not averaged: averages would blur thin gutters, and take far longer.
        self.pixels = np.asarray(image if size == image.size else image.resize(size, Image.Resampling.NEAREST))
        self._scale = (image.height / size[1], image.width / size[0])
        self.whole = Area((0, size[1]), (0, size[0]))
        # Borders, margins, gutters and pieces are found one after the other, mostly in the same area.
        self._lines: dict[tuple[Area, Axis], Lines] = {}
        self._flat: dict[tuple[Area, Axis], NDArray[np.bool_]] = {}

    def lines(self, area: Area, axis: Axis) -> Lines:
        """Return (n, 3, SAMPLES): every line of an area along an axis, seen at a few places."""
        if (area, axis) not in self._lines:
            self._lines[area, axis] = self._pick(area, axis)
        return self._lines[area, axis]

    def flat(self, area: Area, axis: Axis) -> NDArray[np.bool_]:
        """Return (n,) whether each of these lines shows one colour."""
        if (area, axis) not in self._flat:
            self._flat[area, axis] = _flat(self.lines(area, axis))
        return self._flat[area, axis]

    def _pick(self, area: Area, axis: Axis) -> Lines:
        (top, bottom), (left, right) = area.rows, area.columns
        if axis:
            picked = np.linspace(top, bottom - 1, SAMPLES).astype(np.int64)
            return self.pixels[picked, left:right].transpose(1, 2, 0)
        picked = np.linspace(left, right - 1, SAMPLES).astype(np.int64)
        return self.pixels[top:bottom, picked].transpose(0, 2, 1)

    def spans(self, spans: tuple[Span, ...], axis: Axis) -> tuple[Span, ...]:
        """Return runs of lines in pixels of the picture."""
        scale = self._scale[axis]
        return tuple((round(start * scale), round(end * scale)) for start, end in spans)


def _flat(lines: Lines) -> NDArray[np.bool_]:
    """Return (n,) whether a line shows one colour."""
    # A few samples are enough to pass over nearly every line of a photograph.
    few = np.sort(lines[:, :, ::FEW], axis=2)
    flat: NDArray[np.bool_] = np.all(few[:, :, -1 - SPOILT] - few[:, :, SPOILT] <= FLAT_RANGE, axis=1)
    ordered = np.sort(lines[flat], axis=2)
    flat[flat] = (ordered[:, :, -1 - SPOILT] - ordered[:, :, SPOILT] <= FLAT_RANGE).all(axis=1)
    return flat


def _same(colours: Colours, others: Colours) -> NDArray[np.bool_]:
    """Return (n,) whether colours (n, 3) are those of another (n, 3) or of one (3,), but for JPEG's noise."""
    same: NDArray[np.bool_] = np.all(np.abs(colours - others) <= FLAT_RANGE / 2, axis=1)
    return same


def _first_not(flat: NDArray[np.bool_]) -> int:
    """Return how many lines from the first on are flat."""
    return len(flat) if flat.all() else int(np.argmin(flat))


def _drawn_until(lines: Lines, at: int, colour: Colours) -> int | None:
    """Return where a colour (3,) that fills the lines up to `at` ends as if drawn; None where it does not.

    That is the next line of which half is of another colour, if it comes soon. Between, JPEG may have left lines that
    are neither. Where a picture's own background ends, only what stands out of it is of another colour.
    """
    beside = lines[at : at + MAX_SMEAR]
    change = np.abs(beside - colour[:, None]).max(axis=1)
    other = np.flatnonzero(np.median(change, axis=1) > JUMP)
    return at + int(other[0]) if len(other) else None


def _ring(lines: Lines, flat: NDArray[np.bool_]) -> int:
    """Return how many lines from the first on are one border: flat, of one colour, ending as if drawn."""
    count = _first_not(flat)
    if not count:
        return 0
    colours = lines[:count].mean(axis=2, dtype=np.float32)
    same = _same(colours, colours[0])
    count = count if same.all() else int(np.argmin(same))
    return _drawn_until(lines, count, colours[0]) or 0


def without_border(copy: LineCopy, area: Area) -> Area:
    """Leave out what was drawn around the picture, one border after another, but not the picture's own background."""
    for _ in range(MAX_BORDERS):
        before = area
        for axis in AXES:
            lines, flat = copy.lines(area, axis), copy.flat(area, axis)
            start, end = area.span(axis)
            start, end = start + _ring(lines, flat), end - _ring(lines[::-1], flat[::-1])
            if start < end:
                area = area.having(axis, (start, end))
        if area == before:
            break
    return area


def trimmed(copy: LineCopy, area: Area) -> Area | None:
    """Leave out all flat lines at the edges, whatever their colours; None where nothing else is there."""
    for _ in range(MAX_BORDERS):
        before = area
        flat_axes = 0
        for axis in AXES:
            flat = copy.flat(area, axis)
            start, end = area.span(axis)
            start, end = start + _first_not(flat), end - _first_not(flat[::-1])
            if start < end:
                area = area.having(axis, (start, end))
            else:  # what is there is too narrow to be seen on lines of this axis
                flat_axes += 1
        if flat_axes == len(AXES):
            return None
        if area == before:
            break
    return area


def _runs(content: NDArray[np.bool_], start: int) -> tuple[Span, ...]:
    """Return the runs of True, counted from `start`."""
    edges = np.flatnonzero(np.diff(content.astype(np.int8), prepend=0, append=0)) + start
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def between_gutters(copy: LineCopy, area: Area, axis: Axis) -> tuple[Span, ...]:
    """Return the runs of lines between gutters: flat lines of one colour that look drawn from both sides."""
    start, end = area.span(axis)
    lines = copy.lines(area, axis)
    kept = np.ones(len(lines), dtype=np.bool_)
    for first, last in _runs(copy.flat(area, axis), 0):
        colours = lines[first:last].mean(axis=2, dtype=np.float32)
        changes = (np.flatnonzero(~_same(colours[1:], colours[:-1])) + 1).tolist()
        for a, b in zip([0, *changes], [*changes, last - first], strict=True):
            below = _drawn_until(lines, first + b, colours[b - 1])
            above = _drawn_until(lines[::-1], len(lines) - first - a, colours[a])
            if above is not None and below is not None:
                kept[len(lines) - above : below] = False
    return _runs(kept, start) or ((start, end),)


def _seams(lines: Lines) -> list[int]:
    """Return the lines at which another picture begins: nearly everywhere along it, the colour jumps."""
    if len(lines) < 2 * SEAM_WINDOW:
        return []
    jumps = _jumps(lines[:, :, ::FEW])
    if not (jumps > JUMP).any():
        return []
    around = np.lib.stride_tricks.sliding_window_view(np.pad(jumps, SEAM_WINDOW, mode="edge"), 2 * SEAM_WINDOW + 1)
    stands_out = (jumps > JUMP) & (jumps == around.max(axis=1)) & (jumps > SEAM_TIMES * np.median(around, axis=1))
    seams: list[int] = []
    for line in np.flatnonzero(stands_out):
        seam = int(line) + 1
        apart = seam - (seams[-1] if seams else 0)
        # Few samples stood out; all of them must.
        if min(apart, len(lines) - seam) >= SEAM_WINDOW and _jumps(lines[line : line + 3])[0] > JUMP:
            seams.append(seam)
    return seams


def _jumps(lines: Lines) -> NDArray[np.int16]:
    """Return (n - 2,) what three in four samples change by, in the channel that changes most, from before to after.

    Over two lines, since JPEG and resizing smear a seam. Three in four: an object's edge ends somewhere.
    """
    change = np.abs(lines[2:].astype(np.int16) - lines[:-2]).max(axis=1)
    rank = change.shape[1] // 4
    jumps: NDArray[np.int16] = np.partition(change, rank, axis=1)[:, rank]
    return jumps


def pieces(copy: LineCopy, area: Area, cuts: int = MAX_CUTS) -> list[Area]:
    """Cut an area at flat lines and seams, and each piece again; trimmed, in the order of reading.

    Source:
        The recursive X-Y cut of Nagy and Seth, Hierarchical representation of optically scanned documents (1984).
    """
    content = trimmed(copy, area)
    if content is None:
        return []
    for axis in AXES if cuts else ():
        start, _ = content.span(axis)
        lines = copy.lines(content, axis)
        parts = list(_runs(~copy.flat(content, axis), start))
        for seam in _seams(lines):
            parts = [half for part in parts for half in _split(part, start + seam)]
        if len(parts) > 1:
            return [piece for part in parts for piece in pieces(copy, content.having(axis, part), cuts - 1)]
    return [content]


def _split(span: Span, at: int) -> list[Span]:
    """Cut a run of lines in two, unless at its very edge: there, what seems a seam is the gutter's edge."""
    start, end = span
    return [(start, at), (at, end)] if min(at - start, end - at) >= SEAM_WINDOW else [span]
