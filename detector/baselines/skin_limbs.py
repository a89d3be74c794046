"""Baseline: much skin, and limbs in it that belong together; a small form of Finding Naked People; never to decide.

Nude is a picture of which `skin_filter` takes at least 30 % for skin, and in whose skin `limb_groups` finds a group
among the strips of `ribbons`. The skin filter has the published figures, as far as they could be found; the geometry
follows the paper in kind, with figures of its own. So this is no reproduction, and what the paper reports, a precision
of 60 % and a recall of 52 % on 138 pictures of nudes and 1,401 others, says nothing of it.

Source:
    Fleck, Forsyth, Bregler: Finding Naked People (ECCV 1996).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.baselines.baseline import Baseline
from detector.baselines.limb_groups import Group, find_groups
from detector.baselines.ribbons import Ribbon, find_ribbons
from detector.baselines.skin_filter import intensity_and_opponents, skin_mask

__all__ = ["BASELINE", "Finding", "look", "score"]

MIN_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found on the way to a score.

    Attributes:
        mask: (H, W) bool, where skin is.
        ribbons: in this skin; not looked for, and so empty, where there is too little.
        groups: of these.
    """

    mask: NDArray[np.bool_]
    ribbons: tuple[Ribbon, ...]
    groups: tuple[Group, ...]


def look(pixels: NDArray[np.uint8]) -> Finding:
    """Return the skin, ribbons and groups of a picture, (H, W, 3) uint8 RGB."""
    mask = skin_mask(pixels)
    ribbons = find_ribbons(mask, intensity_and_opponents(pixels)[0]) if mask.mean() >= MIN_SHARE else []
    return Finding(mask=mask, ribbons=tuple(ribbons), groups=tuple(find_groups(ribbons)))


def score(pixels: NDArray[np.uint8]) -> float:
    """Return a score whose steps are those of the rule; above one half is nude.

    Below 0.25: too little skin, by its share. From 0.25 and below 0.5: enough, but no group, by the share. From 0.75:
    enough, and n groups, as 1 - 0.5 / (1 + n).
    """
    found = look(pixels)
    share = float(found.mask.mean())
    if share < MIN_SHARE:
        return 0.25 * share / MIN_SHARE
    if not found.groups:
        return 0.25 + 0.24 * (share - MIN_SHARE) / (1 - MIN_SHARE)
    return 1 - 0.5 / (1 + len(found.groups))


BASELINE = Baseline("skin-limbs", score)
