"""What kinds of errors there are, how many, and how much AP50 each costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.boxes import box_iou
from detector.evaluation.cases import Case
from detector.evaluation.coco_metrics import Matches, average_precision

__all__ = ["ERRORS", "error_breakdown"]

ERRORS: tuple[str, ...] = ("missed", "misplaced", "wrong_class", "both", "duplicate", "background")

# TIDE's: from the first a box lies on the part, under the second it has nothing to do with it.
FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1


@dataclass(frozen=True, eq=False, kw_only=True)
class _Found:
    """All evaluated detections, in the order of `records_of`, which is by picture and falling score.

    Attributes:
        scores, labels, hit: (D,) each.
        kind: (D,) index into `ERRORS`, -1 for a hit.
        target: (D,) annotation id that it hits, or that its error is about; 0 for none.
        target_label: (D,) the class of that part.
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    hit: NDArray[np.bool_]
    kind: NDArray[np.int64]
    target: NDArray[np.int64]
    target_label: NDArray[np.int64]


def error_breakdown(cases: Sequence[Case], matches: Mapping[str, Matches]) -> dict[str, Any]:
    """Sort every error into six kinds, and say what AP50 would be without each.

    A detection that is not a hit at IoU 0.5 is, first that fits: `misplaced` (IoU from 0.1 to 0.5 with a part of its
    class), `wrong_class` (0.5 or more with a part of another), `duplicate` (0.5 or more with a part of its class that
    is taken), `background` (under 0.1 with every part) or `both` (what is left). A part that no detection hit, and
    that no misplaced or wrong-class one is about, is `missed`.

    The cost of a kind is the AP50 gained by an oracle that mends only that: misplaced and wrong-class detections
    become hits where their part is still free (the best-scored one; the others go), the other wrong detections go,
    missed parts are taken off the parts to be found. Costs do not add up to 1 - AP50.

    Args:
        cases: by rising picture id, as `cases_of` gives them.
        matches: by class in the order of the labels, from the records of the same cases.

    Returns:
        `AP50`, `count` and `cost` by kind (cost None when there is nothing to be found).

    Source:
        Bolya et al., TIDE (arXiv:2008.08115), section 2. On purpose different: where every part of a class was
        missed and nothing wrong remains, mending it makes its AP 1 (TIDE's code has 0).
    """
    truths = np.array([int(part.truths.sum()) for part in matches.values()])
    found, missed = _classify(cases, list(matches.values()))
    base = _mean_ap(found.scores, found.labels, found.hit, truths)
    counts = {name: int(np.count_nonzero(found.kind == index)) for index, name in enumerate(ERRORS)}
    counts["missed"] = int(missed.sum())
    cost: dict[str, float | None] = dict.fromkeys(ERRORS)
    if base is not None:
        for name in ERRORS:
            cost[name] = _mended(found, truths, missed, name) - base
    return {"AP50": base, "count": counts, "cost": cost}


def _classify(cases: Sequence[Case], matches: Sequence[Matches]) -> tuple[_Found, NDArray[np.int64]]:
    """Return all evaluated detections with their kind of error, and how many parts of each class were missed."""
    total = sum(len(case.found_scores) for case in cases)
    hit, counts = np.zeros(total, dtype=bool), np.zeros(total, dtype=bool)
    kind, target = np.full(total, -1, dtype=np.int64), np.zeros(total, dtype=np.int64)
    for part in matches:
        hit[part.ids], counts[part.ids] = part.hit[0], ~part.ignored[0]
        target[part.ids] = np.where(part.hit[0], part.matched, 0)
    target_label, missed, start = np.zeros(total, dtype=np.int64), np.zeros(len(matches), dtype=np.int64), 0
    for case in cases:
        rows = np.arange(start, start + len(case.found_scores))
        start += len(rows)
        parts = case.counted
        iou = box_iou(case.found_boxes.astype(np.float32), case.truth_boxes[parts].astype(np.float32))
        labels, ids = case.truth_labels[parts], case.truth_ids[parts]
        for index, row in enumerate(rows):
            if counts[row] and not hit[row]:
                kind[row], best = _kind(iou[index], labels == case.found_labels[index])
                if best >= 0:
                    target[row], target_label[row] = ids[best], labels[best]
        np.add.at(missed, labels[~np.isin(ids, target[rows])], 1)
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *(case.found_labels for case in cases)])
    scores = np.concatenate([np.zeros(0), *(case.found_scores for case in cases)])
    found = _Found(
        scores=scores[counts],
        labels=labels[counts],
        hit=hit[counts],
        kind=kind[counts],
        target=target[counts],
        target_label=target_label[counts],
    )
    return found, missed


def _kind(iou: NDArray[np.float32], same: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the kind of one wrong detection, and the part that a misplaced or wrong-class one is about (or -1)."""
    own, other = np.where(same, iou, 0), np.where(same, 0, iou)
    if not len(iou):
        return ERRORS.index("background"), -1
    if BACKGROUND_IOU <= own.max() < FOREGROUND_IOU:
        return ERRORS.index("misplaced"), int(own.argmax())
    if other.max() >= FOREGROUND_IOU:
        return ERRORS.index("wrong_class"), int(other.argmax())
    if own.max() >= FOREGROUND_IOU:
        return ERRORS.index("duplicate"), -1
    return ERRORS.index("background" if iou.max() < BACKGROUND_IOU else "both"), -1


def _mended(found: _Found, truths: NDArray[np.int64], missed: NDArray[np.int64], name: str) -> float:
    """Return AP50 with one kind of error mended."""
    if name == "missed":
        return _mean_ap(found.scores, found.labels, found.hit, truths - missed, truths > 0) or 0.0
    wrong = found.kind == ERRORS.index(name)
    hit, keep, labels = found.hit.copy(), ~wrong, found.labels.copy()
    if name in ("misplaced", "wrong_class"):
        taken = set(found.target[found.hit].tolist())
        rows = np.flatnonzero(wrong)
        for row in rows[np.argsort(-found.scores[rows], kind="stable")]:
            part = int(found.target[row])
            if part not in taken:
                taken.add(part)
                hit[row], keep[row], labels[row] = True, True, found.target_label[row]
    return _mean_ap(found.scores[keep], labels[keep], hit[keep], truths) or 0.0


def _mean_ap(
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    hit: NDArray[np.bool_],
    truths: NDArray[np.int64],
    classes: NDArray[np.bool_] | None = None,
) -> float | None:
    """Return the mean AP over the classes that have parts, or over those marked; None where there are none."""
    values = []
    for label in np.flatnonzero(truths > 0 if classes is None else classes):
        own = np.flatnonzero(labels == label)
        own = own[np.argsort(-scores[own], kind="stable")]
        value = average_precision(hit[own], int(truths[label]))
        values.append(float(not len(own)) if value is None else value)
    return float(np.mean(values)) if values else None
