"""The `[hide]` part of a policy: which classes are hidden, and how."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from censor.styles import DEFAULT_STICKER, SOFT_STYLES, Style, parse_colour
from detector.classes import NSFW_CLASSES, canonical_classes, canonical_keys
from detector.config import from_table
from detector.errors import PolicyError, UsageError
from detector.policy import Policy, load_policy, policy_path, read_policy_file

__all__ = ["CensorPolicy", "HideRules", "load_censor_policy"]

# What to do when the verdict is not `safe` and there is no region to hide.
FALLBACKS = ("none", "whole")


@dataclass(frozen=True, kw_only=True)
class StyleOverride:
    """What one class does differently; a key that is not given is as for all."""

    style: str | None = None
    shape: str | None = None
    grow: float | None = None
    feather: float | None = None
    colour: str | None = None
    cells: int | None = None
    sticker: str | None = None
    caption: str | None = None


@dataclass(frozen=True, kw_only=True)
class HideRules:
    """Which classes are hidden, and how.

    Attributes:
        classes: the classes to hide, in any spelling.
        style, shape, grow, feather, colour, cells, caption: as in `censor.styles.Style`; the colour as a name or
            `#rrggbb`. A caption is not handed down to a class that has a soft style of its own.
        sticker: of the style `sticker`: a name of `censor.stickers.STICKERS` or a file; in a policy's file, relative
            to its folder.
        by_class: the same keys for single classes.
        whole: cover the whole picture whatever was found, in the style for all classes.
        fallback: `whole` covers the whole picture when the verdict is not safe and no region explains it; `none`
            leaves it as it is and asks for a person.
    """

    classes: tuple[str, ...] = NSFW_CLASSES
    style: str = "pixelate"
    shape: str = "rectangle"
    grow: float = 0.2
    feather: float = 0.0
    colour: str = "black"
    cells: int = 6
    sticker: str = DEFAULT_STICKER
    caption: str = ""
    by_class: dict[str, StyleOverride] = field(default_factory=dict)
    whole: bool = False
    fallback: str = "none"

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "classes", canonical_classes(self.classes))
            by_class = canonical_keys(self.by_class)
        except UsageError as error:
            raise PolicyError(str(error)) from error
        object.__setattr__(self, "by_class", by_class)
        if not self.classes:
            raise PolicyError("classes must name at least one class to hide; got none")
        if self.fallback not in FALLBACKS:
            raise PolicyError(f"fallback must be one of {', '.join(FALLBACKS)}; got {self.fallback!r}")
        _ = self._styles  # a style that cannot be made is refused now, not at the first picture

    def style_of(self, label: str) -> Style:
        """Return how a class is hidden; the common style for a label without one of its own."""
        return self._styles.get(label, self._styles[""])

    @functools.cached_property
    def _styles(self) -> dict[str, Style]:
        """The common style under "", and those of classes; made once, since making one may read a sticker."""
        return {name: self._made(name) for name in ("", *self.by_class)}

    def _made(self, label: str) -> Style:
        own = self.by_class.get(label, StyleOverride())
        merged: dict[str, Any] = {
            key.name: getattr(self if getattr(own, key.name) is None else own, key.name) for key in fields(own)
        }
        if own.caption is None and own.style in SOFT_STYLES:
            merged["caption"] = ""
        return Style(**{**merged, "colour": parse_colour(merged["colour"])})


@dataclass(frozen=True, kw_only=True)
class CensorPolicy:
    """A whole policy: what counts as found, what is said about it, and what is hidden.

    Attributes:
        policy: the part that `detector` reads.
        hide: the part that only `censor` reads.
        changed: what a caller set differently from the file, by dotted key, for reports.
    """

    policy: Policy
    hide: HideRules
    changed: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that must be looked for: those to hide and those that the verdict needs."""
        return tuple(dict.fromkeys(self.hide.classes + self.policy.classes))

    @property
    def thresholds(self) -> dict[str, float]:
        """The score threshold of each class that is looked for."""
        return self.policy.detect.thresholds(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return what a report says about the policy."""
        return {"name": self.policy.name, "version": self.policy.version, "changed": dict(self.changed)}


def load_censor_policy(
    name: str | Path | CensorPolicy = "default",
    *,
    classes: Iterable[str] | None = None,
    score_thresh: float | None = None,
    score_thresh_by_class: dict[str, float] | None = None,
    tiles: bool | None = None,
    second_opinion: bool | None = None,
    style: str | None = None,
    shape: str | None = None,
    grow: float | None = None,
    feather: float | None = None,
    colour: str | None = None,
    cells: int | None = None,
    sticker: str | None = None,
    caption: str | None = None,
    whole: bool | None = None,
    fallback: str | None = None,
) -> CensorPolicy:
    """Load a policy by name or path and apply what the caller wants differently.

    A sticker alone asks for the style `sticker` too. What is said about looks holds for every class, also for those
    that have a style of their own in the file.

    A `score_thresh` given here holds for every class, also for those that have one of their own in the file, unless
    `score_thresh_by_class` names them again.

    Raises:
        PolicyError: when the policy is not there or something in it, or in the arguments, is not understood.
    """
    if isinstance(name, CensorPolicy):
        base = name
    else:
        table, where = read_policy_file(name)
        hide = from_table(HideRules, _with_paths(table.get("hide", {}), policy_path(name).parent), f"{where}: [hide]")
        base = CensorPolicy(policy=load_policy(name), hide=hide)

    try:
        score_thresh_by_class = canonical_keys(score_thresh_by_class or {})
    except UsageError as error:
        raise PolicyError(str(error)) from error
    detect: dict[str, Any] = {"tiles": tiles}
    if score_thresh is not None or score_thresh_by_class:
        kept = {} if score_thresh is not None else base.policy.detect.score_thresh_by_class
        detect |= {"score_thresh": score_thresh, "score_thresh_by_class": {**kept, **score_thresh_by_class}}
    verdict = {"second_opinion": second_opinion}
    if sticker is not None and style is None:
        style = "sticker"
    if sticker is not None and style != "sticker":
        raise PolicyError(f"a sticker must go with the style sticker; got {sticker!r} with {style!r}; leave one out")
    looks: dict[str, Any] = {
        "shape": shape,
        "grow": grow,
        "feather": feather,
        "colour": colour,
        "cells": cells,
        "sticker": sticker,
        "caption": caption,
        "style": style,
    }
    hide_changes: dict[str, Any] = {
        "classes": tuple(classes) if classes is not None else None,
        **looks,
        "whole": whole,
        "fallback": fallback,
    }
    if any(value is not None for value in looks.values()):
        hide_changes["by_class"] = {}  # a flag means every class, also those with a style of their own

    sections = {"detect": _given(detect), "verdict": _given(verdict), "hide": _given(hide_changes)}
    if not any(sections.values()):
        return base
    policy = replace(
        base.policy,
        detect=replace(base.policy.detect, **sections["detect"]),
        verdict=replace(base.policy.verdict, **sections["verdict"]),
    )
    changed = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    hide = replace(base.hide, **sections["hide"])
    result = CensorPolicy(policy=policy, hide=hide, changed={**base.changed, **changed})
    unused = [name for name in score_thresh_by_class if name not in result.classes]
    if unused:
        raise PolicyError(
            f"a threshold must be for a class that is looked for, {', '.join(result.classes)}; got {unused[0]}; "
            "name it among the classes to hide too"
        )
    return result


def _with_paths(hide: Any, folder: Path) -> Any:
    """Return the `[hide]` table with the stickers' files relative to the policy's folder instead of to wherever."""
    if not isinstance(hide, Mapping):
        return hide
    hide = dict(hide)
    sticker = hide.get("sticker")
    if isinstance(sticker, str) and Path(sticker).suffix:
        hide["sticker"] = str(folder / sticker)
    by_class = hide.get("by_class")
    if isinstance(by_class, Mapping):
        hide["by_class"] = {name: _with_paths(own, folder) for name, own in by_class.items()}
    return hide


def _given(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if value is not None}
