"""The gate: no figure may have fallen since a former result."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from detector.errors import InputError, UsageError
from detector.evaluation.classifier_run import CLASSIFIER_FORMAT
from detector.evaluation.run import FORMAT

__all__ = ["TOLERANCE", "check_gate", "read_baseline"]

# Less than what reordering a few pictures or another build of the runtime changes, more than a rounding.
TOLERANCE = 0.005


def read_baseline(path: Path, kind: str = FORMAT) -> dict[str, Any]:
    """Read a former result of `detector evaluate --json`.

    Args:
        path: of the file.
        kind: the `format` that it must have.

    Raises:
        InputError: when it cannot be read, or is something else.
    """
    try:
        baseline = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"a baseline must be a readable JSON file; {path} is not: {error}") from error
    if isinstance(baseline, dict) and {baseline.get("format"), kind} == {FORMAT, CLASSIFIER_FORMAT}:
        mode = "of the other kind: one of the two was made with --as-classifier"
        raise InputError(f"a baseline must be of the same kind of evaluation; {path} is {mode}")
    if not isinstance(baseline, dict) or baseline.get("format") != kind or not baseline.get("models"):
        raise InputError(f"a baseline must be the output of `detector evaluate --json`; {path} is something else")
    return baseline


def _no_number(text: str) -> None:
    """Refuse NaN and Infinity: whatever is compared with NaN has not fallen."""
    raise ValueError(f"{text} is no number")


def check_gate(result: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """Return one line for each figure that fell by more than the tolerance; an empty list passes.

    A model is held against the one of its name in the baseline; a baseline of a single model holds for every model,
    so that new weights can be held against those that they replace. AP and AR of all classes, of each class and
    without regard to class count; of classifiers accuracy, precision, recall, F1, areas, and recall at each FPR, of
    all pictures and of each slice. Speed and memory do not: they depend on the machine. A figure that the baseline
    has and the result lacks has fallen.

    Raises:
        UsageError: when the two are not of the same data and settings, or a model has nothing to be held against.
        InputError: when the baseline lacks something that every result has.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageError(f"a tolerance must be a number from 0 up; got {tolerance}")
    try:
        return _fallen(result, baseline, tolerance)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "a baseline must be a whole output of `detector evaluate --json`; something in it is missing or of another "
            f"type ({type(error).__name__}: {error}); evaluate the old model anew"
        ) from error


def _fallen(result: Mapping[str, Any], baseline: Mapping[str, Any], tolerance: float) -> list[str]:
    for key in ("settings", "data"):
        for name in _COMPARED[result["format"]][key]:
            ours, theirs = result[key].get(name), baseline.get(key, {}).get(name)
            if ours != theirs:
                raise UsageError(
                    f"a baseline must be of the same {key}; {name} is {ours!r} here and {theirs!r} there; "
                    "evaluate the old model anew"
                )
    by_name = {model["name"]: model for model in baseline["models"]}
    fallen = []
    for model in result["models"]:
        old = by_name.get(model["name"], baseline["models"][0] if len(baseline["models"]) == 1 else None)
        if old is None:
            raise UsageError(
                f"the baseline must hold {model['name']}, or a single model; it holds {', '.join(by_name)}"
            )
        stated = _STATED[result["format"]]
        now, then = dict(stated(model)), dict(stated(old))
        if all(before is None for before in then.values()):
            raise UsageError(f"a baseline must hold figures; {old['name']} has none there; evaluate it anew")
        for name, before in then.items():
            value = now.get(name)
            if before is not None and (value is None or value < before - tolerance - _ROUNDING):
                shown = "nothing" if value is None else f"{value:.4f}"
                fallen.append(f"{model['name']}: {name} fell from {before:.4f} to {shown}")
    return fallen


# What must be equal for figures to be comparable.
_COMPARED = {
    FORMAT: {"data": ("digest", "classes"), "settings": ("score_thresh",)},
    CLASSIFIER_FORMAT: {"data": ("digest", "pictures"), "settings": ("thresh", "base_rate", "slices")},
}
# Figures are written with six digits.
_ROUNDING = 1e-6


def _stated(model: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yield every figure that the gate holds a model to."""
    yield from model["figures"].items()
    for name, value in model["class_agnostic"].items():
        yield f"{name} without regard to class", value
    for label, entry in model["per_class"].items():
        for name, value in entry["figures"].items():
            yield f"{name} of {label}", value


# Where more is better; the FPR is 1 minus the recall of safe pictures.
_CLASSIFIER_FIGURES = (
    "accuracy",
    "precision_nude",
    "recall_nude",
    "f1_nude",
    "precision_safe",
    "recall_safe",
    "f1_safe",
    "auc",
    "average_precision",
    "precision_at_base_rate",
)


def _stated_of_classifier(model: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The same for a result of `make_classifier_result`."""
    for name in _CLASSIFIER_FIGURES:
        yield name.replace("_", " "), model["figures"][name]
    for entry in model["recall_at_fpr"]:
        yield f"recall at an FPR of {entry['wanted']:g}", entry.get("recall")
    for column, values in model["slices"].items():
        for value, entry in values.items():
            for name in ("accuracy", "recall_nude", "recall_safe", "auc"):
                yield f"{name.replace('_', ' ')} of {column} {value}", entry["figures"][name]


_STATED: Mapping[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, float | None]]]] = {
    FORMAT: _stated,
    CLASSIFIER_FORMAT: _stated_of_classifier,
}
