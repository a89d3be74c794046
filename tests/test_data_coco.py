"""Annotation files: what is read, what is refused, and what is written."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from detector.classes import CLASSES
from detector.data.coco import (
    CATEGORIES,
    Coco,
    find_problems,
    picture_path,
    read_coco,
    refuse_existing,
    require_sound,
    write_coco,
)
from detector.errors import InputError, OutputError


def sound(**changes: Any) -> Coco:
    """Return two pictures with a box, `changes` made to the box."""
    box = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0}
    return Coco(
        images=[
            {"id": 7, "file_name": "a.jpg", "width": 100, "height": 80},
            {"id": 9, "file_name": "sub/b.jpg", "width": 100, "height": 80},
        ],
        annotations=[{**box, **changes}],
    )


def kinds(coco: Coco) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.broken) for problem in find_problems(coco)]


def test_categories_are_the_six_from_1() -> None:
    assert [(category["id"], category["name"]) for category in CATEGORIES] == list(enumerate(CLASSES, start=1))


def test_the_mannequins_are_sound(annotations: dict[str, Any], root: Path) -> None:
    coco = read_coco(root / "tests" / "data" / "mannequins" / "annotations.json")
    assert find_problems(coco) == []
    assert sum(map(len, coco.by_image().values())) == len(annotations["annotations"])
    assert coco.by_image()[4] == []


@pytest.mark.parametrize(
    ("changes", "kind", "broken"),
    [
        ({"bbox": [10, 20, 0, 40]}, "empty", True),
        ({"bbox": [10, 20, 30, -1]}, "empty", True),
        ({"bbox": [10, 20, math.nan, 40]}, "not finite", True),
        ({"bbox": [10, math.inf, 30, 40]}, "not finite", True),
        ({"bbox": [-2, 20, 30, 40]}, "outside", True),
        ({"bbox": [10, -2, 30, 40]}, "outside", True),
        ({"bbox": [80, 20, 30, 40]}, "outside", True),
        ({"bbox": [10, 50, 30, 40]}, "outside", True),
        ({"bbox": [300, 300, 30, 40]}, "outside", True),
        ({"bbox": [10, 20, 30]}, "not a box", True),
        ({"bbox": ["10", 20, 30, 40]}, "not a box", True),
        ({"bbox": None}, "not a box", True),
        ({"bbox": [10**400, 20, 30, 40]}, "not a box", True),
        ({"bbox": [10, 20, 3.5, 40]}, "tiny", False),
        ({"category_id": 0}, "wrong category", True),
        ({"category_id": 7}, "wrong category", True),
        ({"category_id": [3]}, "wrong category", True),
        ({"image_id": 8}, "unknown image", True),
        ({"image_id": None}, "unknown image", True),
        ({"iscrowd": 2}, "wrong field", True),
        ({"id": "one"}, "wrong id", True),
    ],
    ids=str,
)
def test_each_fault_of_a_box_is_named(changes: dict[str, Any], kind: str, broken: bool) -> None:
    assert kinds(sound()) == []
    assert kinds(sound(**changes)) == [(kind, broken)]


def test_a_box_may_reach_out_by_what_formats_round() -> None:
    assert kinds(sound(bbox=[-1, -1, 102, 82])) == []
    assert kinds(sound(bbox=[-1.01, 0, 20, 20])) == [("outside", True)]


def test_the_smallest_side_that_is_not_odd_can_be_set() -> None:
    assert [problem.kind for problem in find_problems(sound(), min_side=30.5)] == ["tiny"]
    assert find_problems(sound(), min_side=30) == []


def test_faults_of_records_are_named() -> None:
    good = sound()
    twice = Coco(images=good.images, annotations=[*good.annotations, *good.annotations])
    assert kinds(twice) == [("duplicate id", True), ("same box twice", False)]
    images = [*good.images, {"id": 7, "file_name": "A.JPG", "width": 100, "height": 0}]
    assert sorted(kinds(Coco(images=images, annotations=[]))) == [
        ("duplicate id", True),
        ("duplicate name", True),
        ("wrong size", True),
    ]
    assert kinds(Coco(images=[], annotations=[], categories=[{"id": 1, "name": "person"}])) == [
        ("wrong category", True)
    ]


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "../a.jpg", "x/../../a.jpg", "x\\a.jpg", "C:/a.jpg", "", 3, None, "a\0"]
)
def test_a_name_that_leaves_the_folder_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="file_name must be"):
        picture_path(Path("photos"), name)
    coco = Coco(images=[{"id": 1, "file_name": name, "width": 1, "height": 1}], annotations=[])
    assert ("wrong name", True) in kinds(coco)


def test_a_name_in_the_folder_is_found() -> None:
    assert picture_path(Path("photos"), "sub/a..b.jpg") == Path("photos/sub/a..b.jpg")


def test_what_is_broken_stops_and_what_is_odd_does_not() -> None:
    require_sound(sound(bbox=[10, 20, 1, 1]), Path("a.json"))
    with pytest.raises(
        InputError, match=r"a\.json: annotations must be sound; 1 broken: a\.jpg: annotation 1: .*empty|"
    ):
        require_sound(sound(bbox=[10, 20, 0, 1]), Path("a.json"))


def test_written_files_are_read_back_with_every_field(tmp_path: Path) -> None:
    coco = Coco(
        images=[{"id": 7, "file_name": "ä b.jpg", "width": 100, "height": 80, "licence": "mine"}],
        annotations=[{**sound().annotations[0], "score": 0.25, "attributes": {"occluded": True}}],
        info={"description": "x"},
    )
    write_coco(tmp_path / "a.json", coco)
    assert read_coco(tmp_path / "a.json") == Coco(
        images=list(coco.images),
        annotations=list(coco.annotations),
        categories=[dict(category) for category in CATEGORIES],
        info=coco.info,
    )
    write_coco(tmp_path / "none.json", Coco(images=[], annotations=[]))
    assert json.loads((tmp_path / "none.json").read_text())["images"] == []


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("by hand")
    with pytest.raises(OutputError, match="must not exist yet"):
        write_coco(target, sound())
    assert target.read_text() == "by hand"
    write_coco(target, sound(), overwrite=True)
    assert read_coco(target).annotations == list(sound().annotations)
    refuse_existing(tmp_path / "new.json", overwrite=False)


def test_numbers_that_json_has_not_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="finite"):
        write_coco(tmp_path / "a.json", sound(bbox=[math.nan, 0, 1, 1]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"images": []}',
        '{"images": [3], "annotations": [], "categories": []}',
        "[" * 100_000,
        "\xff",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="must be"):
        read_coco(path)
    with pytest.raises(InputError, match="must be readable"):
        read_coco(tmp_path / "missing.json")
