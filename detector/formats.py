"""Recognise a picture file by its content, check its header, and open it with the one Pillow plugin that it needs.

Plugins are constructed directly: `Image.open` would also try other parsers, read MPO's further pictures, and warn.
Pillow's warnings matter here. Python cannot catch them safely in a program of several threads, and under `-W error`
each becomes an exception; so whatever Pillow would warn about (broken EXIF, odd TIFF tags, broken animations) is
checked or removed before Pillow sees it.
"""

import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from detector.errors import InputError
from detector.limits import Limits
from detector.tiff import BITS, PHOTOMETRIC, decodable_tiff, read_tiff_directory

__all__ = ["EncodeHints", "Header", "exif_orientation", "open_decoder", "read_header", "sniff"]

FORMATS = "JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIC"
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, kw_only=True)
class EncodeHints:
    """How the file was coded, for writing it again alike; all of the stored picture, before its orientation is applied.

    Attributes:
        qtables: JPEG's quantisation tables as Pillow's `save(qtables=...)` takes them: of 64 numbers each, row by row
            of the 8 x 8 block, for the first component, the second, the third; a last one repeated is left out.
            Where `Picture.orientation` is 5..8, rows and columns must be swapped. None for other formats.
        subsampling: JPEG's chroma subsampling in Pillow's numbers, 0 (4:4:4), 1 (4:2:2) or 2 (4:2:0); -1 for any
            other, for grey, and for other formats.
        progressive: whether a JPEG is progressive.
        lossless: whether the stored pixels were coded without loss; None where the header does not say (AVIF, HEIF,
            TIFF).
    """

    qtables: tuple[tuple[int, ...], ...] | None = None
    subsampling: int = -1
    progressive: bool = False
    lossless: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about its picture before any pixel is decoded.

    Attributes:
        size: (width, height) as stored, before its orientation is applied.
        mode: Pillow's mode of the stored pixels.
        transparent: whether a transparent colour or palette entry is declared beside the pixels.
        orientation: 1..8 as in EXIF.
        icc_profile: as found in the file; not yet to be trusted.
        bits: of each number in the file.
        inverted: whether 0 means white in grey of more than 8 bits.
    """

    format: str
    size: tuple[int, int]
    mode: str
    transparent: bool = False
    orientation: int = 1
    icc_profile: bytes | None = None
    bits: int = 8
    inverted: bool = False
    hints: EncodeHints = EncodeHints()


def sniff(data: bytes, name: str) -> str:
    """Return Pillow's name of the format, from the first bytes.

    Raises:
        InputError: for any format that is not on the allow-list.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(_TIFF_STARTS):
        return "TIFF"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data[4:8] == b"ftyp":
        (size,) = struct.unpack(">I", data[:4])
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(size, 256), 4))}
        if brands & _AVIF_BRANDS and data[8:12] not in _HEIF_BRANDS - {b"mif1", b"msf1"}:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    raise InputError(f"{name}: a picture must be {FORMATS}; got a file that begins with {data[:8]!r}; convert it first")


def read_header(data: bytes, name: str, limits: Limits) -> Header:
    """Read a picture file's header and check it against the limits; decodes no pixels.

    Raises:
        InputError: when the format is not known, the header is broken, or there are several frames or pages.
        LimitError: when the picture is larger than the limits allow.
    """
    kind = sniff(data, name)
    if kind == "TIFF":
        return _tiff_header(data, name, limits)
    if kind == "WEBP":
        limits.check_size(*_webp_size(data, name), name)  # its decoder sets the canvas aside when it is made
    orientation = 1
    if kind == "PNG":
        limits.check_size(*_png_size(data, name), name)
        orientation = exif_orientation(_check_png(data, name))
    image = open_decoder(data, kind, name, limits)
    limits.check_size(*image.size, name)
    if kind != "PNG" and getattr(image, "is_animated", False):
        raise _several_frames(name)
    exif = image.info.get("exif")
    if kind in ("JPEG", "WEBP", "AVIF"):  # a HEIF decoder has turned the picture already, GIF and BMP have none
        orientation = exif_orientation(exif if isinstance(exif, bytes) else b"")
    profile = image.info.get("icc_profile")
    return Header(
        format=kind,
        size=image.size,
        mode=image.mode,
        transparent="transparency" in image.info,
        orientation=orientation,
        icc_profile=profile if isinstance(profile, bytes) else None,
        bits=data[24] if kind == "PNG" else 8,
        hints=_hints(image, data, kind),
    )


