"""Paint regions of a picture so that what was there cannot be got back.

Every pixel that some region hides ends as one of two things: the fill of an opaque region, as `censor.fills` makes it
without that pixel, or cell means as `censor.filters` defines them. The order of the regions does not matter. It is,
from bottom to top: all fades, then `blur` and `pixelate`, then the opaque styles; within each, large before small. The
fades go first, so that none of them mixes the untouched pixels of another region into anything, and means are taken
before any of it, without what an opaque region hides.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.canvas import Canvas, canvas_of
from censor.fills import Fill, Surface, Surroundings, fill_of
from censor.filters import Cells, Patch, measure_cells
from censor.masks import HIDDEN, Box, Footprint, area, bounding_box, slices, stacked, touching
from censor.styles import OPAQUE_STYLES, Style
from detector.errors import OutputError, UsageError

__all__ = ["Painted", "Region", "needs_colour", "paint", "paint_image", "whole"]

Pixels = NDArray[np.uint8]

# Painted in bands of about this many pixels, so that no more than a few megabytes stand beside the picture itself;
# from 1 << 16 to 1 << 20 the time is the same within a fifth, and shortest here.
BAND_PIXELS = 1 << 18

OPAQUE = 255


@dataclass(frozen=True)
class Region:
    """Something to hide.

    Attributes:
        box: xyxy, continuous pixels of the source picture; may reach over its edge or lie outside.
        style: how to hide it.
        label: what it is, for reports.

    Raises:
        UsageError: when the box is not four finite numbers with x1 <= x2 and y1 <= y2.
    """

    box: tuple[float, float, float, float]
    style: Style
    label: str = ""

    def __post_init__(self) -> None:
        try:
            box = tuple(float(corner) for corner in self.box)
        except (TypeError, ValueError):
            box = ()
        if len(box) != 4 or not all(map(math.isfinite, box)) or box[0] > box[2] or box[1] > box[3]:
            raise UsageError(f"a region's box must be four finite numbers with x1 <= x2 and y1 <= y2; got {self.box!r}")
        object.__setattr__(self, "box", box)


@dataclass(frozen=True, kw_only=True)
class Painted:
    """What became of one region.

    Attributes:
        label, style, shape: as in the region.
        box: the hidden box in whole pixels, (x1, y1, x2, y2), inside the picture; without area when not painted.
        painted: False when the region lies wholly outside the picture: there was nothing to paint.
        pixels: how many pixels the shape hides; at least the box's area.
        changed: the share of them, 0..1, that differ from the untouched picture. Rarely exactly 1 for `blur` and
            `pixelate`: a pixel may equal its cell's mean.
        flat: whether all of them had one value before, so that no change need be seen.
    """

    label: str
    style: str
    shape: str
    box: Box
    painted: bool
    pixels: int = 0
    changed: float = 0.0
    flat: bool = False


def whole(image_size: tuple[int, int], style: Style, label: str = "") -> Region:
    """Return the region that hides a whole picture of (height, width), in a style's colour or cells."""
    height, width = image_size
    return Region((0.0, 0.0, float(width), float(height)), replace(style, shape="rectangle", grow=0, feather=0), label)


def needs_colour(regions: Iterable[Region]) -> bool:
    """Return whether a grey picture must become RGB first, because what a region is painted with is not all grey."""
    return any(
        region.style.style in OPAQUE_STYLES
        and (len(set(region.style.colour)) > 1 or (region.style.sticker is not None and not region.style.sticker.grey))
        for region in regions
    )


def paint(canvas: NDArray[np.uint8] | Image.Image, regions: Sequence[Region]) -> list[Painted]:
    """Hide regions of a picture, in place and for good.

    Pixels that no region hides or fades keep every byte. Under a hidden pixel alpha becomes 255, and in a fade it
    rises to at least the fade's weight.

    Args:
        canvas: uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA array, or Pillow picture of mode L, RGB or RGBA.
        regions: in any order; the result does not depend on it.

    Returns:
        What became of each region, in the order given; [] for no regions.

    Raises:
        UsageError: for another kind of canvas, or a colour on a grey one (see `needs_colour`); nothing has
            been painted then.
        OutputError: when the pixels that are read back are not those that were painted. The canvas must be thrown
            away.
    """
    target = canvas_of(canvas)
    regions = list(regions)
    if target.channels == 1 and needs_colour(regions):
        raise UsageError("a colour needs a picture with colours; got a grey one; convert it to RGB first")
    jobs = [_Job(region, Footprint.of(region.box, region.style, target.image_size)) for region in regions]
    active = sorted((job for job in jobs if area(job.core)), key=_Job.order)
    _measure(target, active)
    for cluster in _connected(active, [job.footprint.window for job in active]):
        _paint_cluster(target, cluster)
    return [job.result() for job in jobs]


