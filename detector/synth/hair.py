"""Hair of the head and beards, as meshes: crops, bobs, long hair, buns, tails, curls, or none; for either sex."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel, Shaped
from detector.synth.cloth_cuts import Cut
from detector.synth.cloth_shell import Fit, Sheet, shell
from detector.synth.mesh import Mesh, NormalMaker
from detector.synth.skin_texture import HAIR_COLOURS
from detector.synth.solids import ellipsoid, grid_triangles
from detector.synth.surface import SurfaceNoise

__all__ = ["HAIR_STYLES", "make_hair", "sample_hair"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
# By name, how often. Sex only shifts beards: a style says nothing of it.
HAIR_STYLES = {
    "bald": 1.0,
    "crop": 2.0,
    "receding": 0.7,
    "thick": 1.5,
    "curls": 1.5,
    "bob": 2.0,
    "long": 2.5,
    "long, in front": 1.5,
    "bun": 1.2,
    "tail": 1.2,
}
_HANGING = {"bob": (0.10, 0.2), "long": (0.25, 0.55), "long, in front": (0.3, 0.5)}
_BEARD_MALE, _BEARD_FEMALE = 0.35, 0.01
# Where the head of the standard body lies: front and back, eyes and crown, metres.
_FACE, _BACK, _EYES, _CROWN = -0.175, 0.045, 1.681, 1.794


def sample_hair(rng: np.random.Generator, body: BodyModel, shaped: Shaped, mesh: Mesh) -> list[Mesh]:
    """Draw hair and maybe a beard; an empty list for a bald head.

    Args:
        rng: draws all.
        body: the model that posed `mesh`.
        shaped: the body that was posed.
        mesh: the posed body.
    """
    names, weights = list(HAIR_STYLES), np.array(list(HAIR_STYLES.values()))
    style = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    dark = float(np.median(mesh.albedo)) < 0.12
    colour = np.array(HAIR_COLOURS[int(rng.integers(3 if dark else len(HAIR_COLOURS)))])
    if rng.random() < 0.06:
        colour = rng.uniform(0, 0.6, 3)
    sheets = make_hair(style, rng, body, shaped, mesh)
    if rng.random() < (_BEARD_MALE if shaped.phenotype.male else _BEARD_FEMALE):
        fit = Fit(gap=rng.uniform(0.002, 0.008), bridging=0.0, wrinkles=rng.uniform(0.0005, 0.003), fold=0.02, levels=1)
        sheets.append(shell(body, mesh, _beard_cut(rng.uniform(1.545, 1.57)), fit, rng))
    return [_hair_mesh(sheet, colour * rng.uniform(0.8, 1.2), rng) for sheet in sheets if len(sheet.triangles)]


def make_hair(style: str, rng: np.random.Generator, body: BodyModel, shaped: Shaped, mesh: Mesh) -> list[Sheet]:
    """Return the pieces of one of `HAIR_STYLES`; arguments as in `sample_hair`."""
    if style == "bald":
        return []
    gap = {"crop": (0.003, 0.01), "receding": (0.003, 0.01), "thick": (0.015, 0.035), "curls": (0.03, 0.08)}
    low, high = gap.get(style, (0.008, 0.018))
    curly = style == "curls"
    fit = Fit(
        gap=rng.uniform(low, high),
        bridging=0.5,
        wrinkles=rng.uniform(0.004, 0.012) if curly else rng.uniform(0.001, 0.003),
        fold=rng.uniform(0.02, 0.04),
        levels=2,
    )
    receding = rng.uniform(0.02, 0.06) if style == "receding" else rng.uniform(-0.008, 0.012)
    sheets = [shell(body, mesh, _scalp_cut(receding), fit, rng)]
    wearer = _Wearer.of(body, shaped, mesh)
    if style in _HANGING:
        length = rng.uniform(*_HANGING[style])
        sheets.append(_curtain(rng, wearer, length, fit.gap))
        if style == "long, in front":
            sheets += [_lock(rng, wearer, length, side) for side in (-1.0, 1.0)]
    if style in ("bun", "tail"):
        sheets += _knot(rng, wearer, tail=style == "tail")
    return sheets


@dataclass(frozen=True, kw_only=True)
class _Wearer:
    """What hair hangs from and on, at rest, and where the pose takes it.

    Attributes:
        skull, trunk, arms: (N, 3) vertices under the hair, of torso and neck, and of the upper arms.
        head, chest: rotation and shift, see `_rigid`.
    """

    skull: Floats
    trunk: Floats
    arms: Floats
    head: tuple[Doubles, Doubles]
    chest: tuple[Doubles, Doubles]

    @classmethod
    def of(cls, body: BodyModel, shaped: Shaped, mesh: Mesh) -> "_Wearer":
        """Return it for a posed body."""
        regions, points = body.regions, shaped.vertices
        return cls(
            skull=points[regions["scalp"]],
            trunk=points[regions["torso"] | regions["neck"]],
            arms=points[regions["upper_arms"]],
            head=_rigid(shaped, mesh, body, regions["head"] & regions["body"]),
            chest=_rigid(shaped, mesh, body, regions["torso"] & (points[:, 2] > 0.72 * shaped.height)),
        )

    def carried(self, points: Doubles, share: Doubles) -> Floats:
        """Move rest points with the head where `share` is 0 and with the chest where it is 1."""
        first, second = (points @ turn.T + shift for turn, shift in (self.head, self.chest))
        moved: Floats = (first * (1 - share[:, None]) + second * share[:, None]).astype(np.float32)
        return moved


def _scalp_cut(receding: float) -> Cut:
    def cut(rest: Floats) -> Floats:
        x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
        depth = np.clip((y - _FACE) / (_BACK - _FACE), 0, 1)
        share = np.interp(depth, [0.0, 0.2, 0.45, 0.55, 0.7, 1.0], [0.6, 0.55, 0.2, 0.05, -0.45, -0.7])
        line = _EYES + (_CROWN - _EYES) * share + receding * (1 - depth) * 1.5
        # Ears stay free; they are the widest part of the head.
        ears = np.where((depth > 0.42) & (depth < 0.68) & (z < 1.692), 0.074 - x, 1.0)
        return np.asarray(np.minimum.reduce([z - line, ears, z - 1.56]), dtype=np.float32)

    return cut


def _beard_cut(low: float) -> Cut:
    def cut(rest: Floats) -> Floats:
        x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
        mouth = 0.02 * (np.hypot(x / 0.031, (z - 1.609) / 0.015) - 1)
        cheek = np.interp(x, [0.0, 0.02, 0.06], [1.626, 1.628, 1.655])
        return np.asarray(np.minimum.reduce([mouth, cheek - z, z - low, -0.075 - y, 0.075 - x]), dtype=np.float32)

    return cut


def _rigid(shaped: Shaped, mesh: Mesh, body: BodyModel, region: NDArray[np.bool_]) -> tuple[Doubles, Doubles]:
    """Return rotation and shift that best take a region from rest to the pose (Kabsch's solution)."""
    rows = np.flatnonzero(region[body.source])
    before = shaped.vertices[body.source[rows]].astype(np.float64)
    after = mesh.vertices[rows].astype(np.float64)
    u, _, v = np.linalg.svd((after - after.mean(axis=0)).T @ (before - before.mean(axis=0)))
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    return turn, after.mean(axis=0) - turn @ before.mean(axis=0)


def _curtain(rng: np.random.Generator, wearer: _Wearer, length: float, gap: float) -> Sheet:
    """Return hair that hangs at the sides and the back of the head, outside the neck and the back."""
    skull, trunk = wearer.skull, np.concatenate([wearer.trunk, wearer.arms])
    low, high = skull.min(axis=0), skull.max(axis=0)
    middle = (low + high) / 2
    across, deep = (high[0] - low[0]) / 2 + gap, high[1] - middle[1] + gap
    columns, rows = 41, 18
    # 0 is the back of the head; the face stays free.
    opening = rng.uniform(1.75, 2.05)
    angles = np.linspace(-opening, opening, columns)
    start = middle[2] + 0.03
    heights = np.linspace(start, low[2] - length + 0.03, rows)
    layers = []
    waves = np.cos(angles * rng.integers(6, 14) + rng.uniform(0, 6))
    narrow = rng.uniform(0.75, 1.05)
    for height in heights:
        below = float(np.clip((start - height) / 0.12, 0, 1))
        wide, back = across * (1 + (narrow - 1) * below), deep
        ring = trunk[np.abs(trunk[:, 2] - height) < 0.02]
        if len(ring):
            inner = ring[np.abs(ring[:, 0]) < across + 0.03]
            if len(inner):
                back = max(back, float(inner[:, 1].max()) - middle[1] + 0.014)
        hem = 0.004 * waves * below
        y = np.where(np.cos(angles) > 0, back, across * 0.8) * np.cos(angles)
        layers.append(np.stack([(wide + hem) * np.sin(angles), middle[1] + y + hem, np.full(columns, height)], axis=1))
    points = np.concatenate(layers)
    # Shoulders: what would lie inside the trunk is moved behind it.
    points = _behind(points, trunk)
    share = np.clip((start - 0.08 - points[:, 2]) / 0.2, 0, 1)
    return Sheet(
        wearer.carried(points, share),
        points.astype(np.float32),
        grid_triangles(rows, columns, closed=False)[:, ::-1].copy(),
    )


def _behind(points: Doubles, trunk: Floats) -> Doubles:
    moved = points.copy()
    for row in range(len(points)):
        near = trunk[(np.abs(trunk[:, 0] - points[row, 0]) < 0.025) & (np.abs(trunk[:, 2] - points[row, 2]) < 0.025)]
        if len(near):
            moved[row, 1] = max(points[row, 1], float(near[:, 1].max()) + 0.012)
    return moved


def _lock(rng: np.random.Generator, wearer: _Wearer, length: float, side: float) -> Sheet:
    """Return a lock that falls over a shoulder in front of the chest."""
    skull, trunk = wearer.skull, wearer.trunk
    rows, columns = 22, 7
    middle = (skull.min(axis=0) + skull.max(axis=0)) / 2
    heights = np.linspace(middle[2] + 0.03, skull[:, 2].min() - length, rows)
    half = rng.uniform(0.02, 0.045)
    top = float(np.abs(skull[:, 0]).max()) + 0.008
    points = []
    foremost = middle[1] - 0.02
    for height in heights:
        fallen = float(np.clip((heights[0] - height) / 0.25, 0, 1))
        x0 = side * (top + (0.085 - top) * fallen)
        near = trunk[(np.abs(trunk[:, 0] - x0) < 0.04) & (np.abs(trunk[:, 2] - height) < 0.03)]
        surface = float(near[:, 1].min()) - 0.014 if len(near) else foremost
        foremost = min(foremost + 0.01, surface)
        spread = np.linspace(-1, 1, columns)
        width = half * (0.6 + 0.4 * fallen)
        bulge = 0.012 * spread**2
        points.append(np.stack([x0 + width * spread, foremost + bulge, np.full(columns, height)], axis=1))
    flat = np.concatenate(points)
    share = np.clip((heights[0] - 0.08 - flat[:, 2]) / 0.15, 0, 1)
    triangles = grid_triangles(rows, columns, closed=False)
    return Sheet(wearer.carried(flat, share), flat.astype(np.float32), triangles)


def _knot(rng: np.random.Generator, wearer: _Wearer, *, tail: bool) -> list[Sheet]:
    """Return a bun, or a tail that starts at one."""
    skull = wearer.skull
    middle, high = skull.mean(axis=0), skull.max(axis=0)
    rise = rng.uniform(-0.3, 1.3)
    reach = np.array([0, high[1] - middle[1], 0]) * np.cos(rise) + np.array([0, 0, high[2] - middle[2]]) * np.sin(rise)
    size = rng.uniform(0.018, 0.024) if tail else rng.uniform(0.028, 0.05)
    centre = middle + reach * (1 + 0.6 * size / np.linalg.norm(reach))
    ball = ellipsoid((size, size, 0.85 * size), centre, 12, 16)
    sheets = [(ball.vertices, ball.triangles)]
    if tail:
        length, steps, sides = rng.uniform(0.15, 0.4), 12, 10
        angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        rings = []
        for step in np.linspace(0, 1, steps):
            out = 0.05 * np.sin(np.pi * min(step * 1.6, 1)) + 0.035
            thick = 0.022 * (0.7 + 0.9 * step - 1.5 * step**3)
            place = centre + np.array([0, out * min(step * 4, 1), -length * step])
            rings.append(place + thick * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
        sheets.append((np.concatenate(rings), grid_triangles(steps, sides, closed=True)))
    turn, shift = wearer.head
    return [
        Sheet((points @ turn.T + shift).astype(np.float32), points.astype(np.float32), triangles)
        for points, triangles in sheets
    ]


def _hair_mesh(sheet: Sheet, colour: NDArray[np.floating], rng: np.random.Generator) -> Mesh:
    """Give hair strands of light and dark that run downwards."""
    count = len(sheet.vertices)
    strands = SurfaceNoise(rng, 0.012)(sheet.rest * np.array([1, 1, 0.15], dtype=np.float32))
    light = np.clip(1 + 0.3 * strands + 0.12 * rng.normal(0, 1, count), 0.3, 2)
    normals = NormalMaker(sheet.triangles, count)(sheet.vertices)
    rough = normals + 0.18 * rng.normal(0, 1, (count, 3))
    rough /= np.linalg.norm(rough, axis=1, keepdims=True)
    return Mesh(
        kind="hair",
        vertices=sheet.vertices.astype(np.float32),
        triangles=sheet.triangles,
        normals=rough.astype(np.float32),
        rest=sheet.rest.astype(np.float32),
        uv=np.zeros((count, 2), dtype=np.float32),
        albedo=np.clip(colour * light[:, None], 0, 1).astype(np.float32),
        opacity=np.ones(count, dtype=np.float32),
        gloss=np.full(count, rng.uniform(0.1, 0.5), dtype=np.float32),
    )
