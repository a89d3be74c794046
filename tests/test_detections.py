import json

import numpy as np
import pytest

from detector.classes import ALL_CLASSES
from detector.detections import Detections
from detector.errors import UsageError


def three() -> Detections:
    return Detections(
        boxes=[[0, 0, 5, 5], [1, 1, 2, 2], [3, 3, 9, 9]], scores=[0.2, 0.9, 0.5], labels=[0, 2, 5], image_size=(10, 20)
    )


def test_sorted_by_falling_score_and_read_only() -> None:
    found = three()
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert found.names == ["FEMALE_BREAST_EXPOSED", "MALE_BREAST_EXPOSED", "BELLY_EXPOSED"]
    assert found.boxes.dtype == np.float32
    assert found.labels.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        found.boxes[0, 0] = 1


def test_making_one_copies_its_arrays() -> None:
    boxes = np.array([[0, 0, 5, 5]], dtype=np.float32)
    found = Detections(boxes=boxes, scores=[0.5], labels=[0], image_size=(9, 9))
    boxes[0, 0] = 4
    assert found.boxes[0, 0] == 0


def test_nothing_found() -> None:
    found = Detections(image_size=(3, 4))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert len(found.select([])) == len(found.above(0.5)) == len(found.of_classes(["BELLY"])) == 0
    assert found.to_records() == []
    assert len(Detections.from_records([], (3, 4))) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[0, 0, 5]]}, r"boxes must have shape \(N, 4\); got \(1, 3\)"),
        ({"scores": [0.5, 0.5]}, r"scores must have shape \(1\); got \(2,\)"),
        ({"boxes": [[5, 0, 0, 5]]}, "x1 <= x2"),
        ({"boxes": [[0, 0, np.nan, 5]]}, "finite"),
        ({"boxes": [[0, 0, np.inf, 5]]}, "finite"),
        ({"scores": [np.nan]}, r"scores must lie in \[0, 1\]"),
        ({"scores": [1.5]}, r"scores must lie in \[0, 1\]"),
        ({"labels": [6]}, r"labels must lie in \[0, 6\)"),
        ({"labels": [-1]}, r"labels must lie in \[0, 6\)"),
        ({"image_size": (0, 5)}, "both at least 1"),
    ],
)
def test_what_does_not_hold_is_refused(change: dict[str, object], message: str) -> None:
    good = {"boxes": [[0, 0, 5, 5]], "scores": [0.5], "labels": [0], "image_size": (9, 9)}
    with pytest.raises(UsageError, match=message):
        Detections(**{**good, **change})  # type: ignore[arg-type]


def test_above_takes_one_threshold_or_one_a_class() -> None:
    found = three()
    assert found.above(0.5).names == ["FEMALE_BREAST_EXPOSED", "MALE_BREAST_EXPOSED"]
    assert found.above({"BELLY_EXPOSED": 0.1, "MALE_BREAST_EXPOSED": 0.6}).names == ["BELLY_EXPOSED"]


def test_of_classes_takes_any_spelling_and_refuses_unknown_ones() -> None:
    assert three().of_classes(["f_breast"]).names == ["FEMALE_BREAST_EXPOSED"]
    with pytest.raises(UsageError, match="FACE_FEMALE"):
        three().of_classes(["FACE_FEMALE"])


def test_records_round_trip_through_json() -> None:
    found = Detections(
        boxes=[[0.125, 0, 5, 5]], scores=[0.75], labels=[7], image_size=(9, 9), class_names=ALL_CLASSES, model="m"
    )
    back = Detections.from_records(json.loads(json.dumps(found.to_records())), (9, 9), class_names=ALL_CLASSES)
    assert back.boxes.tolist() == found.boxes.tolist()
    assert back.scores.tolist() == found.scores.tolist()
    assert back.names == found.names == ["ANUS_EXPOSED"]


def test_a_person_need_not_give_a_score() -> None:
    found = Detections.from_records([{"label": "buttocks", "box": [1, 2, 3, 4]}], (9, 9))
    assert found.scores.tolist() == [1]


@pytest.mark.parametrize("record", [{}, {"label": "BELLY"}, {"label": "BELLY", "box": [1, 2]}, "BELLY", None])
def test_a_record_that_is_none_is_refused(record: object) -> None:
    with pytest.raises(UsageError, match="each detection must be an object"):
        Detections.from_records([record], (9, 9))  # type: ignore[list-item]


@pytest.mark.parametrize("score", [1e308, -1e308, float("inf"), float("nan"), 1.0000001])
def test_a_record_with_a_score_out_of_range_is_refused(score: float) -> None:
    with pytest.raises(UsageError, match=r"scores must lie in \[0, 1\]"):
        Detections.from_records([{"label": "BELLY_EXPOSED", "box": [0, 0, 1, 1], "score": score}], (9, 9))
