from pathlib import Path

import numpy as np
import pytest
from evaluation_samples import Part, detections, random_case, write_truth

from detector.classes import CLASSES
from detector.evaluation.cases import Case, cases_of, records_of
from detector.evaluation.coco_metrics import CocoResult, evaluate_boxes
from detector.evaluation.confusion import confusion_matrix, pair_up
from detector.evaluation.errors_breakdown import ERRORS, error_breakdown
from detector.evaluation.truth import read_truth
from detector.evaluation.worst import hide_regions, worst_cases

PART: Part = (0, 10.0, 10.0, 60.0, 60.0)


def moved(part: Part, by: float, label: int | None = None) -> Part:
    name, x1, y1, x2, y2 = part
    return (name if label is None else label, x1 + by, y1, x2 + by, y2)


def one(folder: Path, parts: list[Part], found: list[Part], scores: list[float]) -> tuple[list[Case], CocoResult]:
    truth = read_truth(write_truth(folder, {1: parts}))
    cases = cases_of(truth, {1: detections(found, scores)})
    return cases, evaluate_boxes(truth.dataset, records_of(cases))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([], "missed"),
        ([moved(PART, 25)], "misplaced"),  # IoU 1/3
        ([moved(PART, 0, label=1)], "wrong_class"),
        ([moved(PART, 25, label=1)], "both"),
        ([PART, moved(PART, 1)], "duplicate"),
        ([PART, moved(PART, 200)], "background"),
    ],
)
def test_each_kind_of_error(tmp_path: Path, found: list[Part], kind: str) -> None:
    cases, result = one(tmp_path, [PART], found, [0.9, 0.8][: len(found)])
    errors = error_breakdown(cases, result.matches)
    counts = {name: count for name, count in errors["count"].items() if count}
    # A wrong box of the wrong class leaves its part undetected too; a misplaced one or a wrong class is about it.
    assert counts == ({"both": 1, "missed": 1} if kind == "both" else {kind: 1})
    assert tuple(errors["cost"]) == ERRORS
    if kind in ("missed", "misplaced", "wrong_class"):
        assert errors["AP50"] == 0
        assert errors["cost"][kind] == pytest.approx(1)


def test_mending_duplicates_and_background_raises_ap(tmp_path: Path) -> None:
    second = moved(PART, 100)
    for wrong, kind in ((moved(PART, 1), "duplicate"), (moved(PART, 230), "background")):
        cases, result = one(tmp_path, [PART, second], [PART, wrong, second], [0.9, 0.8, 0.7])
        errors = error_breakdown(cases, result.matches)
        assert errors["AP50"] + errors["cost"][kind] == pytest.approx(1)
        assert errors["cost"][kind] > 0.1
        assert errors["cost"]["misplaced"] == 0


def test_of_two_misplaced_boxes_only_one_can_become_the_hit(tmp_path: Path) -> None:
    cases, result = one(tmp_path, [PART, moved(PART, 150)], [moved(PART, 25), moved(PART, 24)], [0.9, 0.8])
    errors = error_breakdown(cases, result.matches)
    assert errors["count"]["misplaced"] == 2
    assert errors["count"]["missed"] == 1
    assert errors["cost"]["misplaced"] == pytest.approx(51 / 101)  # one hit of two parts: precision 1 up to recall 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_breakdown_starts_from_pycocotools_ap50(tmp_path: Path, seed: int) -> None:
    truth, cases = random_case(tmp_path, seed)
    result = evaluate_boxes(truth.dataset, records_of(cases))
    errors = error_breakdown(cases, result.matches)
    assert errors["AP50"] == pytest.approx(result.figures["AP50"], abs=1e-9)
    wrong = sum(int((~part.hit[0] & ~part.ignored[0]).sum()) for part in result.matches.values())
    assert wrong == sum(count for name, count in errors["count"].items() if name != "missed")
    assert wrong > 10
    assert all(cost >= -1e-9 for cost in errors["cost"].values())


