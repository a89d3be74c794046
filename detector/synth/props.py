"""Furniture to sit and lie on, objects to hold or to stand behind; plain shapes of many colours."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.nearest import nearest
from detector.synth.body import BodyModel
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.solids import Solid, box, cylinder, ellipsoid, joined, sheet
from detector.synth.surface import SurfaceNoise, smooth_step

__all__ = ["OCCLUDERS", "before_region", "furniture", "held_object", "make_prop", "sample_occluder"]

Floats = NDArray[np.float32]
# Linear RGB of wood and leather that skin may be taken for.
_SKIN_LIKE = ((0.55, 0.33, 0.2), (0.35, 0.18, 0.09), (0.7, 0.5, 0.35), (0.2, 0.1, 0.05))
_SKIN_LIKE_SHARE = 0.3


def _paint(solid: Solid, rng: np.random.Generator) -> Mesh:
    """Give a solid a colour, a grain and a gloss."""
    points = solid.vertices.astype(np.float32)
    if rng.random() < _SKIN_LIKE_SHARE:
        first = np.array(_SKIN_LIKE[int(rng.integers(len(_SKIN_LIKE)))]) * rng.uniform(0.8, 1.2, 3)
    else:
        first = rng.uniform(0.02, 0.9, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.02, 0.85))
    stretch = rng.choice([0.1, 1.0], 3).astype(np.float32)
    grain = SurfaceNoise(rng, rng.uniform(0.03, 0.3))(points * stretch)
    share = smooth_step(grain, -1, 1) if rng.random() < 0.7 else smooth_step(grain, 0, 0.1)
    albedo = first * (1 - rng.uniform(0, 0.6) * share[:, None])
    return Mesh(
        kind="object",
        vertices=points,
        triangles=solid.triangles,
        normals=NormalMaker(solid.triangles, len(points))(points),
        rest=points,
        uv=np.zeros((len(points), 2), dtype=np.float32),
        albedo=np.clip(albedo, 0, 0.9).astype(np.float32),
        opacity=np.ones(len(points), dtype=np.float32),
        gloss=np.full(len(points), rng.uniform(0, 0.8) ** 2, dtype=np.float32),
    )


def _box(rng: np.random.Generator) -> Solid:
    size = rng.uniform(0.15, 0.5, 3)
    return box(size, (0, 0, size[2] / 2))


def _cylinder(rng: np.random.Generator) -> Solid:
    height = rng.uniform(0.15, 0.6)
    return cylinder(rng.uniform(0.05, 0.2), height, (0, 0, height / 2), top=rng.uniform(0.6, 1.2))


def _ball(rng: np.random.Generator) -> Solid:
    radius = rng.uniform(0.06, 0.18)
    return ellipsoid((radius, radius, radius), (0, 0, radius))


def _pillow(rng: np.random.Generator) -> Solid:
    radii = rng.uniform((0.2, 0.06, 0.15), (0.35, 0.1, 0.25))
    return ellipsoid(radii, (0, 0, radii[2]), power=0.55)


def _chair(rng: np.random.Generator) -> Solid:
    seat, wide, high = rng.uniform(0.38, 0.5), rng.uniform(0.38, 0.5), rng.uniform(0.35, 0.5)
    parts = [box((wide, wide, 0.04), (0, 0, seat - 0.02)), box((wide, 0.03, high), (0, wide / 2, seat + high / 2))]
    for x in (-1, 1):
        parts += [cylinder(0.018, seat, (x * (wide / 2 - 0.03), y * (wide / 2 - 0.03), seat / 2), 8) for y in (-1, 1)]
    return joined(parts)


def _table(rng: np.random.Generator) -> Solid:
    wide, deep, high = rng.uniform(0.6, 1.4), rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.9)
    parts = [box((wide, deep, 0.04), (0, 0, high))]
    for x in (-1, 1):
        parts += [box((0.05, 0.05, high), (x * (wide / 2 - 0.04), y * (deep / 2 - 0.04), high / 2)) for y in (-1, 1)]
    return joined(parts)


def _plant(rng: np.random.Generator) -> Solid:
    """Leaves that arch out of a pot."""
    pot = rng.uniform(0.1, 0.3)
    parts = [cylinder(0.12, pot, (0, 0, pot / 2), top=1.2)]
    steps = np.linspace(0, 1, 7)
    for _ in range(int(rng.integers(12, 30))):
        around, length, droop = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.8), rng.uniform(0.2, 1.2)
        out = length * np.sin(droop * steps)
        up = pot + length * steps * np.cos(droop * steps)
        width = rng.uniform(0.015, 0.05) * np.sin(np.pi * np.clip(steps + 0.05, 0, 1))
        middle = np.stack([out * np.cos(around), out * np.sin(around), up], axis=1)
        aside = np.array([-np.sin(around), np.cos(around), 0]) * width[:, None]
        leaf = np.stack([middle - aside, middle + aside], axis=1).reshape(-1, 3)
        rows = 2 * np.arange(len(steps) - 1)
        triangles = np.concatenate([np.stack([rows, rows + 1, rows + 3], 1), np.stack([rows, rows + 3, rows + 2], 1)])
        parts.append(Solid(leaf, triangles.astype(np.int32)))
    return joined(parts)


def _towel(rng: np.random.Generator, width: float | None = None, height: float | None = None) -> Solid:
    wide = rng.uniform(0.35, 0.8) if width is None else width
    high = rng.uniform(0.5, 1.0) if height is None else height
    across, down = np.linspace(0, 1, 30)[None], np.linspace(0, 1, 16)[:, None]
    folds = rng.integers(2, 7)
    depth = 0.025 * (0.3 + down) * np.cos(2 * np.pi * folds * across + rng.uniform(0, 6) + 1.5 * down)
    return sheet(wide, high, depth)


def _towel_on_rail(rng: np.random.Generator) -> Solid:
    high = rng.uniform(0.9, 1.4)
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    rail = cylinder(0.012, 1.0, sides=10).moved((0, 0.03, high), turn)
    posts = [cylinder(0.015, high, (x, 0.03, high / 2), 8) for x in (-0.5, 0.5)]
    return joined([_towel(rng).moved((0, 0, high + 0.014)), rail, *posts])


def _post(rng: np.random.Generator) -> Solid:
    height = rng.uniform(1.0, 2.4)
    return cylinder(rng.uniform(0.03, 0.12), height, (0, 0, height / 2))


OCCLUDERS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "box": _box,
    "cylinder": _cylinder,
    "ball": _ball,
    "pillow": _pillow,
    "chair": _chair,
    "table": _table,
    "plant": _plant,
    "towel on a rail": _towel_on_rail,
    "post": _post,
}


def make_prop(name: str, rng: np.random.Generator) -> Mesh:
    """Return a prop that stands on z = 0 around x = y = 0.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in OCCLUDERS:
        raise UsageError(f"there is no prop {name!r}{nearest(name, OCCLUDERS)}")
    return _paint(OCCLUDERS[name](rng), rng)


