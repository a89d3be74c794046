"""Rays against triangle meshes on the CPU: first hits, and how much light comes through; Embree does the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.synth.mesh import Mesh

if TYPE_CHECKING:
    from embreex.rtcore_scene import EmbreeScene

__all__ = ["Hits", "Scene"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Hits:
    """Where rays first met a triangle; of a ray that met none, `mesh` and `triangle` are -1 and the rest is unused.

    Attributes:
        mesh: (N,) int32, row of the scene's meshes.
        triangle: (N,) int32, row of that mesh's triangles.
        barycentric: (N, 2) float32 weights of the triangle's second and third corner.
        distance: (N,) float32 in lengths of the ray's direction.
        facing: (N,) bool, whether the outside of the triangle was hit.
    """

    mesh: Ints
    triangle: Ints
    barycentric: Floats
    distance: Floats
    facing: NDArray[np.bool_]


class Scene:
    """Meshes that rays can be sent into; built once for each picture.

    Args:
        meshes: at least one of them with a triangle; clear and half-clear ones let light through by their opacity.

    Raises:
        UsageError: when there is no triangle at all.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        if not any(len(mesh.triangles) for mesh in meshes):
            raise UsageError("a scene needs at least one triangle; got none")
        self.meshes = tuple(meshes)
        # One geometry for all: ids stay right when a mesh is empty, and corners are looked up in one go.
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
        self._vertices = np.concatenate([mesh.vertices for mesh in meshes])
        parts = [mesh.triangles + np.int32(start) for mesh, start in zip(meshes, starts, strict=False)]
        self.corners: Ints = np.concatenate(parts).astype(np.int32)
        counts = [len(mesh.triangles) for mesh in meshes]
        self._first = np.cumsum([0, *counts]).astype(np.int32)
        self._owner = np.repeat(np.arange(len(meshes), dtype=np.int32), counts)
        self._opacity = np.concatenate([mesh.opacity for mesh in meshes])
        self._scene = _embree(self._vertices, self.corners)
        clear = (self._opacity[self.corners] < 1).any(axis=1)
        self._clear = self.corners[clear]
        # Without half-clear triangles, one scene serves both kinds of query.
        self._solid_scene: EmbreeScene | None = self._scene
        self._clear_scene: EmbreeScene | None = None
        if len(self._clear):
            self._clear_scene = _embree(self._vertices, self._clear)
            self._solid_scene = None if clear.all() else _embree(self._vertices, self.corners[~clear])

    def first_hits(self, origins: Floats, directions: Floats) -> Hits:
        """Return where rays from (N, 3) origins along (N, 3) directions first meet a triangle, clear ones included."""
        if not len(origins):
            none = np.zeros(0, np.int32)
            return Hits(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
        found = self._scene.run(_plain(origins), _plain(directions), output=True)
        number = found["primID"]
        hit = number >= 0
        mesh = np.where(hit, self._owner[number], np.int32(-1))
        triangle = np.where(hit, number - self._first[mesh], np.int32(-1))
        facing = np.einsum("ij,ij->i", found["Ng"], directions) < 0
        weights = np.stack([found["u"], found["v"]], axis=1)
        return Hits(mesh.astype(np.int32), triangle.astype(np.int32), weights, found["tfar"], facing)

    def light_through(self, origins: Floats, directions: Floats, distances: Floats) -> Floats:
        """Return (N,) in [0, 1]: how much light comes from `distances` away; 0 behind a solid triangle.

        One half-clear layer takes its opacity away; a second one behind it is not looked for.
        """
        if not len(origins):
            return np.zeros(0, np.float32)
        origins, directions = _plain(origins), _plain(directions)
        light = np.ones(len(origins), np.float32)
        if self._solid_scene is not None:
            blocked = self._solid_scene.run(origins, directions, dists=_plain(distances), query="OCCLUDED")
            light[blocked >= 0] = 0
        if self._clear_scene is not None:
            found = self._clear_scene.run(origins, directions, dists=_plain(distances), output=True)
            rows = np.flatnonzero(found["primID"] >= 0)
            opacity = self._opacity[self._clear[found["primID"][rows]]]
            u, v = found["u"][rows], found["v"][rows]
            light[rows] *= 1 - ((1 - u - v) * opacity[:, 0] + u * opacity[:, 1] + v * opacity[:, 2]).clip(0, 1)
        return light


def _embree(vertices: Floats, triangles: Ints) -> "EmbreeScene":
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, _plain(vertices), np.ascontiguousarray(triangles))
    return scene


def _plain(array: Floats) -> Floats:
    """Embree's wrapper reads rows one after the other, so strides of another kind would be misread."""
    return np.ascontiguousarray(array, dtype=np.float32)
