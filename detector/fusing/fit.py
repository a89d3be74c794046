"""Fit a `FusionModel` to labelled evidence, and measure it on pictures that it was not fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.evidence import (
    MISSING,
    OPINION,
    RECORD_FEATURES,
    WINDOWS,
    Evidence,
    counted_classes,
    log_odds,
)
from detector.fusing.figures import auc, brier, log_loss, threshold_for_fpr, threshold_for_recall
from detector.fusing.logistic import fit_logistic
from detector.fusing.samples import Samples
from detector.fusion import STRICTNESS, Feature, Fitted, FusionModel, fusion_features, weighed_value
from detector.policy import Policy
from detector.verdict import opinion_band, rule_verdict

__all__ = ["MIN_PICTURES", "FitResult", "FitSettings", "WeightRow", "fit_fusion"]

Array = NDArray[np.float64]
Labels = NDArray[np.bool_]

# Fewer pictures of a label than this cannot say what some twenty weights are, nor what the fit is worth.
MIN_PICTURES = 20
# Share of the draws that an interval of a weight holds.
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to fit.

    Attributes:
        l2: strength of the penalty on the weights; scikit-learn's `C` is 1 / l2.
        folds: parts of the cross-validation.
        want_fpr: share of safe pictures that may be called nsfw: sets `nsfw_above`.
        want_recall: share of nsfw pictures that must be called review or nsfw: sets `review_above`.
        rounds: draws for the intervals of the weights.
        seed: of folds and draws.
    """

    l2: float = 1.0
    folds: int = 5
    want_fpr: float = 0.01
    want_recall: float = 0.95
    rounds: int = 200
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class WeightRow:
    """One weight, in log-odds for a standard deviation, with its interval over the draws and how often it is known.

    `low` and `high` are None where nothing was drawn.
    """

    feature: str
    weight: float
    low: float | None
    high: float | None
    known: int


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A fitted model and what is known of it.

    Attributes:
        model: to stand in a policy.
        weights: its weights with intervals, in the order of the features.
        dropped: features that had the same value in every picture, or in none: the model does not know them.
        figures: log-loss, AUC and Brier score out of fold, and of each part of the evidence alone; None where a
            figure has no meaning.
        verdicts: of the rule table and of the fusion out of fold: how many pictures of each label are called safe,
            review and nsfw.
    """

    model: FusionModel
    weights: tuple[WeightRow, ...]
    dropped: tuple[str, ...]
    figures: dict[str, dict[str, float | None]]
    verdicts: dict[str, dict[str, dict[str, int]]]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `fusion` holds the keys of the policy's table of that name."""
        return {
            "fusion": self.model.to_dict(),
            "weights": [
                {"feature": row.feature, "weight": row.weight, "low": row.low, "high": row.high, "known": row.known}
                for row in self.weights
            ],
            "dropped": list(self.dropped),
            "figures": self.figures,
            "verdicts": self.verdicts,
        }


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The evidence as numbers: (N, F) values as they are weighed, NaN where not known."""

    names: tuple[str, ...]
    values: Array
    usual: dict[str, float]

    def scaling(self, rows: NDArray[np.int64] | slice) -> tuple[Array, Array]:
        """Return mean and scale of each feature over some rows: 0 for an indicator, the usual share for a record."""
        values = self.values[rows]
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, values, 0.0).sum(axis=0) / count
        means = np.array([self.usual.get(name, mean) for name, mean in zip(self.names, means, strict=True)])
        scales = np.sqrt((np.where(known, values - means, 0.0) ** 2).sum(axis=0) / count)
        return means, np.where(scales > 1e-9, scales, 1.0)

    def scaled(self, rows: NDArray[np.int64] | slice, means: Array, scales: Array) -> Array:
        """Return (N, F) of unit scale, 0 where not known."""
        return np.nan_to_num((self.values[rows] - means) / scales, nan=0.0)


def fit_fusion(samples: Samples, policy: Policy, settings: FitSettings | None = None) -> FitResult:
    """Fit the model, choose its thresholds out of fold, and measure it beside the rule table.

    Args:
        samples: with the features of the detector.
        policy: whose classes, thresholds and rules hold.
        settings: how to fit; None for the defaults.

    Raises:
        UsageError: when there are fewer than `MIN_PICTURES` of a label, or a setting is not as it must be.
    """
    settings = settings or FitSettings()
    evidence = [item.evidence for item in samples.items]
    y = np.array([item.nsfw for item in samples.items], dtype=bool)
    for label, count in (("nsfw", int(y.sum())), ("safe", int((~y).sum()))):
        if count < MIN_PICTURES:
            raise UsageError(f"a fit must have at least {MIN_PICTURES} pictures of each label; {label} has {count}")
    if not 2 <= settings.folds <= MIN_PICTURES:
        raise UsageError(f"--folds must lie in [2, {MIN_PICTURES}]; got {settings.folds}")
    table, dropped = _table(evidence, policy)
    draft = _fit(table, y, slice(None), samples, policy, settings)
    units = _units(samples)
    fold_of = _folds(units, y, settings)
    models = [_fit(table, y, np.flatnonzero(fold_of != k), samples, policy, settings) for k in range(settings.folds)]
    p = np.array(
        [
            models[fold].weigh(item, alarmed=bool(_hits(item, policy)) or _says(item, policy) == "nsfw")[0]
            for item, fold in zip(evidence, fold_of, strict=True)
        ]
    )
    nsfw_above = threshold_for_fpr(p, y, settings.want_fpr)
    review_above = min(threshold_for_recall(p, y, settings.want_recall), nsfw_above)
    fitted = replace(draft.fitted, log_loss=_short(log_loss(p, y)), auc=_short(auc(p, y)), brier=_short(brier(p, y)))
    draft = replace(draft, review_above=review_above, nsfw_above=nsfw_above, fitted=fitted)
    judges = [replace(model, review_above=review_above, nsfw_above=nsfw_above) for model in models]
    return FitResult(
        model=draft,
        weights=_intervals(table, y, units, draft, settings),
        dropped=dropped,
        figures=_figures(evidence, p, y),
        verdicts={
            "rule table": _count([_ruled(item, policy) for item in evidence], y),
            "fusion": _count([_fused(judges[k], item, policy) for k, item in zip(fold_of, evidence, strict=True)], y),
        },
    )


def _table(evidence: Sequence[Evidence], policy: Policy) -> tuple[_Table, tuple[str, ...]]:
    """Return the features that say anything, and the names of those that do not."""
    names = fusion_features(policy.verdict.nsfw_classes)
    usual = {MISSING: 0.0, **_usual_shares(evidence)}
    values = np.full((len(evidence), len(names)), np.nan)
    for row, item in enumerate(evidence):
        for column, name in enumerate(names):
            value = item.value(name, usual.get(name, 0.0))
            if value is not None:
                values[row, column] = weighed_value(name, value)
    known = ~np.isnan(values)
    differs = np.where(known, values, np.inf).min(axis=0) < np.where(known, values, -np.inf).max(axis=0)
    telling = dict(zip(names, differs.tolist(), strict=True))
    telling[MISSING] &= telling[OPINION]
    keep = [telling[name] for name in names]
    kept = tuple(name for name in names if telling[name])
    return _Table(names=kept, values=values[:, keep], usual=usual), tuple(name for name in names if not telling[name])


def _usual_shares(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Return the log-odds of the share flagged in all records over 90 days, of uploaders and of groups."""
    usual: dict[str, float] = {}
    for index in range(2):
        records = [record for item in evidence if (record := (item.uploader, item.group)[index]) is not None]
        posted = sum(record.posted[-1] for record in records)
        flagged = sum(record.flagged[-1] for record in records)
        mean = _short(log_odds((flagged + 0.5) / (posted + 1)))  # half a picture each way, so that 0 is not never
        usual |= dict.fromkeys(RECORD_FEATURES[index * len(WINDOWS) : (index + 1) * len(WINDOWS)], mean)
    return usual


