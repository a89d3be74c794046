"""One evaluation of whole-picture scores, from labelled pictures and scorers to a JSON-ready result."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import detector
from detector.errors import InputError
from detector.evaluation import bootstrap
from detector.evaluation.binary_bootstrap import RESAMPLED, resampled_figures
from detector.evaluation.classifier_figures import ClassifierSettings, calibration_entry, curve_entries, figures_at
from detector.evaluation.labelled import Labelled
from detector.evaluation.rounding import rounded
from detector.evaluation.scored import Scored
from detector.scorers import Scorer, default_thresh

__all__ = ["CLASSIFIER_FORMAT", "FEW", "ScorerRun", "make_classifier_result", "scored_by_all"]

CLASSIFIER_FORMAT = "retina-censor evaluation of classifiers 1"

# A slice with fewer pictures of one kind is marked: at 30 the interval of a share of one half is .33 to .67.
FEW = 30

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ScorerRun:
    """One scorer and what it says of the labelled pictures."""

    scorer: Scorer
    scored: Scored

    def thresh(self, settings: ClassifierSettings) -> float:
        """The operating threshold."""
        return default_thresh(self.scorer) if settings.thresh is None else settings.thresh


def scored_by_all(runs: Sequence[ScorerRun]) -> Bools:
    """Return (N,) which pictures every scorer could look at: all figures are of these alone.

    Raises:
        InputError: when there are none.
    """
    usable = np.logical_and.reduce([~np.isnan(run.scored.scores) for run in runs])
    if not usable.any():
        errors = list(runs[0].scored.errors.values()) or ["no picture could be scored by every scorer"]
        raise InputError(f"at least one picture must be readable; none of {len(usable)} is; the first: {errors[0]}")
    return np.asarray(usable, dtype=bool)


def make_classifier_result(
    runs: Sequence[ScorerRun], labelled: Labelled, settings: ClassifierSettings
) -> dict[str, Any]:
    """Return the whole result as JSON-ready dicts; figures are fractions of 1, and None where nothing can be said.

    Raises:
        InputError: when no picture could be looked at.
    """
    usable = scored_by_all(runs)
    pictures = [picture for picture, kept in zip(labelled.pictures, usable, strict=True) if kept]
    nude = labelled.nude[usable]
    scores = {run.scorer.name: run.scored.scores[usable] for run in runs}
    thresh = {run.scorer.name: run.thresh(settings) for run in runs}
    draws = _draws(nude, scores, thresh, settings)
    errors = _errors(runs, labelled)
    models = []
    for run in runs:
        name = run.scorer.name
        own = scores[name]
        entry = {
            "name": name,
            "sha256": run.scorer.sha256,
            "device": run.scorer.device,
            "thresh": thresh[name],
            **figures_at(nude, own, thresh[name], settings.base_rate, draws.get(name)),
            **curve_entries(nude, own, settings),
            "accuracy_if_errors_are_mistakes": _with_errors(nude, own >= thresh[name], len(errors)),
            "calibration": calibration_entry(nude, own, settings.seed),
            "slices": {},
            "speed": {
                "seconds": run.scored.seconds,
                "pictures_per_second": len(labelled.pictures) / run.scored.seconds,
                "workers": settings.workers,
            },
        }
        models.append(entry)
    for column in labelled.slice_columns:
        values = np.array([picture.slices[column] for picture in pictures])
        for value in sorted(set(values.tolist())):
            _add_slice(models, (column, value), values == value, nude, scores, settings)
    result = {
        "format": CLASSIFIER_FORMAT,
        "version": detector.__version__,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **_head(nude, labelled, settings, errors),
        "models": models,
        "differences": _differences(models, draws),
        "pictures": [
            {"file": picture.name, "nude": picture.nude, "scores": [float(part[index]) for part in scores.values()]}
            for index, picture in enumerate(pictures)
        ],
    }
    ready: dict[str, Any] = rounded(result)
    return ready


def _head(
    nude: Bools, labelled: Labelled, settings: ClassifierSettings, errors: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "data": {
            "source": labelled.source,
            "digest": labelled.digest,
            "pictures": len(nude),
            "nude": int(nude.sum()),
            "safe": int((~nude).sum()),
            "repeated": labelled.repeated,
            "beside": labelled.beside,
            "errors": errors,
        },
        "settings": {
            "thresh": settings.thresh,
            "base_rate": settings.base_rate,
            "want_fpr": settings.want_fpr,
            "want_recall": settings.want_recall,
            "slices": list(labelled.slice_columns),
            "bootstrap_rounds": settings.rounds,
            "confidence": bootstrap.CONFIDENCE,
            "seed": settings.seed,
        },
    }


def _with_errors(nude: Bools, flagged: Bools, errors: int) -> float | None:
    """Return the accuracy where every unreadable picture counts as a mistake; None when there is none."""
    return int(np.count_nonzero(nude == flagged)) / (len(nude) + errors) if errors else None


def _add_slice(
    models: Sequence[dict[str, Any]],
    key: tuple[str, str],
    own: Bools,
    nude: Bools,
    scores: Mapping[str, Floats],
    settings: ClassifierSettings,
) -> None:
    """Add the figures of the pictures with one value of a column to every scorer's entry."""
    column, value = key
    cut = {name: part[own] for name, part in scores.items()}
    draws = _draws(nude[own], cut, {entry["name"]: entry["thresh"] for entry in models}, settings)
    counts = {"nude": int(nude[own].sum()), "safe": int((~nude[own]).sum())}
    for entry in models:
        name = entry["name"]
        entry["slices"].setdefault(column, {})[value] = {
            **counts,
            "few": min(counts.values()) < FEW,
            **figures_at(nude[own], cut[name], entry["thresh"], settings.base_rate, draws.get(name)),
        }


def _errors(runs: Sequence[ScorerRun], labelled: Labelled) -> list[dict[str, Any]]:
    """List each picture that some scorer could not look at, with the first one's reason."""
    why: dict[int, str] = {}
    for run in runs:
        for index, line in run.scored.errors.items():
            why.setdefault(index, line)
    return [
        {"file": labelled.pictures[index].name, "nude": labelled.pictures[index].nude, "why": why[index]}
        for index in sorted(why)
    ]


def _draws(
    nude: Bools, scores: Mapping[str, Floats], thresh: Mapping[str, float], settings: ClassifierSettings
) -> dict[str, dict[str, Floats]]:
    if not settings.rounds:
        return {}
    return resampled_figures(nude, scores, thresh, rounds=settings.rounds, seed=settings.seed)


def _differences(
    models: Sequence[Mapping[str, Any]], draws: Mapping[str, Mapping[str, Floats]]
) -> list[dict[str, Any]]:
    """Return each later scorer minus the first, on the same draws."""
    if not draws:
        return []
    first = models[0]
    found = []
    for other in models[1:]:
        entry: dict[str, Any] = {"from": first["name"], "to": other["name"]}
        for name in RESAMPLED:
            before, after = draws[first["name"]][name], draws[other["name"]][name]
            change = bootstrap.difference(before, after, [first["figures"][name], other["figures"][name]])
            if change is not None and name == "brier":  # less is better
                both = ~np.isnan(after - before)
                change["better"] = float(np.mean((after < before)[both]))
            entry[name] = change
        found.append(entry)
    return found
