"""Lights of a scene: sun, area, sky and flash, their directions at a point, and drawn sets of them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.synth.camera import Camera
from detector.synth.withheld import kinds_shown

__all__ = ["LIGHT_KINDS", "Light", "sample_lights"]

LIGHT_KINDS = ("area", "flash", "sky", "sun")

Floats = NDArray[np.float32]


# Of the light; the fourth is the test split's alone.
_MOODS = ("daylight", "overcast", "room", "studio", "flash")


@dataclass(frozen=True, kw_only=True)
class Light:
    """One source of light, in linear RGB.

    Attributes:
        kind: "sun" (parallel), "area" and "flash" (from a place, falling off with the square of the distance),
            or "sky" (from all around; no shadow but ambient occlusion).
        direction: (3,) from the scene towards a sun, or towards the bright side of a sky.
        position: (3,) metres, of an area light or a flash.
        colour: (3,) linear RGB.
        intensity: irradiance / pi on a surface that faces it, 1 m from an area light or flash: a white matte surface
            then has this radiance.
        softness: radius in metres of an area light or flash, tangent of the half angle of a sun.
        ground: (3,) linear RGB of the light that a sky gives from below: what the floor throws back.
    """

    kind: str
    direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    position: tuple[float, float, float] = (0.0, 0.0, 3.0)
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity: float = 1.0
    softness: float = 0.0
    ground: tuple[float, float, float] = (0.3, 0.28, 0.26)

    def __post_init__(self) -> None:
        """Refuse an unknown kind or a light that takes light away.

        Raises:
            UsageError: for either.
        """
        if self.kind not in LIGHT_KINDS:
            raise UsageError(f"a light must be one of {', '.join(LIGHT_KINDS)}; got {self.kind!r}")
        if min(*self.colour, *self.ground, self.intensity, self.softness) < 0:
            raise UsageError(f"a light's colours, intensity and softness must not be negative; got {self}")

    @property
    def radiance(self) -> Floats:
        """(3,) colour times intensity."""
        return np.asarray(self.colour, np.float32) * np.float32(self.intensity)

    def towards(self, points: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Floats, Floats]:
        """Return unit directions (N, 3) from (N, 3) points to this light, distances (N,), and falloff (N,).

        With `rng` each goes to another place on the light, for soft shadows; a sun's distance is 1e6.
        """
        count = len(points)
        if self.kind == "sun":
            way = np.broadcast_to(_unit(np.asarray(self.direction, np.float32)[None]), (count, 3))
        else:
            way = np.asarray(self.position, np.float32) - points
        if rng is not None and self.softness > 0:
            # A point in a ball: seen from anywhere it is a round light.
            jitter = rng.standard_normal((count, 3), dtype=np.float32)
            jitter *= (np.cbrt(rng.random((count, 1), dtype=np.float32))) / _length(jitter)
            way = way + jitter * np.float32(self.softness)
        length = _length(way)
        if self.kind == "sun":
            return way / length, np.full(count, 1e6, np.float32), np.ones(count, np.float32)
        distance = length[:, 0]
        falloff = np.asarray(1 / np.square(np.maximum(distance, np.float32(0.05))), np.float32)
        return way / length, distance, falloff


def sample_lights(rng: np.random.Generator, camera: Camera, *, kinds: str = "all") -> list[Light]:
    """Draw a set of lights around the camera's target: daylight, a room, a studio or a flash; all with some sky.

    Args:
        rng: draws all.
        camera: most light comes from its side.
        kinds: which moods: see `detector.synth.withheld`.
    """
    mood = str(rng.choice(kinds_shown(_MOODS, kinds)))
    warm, tint = rng.uniform(-0.12, 0.25), rng.uniform(-0.04, 0.04)
    colour = (1 + warm, 1 + tint, 1 - warm)
    floor = rng.uniform(0.05, 0.5) * np.array([1 + 0.3 * rng.random(), 1.0, 1 - 0.4 * rng.random()])
    target, eye = np.array(camera.target), np.array(camera.position)
    around = math.atan2(*(eye - target)[1::-1])  # the camera's azimuth from +x, so that most light comes from its side

    def place(spread: float, low: float, high: float) -> NDArray[np.float64]:
        angle, rise = around + rng.normal(0, spread), math.radians(rng.uniform(low, high))
        return np.array([math.cos(angle) * math.cos(rise), math.sin(angle) * math.cos(rise), math.sin(rise)])

    sky = {"daylight": 0.35, "overcast": 0.9, "room": 0.35, "studio": 0.2, "flash": 0.12}[mood] * rng.uniform(0.6, 1.6)
    cool = (1 - warm / 2, 1.0, 1 + warm / 2) if mood in ("daylight", "overcast") else colour
    lights = [Light(kind="sky", colour=cool, intensity=sky, ground=_triple(floor), direction=_triple(place(2, 20, 90)))]
    if mood in ("daylight", "overcast"):
        power = rng.uniform(0.5, 1.4) if mood == "daylight" else rng.uniform(0.0, 0.3)
        soft = rng.uniform(0.01, 0.08) if mood == "daylight" else 0.4
        lights.append(
            Light(kind="sun", direction=_triple(place(1.2, 15, 75)), colour=colour, intensity=power, softness=soft)
        )
    if mood in ("room", "studio"):
        for number in range(int(rng.integers(1, 4))):
            distance = rng.uniform(1.2, 4.0)
            where = target + distance * place(1.1, 5 if mood == "studio" else 25, 75)
            power = rng.uniform(0.4, 1.0) * distance**2 / (1 + number)
            lights.append(
                Light(
                    kind="area",
                    position=_triple(where),
                    colour=colour if number == 0 else _triple(rng.uniform(0.75, 1.15, 3)),
                    intensity=power,
                    softness=rng.uniform(0.1, 0.7),
                )
            )
    if mood == "flash" or rng.random() < 0.07:
        distance = float(np.linalg.norm(eye - target))
        where = eye + np.array([*rng.normal(0, 0.03, 2), rng.uniform(0.02, 0.12)])
        power = rng.uniform(0.6, 1.1) * distance**2
        lights.append(Light(kind="flash", position=_triple(where), intensity=power, softness=0.02))
    return lights


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / _length(vectors), np.float32)


def _length(vectors: Floats) -> Floats:
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.asarray(np.maximum(np.sqrt(squares), np.float32(1e-12))[:, None], np.float32)


def _triple(vector: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
