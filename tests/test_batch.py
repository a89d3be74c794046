"""Whole folders from the command line: resumed, redone, interrupted; with a pipeline whose answers the test chooses."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folder_runs import ALL, JPEG, Finder, files, folder_of_three, journal_lines, put, run
from PIL import Image
from samples import colour_picture, saved

import censor.api
from censor.batch.journal import JOURNAL_NAME, Journal
from censor.batch.settings import settings_key
from censor.cli import main
from censor.pipeline import Pipeline
from censor.policy import load_censor_policy


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Finder:
    return folder_of_three(monkeypatch, tmp_path)


def test_a_tree_is_censored_into_another(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    put("in/notes.txt", data=b"words")
    before = {name: Path("in", name).read_bytes() for name in files("in")}
    assert run("in", "out") == 0
    assert files("out") == ALL
    assert {name: Path("in", name).read_bytes() for name in files("in")} == before
    assert finder.looks == 3
    with Image.open("out/a.png") as image:
        assert image.getpixel((20, 20)) != colour_picture().getpixel((20, 20))
    said = capsys.readouterr()
    assert said.out == ""
    assert "in -> out\n  written            3  in " in said.err
    assert "  skipped            1  1 not a picture or video\n  verdicts: 3 nsfw\n" in said.err
    assert "skipped: in/notes.txt: not a picture or video\n" in said.err


def test_nothing_is_done_twice(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("in", "out") == 0
    times = {name: os.stat(f"out/{name}").st_mtime_ns for name in ALL}
    put("in/new.png", 99)
    capsys.readouterr()
    assert run("in", "out") == 0
    assert finder.looks == 4
    assert {name: os.stat(f"out/{name}").st_mtime_ns for name in ALL[1:]} == {name: times[name] for name in ALL[1:]}
    assert "  done before        3  same bytes, same settings\n" in capsys.readouterr().err
    assert len(journal_lines()) == 4


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda: put("in/a.png", 77), 1),
        (lambda: os.unlink("out/a.png"), 1),
        (lambda: Path("out/a.png").write_bytes(Path("in/a.png").read_bytes()), 1),
        (lambda: Path("out/a.png").write_bytes(Path("out/a.png").read_bytes() + b"x"), 1),
        (lambda: (os.rename("out/a.png", "out/b.png"), os.symlink("b.png", "out/a.png")), 0),
        (lambda: os.unlink(f"out/{JOURNAL_NAME}"), 3),
        (lambda: os.utime("in/a.png", (1, 1)), 0),
    ],
    ids=["source altered", "gone", "replaced by the source", "altered", "now a link", "no journal", "only touched"],
)
def test_what_was_altered_is_done_again(finder: Finder, change: Callable[[], None], again: int) -> None:
    assert run("in", "out") == 0
    change()
    code = run("in", "out")
    linked = Path("out/a.png").is_symlink()
    assert code == (1 if linked else 0)  # a result is never written through a link, nor left to stand as one
    assert finder.looks - 3 == again + linked
    if not linked:
        assert all(Path("out", name).read_bytes() != Path("in", name).read_bytes() for name in ALL[1:])


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (["--style", "box"], 3),
        (["--policy", "strict"], 3),
        (["--thresh", "0.5"], 3),
        (["--no-verify"], 3),
        (["--workers", "2", "--quiet", "--json", "--include", "*", "--exclude", "zzz", "--report", "r.jsonl"], 0),
        (["--max-side", "5000"], 0),
    ],
)
def test_other_settings_do_it_again(finder: Finder, arguments: list[str], again: int) -> None:
    assert run("in", "out") == 0
    assert run(*arguments, "in", "out") == 0
    assert finder.looks - 3 == again
    assert run("in", "out") == 0
    assert finder.looks - 3 == 2 * again, "the results of other settings do not count as these"


def test_the_key_covers_models_version_and_the_content_of_files(
    finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_censor_policy("default", second_opinion=False)
    pipeline = Pipeline(model=finder, opinion=None, policy=policy)
    Path("list").write_text("one")
    options = {"known": "list", "style": None, "caption": "x" * 5000 + "\0"}
    keys = [settings_key(pipeline, options)]
    assert settings_key(pipeline, dict(options)) == keys[0]
    Path("list").write_text("two")
    keys.append(settings_key(pipeline, options))
    keys.append(settings_key(pipeline, {**options, "an option of tomorrow": 1}))
    monkeypatch.setattr("detector.__version__", "99")
    keys.append(settings_key(pipeline, options))
    monkeypatch.setattr(Finder, "sha256", "1" * 64)
    keys.append(settings_key(pipeline, options))
    assert len(set(keys)) == 5
    with pytest.raises(TypeError, match="plain data"):
        settings_key(pipeline, {"thing": object()})


def test_one_bad_file_does_not_stop_the_rest(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    put("in/a2.jpg", data=JPEG[:600])
    assert run("in", "out") == 1
    assert files("out") == ALL
    assert "censor: error: in/a2.jpg: a picture must decode without errors" in capsys.readouterr().err
    assert run("in", "out") == 1, "what failed is tried again"
    assert finder.looks in (3, 4, 5)
    put("in/a2.jpg", 5)
    assert run("in", "out") == 0


def test_what_should_be_looked_at_stays_so(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--classes", "BELLY_EXPOSED", "in", "out")  # what is found flags the picture and is not to be hidden
    assert run(*arguments) == 3
    assert "censor: look at out/a.png: the verdict is nsfw" in capsys.readouterr().err
    assert run(*arguments) == 3
    assert "to look at, as said before: out/a.png\n" in capsys.readouterr().err


def test_the_same_bytes_under_another_name_are_copied(finder: Finder) -> None:
    shutil.copy("in/a.png", "in/x/twin.png")
    shutil.copy("in/a.png", "in/x/twin.data")
    assert run("in", "out") == 0
    assert finder.looks == 3
    results = [Path("out", name).read_bytes() for name in ("a.png", "x/twin.png", "x/twin.data.png")]
    assert results[0] == results[1] == results[2]
    os.rename("in/x", "in/z")
    assert run("in", "out") == 0
    assert finder.looks == 3, "files that were moved are not looked at again"


def test_a_copy_whose_original_result_was_altered_is_made_afresh(finder: Finder) -> None:
    assert run("in", "out") == 0
    shutil.copy("in/a.png", "in/zzz.png")
    Path("out/a.png").write_bytes(Path("in/a.png").read_bytes())
    os.unlink("in/a.png")
    assert run("in", "out") == 0
    assert finder.looks == 4
    assert Path("out/zzz.png").read_bytes() != Path("in/zzz.png").read_bytes()


def flip_last_byte(path: str) -> None:
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-1] + bytes([data[-1] ^ 255]))


@pytest.mark.parametrize("path", ["in/d.bmp", "out/d.bmp"])
def test_an_alteration_of_the_same_length_is_seen(finder: Finder, path: str) -> None:
    put("in/d.bmp", data=saved(colour_picture(), "BMP"))
    assert run("in", "out") == 0
    flip_last_byte(path)
    assert run("in", "out") == 0
    assert finder.looks == 5


def test_what_is_altered_while_it_is_copied_is_made_afresh(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("in", "out") == 0
    shutil.copy("in/a.png", "in/zzz.png")
    flip_last_byte("out/a.png")
    monkeypatch.setattr(Journal, "_stands", lambda self, done: True)  # it did a moment ago
    assert run("in", "out") == 0
    assert finder.looks == 4
    assert Path("out/zzz.png").read_bytes() != Path("out/a.png").read_bytes()


def test_with_a_mask_the_name_decides_between_files_of_the_same_bytes(finder: Finder) -> None:
    shutil.copy("in/a.png", "in/b.png")
    assert run("--quiet", "--report", "r.jsonl", "--include=?.png", "--exclude", "x", "in", "out") == 0
    first = json.loads(Path("r.jsonl").read_text().splitlines()[0])
    hidden = {**first, "source": os.path.join("in", "b.png")}
    shown = {**first, "boxes": [{**box, "hide": False} for box in first["boxes"]]}
    Path("m.jsonl").write_text(json.dumps(shown) + "\n" + json.dumps(hidden) + "\n")
    assert run("--mask", "m.jsonl", "--include=?.png", "--exclude", "x", "in", "masked") == 3
    assert Path("masked/a.png").read_bytes() != Path("masked/b.png").read_bytes()


def test_what_lay_in_the_target_before_is_said(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    put("out/x/copied by hand.png", 3)
    put("in/bad.jpg", 4)
    assert run("--report", "out/r.jsonl", "--journal", "out/j.jsonl", "in", "out") == 0
    os.unlink("in/a.png")
    Path("in/bad.jpg").write_bytes(JPEG[:600])
    capsys.readouterr()
    assert run("--report", "out/r.jsonl", "--journal", "out/j.jsonl", "in", "out") == 1
    said = capsys.readouterr().err
    assert "  left over          3  in OUT from before, not of this run; nobody looked at them\n" in said
    left = [line.split(": ")[1] for line in said.splitlines() if line.startswith("left over: ")]
    assert left == ["out/a.png", "out/bad.jpg", "out/x/copied by hand.png"]
    lines = [json.loads(line) for line in Path("out/r.jsonl").read_text().splitlines()]
    assert [line["target"] for line in lines if line.get("skipped") == "in OUT, not of this run"] == left


def test_a_report_is_a_mask_for_copies_too(finder: Finder) -> None:
    shutil.copy("in/a.png", "in/x/twin.png")
    assert run("--report", "r.jsonl", "in", "out") == 0
    assert run("--mask", "r.jsonl", "in", "masked") == 0
    assert Path("masked/x/twin.png").read_bytes() == Path("masked/a.png").read_bytes()
    with Image.open("masked/x/twin.png") as image:
        assert image.getpixel((20, 20)) != colour_picture().getpixel((20, 20))


def test_a_dry_run_writes_nothing(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    put("in/notes.txt", data=b"words")
    assert run("--dry-run", "in", "out") == 0
    assert not Path("out").exists()
    assert finder.looks == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "would censor  in/a.png -> out/a.png",
        "would censor  in/x/b.png -> out/x/b.png",
        "would censor  in/x/y/c.jpg -> out/x/y/c.jpg",
        "would skip  in/notes.txt: not a picture or video",
    ]
    assert said.err == "3 to censor, 0 done before, 1 to skip, 0 that would fail; nothing was written\n"
    assert run("in", "out") == 0
    capsys.readouterr()
    assert run("--dry-run", "--style", "box", "in", "out") == 0
    assert "3 to censor, 0 done before" in capsys.readouterr().err


def test_the_report_names_every_file(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    put("in/notes.txt", data=b"words")
    put("in/bad.jpg", data=JPEG[:600])
    assert run("--json", "--quiet", "--report", "r.jsonl", "in", "out") == 1
    lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert {line["source"]: line.get("verdict") for line in lines} == {
        "in/notes.txt": None,
        "in/a.png": "nsfw",
        "in/x/b.png": "nsfw",
        "in/x/y/c.jpg": "nsfw",
        "in/bad.jpg": "error",
    }
    assert all(line["schema"] == "retina-censor/1" for line in lines)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines
    assert run("--mask", "r.jsonl", "in", "masked") == 1
    assert files("masked") == ALL, "a report of a folder is a mask for it"
    assert run("--quiet", "--report", "r.jsonl", "in", "out") == 1
    again = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert [line["journal"] for line in again if "journal" in line] == ["before"] * 3


def test_ctrl_c_leaves_a_state_to_go_on_from(
    finder: Finder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = censor.api.run_to_file, []

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(censor.api, "run_to_file", interrupted)
    assert run("--report", "r.jsonl", "in", "out") == 130
    said = capsys.readouterr().err
    assert "censor: interrupted with 1 of 3 done; the same command goes on from here\n" in said
    assert files("out") == ALL[:2]
    assert len(Path("r.jsonl").read_text().splitlines()) == 1
    assert run("in", "out") == 0
    assert len(calls) == 4
    assert files("out") == ALL


def test_several_workers_do_the_same(finder: Finder) -> None:
    for index in range(12):
        put(f"in/more/{index}.png", 100 + index)
    assert run("in", "out", "--workers", "1") == 0
    one = {name: Path("out", name).read_bytes() for name in files("out") if not name.startswith(".")}
    with pytest.raises(SystemExit):
        main(["--workers", "4", "in", "four"])
    assert {name: Path("four", name).read_bytes() for name in files("four") if not name.startswith(".")} == one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in"], "IN and OUT must be given"),
        (["in", "-"], "results must go to a folder; got -"),
        (["in", "in/out"], "OUT must not lie in IN"),
        (["in", "in"], "OUT must be another folder than IN"),
        (["in", "in/a.png"], "must go to a folder"),
        (["in", "in/a.png", "out"], "a folder must be the only IN"),
        (["--in-place", "in", "in"], "must not be given with a folder"),
        (["--dry-run", "in/a.png", "out.png"], "--dry-run must be given with a folder"),
        (["--include", "*.png", "in/a.png", "out.png"], "--include must be given with a folder"),
        (["--report", "in/a.png", "in", "out"], "a file of its own"),
        (["--journal", "out/a.png", "in", "out"], "a file of its own"),
        (["--journal", "nowhere/j", "in", "out"], "must be there"),
        (["--mask", "m.json", "--known", "k.jsonl", "in", "out"], "must not be given with --known"),
    ],
)
def test_refused_before_anything_is_written(
    finder: Finder, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = files(".")
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert files(".") == before
    assert not Path("out").exists()


def test_an_empty_folder_is_no_error(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert run("empty", "out") == 0
    assert "  written            0\n" in capsys.readouterr().err


def test_names_of_any_bytes_survive(finder: Finder) -> None:
    name = os.fsdecode(b"\xff\n -x.png")
    put(f"in/{name}", 9)
    assert run("--json", "in", "out") == 0
    assert name in files("out")
    assert run("in", "out") == 0
    assert finder.looks == 4
