"""How deeply limbs of a posed body sink into each other, by capsules around the bones."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.synth.body import BodyModel, Shaped
from detector.synth.skeleton import joint_transforms, rotation_table

__all__ = ["overlap"]

Doubles = NDArray[np.float64]
# Bone by name: first and last joint, and its radius as a share of the body's height.
_LIMBS = {
    "upper_arm": ("upperarm02", "lowerarm01", 0.024),
    "forearm": ("lowerarm01", "wrist", 0.019),
    "hand": ("wrist", "finger3-2", 0.014),
    "thigh": ("upperleg02", "lowerleg01", 0.040),
    "shin": ("lowerleg01", "foot", 0.026),
    "foot": ("foot", "toe3-1", 0.018),
}
_TRUNK = {
    "pelvis": ("upperleg01.L", "upperleg01.R", 0.050),
    "waist": ("spine05", "spine03", 0.068),
    "chest": ("spine02", "neck01", 0.072),
    "chest_left": ("spine02", "shoulder01.L", 0.055),
    "chest_right": ("spine02", "shoulder01.R", 0.055),
    "head": ("head", "neck03", 0.052),
}
# Limbs that are joined, or that anatomy keeps in touch.
_JOINED = (
    {"upper_arm", "forearm"},
    {"forearm", "hand"},
    {"thigh", "shin"},
    {"shin", "foot"},
    {"upper_arm", "chest_left"},
    {"upper_arm", "chest_right"},
    {"thigh", "pelvis"},
    {"thigh", "foot"},
    {"thigh", "waist"},
    {"hand", "upper_arm"},
)


def _names() -> list[tuple[str, str, str, float]]:
    rows = [(name, *ends) for name, ends in _TRUNK.items()]
    for side in ("L", "R"):
        rows += [(f"{name}.{side}", f"{a}.{side}", f"{b}.{side}", radius) for name, (a, b, radius) in _LIMBS.items()]
    return rows


def _pairs(names: list[str]) -> list[tuple[int, int]]:
    pairs = []
    for first, one in enumerate(names):
        for second in range(first + 1, len(names)):
            other = names[second]
            if one in _TRUNK and other in _TRUNK:
                continue
            same_side = one[-2:] == other[-2:] or one in _TRUNK or other in _TRUNK
            kinds = {one.split(".")[0], other.split(".")[0]}
            # The chest reaches to the shoulder of its own side only.
            wrong_chest = "upper_arm" in kinds and kinds & {"chest_left", "chest_right"}
            if not wrong_chest and not (same_side and kinds in _JOINED):
                pairs.append((first, second))
    return pairs


_ROWS = _names()
_PAIRS = np.array(_pairs([row[0] for row in _ROWS]))


def overlap(body: BodyModel, shaped: Shaped, rotations: Mapping[str, ArrayLike]) -> float:
    """Return by how many metres the worst pair of limbs overlaps; at most 0 when none touches another.

    Args:
        body: gives the joints.
        shaped: the body.
        rotations: (3,) axis times angle by joint.
    """
    maps = joint_transforms(shaped.heads, body.parents, rotation_table(body.joints, rotations), np.eye(3))
    places = np.einsum("jab,jb->ja", maps[:, :, :3], shaped.heads) + maps[:, :, 3]
    at = dict(zip(body.joints, places, strict=True))
    starts = np.array([at[row[1]] for row in _ROWS])
    ends = np.array([at[row[2]] for row in _ROWS])
    radii = np.array([row[3] for row in _ROWS]) * shaped.height
    first, second = _PAIRS.T
    gap = _segment_distance(starts[first], ends[first], starts[second], ends[second])
    return float((radii[first] + radii[second] - gap).max())


def _segment_distance(a: Doubles, b: Doubles, c: Doubles, d: Doubles) -> Doubles:
    """Return (N,) least distances between segments a-b and c-d, by points along them: exact enough for limbs."""
    steps = np.linspace(0, 1, 7)[None, :, None]
    one = a[:, None] + (b - a)[:, None] * steps
    along = (d - c)[:, None]
    length = np.maximum((along**2).sum(-1), 1e-12)
    share = np.clip(((one - c[:, None]) * along).sum(-1) / length, 0, 1)
    distance: Doubles = np.linalg.norm(one - (c[:, None] + share[..., None] * along), axis=-1).min(axis=1)
    return distance
