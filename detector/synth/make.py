"""The picture that belongs to a seed and a number, with its boxes."""

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.synth.arrangement import Cast
from detector.synth.develop import develop
from detector.synth.labels import Label, find_labels
from detector.synth.render import render
from detector.synth.scene import Scene
from detector.synth.settings import SceneSettings
from detector.synth.withheld import kinds_of_split

__all__ = ["SynthPicture", "make_picture", "picture_rng"]


@dataclass(frozen=True, kw_only=True)
class SynthPicture:
    """A finished picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: boxes in its pixels.
        parameters: what was drawn for it, JSON-ready.
    """

    image: NDArray[np.uint8]
    labels: list[Label]
    parameters: dict[str, Any]


# Between the name of a split and its numbers: what draws pictures, and what draws who is on them.
_PICTURE, _CAST = 256, 257


def picture_rng(seed: int, number: int, split: str = "") -> np.random.Generator:
    """Return what draws picture `number`, but for who is on it: it depends on nothing but these three.

    Args:
        seed: not negative.
        number: not negative.
        split: splits of one seed share no picture.
    """
    return np.random.default_rng([*split.encode(), _PICTURE, seed, number])


def make_picture(seed: int, number: int, settings: SceneSettings | None = None, *, split: str = "") -> SynthPicture:
    """Return a picture; the same arguments give the same one, bit by bit on one machine.

    Args:
        seed: of the whole set.
        number: of the picture, from 0.
        settings: of its scene. Where `kinds` is "all", the split decides: see `detector.synth.withheld`.
        split: see `picture_rng`.
    """
    settings = SceneSettings() if settings is None else settings
    if split and settings.kinds == "all":
        settings = dataclasses.replace(settings, kinds=kinds_of_split(split))
    rng = picture_rng(seed, number, split)
    scene = Scene.sample(rng, settings, _cast(seed, number // settings.shots, settings, split))
    rendered = render(scene.meshes, scene.camera, scene.lights, background=scene.background, rng=rng)
    image, placement = develop(rendered.image, rng, scene.development, rendered=rendered)
    labels = find_labels(
        rendered,
        scene.meshes,
        scene.bodies,
        scene.camera,
        placement,
        covered=scene.covered,
        skin_like=scene.skin_like,
    )
    return SynthPicture(image=image, labels=labels, parameters=scene.parameters)


@lru_cache(maxsize=1)
def _cast(seed: int, number: int, settings: SceneSettings, split: str) -> Cast:
    """Return who is on the pictures of one scene; those that follow each other share it."""
    return Cast.sample(np.random.default_rng([*split.encode(), _CAST, seed, number]), settings)
