"""From a picture to the RetinaNet's input, in NumPy: how large it gets, and its pixels, the same for every engine."""

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from detector.letterbox import Letterbox, resize
from detector.retinanet_config import Preprocessing

__all__ = ["Prepared", "fit_inside", "network_input", "prepare"]

Pixels = TypeVar("Pixels")


@dataclass(frozen=True)
class Prepared(Generic[Pixels]):
    """A view in the network's scale, not yet padded.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, an array or a tensor; (h, w) is `plan.content`.
        plan: where it lies in the network's input, and the way back.
    """

    pixels: Pixels
    plan: Letterbox


def fit_inside(image_size: tuple[int, int], preprocessing: Preprocessing, step: int = 1) -> Letterbox:
    """Plan the input for a picture: as large as the bounds allow, aspect kept, padded to multiples below and right.

    Args:
        image_size: (height, width) of what will be looked at, each at least 1. Small pictures are enlarged.
        preprocessing: of the model.
        step: both sides of the input must be multiples of it too: what an exported file asks for.
    """
    scale = preprocessing.long_side / max(image_size)
    if preprocessing.short_side is not None:
        scale = min(scale, preprocessing.short_side / min(image_size))
    height, width = (max(1, round(side * scale)) for side in image_size)
    multiple = math.lcm(preprocessing.multiple, step)
    return Letterbox((height, width), (-(-height // multiple) * multiple, -(-width // multiple) * multiple))


def prepare(view: NDArray[np.uint8], preprocessing: Preprocessing, step: int = 1) -> Prepared[NDArray[np.uint8]]:
    """Resize a view (h, w, 3) of any size, anti-aliased; the same pixels for every device."""
    plan = fit_inside((view.shape[0], view.shape[1]), preprocessing, step)
    if plan.content == view.shape[:2]:
        return Prepared(np.ascontiguousarray(view), plan)
    # OpenCV's averages and interpolations stay within [0, 255].
    return Prepared(np.rint(resize(view, plan.content)).astype(np.uint8), plan)


def network_input(prepared: Prepared[Any], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return (3, H, W) of `prepared.plan.network_size`, normalised, padded with zeros; normalise.py is torch's form."""
    pixels = prepared.pixels.astype(np.float32)
    if preprocessing.colour == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.array(part, dtype=np.float32) for part in (preprocessing.mean, preprocessing.std))
    height, width = prepared.plan.content
    images = np.zeros((3, *prepared.plan.network_size), dtype=np.float32)
    images[:, :height, :width] = ((pixels * np.float32(preprocessing.scale) - mean) / std).transpose(2, 0, 1)
    return images
