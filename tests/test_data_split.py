"""`detector data split`: no copy on two sides, classes in balance, the same every time."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detector.classes import CLASSES
from detector.cliparts import run_command
from detector.data.cli import data
from detector.data.coco import Coco, read_coco, write_coco
from detector.data.split import Split, split_groups, split_shares, stem_family, stem_pairs, write_parts
from detector.errors import InputError, OutputError, UsageError


def run(*arguments: object) -> int:
    return run_command(data, "detector data", [str(argument) for argument in arguments])


def coco_of(contents: list[list[int]]) -> Coco:
    """Return a data set of pictures with boxes of these categories."""
    images = [{"id": 50 + i, "file_name": f"{i:03}.jpg", "width": 9, "height": 9} for i in range(len(contents))]
    boxes = [(50 + i, category) for i, content in enumerate(contents) for category in content]
    return Coco(
        images=images,
        annotations=[
            {"id": n, "image_id": image, "category_id": category, "bbox": [0, 0, 5, 5], "iscrowd": 0}
            for n, (image, category) in enumerate(boxes)
        ],
    )


def names(split: Split) -> dict[str, list[str]]:
    return {part: [image["file_name"] for image in coco.images] for part, coco in split.parts.items()}


def test_every_part_gets_its_share_of_every_class_and_of_nothing() -> None:
    # Class 1 in 40 pictures, class 2 in 20, class 3 in 10, none in 30.
    coco = coco_of([[1]] * 40 + [[2, 2]] * 20 + [[3]] * 10 + [[]] * 30)
    split = split_groups(coco, [], shares=split_shares(0.2, 0.1))
    counts = split.counts()
    assert {part: table["pictures"] for part, table in counts.items()} == {"train": 70, "val": 20, "test": 10}
    assert [counts["val"][name] for name in CLASSES] == [8, 8, 2, 0, 0, 0]
    assert [counts["test"][name] for name in CLASSES] == [4, 4, 1, 0, 0, 0]
    empty = [image for image in split.parts["val"].images if not split.parts["val"].by_image()[image["id"]]]
    assert len(empty) == 6
    assert sorted(name for part in names(split).values() for name in part) == [
        image["file_name"] for image in coco.images
    ]
    assert sum(len(part.annotations) for part in split.parts.values()) == len(coco.annotations)


def test_the_rarest_class_and_the_largest_groups_are_dealt_out_first() -> None:
    halves = split_shares(0.5, 0)
    rare = coco_of([[1]] * 38 + [[1, 2], [1, 2]])
    # The first four pictures are a group; dealt out last, it would go on top of half of the others.
    large = coco_of([[1]] * 8)
    for seed in range(20):
        counts = split_groups(rare, [], shares=halves, seed=seed).counts()
        assert {table["BUTTOCKS_EXPOSED"] for table in counts.values()} == {1}
        counts = split_groups(large, [(0, 1), (1, 2), (2, 3)], shares=halves, seed=seed).counts()
        assert {table["BELLY_EXPOSED"] for table in counts.values()} == {4}


def test_groups_stay_whole_through_links() -> None:
    coco = coco_of([[1]] * 30)
    pairs = [(i, i + 1) for i in range(0, 30, 3)] + [(i + 1, i + 2) for i in range(0, 30, 3)]
    for seed in range(10):
        split = split_groups(coco, pairs, shares=split_shares(0.3, 0.2), seed=seed)
        for part in names(split).values():
            thirds = Counter(int(name[:3]) // 3 for name in part)
            assert set(thirds.values()) == {3}
        assert (split.groups, split.largest) == (10, 3)
        assert [len(part) for part in names(split).values()] == [15, 9, 6]


def test_the_seed_decides_and_the_order_of_the_file_does_not() -> None:
    coco = coco_of([[1 + i % 6] for i in range(60)])
    shares = split_shares(0.25, 0)
    first = split_groups(coco, [(0, 59)], shares=shares, seed=1)
    assert names(split_groups(coco, [(0, 59)], shares=shares, seed=1)) == names(first)
    assert names(split_groups(coco, [(0, 59)], shares=shares, seed=2)) != names(first)
    turned = Coco(images=coco.images[::-1], annotations=coco.annotations[::-1])
    again = split_groups(turned, [(0, 59)], shares=shares, seed=1)
    assert {part: sorted(content) for part, content in names(again).items()} == names(first)


def test_no_part_stays_empty_and_too_few_groups_are_refused() -> None:
    split = split_groups(coco_of([[1], [1], [1]]), [], shares=split_shares(0.01, 0.01))
    assert [len(part) for part in names(split).values()] == [1, 1, 1]
    with pytest.raises(InputError, match=r"at least 3 groups .*; got 2 of 3 pictures"):
        split_groups(coco_of([[1], [1], [1]]), [(0, 1)], shares=split_shares(0.1, 0.1))


def test_boxes_to_be_ignored_do_not_count() -> None:
    coco = coco_of([[1]] * 20)
    boxes = [{**box, "iscrowd": int(i < 10)} for i, box in enumerate(coco.annotations)]
    for seed in range(20):
        split = split_groups(Coco(images=coco.images, annotations=boxes), [], shares=split_shares(0.2, 0), seed=seed)
        assert len(split.parts["val"].annotations) == 4
        assert split.counts()["val"] == {"pictures": 4, "BELLY_EXPOSED": 2, **dict.fromkeys(CLASSES[1:], 0)}


@pytest.mark.parametrize(("val", "test"), [(0, 0), (1, 0), (-0.1, 0), (0.5, 0.5), (0.2, -0.1), (float("nan"), 0)])
def test_shares_that_leave_nothing_are_refused(val: float, test: float) -> None:
    with pytest.raises(UsageError, match="--val must be above 0"):
        split_shares(val, test)


@pytest.mark.parametrize(
    "name",
    ["a/x_1.jpg", "a/x-2.png", "a/X (3).jpg", "a/x_flip.jpg", "a/x_aug12.jpg", "a/x_copy_2.jpg", "a/x_640x480.jpg"],
)
def test_derived_names_are_of_one_family(name: str) -> None:
    assert stem_family(name) == stem_family("a/x.jpg") == "a/x"


def test_other_names_are_of_other_families() -> None:
    others = [
        "a/x.jpg",
        "a/y.jpg",
        "b/x.jpg",
        "a/x1234.jpg",
        "a/xcopy.jpg",
        "a/IMG_2041.jpg",
        "a/IMG_2042.jpg",
        "a/0001.jpg",
    ]
    assert len({stem_family(name) for name in others}) == len(others)
    assert stem_family("a/_1.jpg") == "a/_1"
    assert [pair for pair in stem_pairs(["x.jpg", "y.jpg", "x_1.jpg"]) if pair[0] != pair[1]] == [(0, 2)]


@pytest.fixture
def folder(tmp_path: Path, mannequins: list[Path], annotations: dict[str, Any]) -> Path:
    """Return a folder of five mannequins and two copies of each: a quarter of the size, and coded again, mirrored."""
    images = []
    for path in mannequins[:5]:
        shutil.copy(path, tmp_path / path.name)
        with Image.open(path) as image:
            small = image.resize((image.width // 4, image.height // 4), Image.Resampling.LANCZOS)
            small.save(tmp_path / f"s{path.name}", quality=70)
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"m{path.stem}.webp", method=0)
            for name, made in ((path.name, image), (f"s{path.name}", small), (f"m{path.stem}.webp", image)):
                images.append({"id": len(images), "file_name": name, "width": made.width, "height": made.height})
    write_coco(tmp_path / "all.json", Coco(images=images, annotations=[]))
    return tmp_path


def test_copies_never_stand_on_two_sides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("split", folder / "all.json", folder / "parts", "--val", 0.2, "--test", 0.2, "--workers", 2)
    assert run(*arguments) == 0
    assert "15 pictures in 5 groups, the largest of 3" in capsys.readouterr().out
    sides: dict[str, set[str]] = {}
    total = 0
    for part in ("train", "val", "test"):
        coco = read_coco(folder / "parts" / f"{part}.json")
        total += len(coco.images)
        for image in coco.images:
            sides.setdefault(image["file_name"].lstrip("sm")[:4], set()).add(part)
    assert total == 15
    assert all(len(parts) == 1 for parts in sides.values())
    before = (folder / "parts" / "val.json").read_bytes()
    assert run(*arguments) == 1
    assert "must not exist yet" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0
    assert (folder / "parts" / "val.json").read_bytes() == before
    assert json.loads(before)["info"]["split"]["seed"] == 0


def test_names_of_one_family_stay_together_on_request(
    tmp_path: Path, mannequins: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images = []
    for path, name in zip(mannequins, ("a.jpg", "a_crop.jpg", "b.jpg", "c.jpg"), strict=False):
        shutil.copy(path, tmp_path / name)
        with Image.open(path) as image:
            images.append({"id": len(images), "file_name": name, "width": image.width, "height": image.height})
    write_coco(tmp_path / "all.json", Coco(images=images, annotations=[]))
    for options, groups in (((), 4), (("--stems",), 3)):
        arguments = ("split", tmp_path / "all.json", tmp_path / "parts", "--val", 0.3, "--overwrite", "--workers", 1)
        assert run(*arguments, *options) == 0
        assert f"4 pictures in {groups} groups" in capsys.readouterr().out


def test_a_picture_that_cannot_be_compared_stops_the_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "0003.jpg").unlink()
    assert run("split", folder / "all.json", folder / "parts", "--val", 0.2, "--workers", 2) == 1
    err = capsys.readouterr().err
    assert "0003.jpg" in err
    assert "1 are not; nothing was written" in err
    assert not (folder / "parts").exists()


def test_parts_replace_neither_their_source_nor_leave_a_stale_part(tmp_path: Path) -> None:
    split = split_groups(coco_of([[1]] * 4), [], shares=split_shares(0.5, 0))
    source = tmp_path / "train.json"
    write_coco(source, coco_of([[1]]))
    with pytest.raises(OutputError, match="must not replace the file it comes from"):
        write_parts(split, tmp_path, source=source, overwrite=True)
    source.rename(tmp_path / "all.json")
    (tmp_path / "test.json").write_text("{}")
    with pytest.raises(OutputError, match=r"no part of another split; .*test\.json is one"):
        write_parts(split, tmp_path, source=tmp_path / "all.json", overwrite=True)
    assert not (tmp_path / "val.json").exists()
    (tmp_path / "test.json").unlink()
    paths = write_parts(split, tmp_path / "a" / "b", source=tmp_path / "all.json")
    assert [path.name for path in paths] == ["train.json", "val.json"]
    with pytest.raises(OutputError, match="must be there or be made"):
        write_parts(split, tmp_path / "all.json" / "x", source=tmp_path / "all.json")