def test_no_parts_cost_nothing(tmp_path: Path) -> None:
    cases, result = one(tmp_path, [], [PART], [0.9])
    errors = error_breakdown(cases, result.matches)
    assert errors["AP50"] is None
    assert set(errors["cost"].values()) == {None}
    assert errors["count"]["background"] == 1


def test_confusion_by_hand(tmp_path: Path) -> None:
    parts = [PART, moved(PART, 70, label=1), moved(PART, 140, label=2)]
    found = [PART, moved(parts[1], 2, label=3), moved(PART, 1), moved(PART, 230, label=4), parts[2]]
    truth = read_truth(write_truth(tmp_path, {1: parts}))
    cases = cases_of(truth, {1: detections(found, [0.9, 0.8, 0.7, 0.6, 0.2])})
    matrix = confusion_matrix(cases, len(CLASSES), 0.25)
    expected = np.zeros((7, 7), dtype=int)
    expected[0, 0] = 1  # right
    expected[1, 3] = 1  # taken for another
    expected[6, 0] = 1  # a second box on a part that is taken
    expected[6, 4] = 1  # background
    expected[2, 6] = 1  # its detection is under the threshold
    assert matrix.tolist() == expected.tolist()
    assert confusion_matrix(cases, len(CLASSES), 0.1)[2, 2] == 1


def test_crowds_are_not_confused(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path, {1: []}, crowds={1: [PART]}))
    cases = cases_of(truth, {1: detections([moved(PART, 1, label=2), moved(PART, 40, label=2)], [0.9, 0.8])})
    assert pair_up(cases[0], 0.25).ignored.tolist() == [True, False]
    matrix = confusion_matrix(cases, len(CLASSES), 0.25)
    assert matrix.sum() == 1
    assert matrix[6, 2] == 1


def test_the_worst_pictures_come_first_and_good_ones_not(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path, {1: [PART], 2: [PART], 3: [PART]}))
    found = {
        1: detections([PART], [0.9]),
        2: detections([], []),
        3: detections([moved(PART, 0, label=1), moved(PART, 200)], [0.9, 0.8]),
    }
    worst = worst_cases(cases_of(truth, found), CLASSES, 0.25, 10)
    assert [(item.case.image_id, item.mistakes) for item in worst] == [(3, 2), (2, 1)]
    assert worst[0].notes == ("BELLY_EXPOSED taken for BUTTOCKS_EXPOSED 0.90", "BELLY_EXPOSED 0.80 where nothing is")
    assert worst[1].notes == ("missed BELLY_EXPOSED",)
    assert len(worst_cases(cases_of(truth, found), CLASSES, 0.25, 1)) == 1


def test_hidden_regions_keep_a_few_cells_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    boxes = np.array([[20.0, 20, 60, 100], [130, 90, 190, 140], [5, 5, 8, 8]])
    before = image.copy()
    hidden = hide_regions(image, boxes)
    assert (image == before).all()
    for x1, y1, x2, y2 in ((20, 20, 60, 100), (130, 90, 160, 120), (5, 5, 8, 8)):
        colours = np.unique(hidden[y1:y2, x1:x2].reshape(-1, 3), axis=0)
        assert len(colours) <= 16
    changed = (hidden != image).any(axis=2)
    allowed = np.zeros_like(changed)
    for x1, y1, x2, y2 in ((14, 8, 66, 112), (121, 82, 160, 120), (4, 4, 9, 9)):
        allowed[y1:y2, x1:x2] = True
    assert not (changed & ~allowed).any()
    assert hide_regions(image, np.zeros((0, 4))).tolist() == image.tolist()
    # Averages, not samples: of black and white pixels in turn every cell is grey.
    stripes = np.zeros((120, 160, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    inside = hide_regions(stripes, boxes)[20:100, 20:60]
    assert inside.min() > 100
    assert inside.max() < 160
