"""Precision and recall at every score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.evaluation.coco_metrics import RECALL_POINTS, Matches

__all__ = ["Curve", "precision_recall"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision and recall of one class, keeping every detection from a score up.

    Attributes:
        scores: (P,) falling, each score once; (0,) when nothing was found.
        precision: (P,) share of those kept that are right.
        recall: (P,) share of the parts that were found.
        truths: number of counted parts, at least 1.
    """

    scores: Floats
    precision: Floats
    recall: Floats
    truths: int

    @property
    def f1(self) -> Floats:
        """Harmonic mean of precision and recall, (P,); 0 where both are 0."""
        total = self.precision + self.recall
        return np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)

    def interpolated(self) -> list[float]:
        """Return COCO's reading of the curve: the best precision at each of 101 recalls or above."""
        envelope = np.append(np.maximum.accumulate(self.precision[::-1])[::-1], 0.0)
        return [float(value) for value in envelope[np.searchsorted(self.recall, RECALL_POINTS, side="left")]]


def precision_recall(matches: Matches, step: int = 0) -> Curve | None:
    """Return the curve of one class at one IoU; None when the class has no counted part.

    Args:
        matches: of the class.
        step: index into `matches.ious`; 0 is IoU 0.5.
    """
    truths = int(matches.truths.sum())
    if truths == 0:
        return None
    counts = ~matches.ignored[step]
    scores, hits = matches.scores[counts], np.cumsum(matches.hit[step][counts])
    # A threshold keeps all of a score or none: only the last of equal scores is a point that can be chosen.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], np.ones(min(1, len(scores)), dtype=bool)))
    return Curve(
        scores=scores[last],
        precision=hits[last] / (last + 1),
        recall=hits[last] / truths,
        truths=truths,
    )
