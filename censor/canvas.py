"""Read and write rectangles of a picture that is being painted, whether it is an array or a Pillow picture.

Only the rectangle in question is ever converted: a 24-megapixel Pillow picture is not copied to hide a small box.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.masks import Box, slices
from detector.errors import UsageError

__all__ = ["ArrayCanvas", "Canvas", "ImageCanvas", "canvas_of"]

Pixels = NDArray[np.uint8]

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


class Canvas(Protocol):
    """A picture in rectangles; pixels are (h, w, channels) uint8: grey, RGB or RGBA."""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""

    @property
    def channels(self) -> int:
        """1, 3 or 4."""

    def read(self, box: Box) -> Pixels:
        """Return the pixels of a box inside the picture: contiguous, a copy, perhaps read-only."""

    def write(self, box: Box, pixels: Pixels) -> None:
        """Replace the pixels of a box inside the picture."""


class ArrayCanvas:
    """A uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, painted in place.

    Raises:
        UsageError: for any other array, an empty one, or one that cannot be written to.
    """

    def __init__(self, array: NDArray[np.uint8]) -> None:
        known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
        if array.dtype != np.uint8 or not known or array.size == 0:
            raise UsageError(
                "a canvas array must be uint8 of shape (H, W), (H, W, 3) or (H, W, 4), not empty; "
                f"got {array.dtype} {array.shape}"
            )
        if not array.flags.writeable:
            raise UsageError("a canvas array must be writeable, since it is painted in place; pass a copy of it")
        self._array = array if array.ndim == 3 else array[:, :, None]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._array.shape[0], self._array.shape[1]

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return int(self._array.shape[2])

    def read(self, box: Box) -> Pixels:
        """Return the pixels of a box inside the picture: contiguous, a copy, perhaps read-only."""
        return self._array[slices(box, (0, 0, 0, 0))].copy(order="C")

    def write(self, box: Box, pixels: Pixels) -> None:
        """Replace the pixels of a box inside the picture."""
        self._array[slices(box, (0, 0, 0, 0))] = pixels


class ImageCanvas:
    """A Pillow picture of mode L, RGB or RGBA, painted in place.

    Raises:
        UsageError: for any other mode. In a palette picture the index that is painted says nothing about the colour.
    """

    def __init__(self, image: Image.Image) -> None:
        if image.mode not in CHANNELS:
            raise UsageError(f"a canvas picture must be of mode {', '.join(CHANNELS)}; got {image.mode}; convert it")
        if not image.width or not image.height:
            raise UsageError(f"a canvas picture must have pixels; got {image.width} x {image.height}")
        image.load()
        self._image = image

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._image.height, self._image.width

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return CHANNELS[self._image.mode]

    def read(self, box: Box) -> Pixels:
        """Return the pixels of a box inside the picture: contiguous, a copy, perhaps read-only."""
        return np.asarray(self._image.crop(box)).reshape(box[3] - box[1], box[2] - box[0], self.channels)

    def write(self, box: Box, pixels: Pixels) -> None:
        """Replace the pixels of a box inside the picture."""
        plane = pixels[:, :, 0] if self.channels == 1 else pixels
        self._image.paste(Image.fromarray(np.ascontiguousarray(plane)), box)


def canvas_of(picture: NDArray[np.uint8] | Image.Image) -> Canvas:
    """Return the canvas for an array or a Pillow picture; anything else is a `UsageError`."""
    if isinstance(picture, Image.Image):
        return ImageCanvas(picture)
    if isinstance(picture, np.ndarray):
        return ArrayCanvas(picture)
    raise UsageError(f"a canvas must be a uint8 array or a Pillow picture; got {type(picture).__name__}")
