"""Encode a JPEG as its source was coded, a large one in strips on several cores.

A JPEG is one stream of bits, but a restart marker after each row of blocks cuts it into pieces that stand alone. Strips
that are encoded apart and joined are byte for byte what one encoder writes: so the result does not depend on the number
of threads.
"""

import io
import itertools
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Self

from PIL import Image

from censor.jpegfile import EOI, SOS

__all__ = ["JpegCoding", "encode_jpeg"]

# Height of the pixels that are coded together (MCU) in a colour picture, by subsampling.
_MCU_HEIGHT = {0: 8, 1: 8, 2: 16}
# Restart markers are numbered 0 to 7 in a circle: a strip of a multiple of 8 rows ends with 7, and the next begins
# with 0 as if it were the first.
_ROWS_IN_CIRCLE = 8
# Below this, encoding takes less than 5 ms, and starting a thread and copying the strips eats the gain.
STRIPS_FROM_PIXELS = 2_000_000
# More strips than cores: a core that is held up by another program leaves the rest to the other, and copies of 4 MB
# reuse memory that large ones would each get afresh.
_STRIP_PIXELS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class JpegCoding:
    """How a JPEG is coded, in the axes of the picture that is to be written.

    Attributes:
        qtables: one quantisation table a component, or fewer where the last stands for the rest; 64 values each, row
            by row (not in zigzag order). None takes the tables of `quality`.
        quality: libjpeg's scale, 1 to 100; used when there are no tables.
        subsampling: of the chroma, in Pillow's numbers: 0 (4:4:4), 1 (4:2:2, halved in width) or 2 (4:2:0).
        progressive: several scans, from coarse to fine.
    """

    qtables: Sequence[Sequence[int]] | None = None
    quality: int = 90
    subsampling: int = 0
    progressive: bool = False

    def transposed(self) -> Self:
        """Return the coding for the picture with its axes swapped; Pillow has no 4:2:2 that is halved in height."""
        tables = self.qtables
        if tables is not None:
            tables = tuple(tuple(table[8 * x + y] for y in range(8) for x in range(8)) for table in tables)
        return replace(self, qtables=tables, subsampling=0 if self.subsampling == 1 else self.subsampling)


def encode_jpeg(image: Image.Image, coding: JpegCoding, *, icc_profile: bytes | None, threads: int) -> bytes:
    """Write a picture of mode L or RGB.

    Raises:
        OSError, ValueError: whatever Pillow raises.
    """
    options: dict[str, Any] = {"subsampling": coding.subsampling}
    if coding.qtables is None:
        options["quality"] = coding.quality
    else:
        # Tables beyond the picture's components (black's, of a CMYK source) are not written.
        options["qtables"] = [list(table) for table in coding.qtables]
    if icc_profile is not None:
        options["icc_profile"] = icc_profile
    if coding.progressive:
        try:
            return _saved(image, {**options, "progressive": True})
        except OSError:
            # Pillow gives a progressive encoder two bytes a pixel, and noise at the finest tables takes more. A
            # baseline encoder can pause when its buffer is full.
            return _saved(image, options)
    if image.width * image.height < STRIPS_FROM_PIXELS:
        return _saved(image, options)
    options["restart_marker_rows"] = 1
    # A grey picture has one component, whose blocks stand alone whatever the subsampling.
    mcu_height = _MCU_HEIGHT[coding.subsampling] if image.mode == "RGB" else 8
    edges = _strip_edges(image, mcu_height * _ROWS_IN_CIRCLE)
    if threads < 2 or len(edges) == 2 or not hasattr(os, "memfd_create"):
        return _saved(image, options)

    def encode_strip(edge: tuple[int, int]) -> bytes:
        return _saved(image.crop((0, edge[0], image.width, edge[1])), options)

    with ThreadPoolExecutor(max_workers=threads, thread_name_prefix="censor-jpeg") as pool:
        return _join(list(pool.map(encode_strip, itertools.pairwise(edges))), image.height)


def _strip_edges(image: Image.Image, step: int) -> list[int]:
    """Cut the height into strips of about `_STRIP_PIXELS` that begin at multiples of `step`."""
    rows = max(1, _STRIP_PIXELS // (image.width * step)) * step
    return [*range(0, image.height, rows), image.height]


def _saved(image: Image.Image, options: dict[str, Any]) -> bytes:
    """Encode with Pillow, into a file in memory: only for one with a descriptor does it let other threads run."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("jpeg"), "w+b") as file:
            image.save(file, "JPEG", **options)
            file.seek(0)
            return file.read()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _join(parts: Sequence[bytes], height: int) -> bytes:
    """Put strips under each other that were encoded alike, each with a restart marker after every row of blocks."""
    frame = _headers(parts[0])[0]
    # In a frame header the height stands after marker, length and precision.
    joined = [parts[0][: frame + 5], struct.pack(">H", height), parts[0][frame + 7 : -len(EOI)]]
    for part in parts[1:]:
        joined.extend([b"\xff\xd7", part[_headers(part)[1] : -len(EOI)]])
    return b"".join([*joined, EOI])


def _headers(data: bytes) -> tuple[int, int]:
    """Return where the frame header begins and where the first scan's entropy-coded data does."""
    position, frame = 2, 0
    while True:
        marker, length = struct.unpack_from(">xBH", data, position)
        if marker in (0xC0, 0xC1):
            frame = position
        position += 2 + length
        if marker == SOS:
            return frame, position
