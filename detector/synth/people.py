"""One adult for a scene: a body in a pose, with skin, hair and clothes, standing on the ground."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.synth.body import BodyModel
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.poses import on_ground, sample_pose

__all__ = ["DRESS", "Person", "sample_person"]

# How much a person wears: nothing; something, with some of the six parts bare; something over all of them.
DRESS = ("nude", "partly", "clothed")


@dataclass(frozen=True, kw_only=True)
class Person:
    """A body and what is on it.

    Attributes:
        meshes: the body first, then hair and clothes.
        male: whether the body has male anatomy.
        heading: radians; 0 faces -y, pi / 2 faces +x.
        support: what the pose rests on, see `Pose.support`.
        parameters: JSON-ready.
    """

    meshes: tuple[Mesh, ...]
    male: bool
    heading: float
    support: str
    parameters: dict[str, Any]

    @property
    def body(self) -> Mesh:
        """The body's mesh."""
        return self.meshes[0]

    def moved(self, offset: tuple[float, float, float]) -> "Person":
        """Return the same person elsewhere."""
        return dataclasses.replace(self, meshes=tuple(mesh.moved(offset) for mesh in self.meshes))


def sample_person(rng: np.random.Generator, dress: str, heading: float) -> Person:
    """Draw a person whose feet, or whatever is lowest, are at z = 0, with its middle at x = y = 0.

    Args:
        rng: draws all.
        dress: one of `DRESS`.
        heading: where it faces.
    """
    model = BodyModel.load()
    phenotype = Phenotype.sample(rng, local_names=model.local_names)
    shaped = model.shape(phenotype)
    pose = sample_pose(rng, model, shaped)
    cosine, sine = math.cos(heading), math.sin(heading)
    about_z = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    body = on_ground(model.pose(shaped, pose.rotations, about_z @ pose.root))
    tone = rng.uniform(0.05, 1.0) * np.array([0.85, 0.55, 0.42]) ** rng.uniform(0.7, 1.3)
    body = dataclasses.replace(
        body, albedo=np.clip(body.albedo / body.albedo.mean(axis=0) * tone, 0, 1).astype(np.float32)
    )
    parameters = {
        "phenotype": {field.name: _plain(getattr(phenotype, field.name)) for field in dataclasses.fields(phenotype)},
        "pose": pose.name,
        "dress": dress,
        "heading": round(heading, 4),
        "height_m": round(shaped.height, 4),
    }
    return Person(meshes=(body,), male=phenotype.male, heading=heading, support=pose.support, parameters=parameters)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()}
