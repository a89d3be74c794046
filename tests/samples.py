"""Pictures and colour profiles that the tests of reading pictures are made of."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

EXAMPLE = Path(__file__).parent.parent / "examples" / "in.jpg"

SECRET = b"taken by Jane Doe"
D50 = (0.9642, 1.0, 0.8249)
# Columns of the matrices to XYZ (D50): Display P3 and Adobe RGB (1998), from their published primaries.
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
CHAD = (1.04788, 0.02292, -0.0502, 0.02959, 0.99048, -0.01706, -0.00923, 0.01508, 0.75168)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def para(kind: int, *numbers: float) -> bytes:
    return b"para" + struct.pack(">4xHxx", kind) + fixed(*numbers)


def curv(*numbers: int) -> bytes:
    return b"curv" + struct.pack(f">4xI{len(numbers)}H", len(numbers), *numbers)


def xyz(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + fixed(*numbers)


def profile(tags: dict[bytes, bytes], *, space: bytes = b"RGB ", version: int = 2, kind: bytes = b"mntr") -> bytes:
    """Serialise a profile with a date, a device, ids, and words between its tags, as cameras and editors leave them."""
    body, table, start = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4) + SECRET + bytes(-len(SECRET) % 4)
    header = struct.pack(">I4sB3x4s4s4s", start + len(body), b"JANE", version, kind, space, b"XYZ ")
    header += struct.pack(">6H4s4sI4s4sQI", 2024, 5, 6, 7, 8, 9, b"acsp", b"APPL", 0, b"DOE ", b"CAM1", 0, 0)
    header += fixed(*D50) + b"JANE" + bytes(range(16))
    return header.ljust(128, b"\1") + table + body


def words(text: bytes = SECRET) -> dict[bytes, bytes]:
    return {
        b"desc": b"desc" + struct.pack(">4xI", len(text) + 1) + text + bytes(79),
        b"cprt": b"text" + bytes(4) + text + b"\0",
        b"SECR": b"text" + bytes(4) + text + b"\0",
    }


def rgb(columns: tuple[tuple[float, ...], ...], curve: bytes, **options: Any) -> bytes:
    tags = words() | {b"wtpt": xyz(*D50)}
    tags |= {name: xyz(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    if options.get("version") == 4:
        tags[b"chad"] = b"sf32" + bytes(4) + fixed(*CHAD)
    return profile(tags, **options)


def grey(curve: bytes, **options: Any) -> bytes:
    return profile(words() | {b"wtpt": xyz(*D50), b"kTRC": curve}, space=b"GRAY", **options)


def srgb_of_lcms() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


DISPLAY_P3 = rgb(P3, para(3, *SRGB_CURVE), version=4)
TABLE = curv(*(round(65535 * (i / 1023) ** 2.2) for i in range(1024)))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)
    return file.getvalue()


def difference(first: Any, second: Any) -> float:
    a, b = np.asarray(first).astype(int), np.asarray(second).astype(int)
    assert a.shape == b.shape
    return float(np.abs(a - b).mean())


def png(header: bytes, *chunks: tuple[bytes, bytes], size: tuple[int, int] = (4, 1)) -> bytes:
    """Serialise a PNG from its header's last 5 bytes and the chunks that follow."""
    ihdr = struct.pack(">II", *size) + header
    chunks = ((b"IHDR", ihdr), *chunks, (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def colour_picture() -> Image.Image:
    """Return the rendered mannequin at 64 x 48 pixels."""
    with Image.open(EXAMPLE) as example:
        return example.convert("RGB").resize((64, 48))


def corner_picture() -> Image.Image:
    """Return a picture in which every corner differs, so that each of the 8 orientations gives another one."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:20, :32], pixels[:20, 32:], pixels[20:, :32], pixels[20:, 32:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    return Image.fromarray(pixels)


def lookup_profile(space: bytes) -> bytes:
    """Return a profile of one lookup table to Lab: no ink or full light is white, full ink of the first kind is red.

    Args:
        space: `CMYK` or `RGB `.
    """
    inputs = len(space.strip())
    corners = []
    for corner in range(2**inputs):
        levels = [corner >> (inputs - 1 - i) & 1 for i in range(inputs)]
        ink = levels if space == b"CMYK" else [1 - level for level in levels]
        corners += [255 - 63 * sum(ink), 128 + 60 * ink[0], 128 + 30 * ink[0]]
    ramp = bytes(range(256))
    table = b"mft1" + struct.pack(">4x4B", inputs, 3, 2, 0) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    data = profile(
        words() | {b"wtpt": xyz(*D50), b"A2B0": table + ramp * inputs + bytes(corners) + ramp * 3}, space=space
    )
    return data[:20] + b"Lab " + data[24:]
