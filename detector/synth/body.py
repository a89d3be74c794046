"""An adult body from a phenotype and a pose, in NumPy alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import UsageError
from detector.nearest import nearest
from detector.synth.asset import SHAPE_STEP, Asset, read_asset
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.phenotype import Phenotype, macro_weights
from detector.synth.skeleton import joint_transforms, rotation_table, skin

__all__ = ["MIN_HEAD_WIDTHS", "MIN_HEIGHT", "BodyModel", "Shaped"]

Floats = NDArray[np.float32]
_UPRIGHT: NDArray[np.float64] = np.eye(3)
# Metres. An adult below it would be rare, and could be taken for a child.
MIN_HEIGHT = 1.40
# How many times as tall as its head is wide, ears left out, a body must be. No combination of the parameters comes
# below 9.96, and none of 1,500 drawn ones below 10.59; a child's head is wider for its height.
MIN_HEAD_WIDTHS = 9.8
_STANDARD = Phenotype(sex=0.3, age=0.75)
# A plain mannequin until a skin is put on.
_SKIN, _LIPS, _AUREOLA, _MOUTH = (0.52, 0.33, 0.24), (0.42, 0.18, 0.15), (0.34, 0.17, 0.13), (0.2, 0.06, 0.06)
_WHITE, _IRIS, _PUPIL = (0.75, 0.73, 0.70), (0.12, 0.07, 0.04), (0.01, 0.01, 0.01)
_GLOSS_SKIN, _GLOSS_EYES = 0.25, 0.9


@dataclass(frozen=True, kw_only=True)
class Shaped:
    """A body at rest: standing, arms a little away from the sides.

    Attributes:
        phenotype: what it was made from.
        vertices: (V0, 3) float32 metres of the base mesh, the soles at z = 0.
        heads: (J, 3) float64 centres of the joints.
        height: metres from soles to crown.
    """

    phenotype: Phenotype
    vertices: Floats
    heads: NDArray[np.float64]
    height: float


class BodyModel:
    """The body asset, ready for use; read-only, so threads and forked processes may share one.

    Args:
        asset: as from `read_asset`; `BodyModel.load()` is the usual way.
    """

    def __init__(self, asset: Asset) -> None:
        self._asset = asset
        self._count = len(asset.weights)
        self._rows = {name: row for row, name in enumerate(asset.local_names)}
        # Female bodies have no male anatomy: those vertices are used by no triangle, and all lie at the mean of these.
        self._crotch = asset.regions["genitalia"] & asset.regions["body"]
        self._skull = asset.regions["head"] & asset.regions["body"] & ~asset.regions["ears"]

    @classmethod
    def load(cls) -> "BodyModel":
        """Return the model of the asset in `weights/`; read once in each process.

        Raises:
            ModelError: when the asset is missing or damaged.
        """
        return _load()

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of the joints, parents first; `.L` is the body's left."""
        return self._asset.joints

    @property
    def parents(self) -> NDArray[np.int16]:
        """(J,) rows, -1 for the root."""
        return self._asset.parents

    @property
    def local_names(self) -> tuple[str, ...]:
        """Local changes that `Phenotype.local` may name."""
        return self._asset.local_names

    @property
    def regions(self) -> Mapping[str, NDArray[np.bool_]]:
        """(V0,) bool by name: vertex groups of the base mesh."""
        return self._asset.regions

    @property
    def masks(self) -> Mapping[str, Floats]:
        """(V,) float32 in [0, 1] by name: where skin is tinted, at the split vertices."""
        return self._asset.masks

    @property
    def source(self) -> NDArray[np.int32]:
        """(V,) base vertex (0 to V0 - 1) of each split vertex; the same for every body."""
        return self._asset.source

    @cached_property
    def rest(self) -> Floats:
        """(V, 3) float32: the standard body at rest, at the split vertices, male anatomy in its place."""
        points = self._points(_STANDARD)[: self._count]
        points[:, 2] -= points[self.regions["body"], 2].min()
        rest: Floats = points[self.source].astype(np.float32)
        return rest

    def triangles(self, *, male: bool) -> NDArray[np.int32]:
        """Return (T, 3) int32 over the split vertices, with or without male external anatomy."""
        return self._triangles[male]

    @cached_property
    def _triangles(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        parts = [self._asset.body, self._asset.eyes]
        return _halved(np.concatenate(parts), self._at_rest), _halved(
            np.concatenate([*parts, self._asset.male]), self._at_rest
        )

    @cached_property
    def _at_rest(self) -> Floats:
        return self._asset.template[self.source]

    @cached_property
    def _normals(self) -> tuple[NormalMaker, NormalMaker]:
        # Over base vertices, so that light runs smoothly across a texture seam.
        female, male = (NormalMaker(self.source[triangles], self._count) for triangles in self._triangles)
        return female, male

    @cached_property
    def _albedo(self) -> Floats:
        albedo = np.tile(np.array(_SKIN), (len(self.source), 1))
        for name, colour in (("lips", _LIPS), ("aureola", _AUREOLA), ("inside_mouth", _MOUTH)):
            share = self.masks[name][:, None]
            albedo = albedo * (1 - share) + np.array(colour) * share
        for name, colour in (("eyes", _WHITE), ("iris", _IRIS), ("pupil", _PUPIL)):
            albedo[self.regions[name][self.source]] = colour
        return albedo.astype(np.float32)

    def _points(self, phenotype: Phenotype) -> NDArray[np.float64]:
        """Return (V0 + J, 3) vertices and joint centres before they are checked and set on the ground."""
        weights = macro_weights(phenotype, self._asset.macro_names)
        points = self._asset.template.astype(np.float64)
        used = np.flatnonzero(weights)
        points += SHAPE_STEP * np.tensordot(
            weights[used].astype(np.float32), self._asset.macro[used].astype(np.float32), 1
        )
        for name, value in phenotype.local.items():
            if name not in self._rows:
                raise UsageError(f"there is no local change {name!r}{nearest(name, self._rows)}")
            side = self._asset.local[self._rows[name], 0 if value >= 0 else 1]
            points += (abs(value) * SHAPE_STEP) * side
        return points

    def shape(self, phenotype: Phenotype) -> Shaped:
        """Return the body of a phenotype at rest.

        Raises:
            UsageError: for an unknown local change, or a body that an adult would not have: shorter than `MIN_HEIGHT`,
                its head wider than `MIN_HEAD_WIDTHS` allows, or without measures at all.
        """
        points = self._points(phenotype)
        lowest, height = self._check_adult(points)
        points[:, 2] -= lowest
        vertices = points[: self._count].astype(np.float32)
        if not phenotype.male:
            vertices[self.regions["male_anatomy"]] = vertices[self._crotch].mean(axis=0)
        return Shaped(phenotype=phenotype, vertices=vertices, heads=points[self._count :], height=height)

    def _check_adult(self, points: NDArray[np.float64]) -> tuple[float, float]:
        """Return the lowest z and the height of (V0 + J, 3) points; refuse the measures of a child."""
        body = points[: self._count][self.regions["body"], 2]
        height = float(np.ptp(body))
        # Written so that NaN is refused too.
        if not MIN_HEIGHT <= height < math.inf:
            raise UsageError(
                f"mannequins are adults only: a body must be at least {MIN_HEIGHT:.3f} m tall; this one would be "
                f"{height:.3f} m; raise height or lower the local changes"
            )
        widths = height / float(np.ptp(points[: self._count][self._skull, 0]))
        if not MIN_HEAD_WIDTHS <= widths < math.inf:
            raise UsageError(
                f"mannequins are adults only: a body must be at least {MIN_HEAD_WIDTHS} times as tall as its head is "
                f"wide; this one would be {widths:.2f} times; restore the body asset from the checkout"
            )
        return float(body.min()), height

    def pose(self, shaped: Shaped, rotations: Mapping[str, ArrayLike], root: ArrayLike = _UPRIGHT) -> Mesh:
        """Return the body in a pose, as a mesh.

        A joint turns about its centre in the axes of the rest pose (x to the body's left, y to its back, z up), and
        carries everything below it along. So `upperarm01.L: (0, a, 0)` with a > 0 lowers the left arm towards the
        side and a < 0 raises it; `upperleg01.L: (-pi/2, 0, 0)` lifts the left thigh to the front.

        Args:
            shaped: as from `shape`.
            rotations: (3,) axis times angle in radians, by joint; joints that are not named stay at rest.
            root: (3, 3) rotation of the whole body about the root joint, which stays in its place: a lying or jumping
                body has to be set on the ground with `Mesh.moved`.

        Raises:
            UsageError: for an unknown joint or a malformed rotation.
        """
        turns = rotation_table(self.joints, rotations)
        maps = joint_transforms(shaped.heads, self.parents, turns, root)
        vertices = skin(shaped.vertices, self._asset.weights, maps)
        male = shaped.phenotype.male
        normals = self._normals[male](vertices)
        count = len(self.source)
        eyes = self.regions["eyes"][self.source]
        return Mesh(
            kind="body",
            vertices=vertices[self.source],
            triangles=self.triangles(male=male),
            normals=normals[self.source],
            rest=self.rest,
            uv=self._asset.uv,
            albedo=self._albedo,
            opacity=np.ones(count, dtype=np.float32),
            gloss=np.where(eyes, np.float32(_GLOSS_EYES), np.float32(_GLOSS_SKIN)),
        )


@lru_cache(maxsize=1)
def _load() -> BodyModel:
    return BodyModel(read_asset())


def _halved(quads: NDArray[np.int32], vertices: Floats) -> NDArray[np.int32]:
    """Cut each quad along its shorter diagonal."""
    first = np.linalg.norm(vertices[quads[:, 0]] - vertices[quads[:, 2]], axis=1)
    second = np.linalg.norm(vertices[quads[:, 1]] - vertices[quads[:, 3]], axis=1)
    turned = np.where((first <= second)[:, None], quads, np.roll(quads, -1, axis=1))
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]]).astype(np.int32)
