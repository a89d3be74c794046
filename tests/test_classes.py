import pytest

from detector.classes import ALL_CLASSES, CLASSES, EXTRA_CLASSES, NSFW_CLASSES, canonical_class, canonical_classes
from detector.errors import UsageError

# NudeNet v1 (both spellings), v2-base and v2-default, v3: each list as published (FIELD.md).
V1 = ["BELLY", "BUTTOCKS", "F_BREAST", "F_GENITALIA", "M_GENETALIA", "M_BREAST"]
V2_BASE = [
    "EXPOSED_BELLY",
    "EXPOSED_BUTTOCKS",
    "EXPOSED_BREAST_F",
    "EXPOSED_GENITALIA_F",
    "EXPOSED_GENITALIA_M",
    "EXPOSED_BREAST_M",
]
V2_DEFAULT = {
    "EXPOSED_ANUS": "ANUS_EXPOSED",
    "EXPOSED_ARMPITS": "ARMPITS_EXPOSED",
    "COVERED_BELLY": "BELLY_COVERED",
    "COVERED_BUTTOCKS": "BUTTOCKS_COVERED",
    "FACE_F": "FACE_FEMALE",
    "FACE_M": "FACE_MALE",
    "COVERED_FEET": "FEET_COVERED",
    "EXPOSED_FEET": "FEET_EXPOSED",
    "COVERED_BREAST_F": "FEMALE_BREAST_COVERED",
    "COVERED_GENITALIA_F": "FEMALE_GENITALIA_COVERED",
}


def test_the_six_stand_in_the_published_order() -> None:
    assert [canonical_class(name) for name in V1] == list(CLASSES)
    assert [canonical_class(name) for name in V2_BASE] == list(CLASSES)
    assert len(ALL_CLASSES) == len(set(ALL_CLASSES)) == 18
    assert set(NSFW_CLASSES) < set(CLASSES)
    assert not set(CLASSES) & set(EXTRA_CLASSES)


@pytest.mark.parametrize(("old", "new"), V2_DEFAULT.items())
def test_names_of_v2_default(old: str, new: str) -> None:
    assert canonical_class(old) == new


@pytest.mark.parametrize("name", ["male-genitalia-exposed", " MALE_GENITALIA ", "EXPOSED_GENETALIA_M", "M_GENITALIA"])
def test_any_spelling(name: str) -> None:
    assert canonical_class(name) == "MALE_GENITALIA_EXPOSED"


def test_every_class_is_its_own_canonical_name() -> None:
    assert canonical_classes([*ALL_CLASSES, *ALL_CLASSES]) == ALL_CLASSES


def test_unknown_class_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"got 'MALE_GENITALIAA'; the nearest is MALE_GENITALIA_EXPOSED$"):
        canonical_class("MALE_GENITALIAA")


@pytest.mark.parametrize("name", ["", "BREAST", "GENITALIA", "EXPOSED", "FACE"])
def test_ambiguous_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="a class must be one of"):
        canonical_class(name)


def test_a_class_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="got 'FACE_F'"):
        canonical_class("FACE_F", CLASSES)
