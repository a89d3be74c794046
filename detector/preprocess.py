"""From a picture to the RetinaNet's input: how large it gets, its pixels in uint8, and normalising on the device."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detector.letterbox import Letterbox, resize
from detector.retinanet_config import Preprocessing

__all__ = ["Normalisation", "Prepared", "fit_inside", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """A view in the network's scale, not yet padded.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, contiguous; (h, w) is `plan.content`.
        plan: where it lies in the network's input, and the way back.
    """

    pixels: NDArray[np.uint8]
    plan: Letterbox


def fit_inside(image_size: tuple[int, int], preprocessing: Preprocessing) -> Letterbox:
    """Plan the input for a picture: as large as the bounds allow, aspect kept, padded to multiples below and right.

    Args:
        image_size: (height, width) of what will be looked at, each at least 1. Small pictures are enlarged.
        preprocessing: of the model.
    """
    scale = preprocessing.long_side / max(image_size)
    if preprocessing.short_side is not None:
        scale = min(scale, preprocessing.short_side / min(image_size))
    height, width = (max(1, round(side * scale)) for side in image_size)
    step = preprocessing.multiple
    return Letterbox((height, width), (-(-height // step) * step, -(-width // step) * step))


def prepare(view: NDArray[np.uint8], preprocessing: Preprocessing) -> Prepared:
    """Resize a view (h, w, 3) of any size, anti-aliased; the same pixels for every device."""
    plan = fit_inside((view.shape[0], view.shape[1]), preprocessing)
    if plan.content == view.shape[:2]:
        return Prepared(np.ascontiguousarray(view), plan)
    # OpenCV's averages and interpolations stay within [0, 255].
    return Prepared(np.rint(resize(view, plan.content)).astype(np.uint8), plan)


class Normalisation:
    """Turns uint8 pictures into the network's input, where they are; its constants lie on the device already.

    Args:
        preprocessing: of the model.
        device: where the pictures will be.
        dtype: of the result; the computation is in float32.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype) -> None:
        pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
        factor = torch.tensor([preprocessing.scale / std for _, std in pairs])
        offset = torch.tensor([-mean / std for mean, std in pairs])
        self._factor, self._offset = (part.view(1, 3, 1, 1).to(device) for part in (factor, offset))
        self._bgr = preprocessing.colour == "BGR"
        self._dtype = dtype

    def __call__(self, pixels: Tensor, limits: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            pixels: (B, H, W, 3) uint8 RGB; what lies in the padding does not matter.
            limits: (B, 4) float32: width, height, width, height of each picture in the input.

        Returns:
            (B, 3, H, W) in channels_last, padding 0.
        """
        images = pixels.permute(0, 3, 1, 2)  # (B, 3, H, W), channels_last without a copy
        if self._bgr:
            images = images.flip(1)
        rows = torch.arange(pixels.shape[1], device=pixels.device)[None, :, None] < limits[:, 1, None, None]
        columns = torch.arange(pixels.shape[2], device=pixels.device)[None, None, :] < limits[:, 0, None, None]
        inside = (rows & columns)[:, None]  # (B, 1, H, W)
        normal = torch.where(inside, images.float() * self._factor + self._offset, 0.0)
        return normal.to(self._dtype).contiguous(memory_format=torch.channels_last)
