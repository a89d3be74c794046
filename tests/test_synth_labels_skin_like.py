"""Clothes of the skin's colour: what they cover looks bare, so it is neither target nor background."""

import dataclasses
from functools import cache

import numpy as np
import pytest

pytest.importorskip("embreex")

from detector.synth.arrangement import Cast
from detector.synth.body import BodyModel
from detector.synth.camera import frame_on
from detector.synth.cloth_patterns import Fabric
from detector.synth.clothes import make_garment
from detector.synth.develop import Development
from detector.synth.drawing import LUMINANCE
from detector.synth.labels import find_labels
from detector.synth.lights import Light
from detector.synth.mesh import Mesh
from detector.synth.people import _is_like
from detector.synth.phenotype import Phenotype
from detector.synth.poses import make_pose, on_ground
from detector.synth.render import render
from detector.synth.scene import Scene
from detector.synth.settings import SceneSettings


def fabric(colour, pattern="plain", second=None):
    first = np.asarray(colour, np.float32)
    second = first * np.float32(0.8) if second is None else np.asarray(second, np.float32)
    return Fabric(first=first, second=second, pattern=pattern, seed=3, opacity=1.0, lace=0.0, gloss=0.1)


@cache
def dressed(name, kind="skin"):
    model = BodyModel.load()
    shaped = model.shape(Phenotype(sex=0.0, age=0.75))
    pose = make_pose("standing", model, shaped)
    body = on_ground(model.pose(shaped, pose.rotations, pose.root))
    skin = np.median(body.albedo, axis=0)
    cloth = {
        "skin": fabric(skin),
        "a little darker": fabric(skin * 0.8),
        "blue": fabric((0.05, 0.1, 0.5)),
        "green": fabric((0.0, float(skin @ LUMINANCE) / float(LUMINANCE[1]), 0.0)),
        "black": fabric((0.01, 0.01, 0.01)),
        "striped": fabric(skin, "stripes", (0.05, 0.1, 0.5)),
    }[kind]
    return model, body, make_garment(name, np.random.default_rng(5), model, shaped, body, fabric=cloth)


def found(name, azimuth, *, skin_like=None, covered=frozenset()):
    """Return the labels by part of a body that wears a garment, or nothing."""
    _, body, garment = dressed(name or "tights")
    view = frame_on(
        body.vertices, fill=0.95, offset=(0.0, 0.0), rng=np.random.default_rng(0), image_size=(192, 192),
        azimuth=azimuth, elevation=0.0, focal_length=50.0, roll=0.0,
    )  # fmt: skip
    meshes: list[Mesh] = [body, garment.mesh] if name else [body]
    rendered = render(
        meshes, view, (Light(kind="sky"),), background=None, rng=np.random.default_rng(1), ambient_rays=0,
        smooth_edges=False,
    )  # fmt: skip
    labels = find_labels(rendered, meshes, {0: False}, view, covered={0: covered}, skin_like=skin_like or {})
    return {label.part: label for label in labels}


def overlap(one, two):
    low, high = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    both = np.prod(np.maximum(high - low, 0))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return both / (sum(areas) - both)


def test_what_lies_under_a_skin_coloured_swimsuit_is_ignored():
    bare = found(None, 0.0)
    parts = {"belly", "breast_left", "breast_right", "genitalia"}
    assert set(bare) == parts
    for covered in (frozenset(), frozenset(parts)):
        labels = found("one-piece swimsuit", 0.0, skin_like={0: {1}}, covered=covered)
        assert all(label.ignore for label in labels.values())
        for part in ("belly", "breast_left", "breast_right"):
            assert overlap(labels[part].box, bare[part].box) > 0.7, part
    # In another colour it is cloth, and what it covers background.
    assert "belly" not in found("one-piece swimsuit", 0.0, covered=frozenset(parts))


def test_nothing_is_made_out_from_the_other_side():
    assert not {"belly", "breast_left", "breast_right"} & set(found("one-piece swimsuit", np.pi, skin_like={0: {1}}))


def test_what_is_bare_beside_such_clothes_stays_a_target():
    labels = found("tights", 0.0, skin_like={0: {1}})
    assert [part for part, label in labels.items() if not label.ignore] == ["belly", "breast_left", "breast_right"]
    assert labels["genitalia"].ignore


@pytest.mark.parametrize(
    ("kind", "alike", "in_grey"),
    [
        ("skin", True, True),
        ("a little darker", True, True),
        ("green", False, True),
        ("blue", False, False),
        ("black", False, False),
        ("striped", False, False),
    ],
)
def test_which_cloth_has_the_colour_of_the_skin(kind, alike, in_grey):
    model, body, garment = dressed("T-shirt", kind)
    assert _is_like(garment.mesh, body, model, grey=False) is alike
    assert _is_like(garment.mesh, body, model, grey=True) is in_grey


def test_what_is_left_of_the_colours_decides(monkeypatch):
    settings = SceneSettings(image_size=(32, 32), empty=0.0, people=(1.0, 0.0, 0.0))
    person = Cast.sample(np.random.default_rng(4), settings).persons[0]
    cast = Cast(persons=(dataclasses.replace(person, skin_like=(2,), grey_like=(2, 3)),), objects=())
    plain, grey = Development(), Development(saturation=0.0)
    assert [one.colourless for one in (plain, grey, Development(drawing="pencil"))] == [False, True, True]
    for development, rows in ((plain, {2}), (grey, {2, 3})):
        monkeypatch.setattr("detector.synth.scene.sample_development", lambda _, how=development: how)
        assert Scene.sample(np.random.default_rng(4), settings, cast).skin_like == {0: rows}
