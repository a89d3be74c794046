"""The base poses: plain ones, as in a life-drawing class or a sports manual, in anatomical angles."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["BASE_POSES", "BasePose", "Limb"]

# (out from the body, forward, up), not of unit length.
Direction = tuple[float, float, float]
# Degrees: hip flexion, abduction, outward turn, knee flexion, ankle (positive lifts the toes).
LegAngles = tuple[float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Limb:
    """An arm: where the upper arm and the forearm point, in the axes of the chest."""

    upper: Direction
    fore: Direction


@dataclass(frozen=True, kw_only=True)
class BasePose:
    """One pose before it is varied.

    Attributes:
        arms: left and right.
        legs: left and right, degrees relative to a straight leg under the hip.
        spine: degrees of forward bend, bend to the left, turn to the left, over the whole spine.
        head: the same for neck and head.
        root: degrees by which the pelvis tips forward, tips to its left, and rolls about the body's long axis.
        family: poses of one family may be blended.
        support: "stand", "seat", "floor" or "lie": what has to be below.
    """

    arms: tuple[Limb, Limb]
    legs: tuple[LegAngles, LegAngles]
    spine: Direction = (0.0, 0.0, 0.0)
    head: Direction = (0.0, 0.0, 0.0)
    root: Direction = (0.0, 0.0, 0.0)
    family: str = "stand"
    support: str = "stand"


def _limb(upper: Direction, fore: Direction) -> Limb:
    return Limb(upper=upper, fore=fore)


_HANG = _limb((0.2, 0.0, -1.0), (0.12, 0.2, -1.0))
_AWAY = _limb((0.45, 0.0, -0.9), (0.4, 0.15, -0.9))
_HIP = _limb((0.8, -0.3, -0.6), (-0.55, 0.45, -0.55))
_BEHIND_HEAD = _limb((0.85, 0.2, 0.65), (-0.75, -0.3, 0.55))
_UP = _limb((0.3, 0.05, 1.0), (0.05, 0.1, 1.0))
_UP_WIDE = _limb((0.8, 0.0, 0.8), (0.6, 0.05, 0.9))
_CROSSED = _limb((0.25, 0.45, -0.85), (-0.85, 0.55, 0.05))
_OUT = _limb((1.0, 0.0, 0.0), (1.0, 0.1, 0.0))
_FORWARD = _limb((0.15, 1.0, 0.0), (0.0, 1.0, 0.05))
_BACK = _limb((0.3, -0.4, -0.85), (-0.3, -0.5, -0.7))
_ON_THIGH = _limb((0.2, 0.35, -0.9), (0.0, 0.75, -0.6))
_ON_KNEE = _limb((0.2, 0.6, -0.75), (0.0, 0.85, -0.5))
_PROP = _limb((0.35, -0.55, -0.75), (0.15, -0.45, -0.9))
_CHIN = _limb((0.2, 0.45, -0.85), (-0.3, 0.35, 0.9))
_BEFORE_BELLY = _limb((0.3, 0.25, -0.95), (-0.5, 0.75, -0.2))
_BEFORE_CHEST = _limb((0.35, 0.4, -0.85), (-0.75, 0.5, 0.45))
_CARRY = _limb((0.3, 0.15, -0.9), (-0.05, 1.0, -0.05))
_WAVE = _limb((0.9, 0.1, -0.1), (0.35, 0.2, 0.95))
_RUN_FORE = _limb((0.25, 0.55, -0.8), (-0.1, 0.75, 0.65))
_RUN_AFT = _limb((0.3, -0.75, -0.6), (0.1, 0.45, -0.9))
_POINT = _limb((0.5, 0.85, 0.1), (0.45, 0.9, 0.15))
_REACH_DOWN = _limb((0.2, 0.9, 0.2), (0.1, 1.0, 0.15))
_PILLOW = _limb((0.6, 0.35, 0.75), (-0.6, 0.1, 0.75))

_STRAIGHT: LegAngles = (0, 0, 6, 4, 0)
_CLOSED: LegAngles = (0, -2, 4, 3, 0)
_WIDE: LegAngles = (0, 16, 12, 4, 0)
_SEATED: LegAngles = (85, 8, 4, 85, 0)


def _stand(
    arms: tuple[Limb, Limb],
    legs: tuple[LegAngles, LegAngles] = (_STRAIGHT, _STRAIGHT),
    spine: Direction = (0, 0, 0),
    head: Direction = (0, 0, 0),
    root: Direction = (0, 0, 0),
    family: str = "stand",
) -> BasePose:
    return BasePose(arms=arms, legs=legs, spine=spine, head=head, root=root, family=family)


def _other(
    support: str,
    family: str,
    arms: tuple[Limb, Limb],
    legs: tuple[LegAngles, LegAngles],
    spine: Direction = (0, 0, 0),
    root: Direction = (0, 0, 0),
    head: Direction = (0, 0, 0),
) -> BasePose:
    return BasePose(arms=arms, legs=legs, spine=spine, head=head, root=root, family=family, support=support)


_CONTRA = ((-4.0, 4.0, 3.0, 2.0, 0.0), (14.0, 8.0, 16.0, 30.0, 0.0))
_STEP = ((24.0, 0.0, 4.0, 12.0, 6.0), (-14.0, 0.0, 6.0, 22.0, -4.0))

_STANDING = {
    "standing": _stand((_HANG, _HANG)),
    "standing, feet together": _stand((_HANG, _HANG), (_CLOSED, _CLOSED)),
    "anatomical": _stand((_AWAY, _AWAY), (_WIDE, _WIDE)),
    "contrapposto": _stand((_HANG, _HANG), _CONTRA, spine=(0, -6, 4), root=(0, 5, 0)),
    "contrapposto, hand on hip": _stand((_HANG, _HIP), _CONTRA, spine=(0, -6, 6), root=(0, 5, 0)),
    "hands on hips": _stand((_HIP, _HIP), (_WIDE, _WIDE)),
    "hands behind head": _stand((_BEHIND_HEAD, _BEHIND_HEAD)),
    "one hand behind head": _stand((_BEHIND_HEAD, _HANG), _CONTRA, spine=(0, -5, 0)),
    "arms raised": _stand((_UP, _UP)),
    "arms raised wide": _stand((_UP_WIDE, _UP_WIDE), (_WIDE, _WIDE)),
    "arms out": _stand((_OUT, _OUT)),
    "arms forward": _stand((_FORWARD, _FORWARD)),
    "arms crossed": _stand((_CROSSED, _CROSSED)),
    "hands behind back": _stand((_BACK, _BACK)),
    "hands before belly": _stand((_BEFORE_BELLY, _BEFORE_BELLY)),
    "hands before chest": _stand((_BEFORE_CHEST, _BEFORE_CHEST)),
    "one arm before chest": _stand((_BEFORE_CHEST, _HANG), _CONTRA),
    "waving": _stand((_WAVE, _HANG)),
    "pointing": _stand((_POINT, _HANG)),
    "thinking": _stand((_CHIN, _CROSSED)),
    "carrying": _stand((_CARRY, _CARRY), spine=(-4, 0, 0)),
    "turning": _stand((_AWAY, _AWAY), spine=(0, 0, 32), head=(0, 0, 30)),
    "stretching to the side": _stand((_UP, _HIP), (_WIDE, _WIDE), spine=(0, -24, 0), head=(0, -8, 0)),
    "arching": _stand((_UP, _UP), spine=(-18, 0, 0), head=(-15, 0, 0)),
    "walking": _stand((_RUN_AFT, _HANG), _STEP, spine=(2, 0, -5), family="stride"),
    "striding": _stand((_HANG, _HANG), ((34, 0, 4, 16, 8), (-18, 0, 6, 34, -8)), family="stride"),
    "running": _stand(
        (_RUN_AFT, _RUN_FORE), ((55, 0, 2, 80, 0), (-18, 0, 4, 50, -15)), (6, 0, -8), root=(10, 0, 0), family="stride"
    ),
    "bending forward": _stand(
        (_FORWARD, _FORWARD), ((50, 4, 6, 8, 0), (50, 4, 6, 8, 0)), (35, 0, 0), root=(50, 0, 0), family="bend"
    ),
    "touching toes": _stand(
        (_REACH_DOWN, _REACH_DOWN), ((70, 4, 6, 8, 0), (70, 4, 6, 8, 0)), (50, 0, 0), root=(70, 0, 0), family="bend"
    ),
    "bowing": _stand((_HANG, _HANG), ((28, 0, 4, 4, 0), (28, 0, 4, 4, 0)), (18, 0, 0), root=(28, 0, 0), family="bend"),
    "tree": _stand((_UP, _UP), ((45, 42, 40, 125, 0), (0, -4, 4, 2, 0)), family="balance"),
    "one leg lifted": _stand((_OUT, _OUT), ((80, 0, 0, 85, 0), (0, -3, 4, 2, 0)), family="balance"),
    "warrior": _stand((_OUT, _OUT), ((55, 34, 40, 60, 0), (-12, 34, 12, 4, 0)), family="lunge"),
    "lunge": _stand((_HIP, _HIP), ((82, 2, 2, 86, 0), (-18, 2, 2, 70, 30)), family="lunge"),
    "long lunge": _stand((_UP, _UP), ((80, 2, 2, 75, 0), (-22, 2, 2, 30, 35)), family="lunge"),
    "side lunge": _stand(
        (_FORWARD, _FORWARD), ((60, 34, 26, 85, 20), (22, 38, 10, 2, 0)), root=(24, 0, 0), family="lunge"
    ),
    "squat": _stand(
        (_FORWARD, _FORWARD),
        ((95, 22, 22, 100, 24), (95, 22, 22, 100, 24)),
        (14, 0, 0),
        root=(24, 0, 0),
        family="squat",
    ),
    "deep squat": _stand(
        (_FORWARD, _FORWARD),
        ((112, 24, 24, 132, 26), (112, 24, 24, 132, 26)),
        (22, 0, 0),
        root=(20, 0, 0),
        family="squat",
    ),
    "half squat": _stand(
        (_CARRY, _CARRY), ((50, 10, 12, 60, 14), (50, 10, 12, 60, 14)), (8, 0, 0), root=(18, 0, 0), family="squat"
    ),
}
_BASE_REST = {
    "sitting on a chair": _other("seat", "seat", (_ON_THIGH, _ON_THIGH), (_SEATED, _SEATED)),
    "sitting, knees together": _other(
        "seat", "seat", (_BEFORE_BELLY, _BEFORE_BELLY), ((85, -3, 0, 82, 0), (85, -3, 0, 82, 0))
    ),
    "sitting, leaning forward": _other(
        "seat", "seat", (_ON_KNEE, _ON_KNEE), ((92, 12, 6, 90, 0), (92, 12, 6, 90, 0)), (24, 0, 0), (8, 0, 0)
    ),
    "sitting, legs crossed": _other("seat", "seat", (_ON_THIGH, _CHIN), ((98, -12, 0, 72, -10), (85, -2, 0, 85, 0))),
    "sitting, arms crossed": _other("seat", "seat", (_CROSSED, _CROSSED), (_SEATED, _SEATED), root=(-8, 0, 0)),
    "sitting, hands behind head": _other(
        "seat", "seat", (_BEHIND_HEAD, _BEHIND_HEAD), (_SEATED, _SEATED), root=(-12, 0, 0)
    ),
    "sitting cross-legged": _other(
        "floor", "floor", (_ON_KNEE, _ON_KNEE), ((78, 42, 48, 122, 0), (78, 42, 48, 118, 0)), (12, 0, 0)
    ),
    "sitting, legs straight": _other(
        "floor", "floor", (_PROP, _PROP), ((80, 4, 5, 6, 0), (80, 4, 5, 6, 0)), root=(-14, 0, 0)
    ),
    "sitting, knees drawn up": _other(
        "floor", "floor", (_ON_KNEE, _ON_KNEE), ((112, 4, 4, 112, -5), (112, 4, 4, 112, -5)), (18, 0, 0), (-6, 0, 0)
    ),
    "sitting, one knee up": _other(
        "floor", "floor", (_ON_KNEE, _PROP), ((108, 6, 4, 108, 0), (82, 14, 12, 10, 0)), (6, 0, 0), (-10, 0, 0)
    ),
    "kneeling upright": _other("floor", "kneel", (_HANG, _HANG), ((0, 4, 0, 90, -40), (0, 4, 0, 90, -40))),
    "kneeling, arms raised": _other("floor", "kneel", (_UP, _UP), ((0, 8, 0, 90, -40), (0, 8, 0, 90, -40))),
    "sitting on the heels": _other(
        "floor", "kneel", (_ON_THIGH, _ON_THIGH), ((68, 4, 0, 142, -40), (68, 4, 0, 142, -40)), (4, 0, 0)
    ),
    "kneeling on one knee": _other("floor", "kneel", (_ON_KNEE, _HANG), ((88, 6, 4, 90, 0), (-4, 2, 0, 90, -20))),
    "lying on the back": _other("lie", "supine", (_AWAY, _AWAY), (_STRAIGHT, _STRAIGHT), root=(-90, 0, 0)),
    "lying, hands under head": _other(
        "lie",
        "supine",
        (_BEHIND_HEAD, _BEHIND_HEAD),
        (_CLOSED, (38, 4, 6, 70, -20)),
        (4, 0, 0),
        (-90, 0, 0),
        (14, 0, 0),
    ),
    "lying, knees bent": _other(
        "lie", "supine", (_AWAY, _BEFORE_BELLY), ((55, 4, 2, 105, -15), (55, 4, 2, 105, -15)), root=(-90, 0, 0)
    ),
    "lying, arms stretched": _other("lie", "supine", (_UP, _UP), (_CLOSED, _CLOSED), root=(-90, 0, 0)),
    "lying on the front": _other(
        "lie",
        "prone",
        (_PILLOW, _PILLOW),
        ((-4, 2, 4, 8, -35), (-4, 2, 4, 8, -35)),
        (-6, 0, 0),
        (90, 0, 0),
        (-10, 0, 30),
    ),
    "lying on the front, legs bent": _other(
        "lie",
        "prone",
        (_PILLOW, _PILLOW),
        ((-4, 2, 2, 70, -20), (-4, 2, 2, 40, -20)),
        (-20, 0, 0),
        (90, 0, 0),
        (-20, 0, 0),
    ),
    "sunbathing on the front": _other(
        "lie", "prone", (_AWAY, _AWAY), (_STRAIGHT, _STRAIGHT), (0, 0, 0), (90, 0, 0), (0, 0, 40)
    ),
    "lying on the side": _other(
        "lie", "side", (_CARRY, _PILLOW), ((40, 0, 0, 60, -10), (20, 0, 0, 45, -10)), (12, 0, 0), (-90, 0, -90)
    ),
    "lying on the side, straight": _other(
        "lie", "side", (_HANG, _UP), ((6, 0, 2, 10, -15), (2, 0, 2, 6, -15)), (0, 0, 0), (-90, 0, -90)
    ),
    "reclining": _other(
        "lie", "supine", (_PROP, _PROP), ((22, 3, 5, 12, -10), (48, 4, 4, 85, -10)), (14, 0, 0), (-62, 0, 0), (12, 0, 0)
    ),
    "reclining on the side": _other(
        "lie",
        "side",
        (_ON_THIGH, _PROP),
        ((28, 0, 0, 50, -10), (12, 0, 0, 30, -10)),
        (0, 24, 0),
        (-90, 0, -76),
        (0, 12, 0),
    ),
}
# By name; plain descriptions.
BASE_POSES: Mapping[str, BasePose] = MappingProxyType(_STANDING | _BASE_REST)