def paint_image(image: Image.Image, regions: Sequence[Region]) -> tuple[Image.Image, list[Painted]]:
    """Hide regions as `paint` does, after turning a grey picture into RGB if a region's colour asks for it.

    Returns:
        The painted picture, which is `image` itself unless it had to be converted, and what became of each region.
    """
    regions = list(regions)
    if image.mode == "L" and needs_colour(regions):
        image = image.convert("RGB")
    return image, paint(image, regions)


class _Job:
    """One region while it is painted: where, with what, and what was counted."""

    def __init__(self, region: Region, footprint: Footprint) -> None:
        self.region = region
        self.footprint = footprint
        self.core = footprint.core
        self.cells: Cells | None = None  # of a soft region's group
        self.fill: Fill | None = None  # of an opaque region
        self.first: tuple[int, ...] = ()  # the untouched value of one hidden pixel, to tell a flat region
        self.may_be_flat = True
        self.pixels = self.unchanged = 0

    @property
    def is_opaque(self) -> bool:
        return self.region.style.style in OPAQUE_STYLES

    def order(self) -> tuple[Any, ...]:
        """Return the sorting key, bottom first; regions with equal keys paint the same."""
        style = self.region.style
        return (
            self.is_opaque,
            -area(self.core),
            self.footprint.grown,
            (style.style, style.shape, style.feather, style.colour, style.cells, style.caption),
            style.sticker.sha256 if style.sticker is not None else "",
        )

    def result(self) -> Painted:
        style = self.region.style
        done = bool(area(self.core))
        return Painted(
            label=self.region.label,
            style=style.style,
            shape=style.shape,
            box=self.core if done else (0, 0, 0, 0),
            painted=done,
            pixels=self.pixels,
            changed=1 - self.unchanged / self.pixels if done else 0.0,
            flat=done and self.may_be_flat,
        )


