"""Bracelets, anklets, bands and earrings: what glitters on skin and is no part of a body."""

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.solids import Solid, ellipsoid, grid_triangles

__all__ = ["AROUND", "RINGS", "ring_around", "sample_jewellery"]

# By name: the region, the one that follows at its outer end, and where a ring may sit from that end on.
RINGS = {
    "bracelet left": ("lower_arms_left", "hands_left", (0.05, 0.2)),
    "bracelet right": ("lower_arms_right", "hands_right", (0.05, 0.2)),
    "band left": ("upper_arms_left", "lower_arms_left", (0.4, 0.6)),
    "band right": ("upper_arms_right", "lower_arms_right", (0.4, 0.6)),
    "anklet left": ("lower_legs_left", "feet_left", (0.05, 0.15)),
    "anklet right": ("lower_legs_right", "feet_right", (0.05, 0.15)),
}

# Linear RGB of gold, silver, copper, black leather, and red, blue and white beads.
_STUFF = (
    (0.83, 0.58, 0.20),
    (0.72, 0.72, 0.74),
    (0.70, 0.36, 0.22),
    (0.03, 0.025, 0.02),
    (0.55, 0.03, 0.04),
    (0.05, 0.12, 0.5),
    (0.85, 0.84, 0.8),
)
# Vertices around a ring, and around its tube.
AROUND, _TUBE = 28, 6
# Metres to either side of a ring's plane in which the skin is measured.
_SLICE = 0.012


def ring_around(body: BodyModel, mesh: Mesh, name: str, along: float, thickness: float) -> Solid:
    """Return a ring on the skin of a limb.

    Args:
        body: whose region it is.
        mesh: the posed body.
        name: one of `RINGS`.
        along: 0 is the end at the hand or foot, 1 the other.
        thickness: of the ring, metres.
    """
    region, end, _ = RINGS[name]
    points = mesh.vertices[np.flatnonzero(body.regions[region][body.source])].astype(np.float64)
    middle = points.mean(axis=0)
    axis = np.linalg.svd(points - middle, full_matrices=False)[2][0]
    outer = mesh.vertices[np.flatnonzero(body.regions[end][body.source])].mean(axis=0)
    axis *= 1.0 if axis @ (middle - outer) >= 0 else -1.0
    place = (points - middle) @ axis
    level = np.quantile(place, along)
    near = points[np.abs(place - level) < _SLICE]
    centre = near.mean(axis=0)
    first = np.cross(axis, (0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0))
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    across = np.stack([(near - centre) @ first, (near - centre) @ second], axis=1)
    angles, reach = np.arctan2(across[:, 1], across[:, 0]), np.linalg.norm(across, axis=1)
    turns = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    order = np.argsort(angles)
    radius = np.interp(turns, angles[order], reach[order], period=2 * np.pi) + thickness / 3
    return _tube(centre, first, second, axis, turns, radius, thickness / 2)


def _tube(
    centre: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    axis: NDArray[np.float64],
    turns: NDArray[np.float64],
    radius: NDArray[np.float64],
    half: float,
) -> Solid:
    """Return a closed tube around a centre; rows go around the tube, columns around the ring."""
    outwards = np.cos(turns)[:, None] * first + np.sin(turns)[:, None] * second
    swing = np.linspace(0, 2 * np.pi, _TUBE + 1)
    rows = [
        centre + outwards * (radius + half * np.cos(angle))[:, None] - axis * half * np.sin(angle) for angle in swing
    ]
    return Solid(np.concatenate(rows), grid_triangles(_TUBE + 1, AROUND, closed=True))


def sample_jewellery(rng: np.random.Generator, body: BodyModel, mesh: Mesh) -> list[Mesh]:
    """Draw up to three pieces, all of one stuff."""
    stuff = np.array(_STUFF[int(rng.integers(len(_STUFF)))]) * rng.uniform(0.7, 1.1)
    gloss = float(rng.uniform(0.5, 1.0))
    pieces = []
    names = list(RINGS)
    for number in rng.permutation(len(names) + 1)[: int(rng.integers(1, 4))]:
        if number == len(names):
            pieces += _earrings(rng, body, mesh)
            continue
        low, high = RINGS[names[number]][2]
        pieces.append(
            ring_around(body, mesh, names[number], float(rng.uniform(low, high)), float(rng.uniform(0.003, 0.012)))
        )
    return [_mesh(piece, stuff.clip(0, 1), gloss) for piece in pieces]


def _earrings(rng: np.random.Generator, body: BodyModel, mesh: Mesh) -> list[Solid]:
    """Hang a drop below each ear."""
    points = mesh.vertices[np.flatnonzero(body.regions["ears"][body.source])]
    head = mesh.vertices[np.flatnonzero(body.regions["head"][body.source])].mean(axis=0)
    neck = mesh.vertices[np.flatnonzero(body.regions["neck"][body.source])].mean(axis=0)
    down = (neck - head) / np.linalg.norm(neck - head)
    side = points - head
    left = side @ (points[0] - head) > 0
    size = rng.uniform((0.003, 0.003, 0.004), (0.007, 0.007, 0.02))
    drops = []
    for half in (points[left], points[~left]):
        if len(half):
            lobe = half[int(np.argmax(half @ down))]
            drops.append(ellipsoid(size).moved(lobe + down * size[2]))
    return drops


def _mesh(solid: Solid, albedo: NDArray[np.float64], gloss: float) -> Mesh:
    vertices = solid.vertices.astype(np.float32)
    count = len(vertices)
    return Mesh(
        kind="object",
        vertices=vertices,
        triangles=solid.triangles,
        normals=NormalMaker(solid.triangles, count)(vertices),
        rest=vertices,
        uv=np.zeros((count, 2), dtype=np.float32),
        albedo=np.tile(albedo.astype(np.float32), (count, 1)),
        opacity=np.ones(count, dtype=np.float32),
        gloss=np.full(count, gloss, dtype=np.float32),
    )
