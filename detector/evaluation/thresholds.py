"""Score thresholds from curves: the best F1, a wanted recall, and a policy file that carries them."""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.config import from_table
from detector.errors import PolicyError, UsageError
from detector.evaluation.curves import Curve
from detector.paths import configs_dir
from detector.policy import DetectRules, Policy

__all__ = ["Point", "at_recall", "best_f1", "checked_policy", "named_default", "policy_text", "replace_line"]

# Digits of a threshold in a file. Rounded down, so that the detection it was read from is still kept.
DIGITS = 4
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One choice of a threshold and what it gives.

    Attributes:
        score_thresh: keep what is at or above it.
        precision, recall, f1: of what is kept.
        reached: whether what was wanted is reached; False for the nearest that there is.
    """

    score_thresh: float
    precision: float
    recall: float
    f1: float
    reached: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "score_thresh": self.score_thresh,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "reached": self.reached,
        }


def best_f1(curve: Curve | None) -> Point | None:
    """Return the threshold of the highest F1 (of equal ones the highest score); None when nothing right was found."""
    if curve is None or not curve.recall.size or curve.recall[-1] == 0:
        return None
    return _point(curve, int(np.argmax(curve.f1)), reached=True)


def at_recall(curve: Curve | None, wanted: float) -> Point | None:
    """Return the highest threshold whose recall is at least `wanted`.

    Where no threshold reaches it, the highest one with the most recall there is, marked `reached=False`; None when
    nothing right was found at all.

    Raises:
        UsageError: when `wanted` is not in (0, 1].
    """
    if not 0 < wanted <= 1:
        raise UsageError(f"a wanted recall must lie in (0, 1]; got {wanted}")
    if curve is None or not curve.recall.size or curve.recall[-1] == 0:
        return None
    enough = np.flatnonzero(curve.recall >= wanted)
    if enough.size:
        return _point(curve, int(enough[0]), reached=True)
    return _point(curve, int(np.flatnonzero(curve.recall == curve.recall[-1])[0]), reached=False)


def policy_text(name: str, points: Mapping[str, Point | None], *, wanted: float, source: str) -> str:
    """Return a policy file: a copy of the default policy with a threshold for each class.

    Args:
        name: what the policy is called: letters, digits, dots, hyphens and underscores.
        points: of each class; a class with None gets the default policy's common threshold, and one that does not
            reach what was wanted gets no higher one than that.
        wanted: the recall that was asked for.
        source: one line on what it was measured with, for the head of the file.

    Raises:
        UsageError: when the name could not stand in a file.
        PolicyError: when the default policy cannot be read, or the result would not load.
    """
    body = named_default(name, f"The default policy, at thresholds for a recall of {wanted:g}.")
    lines = ["[detect.score_thresh_by_class]"]
    for label, point in points.items():
        if point is None:
            lines.append(f"# {label}: nothing to measure; score_thresh holds")
            continue
        thresh = max(math.floor(point.score_thresh * 10**DIGITS) / 10**DIGITS, 10**-DIGITS)
        note = f"recall {point.recall:.3f}, precision {point.precision:.3f}"
        if not point.reached:
            # Parts are missed at any threshold: no reason to look less hard than without a measurement.
            thresh = min(thresh, DetectRules().score_thresh)
            note = f"recall {point.recall:.3f} is the most there is; {wanted:g} IS NOT REACHED"
        lines.append(f"{label} = {thresh:.{DIGITS}f}  # {note}")
    head, verdict, rest = body.partition("[verdict]")
    return checked_policy(f"{head.rstrip()}\n\n" + "\n".join(lines) + f"\n\n{verdict}{rest}", name, source)


def named_default(name: str, summary: str) -> str:
    """Return the default policy's text under another name, without the comments at its head.

    Raises:
        UsageError: when the name could not stand in a file.
        PolicyError: when the default policy does not have the lines that are replaced.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"a policy's name must be letters, digits, dots, hyphens, underscores; got {name!r}")
    base = (configs_dir() / "policies" / "default.toml").read_text(encoding="utf-8")
    body = re.sub(r"\A(#[^\n]*\n|\s*\n)*", "", base)  # its comments tell of its own thresholds
    body = replace_line(body, "name", f'name = "{name}"')
    body = replace_line(body, "version", "version = 1")
    return replace_line(body, "summary", f'summary = "{summary}"')


def checked_policy(body: str, name: str, source: str) -> str:
    """Return a policy's text with a line about its origin at its head, after it was read as a policy.

    Raises:
        PolicyError: when it would not load.
    """
    text = "# " + " ".join(source.split()) + "\n" + body
    table = tomllib.loads(text)
    from_table(Policy, {key: value for key, value in table.items() if key != "hide"}, name)
    return text


def replace_line(text: str, key: str, line: str) -> str:
    """Replace the first line that sets `key`; the keys of the head stand before any table.

    Raises:
        PolicyError: when there is none.
    """
    replaced, count = re.subn(rf"^{key} = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    if count != 1:
        raise PolicyError(f"the default policy must set {key!r}; it does not; reinstall retina-censor")
    return replaced


def _point(curve: Curve, index: int, *, reached: bool) -> Point:
    return Point(
        score_thresh=float(curve.scores[index]),
        precision=float(curve.precision[index]),
        recall=float(curve.recall[index]),
        f1=float(curve.f1[index]),
        reached=reached,
    )
