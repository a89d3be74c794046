"""Captions: one line of text on a plate, inside the hidden box, where there is room for letters that can be read."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detector.palette import Colour, ink_on

__all__ = ["Plate", "plate_of", "unwritable"]

# As in `censor.masks`, which needs the styles, which need this module.
Box = tuple[int, int, int, int]

# Of the hidden box's height, and no more than this of its width.
HEIGHT_SHARE, WIDTH_SHARE = 0.25, 0.9
# Letters of fewer pixels cannot be read, and more are never needed.
MIN_FONT, MAX_FONT = 8, 256


@dataclass(frozen=True, eq=False)
class Plate:
    """A piece of opaque pixels.

    Attributes:
        box: where it lies in the picture.
        pixels: (h, w, channels) uint8 of the box.
    """

    box: Box
    pixels: NDArray[np.uint8]


def plate_of(text: str, core: Box, ground: Colour, channels: int) -> Plate | None:
    """Write a text in black or white, whichever stands out, on a plate in the middle of a hidden box.

    Args:
        text: one line without `unwritable` characters.
        core: the hidden box inside the picture.
        ground: the plate's colour; a grey one where `channels` is 1.
        channels: 1, 3 or 4, of the canvas.

    Returns:
        The plate, wholly inside `core`; None where the box is too small for letters that can be read.
    """
    width, height = core[2] - core[0], core[3] - core[1]
    size = min(MAX_FONT, max(MIN_FONT, round(HEIGHT_SHARE * height)))
    length = _font(size).getlength(text)
    if length > WIDTH_SHARE * width:
        size = math.floor(size * WIDTH_SHARE * width / length)
    if size < MIN_FONT:
        return None
    font = _font(size)
    margin = max(1, size // 4)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    _, ascent, _, descent = (round(side) for side in font.getbbox("bp0"))  # so that all plates are equally high
    top, bottom = min(top, ascent), max(bottom, descent)
    plate = (right - left + 2 * margin, bottom - top + 2 * margin)
    if plate[0] > width or plate[1] > height:
        return None
    image = Image.new("RGB", plate, ground)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, fill=ink_on(ground), font=font)
    x, y = core[0] + (width - plate[0]) // 2, core[1] + (height - plate[1]) // 2
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    pixels = np.asarray(image.convert(mode)).reshape(plate[1], plate[0], channels)
    return Plate((x, y, x + plate[0], y + plate[1]), pixels)


def unwritable(text: str) -> str:
    """Return the characters that the font has no shape for: it is Pillow's own, and knows ASCII and a few signs."""
    shown = {char: _shape(char) for char in text if not char.isascii()}
    return "".join(char for char, shape in shown.items() if shape == _shape("\uffff"))  # never a character


def _shape(char: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(MIN_FONT * 2).getmask(char)
    return mask.size, bytes(mask)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
