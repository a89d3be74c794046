"""Baseline: how much of a picture has the colour of skin, by bounds on Cb and Cr; never to be used to decide."""

import numpy as np
from numpy.typing import NDArray

from detector.baselines.baseline import Baseline
from detector.baselines.ycbcr import chroma

__all__ = ["BASELINE", "score", "skin_mask"]

# The published rule: skin where both lie within, ends included, and nude when more than the share is skin.
CB_MIN, CB_MAX = 86, 117
CR_MIN, CR_MAX = 140, 168
MIN_SHARE = 0.3


def skin_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a picture has the colour of skin.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool, by Cb and Cr rounded to whole numbers, as every 8-bit conversion gives them.
    """
    cb, cr = (np.rint(plane) for plane in chroma(pixels))
    return np.asarray((cb >= CB_MIN) & (cb <= CB_MAX) & (cr >= CR_MIN) & (cr <= CR_MAX))


def score(pixels: NDArray[np.uint8]) -> float:
    """Stretch the share of skin so that the rule's threshold comes to lie at one half.

    In two straight pieces, [0, 0.3] to [0, 0.5] and [0.3, 1] to [0.5, 1]: 0.5 at exactly 30 %, which the rule does
    not call nude, and more above it.
    """
    # By whole numbers: a share of exactly 3 in 10 must not land above one half.
    mask = skin_mask(pixels)
    skin, total = int(np.count_nonzero(mask)), mask.size
    if 10 * skin <= 3 * total:
        return 5 * skin / (3 * total)
    return 0.5 + 0.5 * (10 * skin - 3 * total) / (7 * total)


BASELINE = Baseline("skin-share", score)
