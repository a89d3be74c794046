"""Plain bodies of geometry: boxes, cylinders, ellipsoids, sheets; the stuff of furniture and objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Solid", "box", "cylinder", "ellipsoid", "grid_triangles", "joined", "sheet"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Solid:
    """(V, 3) vertices in metres and (T, 3) triangles, counter-clockwise seen from outside."""

    vertices: NDArray[np.float64]
    triangles: Ints

    def moved(self, offset: ArrayLike, turn: ArrayLike | None = None) -> "Solid":
        """Return it turned by a (3, 3) rotation and then shifted."""
        points = self.vertices if turn is None else self.vertices @ np.asarray(turn).T
        return Solid(points + np.asarray(offset), self.triangles)


def grid_triangles(rows: int, columns: int, *, closed: bool) -> Ints:
    """Return (T, 3) triangles of a grid of vertices, row by row; `closed` joins the last column to the first.

    With rows going down and columns going anticlockwise seen from above, they face outwards.
    """
    grid = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    if closed:
        grid = np.concatenate([grid, grid[:, :1]], axis=1)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])


def box(size: ArrayLike, centre: ArrayLike = (0.0, 0.0, 0.0)) -> Solid:
    """Return a box with flat sides: no vertex is shared between them."""
    half = np.asarray(size, dtype=np.float64) / 2
    points: list[NDArray[np.float64]] = []
    triangles: list[list[list[int]]] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first, second = np.zeros(3), np.zeros(3)
            first[(axis + 1) % 3], second[(axis + 2) % 3] = 1, sign
            middle = np.zeros(3)
            middle[axis] = sign
            start = 4 * len(triangles)
            corners = [
                middle - first - second,
                middle + first - second,
                middle + first + second,
                middle - first + second,
            ]
            points += corners
            triangles.append([[start, start + 1, start + 2], [start, start + 2, start + 3]])
    return Solid(np.array(points) * half + np.asarray(centre), np.array(triangles, dtype=np.int32).reshape(-1, 3))


def cylinder(
    radius: float, height: float, centre: ArrayLike = (0.0, 0.0, 0.0), sides: int = 24, top: float = 1.0
) -> Solid:
    """Return an upright cylinder, or a cone cut at `top` of its radius."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    levels = ((top * radius, height / 2), (radius, -height / 2))
    side = np.concatenate([np.concatenate([r * circle, np.full((sides, 1), z)], axis=1) for r, z in levels])
    parts = [Solid(side, grid_triangles(2, sides, closed=True))]
    for (r, z), up in zip(levels, (True, False), strict=True):
        lid = np.concatenate([[[0, 0, z]], np.concatenate([r * circle, np.full((sides, 1), z)], axis=1)])
        ring = 1 + np.arange(sides)
        fan = np.stack([np.zeros(sides, dtype=int), ring, 1 + (ring % sides)], axis=1)
        parts.append(Solid(lid, (fan if up else fan[:, ::-1]).astype(np.int32)))
    return joined(parts).moved(centre)


def ellipsoid(
    radii: ArrayLike, centre: ArrayLike = (0.0, 0.0, 0.0), rings: int = 16, sides: int = 24, power: float = 1.0
) -> Solid:
    """Return an ellipsoid; a `power` under 1 makes it boxier, like a pillow."""
    polar = np.linspace(0, np.pi, rings)[:, None]
    around = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None]
    unit = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar) + 0 * around], axis=-1
    )
    unit = (np.sign(unit) * np.abs(unit) ** power).reshape(-1, 3)
    return Solid(unit * np.asarray(radii) + np.asarray(centre), grid_triangles(rings, sides, closed=True))


def sheet(width: float, height: float, depth: NDArray[np.floating]) -> Solid:
    """Return an upright sheet that faces -y, its top at z = 0; `depth` (R, C) metres bends it in y."""
    rows, columns = depth.shape
    x, z = np.meshgrid(np.linspace(-width / 2, width / 2, columns), np.linspace(0, -height, rows))
    points = np.stack([x, depth, z], axis=-1).reshape(-1, 3)
    return Solid(points, grid_triangles(rows, columns, closed=False))


def joined(parts: Sequence[Solid]) -> Solid:
    """Return all parts as one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    triangles = [part.triangles + np.int32(start) for part, start in zip(parts, starts, strict=False)]
    return Solid(np.concatenate([part.vertices for part in parts]), np.concatenate(triangles))
