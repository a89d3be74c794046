"""`Picture`: an untrusted picture whose header was read and checked, and whose pixels are decoded when asked for."""

import hashlib
import os
import threading
from functools import cached_property
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from detector.containers import exif_orientation
from detector.decode import CancellableBytes, Colour, composites, decoding, fresh, normalise, to_srgb, turned
from detector.errors import InputError, UsageError
from detector.formats import EncodeHints, Header, open_decoder, read_header, sniff
from detector.limits import Limits, read_file_object, read_path

__all__ = ["EncodeHints", "Limits", "Picture", "Source"]

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[np.uint8]

# The coded picture's last bytes, end marker included: a decoder needs the very last one for the last row of pixels.
TAIL_BYTES = 16

_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


class Picture:
    """One picture, from wherever it came; safe to decode from several threads.

    Made by `Picture.open`. Everything but `load` and `views` is known without decoding.

    Attributes:
        name: the path as given, or `<bytes>`, `<file>`, `<picture>`, `<array>`.
        data: the whole file; None for an array, and for a Pillow picture whose file is not at hand any more.
        format: Pillow's name, JPEG PNG WEBP AVIF TIFF BMP GIF or HEIF; None where `data` is.
        image_size: (height, width) as a viewer sees it, the orientation applied.
        orientation: 1..8 as stored (EXIF; for AVIF the container's). A HEIF decoder turns the picture itself: 1.
        mode: "L", "RGB" or "RGBA", of what `load` returns.
        icc_profile: the rebuilt profile that belongs to the pixels of `load`; None where they are sRGB.
        info: how the file was coded.
        limits: what it was checked against.
        has_slack: for a JPEG that ends with its coded picture, whether the picture was complete before the last bytes
            of it were read, so that something else may stand there; None as long as nothing was decoded.
        lossless_ok: whether the stored pixels can stay as they are: a JPEG, upright, grey or three-coloured, with no
            colour profile or one that was rebuilt.
    """

    def __init__(
        self,
        name: str,
        data: bytes | None,
        pixels: Image.Image | NDArray[np.uint8] | None,
        header: Header,
        limits: Limits,
    ) -> None:
        self.name = name
        self.data = data
        self.limits = limits
        self._pixels = pixels
        self._header = header
        self._colour = Colour.of(header)
        self.has_slack: bool | None = None
        # Reduced views are small and looked at more than once: by the detector, and when the output is checked.
        self._reduced_views: dict[int, list[NDArray[np.uint8]]] = {}
        self.format = header.format or None
        self.orientation = header.orientation
        self.mode = self._colour.mode
        self.icc_profile = self._colour.keep
        self.info: EncodeHints = header.hints
        width, height = header.size
        self.image_size = (width, height) if self.orientation >= 5 else (height, width)
        self.lossless_ok = (
            self.format == "JPEG"
            and self.orientation == 1
            and header.mode in ("L", "RGB")
            and self._colour.convert is None
        )

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<Picture {self.name} {self.format or 'pixels'} {self.mode} {width} x {height}>"

    @classmethod
    def open(cls, source: Source, *, limits: Limits | None = None, name: str | None = None) -> Self:
        """Read a picture's header and check it; decode nothing.

        Args:
            source: a path; a file's bytes; a binary file object, read from where it stands; a Pillow picture; or a
                uint8 array of (H, W, 3) RGB, (H, W) grey or (H, W, 4) RGBA, which must not change afterwards. A Pillow
                picture that was not loaded yet is read again from its file, so that its colours and boxes are those of
                the file; one that was loaded counts as it stands, without further frames.
            limits: bounds on bytes and pixels, checked before anything is decoded; the defaults of `Limits`.
            name: what to call it in messages and reports, where it comes without a path.

        Raises:
            InputError: when it cannot be read, is of no supported format, is broken in its header, or has several
                frames or pages: hiding something in the first one only would leak the others.
            LimitError: when it is larger than the limits allow.
            UsageError: when `source` is none of these kinds.
        """
        limits = limits if limits is not None else Limits()
        if isinstance(source, np.ndarray):
            return cls._of_array(source, limits, name or "<array>")
        if isinstance(source, Image.Image):
            return cls._of_image(source, limits, name or "<picture>")
        if isinstance(source, str | os.PathLike):
            path = os.fsdecode(source)
            return cls._of_data(read_path(path, limits), name or path, limits)
        if isinstance(source, bytes | bytearray | memoryview):
            name = name or "<bytes>"
            limits.check_bytes(memoryview(source).nbytes, name)
            return cls._of_data(bytes(source), name, limits)
        if hasattr(source, "read"):
            name = name or "<file>"
            return cls._of_data(read_file_object(source, name, limits), name, limits)
        raise UsageError(
            "a picture must be given as a path, bytes, a binary file object, a Pillow picture or a uint8 array; "
            f"got {type(source).__name__}"
        )

    @cached_property
    def sha256(self) -> str | None:
        """The hexadecimal SHA-256 of `data`; None where there is none."""
        return None if self.data is None else hashlib.sha256(self.data).hexdigest()

    @property
    def plain_colour(self) -> bool:
        """Whether it is grey or RGB in sRGB as it stands: nothing to convert, no profile, no alpha."""
        return self._header.mode in ("L", "RGB") and self._colour.convert is None and self.icc_profile is None

    def load(self, cancel: threading.Event | None = None) -> Image.Image:
        """Decode at full size.

        Args:
            cancel: when another thread sets it, decoding is given up soon with an exception that is none of this
                package's errors: for a decode that was begun on the chance that it would be needed.

        Returns:
            A plain Pillow picture of `mode`, the caller's to change: orientation applied, 8 bits, empty `info`, and
            where alpha is 0 all of RGB 0. Its colours are those of `icc_profile`.

        Raises:
            InputError: when the pixels cannot be decoded, to the last one.
        """
        with decoding(self.name, self.format):
            decoder = self._decoder(cancel)
            image = normalise(decoder, self._header, self.name)
            self._note_slack(decoder)
            if self._colour.convert is not None or image.mode == "CMYK":
                image = to_srgb(image, self._colour.convert)
            image = turned(image, self.orientation)
            if image is self._pixels or image.readonly:  # it still is the caller's memory
                image = image.copy()
            return fresh(image, self.mode)

    def views(self, min_long_side: int) -> list[NDArray[np.uint8]]:
        """Decode what a detector looks at, in sRGB.

        A JPEG is decoded at the smallest of 1/8, 1/4, 1/2 and 1 of its size whose long side is not below
        `min_long_side`; every other source comes at full size, to be resized with anti-aliasing by who uses it. So an
        array gives the same boxes as the same picture's file except for a JPEG of at least twice that size, whose
        reduction differs by a level or two a pixel.

        Args:
            min_long_side: pixels, at least 1.

        Returns:
            Contiguous, read-only (h, w, 3) uint8 RGB arrays, as a viewer sees the picture: one, or, when some of it is
            transparent, three: over white, over black, and its colours without their alpha.

        Raises:
            InputError: when the pixels cannot be decoded.
        """
        if isinstance(self._pixels, np.ndarray) and self.mode == "RGB" and min_long_side >= 1:
            view = np.ascontiguousarray(self._pixels)[:]  # a view, so that the caller's own array stays writeable
            view.setflags(write=False)
            return [view]
        scale = self._scale(min_long_side)
        if scale in self._reduced_views:
            return list(self._reduced_views[scale])
        with decoding(self.name, self.format):
            views = composites(self._seen(scale))
        if scale > 1:
            self._reduced_views[scale] = views
        return list(views)

    def images(self, min_long_side: int) -> list[Image.Image]:
        """Return what `views` returns as Pillow pictures of mode RGB, not to be changed.

        At full size this saves two copies of all pixels for those who resize with Pillow.
        """
        with decoding(self.name, self.format):
            image = self._seen(self._scale(min_long_side))
            return [image] if image.mode == "RGB" else [Image.fromarray(view) for view in composites(image)]

    def decoded(self, image: Image.Image) -> Self:
        """Return this picture with the pixels that `load` gave, so that who looks at it need not decode again.

        Args:
            image: what `load` returned; `views` shows whatever it holds by then.
        """
        height, width = self.image_size
        if image.size != (width, height):
            raise UsageError(
                f"the pixels must be this picture's, {width} x {height}; got {image.width} x {image.height}"
            )
        header = Header(format="", size=image.size, mode=image.mode, icc_profile=self.icc_profile)
        return type(self)(self.name, None, image, header, self.limits)

    def _scale(self, min_long_side: int) -> int:
        """Return by how much the decoder reduces the picture: 8, 4, 2 or 1."""
        if min_long_side < 1:
            raise UsageError(f"min_long_side must be at least 1; got {min_long_side}")
        if self.format != "JPEG":
            return 1
        longest = max(self.image_size)
        return next((scale for scale in (8, 4, 2) if -(-longest // scale) >= min_long_side), 1)

    def _seen(self, scale: int) -> Image.Image:
        """Return an RGB or RGBA picture in sRGB, turned, reduced by `scale`."""
        image = self._decoder()
        if scale > 1:
            # Pillow takes the largest scale that leaves both sides at or above what is asked for.
            image.draft(None, (max(image.width // scale, 1), max(image.height // scale, 1)))
        decoder = image
        image = normalise(decoder, self._header, self.name)
        self._note_slack(decoder)
        image = to_srgb(image, self._colour.convert or self._colour.keep)
        return turned(image, self.orientation)

    def _note_slack(self, decoder: Image.Image) -> None:
        early = getattr(decoder, "complete_early", None)
        if early is not None:
            self.has_slack = early

    def _decoder(self, cancel: threading.Event | None = None) -> Image.Image:
        """Return a picture that is not decoded yet, one for each call; where there are pixels already, these."""
        if isinstance(self._pixels, np.ndarray):
            return Image.fromarray(self._pixels)
        if self._pixels is not None:
            return self._pixels
        assert self.data is not None
        assert self.format is not None
        stream = None if cancel is None else CancellableBytes(self.data, cancel)
        image = open_decoder(self.data, self.format, self.name, self.limits, stream)
        if self.lossless_ok and self.data.endswith(b"\xff\xd9"):
            image.tail_at = len(self.data) - TAIL_BYTES  # type: ignore[attr-defined]
        return image

    @classmethod
    def _of_data(cls, data: bytes, name: str, limits: Limits) -> Self:
        if not data:
            raise InputError(
                f"{name}: a picture file must not be empty; got 0 bytes; rewind a file object before passing it"
            )
        kind = sniff(data, name)
        with decoding(name, kind):
            header = read_header(data, kind, name, limits)
        return cls(name, data, None, header, limits)

    @classmethod
    def _of_array(cls, array: NDArray[Any], limits: Limits, name: str) -> Self:
        channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
        if array.dtype != np.uint8 or channels not in _CHANNELS or (array.ndim == 3 and channels == 1):
            raise UsageError(
                "an array must be uint8 of shape (H, W, 3) in RGB, (H, W) in grey or (H, W, 4) in RGBA; "
                f"got {array.dtype} of shape {array.shape}"
            )
        size = (array.shape[1], array.shape[0])
        limits.check_size(*size, "<array>")
        return cls("<array>", None, array, Header(format="", size=size, mode=_CHANNELS[channels]), limits)

    @classmethod
    def _of_image(cls, image: Image.Image, limits: Limits, name: str) -> Self:
        limits.check_size(*image.size, name)
        with decoding(name, image.format):
            data = _unread_file(image, limits)
            if data is None:
                image.load()
        if data is not None:
            return cls._of_data(data, name, limits)
        return cls(name, None, image, _header_of(image), limits)


def _unread_file(image: Image.Image, limits: Limits) -> bytes | None:
    """Return the file behind a Pillow picture that was opened and not touched since; None where there is none."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or file is None or image.decoderconfig:
        return None
    if image.format not in ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "HEIF"):
        return None
    try:
        position = file.tell()
        file.seek(0)
        try:
            return read_file_object(file, "<picture>", limits)
        finally:
            file.seek(position)
    except (OSError, ValueError):
        return None  # closed, or no longer at hand: its pixels may still be


def _header_of(image: Image.Image) -> Header:
    """Describe a loaded Pillow picture."""
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else "RGB"
    return Header(
        format="",
        size=image.size,
        mode=image.mode,
        transparent="transparency" in image.info or palette == "RGBA",
        orientation=exif_orientation(exif) if isinstance(exif, bytes) else 1,
        icc_profile=profile if isinstance(profile, bytes) else None,
    )
