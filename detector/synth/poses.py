"""Sample neutral poses: a base pose, varied within what joints can do, mirrored or not, free of deep overlaps."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.nearest import nearest
from detector.synth.body import BodyModel, Shaped
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.pose_check import overlap
from detector.synth.pose_table import BASE_POSES, BasePose, LegAngles, Limb
from detector.synth.skeleton import rotation_matrices
from detector.synth.withheld import kinds_shown

__all__ = ["Pose", "make_pose", "on_ground", "sample_pose"]

Doubles = NDArray[np.float64]
# Degrees: lowest and highest of hip flexion, abduction, outward turn, knee, ankle.
_LEG_LIMITS = ((-25, 125), (-12, 45), (-20, 50), (0, 145), (-45, 28))
_SPINE_LIMITS = ((-30, 60), (-32, 32), (-42, 42))
_HEAD_LIMITS = ((-35, 40), (-28, 28), (-60, 60))
# Degrees between upper arm and forearm; at 180 they would lie on each other.
_ELBOW_LIMIT = 142.0
# How much of the sum each joint takes, from the pelvis upwards.
_SPINE = {"spine05": 0.15, "spine04": 0.2, "spine03": 0.25, "spine02": 0.2, "spine01": 0.2}
_NECK = {"neck01": 0.2, "neck02": 0.2, "neck03": 0.2, "head": 0.4}
# Spread of the variation: degrees, and parts of a direction.
_LEG_SPREAD = (7.0, 4.0, 6.0, 7.0, 6.0)
_SPINE_SPREAD, _HEAD_SPREAD = (4.0, 4.0, 5.0), (7.0, 5.0, 16.0)
_ARM_SPREAD = 0.12
_ROOT_SPREAD = 2.5
_BLEND_SHARE, _BLEND_MOST = 0.4, 0.5
# Metres of two limbs inside each other that pass: skin gives way, and the capsules are rough.
_OVERLAP = 0.035
_TRIES = 12
# From this height of the upper arm (sine) on the shoulder rises with it, by degrees.
_SHOULDER_FROM, _SHOULDER_RISE = -0.1, 26.0


@dataclass(frozen=True, kw_only=True)
class Pose:
    """What `BodyModel.pose` takes.

    Attributes:
        rotations: (3,) axis times angle by joint.
        root: (3, 3) rotation of the whole body; a turn about z is left to the scene.
        name: of the base pose.
        support: "stand", "seat", "floor" or "lie".
    """

    rotations: Mapping[str, Doubles]
    root: Doubles
    name: str
    support: str


def sample_pose(rng: np.random.Generator, body: BodyModel, shaped: Shaped | None = None, *, kinds: str = "all") -> Pose:
    """Draw a pose.

    Args:
        rng: draws all.
        body: whose joints are turned.
        shaped: the body to be posed, so that its limbs do not sink into it; None takes a middling one.
        kinds: which of the base poses: see `detector.synth.withheld`.
    """
    if shaped is None:
        shaped = body.shape(Phenotype(sex=0.3, age=0.75))
    best: tuple[float, Pose] | None = None
    names = kinds_shown(list(BASE_POSES), kinds)
    name = names[int(rng.integers(len(names)))]
    for number in range(_TRIES):
        # A base pose that does not suit this body gives way to another one.
        if number and number % 4 == 0:
            name = names[int(rng.integers(len(names)))]
        varied = _vary(name, rng, names)
        pose = _turned(varied, name, shaped, body.joints, rng)
        depth = overlap(body, shaped, pose.rotations)
        if best is None or depth < best[0]:
            best = depth, pose
        if depth <= _OVERLAP:
            break
    assert best is not None
    return best[1]


def make_pose(name: str, body: BodyModel, shaped: Shaped) -> Pose:
    """Return a base pose as it stands in the table.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in BASE_POSES:
        raise UsageError(f"there is no pose {name!r}{nearest(name, BASE_POSES)}")
    return _turned(BASE_POSES[name], name, shaped, body.joints, None)


def on_ground(mesh: Mesh) -> Mesh:
    """Return the mesh shifted so that its lowest used vertex is at z = 0 and its middle at x = y = 0."""
    used = mesh.vertices[mesh.triangles.reshape(-1)]
    low, high = used.min(axis=0), used.max(axis=0)
    return mesh.moved((-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]))


