"""The test split shows poses, backgrounds and light that no other split shows."""

import numpy as np
import pytest

pytest.importorskip("embreex", reason="rendering needs the extra [synth]")

from detector.errors import UsageError
from detector.synth.camera import Camera
from detector.synth.lights import sample_lights
from detector.synth.make import make_picture
from detector.synth.poses import BASE_POSES
from detector.synth.settings import SceneSettings
from detector.synth.withheld import kinds_of_split, kinds_shown


def test_train_and_test_share_nothing_and_are_all() -> None:
    names = [f"kind {number}" for number in range(10)]
    train, test = (kinds_shown(names, kinds) for kinds in ("train", "test"))
    assert not set(train) & set(test)
    assert sorted(train + test) == sorted(names) == sorted(kinds_shown(names, "all"))
    assert kinds_shown(["one", "two"], "test") == ["one", "two"]
    assert [kinds_of_split(name) for name in ("train", "val", "test", "Test-2")] == ["train", "train", "test", "test"]
    with pytest.raises(UsageError, match="kinds must be one of all, train, test"):
        SceneSettings(kinds="some")


def drawn(split: str) -> tuple[set[str], set[str]]:
    settings = SceneSettings(image_size=(32, 32), empty=0.0, people=(1.0, 0.0, 0.0))
    made = [make_picture(3, number, settings, split=split).parameters for number in range(5)]
    return {one["persons"][0]["pose"] for one in made}, {one["background"] for one in made}


def test_pictures_of_the_test_split_show_what_is_withheld() -> None:
    poses, backgrounds = drawn("test")
    assert poses <= set(kinds_shown(list(BASE_POSES), "test"))
    others, more = drawn("train")
    assert others <= set(kinds_shown(list(BASE_POSES), "train"))
    assert backgrounds & more <= {"photograph"}


def test_moods_of_the_light() -> None:
    camera = Camera(position=(0.0, -3.0, 1.0), target=(0.0, 0.0, 1.0), image_size=(32, 32))
    for seed in range(20):
        train = sample_lights(np.random.default_rng(seed), camera, kinds="train")
        test = sample_lights(np.random.default_rng(seed), camera, kinds="test")
        assert any(light.kind == "area" for light in test), "a studio"
        assert sum(light.kind == "sky" for light in train) == 1
