"""A folder's journal and report: cut short, altered by hand, in the wrong place, on a full disk."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from folder_runs import ALL, Finder, files, folder_of_three, journal_lines, put, run

import censor.api
from censor.batch.journal import JOURNAL_NAME, Done, Journal
from detector.errors import OutputError


@pytest.fixture
def finder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Finder:
    return folder_of_three(monkeypatch, tmp_path)


def test_a_journal_cut_short_costs_one_file(finder: Finder) -> None:
    assert run("in", "out") == 0
    path = Path("out", JOURNAL_NAME)
    path.write_bytes(path.read_bytes()[:-30])
    assert run("in", "out") == 0
    assert finder.looks == 4
    assert run("in", "out") == 0
    assert finder.looks == 4, "the line after a torn one is whole"


@pytest.mark.parametrize("option", ["--journal", "--report"])
def test_a_journal_or_report_must_be_an_ordinary_file(
    finder: Finder, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")  # opening it would wait for ever
    os.symlink("a file", "link")
    Path("folder").mkdir()
    for path in ("pipe", "link", "folder", os.devnull):
        assert run(option, path, "in", "out") == 2
        assert "must be an ordinary file" in capsys.readouterr().err
    Path("out").mkdir()
    assert run("--report", f"out/{JOURNAL_NAME}", "in", "out") == 2
    assert "is taken" in capsys.readouterr().err
    assert files("out") == []


def test_a_report_that_cannot_be_written_is_refused_before_the_work(finder: Finder) -> None:
    Path("r.jsonl").write_text("")
    os.chmod("r.jsonl", 0o400)
    assert run("--report", "r.jsonl", "in", "out") == 1
    assert finder.looks == 0


def test_a_journal_that_cannot_be_put_on_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    journal = Journal(str(tmp_path / "j"), str(tmp_path), "k")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"the journal must be writable; .*No space"), journal:
        pass


def test_an_interruption_counts_files_of_this_folder_alone(
    finder: Finder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("in", "out") == 0
    shutil.rmtree("in/x")
    put("in/a.png", 50)

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(censor.api, "run_to_file", interrupted)
    assert run("in", "out") == 130
    assert "interrupted with 0 of 1 done" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\n", b"[]\n", b"null\n", b"{}\n", b"[" * 99_999 + b"\n", b'{"schema": 1}\n']
)
def test_a_journal_of_nonsense_is_passed_over(finder: Finder, line: bytes) -> None:
    assert run("in", "out") == 0
    path = Path("out", JOURNAL_NAME)
    path.write_bytes(line + path.read_bytes())
    assert run("in", "out") == 0
    assert finder.looks == 3


def test_a_link_that_comes_while_it_runs_is_not_written_through(
    finder: Finder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = censor.api.run_to_file
    before = Path("in/x/b.png").read_bytes()

    def slow(pipeline: Any, source: str, target: str, **settings: Any) -> Any:
        report = real(pipeline, source, target, **settings)
        if source.endswith("a.png"):
            os.symlink("../in/x", "out/x")
        return report

    monkeypatch.setattr(censor.api, "run_to_file", slow)
    assert run("in", "out") == 1
    assert "a result must stay at its place; the folder of out/x/b.png leads to " in capsys.readouterr().err
    assert Path("in/x/b.png").read_bytes() == before
    assert files("out") == ALL[:2]


def test_a_journal_cannot_steer_the_terminal(finder: Finder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("in", "out") == 0
    forged = [{**line, "verdict": "\x1b[2Jsafe"} for line in journal_lines()]
    Path("out", JOURNAL_NAME).write_text("".join(json.dumps(line) + "\n" for line in forged))
    capsys.readouterr()
    assert run("in", "out") == 0
    assert finder.looks == 6, "there is no such verdict"
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("way", ["../in/a.png", "x/../../in/a.png", "link/a.png", "\0/a.png", "\ud800.png", "/a.png"])
def test_a_journal_that_leads_to_the_pictures_is_not_believed(finder: Finder, way: str) -> None:
    shutil.copy("in/a.png", "in/twin.png")
    assert run("in", "out") == 0
    done = next(line for line in journal_lines() if line["source"] == "a.png")
    data = Path("in/a.png").read_bytes()
    forged = {**done, "target": way, "target_sha256": done["source_sha256"], "target_bytes": len(data)}
    Path("out/a.png").unlink()
    Path("out/twin.png").unlink()
    Path("out/link").symlink_to(Path("in").resolve())
    Path("out", JOURNAL_NAME).write_text(json.dumps(forged) + "\n")
    assert run("in", "out") == 0
    assert all(Path("out", name).read_bytes() != data for name in ("a.png", "twin.png"))


@pytest.mark.parametrize("option", ["--journal", "--report"])
def test_no_file_that_is_read_is_written_to(finder: Finder, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("known.jsonl").write_text("")
    assert run("in", "out", "--known", "known.jsonl", option, "known.jsonl") == 2
    assert "known.jsonl is taken" in capsys.readouterr().err
    assert run("in", "out", "--journal", "one.jsonl", "--report", "one.jsonl") == 2
    assert not Path("out").exists()


def test_the_journal_says_nothing_of_what_was_seen(finder: Finder) -> None:
    assert run("in", "out") == 0
    assert set(journal_lines()[0]) == {"schema", *Done.__dataclass_fields__}
    assert not {"pdq", "boxes", "score", "painted"} & set(journal_lines()[0])
    if os.name == "posix":
        assert os.stat(f"out/{JOURNAL_NAME}").st_mode & 0o077 == 0


def test_a_journal_elsewhere(finder: Finder) -> None:
    assert run("--journal", "log.jsonl", "in", "out") == 0
    assert files("out") == ALL[1:]
    assert run("--journal", "log.jsonl", "in", "out") == 0
    assert finder.looks == 3


def test_journals_of_two_runs_at_once_do_not_mix_lines(tmp_path: Path) -> None:
    path = str(tmp_path / "j.jsonl")
    done = Done("k", "s" * 4000, "t", "0" * 64, 1, "1" * 64, 1, "safe", "painted", 0)
    with Journal(path, str(tmp_path), "k") as first, Journal(path, str(tmp_path), "k") as second:
        for _ in range(50):
            first.add(done)
            second.add(done)
    lines = Path(path).read_text().splitlines()
    assert len(lines) == 100
    assert all(Done.from_json(line) == done for line in lines)
