"""What skin, hair and clothes need to know of the body's surface: neighbours, rest normals, soft regions, noise."""

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel
from detector.synth.mesh import NormalMaker

__all__ = ["Surface", "SurfaceNoise", "smooth_step"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
_WAVES = 14
# Heights of soles, upper end of the shins and of the thighs, nipples, lips and crown on the chart that clothes, hair
# and skin are laid out on, and half the width of its trunk, metres: so they stay in their places whatever body
# the model holds for its standard.
_LANDMARKS = (0.0, 0.526, 0.967, 1.311, 1.611, 1.794)
_HALF_WIDTH = 0.190


class Surface:
    """The skin of the standard body over base vertices, where texture seams are closed; made once per body model.

    Args:
        body: the model; use `Surface.of`.

    Attributes:
        rest: (V0, 3) float32 metres, the standard body at rest, stretched to a chart 1.794 m tall.
        first: (V0,) a split vertex of each base vertex.
        triangles: (T, 3) over base vertices, without eyes, mouth and male anatomy.
    """

    def __init__(self, body: BodyModel) -> None:
        self.body = body
        self.count = len(body.regions["body"])
        first = np.zeros(self.count, dtype=np.int64)
        first[body.source[::-1]] = np.arange(len(body.source))[::-1]
        # A split vertex for each base vertex; base vertices that no face uses have none and get the first.
        self.first = first
        self.rest: Floats = _charted(body, body.rest[first])
        triangles = body.source[body.triangles(male=False)]
        inner = body.regions["eyes"] | body.regions["mouth_inside"]
        self.triangles: NDArray[np.int32] = triangles[~inner[triangles].any(axis=1)].astype(np.int32)

    @classmethod
    def of(cls, body: BodyModel) -> "Surface":
        """Return the surface of a model; one for each model in a process."""
        return _surface(body)

    @cached_property
    def normals(self) -> Floats:
        """(V0, 3) unit normals of the standard body at rest."""
        return NormalMaker(self.triangles, self.count)(self.rest)

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        pairs = np.concatenate([self.triangles[:, [0, 1]], self.triangles[:, [1, 2]], self.triangles[:, [2, 0]]])
        edges: NDArray[np.int64] = np.unique(np.sort(pairs, axis=1).astype(np.int64), axis=0)
        return edges

    @cached_property
    def edge_length(self) -> Floats:
        """(V0,) metres: mean length of the edges at each vertex at rest; 0 where there are none."""
        a, b = self._edges.T
        length = np.linalg.norm(self.rest[a] - self.rest[b], axis=1)
        total = np.bincount(a, length, self.count) + np.bincount(b, length, self.count)
        degree = np.bincount(a, minlength=self.count) + np.bincount(b, minlength=self.count)
        return np.asarray(total / np.maximum(degree, 1), dtype=np.float32)

    def smooth(self, values: Floats, steps: int) -> Floats:
        """Return (V0, ...) values averaged with their neighbours' `steps` times."""
        a, b = self._edges.T
        degree = np.bincount(np.concatenate([a, b]), minlength=self.count).astype(np.float32)
        columns = values.reshape(self.count, -1).astype(np.float32)
        for _ in range(steps):
            total = [
                np.bincount(a, column[b], self.count) + np.bincount(b, column[a], self.count) for column in columns.T
            ]
            mean = np.stack(total, axis=1) / np.maximum(degree, 1)[:, None]
            columns = np.where(degree[:, None] > 0, 0.5 * columns + 0.5 * mean, columns).astype(np.float32)
        smoothed: Floats = columns.reshape(values.shape)
        return smoothed

    @cached_property
    def soft(self) -> dict[str, Floats]:
        """(V0,) float32 in [0, 1] by name: the regions with soft edges, and palms, soles and knees."""
        regions, z = self.body.regions, self.rest[:, 2]
        masks = dict(regions)
        nails = regions["nails"] & regions["hands"]
        for side in ("left", "right"):
            dorsal = self.normals[nails & regions[f"hands_{side}"]].mean(axis=0)
            masks[f"palm_{side}"] = regions[f"hands_{side}"] & (self.normals @ dorsal < -0.25)
        masks["palms"] = masks["palm_left"] | masks["palm_right"]
        masks["soles"] = regions["feet"] & (self.normals[:, 2] < -0.45)
        masks["armpits"] = regions["armpits"] & (self.normals[:, 2] < -0.15)
        masks["knees"] = (np.abs(z - 0.5) < 0.045) & (self.normals[:, 1] < -0.2)
        masks["nose"] = regions["head"] & (self.rest[:, 1] < -0.15) & (z > 1.62) & (z < 1.67)
        names = ("palms", "soles", "knees", "nose", "lips", "brows", "beard", "scalp", "pubic", "armpits", "genitalia")
        return {name: self.smooth(masks[name].astype(np.float32), 2) for name in names}


def _charted(body: BodyModel, rest: Floats) -> Floats:
    """Return rest positions on the chart: the standard body stretched until its landmarks lie at `_LANDMARKS`."""
    regions, z = body.regions, rest[:, 2]
    found = (
        0.0,
        float(z[regions["lower_legs"]].max()),
        float(z[regions["upper_legs"]].max()),
        float(z[regions["aureola"]].mean()),
        float(z[regions["lips"]].mean()),
        float(z[regions["head"]].max()),
    )
    wide = _HALF_WIDTH / float(np.abs(rest[regions["torso"], 0]).max())
    chart = rest * np.array([wide, wide, 1], dtype=np.float32)
    chart[:, 2] = np.interp(z, found, _LANDMARKS)
    return chart


@lru_cache(maxsize=2)
def _surface(body: BodyModel) -> Surface:
    return Surface(body)


class SurfaceNoise:
    """Smooth noise in space, of mean 0 and deviation about 1, from a few waves in random directions.

    Args:
        rng: draws the waves.
        size: metres from one blotch to the next.
    """

    def __init__(self, rng: np.random.Generator, size: float) -> None:
        direction = rng.normal(0, 1, (_WAVES, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = 2 * np.pi / size * rng.uniform(0.5, 1.8, (_WAVES, 1))
        self._waves = (direction * length).astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)

    def __call__(self, points: Floats) -> Floats:
        """Return (N,) float32 for (N, 3) points."""
        waves = np.cos(points @ self._waves.T + self._phases)
        noise: Floats = waves.sum(axis=1) * np.float32((2 / _WAVES) ** 0.5)
        return noise


def smooth_step(values: NDArray[np.floating], low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high`, and a smooth passage between; `high` may be the lower one."""
    share = np.clip((values - low) / (high - low), 0, 1)
    passage: Floats = (share * share * (3 - 2 * share)).astype(np.float32)
    return passage
