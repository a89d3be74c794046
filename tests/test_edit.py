"""The editing round without HTTP: previews are what is saved, and a save is what `--mask` reads."""

import _thread
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edit_rounds import FOUND, Client, TellsTheFirst, allow_loopback, drawing, editing_of, pixels, policy
from PIL import Image
from samples import DISPLAY_P3

import censor
from censor.cli import main as censor_main
from censor.edit import command
from censor.edit import editing as editing_module
from censor.edit import server as server_module
from censor.edit.editing import Editing, target_beside
from censor.paint import paint_image
from censor.pipeline import Pipeline, regions_of
from censor.report import WHOLE, MaskFile
from detector.detections import Detections
from detector.errors import InputError, OutputError, UsageError
from detector.picture import Picture

MOVED = {"label": "BUTTOCKS_EXPOSED", "box": [100, 10, 140, 50], "hide": True}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_loopback(monkeypatch)
    monkeypatch.setattr(server_module, "POLL", 0.01)


@pytest.mark.parametrize("look", [
    {}, {"style": "pixelate", "cells": 3}, {"style": "blur", "shape": "ellipse", "feather": 0.3},
    {"style": "box", "colour": "#3366ff", "grow": 0.5}, {"style": "match", "shape": "rounded"},
    {"style": "sticker", "sticker": "heart"}, {"style": "inpaint"}, {"style": "box", "caption": "hidden"},
])  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_preview_is_painted_as_the_output_is(tmp_path: Path, mode: str, look: dict[str, Any]) -> None:
    source = drawing(tmp_path / "in.png", mode=mode)
    editing = editing_of(source, tmp_path / "out.png", FOUND)
    edit = {"boxes": [MOVED, {**FOUND, "hide": False}], "look": look}
    shown = editing.preview(edit)
    assert os.listdir(tmp_path) == ["in.png"]
    picture = Picture.open(source)
    boxes = Detections.from_records([MOVED], picture.image_size)
    painted, _ = paint_image(picture.load(), regions_of(boxes, policy(**look).hide))
    assert np.array_equal(pixels(shown), np.asarray(painted.convert("RGB")))
    assert not np.array_equal(pixels(shown), pixels(source))
    editing.save(edit)
    assert np.array_equal(pixels(shown), pixels(tmp_path / "out.png"))
    assert np.array_equal(pixels(editing.result()), pixels(shown))


def test_a_large_picture_is_reduced_by_whole_squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing_module, "SCREEN_SIDE", 64)
    source = drawing(tmp_path / "in.png", (121, 160))
    editing = editing_of(source, tmp_path / "out.png", FOUND)
    assert editing.factor == 3
    shown = pixels(editing.preview({"boxes": [MOVED], "look": {}}))
    assert shown.shape == (41, 54, 3)
    assert (shown[4:16, 34:46] == 0).all(), "every square within the box"
    with Image.open(source) as image:
        assert np.array_equal(pixels(editing.original()), np.asarray(image.reduce(3)))


