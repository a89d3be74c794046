"""`detector data check`: pictures against their records, copies, the report, and the contact sheet."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from detector.cliparts import run_command
from detector.data import cli as data_cli
from detector.data.check import Report, check
from detector.data.cli import data
from detector.data.coco import MIN_SIDE, Coco, read_coco, write_coco
from detector.data.phash import NEAR_BITS, VIEW_SIDE, group_linked, hash_view, near_pairs
from detector.data.sheet import RED, choose_images, contact_sheet
from detector.errors import UsageError
from detector.palette import PALETTE
from detector.picture import Picture

NAMES = ["0000.jpg", "0002.jpg", "0003.jpg", "0005.jpg"]


def run(*arguments: object) -> int:
    return run_command(data, "detector data", [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, mannequins: list[Path], annotations: dict[str, Any]) -> Path:
    """Return a folder with four mannequins and their annotations."""
    for path in mannequins:
        if path.name in NAMES:
            shutil.copy(path, tmp_path)
    images = [image for image in annotations["images"] if image["file_name"] in NAMES]
    ids = {image["id"] for image in images}
    boxes = [box for box in annotations["annotations"] if box["image_id"] in ids]
    write_coco(tmp_path / "annotations.json", Coco(images=images, annotations=boxes))
    return tmp_path


def checked(folder: Path, **options: Any) -> Report:
    return check(read_coco(folder / "annotations.json"), folder, **options)


def add(folder: Path, name: str, image: Image.Image, **options: Any) -> None:
    """Save a picture and add its record."""
    image.save(folder / name, **options)
    coco = read_coco(folder / "annotations.json")
    record = {"id": 100 + len(coco.images), "file_name": name, "width": image.width, "height": image.height}
    images = [*coco.images, record]
    write_coco(folder / "annotations.json", Coco(images=images, annotations=coco.annotations), overwrite=True)


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(problem.where, problem.kind) for problem in report.problems]


def test_a_sound_set_is_counted(folder: Path) -> None:
    calls: list[int] = []
    report = checked(folder, advance=lambda: calls.append(1))
    assert len(calls) == report.images == 4
    assert not report.broken
    assert report.problems == []
    coco = read_coco(folder / "annotations.json")
    assert report.ignored == sum(box["iscrowd"] for box in coco.annotations) > 0
    assert sum(report.class_counts.values()) + report.ignored == report.annotations == len(coco.annotations)
    assert report.class_counts["BUTTOCKS_EXPOSED"] == 1
    assert sum(report.boxes_per_image.values()) == 4
    assert sum(boxes * count for boxes, count in report.boxes_per_image.items()) == report.annotations


def test_missing_and_truncated_pictures_are_broken(folder: Path) -> None:
    (folder / "0000.jpg").unlink()
    content = (folder / "0002.jpg").read_bytes()
    (folder / "0002.jpg").write_bytes(content[: len(content) // 2])
    report = checked(folder, workers=2)
    assert kinds(report) == [("0000.jpg", "unreadable"), ("0002.jpg", "unreadable")]
    assert report.broken


def test_sizes_are_those_of_what_a_viewer_sees(folder: Path) -> None:
    with Image.open(folder / "0000.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        # Stored turned: a viewer turns it back, and the record stays right.
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif)
        add(folder, "stored.jpg", image, exif=exif)
    shutil.move(folder / "turned.jpg", folder / "0000.jpg")
    report = checked(folder)
    assert kinds(report) == [("stored.jpg", "size mismatch")]
    assert "stored turned" in report.problems[0].text
    assert "640 x 480; got 480 x 640" in report.problems[0].text


def test_a_wrong_size_alone_is_not_called_turned(folder: Path) -> None:
    with Image.open(folder / "0000.jpg") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "0000.jpg")
    (problem,) = checked(folder).problems
    assert problem.kind == "size mismatch"
    assert "stored turned" not in problem.text


def test_copies_are_grouped_and_same_bytes_apart(folder: Path) -> None:
    with Image.open(folder / "0000.jpg") as image:
        add(folder, "small.png", image.resize((120, 160), Image.Resampling.LANCZOS))
        add(folder, "mirror.jpg", image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), quality=50)
    with Image.open(folder / "0002.jpg") as image:
        add(folder, "again.jpg", image)
    shutil.copy(folder / "0002.jpg", folder / "again.jpg")
    report = checked(folder)
    assert report.same == [["0002.jpg", "again.jpg"]]
    assert report.near == [["0000.jpg", "small.png", "mirror.jpg"]]
    assert not report.broken
    assert checked(folder, near_bits=31).near != report.near


def test_a_blank_picture_is_odd(folder: Path) -> None:
    add(folder, "blank.png", Image.new("RGB", (50, 50), (200, 10, 10)))
    report = checked(folder)
    assert kinds(report) == [("blank.png", "blank")]
    assert not report.broken


def hash_of(picture: Picture) -> NDArray[np.bool_]:
    return hash_view(picture.views(VIEW_SIDE)[0])


def encoded(image: Image.Image, **options: Any) -> Picture:
    file = io.BytesIO()
    image.save(file, **options)
    return Picture.open(file.getvalue())


def test_hashes_of_copies_are_near_and_of_others_far(mannequins: list[Path]) -> None:
    originals = [hash_of(Picture.open(path)) for path in mannequins]
    assert near_pairs(originals) == []
    for path, original in zip(mannequins[::6], originals[::6], strict=True):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        smaller = image.resize((image.width // 4, image.height // 4), Image.Resampling.LANCZOS)
        for picture in (
            encoded(smaller, format="JPEG", quality=60),
            encoded(image, format="JPEG", quality=10),
            encoded(image.filter(ImageFilter.GaussianBlur(2)), format="PNG"),
            encoded(image.convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT), format="WEBP"),
        ):
            assert len(near_pairs([original, hash_of(picture)])) == 1, path.name


def test_flat_pictures_of_any_colour_hash_alike() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (13, 77, 201)]
    hashes = [hash_of(encoded(Image.new("RGB", (31, 77), colour), format="PNG")) for colour in colours]
    assert not np.array(hashes).any()
    assert hash_of(encoded(Image.new("L", (1, 1)), format="PNG")).shape == (2, 64)


def test_pairs_are_found_by_distance_alone_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.data.phash.BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = rng.random((40, 2, 64)) < 0.5
    hashes[31] = hashes[3]  # equal
    hashes[17, 0] = hashes[5, 0]
    hashes[17, 0, :NEAR_BITS] ^= True  # as far as copies are
    hashes[20, 0] = hashes[6, 0]
    hashes[20, 0, : NEAR_BITS + 1] ^= True  # one bit more
    hashes[35, 0] = hashes[8, 1]  # the mirror image
    hashes[35, 1] = hashes[8, 0]
    assert {tuple(sorted(pair)) for pair in near_pairs(list(hashes))} == {(3, 31), (5, 17), (8, 35)}
    assert near_pairs([]) == []


def test_links_join_through_others() -> None:
    assert group_linked(7, [(5, 3), (3, 1), (2, 6)]) == [[0], [1, 3, 5], [2, 6], [4]]
    assert group_linked(0, []) == []


def test_the_command_prints_and_exits_with_1_only_when_broken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "annotations.json"
    assert run("check", path, "--workers", 1) == 0
    out = capsys.readouterr().out
    assert "4 pictures, 14 boxes" in out
    assert "(hashes differ in at most 8 of 64 bits): 0" in out
    assert "problems: none" in out
    coco = read_coco(path)
    boxes = [{**box, "bbox": [0, 0, float("nan"), 1]} for box in coco.annotations]
    path.write_text(json.dumps({"images": coco.images, "annotations": boxes, "categories": coco.categories}))
    assert run("check", path, "--json", "--workers", 1) == 1
    report = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert report["broken"] is True
    assert [problem["kind"] for problem in report["problems"][:2]] == ["not finite", "not finite"]
    assert run("check", path, "--most", 2, "--workers", 1) == 1
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 2
    assert "... and 15 more" in out
    assert run("check", folder / "missing.json") == 1


def test_the_smallest_side_is_an_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", folder / "annotations.json", "--tiny", 1000, "--workers", 1) == 0
    assert "problems: 14 tiny (odd)" in capsys.readouterr().out


def test_the_command_line_repeats_the_defaults() -> None:
    assert (data_cli.NEAR_BITS, data_cli.MIN_SIDE) == (NEAR_BITS, MIN_SIDE)


def test_the_sheet_shows_boxes_in_the_colour_of_their_class(folder: Path) -> None:
    target = folder / "sheet.png"
    assert run("check", folder / "annotations.json", "--sheet", target, "--workers", 2) == 0
    with Image.open(target) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape[2] == 3
    below = pixels[40:]  # the legend shows every colour
    drawn = {colour: int((below == colour).all(axis=2).sum()) for colour in (*PALETTE, RED)}
    coco = read_coco(folder / "annotations.json")
    shown = {PALETTE[box["category_id"] - 1] for box in coco.annotations if not box["iscrowd"]}
    assert {colour for colour, count in drawn.items() if count > 100} == shown


def test_the_sheet_draws_a_box_where_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (560, 280), (10, 200, 90)).save(tmp_path / "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 560, "height": 280}
    box = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [100, 60, 200, 100]}
    sheet = np.asarray(contact_sheet(Coco(images=[image], annotations=[box]), tmp_path))
    grey = np.argwhere((sheet == (10, 200, 90)).all(axis=2))
    (top, left), (bottom, right) = grey.min(axis=0), grey.max(axis=0)
    assert (bottom - top + 1, right - left + 1) == (140, 280)
    inside = sheet[top : bottom + 1, left : right + 1]
    rows, columns = np.nonzero((inside == PALETTE[1]).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 79, 50, 149)


def test_the_sheet_frames_what_is_bad_and_survives_it(folder: Path) -> None:
    coco = read_coco(folder / "annotations.json")
    wild = [[1e300, 0, 1, 1], [float("nan")] * 4, None, [0, 0, -5, -5], "abcd", [-1e18, -1e18, 2e18, 2e18]]
    boxes = [{"id": i, "image_id": 0, "category_id": i, "bbox": bbox, "iscrowd": 1} for i, bbox in enumerate(wild)]
    (folder / "0002.jpg").unlink()
    broken = Coco(images=coco.images, annotations=boxes)
    sheet = np.asarray(contact_sheet(broken, folder, bad={"0005.jpg"}))
    red = (sheet == RED).all(axis=2)
    # Two frames, each of 284 x 284 pixels and 3 wide, and the text on the missing one.
    assert red.sum() > 2 * 4 * 280 * 3


def test_the_sheet_takes_the_bad_first_and_then_evenly() -> None:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 1, "height": 1} for i in range(10)]
    coco = Coco(images=images, annotations=[])
    assert [image["id"] for image in choose_images(coco, {"7.jpg"}, 4)] == [7, 0, 3, 6]
    assert [image["id"] for image in choose_images(coco, {f"{i}.jpg" for i in range(10)}, 3)] == [0, 1, 2]
    assert len(choose_images(coco, set(), 99)) == 10
    with pytest.raises(UsageError, match="at least one picture"):
        contact_sheet(Coco(images=[], annotations=[]), Path())