def open_decoder(
    data: bytes, kind: str, name: str, limits: Limits, stream: BinaryIO | None = None
) -> ImageFile.ImageFile:
    """Construct the Pillow plugin of a format; its pixels are not decoded yet.

    Args:
        data: the whole file.
        kind: as `sniff` gives it.
        name: for errors.
        limits: for errors.
        stream: a stream of the same bytes to read from instead.
    """
    stream = stream or io.BytesIO(data)
    if kind == "JPEG":
        return _Jpeg(stream)
    if kind == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    if kind == "WEBP":
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile(stream)
    if kind == "AVIF":
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(io.BytesIO(_without_exif_item(data)))
    if kind == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        return TiffImageFile(io.BytesIO(decodable_tiff(data, read_tiff_directory(data, name, limits))))
    if kind == "GIF":
        from PIL.GifImagePlugin import GifImageFile

        return GifImageFile(stream)
    if kind == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile(stream)
    return _open_heif(stream, name)


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


class _Jpeg(JpegImageFile):
    """A JPEG file, of which only its first picture exists: MPO's and gain maps' further ones are never looked at."""

    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF alone: Pillow would read all of it, and warn where it is broken."""


def _several_frames(name: str) -> InputError:
    return InputError(
        f"{name}: a picture must have one frame; this one is an animation; "
        "hiding something in its first frame only would show the others; save the frames as pictures and pass those"
    )


def _open_heif(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise InputError(
            f"{name}: HEIC pictures need a decoder that is not installed; "
            "install it with: pip install 'retina-censor[heif]'"
        ) from error
    image: ImageFile.ImageFile = HeifImageFile(stream)
    return image


def _hints(image: ImageFile.ImageFile, data: bytes, kind: str) -> EncodeHints:
    if kind == "WEBP":
        return EncodeHints(lossless=any(name == b"VP8L" for name, _, _ in _riff_chunks(data)))
    if kind in ("PNG", "BMP", "GIF"):
        return EncodeHints(lossless=True)
    if not isinstance(image, JpegImageFile):
        return EncodeHints()
    tables = [tuple(image.quantization.get(layer[3], ())) for layer in image.layer]
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return EncodeHints(
        qtables=tuple(tables) if all(tables) else None,
        subsampling=get_sampling(image),
        progressive=bool(image.info.get("progressive")),
        lossless=False,
    )


def _tiff_header(data: bytes, name: str, limits: Limits) -> Header:
    directory = read_tiff_directory(data, name, limits)
    image = open_decoder(data, "TIFF", name, limits)
    return Header(
        format="TIFF",
        size=image.size,
        mode=image.mode,
        orientation=directory.orientation,
        icc_profile=directory.icc_profile,
        bits=directory.scalars.get(BITS, 1),
        inverted=directory.scalars.get(PHOTOMETRIC, 0) == 0,
    )


def _png_size(data: bytes, name: str) -> tuple[int, int]:
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise InputError(f"{name}: a PNG must begin with its header; this one does not; it is corrupt; export it again")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _check_png(data: bytes, name: str) -> bytes:
    """Walk over a PNG's chunks: one picture, whole and with right checksums. Returns the EXIF chunk's bytes."""
    at, animations, exif = 8, 0, b""
    while True:
        kind = data[at + 4 : at + 8]
        (length,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        end = at + 12 + length
        if len(kind) < 4 or end > len(data):
            raise InputError(f"{name}: a PNG must be whole; this one is truncated; export it again")
        if kind == b"fdAT":
            raise _several_frames(name)
        if kind == b"acTL":
            animations += 1
            # A count of 1 without frames of its own is a still picture; anything else makes Pillow warn.
            if animations > 1 or data[at + 8 : at + 12] != b"\0\0\0\1":
                raise _several_frames(name)
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


def _riff_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Return (name, start, size) of a RIFF file's chunks."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks.append((name, at + 8, size))
        at += 8 + size + size % 2
    return chunks


def _webp_size(data: bytes, name: str) -> tuple[int, int]:
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


def _without_exif_item(data: bytes) -> bytes:
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
