"""Pictures in uint8 to the RetinaNet's input, on the device that computes."""

import torch
from torch import Tensor

from detector.retinanet_config import Preprocessing

__all__ = ["Normalisation"]


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
