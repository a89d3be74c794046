"""Part of the baseline `skin_limbs`: which ribbons fit together as the parts of a body do.

A ribbon is a possible limb segment, or a possible trunk, by its shape. Two segments end to end make a limb, bent or
straight. A group, by which a person is taken to be found, is one of two:
    limb-limb girdle  two limbs, or segments of the same kind, that come together at hips or shoulders
    spine-thigh       a trunk, and a narrower limb or segment that goes on from one of its ends
A limb of two segments belongs to a group when its upper one does, so groups are looked for among segments; limbs are
there to tell a bent knee from a pair of hips.
The figures of these are chosen from the proportions of a body and on drawn shapes; the paper's were not found.

Source:
    Fleck, Forsyth, Bregler: Finding Naked People (ECCV 1996), section 4, for the kinds of groups.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from detector.baselines.ribbons import Ribbon

__all__ = ["Group", "find_groups", "is_girdle", "is_limb", "is_spine_thigh"]

# Length over width.
SEGMENT_ELONGATION = (1.8, 10.0)
TRUNK_ELONGATION = (1.2, 3.5)

# Two segments of one limb: the joint in mean widths, ratios of widths and lengths, and how far a joint bends at most.
MAX_JOINT = 1.25
LIMB_WIDTH_RATIO = 1.8
LIMB_LENGTH_RATIO = 2.5
MAX_BEND = 140.0

# Two limbs of one girdle: hips and shoulders are this many limb widths apart, and both limbs go the same way.
GIRDLE_WIDTHS = (0.7, 3.5)
GIRDLE_RATIO = 1.6
GIRDLE_LENGTH_RATIO = 1.8
MAX_SPREAD = 110.0

# A thigh is so wide, in trunks, begins within so many trunk widths of the end of the trunk's axis, and bends so far.
THIGH_WIDTH = (0.3, 0.8)
MAX_HIP = 0.75
MAX_THIGH_BEND = 110.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of ribbons: `kind` is "limb-limb girdle" or "spine-thigh"."""

    kind: str
    parts: tuple[Ribbon, ...]


def is_limb(one: Ribbon, other: Ribbon) -> bool:
    """Return whether two ribbons may be the upper and the lower segment of one limb."""
    if not (_is_segment(one) and _is_segment(other)):
        return False
    joint, bend = _meeting(one, other)
    return (
        joint <= MAX_JOINT * (one.width + other.width) / 2
        and bend <= MAX_BEND
        and _ratio(one.width, other.width) <= LIMB_WIDTH_RATIO
        and _ratio(one.length, other.length) <= LIMB_LENGTH_RATIO
    )


def is_girdle(one: Ribbon, other: Ribbon) -> bool:
    """Return whether two ribbons may be the two limbs of one pair of hips or shoulders."""
    if not (_is_segment(one) and _is_segment(other)):
        return False
    distance, bend = _meeting(one, other)
    width = (one.width + other.width) / 2
    return (
        GIRDLE_WIDTHS[0] * width <= distance <= GIRDLE_WIDTHS[1] * width
        and 180 - bend <= MAX_SPREAD  # of two limbs that go on from each other, one goes back where the other came from
        and _ratio(one.width, other.width) <= GIRDLE_RATIO
        and _ratio(one.length, other.length) <= GIRDLE_LENGTH_RATIO
        and not _cross(one, other)
    )


def is_spine_thigh(trunk: Ribbon, thigh: Ribbon) -> bool:
    """Return whether the first ribbon may be a trunk and the second a thigh that begins at its end."""
    if not (_within(trunk.elongation, TRUNK_ELONGATION) and _is_segment(thigh)):
        return False
    distance, bend = _meeting(trunk, thigh)
    return (
        _within(thigh.width / trunk.width, THIGH_WIDTH)
        and distance <= MAX_HIP * trunk.width
        and bend <= MAX_THIGH_BEND
        and thigh.length >= trunk.length / 3
    )


def find_groups(ribbons: list[Ribbon]) -> list[Group]:
    """Return every group among some ribbons."""
    # Segments of one limb are as wide as those of a girdle may be, and meet: they are not one.
    groups = [
        Group(kind="limb-limb girdle", parts=(one, other))
        for one, other in combinations(ribbons, 2)
        if is_girdle(one, other) and not is_limb(one, other)
    ]
    for trunk in ribbons:
        groups += [
            Group(kind="spine-thigh", parts=(trunk, thigh))
            for thigh in ribbons
            if thigh is not trunk and is_spine_thigh(trunk, thigh)
        ]
    return groups


def _is_segment(ribbon: Ribbon) -> bool:
    return _within(ribbon.elongation, SEGMENT_ELONGATION)


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _meeting(one: Ribbon, other: Ribbon) -> tuple[float, float]:
    """Return the distance between the nearest ends, and by how many degrees the second turns off from the first."""
    choices = [(_apart(a, b), a, b) for a in (one.start, one.end) for b in (other.start, other.end)]
    distance, near_one, near_other = min(choices)
    arrive = np.subtract(near_one, one.start if near_one == one.end else one.end)
    leave = np.subtract(other.start if near_other == other.end else other.end, near_other)
    cosine = float(arrive @ leave / (np.linalg.norm(arrive) * np.linalg.norm(leave)))
    return distance, float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    return float(np.hypot(one[0] - other[0], one[1] - other[1]))


def _cross(one: Ribbon, other: Ribbon) -> bool:
    """Return whether the two axes cross."""
    a, b, c, d = (np.array(place) for place in (one.start, one.end, other.start, other.end))
    return bool(_side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0)


def _side(a: NDArray[np.float64], b: NDArray[np.float64], place: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (place[1] - a[1]) - (b[1] - a[1]) * (place[0] - a[0]))