def test_colours_are_shown_in_srgb(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png", icc_profile=DISPLAY_P3)
    editing = editing_of(source, tmp_path / "out.png", FOUND)
    expected = Picture.open(source).views(1)[0]
    for data in (editing.original(), editing.preview({"boxes": [], "look": {}})):
        with Image.open(io.BytesIO(data)) as image:
            assert "icc_profile" not in image.info
            assert np.array_equal(np.asarray(image), expected)
    assert not np.array_equal(expected, pixels(source))


def test_the_state_says_what_the_policy_says(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png")
    belly = {"label": "BELLY_EXPOSED", "score": 0.5, "box": [1.0, 2.0, 9.0, 9.0]}
    rules = policy(colour="#102030", grow=0.3, classes=["BUTTOCKS_EXPOSED"])
    (tmp_path / "out.png").touch()
    state = editing_of(source, tmp_path / "out.png", FOUND, belly, rules=rules).state()
    assert state["boxes"] == [{**FOUND, "hide": True}]
    assert state["look"]["colour"] == "#102030"
    assert state["look"]["grow"] == 0.3
    assert (state["verdict"], state["policy"]) == ("nsfw", "default")
    assert state["replaces"] == [str(tmp_path / "out.png")]
    names = [entry["name"] for entry in state["classes"]]
    assert names[0] == "BUTTOCKS_EXPOSED"
    assert len(set(names)) == len(names) == 19
    assert {"name": WHOLE, "words": "whole picture", "colour": "#0072b2"} in state["classes"]


def test_a_whole_picture_that_the_policy_covers_is_a_box(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png")
    rules = policy(classes=["FACE_MALE"], fallback="whole")
    state = editing_of(source, tmp_path / "out.png", FOUND, rules=rules).state()
    assert {"label": WHOLE, "box": [0.0, 0.0, 160.0, 120.0], "hide": True} in state["boxes"]


def test_a_mask_file_begins_where_it_was_left(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png")
    first = editing_of(source, tmp_path / "out.png", FOUND)
    first.save({"boxes": [MOVED, {**FOUND, "hide": False}], "look": {}})
    mask = MaskFile.read(tmp_path / "out.png.json")
    assert mask.records[0]["pdq"] is None, "a likeness of the picture beside what may be passed on"
    pipeline = Pipeline(model=TellsTheFirst(), opinion=None, policy=policy())
    again = Editing(pipeline, Picture.open(source), str(tmp_path / "two.png"), mask)
    assert again.state()["boxes"] == [MOVED, {**FOUND, "hide": False}]
    assert again.state()["verdict"] is None
    with pytest.raises(InputError, match="one record for"):
        Editing(pipeline, Picture.open(drawing(tmp_path / "other.png", (9, 9))), str(tmp_path / "o.png"), mask)


def test_the_source_is_never_replaced(tmp_path: Path) -> None:
    source = drawing(tmp_path / "in.png")
    with pytest.raises(UsageError, match="another file than IN"):
        editing_of(source, source)
    data = source.read_bytes()
    (tmp_path / "x.png.json").write_bytes(data)
    with pytest.raises(UsageError, match="another file than IN"):
        editing_of(tmp_path / "x.png.json", tmp_path / "x.png")
    editing = editing_of(source, tmp_path / "out.png")
    os.link(source, tmp_path / "out.png")
    with pytest.raises(UsageError, match="another file than IN"):
        editing.save({"boxes": [], "look": {}})
    assert source.read_bytes() == data


def test_a_mask_that_cannot_be_written_leaves_no_output(tmp_path: Path) -> None:
    editing = editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png")
    (tmp_path / "out.png.json").mkdir()
    with pytest.raises(OutputError):
        editing.save({"boxes": [MOVED], "look": {}})
    assert not (tmp_path / "out.png").exists()
    assert editing.last is None


@pytest.mark.parametrize("full", ["output", "mask"])
def test_a_save_replaces_both_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    editing = editing_of(drawing(tmp_path / "in.png"), tmp_path / "out.png")
    editing.save({"boxes": [MOVED], "look": {}})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = editing_module.stream_atomic

    def fails(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    @contextmanager
    def on_a_full_disk(path: str) -> Iterator[Any]:
        with real(path) as file:
            yield SimpleNamespace(write=fails) if path.endswith(".json") == (full == "mask") else file

    monkeypatch.setattr(editing_module, "stream_atomic", on_a_full_disk)
    with pytest.raises(OutputError, match="No space"):
        editing.save({"boxes": [], "look": {}})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("gone", [False, True])
def test_a_picture_that_was_changed_meanwhile_is_said(tmp_path: Path, gone: bool) -> None:
    source = drawing(tmp_path / "in.png")
    editing = editing_of(source, tmp_path / "out.png")
    assert editing.save({"boxes": [MOVED], "look": {}}).exit_code == 0
    source.unlink() if gone else drawing(source, (120, 160), compress_level=1)
    report = editing.save({"boxes": [MOVED], "look": {}})
    assert report.exit_code == 3
    assert "in.png was changed while it was edited" in report.warnings[-1]
    assert json.loads((tmp_path / "out.png.json").read_text())["warnings"] == list(report.warnings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a.censored.jpg"),
        ("b.x.PNG", "b.x.censored.PNG"),
        ("plain", "plain.censored.png"),
        ("c.data", "c.data.censored.png"),
    ],
)
def test_the_name_beside(tmp_path: Path, name: str, expected: str) -> None:
    picture = Picture.open(drawing(tmp_path / "in.png"))
    assert target_beside(str(tmp_path / name), picture) == str(tmp_path / expected)


# The command line -----------------------------------------------------------------------------------------------------

Visit = Callable[[Client], None]


@pytest.fixture
def edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run `censor` in an empty folder with a person who visits the page when the browser is opened."""
    monkeypatch.chdir(tmp_path)
    servers: list[server_module.EditServer] = []
    make = server_module.EditServer.__init__

    def remember(self: server_module.EditServer, *arguments: Any) -> None:
        make(self, *arguments)
        servers.append(self)

    def call(*arguments: str, visit: Visit | None = None) -> tuple[int, str, str]:
        def browse(url: str) -> bool:
            try:
                assert visit is not None, "no browser is to be opened"
                client = Client(servers[-1])
                client.log_in(url.partition("#")[2])
                visit(client)
            except BaseException:
                _thread.interrupt_main()  # or the round would wait for ever
                raise
            return True

        monkeypatch.setattr(server_module.EditServer, "__init__", remember)
        monkeypatch.setattr(command.webbrowser, "open", browse)
        with pytest.raises(SystemExit) as stop:
            censor_main(list(arguments))
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def as_found(client: Client) -> dict[str, Any]:
    return {"boxes": client.json("GET", "/state")["boxes"], "look": {}}


def saves(client: Client) -> None:
    assert client.ask("POST", "/save", as_found(client))[0] == 200
    client.json("POST", "/end", {})


def test_a_round_saves_what_the_mask_writes_again(
    edit: Callable[..., tuple[int, str, str]], example: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jpg").write_bytes(example.read_bytes())
    code, out, err = edit("edit", "--style", "box", "in.jpg", visit=saves)
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert lines[0].startswith("censor: edit in.jpg at http://127.0.0.1:")
    assert lines[1] == "in.jpg -> in.censored.jpg: boxes by a person, 3 regions hidden, verified"
    assert sorted(os.listdir()) == ["in.censored.jpg", "in.censored.jpg.json", "in.jpg"]
    code, out, _ = edit("--json", "--style", "box", "--mask", "in.censored.jpg.json", "in.jpg", "again.jpg")
    assert code == 0
    assert Path("again.jpg").read_bytes() == Path("in.censored.jpg").read_bytes()
    saved, again = json.loads(Path("in.censored.jpg.json").read_text()), json.loads(out)
    assert {**again, "target": None, "pdq": None} == {**saved, "target": None}
    censor.censor_file("in.jpg", "plain.jpg", style="box")
    assert Path("plain.jpg").read_bytes() == Path("in.censored.jpg").read_bytes(), "as found, nothing changed"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand a told detector in for the models; return a picture in the folder of the run."""
    rules = policy()
    monkeypatch.setattr(
        command, "build_pipeline", lambda *_, **__: Pipeline(model=TellsTheFirst(FOUND), opinion=None, policy=rules)
    )
    return drawing(tmp_path / "in.png")


def test_a_round_without_a_save_is_a_failure(edit: Callable[..., tuple[int, str, str]], quick: Path) -> None:
    code, out, err = edit("edit", "in.png", visit=lambda client: client.json("POST", "/end", {}))
    assert (code, out) == (1, "")
    assert "nothing was written" in err.splitlines()[-1]
    assert os.listdir() == ["in.png"]


def test_ctrl_c(edit: Callable[..., tuple[int, str, str]], quick: Path) -> None:
    code, _, err = edit("edit", "in.png", visit=lambda client: _thread.interrupt_main())
    assert code == 130
    assert "interrupted" in err
    assert os.listdir() == ["in.png"]

    def save_and_leave(client: Client) -> None:
        assert client.ask("POST", "/save", as_found(client))[0] == 200
        _thread.interrupt_main()

    code, _, err = edit("--edit", "in.png", "out.png", visit=save_and_leave)
    assert code == 0
    assert sorted(os.listdir()) == ["in.png", "out.png", "out.png.json"]


def test_warnings_and_reports_reach_the_terminal(edit: Callable[..., tuple[int, str, str]], quick: Path) -> None:
    def save_nothing(client: Client) -> None:
        client.json("POST", "/save", {"boxes": [], "look": {}})
        client.json("POST", "/end", {})

    os.mkdir("folder")
    code, out, err = edit("edit", "--json", "--quiet", "in.png", "folder", visit=save_nothing)
    assert code == 3
    assert "look at folder/in.png: no box of the mask is to be hidden" in err
    assert json.loads(out)["boxes"] == []
    assert sorted(os.listdir("folder")) == ["in.png", "in.png.json"]


def test_without_a_browser_the_link_is_printed(
    edit: Callable[..., tuple[int, str, str]], quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module.EditServer, "serve", lambda self: self.server_close())
    code, _, err = edit("edit", "--no-browser", "--quiet", "in.png")
    assert code == 1
    assert "http://127.0.0.1:" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit"], "IN, and OUT if wanted, must be given to edit; got 0 paths"),
        (["edit", "a.png", "b.png", "c.png"], "got 3 paths"),
        (["edit", "-"], "editing must be given files; got -"),
        (["edit", "--in-place", "in.png"], "--in-place must not be given with editing"),
        (["--edit", "--boxes", "in.png"], "--boxes must not be given with editing"),
        (["edit", "--dry-run", "in.png"], "--dry-run must not be given with editing; it is for folders"),
        (["edit", "--include", "*.png", "in.png"], "--include must not be given with editing"),
        (["edit", "in.png", "out.xyz"], "must end in one of"),
        (["edit", "in.png", "in.png"], "another file than IN"),
        (["edit", "."], ". is a folder"),
    ],
)
def test_wrong_usage(
    edit: Callable[..., tuple[int, str, str]], quick: Path, arguments: list[str], message: str
) -> None:
    code, out, err = edit(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert os.listdir() == ["in.png"]


def test_a_round_begins_with_what_a_person_decided_before(
    edit: Callable[..., tuple[int, str, str]], quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def build(policy: str, **settings: Any) -> None:
        asked.append(settings["known"])
        raise UsageError("that is enough")

    monkeypatch.setattr(command, "build_pipeline", build)
    assert edit("edit", "--known", "list.jsonl", "in.png")[0] == 2
    assert asked == ["list.jsonl"]


def test_a_file_called_edit_makes_the_word_an_error(
    edit: Callable[..., tuple[int, str, str]], quick: Path, example: Path
) -> None:
    Path("edit").write_bytes(example.read_bytes())
    code, _, err = edit("edit", "in.png")
    assert code == 2
    assert "say ./edit for the file, or --edit IN [OUT] to edit a picture" in err
    code, _, _ = edit("--edit", "in.png", "out.png", visit=saves)
    assert code == 0
    assert edit("./edit", "from.png")[0] == 0, "a picture like any other"
    assert edit("--edit", "edit", visit=saves)[0] == 0
    assert Path("edit.censored.jpg").exists()