class _Surfaces:
    """What the regions of one cluster show, each made when first needed; soft regions of a group share theirs."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str], Surface] = {}

    def of(self, job: _Job) -> Surface:
        style = job.region.style.style
        key = (id(job.cells or job.fill), style)
        if key not in self._made:
            self._made[key] = _surface(job, style)
        return self._made[key]


def _surface(job: _Job, style: str) -> Surface:
    if job.cells is not None:
        return Patch(job.cells, style)
    assert job.fill is not None  # measured, as all that are active
    return job.fill.surface()


def _connected(jobs: Sequence[_Job], boxes: Sequence[Box]) -> list[list[_Job]]:
    """Group jobs whose boxes overlap, directly or through others; the order within a group is kept."""
    parent = list(range(len(jobs)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    rows = stacked(boxes)
    for i in range(len(jobs)):
        for j in touching(boxes[i], rows[:i]):
            parent[root(j)] = root(i)
    groups: dict[int, list[_Job]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault(root(i), []).append(job)
    return list(groups.values())


def _measure(target: Canvas, jobs: Sequence[_Job]) -> None:
    """Take all cell means, and what fills need of the surroundings, before anything is painted."""
    soft = [job for job in jobs if not job.is_opaque]
    covered = [job.footprint for job in jobs if job.is_opaque]
    windows = stacked([footprint.window for footprint in covered])
    surroundings = Surroundings(target, [job.footprint for job in jobs])
    for job in jobs:
        if job.is_opaque:
            job.fill = fill_of(job.region.style, job.footprint, surroundings)
    for group in _connected(soft, [job.core for job in soft]):
        fewest = min(job.region.style.cells for job in group)
        cores = [job.core for job in group]
        near = [covered[i] for i in touching(bounding_box(cores), windows)]
        cells = measure_cells(target.read, cores, fewest, near)
        if target.channels == 4:
            cells.means[:, :, 3] = OPAQUE
        for job in group:
            job.cells = cells


def _paint_cluster(target: Canvas, cluster: Sequence[_Job]) -> None:
    """Paint regions that touch each other and, by their windows, nobody else; band by band, then check."""
    for job in cluster:
        x1, y1, x2, _ = job.core
        row = target.read((x1, y1, x2, y1 + 1))
        job.first = tuple(int(part) for part in row[0, 0])
        job.may_be_flat = bool((row == row[0, 0]).all())
    surfaces = _Surfaces()
    for band in _bands(bounding_box([job.footprint.window for job in cluster])):
        before = target.read(band)
        after = before.copy()
        parts = [_Part(job, *piece) for job in cluster for piece in job.footprint.pieces(band)]
        for part in parts:
            part.fade(after, band, surfaces)
        for part in parts:
            part.cover(after, band, surfaces)
        same = _equal(np.asarray(cv2.absdiff(before, after), dtype=np.uint8), ())
        for part in parts:
            part.count(before, same, band)
        target.write(band, after)
        if cv2.norm(target.read(band), after, cv2.NORM_INF) != 0:
            raise OutputError(f"the pixels of {band} must be those that were painted; they are not; do not use them")
    for job in cluster:
        if job.pixels < area(job.core):
            raise OutputError(
                f"all {area(job.core)} pixels of the hidden box {job.core} must be painted; only {job.pixels} were; "
                "do not use the picture"
            )


def _bands(box: Box) -> Iterator[Box]:
    """Yield the horizontal bands of a box, from the top."""
    rows = max(1, BAND_PIXELS // (box[2] - box[0]))
    for top in range(box[1], box[3], rows):
        yield box[0], top, box[2], min(top + rows, box[3])


def _equal(pixels: Pixels, value: tuple[int, ...]) -> Pixels:
    """Return (h, w) uint8, 255 where all channels have the given values."""
    value = (*value, 0, 0, 0, 0)[:4]
    return np.asarray(cv2.inRange(pixels, value, value), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece of one region within one band; `weights` is None where every pixel of `box` is hidden."""

    job: _Job
    box: Box
    weights: Pixels | None

    def fade(self, after: Pixels, band: Box, surfaces: _Surfaces) -> None:
        """Blend the region's own pixels over its surroundings, by the fade's weights.

        Where the weight is 0 every byte stays; where it is 255, `cover` follows.
        """
        if self.weights is None or self.job.footprint.feather == 0 or not self.weights.any():
            return
        view = after[slices(self.box, band)]
        value = surfaces.of(self.job).read(self.box)
        weight = self.weights[:, :, None]
        view[:] = _over_transparent(weight, value, view) if after.shape[2] == 4 else _over(weight, value, view)

    def cover(self, after: Pixels, band: Box, surfaces: _Surfaces) -> None:
        """Replace every hidden pixel."""
        view = after[slices(self.box, band)]
        mask = None if self.weights is None else _equal(self.weights, (HIDDEN,))
        if mask is not None and not mask.any():
            return
        value = surfaces.of(self.job).read(self.box)
        if mask is None:
            view[:] = value
        else:
            cv2.copyTo(value, mask, view)

    def count(self, before: Pixels, same: Pixels, band: Box) -> None:
        """Add to the job's counts, from the untouched pixels and from where they stayed `same`."""
        where = slices(self.box, band)
        mask = None if self.weights is None else _equal(self.weights, (HIDDEN,))
        pixels = area(self.box) if mask is None else cv2.countNonZero(mask)
        self.job.pixels += pixels
        self.job.unchanged += _count(same[where], mask)
        if self.job.may_be_flat:
            self.job.may_be_flat = _count(_equal(before[where], self.job.first), mask) == pixels


def _count(pixels: Pixels, mask: Pixels | None) -> int:
    """Return how many pixels of (h, w) are not 0, among those of the mask."""
    return cv2.countNonZero(pixels if mask is None else cv2.bitwise_and(pixels, mask))


def _over(weight: Pixels, value: Pixels, under: Pixels) -> Pixels:
    """Blend `value` over opaque pixels; `weight` is (h, w, 1) in 1/255. Rounded to the nearest, in 16 bits."""
    mixed = value * weight.astype(np.uint16)
    mixed += under * (HIDDEN - weight).astype(np.uint16)
    mixed += 128  # with the next line, division by 255, rounded: exact for all products of two bytes
    mixed += mixed >> 8
    return (mixed >> 8).astype(np.uint8)


def _over_transparent(weight: Pixels, value: Pixels, under: Pixels) -> Pixels:
    """Blend opaque RGBA `value` over RGBA pixels that may be transparent, each colour by its share of the cover."""
    over = weight.astype(np.int32) * HIDDEN  # in units of 1 / 255**2, as all below
    through = under[:, :, 3:].astype(np.int32) * (HIDDEN - weight)
    total = over + through
    divisor = np.maximum(total, 1)
    mixed = (over * value + through * under + total // 2) // divisor
    mixed[:, :, 3:] = (total + HIDDEN // 2) // HIDDEN
    return np.where(weight == 0, under, mixed.astype(np.uint8))
