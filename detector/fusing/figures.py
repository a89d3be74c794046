"""Figures of probabilities against labels: log-loss, Brier score, area under the ROC curve, and thresholds."""

import math

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["auc", "brier", "log_loss", "threshold_for_fpr", "threshold_for_recall"]

Array = NDArray[np.float64]
Labels = NDArray[np.bool_]

# Thresholds have four digits, rounded to the side that keeps what was wanted.
_STEPS = 10_000
# A probability of 0 or 1 counts as this far from it, or one wrong answer would make the log-loss infinite.
_EDGE = 1e-15


def log_loss(p: Array, y: Labels) -> float:
    """Return the mean of -log of the probability that was given to the right label."""
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return float(-np.where(y, np.log(p), np.log1p(-p)).mean())


def brier(p: Array, y: Labels) -> float:
    """Return the mean squared difference between probability and label."""
    return float(((p - y) ** 2).mean())


def auc(scores: Array, y: Labels) -> float:
    """Return how often a picture labelled nsfw scores above a safe one; equal scores count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives, negatives = int(y.sum()), int((~y).sum())
    return float((ranks[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def threshold_for_fpr(p: Array, y: Labels, wanted: float) -> float:
    """Return the lowest threshold with at most this share of the safe pictures above it, rounded up.

    Raises:
        UsageError: when `wanted` is not in [0, 1].
    """
    if not 0 <= wanted <= 1:
        raise UsageError(f"--want-fpr must lie in [0, 1]; got {wanted}")
    safe = np.sort(p[~y])[::-1]
    allowed = math.floor(wanted * len(safe) + 1e-9)
    edge = float(safe[allowed]) if allowed < len(safe) else 0.0
    return min(math.ceil(edge * _STEPS) / _STEPS, (_STEPS - 1) / _STEPS)


def threshold_for_recall(p: Array, y: Labels, wanted: float) -> float:
    """Return the highest threshold with at least this share of the nsfw pictures above it, rounded down.

    Raises:
        UsageError: when `wanted` is not in (0, 1].
    """
    if not 0 < wanted <= 1:
        raise UsageError(f"--want-recall must lie in (0, 1]; got {wanted}")
    nsfw = np.sort(p[y])[::-1]
    needed = float(nsfw[math.ceil(wanted * len(nsfw) - 1e-9) - 1])
    steps = math.ceil(needed * _STEPS) - 1  # the threshold is under it: above means more than
    return max(steps, 0) / _STEPS