def _fit(
    table: _Table,
    y: Labels,
    rows: NDArray[np.int64] | slice,
    samples: Samples,
    policy: Policy,
    settings: FitSettings,
) -> FusionModel:
    """Fit to some of the rows; thresholds and figures are still to be set."""
    means, scales = table.scaling(rows)
    theta = fit_logistic(table.scaled(rows, means, scales), y[rows], l2=settings.l2)
    features = {
        name: Feature(weight=_short(weight), mean=_short(mean), scale=_short(scale))
        for name, weight, mean, scale in zip(table.names, theta[1:], means, scales, strict=True)
    }
    classes = policy.verdict.nsfw_classes
    return FusionModel(
        detector=samples.detector,
        nsfw_classes=classes,
        counted_from=policy.detect.thresholds(counted_classes(classes)),
        intercept=_short(theta[0]),
        review_above=0.0,
        nsfw_above=0.0,
        features=features,
        fitted=Fitted(
            source=samples.source,
            sha256=samples.sha256,
            pictures=len(y),
            nsfw=int(y.sum()),
            l2=settings.l2,
            folds=settings.folds,
            log_loss=0.0,
            auc=0.0,
            brier=0.0,
        ),
    )


def _units(samples: Samples) -> list[NDArray[np.int64]]:
    """Return the rows that stay together: those of one `keep_together`, each other row by itself."""
    rows: dict[object, list[int]] = {}
    for row, item in enumerate(samples.items):
        rows.setdefault(item.keep_together or row, []).append(row)
    return [np.array(together, dtype=np.int64) for together in rows.values()]


