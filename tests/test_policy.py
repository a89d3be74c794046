import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from censor.policy import load_censor_policy
from detector.classes import CLASSES, NSFW_CLASSES
from detector.errors import PolicyError
from detector.policy import list_policies, load_policy

BASE = 'name = "mine"\nversion = 3\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(BASE + text)
    return path


def test_every_installed_policy_loads_and_names_itself() -> None:
    assert list_policies() == ["default", "strict"]
    for name in list_policies():
        loaded = load_censor_policy(name)
        assert loaded.policy.name == name
        assert loaded.policy.summary
        assert set(NSFW_CLASSES) <= set(loaded.hide.classes)


def test_strict_is_stricter() -> None:
    default, strict = load_censor_policy("default"), load_censor_policy("strict")
    assert (default.hide.fallback, strict.hide.fallback) == ("none", "whole")
    assert strict.hide.classes == CLASSES
    assert all(strict.thresholds[name] < default.thresholds[name] for name in default.thresholds)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '[detect]\nscore_thresh_by_class = { F_BREAST = 0.4 }\n[hide]\nclasses = ["belly"]\nstyle = "box"\n'
        'colour = "#ff8000"\n[hide.by_class.BELLY]\nstyle = "pixelate"\n',
    )
    mine = load_censor_policy(path)
    assert mine.policy.label == "mine@3"
    assert mine.thresholds["FEMALE_BREAST_EXPOSED"] == 0.4
    assert mine.thresholds["BUTTOCKS_EXPOSED"] == 0.25
    assert mine.hide.classes == ("BELLY_EXPOSED",)
    assert mine.hide.style_of("BELLY_EXPOSED").style == "pixelate"
    assert mine.hide.style_of("BUTTOCKS_EXPOSED").style == "box"
    assert mine.hide.style_of("BUTTOCKS_EXPOSED").colour == (255, 128, 0)
    assert load_policy(path) == mine.policy


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[hide]\nstile = 'box'\n", r"mine.toml: \[hide\]: .*got 'stile'; the nearest is style"),
        ("[hide]\nstyle = 'blurr'\n", r"got 'blurr'; the nearest is blur"),
        ("[hide]\nclasses = ['GENITALS']\n", r"got 'GENITALS'; the nearest is"),
        ("[hide]\nfallback = 'hole'\n", r"fallback must be one of none, whole; got 'hole'"),
        ("[hide]\ncolour = 'blak'\n", r"got 'blak'"),
        ("[hide.by_class.BELLY]\nstyle = 'x'\n", r"got 'x'"),
        ("[hide.by_class.BELY]\nstyle = 'box'\n", r"got 'BELY'; the nearest is BELLY_EXPOSED"),
        ("[detect]\nscore_thresh = 0.0\n", r"must lie in \(0, 1\]; got 0.0"),
        ("[detect]\nscore_thresh_by_class = { BELLY = 2 }\n", r"BELLY_EXPOSED: .*must lie in \(0, 1\]"),
        ("[verdict]\nunsure = 'nsfw'\n", r"unsure must be one of safe, review; got 'nsfw'"),
        ("[verdict]\nsafe_below = 0.9\n", r"safe_below <= nsfw_above"),
        ("[verdict]\nnsfw_classes = []\n", r"must name at least one class"),
        ("[hide]\nclasses = []\n", r"must name at least one class to hide"),
        ("hide = 5\n", r"mine.toml: \[hide\] must be a table; got 5"),
        ("[detect.score_thresh_by_class]\nF_BREAST = 0.3\nEXPOSED_BREAST_F = 0.9\n", r"is given again"),
        ("[hide.by_class.F_BREAST]\n[hide.by_class.EXPOSED_BREAST_F]\n", r"is given again"),
        ("[verdikt]\n", r"got 'verdikt'; the nearest is verdict"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_censor_policy(written(tmp_path, text))


def test_classes_may_look_different(tmp_path: Path) -> None:
    Image.new("LA", (6, 4), (9, 255)).save(tmp_path / "own.png")
    path = written(
        tmp_path,
        '[hide]\nstyle = "box"\ncaption = "hidden"\nsticker = "star"\n[hide.by_class.F_BREAST]\nstyle = "sticker"\n'
        '[hide.by_class.BUTTOCKS]\nstyle = "sticker"\nsticker = "own.png"\ncaption = ""\n'
        '[hide.by_class.M_GENITALIA]\nstyle = "blur"\ncells = 2\n',
    )
    hide = load_censor_policy(path).hide
    assert (hide.style_of("").style, hide.style_of("BELLY_EXPOSED").caption) == ("box", "hidden")
    breast, buttocks = hide.style_of("FEMALE_BREAST_EXPOSED"), hide.style_of("BUTTOCKS_EXPOSED")
    assert breast.sticker is not None
    assert buttocks.sticker is not None
    assert (breast.sticker.name, breast.caption) == ("star", "hidden")
    assert (buttocks.sticker.name, buttocks.caption) == (str(tmp_path / "own.png"), "")  # beside the policy
    genitalia = hide.style_of("MALE_GENITALIA_EXPOSED")
    assert (genitalia.style, genitalia.cells, genitalia.caption) == ("blur", 2, "")  # no caption on a soft style
    assert load_censor_policy(path, caption="mine").hide.style_of("MALE_GENITALIA_EXPOSED").caption == "mine"


def test_a_sticker_is_read_once_when_the_policy_is_made(tmp_path: Path) -> None:
    path = tmp_path / "own.png"
    Image.new("RGBA", (6, 4), "red").save(path)
    hide = load_censor_policy("default", sticker=str(path)).hide
    path.unlink()
    assert hide.style == "sticker"
    assert hide.style_of("BUTTOCKS_EXPOSED").sticker is hide.style_of("").sticker
    assert asdict(hide)["sticker"] == str(path)  # what is compared and kept is plain data, without pictures
    json.dumps(asdict(hide))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sticker": "hart"}, "got 'hart'; the nearest is heart"),
        ({"sticker": "no/such.png"}, "a sticker must be a picture file that can be read"),
        ({"sticker": "star", "style": "box"}, "a sticker must go with the style sticker; got 'star' with 'box'"),
        ({"caption": "hello"}, "a caption needs one of the styles .*; got 'hello' with pixelate; add --style box"),
        ({"cells": 9}, "cells must be a whole number from 1 to 8; got 9"),
    ],
)
def test_looks_that_do_not_go_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load_censor_policy("default", **changes)


