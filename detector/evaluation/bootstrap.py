"""Confidence intervals of AP by resampling pictures: from cached matches, never by evaluating again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.evaluation.coco_metrics import RECALL_POINTS, Matches

__all__ = ["CONFIDENCE", "difference", "interval", "picture_weights", "resampled_ap"]

CONFIDENCE = 0.95

# Rows of the weight matrix are worked on in blocks of at most so many numbers: 64 MB in float64.
BLOCK_NUMBERS = 8_000_000

Floats = NDArray[np.float64]


def picture_weights(pictures: int, rounds: int, seed: int) -> Floats:
    """Draw as many pictures as there are, with replacement, `rounds` times.

    Returns:
        (rounds, pictures) how often each picture was drawn; every row adds up to `pictures`. The same for two models,
        so that their difference is of the same pictures.
    """
    if pictures < 1 or rounds < 1:
        raise UsageError(f"there must be at least one picture and one round; got {pictures} and {rounds}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=rounds).astype(np.float64)


def resampled_ap(matches: Mapping[str, Matches], weights: Floats) -> dict[str, Floats]:
    """Return AP and AP50 of every draw of pictures, as pycocotools would give them for those pictures.

    Args:
        matches: of each class.
        weights: (R, I) how often each picture counts.

    Returns:
        `AP` and `AP50`, (R,) each; NaN for a draw without a single part. As in pycocotools, a class without a part in
        a draw is left out of that draw's mean.
    """
    by_class = np.stack([_class_ap(part, weights) for part in matches.values()])  # (K, R, T)
    seen = ~np.isnan(by_class)
    counts = seen.sum(axis=0)  # (R, T)
    total = np.where(seen, by_class, 0.0).sum(axis=0)
    mean = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
    return {"AP": mean.mean(axis=1), "AP50": mean[:, 0]}


def interval(values: Floats, point: float | None) -> dict[str, Any] | None:
    """Return the percentile interval of resampled values: `point`, `low`, `high`; None where there is no point."""
    values = values[~np.isnan(values)]
    if point is None or not values.size:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return {"point": point, "low": float(low), "high": float(high)}


def difference(first: Floats, second: Floats, points: Sequence[float | None]) -> dict[str, Any] | None:
    """Return the interval of second minus first over the same draws, and the share of draws in which second is better.

    Args:
        first: (R,) of one model.
        second: (R,) of the other, from the same weights.
        points: both figures on the pictures as they are.
    """
    if points[0] is None or points[1] is None:
        return None
    change = second - first
    found = interval(change, points[1] - points[0])
    if found is not None:
        found["better"] = float(np.mean(change[~np.isnan(change)] > 0))
    return found


def _class_ap(part: Matches, weights: Floats) -> Floats:
    """Return (R, T) 101-point AP of one class for every draw; NaN where a draw has none of its parts.

    A picture drawn w times stands for w copies: its detections weigh w. Copies would only add points of equal recall
    and lower precision, or of lower recall under the same envelope, so the weighted curve reads the same as theirs.
    Precision is needed at hits only, which are few.
    """
    result = np.zeros((len(weights), len(part.ious)))
    block = max(1, BLOCK_NUMBERS // max(1, len(part.scores)))
    for start in range(0, len(weights), block):
        drawn = weights[start : start + block]
        truths = drawn @ part.truths.astype(np.float64)  # (R,)
        of_detections = drawn[:, part.images]  # (R, D)
        counted = np.cumsum(of_detections, axis=1)
        for step in range(len(part.ious)):
            result[start : start + block, step] = _envelope_ap(part, step, of_detections, counted, truths)
    return result


def _envelope_ap(part: Matches, step: int, weights: Floats, counted: Floats, truths: Floats) -> Floats:
    """Return (R,) AP at one IoU.

    Args:
        part: the matches of one class.
        step: which of its IoUs.
        weights: (R, D) of each detection.
        counted: (R, D) running sum of `weights`, those of ignored detections in it.
        truths: (R,) weight of all parts.
    """
    at, ignored = np.flatnonzero(part.hit[step]), np.flatnonzero(part.ignored[step])
    hits = np.cumsum(weights[:, at], axis=1)  # (R, P)
    before = np.searchsorted(ignored, at)
    ignored_sum = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, ignored], axis=1)], axis=1)
    total = counted[:, at] - ignored_sum[:, before]
    recall = np.divide(hits, truths[:, None], out=np.zeros_like(hits), where=truths[:, None] > 0)
    precision = hits / (total + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # How many of the 101 points are reached for the first time at each hit.
    reached = np.searchsorted(RECALL_POINTS, recall, side="right")
    first = np.diff(reached, axis=1, prepend=0)
    ap = (first * envelope).sum(axis=1) / len(RECALL_POINTS)
    return np.where(truths > 0, ap, np.nan)
