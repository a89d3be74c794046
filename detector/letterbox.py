"""From a picture to a network's input and back: the frame of the network, and the one function that leaves it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Letterbox", "fit", "resize"]

# How far the aspect may be bent so that the picture fills whole strides. Measured on the mannequins (flipped, moved
# and scaled; 192 pictures): black padding AP .187, edge pixels repeated .213, stretched to fill .227. What a stride
# of 32 leaves open is seldom more than this; the rest is padded.
MAX_STRETCH = 1.15

# Up to so many values a view is averaged in float32, which OpenCV does in half the time of uint8 (0.7 and 1.3 ms from
# 576 x 432); larger ones would only cost memory.
FLOAT_VALUES = 3_000_000


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in the network's input: its top left corner in theirs, the rest padding.

    Attributes:
        content: (height, width) of the picture in the network's input, in pixels.
        network_size: (height, width) of the network's input; each at least that of `content`.
    """

    content: tuple[int, int]
    network_size: tuple[int, int]

    def apply(self, view: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (H, W, 3) of `network_size`: `view` resized with anti-aliasing, its edge pixels repeated as padding.

        The values stay in [0, 255].

        Args:
            view: (h, w, 3) uint8, any size.
        """
        inner = resize(view, self.content)
        bottom, right = (whole - part for whole, part in zip(self.network_size, self.content, strict=True))
        if not bottom and not right:
            return inner
        return np.asarray(cv2.copyMakeBorder(inner, 0, bottom, 0, right, cv2.BORDER_REPLICATE), dtype=np.float32)

    def to_source(self, boxes: NDArray[np.float32], image_size: tuple[int, int]) -> NDArray[np.float32]:
        """Map boxes back to the picture, and clip them to it.

        Args:
            boxes: (N, 4) xyxy in pixels of the network's input.
            image_size: (height, width) of the picture to map to: of the source, whatever size the view had.

        Returns:
            (N, 4) float32 xyxy in pixels of that picture; a box that lay in the padding comes back with no area.
        """
        (height, width), (inner_height, inner_width) = image_size, self.content
        limit = np.array([inner_width, inner_height, inner_width, inner_height], dtype=np.float32)
        scale = np.array([width / inner_width, height / inner_height] * 2, dtype=np.float32)
        # The float32 product may land a rounding error over the edge: the picture's own edge is the last word.
        edge = np.array([width, height, width, height], dtype=np.float32)
        source: NDArray[np.float32] = np.minimum(np.clip(boxes, 0, limit) * scale, edge)
        return source

    def to_network(self, boxes: NDArray[np.float32], image_size: tuple[int, int]) -> NDArray[np.float32]:
        """Map (N, 4) xyxy boxes of the picture into the network's input; the inverse of `to_source`."""
        (height, width), (inner_height, inner_width) = image_size, self.content
        return boxes * np.array([inner_width / width, inner_height / height] * 2, dtype=np.float32)


def fit(image_size: tuple[int, int], *, long_side: int, stride: int) -> Letterbox:
    """Plan the input for a picture: long side at `long_side`, rectangular, both sides multiples of `stride`.

    Args:
        image_size: (height, width) of what will be looked at, each at least 1.
        long_side: of the network's input, in pixels; a multiple of `stride`.
        stride: the network's coarsest step.
    """
    scale = long_side / max(image_size)
    content, network = [], []
    for side in image_size:
        exact = side * scale
        whole = max(1, -(-round(exact) // stride)) * stride
        content.append(max(1, min(whole, round(exact * MAX_STRETCH))))
        network.append(whole)
    return Letterbox((content[0], content[1]), (network[0], network[1]))


def resize(view: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return `view` (h, w, 3) as float32 at `size` = (height, width), anti-aliased along every axis that shrinks.

    Two steps when one axis shrinks and the other grows: OpenCV's area average quietly becomes a plain bilinear one
    as soon as one axis grows, and a picture can then be made that looks different to the network than to a person.
    """
    height, width = view.shape[:2]
    smaller = (min(height, size[0]), min(width, size[1]))
    pixels: Any = view.astype(np.float32) if view.size <= FLOAT_VALUES else view
    if smaller != (height, width):
        pixels = cv2.resize(pixels, smaller[::-1], interpolation=cv2.INTER_AREA)
    if smaller != size:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels, dtype=np.float32)