def test_new_looks_are_recorded() -> None:
    policy = load_censor_policy("default", sticker="star", caption="hi", cells=3, whole=True)
    assert policy.to_dict()["changed"] == {
        "hide.style": "sticker",
        "hide.sticker": "star",
        "hide.caption": "hi",
        "hide.cells": 3,
        "hide.by_class": {},
        "hide.whole": True,
    }


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(
        PolicyError, match=r"one of default, strict, or a .toml file; got 'strikt'; the nearest is strict"
    ):
        load_censor_policy("strikt")


def test_changes_are_applied_and_recorded() -> None:
    policy = load_censor_policy("default", style="box", score_thresh=0.5, classes=["m_breast"], tiles=True)
    assert policy.hide.style_of("BUTTOCKS_EXPOSED").style == "box"
    assert policy.hide.classes == ("MALE_BREAST_EXPOSED",)
    assert set(policy.classes) == {"MALE_BREAST_EXPOSED", *NSFW_CLASSES}
    assert set(policy.thresholds.values()) == {0.5}
    assert policy.to_dict()["changed"] == {
        "detect.score_thresh": 0.5,
        "detect.score_thresh_by_class": {},
        "detect.tiles": True,
        "hide.classes": ("m_breast",),
        "hide.style": "box",
        "hide.by_class": {},
    }
    assert load_censor_policy("default").to_dict()["changed"] == {}


def test_a_common_threshold_overrides_those_of_the_file_and_a_named_one_overrides_it(tmp_path: Path) -> None:
    path = written(tmp_path, "[detect]\nscore_thresh_by_class = { F_BREAST = 0.4, BUTTOCKS = 0.6 }\n")
    both = load_censor_policy(path, score_thresh=0.3, score_thresh_by_class={"buttocks": 0.7})
    assert both.thresholds["FEMALE_BREAST_EXPOSED"] == 0.3
    assert both.thresholds["BUTTOCKS_EXPOSED"] == 0.7
    single = load_censor_policy(path, score_thresh_by_class={"F_BREAST": 0.5})
    assert single.thresholds["FEMALE_BREAST_EXPOSED"] == 0.5
    assert single.thresholds["BUTTOCKS_EXPOSED"] == 0.6


@pytest.mark.parametrize("change", [{"style": "blurr"}, {"grow": -1.0}, {"colour": "#12"}, {"score_thresh": 7.0}])
def test_changes_are_checked_like_the_file(change: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        load_censor_policy("default", **change)  # type: ignore[arg-type]
