from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.boxes import box_iou
from detector.classes import ALL_CLASSES, CLASSES
from detector.detections import Detections
from detector.errors import InputError, UsageError
from detector.models import DEFAULT_MODEL, find_model, read_weights
from detector.nudenet import NudeNet
from detector.picture import Picture
from detector.postprocess import Candidates, decode_yolo, keep_best


def build(**arguments: Any) -> NudeNet:
    entry = find_model(DEFAULT_MODEL, task="detect")
    if not entry.installed:
        pytest.skip(entry.install)
    return NudeNet(entry, read_weights(entry), **arguments)


@pytest.fixture(scope="module")
def model() -> NudeNet:
    return build(threads=1)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def assert_same(a: Detections, b: Detections, *, atol: float = 1e-4) -> None:
    assert a.image_size == b.image_size
    assert a.names == b.names
    np.testing.assert_allclose(a.boxes, b.boxes, atol=atol)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


def yolo(*anchors: tuple[list[float], dict[int, float]], classes: int = 4) -> np.ndarray:
    """Build an output (4 + classes, A) from boxes as cx, cy, w, h and the scores of some rows."""
    output = np.zeros((4 + classes, len(anchors)), dtype=np.float32)
    for index, (box, scores) in enumerate(anchors):
        output[:4, index] = box
        for row, score in scores.items():
            output[4 + row, index] = score
    return output


def decode(output: np.ndarray, *, rows: list[int], thresh: list[float], topk: int = 100) -> Candidates:
    return decode_yolo(
        output,
        rows=np.array(rows),
        labels=np.array(rows) + 10,
        score_thresh=np.array(thresh, dtype=np.float32),
        topk_candidates=topk,
    )


def test_decoding_gives_corners_and_every_class_over_its_own_threshold() -> None:
    output = yolo(([10, 20, 4, 6], {0: 0.9, 2: 0.3}), ([50, 60, 10, 10], {0: 0.1, 1: 0.95, 2: 0.5}))
    found = decode(output, rows=[2, 0], thresh=[0.3, 0.2])
    assert sorted(zip(found.labels.tolist(), found.scores.round(3).tolist(), found.boxes.tolist(), strict=True)) == [
        (10, pytest.approx(0.9), [8, 17, 12, 23]),
        (12, pytest.approx(0.3), [8, 17, 12, 23]),
        (12, pytest.approx(0.5), [45, 55, 55, 65]),
    ]


def test_topk_keeps_the_highest_scores_and_nothing_found_is_empty() -> None:
    output = yolo(*[([i, i, 2, 2], {0: i / 100}) for i in range(1, 51)])
    found = decode(output, rows=[0], thresh=[0.1], topk=3)
    assert sorted(found.scores.round(2).tolist()) == pytest.approx([0.48, 0.49, 0.5])
    none = decode(output, rows=[0], thresh=[0.9])
    assert (none.boxes.shape, len(none.scores), len(none.labels)) == ((0, 4), 0, 0)


def test_suppression_is_within_a_class_and_boxes_without_area_go() -> None:
    found = Candidates(
        np.array([[0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 10], [5, 10, 9, 10]], dtype=np.float32),
        np.array([0.5, 0.9, 0.8, 1.0], dtype=np.float32),
        np.array([1, 1, 2, 1]),
    )
    best = keep_best(found, nms_thresh=0.5, detections_per_img=10)
    assert best.scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(keep_best(found, nms_thresh=0.5, detections_per_img=1).scores) == 1


def test_the_example(model: NudeNet, example: Path) -> None:
    found = model.detect(example)
    assert found.names == [
        "BELLY_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "FEMALE_GENITALIA_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
    ]
    np.testing.assert_allclose(found.scores, [0.807, 0.740, 0.685, 0.601], atol=0.01)
    assert (found.model, found.device, found.class_names) == ("nudenet-320n", "cpu", ALL_CLASSES)


def test_boxes_lie_where_the_parts_are(model: NudeNet, mannequins: list[Path], annotations: dict[str, Any]) -> None:
    hits = 0
    parts = [note for note in annotations["annotations"] if not note["iscrowd"]]
    for image, found in zip(annotations["images"], model.detect(mannequins), strict=True):
        assert found.image_size == (image["height"], image["width"])
        for note in parts:
            x, y, w, h = note["bbox"]
            same = found.of_classes([CLASSES[note["category_id"] - 1]])
            truth = np.array([[x, y, x + w, y + h]], dtype=np.float32)
            hits += note["image_id"] == image["id"] and bool((box_iou(truth, same.boxes) > 0.5).any())
    assert hits >= 25  # 27 when this was written


def test_every_kind_of_source_gives_the_same(model: NudeNet, example: Path) -> None:
    expected = model.detect(example)
    with Image.open(example) as image, example.open("rb") as file:
        for source in (str(example), example.read_bytes(), file, Picture.open(example), image):
            assert_same(model.detect(source), expected)
    png = BytesIO()
    Image.fromarray(pixels(example)).save(png, format="PNG")
    assert_same(model.detect(png.getvalue()), model.detect(pixels(example)))


