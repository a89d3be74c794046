"""YOLO's folders, names files and label lines."""

from pathlib import Path

import pytest
from annotation_formats import SIZES, content, write_yolo
from PIL import Image

from detector.data.convert import convert
from detector.data.yolo import read_names
from detector.errors import InputError


def test_a_turned_phone_picture_has_the_size_that_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "classes.txt").write_text("belly\n")
    (tmp_path / "a.txt").write_text("0 0.5 0.25 0.5 0.5\n")
    coco = convert(tmp_path, "yolo").coco
    assert coco.images[0] == {"id": 1, "file_name": "a.jpg", "width": 48, "height": 64}
    assert content(coco) == {"a.jpg": [(1, [12, 0, 24, 32])]}


@pytest.mark.parametrize(
    "text",
    [
        "names: [a b, 'c', \"d\"]  # three\nnc: 3\n",
        "nc: 3\nnames: [a b,\n  c, d,\n]\n",
        "names:\n- a b\n- c\n# more\n- d\nroboflow:\n  x: 1\n",
        "names:\n  - 'a b'\n  - c  # x\n  - d\n",
        "train: x\nnames:\n  0: a b\n  2: d\n  1: c\nval: y\n",
    ],
)
def test_the_simple_forms_of_yaml_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert read_names(path) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 3\n", "one key `names`; there are 0"),
        ("names: [a]\nnames: [b]\n", "there are 2"),
        ("names: a\n", "list or a numbered mapping"),
        ("names: &x [a]\n", "list or a numbered mapping"),
        ("names: [a, [b]]\n", "class name must be"),
        ("names: [a, *b]\n", "class name must be"),
        ("names: [a, b\n", "must end with ]"),
        ("names: []\n", "at least one class name"),
        ("names:\n", "at least one class name"),
        ("names:\n  0: a\n  2: b\n", "without gaps"),
        ("names:\n  0: a\n  0: b\n", "twice"),
        ("names:\n  - a\n  0: b\n", "one list"),
        ("names:\n  0: {a: b}\n", "class name must be"),
        ("names:\n  zero: a\n", "`- name` or `0: name`"),
        ("names:\n  - !!python/object:os.system a\n", "class name must be"),
    ],
)
def test_any_other_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_names(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .5", "got 4 fields"),
        ("0 .1 .1 .2 .2 .3 .3", "polygons and poses are not read"),
        ("x .5 .5 .5 .5", "whole number"),
        ("0 .5 .5 .5 nan", "finite"),
        ("6 .5 .5 .5 .5", r"must be 0\.\.5; got 6"),
        ("-1 .5 .5 .5 .5", r"must be 0\.\.5"),
        ("0 30 20 10 10", "shares"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels" / "a.txt").write_text(f"0 .5 .5 .5 .5\n\n{line}\n")
    with pytest.raises(InputError, match=rf"a\.txt, line 3: .*{message}"):
        convert(tmp_path, "yolo", folder=tmp_path / "images")


def test_labels_and_pictures_must_belong_together(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels" / "sub" / "none.txt").unlink()
    done = convert(tmp_path / "data.yaml", "yolo")
    assert done.notes == ("1 pictures have no label file and count as pictures without boxes",)
    assert {image["file_name"] for image in done.coco.images} == {f"images/{name}" for name in SIZES}
    assert len(done.coco.annotations) == 5
    (tmp_path / "labels" / "sub" / "orphan.txt").write_text("")
    with pytest.raises(InputError, match=r"1 have none, the first is .*orphan\.txt"):
        convert(tmp_path, "yolo")
    (tmp_path / "labels" / "sub" / "orphan.txt").unlink()
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "a.jpg")
    with pytest.raises(InputError, match="belong to one picture"):
        convert(tmp_path, "yolo")
    (tmp_path / "labels").rename(tmp_path / "other")
    with pytest.raises(InputError, match=r"none of 4 .* has one"):
        convert(tmp_path, "yolo")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(InputError, match="must have class names"):
        convert(tmp_path, "yolo")


def test_yolo_predictions_keep_their_scores(tmp_path: Path) -> None:
    write_yolo(tmp_path)
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .5 .5 .75\n")
    coco = convert(tmp_path, "yolo").coco
    assert [box.get("score") for box in coco.annotations] == [0.75, None, None]
