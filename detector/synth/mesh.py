"""A triangle mesh with what a renderer needs at each vertex."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import UsageError

__all__ = ["KINDS", "Mesh", "NormalMaker"]

KINDS = ("body", "cloth", "hair", "object")

Floats = NDArray[np.float32]
# Below this a normal has no direction: a vertex without triangles, or with flat ones only.
_NO_LENGTH = 1e-20


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """One surface in the world: metres, z up; the front of a body faces -y, its left hand is at +x.

    Attributes:
        kind: one of `KINDS`.
        vertices: (V, 3) float32 metres.
        triangles: (T, 3) int32 rows of `vertices`, counter-clockwise seen from outside.
        normals: (V, 3) float32 smooth unit normals, outwards; (0, 0, 1) at a vertex that no triangle uses.
        rest: (V, 3) float32 where each vertex lies in the unposed standard body: for 3-D noise that sticks to it.
        uv: (V, 2) float32 texture coordinates in [0, 1], origin bottom left; vertices are split at texture seams.
        albedo: (V, 3) float32 linear RGB in [0, 1].
        opacity: (V,) float32, 0 clear to 1 opaque.
        gloss: (V,) float32, 0 matte to 1 wet.
    """

    kind: str
    vertices: Floats
    triangles: NDArray[np.int32]
    normals: Floats
    rest: Floats
    uv: Floats
    albedo: Floats
    opacity: Floats
    gloss: Floats

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            UsageError: for an unknown kind, a wrong shape or dtype, or a triangle that names a missing vertex.
        """
        if self.kind not in KINDS:
            raise UsageError(f"a mesh must be one of {', '.join(KINDS)}; got {self.kind!r}")
        count = len(self.vertices)
        shapes = {"vertices": 3, "normals": 3, "rest": 3, "uv": 2, "albedo": 3, "opacity": 0, "gloss": 0}
        for name, width in shapes.items():
            array: np.ndarray = getattr(self, name)
            expected = (count, width) if width else (count,)
            if array.shape != expected or array.dtype != np.float32:
                given = f"{array.shape} {array.dtype}"
                raise UsageError(f"{name} of a mesh of {count} vertices must be {expected} float32; got {given}")
        if self.triangles.ndim != 2 or self.triangles.shape[1] != 3 or self.triangles.dtype != np.int32:
            raise UsageError(f"triangles must be (T, 3) int32; got {self.triangles.shape} {self.triangles.dtype}")
        if self.triangles.size and not 0 <= self.triangles.min() <= self.triangles.max() < count:
            raise UsageError(f"triangles must name vertices 0 to {count - 1}; got {self.triangles.max()}")

    def moved(self, offset: ArrayLike) -> "Mesh":
        """Return the same mesh shifted by `offset`, (3,) metres; `rest` stays."""
        return dataclasses.replace(self, vertices=self.vertices + np.asarray(offset, dtype=np.float32))


class NormalMaker:
    """Smooth normals of meshes that share their triangles; made once, since most of the work is the sorting.

    Args:
        triangles: (T, 3) rows of the vertices.
        count: how many vertices there are.
    """

    def __init__(self, triangles: NDArray[np.integer], count: int) -> None:
        corners = triangles.T.reshape(-1)
        self._triangles = triangles
        # Corners sorted by vertex: one running sum then gives the total of each vertex.
        order = np.argsort(corners, kind="stable")
        self._faces = (order % len(triangles)).astype(np.int32)
        used, self._starts = np.unique(corners[order], return_index=True)
        self._used = used
        self._count = count

    def __call__(self, vertices: Floats) -> Floats:
        """Return (V, 3) float32 unit normals, each triangle weighted by its area; (0, 0, 1) where there is none."""
        a, b, c = (vertices[self._triangles[:, corner]] for corner in range(3))
        faces = np.cross(b - a, c - a)
        total = np.zeros((self._count, 3), dtype=np.float32)
        if len(self._starts):
            total[self._used] = np.add.reduceat(faces[self._faces], self._starts, axis=0)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return np.where(length > _NO_LENGTH, total / np.maximum(length, _NO_LENGTH), np.array([0.0, 0.0, 1.0])).astype(
            np.float32
        )