def _vary(name: str, rng: np.random.Generator, names: Sequence[str]) -> BasePose:
    base = BASE_POSES[name]
    others = [BASE_POSES[other] for other in names]
    kin = [other for other in others if other.family == base.family and other.support == base.support]
    other = kin[int(rng.integers(len(kin)))]
    share = rng.uniform(0, _BLEND_MOST) if rng.random() < _BLEND_SHARE else 0.0
    looseness = rng.uniform(0.3, 1.5)

    def mix(first: Any, second: Any, spread: Any, limits: Any = None) -> tuple[float, ...]:
        mixed = (1 - share) * np.array(first) + share * np.array(second)
        mixed = mixed + looseness * rng.normal(0, 1, len(mixed)) * np.array(spread)
        if limits is not None:
            mixed = np.clip(mixed, *np.array(limits, dtype=float).T)
        return tuple(float(value) for value in mixed)

    arms = [
        Limb(upper=mix(one.upper, two.upper, _ARM_SPREAD), fore=mix(one.fore, two.fore, _ARM_SPREAD))  # type: ignore[arg-type]
        for one, two in zip(base.arms, other.arms, strict=True)
    ]
    legs = [mix(one, two, _LEG_SPREAD, _LEG_LIMITS) for one, two in zip(base.legs, other.legs, strict=True)]
    varied = dataclasses.replace(
        base,
        arms=(arms[0], arms[1]),
        legs=(legs[0], legs[1]),  # type: ignore[arg-type]
        spine=mix(base.spine, other.spine, _SPINE_SPREAD, _SPINE_LIMITS),  # type: ignore[arg-type]
        head=mix(base.head, other.head, _HEAD_SPREAD, _HEAD_LIMITS),  # type: ignore[arg-type]
        root=mix(base.root, base.root, _ROOT_SPREAD),  # type: ignore[arg-type]
    )
    return _mirrored(varied) if rng.random() < 0.5 else varied


def _mirrored(pose: BasePose) -> BasePose:
    def flip(angles: tuple[float, float, float]) -> tuple[float, float, float]:
        return angles[0], -angles[1], -angles[2]

    return dataclasses.replace(
        pose,
        arms=pose.arms[::-1],
        legs=pose.legs[::-1],
        spine=flip(pose.spine),
        head=flip(pose.head),
        root=flip(pose.root),
    )


def _turned(
    pose: BasePose, name: str, shaped: Shaped, joints: tuple[str, ...], rng: np.random.Generator | None
) -> Pose:
    heads = dict(zip(joints, shaped.heads, strict=True))
    turns: dict[str, Doubles] = {}
    for shares, angles in ((_SPINE, pose.spine), (_NECK, pose.head)):
        for joint, share in shares.items():
            turns[joint] = np.radians(angles) * share
    curls = np.array([0.35, 0.35]) if rng is None else rng.beta(1.2, 2.0, 2)
    for side, mirror in (("L", 1.0), ("R", -1.0)):
        row = 0 if side == "L" else 1
        _turn_arm(turns, heads, side, mirror, pose.arms[row])
        _turn_leg(turns, heads, side, mirror, pose.legs[row])
        _curl_fingers(turns, heads, side, float(curls[row]))
    pitch, roll, around = np.radians(pose.root)
    root = _about(1, around) @ _about(0, pitch) @ _about(1, roll)
    return Pose(rotations=turns, root=root, name=name, support=pose.support)


def _about(axis: int, angle: float) -> Doubles:
    vector = np.zeros(3)
    vector[axis] = angle
    return rotation_matrices(vector)


def _unit(vector: Any) -> Doubles:
    array = np.asarray(vector, dtype=np.float64)
    return array / max(float(np.linalg.norm(array)), 1e-9)


def _vector(matrix: Doubles) -> Doubles:
    """Turn a rotation matrix into axis times angle; half turns are not expected of a joint."""
    cosine = float(np.clip((np.trace(matrix) - 1) / 2, -1, 1))
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    length = float(np.linalg.norm(axis))
    return axis / length * math.acos(cosine) if length > 1e-9 else np.zeros(3)


def _frame(along: Doubles, across: Doubles) -> Doubles:
    """Columns: `along`, the part of `across` at right angles to it, and their cross product."""
    second = _unit(across - along * (across @ along))
    return np.stack([along, second, np.cross(along, second)], axis=1)


