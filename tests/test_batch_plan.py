"""Walking over a tree by content, patterns, and which file becomes which."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
from samples import colour_picture, saved

from censor.batch.plan import plan_folder
from detector.errors import UsageError
from detector.folders import VIDEO, Patterns, content_kind, walk
from detector.video_files import may_hold_video

JPEG, PNG = saved(colour_picture(), "JPEG"), saved(colour_picture(), "PNG")
MP4 = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(64)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tree(root: str, **files: bytes) -> None:
    for name, data in files.items():
        put(f"{root}/{name}", data)


def put(path: str, data: bytes = JPEG) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def kinds(root: str, patterns: Patterns | None = None) -> dict[str, str | None]:
    return {entry.relative: entry.kind or entry.skipped or entry.failed for entry in walk(root, patterns)}


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (JPEG, "JPEG"),
        (PNG, "PNG"),
        (saved(colour_picture(), "WEBP"), "WEBP"),
        (saved(colour_picture(), "AVIF"), "AVIF"),
        (saved(colour_picture(), "BMP"), "BMP"),
        (saved(colour_picture(), "GIF"), "GIF"),
        (saved(colour_picture(), "TIFF"), "TIFF"),
        (MP4, VIDEO),
        (b"\0\0\0\x08wide\0\0\0\0mdat", VIDEO),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", None),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", None),
        (b"\x1a\x45\xdf\xa3" + bytes(20), VIDEO),
        (b"RIFF\0\0\0\0AVI LIST", VIDEO),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"OggS" + bytes(24) + b"\x80theora", VIDEO),
        (b"OggS\0\2" + bytes(20) + b"\1\7\1vorbisOggS" + bytes(24), None),
        ((b"\x47" + bytes(187)) * 3, VIDEO),
        ((bytes(4) + b"\x47" + bytes(187)) * 3, VIDEO),
        (b"GET /index.html", None),
        (b"BMW models of 2024, a list", None),
        (b"\0\0\0\x20ftyp", VIDEO),
        (b"nut/multimedia container\0", VIDEO),
        (b"FLV\x01\5", VIDEO),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6", VIDEO),
        (b"\0\0\x01\xba\x44", VIDEO),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02", VIDEO),
        (b"%PDF-1.7", None),
        (b"hello", None),
        (b"", None),
    ],
)
def test_content_decides(head: bytes, kind: str | None) -> None:
    assert content_kind(head[:1024]) == kind
    if kind == VIDEO:
        assert may_hold_video(head[:1024]), "what a folder takes for a video, the pipeline must too"


def test_a_tree_is_walked_in_order_and_what_is_passed_over_is_said() -> None:
    tree("in", **{"b.jpg": JPEG, "a.txt": b"words", "fake.jpg": b"<html>", "sub/deep/c": PNG, "sub/clip.dat": MP4})
    tree("in", **{"empty.jpg": b"", "jxl.jxl": b"\xff\x0a1234", ".retina-censor-journal.jsonl": b"{}", "A.jpg": JPEG})
    assert kinds("in") == {
        "A.jpg": "JPEG",
        "a.txt": "not a picture or video",
        "b.jpg": "JPEG",
        "empty.jpg": "empty",
        "fake.jpg": "not a picture or video, whatever its name says",
        "jxl.jxl": "JPEG XL, a kind that is not read",
        "sub/clip.dat": "VIDEO",
        "sub/deep/c": "PNG",
    }
    assert [entry.relative for entry in walk("in")][-2:] == ["sub/clip.dat", "sub/deep/c"]


def test_links_are_never_followed() -> None:
    put("outside/secret.jpg")
    put("in/a.jpg")
    os.symlink("../outside/secret.jpg", "in/file.jpg")
    os.symlink("../outside", "in/folder")
    os.symlink(".", "in/loop")
    os.symlink("nowhere", "in/broken")
    found = kinds("in")
    assert found.pop("a.jpg") == "JPEG"
    assert found == dict.fromkeys(("broken", "file.jpg", "folder", "loop"), "a link, not followed")
    assert list(kinds("in/loop")) == list(kinds("in")), "the root itself may be reached by a link"


def test_what_is_no_file_is_not_opened() -> None:
    Path("in").mkdir()
    os.mkfifo("in/pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("in/socket")
        assert kinds("in") == dict.fromkeys(("pipe.jpg", "socket"), "a pipe, socket or device")


def test_what_cannot_be_read_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    put("in/sub/a.jpg")
    put("in/b.jpg")
    real = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [(entry.relative, entry.failed) for entry in walk("in")] == [
        ("b.jpg", None),
        ("sub", "the folder must be readable; Permission denied"),
    ]


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        ((), (), ["B.JPG", "a.png", "x/c.jpg", "x/y/d.jpg"]),
        (("*.jpg",), (), ["B.JPG", "x/c.jpg", "x/y/d.jpg"]),
        (("*.jpg", "*.PNG"), (), ["B.JPG", "a.png", "x/c.jpg", "x/y/d.jpg"]),
        ((), ("x",), ["B.JPG", "a.png"]),
        ((), ("x/",), ["B.JPG", "a.png"]),
        ((), ("x/*",), ["B.JPG", "a.png"]),
        ((), ("y",), ["B.JPG", "a.png", "x/c.jpg"]),
        ((), ("x/y",), ["B.JPG", "a.png", "x/c.jpg"]),
        (("x/*",), ("d.*",), ["x/c.jpg"]),
        (("[ab].*",), (), ["B.JPG", "a.png"]),
    ],
)
def test_patterns(include: tuple[str, ...], exclude: tuple[str, ...], found: list[str]) -> None:
    tree("in", **{"a.png": PNG, "B.JPG": JPEG, "x/c.jpg": JPEG, "x/y/d.jpg": JPEG})
    assert sorted(kinds("in", Patterns(include, exclude))) == found


def test_patterns_do_not_depend_on_how_accents_are_written() -> None:
    put("in/" + unicodedata.normalize("NFD", "Löwe.jpg"))
    assert len(kinds("in", Patterns(include=(unicodedata.normalize("NFC", "löwe*"),)))) == 1


@pytest.mark.parametrize(
    ("name", "data", "target"),
    [
        ("a.jpg", JPEG, "a.jpg"),
        ("a.JPEG", JPEG, "a.JPEG"),
        ("a.jpg", PNG, "a.png"),
        ("a.b.dat", JPEG, "a.b.dat.jpg"),
        ("photo", JPEG, "photo.jpg"),
        (".hidden", PNG, ".hidden.png"),
        ("clip.mov", MP4, "clip.mov"),
        ("clip", MP4, "clip.mp4"),
        ("clip.gif", MP4, "clip.mp4"),
        ("clip.vob", MP4, "clip.vob.mp4"),
        ("a.mp4", JPEG, "a.jpg"),
        ("x/y/a.jpg", JPEG, "x/y/a.jpg"),
    ],
)
def test_a_result_keeps_its_name_and_is_what_its_name_says(name: str, data: bytes, target: str) -> None:
    put(f"in/{name}", data)
    (item,) = plan_folder("in", "out").items
    assert (item.target_relative, item.target) == (target, os.path.join("out", target))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (("a.jpg", PNG), ("a.png", PNG), "this would become a.png, and so would a.png "),
        (("A.jpg", JPEG), ("a.JPG", JPEG), "this would become A.jpg, and so would a.JPG "),
        ((unicodedata.normalize("NFC", "ö.jpg"), JPEG), (unicodedata.normalize("NFD", "ö.jpg"), JPEG), "so would "),
        (("X/a.jpg", JPEG), ("x/A.jpg", JPEG), "this would become X/a.jpg, and so would x/A.jpg "),
    ],
)
def test_results_that_would_share_a_name_fail_alone(
    first: tuple[str, bytes], second: tuple[str, bytes], message: str
) -> None:
    put("in/ok.jpg", JPEG)
    put(f"in/{first[0]}", first[1])
    put(f"in/{second[0]}", second[1])
    plan = plan_folder("in", "out")
    assert [item.relative for item in plan.items] == ["ok.jpg"]
    failed = {entry.relative: entry.failed for entry in plan.failed}
    assert set(failed) == {first[0], second[0]}, "neither: whose the result is could not be told"
    assert message in str(failed[first[0]])


def test_a_result_with_a_folders_name_fails_alone() -> None:
    put("in/a", JPEG)
    put("in/a.jpg/b.jpg", JPEG)
    plan = plan_folder("in", "out")
    assert [item.relative for item in plan.items] == ["a.jpg/b.jpg"]
    assert "this would become a.jpg, which is a folder" in str(plan.failed[0].failed)


@pytest.mark.parametrize("target", ["in", "./in/", "in/out", "in/sub/deep/out", "link", "link/out", "."])
def test_folders_that_overlap_are_refused(target: str) -> None:
    put("in/sub/a.jpg")
    os.symlink("in", "link")
    with pytest.raises(UsageError, match=r"OUT must not lie in IN|IN must not lie in OUT|OUT must be another folder"):
        plan_folder("in", target)


def test_a_target_that_is_mounted_in_the_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    put("in/clean/x/a.jpg")
    put("out/x/a.jpg")
    real = os.path.samefile

    def mounted(first: str, second: str) -> bool:
        return {first, second} == {"in/clean", "out"} or real(first, second)

    monkeypatch.setattr(os.path, "samefile", mounted)
    with pytest.raises(UsageError, match=r"OUT must not lie in IN.*; in/clean is out by another way"):
        plan_folder("in", "out")


def test_a_target_that_is_a_file_is_refused() -> None:
    put("in/a.jpg")
    put("out")
    with pytest.raises(UsageError, match="must go to a folder; out is none"):
        plan_folder("in", "out")


def test_a_link_in_the_target_that_leads_out_of_it_is_refused() -> None:
    put("in/sub/a.jpg")
    Path("out").mkdir()
    os.symlink("../in/sub", "out/sub")
    with pytest.raises(UsageError, match=r"results must stay in out, .*; out/sub leads to .*/in/sub; remove that link"):
        plan_folder("in", "out")


def test_a_link_in_the_target_that_leads_to_other_results_is_refused() -> None:
    put("in/sub/a.jpg")
    put("in/other/a.jpg")
    Path("out/other").mkdir(parents=True)
    os.symlink("other", "out/sub")  # both results would be written to one file
    with pytest.raises(UsageError, match=r"out/sub leads to .*/out/other; remove that link"):
        plan_folder("in", "out")


def test_a_target_may_be_reached_through_links() -> None:
    put("in/sub/a.jpg")
    Path("there/sub").mkdir(parents=True)
    os.symlink("there", "out")
    assert plan_folder("in", "out/../out/").items[0].target_relative == "sub/a.jpg"


def test_what_is_in_the_target_already_is_listed() -> None:
    put("in/a.jpg")
    put("out/x/b.jpg")
    os.symlink("x", "out/link")
    os.symlink("nowhere", "out/broken")
    assert plan_folder("in", "out").there == ("broken", "link", "x/b.jpg")
    assert plan_folder("in", "fresh").there == ()


def test_names_of_any_bytes() -> None:
    name = os.fsdecode(b"in/\xff\n -x\\.jpg")
    put(name)
    (item,) = plan_folder("in", "out").items
    assert os.fsencode(item.target) == b"out/\xff\n -x\\.jpg"
