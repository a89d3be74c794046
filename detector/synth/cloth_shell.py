"""The geometry of cloth: shells cut out of the body's surface and lifted off it, tubes around legs, pouches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel
from detector.synth.cloth_cuts import Cut
from detector.synth.mesh import Mesh
from detector.synth.surface import Surface, SurfaceNoise

__all__ = ["Fit", "Sheet", "pouch", "shell", "tube"]

Floats = NDArray[np.float32]
Ints = NDArray[np.integer]
# Metres around the cut in which triangles of the body are looked at; more than the longest edge of trunk and limbs.
_REACH = 0.06
# Metres between body and cloth at the least: rays must not mix them up, nor flat triangles let skin through.
_LEAST = 0.003
_RING, _SMOOTH = 48, 14


@dataclass(frozen=True)
class Sheet:
    """Bare geometry: (V, 3) posed vertices, (V, 3) rest positions, (T, 3) triangles."""

    vertices: Floats
    rest: Floats
    triangles: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How cloth sits.

    Attributes:
        gap: metres off the skin.
        bridging: 0 follows every fold of the body, 1 spans hollows.
        wrinkles: metres of deviation of the folds.
        fold: metres from one fold to the next.
        levels: how often the body's triangles are quartered.
    """

    gap: float = 0.004
    bridging: float = 0.5
    wrinkles: float = 0.0
    fold: float = 0.08
    levels: int = 1


def shell(body: BodyModel, mesh: Mesh, cut: Cut, fit: Fit, rng: np.random.Generator) -> Sheet:
    """Return the part of the body's surface inside the cut, lifted off along its normals.

    Args:
        body: the model that posed `mesh`.
        mesh: the posed body.
        cut: positive where there is cloth.
        fit: how it sits.
        rng: draws the folds.
    """
    surface = Surface.of(body)
    inside = cut(surface.rest)
    triangles: Ints = surface.triangles[(inside[surface.triangles] > -_REACH).any(axis=1)]
    used, inverse = np.unique(triangles, return_inverse=True)
    triangles = inverse.reshape(-1, 3)
    rows = surface.first[used]
    points, normals, rest = mesh.vertices[rows], mesh.normals[rows], surface.rest[used]
    lift = np.full(len(used), max(fit.gap, _LEAST), dtype=np.float32)
    if fit.bridging > 0 and len(used):
        spanned = _smoothed(points, triangles, _SMOOTH)
        lift += fit.bridging * np.clip(np.einsum("ij,ij->i", spanned - points, normals), 0, 0.06)
    values = np.concatenate([points, normals, rest, lift[:, None]], axis=1)
    for _ in range(fit.levels):
        # Only what can be in the cut is worth dividing.
        near = cut(values[:, 6:9])
        triangles = triangles[(near[triangles] > -_REACH).any(axis=1)]
        values, triangles = _quartered(values, triangles)
    if fit.wrinkles > 0:
        stretch = rng.uniform(0.5, 1.6, 3).astype(np.float32)
        folds = SurfaceNoise(rng, fit.fold)(values[:, 6:9] * stretch)
        values[:, 9] += fit.wrinkles * np.maximum(folds + 1.0, 0)
    values, triangles = _clipped(values, triangles, cut(values[:, 6:9]))
    return Sheet(values[:, :3] + values[:, 3:6] * values[:, 9:10], values[:, 6:9], triangles.astype(np.int32))


def _smoothed(points: Floats, triangles: Ints, steps: int) -> Floats:
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    a, b = np.concatenate([ends, ends[:, ::-1]]).T
    degree = np.maximum(np.bincount(a, minlength=len(points)), 1)[:, None]
    for _ in range(steps):
        total = np.stack([np.bincount(a, column[b], len(points)) for column in points.T], axis=1)
        points = (0.4 * points + 0.6 * total / degree).astype(np.float32)
    return points


