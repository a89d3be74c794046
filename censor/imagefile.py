"""Encode a picture from its pixels alone: nothing of the source file is carried over but how it was coded.

The same pixels give the same bytes, on any number of threads. Time counts before size, at a point measured a format.
"""

import io
import os
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from censor.jpegencode import JpegCoding, encode_jpeg
from detector.decode import to_srgb
from detector.errors import OutputError, UsageError

if TYPE_CHECKING:
    from detector.picture import Picture

__all__ = ["EXTENSIONS", "encode", "format_for"]

# By suffix, the formats as Pillow names them.
EXTENSIONS: dict[str, str] = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
# What a picture that never was a file is written as: no loss, and alpha.
DEFAULT_FORMAT = "PNG"
# The largest side that each format, or its encoder, can take: 16-bit fields, WebP's 14 bits, libjpeg's own limit.
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65535, "GIF": 65535}
# For a source that does not say how it was coded. The formats' scales differ; 90 is hard to tell from the source in
# all of them.
QUALITY = 90
# Formats without alpha, and without a colour profile that readers heed.
NO_ALPHA, NO_PROFILE = ("JPEG", "BMP"), ("BMP", "GIF")
# Alpha is shown on this where the format has none, as browsers and printers do.
BACKGROUND = (255, 255, 255)
# At 3 megapixels, photograph / screenshot. PNG: level 4 takes 544 / 96 ms, 6 takes 1679 / 135 for the same size,
# 1 takes 244 / 73 and is 20 % larger.
PNG_LEVEL = 4
# WebP: method 2 takes 69 / 130 ms, 4 takes 180 / 261 and saves 0 / 3 %. Lossless: method 1 takes 417 / 313, 0 takes
# 90 / 45 and is 24 / 175 % larger; higher ones cost seconds.
WEBP_METHOD, WEBP_LOSSLESS = 2, {"lossless": True, "method": 1, "quality": 20}
# AVIF: 7 takes 484 / 1420 ms, 6 about twice as long, 8 half as long and up to twice the size. One thread and no
# automatic tiles: the encoder's output depends on the number of threads that it is told.
AVIF_OPTIONS = {"quality": QUALITY, "speed": 7, "max_threads": 1, "autotiling": False}
# TIFF: each pixel as the difference from its left neighbour saves another 18 %.
TIFF_OPTIONS = {"compression": "tiff_adobe_deflate", "tiffinfo": {317: 2}}
# GIF has one bit of alpha; from here on a pixel is opaque.
GIF_OPAQUE = 128


def format_for(path: str | os.PathLike[str]) -> str | None:
    """Return the format that a file name's suffix asks for; None where it asks for none, as `-` does.

    Raises:
        UsageError: for a suffix that is not known.
    """
    suffix = PurePath(os.fspath(path)).suffix.lower()
    if not suffix:
        return None
    if suffix not in EXTENSIONS:
        raise UsageError(f"the output's name must end in one of {', '.join(EXTENSIONS)}; got {os.fspath(path)!r}")
    return EXTENSIONS[suffix]


def encode(image: Image.Image, picture: "Picture", format: str | None = None, *, threads: int = 2) -> bytes:
    """Write pixels as a file that holds them, the source's checked colour profile, and nothing else of the source.

    A JPEG from a JPEG follows the source: its quantisation tables, chroma subsampling and progressive coding, turned
    with the picture where its orientation swaps the axes; a subsampling that the encoder cannot express becomes
    4:4:4. A WebP from a WebP follows it in being lossless. Otherwise JPEG is written at quality 90, 4:4:4, WebP and
    AVIF at quality 90 with 4:2:0, and the other formats without loss, GIF with at most 256 colours.

    Alpha is blended with white for JPEG and BMP, and cut to one bit for GIF. BMP and GIF hold no profile: their
    pixels are converted to sRGB.

    Args:
        image: mode L, RGB or RGBA, of the picture's size; its `info` is not looked at. Not changed.
        picture: the source; gives the format, the profile and how the source was coded.
        format: Pillow's name of a format; None keeps the source's, or takes PNG where it never was a file.
        threads: how many a large baseline JPEG is encoded on; the bytes are the same.

    Raises:
        UsageError: for a mode or a format that cannot be written.
        OutputError: when the picture is larger than the format allows, or the encoder fails.
    """
    name = (format or picture.format or DEFAULT_FORMAT).upper()
    writer = _WRITERS.get(name)
    if writer is None or image.mode not in ("L", "RGB", "RGBA"):
        raise UsageError(
            f"a picture must be of mode L, RGB or RGBA and written as one of {', '.join(_WRITERS)}; "
            f"got {image.mode} as {name}"
        )
    limit = MAX_SIDE.get(name)
    if limit is not None and max(image.size) > limit:
        width, height = image.size
        raise OutputError(
            f"a {name} picture must be at most {limit} pixels a side; this one is {width} x {height}; "
            "write it as PNG or TIFF"
        )
    image, profile = _bare(image), picture.icc_profile
    try:
        if profile is not None and (name in NO_PROFILE or not _describes(profile, image)):
            image, profile = _to_srgb(image, profile), None
        if image.mode == "RGBA" and name in NO_ALPHA:
            image = _blend(image)
        return writer(image, picture, {} if profile is None else {"icc_profile": profile}, threads)
    except OutputError:
        raise
    except Exception as error:  # encoders raise many classes
        raise OutputError(f"the picture must be writable as {name}; its encoder failed ({error})") from error


