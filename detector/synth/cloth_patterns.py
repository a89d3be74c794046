"""What cloth looks like: colours, patterns, holes, how much light comes through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.synth.surface import SurfaceNoise, smooth_step

__all__ = ["PATTERNS", "Fabric", "sample_fabric"]

Floats = NDArray[np.float32]
Pattern = Callable[[Floats, np.random.Generator], Floats]
# Shares of cloth that is skin-coloured, black, white, grey; the rest is of any colour.
_SHARES = (0.15, 0.17, 0.17, 0.08)
_SHEER_SHARE, _HALF_SHARE, _LACE_SHARE = 0.05, 0.07, 0.06


def _plain(rest: Floats, rng: np.random.Generator) -> Floats:
    return (0.15 * smooth_step(SurfaceNoise(rng, 0.1)(rest), -2, 2)).astype(np.float32)


def _around(rest: Floats) -> Floats:
    """A length around the body, so that upright stripes run around it evenly."""
    return np.asarray(0.14 * np.arctan2(rest[:, 0], -rest[:, 1] - 0.03), dtype=np.float32)


def _stripes(rest: Floats, rng: np.random.Generator) -> Floats:
    width = rng.uniform(0.02, 0.1)
    way = rest[:, 2] if rng.random() < 0.6 else _around(rest)
    return smooth_step(np.cos(way * 2 * np.pi / width), -0.15, 0.15)


def _checks(rest: Floats, rng: np.random.Generator) -> Floats:
    width = rng.uniform(0.03, 0.1)
    one = smooth_step(np.cos(rest[:, 2] * 2 * np.pi / width), -0.2, 0.2)
    two = smooth_step(np.cos(_around(rest) * 2 * np.pi / width), -0.2, 0.2)
    return 0.5 * (one + two)


def _dots(rest: Floats, rng: np.random.Generator) -> Floats:
    width = rng.uniform(0.03, 0.08)
    wave = np.cos(rest[:, 2] * 2 * np.pi / width) + np.cos(_around(rest) * 2 * np.pi / width)
    return smooth_step(wave, 0.6, 1.0)


def _camouflage(rest: Floats, rng: np.random.Generator) -> Floats:
    size = rng.uniform(0.08, 0.2)
    steps = smooth_step(SurfaceNoise(rng, size)(rest), 0.1, 0.3) + smooth_step(SurfaceNoise(rng, size)(rest), 0.5, 0.7)
    return 0.5 * steps


def _flowers(rest: Floats, rng: np.random.Generator) -> Floats:
    return smooth_step(np.abs(SurfaceNoise(rng, rng.uniform(0.04, 0.1))(rest)), 0.9, 1.3)


def _print(rest: Floats, rng: np.random.Generator) -> Floats:
    """A logo or picture on the chest or a leg."""
    place = np.array([rng.uniform(-0.1, 0.1), -0.14, rng.choice([1.3, 1.25, 0.95, 0.75])], dtype=np.float32)
    size = rng.uniform(0.03, 0.1)
    near = smooth_step(np.abs(rest - place).max(axis=1), size, 0.8 * size)
    return near * (0.4 + 0.6 * smooth_step(SurfaceNoise(rng, 0.05)(rest), 0, 0.2))


def _fade(rest: Floats, rng: np.random.Generator) -> Floats:
    middle = rng.uniform(0.8, 1.3)
    return smooth_step(rest[:, 2], middle - 0.3, middle + 0.3)


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "camouflage": _camouflage,
    "flowers": _flowers,
    "print": _print,
    "fade": _fade,
}


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """A material, to be put on any number of pieces of one garment.

    Attributes:
        first, second: (3,) linear RGB.
        pattern: name in `PATTERNS`.
        seed: of the pattern's places, the same for all pieces.
        opacity: 0 clear to 1 opaque.
        lace: metres from hole to hole; 0 without holes.
        gloss: 0 matte to 1 wet.
    """

    first: Floats
    second: Floats
    pattern: str
    seed: int
    opacity: float
    lace: float
    gloss: float

    def paint(self, rest: Floats) -> tuple[Floats, Floats, Floats]:
        """Return albedo (N, 3), opacity (N,) and gloss (N,) for (N, 3) rest positions."""
        rng = np.random.default_rng(self.seed)
        share = PATTERNS[self.pattern](rest, rng)[:, None]
        albedo = (1 - share) * self.first + share * self.second
        opacity = np.full(len(rest), self.opacity, dtype=np.float32)
        if self.lace:
            opacity = opacity * (0.25 + 0.75 * smooth_step(np.abs(SurfaceNoise(rng, self.lace)(rest)), 0.25, 0.6))
        gloss = np.full(len(rest), self.gloss, dtype=np.float32)
        return np.clip(albedo, 0, 1).astype(np.float32), opacity.astype(np.float32), gloss


def _colour(rng: np.random.Generator, skin: NDArray[np.floating]) -> Floats:
    kind = int(rng.choice(5, p=[*_SHARES, 1 - sum(_SHARES)]))
    if kind == 0:
        colour = skin * rng.uniform(0.8, 1.25) * rng.uniform(0.93, 1.07, 3)
    elif kind == 1:
        colour = np.full(3, rng.uniform(0.005, 0.03))
    elif kind == 2:
        colour = rng.uniform(0.7, 0.85) * rng.uniform(0.95, 1.0, 3)
    elif kind == 3:
        colour = np.full(3, rng.uniform(0.05, 0.5))
    else:
        colour = rng.uniform(0, 1, 3) ** 2 * rng.uniform(0.2, 0.9)
    return np.clip(colour, 0.003, 0.88).astype(np.float32)


def sample_fabric(rng: np.random.Generator, skin: NDArray[np.floating], *, thick: bool = False) -> Fabric:
    """Draw a fabric.

    Args:
        rng: draws all.
        skin: (3,) linear RGB of the wearer's skin, since some cloth is skin-coloured.
        thick: whether it is opaque in any case.
    """
    plain = rng.random() < 0.5
    names = list(PATTERNS)
    kind = rng.random()
    opacity, lace = 1.0, 0.0
    if kind < _SHEER_SHARE:
        opacity = rng.uniform(0.2, 0.5)
    elif kind < _SHEER_SHARE + _HALF_SHARE:
        opacity = rng.uniform(0.5, 0.9)
    elif kind < _SHEER_SHARE + _HALF_SHARE + _LACE_SHARE:
        lace = rng.uniform(0.015, 0.04)
    pattern = "plain" if plain else names[int(rng.integers(len(names)))]
    first, second = _colour(rng, skin), _colour(rng, skin)
    return Fabric(
        first=first,
        second=first * 0.8 if pattern == "plain" else second,
        pattern=pattern,
        seed=int(rng.integers(2**32)),
        opacity=1.0 if thick else float(opacity),
        lace=0.0 if thick else float(lace),
        gloss=float(rng.choice([0.02, 0.1, 0.5], p=[0.6, 0.25, 0.15])),
    )
