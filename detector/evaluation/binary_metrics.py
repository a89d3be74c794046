"""Figures of scores that tell two kinds of pictures apart: confusion, ROC and precision-recall curves, intervals."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["Confusion", "Cut", "ScoreCurve", "brier_score", "precision_at_base_rate", "score_curve", "wilson_interval"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Two-sided 95 % of the normal distribution: the confidence of `bootstrap.CONFIDENCE`.
Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How many pictures of each kind were flagged, at one threshold.

    Attributes:
        tp: nude, flagged.
        fn: nude, not flagged.
        fp: safe, flagged.
        tn: safe, not flagged.
    """

    tp: int
    fn: int
    fp: int
    tn: int

    @classmethod
    def of(cls, nude: Bools, flagged: Bools) -> "Confusion":
        """Count.

        Args:
            nude: (N,) what each picture is.
            flagged: (N,) what is said of it.
        """
        return cls(
            tp=int(np.count_nonzero(nude & flagged)),
            fn=int(np.count_nonzero(nude & ~flagged)),
            fp=int(np.count_nonzero(~nude & flagged)),
            tn=int(np.count_nonzero(~nude & ~flagged)),
        )

    @property
    def pictures(self) -> int:
        """All of them."""
        return self.tp + self.fn + self.fp + self.tn

    def ratios(self) -> dict[str, tuple[int, int]]:
        """Return every figure that is a share, as (how many, of how many).

        `fpr` is the share of safe pictures that are flagged: 1 minus the recall of `safe`.
        """
        return {
            "accuracy": (self.tp + self.tn, self.pictures),
            "precision_nude": (self.tp, self.tp + self.fp),
            "recall_nude": (self.tp, self.tp + self.fn),
            "precision_safe": (self.tn, self.tn + self.fn),
            "recall_safe": (self.tn, self.tn + self.fp),
            "fpr": (self.fp, self.tn + self.fp),
        }

    def figures(self) -> dict[str, float | None]:
        """Return the shares, `f1_nude` and `f1_safe`; None for 0 of 0, where nothing can be said."""
        found = {name: _share(part, whole) for name, (part, whole) in self.ratios().items()}
        wrong = self.fp + self.fn
        found["f1_nude"] = _share(2 * self.tp, 2 * self.tp + wrong)
        found["f1_safe"] = _share(2 * self.tn, 2 * self.tn + wrong)
        return found


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One choice of a threshold and what it gives.

    Attributes:
        score_thresh: flag what is at or above it.
        recall: share of the nude pictures that are flagged.
        fpr: share of the safe pictures that are.
        next_score: the highest score that is not flagged, 0 when all are: any threshold over it flags the same.
    """

    score_thresh: float
    recall: float
    fpr: float
    next_score: float

    def to_dict(self) -> dict[str, float]:
        """Return a JSON-ready dict."""
        return {"score_thresh": self.score_thresh, "recall": self.recall, "fpr": self.fpr}


@dataclass(frozen=True, kw_only=True)
class ScoreCurve:
    """What every threshold gives: flagging all pictures from a score up.

    Attributes:
        scores: (G,) falling, each score that occurs once: a threshold flags all of a score or none.
        hits: (G,) nude pictures that are flagged.
        false_alarms: (G,) safe pictures that are flagged.
    """

    scores: Floats
    hits: Floats
    false_alarms: Floats

    @property
    def recall(self) -> Floats:
        """(G,) rising; the true-positive rate of a ROC curve."""
        return np.asarray(self.hits / self.hits[-1])

    @property
    def fpr(self) -> Floats:
        """(G,) rising; the false-positive rate."""
        return np.asarray(self.false_alarms / self.false_alarms[-1])

    @property
    def precision(self) -> Floats:
        """(G,) share of the flagged pictures that are nude."""
        return self.hits / (self.hits + self.false_alarms)

    @property
    def both(self) -> bool:
        """Whether there are pictures of both kinds; without them there is no ROC curve."""
        return bool(self.hits[-1] > 0 and self.false_alarms[-1] > 0)

    def auc(self) -> float | None:
        """Return the area under the ROC curve: the chance that a nude picture scores above a safe one, ties half."""
        if not self.both:
            return None
        return float(np.trapezoid(np.append(0.0, self.recall), np.append(0.0, self.fpr)))

    def average_precision(self) -> float | None:
        """Return the area under the precision-recall curve, in steps and not interpolated (as scikit-learn's)."""
        if self.hits[-1] == 0:
            return None
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    def at_recall(self, wanted: float) -> Cut | None:
        """Return the highest threshold whose recall is at least `wanted`; None without pictures of both kinds."""
        _check_share("a wanted recall", wanted)
        if not self.both:
            return None
        # A recall of 0.95 of 20 pictures is 19 of them, whatever 19 / 20 is in binary.
        return self._cut(int(np.argmax(self.hits >= wanted * self.hits[-1] - 1e-9)))

    def at_fpr(self, wanted: float) -> Cut | None:
        """Return the lowest threshold that flags at most this share of the safe pictures.

        None without pictures of both kinds, or where a safe picture has the highest score of all and so every
        threshold flags too many.
        """
        _check_share("a wanted FPR", wanted)
        if not self.both:
            return None
        few = np.flatnonzero(self.false_alarms <= wanted * self.false_alarms[-1] + 1e-9)
        return self._cut(int(few[-1])) if few.size else None

    def _cut(self, index: int) -> Cut:
        return Cut(
            score_thresh=float(self.scores[index]),
            recall=float(self.recall[index]),
            fpr=float(self.fpr[index]),
            next_score=float(self.scores[index + 1]) if index + 1 < len(self.scores) else 0.0,
        )


def score_curve(nude: Bools, scores: Floats) -> ScoreCurve:
    """Count at every threshold.

    Args:
        nude: (N,) what each picture is, N at least 1.
        scores: (N,) how likely it is nude, finite.

    Raises:
        UsageError: when the shapes differ, there is nothing, or a score is not a number: it would sort anywhere.
    """
    if nude.shape != scores.shape or nude.ndim != 1 or not nude.size:
        raise UsageError(f"there must be one label and one score a picture; got {nude.shape} and {scores.shape}")
    if not np.isfinite(scores).all():
        raise UsageError("every score must be a number; got NaN or infinity")
    order = np.argsort(-scores, kind="stable")
    ordered, kinds = scores[order], nude[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(kinds)[last].astype(np.float64)
    return ScoreCurve(scores=ordered[last], hits=hits, false_alarms=last + 1 - hits)


def brier_score(nude: Bools, scores: Floats) -> float:
    """Return the mean squared distance of the scores from 1 (nude) and 0 (safe); 0 is best."""
    return float(np.mean((scores - nude) ** 2))


def precision_at_base_rate(recall: float | None, fpr: float | None, base_rate: float) -> float | None:
    """Return the precision where a share `base_rate` of all pictures is nude, by Bayes' rule.

    Half-and-half sets flatter: at a recall of 0.98 and an FPR of 0.02 precision is 98 % there, and 33 % at a base
    rate of 0.01, where 98 of 10,000 pictures are flagged rightly and 198 wrongly.

    Returns:
        None when recall or FPR is, or nothing is flagged.
    """
    if recall is None or fpr is None:
        return None
    right, wrong = recall * base_rate, fpr * (1 - base_rate)
    return right / (right + wrong) if right + wrong > 0 else None


def wilson_interval(part: int, whole: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share; None for 0 of 0.

    Unlike resampling it has a width at 0 and at 1 too: no false alarm among 20 pictures does not mean that there are
    none.

    Source: Wilson, Probable inference, the law of succession, and statistical inference (1927), equation 7 on.
    """
    if whole == 0:
        return None
    share, z2 = part / whole, Z * Z
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = Z / (1 + z2 / whole) * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return (0.0 if part == 0 else middle - half, 1.0 if part == whole else middle + half)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _check_share(what: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UsageError(f"{what} must lie in (0, 1]; got {value}")
