"""One evaluation, from annotations and detectors to a JSON-ready result."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import detector
from detector.errors import UsageError
from detector.evaluation import bootstrap
from detector.evaluation.cases import Case, cases_of, records_of
from detector.evaluation.coco_metrics import AP_THRESH, CocoResult, evaluate_boxes
from detector.evaluation.confusion import CONFUSION_IOU, confusion_matrix
from detector.evaluation.curves import Curve, precision_recall
from detector.evaluation.errors_breakdown import error_breakdown
from detector.evaluation.measure import Looked
from detector.evaluation.rounding import rounded
from detector.evaluation.thresholds import Point, at_recall, best_f1
from detector.evaluation.truth import Truth
from detector.models import Predictor
from detector.policy import load_policy

__all__ = ["FORMAT", "ModelRun", "Settings", "make_result"]

FORMAT = "retina-censor evaluation 1"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What figures depend on besides the data and the model.

    Attributes:
        want_recall: recall that a threshold is looked up for.
        rounds: draws of pictures for the confidence intervals; 0 leaves these out.
        seed: of the draws.
        operating_thresh: score from which confusion and the worst pictures count; the default policy's unless given.
        workers: pictures worked on at a time.

    Raises:
        UsageError: for settings that make no sense: before the work, not after it.
    """

    want_recall: float = 0.95
    rounds: int = 1000
    seed: int = 0
    operating_thresh: float | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 0 or not 0 < self.thresh <= 1:
            raise UsageError(
                f"rounds must be at least 0 and the threshold in (0, 1]; got {self.rounds} and {self.thresh}"
            )

    @property
    def thresh(self) -> float:
        """The operating threshold."""
        return load_policy().detect.score_thresh if self.operating_thresh is None else self.operating_thresh


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One detector's answers with everything that is made of them."""

    model: Predictor
    looked: Looked
    cases: Sequence[Case]
    coco: CocoResult
    any_class: CocoResult
    curves: Mapping[str, Curve | None]

    @classmethod
    def of(cls, model: Predictor, looked: Looked, truth: Truth) -> "ModelRun":
        """Evaluate what a detector found."""
        cases = cases_of(truth, looked.found)
        records = records_of(cases)
        coco = evaluate_boxes(truth.dataset, records)
        return cls(
            model=model,
            looked=looked,
            cases=cases,
            coco=coco,
            any_class=evaluate_boxes(truth.dataset, records, use_categories=False),
            curves={name: precision_recall(part) for name, part in coco.matches.items()},
        )

    def points_at_recall(self, wanted: float) -> dict[str, Point | None]:
        """Return for each class the threshold for a wanted recall."""
        return {name: at_recall(curve, wanted) for name, curve in self.curves.items()}


def make_result(runs: Sequence[ModelRun], truth: Truth, settings: Settings) -> dict[str, Any]:
    """Return the whole result as JSON-ready dicts; figures are fractions of 1, and None where nothing can be said."""
    pictures = len(truth.dataset["images"])
    draws: list[dict[str, Any]] = []
    if settings.rounds:
        weights = bootstrap.picture_weights(pictures, settings.rounds, settings.seed)
        draws = [bootstrap.resampled_ap(run.coco.matches, weights) for run in runs]
    entries = [_model_entry(run, truth, settings, draws[index] if draws else None) for index, run in enumerate(runs)]
    result = {
        "format": FORMAT,
        "version": detector.__version__,
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": _data_entry(truth),
        "settings": {
            "score_thresh": AP_THRESH,
            "operating_thresh": settings.thresh,
            "confusion_iou": CONFUSION_IOU,
            "want_recall": settings.want_recall,
            "bootstrap_rounds": settings.rounds,
            "bootstrap_confidence": bootstrap.CONFIDENCE,
            "seed": settings.seed,
        },
        "models": entries,
        "differences": [
            {
                "from": runs[0].model.name,
                "to": runs[index].model.name,
                **{
                    name: bootstrap.difference(
                        draws[0][name],
                        draws[index][name],
                        [runs[0].coco.figures[name], runs[index].coco.figures[name]],
                    )
                    for name in ("AP", "AP50")
                },
            }
            for index in range(1, len(runs))
            if draws
        ],
    }
    ready: dict[str, Any] = rounded(result)
    return ready


def _data_entry(truth: Truth) -> dict[str, Any]:
    notes = truth.dataset["annotations"]
    return {
        "digest": truth.digest,
        "pictures": len(truth.dataset["images"]),
        "parts": sum(not note["iscrowd"] for note in notes),
        "crowds": sum(note["iscrowd"] for note in notes),
        "classes": list(truth.class_names),
    }


def _model_entry(run: ModelRun, truth: Truth, settings: Settings, draws: Mapping[str, Any] | None) -> dict[str, Any]:
    pictures = len(run.cases)
    return {
        "name": run.model.name,
        "sha256": run.model.sha256,
        "device": run.model.device,
        "figures": run.coco.figures,
        "confidence": {
            name: bootstrap.interval(draws[name], run.coco.figures[name]) for name in (draws or {}) if draws
        },
        "class_agnostic": run.any_class.figures,
        "per_class": {
            name: {
                "parts": int(run.coco.matches[name].truths.sum()),
                "figures": run.coco.by_class[name],
                "best_f1": _point(best_f1(curve)),
                "wanted_recall": _point(at_recall(curve, settings.want_recall)),
                "precision_at_recall": curve.interpolated() if curve is not None else None,
            }
            for name, curve in run.curves.items()
        },
        "confusion": confusion_matrix(run.cases, len(truth.class_names), settings.thresh).tolist(),
        "errors": error_breakdown(run.cases, run.coco.matches),
        "speed": {
            "pictures": pictures,
            "seconds": run.looked.seconds,
            "pictures_per_second": pictures / run.looked.seconds,
            "workers": settings.workers,
            "peak_bytes": run.looked.peak_bytes,
            "peak_device_bytes": run.looked.peak_device_bytes,
        },
    }


def _point(point: Point | None) -> dict[str, Any] | None:
    return None if point is None else point.to_dict()
