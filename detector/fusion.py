"""`FusionModel`: a logistic model over named features that says how likely a picture is not safe, and why.

log-odds = intercept + sum of weight * (value - mean) / scale over the features of `detector.evidence`. It is fitted by
`detector fit-fusion` and stands in a policy as `[fusion]`. What keeps it from being talked out of what was found:

* No weight is negative: more evidence never makes a picture safer. A file with a negative weight is refused.
* A feature that is not known contributes nothing. Of the records that is all right; the second opinion may be left out
  only where the fit saw pictures without it, and `second_opinion.missing` then says what that means.
* Where a part was found at its threshold, or the second opinion says nsfw, a good record counts for nothing: the
  probability is never lower than what the picture alone gives (`record_guard` among the contributions).
* A bad record alone never says nsfw: what the picture alone does not call at least `review` is at most `review`.
* A part at or above `never_safe_above` is never safe, whatever the rest says.
* Where a part was found of a class that has no weight, neither its own nor that of any exposed part, the verdict is at
  least as strict as that of the rule table in `detector.verdict`.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from detector.classes import canonical_classes, canonical_keys
from detector.errors import PolicyError, UsageError
from detector.evidence import (
    MISSING,
    OPINION,
    RECORD_FEATURES,
    Evidence,
    counted_classes,
    log_odds,
    part_features,
    probability,
)
from detector.nearest import nearest

__all__ = [
    "INTERCEPT",
    "RECORD_GUARD",
    "STRICTNESS",
    "Contribution",
    "Decision",
    "Feature",
    "Fitted",
    "FusionModel",
    "fusion_features",
    "weighed_value",
]

# Verdicts, from the mildest.
STRICTNESS = ("safe", "review", "nsfw")

# Names among the contributions of what is no feature.
INTERCEPT, RECORD_GUARD = "intercept", "record_guard"

# A fit's contributions are below 100; what is beyond this comes from a file that is broken, and might be NaN.
MOST_LOG_ODDS = 1e6

# Contributions named in a reason: the largest, and none that moves a probability of .5 by less than .01.
_NAMED, _WORTH_NAMING = 3, 0.05


class Contribution(NamedTuple):
    """What one feature adds to the log-odds; `value` is None when it is not known, or has none."""

    feature: str
    value: float | None
    log_odds: float


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature's weight on (value - mean) / scale, the value as it is weighed: see `weighed_value`."""

    weight: float
    mean: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a model was fitted on, and its figures out of fold; for people, nothing is computed from it.

    Attributes:
        source, sha256: name and hash of the labelled file.
        pictures, nsfw: how many pictures, and how many of them are labelled nsfw: the probability is right for
            traffic of the same share.
        l2, folds: settings of the fit.
        log_loss, auc, brier: over the pictures, each judged by a model that was fitted without it.
    """

    source: str
    sha256: str
    pictures: int
    nsfw: int
    l2: float
    folds: int
    log_loss: float
    auc: float
    brier: float


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A fused verdict: `safe`, `review` or `nsfw`, the probability and what it is made of, and reasons for people."""

    verdict: str
    probability: float
    contributions: tuple[Contribution, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FusionModel:
    """The fitted model; what a policy's `[fusion]` says.

    Attributes:
        detector: name of the detector whose scores it was fitted to; empty when unknown. Others' mean other things.
        nsfw_classes: the classes that flag a picture, those of the policy.
        counted_from: lowest score that counts, of each class; the policy's thresholds must not be higher.
        intercept: log-odds when every feature is at its mean.
        review_above, nsfw_above: a probability above these is for review, or nsfw.
        never_safe_above: a part of an exposed class at this score or above is never safe.
        features: weight, mean and scale by name.
        fitted: what it was fitted on.

    Raises:
        PolicyError: when a number or a name is not as it must be.
    """

    detector: str
    nsfw_classes: tuple[str, ...]
    counted_from: dict[str, float]
    intercept: float
    review_above: float
    nsfw_above: float
    never_safe_above: float = 0.5
    features: dict[str, Feature]
    fitted: Fitted

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "nsfw_classes", canonical_classes(self.nsfw_classes))
            object.__setattr__(self, "counted_from", canonical_keys(self.counted_from))
        except UsageError as error:
            raise PolicyError(f"[fusion]: {error}") from error
        counted = counted_classes(self.nsfw_classes)
        if set(counted) != set(self.counted_from):
            raise PolicyError(
                f"[fusion] counted_from must name {', '.join(counted)}; it names {', '.join(self.counted_from)}"
            )
        if not 0 <= self.review_above <= self.nsfw_above < 1:
            raise PolicyError(
                "[fusion]: 0 <= review_above <= nsfw_above < 1 must hold; "
                f"got {self.review_above} and {self.nsfw_above}"
            )
        if not 0 < self.never_safe_above <= 1:
            raise PolicyError(f"[fusion]: never_safe_above must lie in (0, 1]; got {self.never_safe_above}")
        if not math.isfinite(self.intercept):
            raise PolicyError(f"[fusion]: the intercept must be a finite number; got {self.intercept}")
        known = fusion_features(self.nsfw_classes)
        for name, feature in self.features.items():
            if name not in known:
                raise PolicyError(f"[fusion.features]: {name!r} is no feature{nearest(name, known)}")
            if not all(math.isfinite(number) for number in (feature.weight, feature.mean, feature.scale)):
                raise PolicyError(f"[fusion.features]: {name} must have finite numbers; got {feature}")
            if feature.weight < 0 or feature.scale <= 0:
                raise PolicyError(
                    f"[fusion.features]: {name} must have weight >= 0 (evidence makes no picture safer) and scale > 0; "
                    f"got {feature.weight} and {feature.scale}"
                )
        if MISSING in self.features and OPINION not in self.features:
            raise PolicyError(f"[fusion.features]: {MISSING} must not stand without {OPINION}")

    @property
    def needs_opinion(self) -> bool:
        """Whether every picture must have a second opinion: the fit saw none without."""
        return OPINION in self.features and MISSING not in self.features

    @property
    def weighs_records(self) -> bool:
        """Whether any record was among what it was fitted on."""
        return any(name in RECORD_FEATURES for name in self.features)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form, with the keys of the policy's `[fusion]`."""
        return {**asdict(self), "nsfw_classes": list(self.nsfw_classes)}

    def weigh(self, evidence: Evidence, *, alarmed: bool) -> tuple[float, float, tuple[Contribution, ...]]:
        """Return the probability, that of the picture alone, and the contributions.

        The contributions add up to the log-odds of the probability.

        Args:
            evidence: what is known of the picture.
            alarmed: whether a part was found or the second opinion says nsfw: a good record then counts for nothing.

        Raises:
            UsageError: when a feature is not known that must be.
            PolicyError: when a feature's contribution is beyond any that was ever fitted, or none at all.
        """
        if self.needs_opinion and evidence.second_opinion is None:
            raise UsageError(
                "a second opinion must be given: every picture of this policy's fusion was fitted with one"
            )
        if not self.weighs_records and (evidence.uploader or evidence.group):
            raise UsageError(
                "a record can be weighed only by a fusion that was fitted with records; this one was not; leave it out"
            )
        parts = [Contribution(INTERCEPT, None, self.intercept)]
        for name, feature in self.features.items():
            value = evidence.value(name, feature.mean)
            shift = 0.0 if value is None else (weighed_value(name, value) - feature.mean) / feature.scale
            odds = feature.weight * shift + 0.0  # + 0.0: never -0.0
            if not abs(odds) <= MOST_LOG_ODDS:  # NaN among them, which no bound would be exceeded by
                raise PolicyError(
                    f"[fusion.features]: {name} must move the log-odds by at most {MOST_LOG_ODDS:g}; it moves them by "
                    f"{odds:g}; its weight, mean or scale is broken; fit it again"
                )
            parts.append(Contribution(name, value, odds))
        of_record = math.fsum(part.log_odds for part in parts if part.feature in RECORD_FEATURES)
        if alarmed and of_record < 0:
            parts.append(Contribution(RECORD_GUARD, None, -of_record))
        odds = math.fsum(part.log_odds for part in parts)
        alone = math.fsum(part.log_odds for part in parts if part.feature not in (*RECORD_FEATURES, RECORD_GUARD))
        return probability(odds), probability(alone), tuple(parts)

    def decide(self, evidence: Evidence, hits: Mapping[str, float], *, alarmed: bool, ruled: str) -> Decision:
        """Return the verdict.

        Args:
            evidence: what is known of the picture.
            hits: the exposed classes that were found at or above the policy's thresholds, with their best scores.
            alarmed: whether the second opinion says nsfw.
            ruled: the rule table's verdict on the same picture.

        Raises:
            UsageError: when a feature is not known that must be.
        """
        chance, alone, parts = self.weigh(evidence, alarmed=alarmed or bool(hits))
        if chance > self.nsfw_above:
            verdict, against = "nsfw", f"above {self.nsfw_above:g}"
        elif chance > self.review_above:
            verdict, against = "review", f"above {self.review_above:g} and not above {self.nsfw_above:g}"
        else:
            verdict, against = "safe", f"not above {self.review_above:g}"
        reasons = [f"probability {chance:.3f}, {against}, says {verdict}", *_named(parts)]
        if verdict == "nsfw" and alone <= self.review_above:
            verdict = "review"
            reasons.append(f"the picture alone gives {alone:.3f}: a record alone says at most review")
        unweighed = [label for label in hits if not self._weighs(label)]
        if unweighed and STRICTNESS.index(ruled) > STRICTNESS.index(verdict):
            verdict = ruled
            reasons.append(f"{', '.join(unweighed)} has no weight in the fusion: the rule table says {ruled}")
        certain = [f"{label} at {score:.2f}" for label, score in hits.items() if score >= self.never_safe_above]
        if certain and verdict == "safe":
            verdict = "review"
            reasons.append(f"{', '.join(certain)} is never safe from {self.never_safe_above:g} up")
        return Decision(verdict=verdict, probability=chance, contributions=parts, reasons=tuple(reasons))

    def _weighs(self, label: str) -> bool:
        """Whether a part of this class can raise the probability by its score or by being there."""
        names = ("exposed.score", "exposed.count", f"{label}.score", f"{label}.count")
        return any(self.features[name].weight > 0 for name in names if name in self.features)