def _bare(image: Image.Image) -> Image.Image:
    """Return the pixels without anything else that an encoder might find: `info`, tags, palette, text."""
    if type(image) is Image.Image and not image.info:
        return image
    return Image.fromarray(np.array(image))


def _describes(profile: bytes, image: Image.Image) -> bool:
    """Whether a profile is one for this mode: painting in colour makes RGB of grey, and the grey profile is wrong."""
    return (profile[16:20] == b"GRAY") == (image.mode == "L")


def _blend(image: Image.Image) -> Image.Image:
    flat = Image.new("RGB", image.size, BACKGROUND)
    flat.paste(image, mask=image.getchannel("A"))
    return flat


def _saved(image: Image.Image, format: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB; with a grey profile every colour channel alike, so that grey in an RGB picture stays grey."""
    if profile[16:20] != b"GRAY":
        return to_srgb(image, profile)
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    curve = list(to_srgb(ramp, profile).getchannel("R").tobytes())
    alpha = list(range(256)) if image.mode == "RGBA" else []
    return image.point(curve * (len(image.getbands()) - bool(alpha)) + alpha)


def _jpeg_coding(picture: "Picture") -> JpegCoding:
    if picture.info.qtables is None:
        return JpegCoding(quality=QUALITY)
    coding = JpegCoding(
        qtables=picture.info.qtables,
        subsampling=max(picture.info.subsampling, 0),
        progressive=picture.info.progressive,
    )
    return coding.transposed() if picture.orientation >= 5 else coding


def _jpeg(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    return encode_jpeg(image, _jpeg_coding(picture), icc_profile=options.get("icc_profile"), threads=threads)


def _png(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    return _saved(image, "PNG", {**options, "compress_level": PNG_LEVEL})


def _webp(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    lossy = {"quality": QUALITY, "method": WEBP_METHOD}
    return _saved(image, "WEBP", options | (WEBP_LOSSLESS if picture.info.lossless else lossy))


def _avif(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    return _saved(image, "AVIF", options | AVIF_OPTIONS)


def _tiff(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    return _saved(image, "TIFF", options | TIFF_OPTIONS)


def _bmp(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    return _saved(image, "BMP", {})


def _gif(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    """Grey as it is; colours as they are up to 256, else the nearest of 256; one more entry for transparent pixels."""
    if image.mode == "L":
        return _saved(image, "GIF", {"interlace": 0})
    colours = image.convert("RGB")
    if image.mode == "RGB":
        return _saved(colours.quantize(256), "GIF", {"interlace": 0})
    clear = image.getchannel("A").point(lambda alpha: 255 * (alpha < GIF_OPAQUE))
    palette = colours.quantize(255)
    palette.paste(255, mask=clear)
    return _saved(palette, "GIF", {"interlace": 0, "transparency": 255})


def _heif(image: Image.Image, picture: "Picture", options: dict[str, Any], threads: int) -> bytes:
    try:
        import pillow_heif
    except ImportError as error:
        raise OutputError(
            "writing HEIC needs the package pillow-heif; it is not installed; pip install pillow-heif, or "
            "name another format"
        ) from error
    pillow_heif.register_heif_opener()
    return _saved(image, "HEIF", {**options, "quality": QUALITY})


_WRITERS: dict[str, Callable[[Image.Image, "Picture", dict[str, Any], int], bytes]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "AVIF": _avif,
    "TIFF": _tiff,
    "BMP": _bmp,
    "GIF": _gif,
    "HEIF": _heif,
}
