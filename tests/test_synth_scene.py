"""Scenes: from where they are seen."""

import numpy as np
import pytest

from detector.synth import scene as scene_module
from detector.synth.camera import Camera
from detector.synth.scene import Scene
from detector.synth.settings import SceneSettings

ONE = SceneSettings(image_size=(32, 32), empty=0.0, people=(1.0, 0.0, 0.0), dress=(1.0, 0.0, 0.0), occluded=0.0)


def test_no_camera_stands_inside_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = scene_module._camera
    tries = []

    def camera(rng, persons, objects, settings):  # type: ignore[no-untyped-def]
        found, view = drawn(rng, persons, objects, settings)
        chest = persons[0].body.vertices
        inside = Camera(position=tuple(chest.mean(axis=0).tolist()), target=(0.0, 0.0, 9.0), up=(1.0, 0.0, 0.0))
        tries.append(len(tries))
        return (inside if len(tries) < 3 else found), view

    monkeypatch.setattr(scene_module, "_camera", camera)
    seen = Scene.sample(np.random.default_rng(4), ONE)
    assert len(tries) == 3
    assert np.linalg.norm(np.subtract(seen.camera.position, seen.camera.target)) > 0.1
    assert seen.camera.target != (0.0, 0.0, 9.0)
