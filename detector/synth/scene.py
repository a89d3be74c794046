"""One scene: who and what is there, in which light, before what, and how it is photographed."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.synth.arrangement import Cast, pick, sample_in_between
from detector.synth.backgrounds import BACKGROUNDS, background
from detector.synth.body import BodyModel
from detector.synth.camera import Camera, frame_on
from detector.synth.develop import Development, sample_development
from detector.synth.lights import Light, sample_lights
from detector.synth.mesh import Mesh
from detector.synth.people import Person
from detector.synth.regions import PARTS, read_regions
from detector.synth.settings import SceneSettings
from detector.synth.withheld import kinds_shown

__all__ = ["VIEWS", "Scene"]

VIEWS = ("whole", "half", "torso", "part")
# A frame is set around some of the vertices: all of them would take longer and end within a finger's breadth.
_EVERY, _EVERY_CHOSEN = 9, 4
# Times at most that a camera which stands inside somebody is drawn anew: from there parts are seen from within.
_TRIES = 8
# Metres: nothing inside a body is farther from its skin.
_DEEPEST = 0.3


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that `render` and `develop` need for one picture.

    Attributes:
        meshes: everything solid; may be empty.
        bodies: row of each body, and whether it is male.
        covered: by the same rows, names of the parts under clothes.
        skin_like: by the same rows, rows of clothes that look like skin once the picture is developed.
        camera, lights: see there.
        background: (H, W, 3) float32 linear RGB.
        development: from light to the finished picture.
        parameters: what was drawn, JSON-ready.
    """

    meshes: Sequence[Mesh]
    bodies: Mapping[int, bool]
    covered: Mapping[int, frozenset[str]]
    skin_like: Mapping[int, frozenset[int]]
    camera: Camera
    lights: Sequence[Light]
    background: NDArray[np.float32]
    development: Development
    parameters: dict[str, Any]

    @classmethod
    def sample(
        cls, rng: np.random.Generator, settings: SceneSettings | None = None, cast: Cast | None = None
    ) -> "Scene":
        """Draw a scene.

        Args:
            rng: draws all.
            settings: shares and size; None takes the defaults.
            cast: who and what is there; None draws it too.
        """
        settings = SceneSettings() if settings is None else settings
        cast = Cast.sample(rng, settings) if cast is None else cast
        persons, objects = cast.persons, list(cast.objects)
        starts = np.cumsum([0, *(len(person.meshes) for person in persons)])
        rows = {int(start): person for start, person in zip(starts, persons, strict=False)}
        camera, view = _camera(rng, persons, objects, settings)
        for _ in range(_TRIES):
            if not any(_is_inside(camera.position, person.body) for person in persons):
                break
            camera, view = _camera(rng, persons, objects, settings)
        if persons and rng.random() < settings.occluded:
            objects.append(sample_in_between(rng, camera))
        lights = sample_lights(rng, camera, kinds=settings.kinds)
        kind = _background_kind(rng, settings.kinds, empty=not persons)
        development = sample_development(rng)
        parameters = {
            "persons": [person.parameters for person in persons],
            "objects": len(objects),
            "view": view,
            "camera": _rounded(dataclasses.asdict(camera)),
            "lights": [light.kind for light in lights],
            "background": kind,
            "development": _rounded(dataclasses.asdict(development)),
        }
        return cls(
            meshes=[*(mesh for person in persons for mesh in person.meshes), *objects],
            bodies={row: person.male for row, person in rows.items()},
            covered={row: person.covered for row, person in rows.items()},
            skin_like={
                row: frozenset(
                    row + place for place in (person.grey_like if development.colourless else person.skin_like)
                )
                for row, person in rows.items()
            },
            camera=camera,
            lights=lights,
            background=background(settings.image_size, rng, kind, kinds=settings.kinds),
            development=development,
            parameters=parameters,
        )


def _background_kind(rng: np.random.Generator, kinds: str, *, empty: bool) -> str:
    """Choose mostly photographs and rooms behind people, all alike without; photographs are withheld one by one."""
    names = sorted({*kinds_shown(sorted(BACKGROUNDS), kinds), "photograph"})
    weights = [1.0 if empty else {"photograph": 4.0, "room": 3.0}.get(name, 1.0) for name in names]
    return names[pick(rng, weights)]