def test_a_reduced_view_gives_boxes_of_the_full_picture(model: NudeNet, example: Path) -> None:
    with Image.open(example) as image:
        large = image.resize((image.width * 5, image.height * 5), Image.Resampling.BICUBIC)
    file = BytesIO()
    large.save(file, format="JPEG", quality=90)
    small, full = model.detect(example), model.detect(file.getvalue())
    assert full.image_size == (large.height, large.width)
    assert full.names == small.names
    np.testing.assert_allclose(full.boxes / 5, small.boxes, atol=6)
    np.testing.assert_allclose(full.scores, small.scores, atol=0.05)


def test_batches_of_any_shapes_equal_single_pictures(model: NudeNet, mannequins: list[Path]) -> None:
    rng = np.random.default_rng(0)
    sources = [*mannequins[:5], rng.integers(0, 256, (40, 400, 3), dtype=np.uint8), *mannequins[5:8]]
    batched = build(threads=1, batch_size=4).detect(sources)
    assert len(batched) == len(sources)
    for source, found in zip(sources, batched, strict=True):
        assert_same(found, model.detect(source))
    assert model.detect([]) == []


def test_four_threads_find_what_one_finds(model: NudeNet, mannequins: list[Path]) -> None:
    serial = [model.detect(path) for path in mannequins[:6]]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(model.detect, mannequins[:6]))
    for one, other in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_the_number_of_threads_changes_nothing(model: NudeNet, example: Path) -> None:
    one, two = model.detect(example), build(threads=2).detect(example)
    np.testing.assert_array_equal(one.boxes, two.boxes)
    np.testing.assert_array_equal(one.scores, two.scores)


def test_classes_and_thresholds(model: NudeNet, example: Path) -> None:
    everything = model.detect(example, classes=ALL_CLASSES)
    assert set(everything.names) > set(model.detect(example).names)
    faces = model.detect(example, classes=["face-female", "FACE_MALE"])
    assert set(faces.names) == {"FACE_FEMALE"}
    assert_same(faces, everything.of_classes(["FACE_FEMALE", "FACE_MALE"]))
    some = model.detect(example, classes=["BELLY", "F_BREAST"], score_thresh={"BELLY": 0.9, "F_BREAST": 0.7})
    assert some.names == ["FEMALE_BREAST_EXPOSED"]
    assert len(model.detect(example, score_thresh=0.01)) > len(model.detect(example))
    assert len(model.detect(example, detections_per_img=2)) == 2
    assert len(model.detect(example, topk_candidates=1)) == 1
    assert len(model.detect(example, nms_thresh=1.0)) > len(model.detect(example))
    assert len(model.detect(example, classes=[])) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ["BELY"]}, "the nearest is BELLY"),
        ({"classes": "BELLY"}, "must be a list"),
        ({"score_thresh": 1.5}, r"\[0, 1\]"),
        ({"score_thresh": float("nan")}, r"\[0, 1\]"),
        ({"score_thresh": {"BELLY": 0.5}}, "BUTTOCKS_EXPOSED.* is missing"),
        ({"nms_thresh": -0.1}, r"\[0, 1\]"),
        ({"topk_candidates": 0}, "at least 1"),
        ({"detections_per_img": 0}, "at least 1"),
    ],
)
def test_bad_arguments(model: NudeNet, example: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.detect(example, **arguments)


def test_what_cannot_be_read_is_an_error(model: NudeNet, example: Path) -> None:
    with pytest.raises(InputError):
        model.detect(b"no picture")
    with pytest.raises(InputError):
        model.detect([example, b"no picture"])


@pytest.mark.parametrize("tiles", [False, True])
def test_what_shows_over_white_or_over_black_counts(
    model: NudeNet, example: Path, monkeypatch: pytest.MonkeyPatch, tiles: bool
) -> None:
    seen = np.asarray(Image.fromarray(pixels(example)).reduce(4))
    blank = np.full_like(seen, 255)
    expected = model.detect(seen, tiles=tiles)
    assert len(expected)
    picture = Picture.open(seen)
    for views in ([seen, blank], [blank, seen]):
        monkeypatch.setattr(Picture, "views", lambda self, side, views=views: views)
        assert_same(model.detect(picture, tiles=tiles), expected)


@pytest.mark.parametrize("size", [(1, 1), (10, 20_000), (20_000, 10), (2, 3), (31, 33)])
def test_extreme_shapes(model: NudeNet, size: tuple[int, int]) -> None:
    found = model.detect(np.full((*size, 3), 128, dtype=np.uint8))
    assert found.image_size == size


def test_boxes_stay_inside_the_picture(model: NudeNet, mannequins: list[Path]) -> None:
    for path in mannequins[:4]:
        view = pixels(path)
        height, width = view.shape[0] * 2 // 3, view.shape[1] // 2 + 3
        found = model.detect(np.ascontiguousarray(view[:height, :width]), score_thresh=0.01, classes=ALL_CLASSES)
        assert len(found)
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2:] <= [width, height]).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
