"""Where people and objects stand in a scene: apart from each other, or in the way of the camera."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.synth.camera import Camera
from detector.synth.mesh import Mesh
from detector.synth.people import DRESS, Person, sample_person
from detector.synth.props import sample_occluder
from detector.synth.settings import SceneSettings

__all__ = ["Cast", "pick", "sample_group", "sample_in_between", "sample_objects"]

# Share of scenes with people that have objects around them, and of those without that hold any.
_AROUND, _ALONE = 0.2, 0.65
# Metres between the eye and what stands in its way, at least.
_CLEAR = 0.35


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who and what is in a scene, in its place; it may be photographed several times.

    Attributes:
        persons: none, or some who stand apart.
        objects: around them.
    """

    persons: tuple[Person, ...]
    objects: tuple[Mesh, ...]

    @classmethod
    def sample(cls, rng: np.random.Generator, settings: SceneSettings) -> "Cast":
        """Draw one."""
        persons = [] if rng.random() < settings.empty else sample_group(rng, settings)
        return cls(persons=tuple(persons), objects=tuple(sample_objects(rng, persons)))


def pick(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """Draw a row by its share."""
    return int(rng.choice(len(shares), p=np.array(shares) / sum(shares)))


def sample_group(rng: np.random.Generator, settings: SceneSettings) -> list[Person]:
    """Draw persons who face about the same way and stand apart: beside or behind each other, with room between."""
    heading = float(rng.uniform(-math.pi, math.pi))
    persons: list[Person] = []
    low, high = np.zeros(3), np.zeros(3)
    count = 1 + pick(rng, settings.people)
    for number in range(count):
        dress = DRESS[pick(rng, settings.dress)]
        turn = float(rng.normal(0, 0.5)) if number else 0.0
        # Several people stand or sit: nobody lies before or over another in any view.
        person = sample_person(rng, dress, heading + turn, upright=count > 1, kinds=settings.kinds)
        all_points = np.concatenate([mesh.vertices for mesh in person.meshes]).astype(np.float64)
        own_low, own_high = all_points.min(axis=0), all_points.max(axis=0)
        if number:
            gap = float(rng.uniform(0.08, 0.6))
            # Along one of the two plan axes the boxes around them are apart, so nobody touches anybody.
            axis, side = int(rng.integers(2)), 1 if rng.random() < 0.5 else -1
            offset = np.zeros(3)
            offset[axis] = high[axis] + gap - own_low[axis] if side > 0 else low[axis] - gap - own_high[axis]
            offset[1 - axis] = rng.normal(0, 0.3)
            person = person.moved((float(offset[0]), float(offset[1]), 0.0))
            own_low, own_high = own_low + offset, own_high + offset
            low, high = np.minimum(low, own_low), np.maximum(high, own_high)
        else:
            low, high = own_low, own_high
        persons.append(person)
    return persons


def sample_objects(rng: np.random.Generator, persons: Sequence[Person]) -> list[Mesh]:
    """Draw objects that stand around people, or that are all there is; often none."""
    if rng.random() >= (_AROUND if persons else _ALONE):
        return []
    count = int(rng.integers(1, 4 if persons else 7))
    if not persons:
        spots = rng.uniform(-0.7, 0.7, (count, 2))
        return [sample_occluder(rng).moved((float(x), float(y), 0.0)) for x, y in spots]
    points = np.concatenate([mesh.vertices for person in persons for mesh in person.meshes])
    low, high = points.min(axis=0), points.max(axis=0)
    objects = []
    for _ in range(count):
        thing = sample_occluder(rng)
        own_low, own_high = thing.vertices.min(axis=0), thing.vertices.max(axis=0)
        offset = rng.uniform(low - 0.3, high + 0.3)
        axis, gap = int(rng.integers(2)), float(rng.uniform(0.02, 0.8))
        before = rng.random() < 0.5
        offset[axis] = low[axis] - gap - own_high[axis] if before else high[axis] + gap - own_low[axis]
        offset[2] = 0.0
        objects.append(thing.moved(offset))
    return objects


def sample_in_between(rng: np.random.Generator, camera: Camera) -> Mesh:
    """Draw an object on the way from the camera to its target, a little aside of it."""
    thing = sample_occluder(rng)
    eye, target = np.array(camera.position), np.array(camera.target)
    far = float(np.linalg.norm(target - eye))
    share = rng.uniform(0.3, 0.75)
    place = eye + (target - eye) * max(share, min(_CLEAR / max(far, 1e-6), 1.0))
    aside = rng.normal(0, 0.25) * far * share * camera.axes[0]
    high = float(thing.vertices[:, 2].max())
    # Of what is seen from near only its upper end is: let that reach into the picture.
    bottom = min(0.0, place[2] - high * float(rng.uniform(0.4, 1.0))) if rng.random() < 0.7 else 0.0
    bottom = max(bottom, place[2] - high)
    return thing.moved((place[0] + aside[0], place[1] + aside[1], bottom))
