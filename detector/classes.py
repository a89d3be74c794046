"""The class names: the six, NudeNet's twelve others, and every older spelling of them."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from detector.errors import UsageError
from detector.nearest import nearest

__all__ = [
    "ALL_CLASSES",
    "CLASSES",
    "EXTRA_CLASSES",
    "NSFW_CLASSES",
    "canonical_class",
    "canonical_classes",
    "canonical_keys",
]

Value = TypeVar("Value")

# The order that NudeNet v1 and v2-base fixed: labels 0..5, COCO category_id 1..6.
CLASSES: tuple[str, ...] = (
    "BELLY_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
)

# A picture is NSFW when one of these is found; a belly or a male breast alone does not flag it.
NSFW_CLASSES: tuple[str, ...] = (
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)

# What NudeNet v3 finds besides the six; reported only when asked for by name.
EXTRA_CLASSES: tuple[str, ...] = (
    "ANUS_COVERED",
    "ANUS_EXPOSED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "BELLY_COVERED",
    "BUTTOCKS_COVERED",
    "FACE_FEMALE",
    "FACE_MALE",
    "FEET_COVERED",
    "FEET_EXPOSED",
    "FEMALE_BREAST_COVERED",
    "FEMALE_GENITALIA_COVERED",
)

ALL_CLASSES: tuple[str, ...] = CLASSES + EXTRA_CLASSES

# Spellings seen in NudeNet v1 to v3 and in tools built on them. NudeNet 1.1.0 never censored male genitalia because
# one list said GENETALIA and another GENITALIA.
_WORDS = {"F": "FEMALE", "M": "MALE", "GENETALIA": "GENITALIA", "GENITALS": "GENITALIA", "BUTTOCK": "BUTTOCKS"}


def _words(name: str) -> frozenset[str]:
    """Reduce a spelling to its set of words, so that their order and abbreviation do not matter."""
    parts = name.strip().upper().replace("-", "_").replace(" ", "_").split("_")
    return frozenset(_WORDS.get(part, part) for part in parts if part)


_BY_WORDS = {_words(name): name for name in ALL_CLASSES}


def canonical_class(name: str, known: Iterable[str] = ALL_CLASSES) -> str:
    """Return the one spelling that is used inside, for any spelling that users know.

    `F_BREAST`, `EXPOSED_BREAST_F` and `female-breast-exposed` all mean `FEMALE_BREAST_EXPOSED`. A part without a
    state means exposed, as every class of NudeNet v1 did.

    Args:
        name: a class name in any spelling.
        known: the canonical names that are allowed, for example those of one model.

    Raises:
        UsageError: for a name that is not known. The message names the nearest one.
    """
    known = tuple(known)
    if name in known:
        return name
    words = _words(name)
    found = _BY_WORDS.get(words) or _BY_WORDS.get(words | {"EXPOSED"})
    if found in known:
        return found
    raise UsageError(f"a class must be one of {', '.join(known)}; got {name!r}{nearest(name, known)}")


def canonical_classes(names: Iterable[str], known: Iterable[str] = ALL_CLASSES) -> tuple[str, ...]:
    """Return `canonical_class` of each name, without duplicates, in the order given."""
    known = tuple(known)
    return tuple(dict.fromkeys(canonical_class(name, known) for name in names))


def canonical_keys(values: Mapping[str, Value], known: Iterable[str] = ALL_CLASSES) -> dict[str, Value]:
    """Return a mapping by class with canonical names.

    Raises:
        UsageError: for an unknown class, or one that is given twice in different spellings: one would be lost.
    """
    known = tuple(known)
    result: dict[str, Value] = {}
    for name, value in values.items():
        canonical = canonical_class(name, known)
        if canonical in result:
            raise UsageError(f"a class must be given once; {canonical} is given again as {name!r}")
        result[canonical] = value
    return result
