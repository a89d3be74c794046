"""AP and AR as pycocotools gives them, and its matches in a form that curves and resampling can use."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError

__all__ = ["AP_THRESH", "FIGURES", "RECALL_POINTS", "CocoResult", "Matches", "average_precision", "evaluate_boxes"]

# AP integrates over all scores; what lies under this changes none of its figures.
AP_THRESH = 0.01

# Name, array (precision or recall), IoU, area, detections a picture: the twelve of pycocotools' summary, in its order.
_FIGURES: tuple[tuple[str, bool, float | None, str, int], ...] = (
    ("AP", True, None, "all", 100),
    ("AP50", True, 0.5, "all", 100),
    ("AP75", True, 0.75, "all", 100),
    ("APs", True, None, "small", 100),
    ("APm", True, None, "medium", 100),
    ("APl", True, None, "large", 100),
    ("AR1", False, None, "all", 1),
    ("AR10", False, None, "all", 10),
    ("AR100", False, None, "all", 100),
    ("ARs", False, None, "small", 100),
    ("ARm", False, None, "medium", 100),
    ("ARl", False, None, "large", 100),
)
FIGURES: tuple[str, ...] = tuple(name for name, *_ in _FIGURES)

# Where COCO reads precision. As pycocotools makes them: np.arange gives other floats.
RECALL_POINTS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)

Figures = dict[str, float | None]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """How the detections of one class fared, at every IoU threshold, over all pictures.

    Attributes:
        scores: (D,) falling; ties stand in the order that pycocotools gives them.
        images: (D,) index of the picture.
        ids: (D,) index into the records that were evaluated.
        hit: (T, D) whether it is the match of a counted part; T runs over `ious`.
        ignored: (T, D) whether it counts for nothing: it matched a crowd.
        truths: (I,) counted parts of each picture.
        matched: (D,) annotation id that it has at the first IoU, 0 for none.
        ious: (T,) from 0.5 up.
    """

    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    ids: NDArray[np.int64]
    hit: Bools
    ignored: Bools
    truths: NDArray[np.int64]
    matched: NDArray[np.int64]
    ious: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CocoResult:
    """What pycocotools says about one set of detections.

    Attributes:
        figures: over all classes; None where nothing was there to be found.
        by_class: the same for each class, by name.
        matches: by class name.
    """

    figures: Figures
    by_class: Mapping[str, Figures]
    matches: Mapping[str, Matches]


def evaluate_boxes(
    dataset: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, use_categories: bool = True
) -> CocoResult:
    """Compare detections with annotations.

    Args:
        dataset: COCO `images`, `annotations` (with positive ids, `area`, `iscrowd`) and `categories`.
        records: COCO detections: `image_id`, `category_id`, `bbox` xywh, `score`; may be empty.
        use_categories: False takes all classes for one, which is then named `any`.

    Returns:
        Figures as fractions of 1. A class without a counted part has None, not 0; one whose parts were all missed
        has 0.
    """
    names = [category["name"] for category in sorted(dataset["categories"], key=lambda category: category["id"])]
    run = _run(dataset, records, use_categories)
    if not use_categories:
        names = ["any"]
    everything = range(len(names))
    return CocoResult(
        figures=_figures(run, everything),
        by_class={name: _figures(run, [index]) for index, name in enumerate(names)},
        matches={name: _matches(run, index) for index, name in enumerate(names)},
    )


def average_precision(hit: Bools, truths: int) -> float | None:
    """Return the 101-point AP of detections in order of falling score; None when there is nothing to be found.

    Args:
        hit: (D,) whether each is the match of a counted part; those that count for nothing are left out.
        truths: number of counted parts.

    Source:
        COCOeval.accumulate: precision made monotone from the right, read at the first recall that reaches the point.
    """
    if truths <= 0:
        return None
    hits = np.cumsum(hit)
    recall = hits / truths
    precision = hits / np.arange(1, len(hit) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, RECALL_POINTS, side="left")].mean())


def _run(dataset: Mapping[str, Any], records: Sequence[Mapping[str, Any]], use_categories: bool) -> Any:
    """Return pycocotools' evaluation, evaluated and accumulated; its printing is swallowed."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise UsageError(
            "evaluation needs pycocotools; it is not installed; type, in the checkout: pip install '.[eval]'"
        ) from error
    if min((note["id"] for note in dataset["annotations"]), default=1) < 1:
        raise UsageError("annotation ids must be positive: pycocotools takes a match with id 0 for none")
    found = [
        {
            "id": number,
            "image_id": record["image_id"],
            "category_id": record["category_id"],
            "bbox": list(record["bbox"]),
            "area": record["bbox"][2] * record["bbox"][3],
            "iscrowd": 0,
            "score": record["score"],
        }
        for number, record in enumerate(records, 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth, detections = COCO(), COCO()
        # pycocotools writes into the annotations ("ignore").
        truth.dataset = {**dataset, "annotations": [dict(note) for note in dataset["annotations"]]}
        detections.dataset = {"images": dataset["images"], "categories": dataset["categories"], "annotations": found}
        truth.createIndex()
        detections.createIndex()
        run = COCOeval(truth, detections, "bbox")
        run.params.useCats = int(use_categories)
        run.evaluate()
        run.accumulate()
    return run


def _figures(run: Any, classes: Iterable[int]) -> Figures:
    """Average precision and recall over some of the classes, as COCOeval.summarize does over all."""
    chosen, params = list(classes), run.params
    figures: Figures = {}
    for name, is_precision, iou, area, most in _FIGURES:
        a, m = params.areaRngLbl.index(area), params.maxDets.index(most)
        rows = slice(None) if iou is None else np.isclose(params.iouThrs, iou)
        if is_precision:
            values = run.eval["precision"][rows][:, :, chosen, a, m]
        else:
            values = run.eval["recall"][rows][:, chosen, a, m]
        values = values[values > -1]
        figures[name] = float(values.mean()) if values.size else None
    return figures


def _matches(run: Any, index: int) -> Matches:
    """Collect one class's matches (any area, 100 detections a picture) from COCOeval's per-picture results."""
    areas, count = len(run.params.areaRng), len(run.params.imgIds)
    steps = len(run.params.iouThrs)
    start = index * areas * count  # the area range "all" is the first
    parts = [(image, part) for image, part in enumerate(run.evalImgs[start : start + count]) if part is not None]
    truths = np.zeros(count, dtype=np.int64)
    for image, part in parts:
        truths[image] = np.count_nonzero(np.asarray(part["gtIgnore"]) == 0)
    scores = np.concatenate([np.zeros(0), *(np.asarray(part["dtScores"], dtype=float) for _, part in parts)])
    order = np.argsort(-scores, kind="mergesort")

    def rows(key: str) -> NDArray[Any]:
        return np.concatenate([np.zeros((steps, 0)), *(np.asarray(part[key]) for _, part in parts)], axis=1)[:, order]

    matched, ignored = rows("dtMatches").astype(np.int64), rows("dtIgnore").astype(bool)
    ids = np.concatenate([np.zeros(0), *(np.asarray(part["dtIds"]) for _, part in parts)]).astype(np.int64)
    images = np.repeat([image for image, _ in parts], [len(part["dtIds"]) for _, part in parts]).astype(np.int64)
    return Matches(
        scores=scores[order],
        images=images[order],
        ids=ids[order] - 1,
        hit=(matched > 0) & ~ignored,
        ignored=ignored,
        truths=truths,
        matched=matched[0],
        ious=np.asarray(run.params.iouThrs),
    )
