"""Write animated GIFs frame by frame; Pillow codes the pixels of each frame, as a GIF of its own.

An opaque animation holds only what changed since the frame before, as a rectangle of opaque pixels: what a viewer keeps
outside it is pixels that were written. With transparency every frame stands alone and is cleared before the next one.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from censor.animation.gif_read import CLEAR, KEEP, gif_structure
from censor.animation.plan import Plan, changed_box, hidden_mask
from detector.limits import Limits

__all__ = ["write_gif"]

COLOURS = 256
# Every frame has a palette of its own; some readers complain where there is none for all.
HAS_PALETTE, UNUSED_PALETTE = 0x80, bytes(3) + b"\xff\xff\xff"
# Hidden regions take colours of their own if at least so many are left; otherwise they share those that are kept.
FEWEST = 8
# Where nothing changed a frame still needs a pixel, to be there for its time.
ONE_PIXEL = (0, 0, 1, 1)


def write_gif(file: BinaryIO, frames: Iterator[Image.Image], plan: Plan) -> None:
    """Write frames as they come; one is held, besides the one before. Their alpha is 0 or 255."""
    width, height = plan.size
    file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, HAS_PALETTE, 0, 0) + UNUSED_PALETTE)
    if plan.plays != 1:
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", max(plan.plays - 1, 0), 0))
    before: Image.Image | None = None
    for frame, ticks in zip(frames, plan.ticks, strict=True):
        if plan.transparent:
            shown = frame.getchannel("A")
            clear = ImageChops.invert(shown)
            box = shown.getbbox() or ONE_PIXEL
            hidden = hidden_mask(frame).crop(box)
            file.write(_frame(frame.convert("RGB").crop(box), box, ticks, clear.crop(box), hidden))
        else:
            box = (0, 0, width, height) if before is None else changed_box(before, frame) or ONE_PIXEL
            file.write(_frame(frame.crop(box), box, ticks, None, hidden_mask(frame).crop(box)))
            before = frame
    file.write(b"\x3b")


def _frame(
    image: Image.Image, box: tuple[int, int, int, int], ticks: int, clear: Image.Image | None, hidden: Image.Image
) -> bytes:
    """Return a frame's blocks: how it is shown, where, its own palette, its pixels."""
    buffer = io.BytesIO()
    indexed(image, clear, hidden).save(buffer, "GIF", interlace=0, optimize=False)
    coded = buffer.getvalue()
    (frame,) = gif_structure(coded, "<frame>", _ANY).frames
    bits = max((len(frame.palette) // 3 - 1).bit_length(), 1)
    flags = (KEEP if clear is None else CLEAR) << 2 | (clear is not None)
    x1, y1, x2, y2 = box
    start, end = frame.coded
    return b"".join(
        [
            b"\x21\xf9\x04",
            struct.pack("<BHBB", flags, ticks, 0 if clear is None else frame.transparent or 0, 0),
            b"\x2c",
            struct.pack("<4HB", x1, y1, x2 - x1, y2 - y1, HAS_PALETTE | (bits - 1)),
            frame.palette,
            coded[start:end],
        ]
    )


# What this program itself encodes is not bounded again.
_ANY = Limits(max_pixels=1 << 40, max_side=1 << 20, max_total_pixels=1 << 50)


def indexed(image: Image.Image, clear: Image.Image | None, hidden: Image.Image) -> Image.Image:
    """Return an RGB picture with a palette of its colours where there are few enough, else of the nearest.

    What is not hidden goes first: its colours stay exact where they alone are few enough, and those of hidden regions,
    which may be many in a mosaic, share what is left of the palette.

    Args:
        image: mode RGB.
        clear: mode L, 255 where the picture is transparent; these pixels get an entry of their own. None for none.
        hidden: mode L, 255 where a region was painted.
    """
    room = COLOURS if clear is None else COLOURS - 1
    pixels = np.array(image)
    shown = np.ones(pixels.shape[:2], dtype=bool) if clear is None else np.asarray(clear) == 0
    inside = shown & (np.asarray(hidden) != 0)
    if _count(pixels[shown]) > room:
        kept = np.unique(_numbers(pixels[shown & ~inside]))
        left = room - len(kept)
        if left < min(FEWEST, _count(pixels[inside])):
            return _nearest(image, clear, room)
        pixels[inside] = _fewer(pixels[inside], left)
    numbers = _numbers(pixels)
    colours = np.unique(numbers[shown])
    result = Image.fromarray(_places(numbers, colours))
    result.putpalette(_palette(colours))
    if clear is not None:
        result.paste(len(colours), mask=clear)
        result.info["transparency"] = len(colours)
    return result


def _nearest(image: Image.Image, clear: Image.Image | None, room: int) -> Image.Image:
    """Return a picture of too many colours in the best so many."""
    result = image.quantize(room)
    result.putpalette(bytes(result.getpalette() or ()).ljust(3 * COLOURS, b"\0"))
    if clear is not None:
        result.paste(COLOURS - 1, mask=clear)
        result.info["transparency"] = COLOURS - 1
    return result


def _fewer(pixels: NDArray[np.uint8], left: int) -> NDArray[np.uint8]:
    """Return (N, 3) pixels in at most `left` colours of their own."""
    if _count(pixels) <= left:
        return pixels
    return np.asarray(Image.fromarray(pixels[None]).quantize(left).convert("RGB")).reshape(-1, 3)


def _numbers(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return one number for each colour of (..., 3)."""
    wide = pixels.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], dtype=np.uint32)


def _count(pixels: NDArray[np.uint8]) -> int:
    return len(np.unique(_numbers(pixels)))


def _places(numbers: NDArray[np.uint32], colours: NDArray[np.uint32]) -> NDArray[np.uint8]:
    places = np.searchsorted(colours, numbers)
    return np.minimum(places, COLOURS - 1).astype(np.uint8)


def _palette(colours: NDArray[np.uint32]) -> bytes:
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    return (parts.tobytes() + bytes(3))[: 3 * COLOURS]  # one more, for what is transparent
