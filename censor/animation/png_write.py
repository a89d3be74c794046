"""Write APNGs frame by frame; Pillow codes the pixels of each frame, as a PNG of its own.

After the first a frame holds only the rectangle that changed, which replaces what was there, alpha too.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

from PIL import Image

from censor.animation.plan import Plan, changed_box
from censor.animation.png_read import PNG_SIGNATURE, png_chunk, png_chunks
from censor.imagefile import PNG_LEVEL

__all__ = ["write_png"]

_KEEP, _REPLACE = 0, 0
# 8 bits of red, green, blue, and alpha.
_RGB, _RGBA = 2, 6
ONE_PIXEL = (0, 0, 1, 1)


def write_png(file: BinaryIO, frames: Iterator[Image.Image], plan: Plan) -> None:
    """Write frames as they come; one is held, besides the one before."""
    width, height = plan.size
    colour = _RGBA if plan.transparent else _RGB
    file.write(PNG_SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)))
    file.write(png_chunk(b"acTL", struct.pack(">II", len(plan.durations), plan.plays)))
    if plan.default_image:
        file.write(png_chunk(b"IDAT", _coded(next(frames))))
    number = 0
    before: Image.Image | None = None
    for frame, duration in zip(frames, plan.durations, strict=True):
        box = (0, 0, width, height) if before is None else changed_box(before, frame) or ONE_PIXEL
        file.write(png_chunk(b"fcTL", struct.pack(">I", number) + _control(box, duration)))
        number += 1
        coded = _coded(frame if before is None else frame.crop(box))
        if before is None and not plan.default_image:
            file.write(png_chunk(b"IDAT", coded))
        else:
            file.write(png_chunk(b"fdAT", struct.pack(">I", number) + coded))
            number += 1
        before = frame
    file.write(png_chunk(b"IEND", b""))


def _control(box: tuple[int, int, int, int], duration: Fraction) -> bytes:
    x1, y1, x2, y2 = box
    # A denominator of 0 means 100, and Fraction has none of 0.
    numerator, denominator = duration.numerator, duration.denominator
    return struct.pack(">4IHHBB", x2 - x1, y2 - y1, x1, y1, numerator, denominator, _KEEP, _REPLACE)


def _coded(image: Image.Image) -> bytes:
    """Return the compressed pixels of an RGB or RGBA picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL)
    data = buffer.getvalue()
    return b"".join(data[start:end] for kind, start, end in png_chunks(data, "<frame>") if kind == b"IDAT")