def sample_occluder(rng: np.random.Generator) -> Mesh:
    """Draw a prop, turned anyhow about z, standing on z = 0 around x = y = 0; `Mesh.moved` puts it in its place."""
    name = list(OCCLUDERS)[int(rng.integers(len(OCCLUDERS)))]
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(angle), np.sin(angle)
    solid = OCCLUDERS[name](rng).moved((0, 0, 0), [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return _paint(solid, rng)


def furniture(rng: np.random.Generator, body: BodyModel, mesh: Mesh, support: str) -> list[Mesh]:
    """Return what a posed body sits or lies on: nothing for one that stands.

    Args:
        rng: draws the kind and its measures.
        body: the model that posed `mesh`.
        mesh: the posed body, already on the ground (z = 0).
        support: as in `Pose`.
    """
    points = mesh.vertices[mesh.triangles.reshape(-1)]
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    if support == "seat":
        hips = mesh.vertices[body.regions["buttocks"][body.source]]
        seat, place = float(hips[:, 2].min()) + 0.012, hips.mean(axis=0)
        wide = rng.uniform(0.38, 0.6)
        style = rng.integers(4)
        if style == 0:
            return [_paint(cylinder(wide / 2, seat, (place[0], place[1], seat / 2)), rng)]
        if style == 1:
            return [_paint(box((rng.uniform(0.8, 1.8), wide, seat), (place[0], place[1], seat / 2)), rng)]
        parts = [box((wide, wide, 0.05), (place[0], place[1], seat - 0.025))]
        for x in (-0.45, 0.45):
            parts += [
                cylinder(0.02, seat, (place[0] + x * wide, place[1] + y * wide, seat / 2), 8) for y in (-0.45, 0.45)
            ]
        return [_paint(joined(parts), rng)]
    if support == "lie" and rng.random() < 0.7:
        size = (high - low)[:2] + rng.uniform(0.1, 0.5, 2)
        thick = rng.uniform(0.01, 0.4)
        return [_paint(box((size[0], size[1], thick), (middle[0], middle[1], 0.006 - thick / 2)), rng)]
    return []


def held_object(rng: np.random.Generator, body: BodyModel, mesh: Mesh) -> Mesh:
    """Return a ball, box, pillow or towel at one hand, or between both when they are near each other."""
    hands = [mesh.vertices[body.regions[f"hands_{side}"][body.source]].mean(axis=0) for side in ("left", "right")]
    place = (hands[0] + hands[1]) / 2
    if np.linalg.norm(hands[0] - hands[1]) > 0.45:
        place = hands[int(rng.integers(2))]
    kind = rng.integers(4)
    if kind == 0:
        solid = ellipsoid(np.full(3, rng.uniform(0.04, 0.13)))
    elif kind == 1:
        solid = box(rng.uniform(0.08, 0.3, 3))
    elif kind == 2:
        solid = ellipsoid(rng.uniform((0.12, 0.04, 0.1), (0.25, 0.08, 0.2)), power=0.55)
    else:
        solid = _towel(rng, rng.uniform(0.2, 0.4), rng.uniform(0.4, 0.8)).moved((0, 0, 0.03))
    return _paint(solid.moved(place), rng)


def before_region(rng: np.random.Generator, body: BodyModel, mesh: Mesh, region: str) -> Mesh:
    """Return an object right before a region of the body, as if held there: it hides some or all of it.

    Raises:
        UsageError: for an unknown region.
    """
    if region not in body.regions:
        raise UsageError(f"there is no region {region!r}{nearest(region, body.regions)}")
    rows = np.flatnonzero((body.regions[region] & body.regions["body"])[body.source])
    points, normal = mesh.vertices[rows], mesh.normals[rows].mean(axis=0)
    normal = normal / max(float(np.linalg.norm(normal)), 1e-6)
    side = np.cross((0, 0, 1), normal)
    side = np.array([1.0, 0, 0]) if np.linalg.norm(side) < 0.1 else side / np.linalg.norm(side)
    # Columns: the object's x, y (away from its face) and z.
    turn = np.stack([side, -normal, np.cross(side, -normal)], axis=1)
    kind = rng.integers(4)
    size = rng.uniform(0.05, 0.16)
    if kind == 0:
        solid, deep = ellipsoid((size, size, size)), size
    elif kind == 1:
        deep = rng.uniform(0.005, 0.04)
        solid = box((2 * size, 2 * deep, rng.uniform(1, 3) * size))
    elif kind == 2:
        deep = 0.5 * size
        solid = ellipsoid((1.6 * size, deep, 1.2 * size), power=0.55)
    else:
        deep, high = 0.05, rng.uniform(0.3, 0.8)
        solid = _towel(rng, 3 * size, high).moved((0, 0, high / 3))
    reach = float(((points - points.mean(axis=0)) @ normal).max())
    jitter = rng.normal(0, 0.03, 3)
    return _paint(
        solid.moved(points.mean(axis=0) + (reach + deep + 0.005) * normal + turn @ (jitter * (1, 0, 1)), turn), rng
    )
