"""Recognise a picture file by its content, check its header, and open it with the one Pillow plugin that it needs.

Plugins are constructed directly: `Image.open` would also try other parsers, read MPO's further pictures, and warn.
Pillow's warnings matter here. Python cannot catch them safely in a program of several threads, and under `-W error`
each becomes an exception; so whatever Pillow would warn about (broken EXIF, odd TIFF tags, broken animations) is
checked or removed before Pillow sees it.
"""

import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from detector.containers import (
    check_png,
    exif_orientation,
    gif_size,
    png_size,
    riff_chunks,
    several_frames,
    webp_size,
    without_exif_item,
)
from detector.errors import InputError
from detector.limits import Limits
from detector.tiff import BITS, PHOTOMETRIC, decodable_tiff, read_tiff_directory

__all__ = ["EncodeHints", "Header", "open_decoder", "read_header", "sniff"]

FORMATS = "JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIC"
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
_SIZES = {"PNG": png_size, "WEBP": webp_size, "GIF": gif_size}
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


def read_header(data: bytes, kind: str, name: str, limits: Limits) -> Header:
    """Read a picture file's header and check it against the limits; decodes no pixels.

    Args:
        data: the whole file.
        kind: as `sniff` gives it.
        name: for errors.
        limits: what it is checked against.

    Raises:
        InputError: when the header is broken, or there are several frames or pages.
        Exception: Pillow's, of any class, when it finds the header broken.
        LimitError: when the picture is larger than the limits allow.
    """
    if kind == "TIFF":
        return _tiff_header(data, name, limits)
    # WebP's decoder sets the canvas aside as soon as it is made, and Pillow warns of large GIFs.
    if kind in _SIZES:
        limits.check_size(*_SIZES[kind](data, name), name)
    orientation = 1
    if kind == "PNG":
        orientation = exif_orientation(check_png(data, name))
    image = open_decoder(data, kind, name, limits)
    limits.check_size(*image.size, name)
    if kind in ("WEBP", "AVIF", "HEIF") and getattr(image, "is_animated", False):
        raise several_frames(name)
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

        return AvifImageFile(io.BytesIO(without_exif_item(data)))
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


class _Jpeg(JpegImageFile):
    """A JPEG file, of which only its first picture exists: MPO's and gain maps' further ones are never looked at."""

    # Where reading pauses, shortly before the end of the coded picture; None reads on without a look.
    tail_at: int | None = None
    # Whether the picture was complete at that place already: what follows is not needed to decode it.
    complete_early: bool | None = None
    _mark: tuple[int, int, int] | None = None

    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF alone: Pillow would read all of it, and warn where it is broken."""

    def load_read(self, read_bytes: int) -> bytes:
        """Read coded data; at `tail_at`, see whether the last row of pixels is there before its last bytes were read.

        A mark of random colour stands in that row until the decoder writes it.
        """
        stop = self.tail_at
        assert self.fp is not None
        if stop is not None and self.complete_early is None:
            if self._mark is None:
                random = os.urandom(3)
                self._mark = (random[0], random[1], random[2])
                self.im.paste(self._mark if self.im.mode == "RGB" else self._mark[1], self._last_row())
            if self.fp.tell() < stop:
                return bytes(super().load_read(min(read_bytes, stop - self.fp.tell())))
            row = Image.Image()._new(self.im.crop(self._last_row()))
            marked = self._mark if row.mode == "RGB" else self._mark[1]
            self.complete_early = row.getcolors(1) != [(row.width, marked)]
        return bytes(super().load_read(read_bytes))

    def _last_row(self) -> tuple[int, int, int, int]:
        width, height = self.im.size
        return (0, height - 1, width, height)


def _open_heif(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise InputError(
            f"{name}: HEIC pictures need a decoder that is not installed; install it with: pip install pillow-heif"
        ) from error
    image: ImageFile.ImageFile = HeifImageFile(stream)
    return image


def _hints(image: ImageFile.ImageFile, data: bytes, kind: str) -> EncodeHints:
    if kind == "WEBP":
        return EncodeHints(lossless=b"VP8L" in riff_chunks(data))
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