def _turn_arm(turns: dict[str, Doubles], heads: dict[str, Doubles], side: str, mirror: float, arm: Limb) -> None:
    """Point an arm: the elbow stays a hinge, and half of the twist is left to the lower half of the upper arm."""
    to_world = np.array([mirror, -1.0, 1.0])
    upper, fore = _unit(np.array(arm.upper) * to_world), _unit(np.array(arm.fore) * to_world)
    at_rest = _unit(heads[f"lowerarm01.{side}"] - heads[f"upperarm01.{side}"])
    fore_rest = _unit(heads[f"wrist.{side}"] - heads[f"lowerarm01.{side}"])
    hinge_rest = _unit(np.cross(at_rest, fore_rest))
    bend = math.acos(float(np.clip(upper @ fore, -1, 1)))
    # A straight arm says nothing about its hinge: keep it as a hanging arm has it, mixed in for a smooth passage.
    swing = _swing(at_rest, upper)
    hinge = np.cross(upper, fore) + 0.15 * (swing @ hinge_rest)
    total = _frame(upper, hinge) @ _frame(at_rest, hinge_rest).T
    lift = math.radians(_SHOULDER_RISE) * float(np.clip((upper[2] - _SHOULDER_FROM) / (1 - _SHOULDER_FROM), 0, 1))
    shoulder = np.array([0.0, -mirror * lift, 0.0])
    turns[f"clavicle.{side}"] = 0.6 * shoulder
    turns[f"shoulder01.{side}"] = 0.4 * shoulder
    twist = _vector(swing.T @ total)
    twist *= min(1.0, math.radians(120) / max(float(np.linalg.norm(twist)), 1e-9))
    turns[f"upperarm01.{side}"] = _vector(rotation_matrices(shoulder).T @ swing @ rotation_matrices(twist / 2))
    turns[f"upperarm02.{side}"] = twist / 2
    rest_bend = math.acos(float(np.clip(at_rest @ fore_rest, -1, 1)))
    turns[f"lowerarm01.{side}"] = hinge_rest * (min(bend, math.radians(_ELBOW_LIMIT)) - rest_bend)


def _swing(first: Doubles, second: Doubles) -> Doubles:
    """Return the shortest rotation that takes one unit vector to another."""
    axis = np.cross(first, second)
    sine, cosine = float(np.linalg.norm(axis)), float(first @ second)
    return rotation_matrices(axis / max(sine, 1e-9) * math.atan2(sine, cosine))


def _turn_leg(turns: dict[str, Doubles], heads: dict[str, Doubles], side: str, mirror: float, leg: LegAngles) -> None:
    flexion, abduction, outward, knee, ankle = np.radians(leg)
    hip, kneecap, heel = (heads[f"{name}.{side}"] for name in ("upperleg01", "lowerleg01", "foot"))
    # The rest pose stands with its feet apart: first bring the leg straight below the hip.
    straight = _swing(
        _unit(heel - hip) * (1, 0, 1) / np.linalg.norm(_unit(heel - hip) * (1, 0, 1)), np.array([0, 0, -1.0])
    )
    turn = _about(0, -flexion) @ _about(1, -mirror * abduction) @ _about(2, mirror * outward) @ straight
    turns[f"upperleg01.{side}"] = _vector(turn)
    thigh = _unit(kneecap - hip)
    hinge = _unit(np.array([1.0, 0, 0]) - thigh * thigh[0])
    turns[f"lowerleg01.{side}"] = hinge * knee
    turns[f"foot.{side}"] = np.array([-ankle, 0.0, 0.0])


def _curl_fingers(turns: dict[str, Doubles], heads: dict[str, Doubles], side: str, curl: float) -> None:
    """Close the hand: 0 as at rest, 1 a loose fist."""
    knuckles = _unit(heads[f"finger5-1.{side}"] - heads[f"finger2-1.{side}"])
    near = _unit(heads[f"finger3-2.{side}"] - heads[f"finger3-1.{side}"])
    far = _unit(heads[f"finger3-3.{side}"] - heads[f"finger3-2.{side}"])
    axis = knuckles * math.copysign(1.0, float(np.cross(near, far) @ knuckles))
    for finger in range(2, 6):
        for part, angle in ((1, 50), (2, 60), (3, 40)):
            turns[f"finger{finger}-{part}.{side}"] = axis * math.radians(angle) * curl
    turns[f"finger1-2.{side}"] = axis * math.radians(18) * curl
    turns[f"finger1-3.{side}"] = axis * math.radians(25) * curl
