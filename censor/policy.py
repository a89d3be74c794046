"""The `[hide]` part of a policy: which classes are hidden, and how."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from censor.styles import Style, parse_colour
from detector.classes import NSFW_CLASSES, canonical_classes, canonical_keys
from detector.config import from_table
from detector.errors import PolicyError, UsageError
from detector.policy import Policy, load_policy, read_policy_file

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


@dataclass(frozen=True, kw_only=True)
class HideRules:
    """Which classes are hidden, and how.

    Attributes:
        classes: the classes to hide, in any spelling.
        style, shape, grow, feather, colour, cells: as in `censor.styles.Style`; the colour as a name or `#rrggbb`.
        by_class: the same keys for single classes.
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
    by_class: dict[str, StyleOverride] = field(default_factory=dict)
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
        for name in ("", *by_class):  # a style that cannot be made is refused now, not at the first picture
            self.style_of(name)

    def style_of(self, label: str) -> Style:
        """Return how a class is hidden; the common style for a label without one of its own."""
        own = self.by_class.get(label, StyleOverride())
        merged: dict[str, Any] = {
            key.name: getattr(self if getattr(own, key.name) is None else own, key.name) for key in fields(own)
        }
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
    fallback: str | None = None,
) -> CensorPolicy:
    """Load a policy by name or path and apply what the caller wants differently.

    A `score_thresh` given here holds for every class, also for those that have one of their own in the file, unless
    `score_thresh_by_class` names them again.

    Raises:
        PolicyError: when the policy is not there or something in it, or in the arguments, is not understood.
    """
    if isinstance(name, CensorPolicy):
        base = name
    else:
        table, where = read_policy_file(name)
        hide = from_table(HideRules, table.get("hide", {}), f"{where}: [hide]")
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
    hide_changes: dict[str, Any] = {
        "classes": tuple(classes) if classes is not None else None,
        "shape": shape,
        "grow": grow,
        "feather": feather,
        "colour": colour,
        "style": style,
        "fallback": fallback,
    }
    if any(value is not None for value in (style, shape, grow, feather, colour)):
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


def _given(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if value is not None}
