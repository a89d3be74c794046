"""Cb and Cr of JPEG, for the rules on the colour of skin."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["chroma"]


def chroma(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Cb and Cr, not rounded.

    Args:
        pixels: (..., 3) uint8 RGB.

    Returns:
        Two arrays of shape (...), in [0, 256).

    Source:
        JFIF 1.02 (ITU-T T.871), section 7: BT.601 in full range.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return (blue - luma) / 1.772 + 128, (red - luma) / 1.402 + 128
