"""Walk over the structure of PNG, WebP, GIF, AVIF and EXIF: sizes, frames, orientation. Nothing is decoded here.

Everything is untrusted: a length that leads outside the file ends the walk, as an error where the picture needs it.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from detector.errors import InputError

__all__ = [
    "check_png",
    "exif_orientation",
    "gif_size",
    "png_size",
    "riff_chunks",
    "several_frames",
    "webp_size",
    "without_exif_item",
]


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1..8, that an EXIF block states; 1 when it states none or is broken.

    As browsers do, only a single SHORT in the first directory counts.
    """
    tiff = re.sub(rb"\A(?:Exif\0\0)+", b"", exif)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for i in range(count):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * i)
            if tag == 0x0112:
                return value if kind == 3 and values == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass  # it reaches over its end: whatever it says, it does not say an orientation
    return 1


def several_frames(name: str) -> InputError:
    """Return the error for a picture of several frames."""
    return InputError(
        f"{name}: a picture must have one frame; this one is an animation; "
        "hiding something in its first frame only would show the others; save the frames as pictures and pass those"
    )


def png_size(data: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) of a PNG."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise InputError(f"{name}: a PNG must begin with its header; this one does not; it is corrupt; export it again")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def check_png(data: bytes, name: str) -> bytes:
    """Walk over a PNG's chunks: one picture, whole and with right checksums. Returns the EXIF chunk's bytes."""
    at, animations, exif = 8, 0, b""
    while True:
        kind = data[at + 4 : at + 8]
        (length,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        end = at + 12 + length
        if len(kind) < 4 or end > len(data):
            raise InputError(f"{name}: a PNG must be whole; this one is truncated; export it again")
        if kind == b"fdAT":
            raise several_frames(name)
        if kind == b"acTL":
            animations += 1
            # A count of 1 without frames of its own is a still picture; anything else makes Pillow warn.
            if animations > 1 or data[at + 8 : at + 12] != b"\0\0\0\1":
                raise several_frames(name)
        elif kind == b"eXIf" and not exif:
            exif = data[at + 8 : end - 4]
        # Pillow checks those before the first IDAT, and neither IDAT nor what follows.
        if kind in (b"IDAT", b"PLTE", b"IEND") and data[end - 4 : end] != struct.pack(
            ">I", zlib.crc32(memoryview(data)[at + 4 : end - 4])
        ):
            raise InputError(f"{name}: a PNG's checksums must be right; {kind.decode()}'s is not; export it again")
        if kind == b"IEND":
            return exif
        at = end


def riff_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the names of a RIFF file's chunks, in order."""
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        yield name
        at += 8 + size + size % 2


def webp_size(data: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) of a WebP's canvas, from its first chunk."""
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) == 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise InputError(f"{name}: a WebP must begin with its header; this one does not; it is corrupt; export it again")


def without_exif_item(data: bytes) -> bytes:
    """Return an AVIF file in which EXIF items have another type.

    Pillow would read all of it, and warn where it is broken. The orientation comes from the container's own
    properties, which take precedence in AVIF.
    """
    patched: bytearray | None = None
    for at in _exif_items(data, 0, len(data), (b"meta", b"iinf", b"infe")):
        patched = patched if patched is not None else bytearray(data)
        patched[at : at + 4] = b"skip"
    return data if patched is None else bytes(patched)


def _exif_items(data: bytes, start: int, end: int, path: tuple[bytes, ...]) -> list[int]:
    """Return where, inside the boxes of the given path, item types of value Exif stand."""
    found: list[int] = []
    at = start
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1 and at + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if size == 0 else min(at + size, end)
        if size and at + size < body:
            break
        if kind == path[0]:
            if len(path) == 1:
                # version, flags, item id (4 bytes from version 3 on), protection index, then the type
                kind_at = body + (10 if data[body : body + 1] == b"\3" else 8)
                found += [kind_at] if data[kind_at : kind_at + 4] == b"Exif" else []
            else:
                # iinf: version and flags, and a count of 2 bytes (4 from version 1 on); meta: version and flags
                skip = 4 if kind == b"meta" else 6 if data[body : body + 1] == b"\0" else 8
                found += _exif_items(data, body + skip, stop, path[1:])
        at = stop
    return found


def gif_size(data: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) of a GIF's only frame, its screen included; several frames are refused."""
    if len(data) < 13:
        raise InputError(f"{name}: a GIF must be whole; this one is truncated; export it again")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:  # an extension: a label, then blocks
            at = _after_blocks(data, at + 2)
        elif data[at] == 0x2C and at + 10 <= len(data):
            frames += 1
            if frames > 1:
                raise several_frames(name)
            x, y, frame_width, frame_height, flags = struct.unpack_from("<4HB", data, at + 1)
            width, height = max(width, x + frame_width), max(height, y + frame_height)
            # its palette, one byte of code size, then blocks
            at = _after_blocks(data, at + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1)
        else:
            at += 1  # decoders step over stray bytes
    return width, height


def _after_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
