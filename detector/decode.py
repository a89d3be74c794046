"""From a decoder's pixels, of whatever mode, to 8-bit grey, RGB or RGBA; colour profiles; orientation.

Nothing here clips silently: 16-bit grey is scaled, and where numbers have no agreed meaning the picture is refused.
"""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector import icc
from detector.errors import InputError, RetinaCensorError
from detector.formats import Header

__all__ = [
    "CancellableBytes",
    "Cancelled",
    "Colour",
    "composites",
    "decoding",
    "fresh",
    "normalise",
    "to_srgb",
    "turned",
]

_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY = ("1", "L", "I", "I;16", "I;16L", "I;16B", "I;16N")
_DEEP = _GREY[3:]
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# The common CMYK profiles have 0.5 to 3 MB; a larger one is treated like none.
_MAX_PROFILE = 8 << 20
# Rows that are composited at a time: at 50 megapixels, whole intermediate pictures would take 1 GB.
_STRIP = 256
# What a decoder says is quoted up to here.
_MAX_REASON = 200


class Cancelled(Exception):
    """The decoding was given up because the caller's event was set."""


class CancellableBytes(io.BytesIO):
    """A file in memory that stops being readable when an event is set.

    Pillow reads JPEG, PNG, GIF and BMP in pieces of 64 KiB, so decoding ends within one piece.
    """

    def __init__(self, data: bytes, cancel: threading.Event) -> None:
        super().__init__(data)
        self._cancel = cancel

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as from any file, unless cancelled."""
        if self._cancel.is_set():
            raise Cancelled
        return super().read(size)


@contextmanager
def decoding(name: str, kind: str | None) -> Iterator[None]:
    """Turn whatever a decoder raises into `InputError`; Pillow raises some ten classes on bad input."""
    try:
        yield
    except (RetinaCensorError, Cancelled):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
        raise InputError(
            f"{name}: a picture must decode without errors; this {kind or 'one'} does not: {reason}; "
            "it is truncated, corrupt or of an unsupported kind; export it again"
        ) from error


@dataclass(frozen=True)
class Colour:
    """What becomes of a picture's colour profile.

    Attributes:
        mode: "L", "RGB" or "RGBA", of the picture that is written.
        keep: the rebuilt profile that goes with the stored numbers; None where these are sRGB, or become it.
        convert: the profile to convert with before writing: the file's own where it cannot be rebuilt.
    """

    mode: str
    keep: bytes | None = None
    convert: bytes | None = None

    @classmethod
    def of(cls, header: Header) -> "Colour":
        """Decide from the header alone.

        A profile for another colour space than the pixels' is dropped, as viewers do. So is one that means sRGB.
        """
        transparent = header.transparent or header.mode in _ALPHA
        grey = header.mode in (*_GREY, "LA", "La")
        mode = "RGBA" if transparent else "L" if grey else "RGB"
        profile = header.icc_profile
        space = icc.colour_space(profile) if profile and len(profile) <= _MAX_PROFILE else None
        if profile is None or space != ("GRAY" if grey else {"CMYK": "CMYK", "LAB": None}.get(header.mode, "RGB")):
            return cls(mode)
        rebuilt = icc.rebuild_profile(profile)
        if rebuilt is None:
            return cls("RGB" if mode == "L" else mode, convert=profile)
        if icc.is_srgb(rebuilt):
            return cls(mode)
        if grey and mode != "L":  # no file can hold RGBA with a grey profile
            return cls(mode, convert=rebuilt)
        return cls(mode, keep=rebuilt)


def normalise(image: Image.Image, header: Header, name: str) -> Image.Image:
    """Return the pixels as L, LA, RGB, RGBA or CMYK of 8 bits; the picture itself where it is one of these.

    Raises:
        InputError: for floating-point and negative pixels: which number is white is nowhere said.
    """
    image.load()
    mode = image.mode
    transparent = image.info.get("transparency")
    if mode == "F":
        raise InputError(
            f"{name}: a picture's pixels must be whole numbers; got floating point; save it with 8 or 16 bits"
        )
    if mode == "I" or mode in _DEEP:
        grey = Image.fromarray(_eight_bits(np.asarray(image), header, name))
        if transparent is None:
            return grey
        grey.putalpha(Image.fromarray(np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8)))
        return grey
    if transparent is not None and mode in ("1", "L", "RGB"):
        if header.bits not in (1, 8):
            image.info["transparency"] = _at_depth(transparent, header.bits)
        return image.convert("RGBA")
    if mode == "P":
        palette = image.palette.mode if image.palette is not None else "RGB"
        return image.convert("RGBA" if transparent is not None or palette == "RGBA" else "RGB")
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    return image.convert({"1": "L", "La": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB"))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return RGB, or RGBA where there is alpha, in sRGB.

    Args:
        image: as `normalise` returns it.
        profile: what its numbers mean; None for sRGB and for CMYK without a profile. One that the colour engine cannot
            use is treated like None.
    """
    target = "RGBA" if image.mode in ("LA", "RGBA") else "RGB"
    if profile is not None:
        from PIL import ImageCms

        alpha = image.getchannel("A") if target == "RGBA" else None
        base = image if alpha is None else image.convert("L" if image.mode == "LA" else "RGB")
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), base.mode, "RGB")
            converted = transform.apply(base)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that nothing can use says nothing about the colours
        else:
            if alpha is not None:
                converted.putalpha(alpha)
            return converted
    return image if image.mode == target else image.convert(target)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture as a viewer sees it; the picture itself for orientation 1."""
    return image.transpose(_METHODS[orientation]) if orientation in _METHODS else image


def fresh(image: Image.Image, mode: str) -> Image.Image:
    """Return a plain picture of the mode wanted, without `info`, whose hidden pixels are black.

    Takes the pixels of `image` over instead of copying them; `image` must not be used afterwards.
    """
    if image.mode != mode:
        image = image.convert(mode)
    # Pillow's own way to put pixels into a new picture; its public ways all copy them (96 MB at 24 megapixels).
    plain = Image.Image()._new(image.im)
    if mode == "RGBA":
        hidden = plain.getchannel("A").point([255] + [0] * 255)
        plain.paste((0, 0, 0, 0), (0, 0, *plain.size), hidden)
    return plain


def composites(image: Image.Image) -> list[NDArray[np.uint8]]:
    """Return (h, w, 3) uint8 arrays of an RGB or RGBA picture, contiguous and read-only.

    One; or where the picture is not opaque three: over white, over black, and its colours without their alpha, black
    where nothing of them is kept. The last is what somebody sees who drops the alpha of the output.
    """
    if image.mode != "RGBA":
        return [np.asarray(image)]
    if image.getchannel("A").getextrema() == (255, 255):
        return [_read_only(_filled(image, lambda pixels: pixels[..., :3]))]
    return [_read_only(_filled(image, look)) for look in (_over_white, _over_black, _bare)]


def _filled(image: Image.Image, look: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> NDArray[np.uint8]:
    """Return what `look` makes of an RGBA picture, strip by strip, so that little memory is used besides."""
    result = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        rows = slice(top, min(top + _STRIP, image.height))
        result[rows] = look(np.asarray(image.crop((0, top, image.width, rows.stop))))
    return result


def _over_black(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    return (pixels[..., :3] * pixels[..., 3:].astype(np.uint16) + 127) // 255


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    return _over_black(pixels) + (255 - pixels[..., 3:])  # at most 255: a colour times alpha is no more than alpha


def _bare(pixels: NDArray[np.uint8]) -> NDArray[Any]:
    return pixels[..., :3] * (pixels[..., 3:] > 0)


def _read_only(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array.setflags(write=False)
    return array


def _at_depth(transparent: int | tuple[int, ...], bits: int) -> int | tuple[int, ...]:
    """Bring a PNG's transparent colour to 8 bits, as Pillow does with the pixels but not with it."""
    if isinstance(transparent, tuple):
        return tuple(number >> 8 for number in transparent) if bits == 16 else transparent
    return transparent * 255 // ((1 << bits) - 1) if bits in (2, 4) else transparent


def _eight_bits(pixels: NDArray[Any], header: Header, name: str) -> NDArray[np.uint8]:
    """Scale grey of more than 8 bits to 8, white to white.

    Pixels of 32 bits have no agreed white: they are taken for the smallest of 8, 16 and 32 bits that holds them all.
    """
    if pixels.dtype.itemsize == 2:
        deep: NDArray[Any] = pixels.astype(np.uint16)  # in the machine's byte order; a copy in any case
        if header.bits == 12:  # Pillow leaves them as they are
            np.minimum(deep, 4095, out=deep)
            deep = deep << 4 | deep >> 8
        if header.inverted:
            np.subtract(65535, deep, out=deep)
        # round(v / 257) without leaving 16 bits
        deep -= deep >> 8
        deep += 128
        deep >>= 8
        return deep.astype(np.uint8)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0:
        raise InputError(f"{name}: a picture's pixels must not be negative; got {low}; save it with 8 or 16 bits")
    white = 255 if high <= 255 else 65535 if high <= 65535 else 0xFFFFFFFF
    scaled: NDArray[np.uint8] = np.rint(pixels * np.float32(255 / white)).astype(np.uint8)
    return scaled
