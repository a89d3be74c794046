"""What is said of one scorer on labelled pictures: at its threshold, over all thresholds, and as probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.evaluation import bootstrap
from detector.evaluation.binary_bootstrap import RESAMPLED
from detector.evaluation.binary_metrics import (
    Confusion,
    Cut,
    ScoreCurve,
    brier_score,
    precision_at_base_rate,
    score_curve,
    wilson_interval,
)
from detector.evaluation.calibration import fit_temperature, negative_log_likelihood, reliability, scale_by_others

__all__ = [
    "FPRS",
    "RECALLS",
    "ClassifierSettings",
    "calibration_entry",
    "chosen_cut",
    "curve_entries",
    "figures_at",
]

# What published systems are read at.
RECALLS: tuple[float, ...] = (0.9, 0.95, 0.99)
FPRS: tuple[float, ...] = (0.01, 0.03, 0.05, 0.1)
# Of a score's histogram.
BARS = 20
# Points of a curve in the result: more cannot be told apart in a plot of 200 pixels.
CURVE_POINTS = 400

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """What figures depend on besides the data and the scorer.

    Attributes:
        thresh: operating threshold of every scorer; None takes each one's own (`detector.scorers.default_thresh`).
        base_rate: share of nude pictures that a precision is also stated for.
        want_fpr, want_recall: one of them, or neither: what a threshold is chosen for.
        rounds: draws of pictures for the confidence intervals; 0 leaves these out.
        seed: of the draws and of the folds of the temperature.
        workers: pictures worked on at a time.

    Raises:
        UsageError: when a number lies outside its range, or two thresholds are wanted at once.
    """

    thresh: float | None = None
    base_rate: float = 0.01
    want_fpr: float | None = None
    want_recall: float | None = None
    rounds: int = 1000
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        for name, value in (("--thresh", self.thresh), ("--base-rate", self.base_rate)):
            if value is not None and not 0 < value < 1:
                raise UsageError(f"{name} must lie between 0 and 1; got {value}")
        for name, value in (("--want-fpr", self.want_fpr), ("--want-recall", self.want_recall)):
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{name} must lie in (0, 1]; got {value}")
        if self.want_fpr is not None and self.want_recall is not None:
            raise UsageError("a threshold is chosen for --want-fpr or for --want-recall; got both; give one")


def figures_at(
    nude: Bools, scores: Floats, thresh: float, base_rate: float, draws: Mapping[str, Floats] | None
) -> dict[str, Any]:
    """Return what is said at the operating threshold and over all thresholds, of all pictures or of a slice.

    Args:
        nude: (N,) what each picture is.
        scores: (N,) in [0, 1].
        thresh: pictures at or above it are flagged.
        base_rate: share of nude pictures that a precision is also stated for.
        draws: (R,) by name, resampled figures of the same pictures; None leaves their intervals out.
    """
    confusion, curve = Confusion.of(nude, scores >= thresh), score_curve(nude, scores)
    figures = confusion.figures()
    figures["auc"], figures["average_precision"] = curve.auc(), curve.average_precision()
    figures["brier"], figures["ece"] = brier_score(nude, scores), reliability(nude, scores).ece
    figures["precision_at_base_rate"] = precision_at_base_rate(figures["recall_nude"], figures["fpr"], base_rate)
    ends: dict[str, tuple[float, float] | None] = {
        name: wilson_interval(part, whole) for name, (part, whole) in confusion.ratios().items()
    }
    for name in set(RESAMPLED) - set(ends):
        found = bootstrap.interval(draws[name], figures[name]) if draws is not None else None
        ends[name] = None if found is None else (found["low"], found["high"])
    recall, fpr = ends["recall_nude"], ends["fpr"]
    if recall is not None and fpr is not None:
        # The worst and the best of both intervals: wider than 95 %, and never narrower than what is known.
        low, high = (precision_at_base_rate(recall[i], fpr[1 - i], base_rate) for i in (0, 1))
        ends["precision_at_base_rate"] = None if low is None or high is None else (low, high)
    confidence = {name: {"low": pair[0], "high": pair[1]} for name, pair in sorted(ends.items()) if pair is not None}
    counts = {"tp": confusion.tp, "fn": confusion.fn, "fp": confusion.fp, "tn": confusion.tn}
    return {"confusion": counts, "figures": figures, "confidence": confidence}


def chosen_cut(curve: ScoreCurve, settings: ClassifierSettings) -> Cut | None:
    """Return the threshold that was asked for; None when none was, or nothing gives what is wanted."""
    if settings.want_fpr is not None:
        return curve.at_fpr(settings.want_fpr)
    return None if settings.want_recall is None else curve.at_recall(settings.want_recall)


def curve_entries(nude: Bools, scores: Floats, settings: ClassifierSettings) -> dict[str, Any]:
    """Return the curves, the scores' histogram, and what single thresholds give."""
    curve = score_curve(nude, scores)
    edges = np.linspace(0, 1, BARS + 1)
    chosen = chosen_cut(curve, settings)
    entries: dict[str, Any] = {
        "fpr_at_recall": [_wanted(curve, "recall", wanted) for wanted in RECALLS],
        "recall_at_fpr": [_wanted(curve, "fpr", wanted) for wanted in FPRS],
        "chosen": None,
        "roc": [],
        "precision_recall": [],
        "histogram": {
            "nude": np.histogram(scores[nude], edges)[0].tolist(),
            "safe": np.histogram(scores[~nude], edges)[0].tolist(),
        },
    }
    if chosen is not None:
        at = Confusion.of(nude, scores >= chosen.score_thresh)
        counts = {"tp": at.tp, "fn": at.fn, "fp": at.fp, "tn": at.tn}
        entries["chosen"] = {**chosen.to_dict(), "confusion": counts, "figures": at.figures()}
    if curve.both:
        keep = np.unique(np.linspace(0, len(curve.scores) - 1, CURVE_POINTS).astype(np.int64))
        entries["roc"] = [[0.0, 0.0], *np.stack([curve.fpr, curve.recall], axis=1)[keep].tolist()]
        entries["precision_recall"] = np.stack([curve.recall, curve.precision], axis=1)[keep].tolist()
    return entries


def _wanted(curve: ScoreCurve, what: str, wanted: float) -> dict[str, Any]:
    cut = curve.at_recall(wanted) if what == "recall" else curve.at_fpr(wanted)
    if cut is None and curve.both:  # every threshold flags too many safe pictures; flagging nothing does not
        return {"wanted": wanted, "score_thresh": None, "recall": 0.0, "fpr": 0.0}
    return {"wanted": wanted, **({} if cut is None else cut.to_dict())}


def calibration_entry(nude: Bools, scores: Floats, seed: int) -> dict[str, Any]:
    """Return how far the scores are probabilities, before and after one temperature that others were fitted on."""
    scaled = scale_by_others(nude, scores, seed)
    parts = {"before": scores, "after": scaled}
    return {
        "temperature": fit_temperature(nude, scores),
        **{
            when: {
                "ece": reliability(nude, values).ece,
                "nll": negative_log_likelihood(nude, values),
                "brier": brier_score(nude, values),
                "bins": [
                    {"pictures": int(count), "score": float(score), "nude": float(share)}
                    for count, score, share in _bins(nude, values)
                ],
            }
            for when, values in parts.items()
        },
    }


def _bins(nude: Bools, scores: Floats) -> list[tuple[int, float, float]]:
    found = reliability(nude, scores)
    rows = zip(found.count.tolist(), found.score.tolist(), found.share.tolist(), strict=True)
    return [row for row in rows if row[0]]
