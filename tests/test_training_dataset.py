# ruff: noqa: E402 — without the extra [train] these tests are skipped.
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("albumentations")

from PIL import Image

from detector.classes import CLASSES
from detector.errors import InputError, UsageError
from detector.retinanet_config import Preprocessing
from detector.training.annotations import read_annotations, unseen_classes
from detector.training.config import AugmentConfig
from detector.training.dataset import (
    TrainingSet,
    ValidationSet,
    batch_positions,
    loader,
    normalise,
    stream_index,
)

STILL = AugmentConfig(flip=0, crop=0, scale=(1, 1), blur=0, jpeg=0, colour=0, noise=0, cutout=0, grayscale=0)


def table(**note: Any) -> dict[str, Any]:
    """Two pictures; the second is empty."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 64, "height": 32},
            {"id": 9, "file_name": "b.png", "width": 32, "height": 64},
        ],
        "annotations": [{"id": 0, "image_id": 7, "category_id": 3, "bbox": [8, 4, 16, 8], "iscrowd": 0, **note}],
        # As NudeNet v1 spells and sorts them.
        "categories": [{"id": i, "name": name} for i, name in enumerate(
            ["M_BREAST", "BELLY", "F_BREAST", "F_GENITALIA", "M_GENETALIA", "BUTTOCKS"], 1)],
    }  # fmt: skip


def written(folder: Path, content: Any) -> Path:
    for name, size in (("a.png", (64, 32)), ("b.png", (32, 64))):
        Image.new("RGB", size, (200, 100, 50)).save(folder / name)
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


def training_set(folder: Path, config: AugmentConfig = STILL, **note: Any) -> TrainingSet:
    annotations = read_annotations(written(folder, table(**note)), CLASSES)
    return TrainingSet(annotations=annotations, folder=folder, image_size=(64, 64), config=config, seed=0)


def with_boxes(data: TrainingSet) -> Any:
    return next(data[p] for p in range(2) if data.images[stream_index(p, 2, 0)]["id"] == 7)


def test_labels_follow_names_in_any_spelling(tmp_path: Path) -> None:
    image, target = with_boxes(training_set(tmp_path))
    assert image.shape == (4, 64, 64)
    assert image.dtype == torch.uint8
    assert target["labels"].tolist() == [CLASSES.index("FEMALE_BREAST_EXPOSED")]
    top = int(np.flatnonzero(image[3].any(dim=1).numpy())[0])
    assert target["boxes"].tolist() == [[8, 4 + top, 24, 12 + top]]
    assert image[:3, top, 0].tolist() == [200, 100, 50], "RGB"


@pytest.mark.parametrize("field", ["iscrowd", "ignore"])
def test_crowds_and_unsure_parts_are_ignored(tmp_path: Path, field: str) -> None:
    _, target = with_boxes(training_set(tmp_path, **{field: 1}))
    assert target["boxes"].shape == (0, 4)
    assert target["ignore"].shape == (1, 4)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda t: t["annotations"][0].update(bbox=[1, 1, 0, 5]), InputError, r"annotation 0 must have a bbox"),
        (lambda t: t["annotations"][0].update(bbox=[1, 1, float("nan"), 5]), InputError, r"must have a bbox"),
        (lambda t: t["annotations"][0].update(bbox="box"), InputError, r"bbox"),
        (lambda t: t["annotations"][0].update(bbox=[10**400, 1, 5, 5]), InputError, r"OverflowError"),
        (lambda t: t["annotations"][0].update(image_id=8), InputError, r"listed picture and category; got 8, 3"),
        (lambda t: t["annotations"][0].update(category_id=8), InputError, r"listed picture and category; got 7, 8"),
        (lambda t: t["categories"].pop(), UsageError, r"it has none for BUTTOCKS_EXPOSED"),
        (lambda t: t["categories"][0].update(name="SHOULDER"), UsageError, r"a class must be one of"),
        (lambda t: t["images"][0].update(id=9), InputError, r"each id once"),
        (lambda t: t["images"].clear(), InputError, r"at least one picture"),
        (lambda t: t["images"][0].pop("width"), InputError, r"'width'.*detector data check"),
        (lambda t: t["images"][0].update(file_name="../../etc/passwd"), InputError, r"inside the folder"),
    ],
)
def test_broken_annotations_are_refused(tmp_path: Path, change: Any, kind: type[Exception], message: str) -> None:
    content = table()
    change(content)
    with pytest.raises(kind, match=message):
        read_annotations(written(tmp_path, content), CLASSES)


def test_classes_without_a_box_are_named(tmp_path: Path) -> None:
    rest = [name for name in CLASSES if name != "FEMALE_BREAST_EXPOSED"]
    assert unseen_classes(read_annotations(written(tmp_path, table()), CLASSES)) == rest
    assert unseen_classes(read_annotations(written(tmp_path, table(iscrowd=1)), CLASSES)) == list(CLASSES)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    data = training_set(tmp_path)
    Image.new("RGB", (32, 64)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"64 x 32; it has 32 x 64"):
        with_boxes(data)


def test_a_missing_picture_stops_the_run(tmp_path: Path) -> None:
    data = training_set(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a.png"):
        with_boxes(data)


def test_large_pictures_are_read_reduced_and_boxes_with_them(tmp_path: Path) -> None:
    content = table()
    content["images"] = [{"id": 7, "file_name": "c.jpg", "width": 1280, "height": 640}]
    content["annotations"][0]["bbox"] = [160, 80, 320, 160]
    path = written(tmp_path, content)
    Image.new("RGB", (1280, 640), (0, 90, 200)).save(tmp_path / "c.jpg")
    data = TrainingSet(
        annotations=read_annotations(path, CLASSES), folder=tmp_path, image_size=(64, 64), config=STILL, seed=0
    )
    image, target = data[0]
    top = int(np.flatnonzero(image[3].any(dim=1).numpy())[0])
    assert target["boxes"].tolist() == [[8, 4 + top, 24, 12 + top]]


@pytest.mark.parametrize("size", [(2000, 3), (3, 2000), (1, 1)])
def test_extreme_pictures_survive_every_change(tmp_path: Path, size: tuple[int, int]) -> None:
    content = table()
    content["images"] = [{"id": 7, "file_name": "c.png", "width": size[0], "height": size[1]}]
    content["annotations"][0]["bbox"] = [0, 0, *size]
    path = written(tmp_path, content)
    Image.new("RGB", size, (0, 90, 200)).save(tmp_path / "c.png")
    every = AugmentConfig(crop=1, blur=1, jpeg=1, colour=1, noise=1, cutout=1, grayscale=1)
    data = TrainingSet(
        annotations=read_annotations(path, CLASSES), folder=tmp_path, image_size=(64, 96), config=every, seed=0
    )
    for position in range(5):
        image, target = data[position]
        assert image.shape == (4, 64, 96)
        assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()


def test_each_epoch_shows_each_picture_once_in_another_order() -> None:
    epochs = [[stream_index(p, 10, 3) for p in range(start, start + 10)] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[1] == [stream_index(p, 10, 3) for p in range(10, 20)]
    assert epochs[0] != [stream_index(p, 10, 4) for p in range(10)]


def test_processes_share_each_step() -> None:
    whole = list(batch_positions(2, 5, 8))
    parts = [list(batch_positions(2, 5, 8, rank=rank, world_size=4)) for rank in range(4)]
    assert [[p for part in parts for p in part[step]] for step in range(3)] == whole
    assert whole[0] == list(range(16, 24))


def test_normalised_as_the_model_wants_it() -> None:
    images = torch.tensor([10, 20, 30, 1], dtype=torch.uint8).reshape(1, 4, 1, 1).repeat(1, 1, 2, 2)
    images[..., 1] = 0  # the right column is padding
    ours = normalise(images, Preprocessing())
    wanted = (torch.tensor([10, 20, 30]) / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    assert torch.allclose(ours[0, :, 0, 0], wanted, atol=1e-6)
    assert (ours[..., 1] == 0).all()
    caffe = Preprocessing(colour="BGR", scale=1.0, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0))
    assert normalise(images, caffe)[0, :, 0, 0].tolist() == [29, 18, 7]


def test_worker_processes_give_the_same_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the processes of one machine talk through a socket; that is no network
    data = training_set(tmp_path, AugmentConfig())
    here, there = (list(loader(data, batch_positions(0, 2, 2), workers=workers, pin=False)) for workers in (0, 1))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(one.targets, other.targets, strict=True))


def test_validation_pictures_lie_top_left(tmp_path: Path) -> None:
    annotations = read_annotations(written(tmp_path, table()), CLASSES)
    image, target = ValidationSet(annotations=annotations, folder=tmp_path, image_size=(64, 64))[1]
    assert target["content"].tolist() == [64, 32]
    assert int(target["index"]) == 1
    assert image[3, :, :32].all()
    assert not image[3, :, 32:].any()
