"""One adult for a scene: a body in a pose, with skin, hair and clothes, standing on the ground."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.synth.body import BodyModel, Shaped
from detector.synth.clothes import Garment, sample_outfit
from detector.synth.drawing import LUMINANCE
from detector.synth.hair import sample_hair
from detector.synth.jewellery import sample_jewellery
from detector.synth.labels import SHEER
from detector.synth.mesh import Mesh
from detector.synth.phenotype import Phenotype
from detector.synth.poses import on_ground, sample_pose
from detector.synth.props import before_region, furniture, held_object
from detector.synth.regions import PARTS, Part, read_regions
from detector.synth.skin_texture import dress_skin

__all__ = ["DRESS", "Person", "sample_person"]

# How much a person wears: nothing; something, with some of the six parts bare; something over all of them.
DRESS = ("nude", "partly", "clothed")
# Shares of persons who hold a thing, and who have one right before one of the six parts.
_HOLDING, _HIDING = 0.07, 0.08
# Share of persons who wear jewellery.
_JEWELLED = 0.15
# Cloth passes for skin when so much of it is this near to it, as the logarithm of a channel's ratio; differences in the
# dark do not count.
_SKIN_LIKE, _SKIN_LIKE_SHARE, _DARKEST = 0.35, 0.9, 0.01
# Draws of an outfit at most until it is of the wanted kind; the last one is then worn whatever it is.
_TRIES = 5
# A part is covered when so much of its core is under cloth: a thong leaves buttocks bare, briefs do not.
_CORE_SHARE = {"belly": 0.8, "buttocks": 0.6, "breast_left": 0.7, "breast_right": 0.7, "genitalia": 0.85}


@dataclass(frozen=True, kw_only=True)
class Person:
    """A body and what is on it.

    Attributes:
        meshes: the body first, then hair, clothes, furniture and things before it.
        male: whether the body has male anatomy.
        heading: radians; 0 faces -y, pi / 2 faces +x.
        support: what the pose rests on, see `Pose.support`.
        covered: names of the parts whose core is under cloth.
        skin_like, grey_like: rows of `meshes`: clothes that have the colour of the skin, and those that are as bright.
        parameters: JSON-ready.
    """

    meshes: tuple[Mesh, ...]
    male: bool
    heading: float
    support: str
    covered: frozenset[str]
    skin_like: tuple[int, ...]
    grey_like: tuple[int, ...]
    parameters: dict[str, Any]

    @property
    def body(self) -> Mesh:
        """The body's mesh."""
        return self.meshes[0]

    def moved(self, offset: tuple[float, float, float]) -> "Person":
        """Return the same person elsewhere."""
        return dataclasses.replace(self, meshes=tuple(mesh.moved(offset) for mesh in self.meshes))


def sample_person(
    rng: np.random.Generator, dress: str, heading: float, *, upright: bool = False, kinds: str = "all"
) -> Person:
    """Draw a person whose feet, or whatever is lowest, are at z = 0, with its middle at x = y = 0.

    Args:
        rng: draws all.
        dress: one of `DRESS`.
        heading: where it faces.
        upright: whether it has to stand or sit.
        kinds: of poses.
    """
    model = BodyModel.load()
    phenotype = Phenotype.sample(rng, local_names=model.local_names)
    shaped = model.shape(phenotype)
    pose = sample_pose(rng, model, shaped, kinds=kinds)
    while upright and pose.support not in ("stand", "seat"):
        pose = sample_pose(rng, model, shaped, kinds=kinds)
    cosine, sine = math.cos(heading), math.sin(heading)
    about_z = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    body = on_ground(model.pose(shaped, pose.rotations, about_z @ pose.root))
    body = dress_skin(body, model, phenotype, rng)
    hair = sample_hair(rng, model, shaped, body)
    garments, covered = ([], frozenset[str]()) if dress == "nude" else _outfit(rng, model, shaped, body, dress)
    things, hidden = _things(rng, model, body, pose.support)
    parameters = {
        "phenotype": {field.name: _plain(getattr(phenotype, field.name)) for field in dataclasses.fields(phenotype)},
        "pose": pose.name,
        "dress": dress,
        "garments": [garment.name for garment in garments],
        "covered": sorted(covered),
        "objects": len(things),
        "object_before": hidden,
        "heading": round(heading, 4),
        "height_m": round(shaped.height, 4),
    }
    skin_like, grey_like = (
        tuple(row for row, worn in enumerate(garments, 1 + len(hair)) if _is_like(worn.mesh, body, model, grey=grey))
        for grey in (False, True)
    )
    return Person(
        meshes=(body, *hair, *(garment.mesh for garment in garments), *things),
        male=phenotype.male,
        heading=heading,
        support=pose.support,
        covered=covered,
        skin_like=skin_like,
        grey_like=grey_like,
        parameters=parameters,
    )


def _is_like(cloth: Mesh, body: Mesh, model: BodyModel, *, grey: bool) -> bool:
    """Return whether nearly all of some cloth has the colour of the trunk's skin, or in `grey` its brightness."""
    skin = np.median(body.albedo[model.regions["torso"][model.source]], axis=0)
    weights = LUMINANCE[:, None] if grey else np.eye(3)
    apart = np.abs(np.log((cloth.albedo @ weights + _DARKEST) / (skin @ weights + _DARKEST))).max(axis=1)
    return bool(len(apart)) and float((apart < _SKIN_LIKE).mean()) > _SKIN_LIKE_SHARE


def _things(rng: np.random.Generator, model: BodyModel, body: Mesh, support: str) -> tuple[list[Mesh], str | None]:
    """Return furniture and what is held, and the part that a thing is held before."""
    things = furniture(rng, model, body, support)
    hidden = None
    if rng.random() < _JEWELLED:
        things += sample_jewellery(rng, model, body)
    if rng.random() < _HOLDING:
        things.append(held_object(rng, model, body))
    if rng.random() < _HIDING:
        hidden = PARTS[int(rng.integers(len(PARTS)))].name
        things.append(before_region(rng, model, body, hidden))
    return things, hidden


def _outfit(
    rng: np.random.Generator, model: BodyModel, shaped: Shaped, body: Mesh, dress: str
) -> tuple[list[Garment], frozenset[str]]:
    """Draw clothes that leave something bare, or do not, as `dress` says."""
    male = shaped.phenotype.male
    needed = {"buttocks", "genitalia"} if male else {"buttocks", "genitalia", "breast_left", "breast_right"}
    for _ in range(_TRIES):
        garments = sample_outfit(rng, model, shaped, body)
        covered = _covered(garments, model, male=male)
        if (needed <= covered) == (dress == "clothed"):
            break
    return garments, covered


def _covered(garments: Sequence[Garment], model: BodyModel, *, male: bool) -> frozenset[str]:
    under = np.zeros(len(model.regions["body"]), dtype=np.bool_)
    for garment in garments:
        if float(np.median(garment.mesh.opacity)) >= SHEER:
            under |= garment.under
    return frozenset(
        part.name for part in PARTS if under[_core(part, model, male=male)].mean() >= _CORE_SHARE[part.name]
    )


def _core(part: Part, model: BodyModel, *, male: bool) -> NDArray[np.bool_]:
    """Return (V0,) bool: what decides whether a part is covered; of a breast the aureola."""
    region = read_regions()[part.region(male=male)]
    return region & model.regions["aureola"] if part.name.startswith("breast") else region & model.regions["body"]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()}
