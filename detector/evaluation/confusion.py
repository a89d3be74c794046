"""Which class is taken for which: matching without regard to class, at one score threshold."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.boxes import box_area, box_iou
from detector.evaluation.cases import Case

__all__ = ["CONFUSION_IOU", "Pairs", "confusion_matrix", "pair_up"]

# A detection is of a part when their boxes overlap by at least this, as for AP50.
CONFUSION_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Who belongs to whom in one picture.

    Attributes:
        truth_of: (M,) for each detection kept the index of its part, -1 for none.
        ignored: (M,) detections without a part that lie in a crowd: they count for nothing.
        missed: indices of counted parts without a detection.
    """

    truth_of: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    missed: NDArray[np.int64]


def pair_up(case: Case, score_thresh: float) -> Pairs:
    """Give each detection, best score first, the free part that it overlaps most, whatever its class.

    Args:
        case: one picture; its detections are sorted, so those kept are the first M.
        score_thresh: lowest score kept.
    """
    kept = int(np.count_nonzero(case.found_scores >= score_thresh))
    boxes = case.found_boxes[:kept]
    iou = _iou(boxes, case.truth_boxes)
    iou[:, case.truth_crowd] = 0
    truth_of = np.full(kept, -1, dtype=np.int64)
    for index in range(kept if len(case.truth_boxes) else 0):
        best = int(np.argmax(iou[index]))
        if iou[index, best] >= CONFUSION_IOU:
            truth_of[index] = best
            iou[:, best] = 0
    missed = np.setdiff1d(case.counted, truth_of)
    return Pairs(truth_of=truth_of, ignored=(truth_of < 0) & _in_crowd(case, boxes), missed=missed)


def confusion_matrix(cases: Iterable[Case], classes: int, score_thresh: float) -> NDArray[np.int64]:
    """Count which class is taken for which.

    Returns:
        (K + 1, K + 1): row the class that is there, column the class that was found; the last row is background
        (found where nothing is), the last column missed. Crowds, and detections in them, are not counted.
    """
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for case in cases:
        pairs = pair_up(case, score_thresh)
        for index, truth in enumerate(pairs.truth_of):
            if not pairs.ignored[index]:
                row = classes if truth < 0 else case.truth_labels[truth]
                matrix[row, case.found_labels[index]] += 1
        for truth in pairs.missed:
            matrix[case.truth_labels[truth], classes] += 1
    return matrix


def _iou(boxes1: NDArray[np.float64], boxes2: NDArray[np.float64]) -> NDArray[np.float32]:
    return box_iou(boxes1.astype(np.float32), boxes2.astype(np.float32))


def _in_crowd(case: Case, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (M,) whether half of a box lies in a crowd of any class: COCO's overlap with a crowd is of the box."""
    crowds = case.truth_boxes[case.truth_crowd].astype(np.float32)
    boxes32 = boxes.astype(np.float32)
    low = np.maximum(boxes32[:, None, :2], crowds[None, :, :2])
    high = np.minimum(boxes32[:, None, 2:], crowds[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)  # (M, C)
    area = box_area(boxes32)[:, None]
    return np.asarray(((area > 0) & (inside >= CONFUSION_IOU * area)).any(axis=1))
