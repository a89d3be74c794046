"""Vertex groups of the base mesh: the six parts and what skin, hair and clothes need, from geometry alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["limb_regions", "surface_regions"]

Bools = NDArray[np.bool_]
# Which joints carry a part, by the beginning of their names.
_LIMBS = {
    "head": ("head", "neck03", "eye."),
    "neck": ("neck01", "neck02"),
    "torso": ("root", "pelvis", "spine", "clavicle", "shoulder01"),
    "upper_arms": ("upperarm",),
    "lower_arms": ("lowerarm",),
    "hands": ("wrist", "metacarpal", "finger"),
    "upper_legs": ("upperleg",),
    "lower_legs": ("lowerleg",),
    "feet": ("foot", "toe"),
}
_SIDED = ("upper_arms", "lower_arms", "hands", "upper_legs", "lower_legs", "feet")
# A vertex is in a part if the blend shape that makes the part larger moves it by this share of its largest move.
_SHARES = {"breast": 0.3, "buttocks": 0.35, "belly": 0.25}
_MASK_SHARE = 0.5
# Half angles seen from the middle of the eyeball, between the rings of the mesh: 22 and 11 degrees.
_IRIS, _PUPIL = np.radians(26), np.radians(15)
# Metres around the marked vertices, which are the innermost only.
_CROTCH_REACH = 0.022


def limb_regions(
    joints: Sequence[str], weights: NDArray[np.float32], vertices: NDArray[np.floating]
) -> dict[str, Bools]:
    """Return for each limb the vertices that hang mostly on its joints; paired limbs also by side.

    Args:
        joints: J names.
        weights: (N, J).
        vertices: (N, 3) rest positions; the left side is at +x.
    """
    regions: dict[str, Bools] = {}
    total = {}
    for name, beginnings in _LIMBS.items():
        columns = [column for column, joint in enumerate(joints) if joint.startswith(beginnings)]
        total[name] = weights[:, columns].sum(axis=1)
    strongest = np.argmax(np.stack(list(total.values())), axis=0)
    for row, name in enumerate(total):
        regions[name] = strongest == row
        if name in _SIDED:
            regions[f"{name}_left"] = regions[name] & (vertices[:, 0] > 0)
            regions[f"{name}_right"] = regions[name] & (vertices[:, 0] <= 0)
    return regions


def surface_regions(
    vertices: NDArray[np.floating],
    normals: NDArray[np.floating],
    limbs: Mapping[str, Bools],
    masks: Mapping[str, NDArray[np.floating]],
    moved: Mapping[str, NDArray[np.floating]],
    groups: Mapping[str, Bools],
) -> dict[str, Bools]:
    """Return the parts and patches of the skin. First versions, by geometry: a detector's convention is not in them.

    Args:
        vertices: (N, 3) metres, the standard body at rest.
        normals: (N, 3).
        limbs: as from `limb_regions`.
        masks: (N,) texture masks at the vertices, in [0, 1].
        moved: (N,) metres by which the blend shapes `breast`, `buttocks` and `belly` move each vertex.
        groups: (N,) bool: `body`, `eyes` and `male` parts of the base mesh.
    """
    share = {name: move / move.max() > _SHARES[name] for name, move in moved.items()}
    marked = {name: mask > _MASK_SHARE for name, mask in masks.items()}
    body, torso, left = groups["body"], limbs["torso"], vertices[:, 0] > 0
    front, back = normals[:, 1] < 0.2, normals[:, 1] > -0.2
    crotch = body & _near(vertices, vertices[marked["crotch"] & body], _CROTCH_REACH)
    # The pubic bone ends the belly; the lowest tenth of the breasts begins it.
    pubis = vertices[crotch, 2].max() + 0.02
    chest = np.quantile(vertices[share["breast"] & front, 2], 0.05)
    between = (vertices[:, 2] > pubis) & (vertices[:, 2] < chest)
    regions = {
        "body": body,
        "eyes": groups["eyes"],
        "male_anatomy": groups["male"],
        "belly": body & torso & between & front & share["belly"],
        "buttocks": body & share["buttocks"] & back,
        "breast_left": body & share["breast"] & front & left,
        "breast_right": body & share["breast"] & front & ~left,
        "genitalia": crotch | groups["male"],
        "aureola": marked["aureola"] & body,
        "lips": marked["lips"] & body,
        "nails": (marked["fingernails"] | marked["toenails"]) & body,
        "ears": marked["ears"] & body,
        "mouth_inside": marked["inside_mouth"] & body,
    }
    regions["breast"] = regions["breast_left"] | regions["breast_right"]
    regions |= _eye_regions(vertices, groups["eyes"])
    regions |= _hair_regions(vertices, limbs, marked, regions)
    return regions


def _near(vertices: NDArray[np.floating], marked: NDArray[np.floating], reach: float) -> Bools:
    near: Bools = (np.linalg.norm(vertices[:, None] - marked[None], axis=2) < reach).any(axis=1)
    return near


def _eye_regions(vertices: NDArray[np.floating], eyes: Bools) -> dict[str, Bools]:
    """Return iris and pupil: the rings of each eyeball about its forward axis."""
    angle = np.full(len(vertices), np.pi)
    for side in (vertices[:, 0] > 0, vertices[:, 0] <= 0):
        rows = np.flatnonzero(eyes & side)
        ball = vertices[rows]
        away = ball - (ball.min(axis=0) + ball.max(axis=0)) / 2
        angle[rows] = np.arccos(-away[:, 1] / np.linalg.norm(away, axis=1))
    return {"iris": eyes & (angle < _IRIS), "pupil": eyes & (angle < _PUPIL)}


def _hair_regions(
    vertices: NDArray[np.floating],
    limbs: Mapping[str, Bools],
    marked: Mapping[str, Bools],
    regions: Mapping[str, Bools],
) -> dict[str, Bools]:
    """Return where hair grows: scalp, beard, chest, armpits, pubic hair."""
    x, y, z = vertices.T
    side = np.abs(x)
    head = limbs["head"] & regions["body"]
    eyes = vertices[regions["eyes"]].mean(axis=0)
    top, rear = z[head].max(), y[head].max()
    depth = np.clip((y - y[head].min()) / (rear - y[head].min()), 0, 1)
    # The hair line: high on the forehead, in front of the ears, down to the nape.
    line = eyes[2] + (top - eyes[2]) * np.interp(depth, [0.0, 0.2, 0.45, 0.6, 1.0], [0.62, 0.62, 0.15, -0.3, -0.75])
    lips = vertices[regions["lips"]]
    nose_end = lips[:, 2].max() + 0.012
    inside = marked["inside_mouth"]
    beard = (head | limbs["neck"]) & (z < nose_end) & (z > lips[:, 2].min() - 0.06) & (depth < 0.5)
    shoulder = vertices[limbs["upper_arms_left"]]
    pits = (limbs["torso"] | limbs["upper_arms"]) & (np.abs(side - shoulder[:, 0].min()) < 0.022)
    crotch = regions["genitalia"] & regions["body"]
    middle = vertices[crotch]
    high = middle[:, 2].max()
    pubic = (side < 0.075) & (z > high - 0.05) & (z < high + 0.07) & (y < middle[:, 1].mean() + 0.02)
    above = z - eyes[2]
    brows = head & (above > 0.012) & (above < 0.028) & (side > 0.012) & (side < 0.054) & (depth < 0.3)
    return {
        "brows": brows,
        "scalp": head & (z > line) & ~regions["ears"] & ~inside,
        "beard": beard & ~regions["lips"] & ~regions["ears"] & ~inside,
        "armpits": pits & (np.abs(z - shoulder[:, 2].max() + 0.13) < 0.035) & regions["body"],
        "pubic": pubic & regions["body"] & (limbs["torso"] | limbs["upper_legs"]),
    }
