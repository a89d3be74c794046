"""Open a source as what its content says: a picture, an animation, or a file of several pages."""

import os
from typing import BinaryIO

from censor.animation.avif_read import open_avif
from censor.animation.gif_read import GifAnimation, gif_structure
from censor.animation.png_read import PngAnimation, apng_structure
from censor.animation.sequence import Animation
from censor.animation.tiff_pages import Pages, open_pages
from censor.animation.webp_read import WebpAnimation, webp_structure
from detector.errors import InputError
from detector.formats import sniff
from detector.limits import Limits, read_file_object, read_path
from detector.picture import Picture
from detector.video_files import HEAD_BYTES, may_hold_video

__all__ = ["open_source"]


def open_source(
    source: str | os.PathLike[str] | bytes | BinaryIO | Picture,
    *,
    limits: Limits | None = None,
    name: str | None = None,
) -> Picture | Animation | Pages:
    """Read a source's structure and check it; decode nothing.

    Args:
        source: as for `Picture.open`, arrays and Pillow pictures left out.
        limits: what it is checked against.
        name: what to call it, where it comes without a path.

    Raises:
        InputError: when it cannot be read, is of no supported format, or is broken in its structure.
        LimitError: when it is larger or longer than the limits allow.
    """
    if isinstance(source, Picture):
        return source
    limits = limits if limits is not None else Limits()
    if isinstance(source, str | os.PathLike):
        path = os.fsdecode(source)
        data, name = read_path(path, limits), name or path
    elif isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "<bytes>"
        limits.check_bytes(len(data), name)
    elif hasattr(source, "read"):
        name = name or "<file>"
        data = read_file_object(source, name, limits)
    else:
        return Picture.open(source, limits=limits, name=name)
    return _moving(data, name, limits) or Picture.open(data, limits=limits, name=name)


def _moving(data: bytes, name: str, limits: Limits) -> Animation | Pages | None:
    """Return what has several frames or pages; None for a picture, and for what is none at all."""
    try:
        kind = sniff(data, name) if data else ""
    except InputError as error:
        if may_hold_video(data[:HEAD_BYTES]):
            raise InputError(
                f"{name}: a video must be named as a file, since it is read twice; save it first"
            ) from error
        return None  # whoever opens it as a picture says so
    if kind == "GIF":
        gif = gif_structure(data, name, limits)
        return GifAnimation(name, data, gif, limits) if len(gif.frames) > 1 else None
    if kind == "PNG":
        png = apng_structure(data, name, limits) if b"acTL" in data else None
        return PngAnimation(name, data, png, limits) if png is not None else None
    if kind == "WEBP":
        webp = webp_structure(data, name, limits)
        return WebpAnimation(name, data, webp, limits) if webp is not None else None
    if kind == "AVIF":
        return open_avif(name, data, limits) if b"moov" in data else None
    return open_pages(name, data, limits) if kind == "TIFF" else None
