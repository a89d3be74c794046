"""Every format that `detector data convert` reads: written here from known boxes, and read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from annotation_formats import (
    BOXES,
    IDS,
    SIZES,
    WRITERS,
    content,
    pictures,
    task,
    voc,
    write_cvat,
    write_nudenet,
    write_other_coco,
)
from PIL import Image

from detector.classes import ALL_CLASSES, CLASSES
from detector.cliparts import run_command
from detector.data import cli as data_cli
from detector.data.cli import data
from detector.data.coco import find_problems, read_coco
from detector.data.convert import FORMATS, Converted, convert, parse_renames
from detector.data.labelled import enclosing_box
from detector.errors import InputError, UsageError


@pytest.mark.parametrize("kind", WRITERS)
def test_known_boxes_come_back_from_every_format(kind: str, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path)
    folder = tmp_path / "images" if kind == "yolo" else tmp_path
    coco = convert(source, kind, folder=folder).coco
    assert find_problems(coco) == []
    assert {image["file_name"]: (image["width"], image["height"]) for image in coco.images} == SIZES
    wanted = {name: [(IDS[label], list(box)) for label, box in boxes] for name, boxes in BOXES.items()}
    found = content(coco)
    assert {name: [label for label, _ in boxes] for name, boxes in found.items()} == {
        name: [label for label, _ in boxes] for name, boxes in wanted.items()
    }
    for name, boxes in wanted.items():
        for (_, box), (_, read) in zip(boxes, found[name], strict=True):
            assert read == pytest.approx(box, abs=1e-3)
    assert all(("score" in box) == (kind == "nudenet") for box in coco.annotations)


def test_every_format_is_tested_and_named_on_the_command_line() -> None:
    assert list(WRITERS) == list(FORMATS) == list(data_cli.FORMATS)


def nudenet(folder: Path, *names: str, **options: Any) -> Converted:
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    boxes = [{"class": name, "score": 0.5, "box": [1, 2, 3, 4]} for name in names]
    (folder / "found.json").write_text(json.dumps({"a.png": boxes}))
    return convert(folder / "found.json", "nudenet", **options)


def test_nudenets_18_become_six_and_the_others_are_counted(tmp_path: Path) -> None:
    done = nudenet(tmp_path, *ALL_CLASSES, "FACE_MALE")
    assert [box["category_id"] for box in done.coco.annotations] == [1, 2, 3, 4, 5, 6]
    assert sum(done.dropped.values()) == 13
    assert done.dropped["FACE_MALE"] == 2
    assert set(done.dropped) == set(ALL_CLASSES) - set(CLASSES)


def test_an_unknown_class_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got 'BELY_EXPOSED'; the nearest is BELLY_EXPOSED, 'bum'.*--drop-unknown"):
        nudenet(tmp_path, "BELLY_EXPOSED", "BELY_EXPOSED", "bum")
    done = nudenet(tmp_path, "BELLY_EXPOSED", "BELY_EXPOSED", "bum", "bum", drop_unknown=True)
    assert len(done.coco.annotations) == 1
    assert done.dropped == {"BELY_EXPOSED": 1, "bum": 2}
    done = nudenet(tmp_path, "BELLY_EXPOSED", "bum", renames=parse_renames(["bum=BUTTOCKS"]))
    assert [box["category_id"] for box in done.coco.annotations] == [1, 2]
    assert done.dropped == {}


@pytest.mark.parametrize("value", ["bum", "=BUTTOCKS", "bum=", "bum=backside", "bum=FACE_MALE"])
def test_a_rename_must_name_one_of_the_six(value: str) -> None:
    with pytest.raises(UsageError, match="must be"):
        parse_renames([value])


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the nearest is yolo"):
        convert(tmp_path, "yolov8")


def test_old_nudenet_has_corners(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    text = json.dumps({str(tmp_path / "a.png"): [{"label": "F_BREAST", "score": 0.5, "box": [10, 12, 30, 33]}]})
    (tmp_path / "found.json").write_text(text)
    coco = convert(tmp_path / "found.json", "nudenet").coco
    assert content(coco) == {"a.png": [(3, [10, 12, 20, 21])]}


def test_voc_that_counts_from_0_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc("a.png", BOXES["a.png"], first=0))
    done = convert(path, "voc")
    assert content(done.coco) == {"a.png": [(1, [4, 6, 20, 12]), (5, [0, 0, 64, 48]), (3, [33, 11, 7, 9])]}
    assert "count pixels from 0" in done.notes[0]


def test_difficult_objects_of_voc_are_to_be_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(voc("a.png", BOXES["a.png"]).replace("<difficult>0", "<difficult>1", 1))
    assert [box["iscrowd"] for box in convert(path, "voc").coco.annotations] == [1, 0, 0]


BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><annotation>&z;</annotation>'
OUTSIDE = '<!DOCTYPE annotation SYSTEM "file:///etc/hostname"><annotation/>'


@pytest.mark.parametrize("kind", ["voc", "cvat"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "no DOCTYPE or ENTITY"),
        (OUTSIDE, "no DOCTYPE or ENTITY"),
        ("<annotation>", "well-formed"),
        ("", "well-formed"),
        ('<?xml version="1.0" encoding="none"?><a/>', "well-formed"),
        ("<html/>", "must begin with"),
    ],
)
def test_xml_of_any_other_kind_is_refused(tmp_path: Path, kind: str, text: str, message: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        convert(path, kind)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('xtl="4"', 'xtl="four"', "xtl must be a number"),
        ('xtl="4"', "", "must have the attribute xtl"),
        ("<tag ", '<polygon points="1,2" ', "only boxes are read; got a polygon"),
        ("<version>", '<track id="0"/><version>', "CVAT for video"),
    ],
)
def test_cvat_that_is_not_understood_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_cvat(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        convert(path, "cvat")


def test_turned_boxes_are_enclosed(tmp_path: Path) -> None:
    assert enclosing_box((10, 20, 6, 2), 90, (13, 21)) == pytest.approx((12, 18, 2, 6))
    assert enclosing_box((10, 20, 6, 2), 90, (10, 20)) == pytest.approx((8, 20, 2, 6))
    assert enclosing_box((0, 0, 2, 2), 45, (0, 0)) == pytest.approx((-(2**0.5), 0, 8**0.5, 8**0.5))
    assert enclosing_box((10, 20, 6, 2), 360, (0, 0)) == (10, 20, 6, 2)
    path = write_cvat(tmp_path)
    path.write_text(path.read_text().replace('xtl="4"', 'rotation="90" xtl="4"'))
    assert content(convert(path, "cvat").coco)["a.png"][0] == (1, [8, 2, 12, 20])
    pictures(tmp_path)
    turned = task("a.png", [("BELLY", (30, 6, 20, 12))])
    turned["annotations"][0]["result"][0]["value"]["rotation"] = 90
    (tmp_path / "l.json").write_text(json.dumps([turned]))
    assert content(convert(tmp_path / "l.json", "labelstudio").coco)["a.png"][0] == (1, [18, 6, 12, 20])


def labelstudio(folder: Path, *tasks: Any) -> Converted:
    pictures(folder)
    (folder / "l.json").write_text(json.dumps(tasks))
    return convert(folder / "l.json", "labelstudio")


def test_tasks_that_nobody_annotated_are_no_empty_pictures(tmp_path: Path) -> None:
    cancelled = task("sub/none.png", [])
    cancelled["annotations"][0]["was_cancelled"] = True
    done = labelstudio(tmp_path, task("a.png", []), task("sub/b.png", [], annotations=[]), cancelled)
    assert [image["file_name"] for image in done.coco.images] == ["a.png"]
    assert done.notes == ("2 tasks are not annotated yet and were left out",)


def test_of_several_annotations_the_ground_truth_counts(tmp_path: Path) -> None:
    two = task("a.png", BOXES["a.png"])
    two["annotations"].append({"result": [], "ground_truth": True})
    assert labelstudio(tmp_path, two).coco.annotations == []
    two["annotations"][0]["ground_truth"] = True
    with pytest.raises(InputError, match="task 5: a task must have one annotation"):
        labelstudio(tmp_path, two)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/0a1b2c3d-a.png", "a.png"),
        ("/data/local-files/?d=deep/down/sub/b.png", "sub/b.png"),
        ("http://127.0.0.1:8080/data/upload/a.png?x=1", "a.png"),
        ("s3://bucket/a%2Epng", "a.png"),
        ("/data/upload/1/0a1b2c3d-x.png", "0a1b2c3d-x.png"),
    ],
)
def test_label_studios_addresses_become_names(tmp_path: Path, address: str, name: str) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "0a1b2c3d-x.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    done = labelstudio(tmp_path, task("a.png", [], data={"image": address}))
    assert [image["file_name"] for image in done.coco.images] == [name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("annotations"), "JSON-MIN"),
        (lambda t: t["annotations"][0]["result"][0].update(type="polygonlabels"), "only rectangles"),
        (lambda t: t["annotations"][0]["result"][0].update(image_rotation=90), "must not be turned"),
        (lambda t: t["annotations"][0]["result"][0]["value"].pop("x"), "must have its fields"),
        (lambda t: t["annotations"][0]["result"][0]["value"].update(rectanglelabels=["a", "b"]), "one label"),
        (lambda t: t.update(data={"x": 3}), "one picture"),
        (lambda t: t.pop("data"), "list of tasks"),
    ],
)
def test_label_studio_that_is_not_understood_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    one = task("a.png", BOXES["a.png"])
    change(one)
    with pytest.raises(InputError, match=message):
        labelstudio(tmp_path, one)


@pytest.mark.parametrize("table", [[], {"a.png": 3}, {"a.png": [{"class": "x"}]}, {"a.png": [3]}, {"../a.png": []}])
def test_detections_that_are_not_understood_are_refused(tmp_path: Path, table: Any) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps(table))
    with pytest.raises(InputError, match=r"must be|must have"):
        convert(path, "nudenet")


def test_coco_that_lacks_fields_is_refused(tmp_path: Path) -> None:
    path = write_other_coco(tmp_path)
    table = json.loads(path.read_text())
    for change in ({"category_id": 99}, {"image_id": 0}, {"bbox": [1, 2, 3]}):
        broken = {**table, "annotations": [{**table["annotations"][0], **change}]}
        path.write_text(json.dumps(broken))
        with pytest.raises(InputError, match="must have their COCO fields"):
            convert(path, "coco")


def test_the_command_writes_once_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: object) -> int:
        return run_command(data, "detector data", [str(argument) for argument in arguments])

    source = write_nudenet(tmp_path)
    table = json.loads(source.read_text())
    table["a.png"] += [{"class": "FACE_MALE", "score": 0.5, "box": [1, 1, 5, 5]}]
    source.write_text(json.dumps(table))
    target = tmp_path / "out.json"
    assert run("convert", source, target, "--from", "nudenet") == 0
    out = capsys.readouterr().out
    assert "left out: 1 boxes of FACE_MALE" in out
    assert "3 pictures, 5 boxes" in out
    assert len(read_coco(target).annotations) == 5
    assert run("check", target, "--workers", 1) == 0
    assert run("convert", source, target, "--from", "nudenet") == 1
    assert run("convert", source, target, "--from", "nudenet", "--overwrite") == 0
    assert run("convert", source, target, "--from", "nothing") == 2
    assert run("convert", source, tmp_path / "new.json", "--from", "nudenet", "--map", "x") == 2
    assert not (tmp_path / "new.json").exists()
