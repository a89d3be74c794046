"""`detector data autolabel`: a detector's boxes on a folder of pictures, for a person to correct."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.classes import ALL_CLASSES, CLASSES
from detector.cliparts import run_command
from detector.data.autolabel import autolabel
from detector.data.cli import data
from detector.data.coco import find_problems, read_coco
from detector.detections import Detections
from detector.errors import InputError

THRESH = dict.fromkeys(CLASSES, 0.2)


class Teacher:
    """Finds one part in every picture, placed and scored by its size, and an empty box at the edge."""

    name, device, sha256 = "teacher", "cpu", "0" * 64
    # Not our order, and with classes that are none of ours, as a model of another origin has them.
    class_names = ALL_CLASSES[::-1]

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def detect(
        self,
        images: Any,
        *,
        classes: Sequence[str] = CLASSES,
        score_thresh: float | Mapping[str, float] = 0.2,
        tiles: bool = False,
    ) -> Any:
        self.calls.append((tuple(classes), score_thresh, tiles))
        height, width = images.image_size
        boxes = np.array([[1, 2, width / 2, height], [width, 0, width, 9]], dtype=np.float32)
        label = self.class_names.index("MALE_GENITALIA_EXPOSED")
        return Detections(
            boxes=boxes,
            scores=np.array([width / 1000, 0.1], dtype=np.float32),
            labels=np.array([label, label]),
            image_size=images.image_size,
            class_names=self.class_names,
        )


def test_boxes_become_annotations_with_scores(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    Image.new("RGB", (400, 200)).save(tmp_path / "b.PNG")
    Image.new("RGB", (300, 100)).save(tmp_path / "sub" / "a.webp")
    Image.new("RGB", (300, 100)).save(tmp_path / "sub" / ".hidden" / "c.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "sub" / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    teacher, steps = Teacher(), []
    made = autolabel(
        tmp_path,
        teacher,
        score_thresh=THRESH,
        tiles=True,
        workers=2,
        begin=lambda total: lambda: steps.append(total),
    )
    assert steps == [3, 3, 3]
    assert teacher.calls == [(CLASSES, THRESH, True)] * 2
    assert [name for name, _ in made.failed] == ["sub/broken.jpg"]
    assert isinstance(made.failed[0][1], InputError)
    assert list(made.coco.images) == [
        {"id": 1, "file_name": "b.PNG", "width": 400, "height": 200},
        {"id": 2, "file_name": "sub/a.webp", "width": 300, "height": 100},
    ]
    box = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 199, 198], "area": 39402, "iscrowd": 0}
    assert made.coco.annotations[0] == {**box, "score": 0.4}
    assert [(box["id"], box["image_id"], box["bbox"]) for box in made.coco.annotations[1:]] == [(2, 2, [1, 2, 149, 98])]
    assert made.coco.info["model"] == {"name": "teacher", "sha256": "0" * 64}
    assert find_problems(made.coco) == []


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must hold pictures"):
        autolabel(tmp_path, Teacher(), score_thresh=THRESH)
    with pytest.raises(InputError, match="must be in a folder"):
        autolabel(tmp_path / "missing", Teacher(), score_thresh=THRESH)


def test_a_fault_of_ours_is_not_taken_for_a_bad_picture(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    teacher = Teacher()
    teacher.class_names = ("BELLY_EXPOSED",)
    with pytest.raises(ValueError, match="not in tuple"):
        autolabel(tmp_path, teacher, score_thresh=THRESH)


def run(*arguments: object) -> int:
    return run_command(data, "detector data", [str(argument) for argument in arguments])


def test_the_default_detector_labels_mannequins(
    tmp_path: Path, mannequins: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path in mannequins[:3]:
        shutil.copy(path, tmp_path)
    target = tmp_path / "out.json"
    arguments = ("autolabel", tmp_path, target, "--workers", 1, "--thresh", 0.3, "--thresh", "BELLY=0.9")
    assert run(*arguments) == 0
    coco = read_coco(target)
    assert "3 pictures" in capsys.readouterr().out
    assert len(coco.images) == 3
    assert coco.annotations
    assert all(0.3 <= box["score"] <= 1 and box["category_id"] != 1 for box in coco.annotations)
    assert coco.info["score_thresh"] == {**dict.fromkeys(CLASSES, 0.3), "BELLY_EXPOSED": 0.9}
    assert run("check", target, "--workers", 1) == 0


def test_what_a_person_corrected_is_not_replaced_and_failures_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[Teacher] = []
    monkeypatch.setattr("detector.models.load", lambda *_, **__: loaded.append(Teacher()) or loaded[-1])
    Image.new("RGB", (400, 200)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    target = tmp_path / "out.json"
    target.write_text("by hand")
    assert run("autolabel", tmp_path, target) == 1
    assert target.read_text() == "by hand"
    assert not loaded, "refused before the work, not after it"
    capsys.readouterr()
    assert run("autolabel", tmp_path, target, "--overwrite") == 1
    assert len(json.loads(target.read_text())["images"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "b.png" in err
    (tmp_path / "b.png").unlink()
    assert run("autolabel", tmp_path, target, "--overwrite") == 0
    assert run("autolabel", tmp_path, tmp_path / "new.json", "--thresh", "belly=2") == 2
    assert run("autolabel", tmp_path, tmp_path / "new.json", "--thresh", "bely=0.2") == 2