def _camera(
    rng: np.random.Generator, persons: Sequence[Person], objects: Sequence[Mesh], settings: SceneSettings
) -> tuple[Camera, str]:
    """Choose what to look at, from where."""
    if not persons:
        corners = [point for mesh in objects for point in (mesh.vertices.min(axis=0), mesh.vertices.max(axis=0))]
        room = np.array(corners or [[-1, -1, 0], [1, 1, 2]])
        fill = float(rng.uniform(0.5, 1.6))
        return frame_on(room, fill=fill, offset=(0.0, 0.0), rng=rng, image_size=settings.image_size), "empty"
    view = VIEWS[pick(rng, settings.views)]
    person = persons[int(rng.integers(len(persons)))]
    points, fill = _points(rng, view, persons, person)
    azimuth, elevation, roll = _direction(rng, person, settings, near=view == "part")
    shift = np.clip(rng.normal(0, 0.09 if view == "whole" else 0.13, 2), -0.3, 0.3)
    camera = frame_on(
        points,
        fill=fill,
        offset=(float(shift[0]), float(shift[1])),
        rng=rng,
        image_size=settings.image_size,
        azimuth=azimuth,
        elevation=elevation,
        roll=roll,
    )
    return camera, view


def _is_inside(point: tuple[float, float, float], body: Mesh) -> bool:
    """Return whether a point lies below the skin: behind the nearest vertex that a triangle uses."""
    away = np.asarray(point, np.float32) - body.vertices
    squares = np.einsum("ij,ij->i", away, away)
    if squares.min() > _DEEPEST**2:
        return False
    used = np.unique(body.triangles)
    nearest = used[np.argmin(squares[used])]
    return float(away[nearest] @ body.normals[nearest]) < 0


def _points(
    rng: np.random.Generator, view: str, persons: Sequence[Person], person: Person
) -> tuple[NDArray[np.float32], float]:
    """Return what the picture is framed on, and how much of it that fills."""
    if view == "whole":
        used: list[NDArray[np.float32]] = [one.body.vertices[one.body.triangles[::_EVERY, 0]] for one in persons]
        return np.concatenate(used), float(rng.uniform(0.65, 1.05))
    model = BodyModel.load()
    regions = model.regions
    if view == "half":
        upper = rng.random() < 0.6
        other = ("head", "upper_arms") if upper else ("upper_legs", "lower_legs")
        chosen = np.logical_or.reduce([regions[name] for name in ("torso", *other)]) & regions["body"]
        fill = float(rng.uniform(0.7, 1.15))
    elif view == "torso":
        chosen, fill = regions["torso"] & regions["body"], float(rng.uniform(0.6, 1.3))
    else:
        part = PARTS[int(rng.integers(len(PARTS)))]
        chosen = read_regions()[part.region(male=person.male)]
        # Small parts are seen with what is around them.
        fill = float(rng.uniform(0.1, 0.3) if part.name == "genitalia" else rng.uniform(0.25, 0.85))
    return person.body.vertices[np.flatnonzero(chosen[model.source])[::_EVERY_CHOSEN]], fill


def _direction(
    rng: np.random.Generator, person: Person, settings: SceneSettings, *, near: bool
) -> tuple[float, float, float | None]:
    """Return azimuth, elevation and roll: from all sides, most from about the height of the body."""
    side, tilt = rng.random(), rng.random()
    around = float(rng.uniform(-math.pi, math.pi) if side < 0.25 else rng.normal(0 if side < 0.72 else math.pi, 0.55))
    level, above, below = rng.normal(0.03, 0.16), rng.uniform(0.3, 1.45), rng.uniform(-0.6, -0.1)
    high = 0.55 if person.support == "lie" else 0.14
    elevation = float(above if tilt < high else below if tilt > 0.92 and not near else level)
    roll = float(rng.uniform(-math.pi, math.pi))
    return person.heading + around, elevation, roll if rng.random() < settings.turned else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return round(float(value), 4)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