def _folds(units: list[NDArray[np.int64]], y: Labels, settings: FitSettings) -> NDArray[np.int64]:
    """Return the fold of each picture; each fold has its share of nsfw pictures and of pictures, about."""
    order = np.random.default_rng(settings.seed).permutation(len(units))
    shares = np.array([y[units[index]].mean() for index in order])
    fold_of = np.zeros(len(y), dtype=np.int64)
    for place, index in enumerate(order[np.argsort(shares, kind="stable")]):
        fold_of[units[index]] = place % settings.folds
    for fold in range(settings.folds):
        rest = y[fold_of != fold]
        if len(rest) == len(y) or rest.all() or not rest.any():
            raise UsageError(
                f"pictures must fall into {settings.folds} folds with both labels outside each; "
                f"`keep_together` leaves {len(units)} that can be apart; use fewer --folds"
            )
    return fold_of


def _intervals(
    table: _Table, y: Labels, units: list[NDArray[np.int64]], model: FusionModel, settings: FitSettings
) -> tuple[WeightRow, ...]:
    """Refit to pictures drawn with replacement, what stays together as one, with nsfw and without in their numbers."""
    draws = np.random.default_rng(settings.seed)
    x = table.scaled(slice(None), *table.scaling(slice(None)))
    start = np.array([model.intercept, *(model.features[name].weight for name in table.names)])
    flags = np.array([y[unit].any() for unit in units])
    kinds = [kind for kind in (np.flatnonzero(flags), np.flatnonzero(~flags)) if len(kind)]
    rounds = []
    for _ in range(settings.rounds):
        drawn = [index for kind in kinds for index in draws.choice(kind, len(kind))]
        rows = np.concatenate([units[index] for index in drawn])
        if y[rows].any() and not y[rows].all():
            rounds.append(fit_logistic(x[rows], y[rows], l2=settings.l2, start=start)[1:])
    tail = (1 - _CONFIDENCE) / 2
    bounds = np.quantile(np.array(rounds), [tail, 1 - tail], axis=0) if rounds else None
    known = (~np.isnan(table.values)).sum(axis=0)
    return tuple(
        WeightRow(
            feature=name,
            weight=model.features[name].weight,
            low=None if bounds is None else _short(bounds[0, index]),
            high=None if bounds is None else _short(bounds[1, index]),
            known=int(known[index]),
        )
        for index, name in enumerate(table.names)
    )


def _figures(evidence: Sequence[Evidence], p: Array, y: Labels) -> dict[str, dict[str, float | None]]:
    parts = np.array([item.parts["exposed.score"] for item in evidence])
    figures: dict[str, dict[str, float | None]] = {
        "fusion": {"log_loss": log_loss(p, y), "auc": auc(p, y), "brier": brier(p, y)},
        "best part score": {"log_loss": None, "auc": auc(parts, y), "brier": None},
    }
    scores = [item.second_opinion for item in evidence if item.second_opinion is not None]
    if len(scores) == len(y):
        s = np.array(scores)
        figures["second opinion"] = {"log_loss": log_loss(s, y), "auc": auc(s, y), "brier": brier(s, y)}
    return {name: {key: None if v is None else _short(v) for key, v in row.items()} for name, row in figures.items()}


def _hits(item: Evidence, policy: Policy) -> dict[str, float]:
    """Return the exposed classes that were found, with their best scores."""
    classes = policy.verdict.nsfw_classes
    return {label: item.parts[f"{label}.score"] for label in classes if item.parts[f"{label}.count"]}


def _says(item: Evidence, policy: Policy) -> str:
    return opinion_band(item.second_opinion, policy.verdict)


def _ruled(item: Evidence, policy: Policy) -> str:
    return rule_verdict(bool(_hits(item, policy)), _says(item, policy), policy.verdict)


def _fused(model: FusionModel, item: Evidence, policy: Policy) -> str:
    alarmed = _says(item, policy) == "nsfw"
    return model.decide(item, _hits(item, policy), alarmed=alarmed, ruled=_ruled(item, policy)).verdict


def _count(verdicts: Sequence[str], y: Labels) -> dict[str, dict[str, int]]:
    return {
        label: {
            name: sum(said == name and flag == is_nsfw for said, flag in zip(verdicts, y.tolist(), strict=True))
            for name in STRICTNESS
        }
        for label, is_nsfw in (("nsfw", True), ("safe", False))
    }


def _short(value: float) -> float:
    """Round to 6 digits, so that what is printed, written and computed with is the same number."""
    return float(f"{float(value):.6g}")
