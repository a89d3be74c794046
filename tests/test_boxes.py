import numpy as np
import pytest

from detector.boxes import box_area, box_cxcywh_to_xyxy, box_ios, box_iou, clip_boxes, nms, round_outward

EMPTY = np.zeros((0, 4), dtype=np.float32)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_iou_and_ios_by_hand() -> None:
    one, other = boxes((0, 0, 10, 10)), boxes((5, 0, 15, 10), (2, 2, 4, 4), (20, 20, 30, 30), (5, 5, 5, 5))
    assert box_iou(one, other)[0] == pytest.approx([50 / 150, 4 / 100, 0, 0])
    assert box_ios(one, other)[0] == pytest.approx([0.5, 1, 0, 0])


def test_empty_boxes_give_empty_results() -> None:
    some = boxes((0, 0, 1, 1))
    assert box_area(EMPTY).shape == (0,)
    assert box_iou(EMPTY, some).shape == (0, 1)
    assert box_ios(some, EMPTY).shape == (1, 0)
    assert clip_boxes(EMPTY, (5, 5)).shape == (0, 4)
    assert round_outward(EMPTY, (5, 5)).shape == (0, 4)
    assert nms(EMPTY, np.zeros(0, np.float32), np.zeros(0, np.int64), 0.5).shape == (0,)


def test_cxcywh_to_xyxy() -> None:
    assert box_cxcywh_to_xyxy(boxes((5, 6, 4, 2))).tolist() == [[3, 5, 7, 7]]


def test_rounding_covers_and_stays_inside() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(-20, 120, (500, 2))
    random = np.concatenate([corner, corner + rng.uniform(0, 40, (500, 2))], axis=1).astype(np.float32)
    whole = round_outward(random, (100, 80))
    clipped = clip_boxes(random, (100, 80))
    touching = (random[:, 0] < 80) & (random[:, 1] < 100) & (random[:, 2] > 0) & (random[:, 3] > 0)
    assert (whole[touching, :2] <= clipped[touching, :2]).all()
    assert (whole[touching, 2:] >= clipped[touching, 2:]).all()
    assert (whole[:, [0, 1]] >= 0).all()
    assert (whole[:, 2] <= 80).all()
    assert (whole[:, 3] <= 100).all()
    sides = whole[:, 2:] - whole[:, :2]
    assert (sides[touching] >= 1).all()
    outside = (random[:, 0] >= 80) | (random[:, 1] >= 100) | (random[:, 2] < 0) | (random[:, 3] < 0)
    assert (sides[outside].min(axis=1) == 0).all()


def test_a_box_of_no_width_covers_its_pixel() -> None:
    assert round_outward(boxes((3, 3, 3, 3), (2.5, 2.5, 2.5, 2.5)), (9, 9)).tolist() == [[3, 3, 4, 4], [2, 2, 3, 3]]


def test_nms_keeps_the_best_of_each_class() -> None:
    candidates = boxes((0, 0, 10, 10), (1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60))
    scores = np.array([0.5, 0.9, 0.8, 0.1], dtype=np.float32)
    labels = np.array([0, 0, 1, 0])
    assert nms(candidates, scores, labels, 0.5).tolist() == [1, 2, 3]


def test_nms_agrees_with_the_textbook_loop() -> None:
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 50, (200, 2))
    candidates = np.concatenate([corner, corner + rng.uniform(5, 30, (200, 2))], axis=1).astype(np.float32)
    scores = rng.random(200).astype(np.float32)
    labels = rng.integers(0, 3, 200)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if not rivals or box_iou(candidates[[i]], candidates[rivals]).max() <= 0.4:
            kept.append(int(i))
    assert nms(candidates, scores, labels, 0.4).tolist() == kept
