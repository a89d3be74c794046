"""Confidence intervals of a classifier's figures, and of differences between two, by resampling pictures."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.bootstrap import BLOCK_NUMBERS, picture_weights

__all__ = ["RESAMPLED", "resampled_figures"]

# `brier` is better when it is less; the others when they are more.
RESAMPLED: tuple[str, ...] = ("accuracy", "f1_nude", "f1_safe", "auc", "average_precision", "brier")

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def resampled_figures(
    nude: Bools, scores: Mapping[str, Floats], thresh: Mapping[str, float], *, rounds: int, seed: int
) -> dict[str, dict[str, Floats]]:
    """Return the figures of every draw of as many pictures, with replacement; the same draws for every scorer.

    Args:
        nude: (N,) what each picture is.
        scores: by scorer, (N,).
        thresh: by scorer, its operating threshold.
        rounds: number of draws, R.
        seed: of the draws.

    Returns:
        By scorer and name (`RESAMPLED`), (R,); NaN where a draw lacks one kind of picture.
    """
    found: dict[str, dict[str, list[Floats]]] = {name: {key: [] for key in RESAMPLED} for name in scores}
    # A matrix of all draws would not fit for many pictures; every block has a seed of its own.
    block = max(1, min(rounds, BLOCK_NUMBERS // len(nude)))
    starts = range(0, rounds, block)
    seeds = np.random.SeedSequence(seed).generate_state(len(starts))
    for start, own_seed in zip(starts, seeds, strict=True):
        weights = picture_weights(len(nude), min(block, rounds - start), int(own_seed))
        for name, values in scores.items():
            for key, drawn in _figures(nude, values, thresh[name], weights).items():
                found[name][key].append(drawn)
    return {name: {key: np.concatenate(parts) for key, parts in table.items()} for name, table in found.items()}


def _figures(nude: Bools, scores: Floats, thresh: float, weights: Floats) -> dict[str, Floats]:
    """Return each figure, (R,), with weights (R, N) of the pictures: one of weight w stands for w copies."""
    order = np.argsort(-scores, kind="stable")
    ordered, kinds, drawn = scores[order], nude[order], weights[:, order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    hits = np.cumsum(drawn * kinds, axis=1)[:, last]  # (R, G)
    alarms = np.cumsum(drawn * ~kinds, axis=1)[:, last]
    all_nude, all_safe = hits[:, -1], alarms[:, -1]
    both = (all_nude > 0) & (all_safe > 0)

    flagged = ordered >= thresh
    tp, fp = drawn @ (flagged & kinds), drawn @ (flagged & ~kinds)
    fn, tn = all_nude - tp, all_safe - fp
    total = all_nude + all_safe
    steps = np.diff(hits, axis=1, prepend=0.0)
    precision = _divide(hits, hits + alarms)
    # Trapezoids of the ROC curve: new false alarms times the mean of the hits before and after.
    area = (np.diff(alarms, axis=1, prepend=0.0) * (hits - steps / 2)).sum(axis=1)
    return {
        "accuracy": (tp + tn) / total,
        "f1_nude": np.where(both, _divide(2 * tp, 2 * tp + fp + fn), np.nan),
        "f1_safe": np.where(both, _divide(2 * tn, 2 * tn + fp + fn), np.nan),
        "auc": np.where(both, _divide(area, all_nude * all_safe), np.nan),
        "average_precision": np.where(both, _divide((steps * precision).sum(axis=1), all_nude), np.nan),
        "brier": drawn @ (ordered - kinds) ** 2 / total,
    }


def _divide(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 for 0 / 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
