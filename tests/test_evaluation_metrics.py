import contextlib
import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_samples import SIZE, detections, random_case, write_truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detector.classes import CLASSES
from detector.errors import InputError, UsageError
from detector.evaluation.bootstrap import difference, interval, picture_weights, resampled_ap
from detector.evaluation.cases import cases_of, records_of
from detector.evaluation.coco_metrics import FIGURES, average_precision, evaluate_boxes
from detector.evaluation.curves import precision_recall
from detector.evaluation.thresholds import at_recall, best_f1
from detector.evaluation.truth import read_truth


def summary(dataset: dict[str, Any], records: list[dict[str, Any]], *, use_categories: bool = True) -> list[float]:
    """What pycocotools itself prints, through its own loading."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy({"info": {}, **dataset})
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(copy.deepcopy(records)), "bbox")
        run.params.useCats = int(use_categories)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return list(run.stats)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("use_categories", [True, False])
def test_the_twelve_figures_are_those_of_pycocotools(tmp_path: Path, seed: int, use_categories: bool) -> None:
    truth, cases = random_case(tmp_path, seed)
    records = records_of(cases)
    ours = evaluate_boxes(truth.dataset, records, use_categories=use_categories).figures
    assert tuple(ours) == FIGURES
    theirs = summary(truth.dataset, records, use_categories=use_categories)
    assert [-1 if value is None else value for value in ours.values()] == pytest.approx(theirs, abs=1e-12)
    assert 0 < theirs[0] < 1


def test_figures_of_a_class_are_those_of_it_alone(tmp_path: Path) -> None:
    truth, cases = random_case(tmp_path, 1)
    records = records_of(cases)
    by_class = evaluate_boxes(truth.dataset, records).by_class
    for label in range(3):
        alone = {**truth.dataset, "categories": [truth.dataset["categories"][label]]}
        alone["annotations"] = [n for n in truth.dataset["annotations"] if n["category_id"] == label + 1]
        own = [record for record in records if record["category_id"] == label + 1]
        theirs = [None if value == -1 else value for value in summary(alone, own)]
        assert list(by_class[CLASSES[label]].values()) == pytest.approx(theirs)


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_and_curve_agree_with_pycocotools(tmp_path: Path, seed: int) -> None:
    truth, cases = random_case(tmp_path, seed)
    result = evaluate_boxes(truth.dataset, records_of(cases))
    for name, part in result.matches.items():
        counts = ~part.ignored[0]
        own = average_precision(part.hit[0][counts], int(part.truths.sum()))
        assert own == pytest.approx(result.by_class[name]["AP50"], abs=1e-9)
        curve = precision_recall(part)
        if curve is None:
            assert own is None
        elif len(curve.scores) == counts.sum():
            assert np.mean(curve.interpolated()) == pytest.approx(own, abs=1e-9)
        else:  # equal scores are one point of the curve, and pycocotools takes them one by one
            assert np.mean(curve.interpolated()) <= own + 1e-9


def test_a_curve_by_hand(tmp_path: Path) -> None:
    part = (0, 10.0, 10.0, 60.0, 60.0)
    truth = read_truth(write_truth(tmp_path, {1: [part], 2: [part], 3: [part], 4: [part]}))
    away = (0, 200.0, 200.0, 250.0, 250.0)
    found = {
        1: detections([part], [0.9]),
        2: detections([part, away], [0.5, 0.7]),
        3: detections([part], [0.5]),
        4: detections([], []),
    }
    curve = precision_recall(evaluate_boxes(truth.dataset, records_of(cases_of(truth, found))).matches[CLASSES[0]])
    assert curve is not None
    assert curve.scores == pytest.approx([0.9, 0.7, 0.5], abs=1e-6)
    assert curve.recall.tolist() == [0.25, 0.25, 0.75]
    assert curve.precision.tolist() == [1, 0.5, 0.75]
    assert curve.interpolated() == [1] * 26 + [0.75] * 50 + [0] * 25
    best = best_f1(curve)
    assert best is not None
    assert (best.score_thresh, best.f1) == (pytest.approx(0.5), pytest.approx(0.75))
    some = at_recall(curve, 0.2)
    assert some is not None
    assert (some.score_thresh, some.precision, some.reached) == (pytest.approx(0.9), 1, True)
    most = at_recall(curve, 0.95)
    assert most is not None
    assert (most.score_thresh, most.recall, most.reached) == (pytest.approx(0.5), 0.75, False)
    for wanted in (0, 1.1, float("nan")):
        with pytest.raises(UsageError, match="wanted recall must lie in"):
            at_recall(curve, wanted)


def test_nothing_found_is_zero_and_nothing_there_is_none(tmp_path: Path) -> None:
    part = (0, 10.0, 10.0, 60.0, 60.0)
    truth = read_truth(write_truth(tmp_path, {1: [part], 2: []}))
    found = {1: detections([], []), 2: detections([], [])}
    result = evaluate_boxes(truth.dataset, records_of(cases_of(truth, found)))
    assert result.figures["AP"] == 0
    assert result.by_class[CLASSES[0]]["AP"] == 0
    assert result.by_class[CLASSES[1]]["AP"] is None
    assert result.figures["APl"] is None
    curve = precision_recall(result.matches[CLASSES[0]])
    assert curve is not None
    assert curve.interpolated() == [0] * 101
    assert best_f1(curve) is None
    assert at_recall(curve, 0.5) is None
    assert precision_recall(result.matches[CLASSES[1]]) is None
    # A class that is not there stays without figures, whatever is found of it.
    found[2] = detections([(1, *part[1:])], [0.9])
    result = evaluate_boxes(truth.dataset, records_of(cases_of(truth, found)))
    assert result.by_class[CLASSES[1]]["AP"] is None


def test_a_picture_set_without_a_part_has_no_figures(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path, {1: []}))
    result = evaluate_boxes(truth.dataset, [])
    assert set(result.figures.values()) == {None}
    draws = resampled_ap(result.matches, picture_weights(1, 5, 0))
    assert np.isnan(draws["AP"]).all()
    assert interval(draws["AP"], None) is None
    assert difference(draws["AP"], draws["AP"], [None, None]) is None


def test_crowds_are_held_against_nobody(tmp_path: Path) -> None:
    part, other = (0, 10.0, 10.0, 60.0, 60.0), (0, 100.0, 100.0, 200.0, 200.0)
    truth = read_truth(write_truth(tmp_path, {1: [part]}, crowds={1: [other]}))
    found = {1: detections([part, other, (0, 110.0, 110.0, 190.0, 190.0)], [0.5, 0.9, 0.8])}
    result = evaluate_boxes(truth.dataset, records_of(cases_of(truth, found)))
    assert result.figures["AP"] == pytest.approx(1)
    matches = result.matches[CLASSES[0]]
    assert matches.truths.tolist() == [1]
    assert matches.ignored[0].tolist() == [True, True, False]
    assert average_precision(matches.hit[0][~matches.ignored[0]], 1) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_draw_gives_what_pycocotools_gives_for_the_drawn_pictures(tmp_path: Path, seed: int) -> None:
    truth, cases = random_case(tmp_path, seed)
    result = evaluate_boxes(truth.dataset, records_of(cases))
    weights = picture_weights(len(cases), 3, seed)
    draws = resampled_ap(result.matches, np.vstack([np.ones(len(cases)), weights]))
    assert draws["AP"][0] == pytest.approx(result.figures["AP"], abs=1e-9)
    for row in range(3):
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        records: list[dict[str, Any]] = []
        for case, times in zip(cases, weights[row].astype(int), strict=True):
            for _ in range(times):
                new = {"image_id": len(images) + 1}
                images.append({"id": len(images) + 1, "file_name": "x", "width": SIZE, "height": SIZE})
                own = [n for n in truth.dataset["annotations"] if n["image_id"] == case.image_id]
                notes += [{**note, **new, "id": len(notes) + k} for k, note in enumerate(own, 1)]
                records += [{**record, **new} for record in records_of([case])]
        theirs = summary({**truth.dataset, "images": images, "annotations": notes}, records)
        assert (draws["AP"][row + 1], draws["AP50"][row + 1]) == pytest.approx(theirs[:2], abs=1e-9)


def test_intervals_repeat_with_the_seed_and_hold_the_figure(tmp_path: Path) -> None:
    truth, cases = random_case(tmp_path, 5, pictures=30)
    result = evaluate_boxes(truth.dataset, records_of(cases))
    first, again, other = (
        resampled_ap(result.matches, picture_weights(len(cases), 300, seed))["AP"] for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    found = interval(first, result.figures["AP"])
    assert found is not None
    assert 0 < found["low"] < found["point"] < found["high"] < 1
    assert picture_weights(7, 4, 0).sum(axis=1).tolist() == [7] * 4


def test_the_difference_of_two_is_taken_on_the_same_draws() -> None:
    first = np.array([0.1, 0.5, 0.9, np.nan])
    found = difference(first, first + 0.05, [0.5, 0.55])
    assert found is not None
    assert found["low"] == pytest.approx(0.05)
    assert found["high"] == pytest.approx(0.05)
    assert found["better"] == 1
    with pytest.raises(UsageError, match="at least one picture"):
        picture_weights(0, 1, 0)


def test_annotation_ids_are_dealt_out_anew(tmp_path: Path) -> None:
    part = (0, 10.0, 10.0, 60.0, 60.0)
    path = write_truth(tmp_path, {0: [part]})
    table = json.loads(path.read_text())
    table["annotations"][0]["id"] = 0  # pycocotools would take its match for none
    path.write_text(json.dumps(table))
    truth = read_truth(path)
    records = records_of(cases_of(truth, {0: detections([part], [0.9])}))
    assert evaluate_boxes(truth.dataset, records).figures["AP"] == pytest.approx(1)
    with pytest.raises(UsageError, match="annotation ids must be positive"):
        evaluate_boxes(table, records)


def test_classes_can_be_chosen(tmp_path: Path) -> None:
    parts = [(0, 10.0, 10.0, 60.0, 60.0), (2, 80.0, 80.0, 120.0, 120.0)]
    path = write_truth(tmp_path, {1: parts})
    truth = read_truth(path, classes=["F_BREAST"])
    assert truth.class_names == ("FEMALE_BREAST_EXPOSED",)
    assert [note["category_id"] for note in truth.dataset["annotations"]] == [1]
    assert truth.other_boxes[1].tolist() == [[10, 10, 60, 60]]
    assert truth.digest != read_truth(path).digest
    case = cases_of(truth, {1: detections(parts, [0.9, 0.8])})[0]  # the detector found both classes
    assert case.found_labels.tolist() == [0]
    assert case.found_scores == pytest.approx([0.8])
    with pytest.raises(UsageError, match="none for FACE_MALE"):
        read_truth(path, classes=["FACE_MALE"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "at least one picture"),
        ({"images": [{"id": 1, "file_name": "../x.png"}]}, "inside the folder of pictures"),
        ({"images": [{"id": "one", "file_name": "x.png"}]}, "something is missing or of another type"),
        ({"images": [{"id": 1, "file_name": "x.png", "width": float("inf")}]}, "of another type"),
        ({"categories": [{"id": "x", "name": "BELLY"}]}, "of another type"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": ["a", 1, 5, 5]}]}, "of another type"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [10**400, 1, 5, 5]}]}, "of another type"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "area": math.nan}]}, "area must be"),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 5]}]}, "positive size"),
        ({"annotations": [{"image_id": 1, "category_id": 9, "bbox": [1, 1, 5, 5]}]}, "must be listed"),
        ({"annotations": [{"image_id": 1, "category_id": 1}]}, "something is missing"),
        ({"categories": [{"id": 1, "name": "BELLY"}, {"id": 2, "name": "EXPOSED_BELLY"}]}, "each class once"),
    ],
)
def test_annotations_that_are_not_understood_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write_truth(tmp_path, {1: []})
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        read_truth(path)
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InputError, match="must be JSON"):
            read_truth(path)


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    path = write_truth(tmp_path, {1: []})
    digest = read_truth(path).digest
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_truth(path).digest == digest
