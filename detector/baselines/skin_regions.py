"""Baseline: the colour of skin, and rules on the number and sizes of its regions; never to be used to decide.

The rules of nude.py, after Ap-apid's algorithm. A pixel is skin when one of four rules on its colour says so; regions
touch by sides or corners, and those of at most 30 pixels do not count. Not nude is a picture with fewer than 3 regions,
with less than 15 % skin, whose largest region has less than 45 % of the skin, or with more than 60 regions.

What differs from hhatto/nude.py, whose rules these otherwise are:
- It leaves the rule on Cb and Cr out; other versions of the script have it, and so does this.
- It has a rule for a largest region below 35 % with the next two below 30 %: the one on 45 % says no to all of these.
- Its regions run over from the end of a row to the start of the next, and some stay unmerged: mistakes, not kept.
- It looks at the picture at full size, or at no more than 600 x 800; here it is reduced to `baseline.MAX_SIDE`.
Ap-apid's paper says no to more than 60 regions only where a polygon around the three largest is dark, and has another
rule on that polygon; neither was ever in the script.

Source:
    R. Ap-apid, An Algorithm for Nudity Detection (PCSC 2005); nude.py (github.com/hhatto/nude.py), for facts only.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.baselines.baseline import Baseline
from detector.baselines.ycbcr import chroma

__all__ = ["BASELINE", "Regions", "find_regions", "is_nude", "score", "skin_mask"]

MIN_REGIONS, MAX_REGIONS = 3, 60
# A region has more pixels than this.
SPECK = 30
# Per cent: of the picture, and of the skin.
MIN_SKIN = 15
MIN_LARGEST = 45

CB_MIN, CB_MAX = 97.5, 142.5
CR_MIN, CR_MAX = 134, 176


@dataclass(frozen=True, kw_only=True)
class Regions:
    """What the rules look at: `count` regions of `skin` pixels in all, the largest of `largest`, out of `total`."""

    count: int
    skin: int
    largest: int
    total: int


def skin_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where one of the four rules on colour says skin.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    total, highest, lowest = red + green + blue, pixels.max(axis=-1), pixels.min(axis=-1)
    spread, lowest = highest.astype(np.int64) - lowest, lowest.astype(np.int64)
    by_rgb = (red > 95) & (green > 40) & (green < 100) & (blue > 20) & (spread > 15) & (red - green > 15) & (red > blue)
    # The fractions of the next two rules, cleared of their denominators, so that black divides by nothing.
    by_share = (200 * red > 237 * green) & (1000 * red * blue > 107 * total**2) & (1000 * red * green > 112 * total**2)
    # A hue within (0, 35) degrees needs red on top and green above blue; the saturation is the one of HSI.
    by_hue = (red == highest) & (green > blue) & (12 * (green - blue) < 7 * spread)
    by_hue &= (100 * (total - 3 * lowest) > 23 * total) & (100 * (total - 3 * lowest) < 68 * total)
    cb, cr = chroma(pixels)
    by_chroma = (cb >= CB_MIN) & (cb <= CB_MAX) & (cr >= CR_MIN) & (cr <= CR_MAX)
    return np.asarray(by_rgb | by_share | by_hue | by_chroma)


def find_regions(mask: NDArray[np.bool_]) -> Regions:
    """Count the regions of an (H, W) mask that touch by sides or corners, those of at most `SPECK` pixels left out."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]  # the first is what is not skin
    areas = areas[areas > SPECK]
    return Regions(count=len(areas), skin=int(areas.sum()), largest=int(areas.max(initial=0)), total=mask.size)


def is_nude(regions: Regions) -> bool:
    """Return what the rules say."""
    return (
        MIN_REGIONS <= regions.count <= MAX_REGIONS
        and 100 * regions.skin >= MIN_SKIN * regions.total
        and 100 * regions.largest >= MIN_LARGEST * regions.skin
    )


def score(pixels: NDArray[np.uint8]) -> float:
    """Return 0.5 + share / 2 where the rules say nude, which is at least 0.575, and 0.49 share where they do not.

    Share is that of the skin in the picture, so that pictures on which the rules agree are still told apart.
    """
    regions = find_regions(skin_mask(pixels))
    share = regions.skin / regions.total
    return 0.5 + share / 2 if is_nude(regions) else 0.49 * share


BASELINE = Baseline("skin-regions", score)
