"""What the opaque styles paint: colours, stickers, or what the surroundings suggest; never from what is hidden.

The argument why nothing of a hidden pixel gets through (SAFETY, rule 5): `box` and `sticker` read no pixel of the
picture. `match` and `inpaint` read it through `Surroundings` alone, which puts zeros for every pixel that any region
of the picture hides before anything is computed from it. So two pictures that differ in nothing but hidden pixels
give the same fill, byte for byte.
"""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.canvas import Canvas
from censor.captions import Plate, plate_of
from censor.masks import HIDDEN, Box, Footprint, area, around, intersect, slices, stacked, touching
from censor.stickers import KEPT_SIDE, Sticker
from censor.styles import Colour, Style

__all__ = ["Fill", "Surface", "Surroundings", "fill_of"]

Pixels = NDArray[np.uint8]

OPAQUE = 255
# Pixels that are less opaque than this are not looked at: few people see their colour.
LEAST_ALPHA = 128

# Width of the ring that `match` averages, as a share of the hidden box's shorter side, and in pixels.
RING_SHARE, LEAST_RING, MOST_RING = 0.1, 2, 64

# How far around the region `inpaint` looks, in the same terms.
MARGIN_SHARE, LEAST_MARGIN = 0.25, 8
# Larger regions are inpainted reduced and enlarged again: the time grows with the pixels, and the result is smooth.
INPAINT_SIDE = 256
# Each pixel follows those within this distance, of the reduced picture.
INPAINT_RADIUS = 3.0
# cv2.inpaint leaves the first row and column as they are, and in a picture one pixel wide it reads memory beside the
# picture (seen with OpenCV 5.0: other bytes at each call). With this many pixels around, neither concerns us.
INPAINT_BORDER = 4
# Rows are read in bands of about this many pixels, so that no copy of a large region stands in memory.
BAND_PIXELS = 1 << 20


class Surface(Protocol):
    """Pixels to paint."""

    def read(self, box: Box) -> Pixels:
        """Return the (h, w, channels) pixels of a box of the region's window."""


class Fill(Protocol):
    """What one region is painted with: small as it stands, at full size once `surface` made it."""

    def surface(self) -> Surface:
        """Make the pixels."""


