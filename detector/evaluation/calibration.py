"""Calibration: whether a score of 0.8 means that 80 of 100 such pictures are nude, and one number that mends it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "FOLDS",
    "Reliability",
    "fit_temperature",
    "fold_numbers",
    "negative_log_likelihood",
    "reliability",
    "scale_by_others",
    "scale_scores",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Guo et al. use 15; published figures mostly do.
BINS = 15
# The temperature of a picture is fitted on the other four fifths.
FOLDS = 5
# A detector that found nothing says 0, whose logit is infinite: -11.5 here. Without a bound one missed picture
# would decide the temperature alone.
CLIP = 1e-5
# Scores outside are all one half, or all 0 and 1; so a fit that wants to go there stops.
LOWEST, HIGHEST = 0.01, 100.0
# Halvings of the search: the temperature is then known to 12 digits.
STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Pictures sorted into bins of equal width by score.

    Attributes:
        count: (B,) pictures in each bin.
        score: (B,) their mean score; NaN in an empty bin.
        share: (B,) the share of them that is nude; NaN in an empty bin.
    """

    count: NDArray[np.int64]
    score: Floats
    share: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of share from score, weighted by pictures."""
        used = self.count > 0
        return float(np.sum(self.count[used] * np.abs(self.share - self.score)[used]) / self.count.sum())


def reliability(nude: Bools, scores: Floats, bins: int = BINS) -> Reliability:
    """Compare what scores say with what is there.

    Args:
        nude: (N,) what each picture is, N at least 1.
        scores: (N,) in [0, 1], taken as the probability that it is nude.
        bins: of equal width; a score on a border belongs to the bin below, and 0 to the first.

    Source:
        Guo et al., On Calibration of Modern Neural Networks (arXiv:1706.04599), section 2. Theirs is the confidence of
        the winning class; this is the probability of one of two classes, which also shows scores under one half.
    """
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scores, side="left")
    count = np.bincount(place, minlength=bins)
    total = np.bincount(place, weights=scores, minlength=bins)
    hits = np.bincount(place, weights=nude.astype(np.float64), minlength=bins)
    empty = np.full(bins, np.nan)
    return Reliability(
        count=count,
        score=np.divide(total, count, out=empty.copy(), where=count > 0),
        share=np.divide(hits, count, out=empty.copy(), where=count > 0),
    )


def scale_scores(scores: Floats, temperature: float | Floats) -> Floats:
    """Return sigmoid(logit(score) / temperature): over 1 pulls scores to one half, under 1 pushes them apart.

    The order of scores stays, so curves do too, and a score of one half stays where it is.
    """
    return np.asarray(1 / (1 + np.exp(-_logits(scores) / temperature)), dtype=np.float64)


def negative_log_likelihood(nude: Bools, scores: Floats) -> float:
    """Return the mean of -log of the probability that was given to what is there, scores clipped by 1e-5."""
    return float(np.mean(np.logaddexp(0, -_signed(nude, scores))))


def fit_temperature(nude: Bools, scores: Floats) -> float:
    """Return the temperature with the least negative log likelihood.

    The loss is convex in 1 / temperature, so its slope has one zero, found by halving. A temperature is only one
    number: it cannot mend a score that says one half at the wrong place.

    Args:
        nude: (N,) what each picture is.
        scores: (N,) in [0, 1].
    """
    margin = _signed(nude, scores)

    def rises(inverse: float) -> bool:
        """Whether the loss rises at this 1 / temperature."""
        weight = 1 / (1 + np.exp(np.clip(margin * inverse, -700, 700)))
        return bool(np.sum(-margin * weight) > 0)

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(STEPS):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if rises(middle) else (middle, high)
    return float(1 / np.sqrt(low * high))


def fold_numbers(nude: Bools, seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """Deal the pictures of each kind out to folds in random order, as evenly as possible; (N,) from 0 up."""
    rng = np.random.default_rng(seed)
    numbers = np.empty(len(nude), dtype=np.int64)
    for kind in (False, True):
        where = np.flatnonzero(nude == kind)
        numbers[where] = rng.permutation(len(where)) % folds
    return numbers


def scale_by_others(nude: Bools, scores: Floats, seed: int) -> Floats:
    """Return the scores, each scaled with a temperature that was fitted without its own fold.

    So what is said of the scaled scores is not said of the pictures that they were fitted on.
    """
    numbers = fold_numbers(nude, seed)
    scaled = np.empty_like(scores)
    for fold in np.unique(numbers):
        own = numbers == fold
        # A handful of pictures can lie in one fold; there is then nothing else to fit on.
        others = ~own if (~own).any() else own
        scaled[own] = scale_scores(scores[own], fit_temperature(nude[others], scores[others]))
    return scaled


def _logits(scores: Floats) -> Floats:
    bounded = np.clip(scores, CLIP, 1 - CLIP)
    return np.asarray(np.log(bounded) - np.log1p(-bounded), dtype=np.float64)


def _signed(nude: Bools, scores: Floats) -> Floats:
    """Return the logits, turned so that positive is right; (N,)."""
    return np.where(nude, 1.0, -1.0) * _logits(scores)