def fusion_features(nsfw_classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the name of every feature there is, in order."""
    return (*part_features(nsfw_classes), OPINION, MISSING, *RECORD_FEATURES)


def weighed_value(feature: str, value: float) -> float:
    """Return a feature's value as it is weighed: shares and the second opinion as log-odds, the rest as it is."""
    return log_odds(value) if feature == OPINION or feature in RECORD_FEATURES else value


def _named(parts: tuple[Contribution, ...]) -> list[str]:
    """Say in words which contributions count most, and that a good record did not."""
    guard = [part.log_odds for part in parts if part.feature == RECORD_GUARD]
    silent = (INTERCEPT, RECORD_GUARD, *(RECORD_FEATURES if guard else ()))
    features = [part for part in parts if part.feature not in silent and abs(part.log_odds) >= _WORTH_NAMING]
    largest = sorted(features, key=lambda part: -abs(part.log_odds))[:_NAMED]
    said = [
        f"{part.feature}{'' if part.value is None else f' {part.value:.3g}'} "
        f"{'raises' if part.log_odds > 0 else 'lowers'} the log-odds by {abs(part.log_odds):.2f}"
        for part in largest
    ]
    return [*said, *(f"the record, good for {odds:.2f}, counts for nothing: something was found" for odds in guard)]
