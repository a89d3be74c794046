"""A picture to the square that a classifier looks at: read no larger than needed, whole or its middle. No torch."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.classifier_config import ClassifierConfig
from detector.picture import Picture

__all__ = ["looks", "middle", "squares"]

# A JPEG is read at least so many times larger than it is needed, so that its reduction in the decoder, which averages
# in whole blocks, is followed by a proper one.
READ_SCALE = 2


def looks(picture: Picture, short_side: int) -> list[Image.Image]:
    """Decode a picture for a classifier.

    Args:
        picture: any.
        short_side: pixels that its shorter side will be brought to; a JPEG is read at twice that or more.

    Returns:
        RGB: one, or for a picture with alpha three: over white, over black, and its colours without their alpha.

    Raises:
        InputError: when the pixels cannot be decoded.
    """
    long, short = max(picture.image_size), min(picture.image_size)
    return picture.images(math.ceil(READ_SCALE * short_side * long / short))


def middle(size: tuple[int, int], share: float) -> tuple[float, float, float, float]:
    """Return the square (left, upper, right, lower) in the middle of a picture.

    Args:
        size: (width, height).
        share: side of the square, of the shorter side.
    """
    side = min(size) * share
    left, upper = (size[0] - side) / 2, (size[1] - side) / 2
    return left, upper, left + side, upper + side


def squares(picture: Picture, config: ClassifierConfig) -> list[NDArray[np.uint8]]:
    """Return what the network is shown of a picture when it judges it.

    Args:
        picture: any.
        config: of the network.

    Returns:
        One (S, S, 3) uint8 RGB array for each of `looks`.

    Raises:
        InputError: when the pixels cannot be decoded.
    """
    side = config.input_size
    found = []
    for look in looks(picture, side if config.preprocessing.fit == "squash" else config.resize):
        box = None if config.preprocessing.fit == "squash" else middle(look.size, side / config.resize)
        found.append(np.asarray(look.resize((side, side), Image.Resampling.BILINEAR, box=box)))
    return found