def _quartered(values: Floats, triangles: Ints) -> tuple[Floats, Ints]:
    """Split every triangle into four; what belongs to new vertices is the mean of the two ends."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    keys, inverse = np.unique(edges[:, 0] * len(values) + edges[:, 1], return_inverse=True)
    first, second = keys // len(values), keys % len(values)
    ab, bc, ca = inverse.reshape(3, -1) + len(values)
    a, b, c = triangles.T
    four = np.concatenate(
        [np.stack(corner, axis=1) for corner in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    return np.concatenate([values, (values[first] + values[second]) / 2]), four


def _clipped(values: Floats, triangles: Ints, inside: Floats) -> tuple[Floats, Ints]:
    """Cut triangles along the line where `inside` is 0, and drop what is beyond."""
    signs = inside[triangles] > 0
    count = signs.sum(axis=1)
    parts = [triangles[count == 3]]
    new: list[Floats] = [values]
    size = len(values)

    def crossing(near: Ints, far: Ints) -> Ints:
        nonlocal size
        share = (inside[near] / (inside[near] - inside[far]))[:, None].astype(np.float32)
        new.append(values[near] * (1 - share) + values[far] * share)
        size += len(near)
        return np.arange(size - len(near), size)

    for kept in (1, 2):
        rows = triangles[count == kept]
        # Turn the corners so that the odd one out comes first.
        odd = signs[count == kept] if kept == 1 else ~signs[count == kept]
        start = odd.argmax(axis=1)
        a, b, c = (rows[np.arange(len(rows)), (start + corner) % 3] for corner in range(3))
        if kept == 1:
            parts.append(np.stack([a, crossing(a, b), crossing(a, c)], axis=1))
        else:
            ab, ac = crossing(b, a), crossing(c, a)
            parts += [np.stack([ab, b, c], axis=1), np.stack([ab, c, ac], axis=1)]
    used, inverse = np.unique(np.concatenate(parts), return_inverse=True)
    return np.concatenate(new)[used], inverse.reshape(-1, 3)


def tube(
    body: BodyModel, mesh: Mesh, heights: Floats, margins: Floats, wrinkles: float, rng: np.random.Generator
) -> Sheet:
    """Return cloth wrapped around trunk and both legs: a ring around the body for each height of the standard body.

    Args:
        body: the model that posed `mesh`.
        mesh: the posed body.
        heights: (K,) metres on the standard body, falling.
        margins: (K,) metres between body and ring.
        wrinkles: metres of deviation of the folds.
        rng: draws the folds.
    """
    surface = Surface.of(body)
    arms = body.regions["upper_arms"] | body.regions["lower_arms"] | body.regions["hands"]
    usable = np.flatnonzero(body.regions["body"] & ~arms & (surface.rest[:, 2] < 1.5))
    rest, points = surface.rest[usable], mesh.vertices[surface.first[usable]]
    slices = [points[np.abs(rest[:, 2] - height) < 0.03] for height in heights]
    left = points[rest[:, 0] > 0.05].mean(axis=0) - points[rest[:, 0] < -0.05].mean(axis=0)
    centres = np.stack([(part.min(axis=0) + part.max(axis=0)) / 2 for part in slices])
    along = np.gradient(centres, axis=0)
    angles = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
    between = np.cos(angles[:, None] - angles[None])
    around = rng.uniform(0, 2 * np.pi, 3)
    counts = rng.integers(5, 16, 3)
    vertices, rests = [], []
    for row, part in enumerate(slices):
        axis = -along[row] / np.linalg.norm(along[row])
        u = left - axis * (left @ axis)
        u /= np.linalg.norm(u)
        spokes = np.cos(angles)[:, None] * u + np.sin(angles)[:, None] * np.cross(axis, u)
        support = ((part - centres[row]) @ spokes.T).max(axis=0) + margins[row]
        # From supports to the outline of their common half planes.
        radius = np.where(between > 0.1, support / np.maximum(between, 0.1), np.inf).min(axis=1)
        depth = row / max(len(slices) - 1, 1)
        waves = sum(np.cos(angles * n + p) for n, p in zip(counts, around, strict=True))
        radius = radius + wrinkles * depth * (waves + 1.5)
        vertices.append(centres[row] + radius[:, None] * spokes)
        rests.append(np.stack([0.2 * np.cos(angles), 0.15 * np.sin(angles), np.full(_RING, heights[row])], axis=1))
    grid = np.arange(len(heights) * _RING).reshape(len(heights), _RING)
    a, b = grid[:-1], grid[1:]
    a2, b2 = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    triangles = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, b2), (a, b2, a2))])
    return Sheet(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(rests).astype(np.float32),
        triangles.astype(np.int32),
    )


def pouch(body: BodyModel, mesh: Mesh, gap: float) -> Sheet:
    """Return a smooth bag around male external anatomy: its hull, so that nothing sticks out."""
    surface = Surface.of(body)
    rows = surface.first[np.flatnonzero(body.regions["male_anatomy"])]
    points = mesh.vertices[rows]
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    rings, sides = 14, 24
    polar = np.linspace(0, np.pi, rings)[:, None]
    around = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None]
    spokes = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], axis=-1
    ).reshape(-1, 3)
    support = ((points - centre) @ spokes.T).max(axis=0) + gap
    # From supports to the body that their half spaces have in common: the hull, slightly blown up.
    between = spokes @ spokes.T
    reach = np.where(between > 0.1, support / np.maximum(between, 0.1), np.inf).min(axis=1)
    grid = np.arange(rings * sides).reshape(rings, sides)
    a, b = grid[:-1], grid[1:]
    a2, b2 = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    triangles = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, b2), (a, b2, a2))])
    rest = surface.rest[body.regions["male_anatomy"]].mean(axis=0) + 0.05 * spokes
    return Sheet(
        (centre + reach[:, None] * spokes).astype(np.float32), rest.astype(np.float32), triangles.astype(np.int32)
    )
