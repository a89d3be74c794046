"""Write animated WebPs frame by frame; Pillow codes the pixels of each frame, as a WebP of its own.

After the first a frame holds only the rectangle that changed, which replaces what was there, alpha too.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from censor.animation.plan import Plan, changed_box
from censor.animation.webp_read import webp_chunks
from censor.imagefile import QUALITY, WEBP_LOSSLESS, WEBP_METHOD

__all__ = ["write_webp"]

_ANIMATION, _ALPHA = 0x02, 0x10
# A frame replaces what is below it instead of being blended with it, and stays.
_REPLACE = 0x02
_PIXELS = (b"ALPH", b"VP8 ", b"VP8L")
ONE_PIXEL = (0, 0, 1, 1)


def write_webp(file: BinaryIO, frames: Iterator[Image.Image], plan: Plan) -> None:
    """Write frames as they come; one is held, besides the one before. The file must be one that can be sought in."""
    width, height = plan.size
    start = file.tell()
    flags = _ANIMATION | (_ALPHA if plan.transparent else 0)
    file.write(b"RIFF" + bytes(4) + b"WEBP")
    file.write(_chunk(b"VP8X", struct.pack("<I", flags) + _three(width - 1) + _three(height - 1)))
    # Four bytes of background, transparent, which viewers do not heed.
    file.write(_chunk(b"ANIM", bytes(4) + struct.pack("<H", plan.plays)))
    before: Image.Image | None = None
    for frame, ticks in zip(frames, plan.ticks, strict=True):
        box = (0, 0, width, height) if before is None else _even(changed_box(before, frame) or ONE_PIXEL)
        file.write(_chunk(b"ANMF", _header(box, ticks) + _coded(frame.crop(box), lossless=plan.lossless)))
        before = frame
    end = file.tell()
    file.seek(start + 4)
    file.write(struct.pack("<I", end - start - 8))
    file.seek(end)


def _even(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the box with its left and top on even pixels: the format holds half of them."""
    return box[0] & ~1, box[1] & ~1, box[2], box[3]


def _header(box: tuple[int, int, int, int], ticks: int) -> bytes:
    x1, y1, x2, y2 = box
    return b"".join(
        [_three(x1 // 2), _three(y1 // 2), _three(x2 - x1 - 1), _three(y2 - y1 - 1), _three(ticks)]
    ) + bytes([_REPLACE])


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _coded(image: Image.Image, *, lossless: bool) -> bytes:
    """Return the chunks with the pixels of an RGB or RGBA picture."""
    buffer = io.BytesIO()
    options = WEBP_LOSSLESS if lossless else {"quality": QUALITY, "method": WEBP_METHOD}
    image.save(buffer, "WEBP", **options)
    data = buffer.getvalue()
    chunks = webp_chunks(data, "<frame>", 12, len(data))
    return b"".join(_chunk(kind, data[start:end]) for kind, start, end in chunks if kind in _PIXELS)
