"""Where clothes lie on the body: signed distances over the body at rest, positive under the cloth."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Cut",
    "all_of",
    "any_of",
    "bandeau",
    "bra",
    "briefs",
    "cups",
    "legs",
    "one_piece",
    "open_front",
    "swimwear_cut",
    "tank",
    "thong",
    "top",
    "trunk",
]

Floats = NDArray[np.float32]
# Takes (N, 3) points of `Surface.rest`, gives (N,) metres, positive where there is cloth.
Cut = Callable[[Floats], Floats]
# All lengths below are metres on the chart of `Surface.rest`, which is 1.794 m tall: the middle of a breast from the
# midline and from the ground, the shoulder joint, and the middle of the neck.
_BREAST = (0.088, 1.300)
_SHOULDER = (0.17, 1.46)
_NECK = (-0.03, 1.545)
# Between front (-1) and back (1) at the hips.
_FRONT, _BACK = -0.09, 0.03


def all_of(*cuts: Cut) -> Cut:
    """Return the intersection."""
    return lambda rest: _metres(np.minimum.reduce([cut(rest) for cut in cuts]))


def any_of(*cuts: Cut) -> Cut:
    """Return the union."""
    return lambda rest: _metres(np.maximum.reduce([cut(rest) for cut in cuts]))


def _metres(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _hole(z: Floats) -> Floats:
    """Distance from the midline at which the trunk ends and the arm begins."""
    return _metres(np.interp(z, [1.1, 1.2, 1.5], [0.26, 0.195, 0.168]))


def _backward(rest: Floats) -> Floats:
    return _metres(np.clip((rest[:, 1] - _FRONT) / (_BACK - _FRONT), 0, 1))


def trunk(low: float, high: float) -> Cut:
    """Return the trunk and legs from `low` to `high`, without arms."""

    def cut(rest: Floats) -> Floats:
        x, z = np.abs(rest[:, 0]), rest[:, 2]
        return _metres(np.minimum(np.minimum(z - low, high - z), _hole(z) - x))

    return cut


def top(hem: float, sleeve: float, neck: float, scoop: float) -> Cut:
    """Return a shirt: down to `hem`, `sleeve` along the arm from the shoulder, a neck hole and how deep it goes."""

    def cut(rest: Floats) -> Floats:
        x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
        along = (x - _SHOULDER[0]) * 0.69 + (_SHOULDER[1] - z) * 0.72
        arm = np.maximum(_hole(z) - x, sleeve - along)
        collar = np.minimum(np.hypot(x, z - _NECK[1]) - neck, _NECK[1] - 0.01 - z)
        front = y < -0.06
        neckline = np.where(front, np.maximum(1.50 - scoop + 0.8 * np.maximum(x - 0.03, 0) - z, x - 0.105), 1.0)
        # On the trunk below the hem and on the arm alike: an arm hangs lower than a short shirt.
        below = np.where(x > _hole(z), 1.0, z - hem)
        return _metres(np.minimum.reduce([arm, collar, neckline, below]))

    return cut


def tank(hem: float, strap: float, scoop: float) -> Cut:
    """Return a sleeveless top with straps of width `strap` and a neckline `scoop` below the shoulders."""

    def cut(rest: Floats) -> Floats:
        x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
        chest = np.minimum(1.50 - scoop * np.where(y < -0.06, 1.0, 0.8) - z, _hole(z) - x)
        straps = np.minimum(strap / 2 - np.abs(x - 0.105), z - 1.3)
        return _metres(np.minimum(np.maximum(chest, straps), z - hem))

    return cut


def briefs(waist: float, front_rise: float, back_rise: float) -> Cut:
    """Return underpants up to `waist`; the leg opening rises by `*_rise` for each metre sideways."""

    def cut(rest: Floats) -> Floats:
        x, z = np.abs(rest[:, 0]), rest[:, 2]
        rise = front_rise + (back_rise - front_rise) * _backward(rest)
        leg = z - 0.785 - rise * np.maximum(x - 0.025, 0)
        return _metres(np.minimum.reduce([leg, waist - z, 0.24 - x]))

    return cut


def thong(waist: float, front_rise: float) -> Cut:
    """Return underpants that leave the buttocks bare: a wedge at the back and a band at the waist."""
    cover = briefs(waist, front_rise, front_rise)

    def cut(rest: Floats) -> Floats:
        x, z = np.abs(rest[:, 0]), rest[:, 2]
        back = _backward(rest)
        wedge = 0.016 + 0.35 * np.maximum(z - waist + 0.07, 0) - x
        belt = np.minimum(0.015 - np.abs(z - waist + 0.015), 0.24 - x)
        return _metres(np.maximum(np.where(back > 0.5, np.minimum(wedge, cover(rest)), cover(rest)), belt))

    return cut


def cups(radius: float, pointed: float) -> Cut:
    """Return two cups over the breasts, round (0) to triangular (1)."""

    def cut(rest: Floats) -> Floats:
        x, y, z = np.abs(rest[:, 0]) - _BREAST[0], rest[:, 1], rest[:, 2] - _BREAST[1]
        round_cup = radius - np.hypot(x, z)
        sharp = np.minimum(z + radius, 0.62 * (0.95 * radius - z) - np.abs(x))
        shape = (1 - pointed) * round_cup + pointed * sharp
        return _metres(np.where(y < -0.04, shape, -1.0))

    return cut


def bandeau(low: float, high: float) -> Cut:
    """Return a band around the chest."""
    return trunk(low, high)


def bra(radius: float, pointed: float, belt: float, straps: float) -> Cut:
    """Return cups on a belt of width `belt`, with shoulder straps of width `straps` (0 for none)."""
    over = cups(radius, pointed)

    def cut(rest: Floats) -> Floats:
        x, z = np.abs(rest[:, 0]), rest[:, 2]
        around = np.minimum(belt / 2 - np.abs(z - (_BREAST[1] - 0.85 * radius)), _hole(z) - x)
        strap = np.minimum(straps / 2 - np.abs(x - 0.098), z - 1.29)
        return _metres(np.maximum.reduce([over(rest), around, strap]))

    return cut


def one_piece(scoop: float, rise: float, strap: float) -> Cut:
    """Return a swimsuit."""
    return all_of(tank(0.0, strap, scoop), briefs(2.0, rise, 0.55 * rise))


def legs(hem: float, waist: float) -> Cut:
    """Return shorts or trousers from `waist` down to `hem`."""
    return lambda rest: _metres(np.minimum.reduce([rest[:, 2] - hem, waist - rest[:, 2], 0.27 - np.abs(rest[:, 0])]))


def open_front(width: float) -> Cut:
    """Return everything but a gap down the front: for shirts and robes worn open."""

    def cut(rest: Floats) -> Floats:
        x, y = np.abs(rest[:, 0]), rest[:, 1]
        return _metres(np.where(y < -0.03, x - width / 2, 1.0))

    return cut


def swimwear_cut(rng: np.random.Generator, rest: Floats, male: bool) -> Floats:
    """Return (N,) metres into a drawn swimsuit, for tan lines."""
    bottom = briefs(rng.uniform(0.94, 1.03), rng.uniform(0.4, 1.3), rng.uniform(0.2, 0.9))
    trunks = legs(rng.uniform(0.6, 0.76), rng.uniform(0.97, 1.05))
    whole = bottom if rng.random() < 0.5 else trunks
    if not male:
        bikini = any_of(bottom, bra(rng.uniform(0.06, 0.09), rng.uniform(0, 1), 0.02, 0.015))
        whole = bikini if rng.random() < 0.7 else one_piece(rng.uniform(0.1, 0.2), rng.uniform(0.5, 1.2), 0.04)
    return whole(rest)
