"""One picture with what is in it and what was found in it: the unit that errors are counted over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.detections import Detections
from detector.evaluation.truth import Truth

__all__ = ["Case", "cases_of", "records_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    """A picture's annotations and detections, boxes as xyxy in its pixels, labels as in `Truth.class_names`.

    Attributes:
        image_id: as in the annotations.
        file_name: the same.
        truth_boxes, truth_labels, truth_crowd, truth_ids: (N, 4), (N,), (N,) and (N,) annotation ids.
        found_boxes, found_labels, found_scores: (M, 4), (M,) and (M,) by falling score.
    """

    image_id: int
    file_name: str
    truth_boxes: NDArray[np.float64]
    truth_labels: NDArray[np.int64]
    truth_crowd: NDArray[np.bool_]
    truth_ids: NDArray[np.int64]
    found_boxes: NDArray[np.float64]
    found_labels: NDArray[np.int64]
    found_scores: NDArray[np.float64]

    @property
    def counted(self) -> NDArray[np.int64]:
        """Indices of the parts that count: those not marked as crowd."""
        return np.flatnonzero(~self.truth_crowd)


def cases_of(truth: Truth, found: Mapping[int, Detections]) -> list[Case]:
    """Join annotations and detections, by rising picture id (pycocotools' order).

    Args:
        truth: the annotations.
        found: by picture id, for every picture; detections of other classes than the truth's are left out.
    """
    files = {image["id"]: image["file_name"] for image in truth.dataset["images"]}
    notes: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in files}
    for note in truth.dataset["annotations"]:
        notes[note["image_id"]].append(note)
    cases = []
    for image_id in sorted(files):
        seen = found[image_id]
        index = np.array([_label(name, truth) for name in seen.class_names], dtype=np.int64)
        labels = index[seen.labels]
        keep = labels >= 0
        boxes_xywh = np.array([note["bbox"] for note in notes[image_id]], dtype=np.float64).reshape(-1, 4)
        cases.append(
            Case(
                image_id=image_id,
                file_name=files[image_id],
                truth_boxes=np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1),
                truth_labels=np.array([note["category_id"] - 1 for note in notes[image_id]], dtype=np.int64),
                truth_crowd=np.array([note["iscrowd"] for note in notes[image_id]], dtype=bool),
                truth_ids=np.array([note["id"] for note in notes[image_id]], dtype=np.int64),
                found_boxes=seen.boxes[keep].astype(np.float64),
                found_labels=labels[keep],
                found_scores=seen.scores[keep].astype(np.float64),
            )
        )
    return cases


def records_of(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return COCO detections, picture after picture, each picture's by falling score."""
    return [
        {
            "image_id": case.image_id,
            "category_id": int(label) + 1,
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(score),
        }
        for case in cases
        for (x1, y1, x2, y2), label, score in zip(case.found_boxes, case.found_labels, case.found_scores, strict=True)
    ]


def _label(name: str, truth: Truth) -> int:
    return truth.class_names.index(name) if name in truth.class_names else -1