class Surroundings:
    """The visible pixels of a picture: those that no region hides and that are not transparent."""

    def __init__(self, target: Canvas, hidden: Sequence[Footprint]) -> None:
        self._target = target
        self._hidden = hidden
        self._windows = stacked([footprint.window for footprint in hidden])
        self.channels = target.channels
        height, width = target.image_size
        self.picture: Box = (0, 0, width, height)

    def read(self, box: Box) -> tuple[Pixels, Pixels]:
        """Return the pixels of a box, zeros where they are not visible, and (h, w) uint8, 255 where they are."""
        pixels = self._target.read(box)
        seen = np.full(pixels.shape[:2], HIDDEN, dtype=np.uint8)
        if self.channels == 4:
            seen[pixels[:, :, 3] < LEAST_ALPHA] = 0
        for index in touching(box, self._windows):
            footprint = self._hidden[index]
            part = intersect(footprint.window, box)
            seen[slices(part, box)][footprint.weights(part) == HIDDEN] = 0
        visible = np.zeros_like(pixels)
        np.copyto(visible, pixels, where=(seen == HIDDEN)[:, :, None])
        return visible, seen

    def mean(self, footprint: Footprint) -> Colour | None:
        """Return the mean colour of the visible pixels of a ring around a hidden box; None where there are none."""
        core = footprint.core
        ring = max(LEAST_RING, min(MOST_RING, round(RING_SHARE * min(core[2] - core[0], core[3] - core[1]))))
        sums, count = np.zeros(self.channels, dtype=np.int64), 0
        for piece in around(self._grown(footprint.window, ring), core):
            for band in _bands(piece, 1):
                visible, seen = self.read(band)
                sums += visible.sum(axis=(0, 1), dtype=np.int64)
                count += cv2.countNonZero(seen)
        if not count:
            return None
        means = (2 * sums + count) // (2 * count)  # rounded, halves up
        red, green, blue = (int(part) for part in (means[:3] if self.channels > 1 else means[[0, 0, 0]]))
        return red, green, blue

    def continued(self, footprint: Footprint) -> "Fill | None":
        """Return what cv2 makes of a region's window from the visible pixels around; None where there are none.

        Source:
            Telea, An image inpainting technique based on the fast marching method (2004), as cv2.inpaint has it.
        """
        core = footprint.core
        margin = max(LEAST_MARGIN, round(MARGIN_SHARE * min(core[2] - core[0], core[3] - core[1])))
        box = self._grown(footprint.window, margin)
        step = -(-max(box[2] - box[0], box[3] - box[1]) // INPAINT_SIDE)
        visible, seen = self._reduced(box, step)
        if not seen.any():
            return None
        return _Enlarged(_with_alpha(_inpainted(visible[:, :, :3], seen), self.channels), box, step)

    def _grown(self, box: Box, by: int) -> Box:
        return intersect((box[0] - by, box[1] - by, box[2] + by, box[3] + by), self.picture)

    def _reduced(self, box: Box, step: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Return the means of blocks of step x step pixels, and which of them were visible throughout."""
        pixels, seen = [], []
        for band in _bands(box, step):
            visible, shown = self.read(band)
            height, width = shown.shape
            more = -height % step, -width % step
            if any(more):
                visible = np.pad(visible, ((0, more[0]), (0, more[1]), (0, 0)))
                shown = np.pad(shown, ((0, more[0]), (0, more[1])))
            rows, columns = shown.shape[0] // step, shown.shape[1] // step
            # Rows first: whole rows are added far faster than single pixels.
            sums = visible.reshape(rows, step, -1).sum(axis=1, dtype=np.int64)
            sums = sums.reshape(rows, columns, step, self.channels).sum(axis=2)
            pixels.append((sums // (step * step)).astype(np.uint8))
            least = shown.reshape(rows, step, -1).min(axis=1).reshape(rows, columns, step).min(axis=2)
            seen.append(least == HIDDEN)
        return np.concatenate(pixels), np.concatenate(seen)


def _inpainted(colours: Pixels, seen: NDArray[np.bool_]) -> Pixels:
    """Return (h, w, 1 or 3) colours with those that were not seen continued from the others."""
    border = ((INPAINT_BORDER,) * 2, (INPAINT_BORDER,) * 2)
    wider = np.pad(colours, (*border, (0, 0)), mode="edge")
    unknown = np.pad(np.where(seen, 0, HIDDEN).astype(np.uint8), border, mode="edge")
    done = np.asarray(cv2.inpaint(wider, unknown, INPAINT_RADIUS, cv2.INPAINT_TELEA), dtype=np.uint8)
    inside = slice(INPAINT_BORDER, -INPAINT_BORDER)
    return done.reshape(wider.shape)[inside, inside]


def fill_of(style: Style, footprint: Footprint, surroundings: Surroundings) -> Fill:
    """Return what a region of an opaque style is painted with.

    Args:
        style: of one of `OPAQUE_STYLES`; its colour is a grey one where the canvas is grey.
        footprint: of the region.
        surroundings: of the untouched picture, without what any of its regions hides.
    """
    channels = surroundings.channels
    ground, plate_ground = style.colour, (0, 0, 0)
    if style.style in ("match", "inpaint"):
        ground = surroundings.mean(footprint) or ground
    fill: Fill = _Plain(ground, channels)
    if style.style == "sticker" and style.sticker is not None:
        fill = _Laid(style.sticker, ground, footprint.window, channels)
    elif style.style == "inpaint":
        fill = surroundings.continued(footprint) or fill
    else:
        plate_ground = ground
    plate = plate_of(style.caption, footprint.core, plate_ground, channels) if style.caption else None
    return fill if plate is None else _Captioned(fill, plate)


def _bands(box: Box, step: int) -> list[Box]:
    """Return the horizontal bands of a box, from the top, each but the last of a multiple of `step` rows."""
    rows = step * max(1, BAND_PIXELS // (step * (box[2] - box[0])))
    return [(box[0], top, box[2], min(top + rows, box[3])) for top in range(box[1], box[3], rows)]


def _with_alpha(pixels: Pixels, channels: int) -> Pixels:
    """Return (h, w, channels) opaque pixels of (h, w, 1) or (h, w, 3) ones."""
    if channels < 4:
        return pixels
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), OPAQUE, dtype=np.uint8)], axis=2)


class _Plain:
    """One colour, for any box."""

    def __init__(self, colour: Colour, channels: int) -> None:
        self._value = (*colour, OPAQUE)[:channels]

    def surface(self) -> Surface:
        return self

    def read(self, box: Box) -> Pixels:
        pixels = np.empty((box[3] - box[1], box[2] - box[0], len(self._value)), dtype=np.uint8)
        pixels[0] = self._value
        pixels[1:] = pixels[0]  # whole rows are copied far faster than single pixels
        return pixels


class _Array:
    """Pixels that are there, for boxes inside their own."""

    def __init__(self, box: Box, pixels: Pixels) -> None:
        self._box = box
        self._pixels = pixels

    def read(self, box: Box) -> Pixels:
        return self._pixels[slices(box, self._box)]


class _Enlarged:
    """A reduced picture of a box, `step` times as large."""

    def __init__(self, small: Pixels, box: Box, step: int) -> None:
        self._small, self._box, self._step = small, box, step

    def surface(self) -> Surface:
        pixels = self._small
        if self._step > 1:
            size = (pixels.shape[1] * self._step, pixels.shape[0] * self._step)
            large = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR_EXACT), dtype=np.uint8)
            pixels = large.reshape(size[1], size[0], pixels.shape[2])
        return _Array(self._box, pixels)


class _Laid:
    """A sticker, as large as it must be to cover a box, cut off evenly where it is longer than that."""

    def __init__(self, sticker: Sticker, ground: Colour, box: Box, channels: int) -> None:
        self._sticker, self._ground, self._box, self._channels = sticker, ground, box, channels

    def surface(self) -> Surface:
        opaque = self._sticker.on(self._ground)
        size = (self._box[2] - self._box[0], self._box[3] - self._box[1])
        scale = max(side / own for side, own in zip(size, opaque.size, strict=True))
        shown = [min(side / scale, own) for side, own in zip(size, opaque.size, strict=True)]
        left, top = ((own - part) / 2 for own, part in zip(opaque.size, shown, strict=True))
        right, bottom = min(left + shown[0], opaque.width), min(top + shown[1], opaque.height)
        step = -(-max(size) // KEPT_SIDE)  # it has no more detail than that
        reduced = -(-size[0] // step), -(-size[1] // step)
        fitted = opaque.resize(reduced, Image.Resampling.BICUBIC, box=(left, top, right, bottom))
        pixels = np.asarray(fitted.convert("L"))[:, :, None] if self._channels == 1 else np.asarray(fitted)
        return _Enlarged(_with_alpha(pixels, self._channels), self._box, step).surface()


class _Captioned:
    """A fill with a plate of text over it."""

    def __init__(self, fill: Fill, plate: Plate) -> None:
        self._fill, self._plate = fill, plate

    def surface(self) -> Surface:
        return _CaptionedSurface(self._fill.surface(), self._plate)


class _CaptionedSurface:
    def __init__(self, surface: Surface, plate: Plate) -> None:
        self._surface, self._plate = surface, plate

    def read(self, box: Box) -> Pixels:
        pixels = self._surface.read(box)
        part = intersect(self._plate.box, box)
        if not area(part):
            return pixels
        pixels = pixels.copy()
        pixels[slices(part, box)] = self._plate.pixels[slices(part, self._plate.box)]
        return pixels
