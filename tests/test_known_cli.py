"""`detector known`, `detector completion`, folders for `detector detect`, and the habits of the two command lines."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from samples import colour_picture, saved
from test_known import drawn

import censor.cli
import detector.cli
from censor.known import hash_and_recall
from detector.folders import pictures_in
from detector.known import KnownList
from detector.pdq import pdq_of
from detector.picture import Picture
from detector.pixels import Pixels
from detector.policy import load_policy


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(main: Any, *arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def add(*arguments: str) -> int:
    return run(detector.cli.main, "known", "add", "--to", "known.jsonl", *arguments)


def report(seed: int, **changes: Any) -> str:
    pdq = pdq_of(drawn(seed))
    box = {"label": "BUTTOCKS_EXPOSED", "score": 0.9, "box": [30, 20, 350, 100], "hide": True}
    left = {"label": "BELLY_EXPOSED", "score": 0.9, "box": [0, 0, 10, 10], "hide": False}
    record = {"schema": "retina-censor/1", "source": f"{seed}.png", "image_size": [200, 300], "pdq": pdq.to_dict()}
    return json.dumps({**record, "boxes": [box, left], **changes})


def test_decisions_are_added_from_pictures_and_reports(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").write_bytes(saved(Image.fromarray(drawn(1)), "PNG"))
    failed = json.dumps({"schema": "retina-censor/1", "source": "x", "verdict": "error", "error": "bad"})
    Path("r.jsonl").write_text(f"{report(2)}\n{failed}\n{report(3)}\n")
    assert add("--decision", "safe", "a.png") == 0
    assert add("--decision", "nsfw", "r.jsonl") == 0
    known = KnownList.read("known.jsonl")
    assert len(known) == 3
    safe, nsfw = known.find(pdq_of(drawn(1))), known.find(pdq_of(drawn(3)))
    assert safe is not None
    assert nsfw is not None
    assert (safe.entry.decision, safe.entry.note, safe.line) == ("safe", "a.png", 1)
    assert (nsfw.entry.decision, nsfw.entry.note, nsfw.line) == ("nsfw", "3.png", 3)
    assert nsfw.entry.boxes == (("BUTTOCKS_EXPOSED", (0.1, 0.1, 1.0, 0.5)),)
    assert "2 added to known.jsonl as nsfw" in capsys.readouterr().out


def test_a_folders_report_is_taken_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    whole = report(2, boxes=[{"label": "WHOLE_PICTURE", "box": [0, 0, 300, 200], "hide": True}])
    copied = json.dumps({"schema": "retina-censor/1", "source": "twin.png", "journal": "copied", "verdict": "nsfw"})
    video = report(4, kind="video", pdq=None, source="clip.mp4", boxes=[])
    boxes = [{"label": "BUTTOCKS_EXPOSED", "box": [30, 20, 60, 40], "hide": True}]
    frames = [
        {"frame": 0, "boxes": [], "pdq": pdq_of(drawn(5)).to_dict()},
        {"frame": 1, "boxes": boxes, "pdq": pdq_of(drawn(6)).to_dict()},
    ]
    moving = report(6, boxes=[], frames=frames)
    Path("r.jsonl").write_text(f"{whole}\n{copied}\n{video}\n{moving}\n")
    assert add("--decision", "nsfw", "r.jsonl") == 0
    out, err = capsys.readouterr()
    assert "2 added" in out
    assert "twin.png was not censored anew in that run and has no hash: not added" in err
    assert "clip.mp4 is a video and has no hash: not added" in err
    known = KnownList.read("known.jsonl")
    covered, seen, unseen = (known.find(pdq_of(drawn(seed))) for seed in (2, 6, 5))
    assert covered is not None
    assert covered.entry.boxes == (("WHOLE_PICTURE", (0.0, 0.0, 1.0, 1.0)),)
    assert seen is not None
    assert seen.entry.boxes == (("BUTTOCKS_EXPOSED", (0.1, 0.1, 0.2, 0.2)),)
    assert unseen is None


def test_the_hash_of_a_picture_is_that_of_its_report(example: Path) -> None:
    assert add("--decision", "safe", str(example)) == 0
    with Pixels(Picture.open(example)) as pixels:
        pdq, _ = hash_and_recall(pixels, None, load_policy("default"))
    assert json.loads(Path("known.jsonl").read_text())["pdq"] == pdq.hash


def test_a_picture_without_detail_is_said_to_be_useless(capsys: pytest.CaptureFixture[str]) -> None:
    Path("grey.png").write_bytes(saved(colour_picture().point(lambda _: 90), "PNG"))
    assert add("--decision", "nsfw", "grey.png") == 0
    assert "grey.png has too little detail for copies to be recognised (quality 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "a report must hold `pdq`"),
        ("[1]", "must be a picture, or a report"),
        ('{"a"', "must be a picture, or a report"),
        ("words", "a picture must be JPEG"),
        (report(1, image_size=[0, 0]), "must be a picture, or a report"),
        (report(1, boxes=[{"label": "BUTTOCKS_EXPOSED", "box": [0, 0, 10**400, 1]}]), "must be a picture, or a report"),
        (report(1, boxes=[{"label": "BUTTOCKS_EXPOSED", "box": [float("nan"), 0, 9, 9]}]), "must be numbers"),
        (report(1, boxes=[{"label": "NOSE", "box": [0, 0, 1, 1]}]), "nearest"),
    ],
)
def test_what_is_not_understood_adds_nothing(content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("f").write_text(content)
    assert add("--decision", "nsfw", "f") == 1
    assert message in capsys.readouterr().err
    assert not Path("known.jsonl").exists()


def test_a_file_that_is_no_list_is_not_added_to() -> None:
    Path("known.jsonl").write_text("words\n")
    Path("r.json").write_text(report(1))
    assert add("--decision", "nsfw", "r.json") == 1
    assert Path("known.jsonl").read_text() == "words\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_both_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(detector.cli.main, "completion", shell) == 0
    script = capsys.readouterr().out
    assert f"_CENSOR_COMPLETE={shell}_complete" in script
    assert f"_DETECTOR_COMPLETE={shell}_complete" in script


@pytest.mark.parametrize(
    ("main", "words", "answer"),
    [
        (censor.cli.main, "censor --jou", "plain,--journal"),
        (censor.cli.main, "censor pho", "file,pho"),
        (censor.cli.main, "censor --known k", "file,k"),
        (detector.cli.main, "detector kno", "plain,known"),
        (detector.cli.main, "detector detect a", "file,a"),
        (detector.cli.main, "detector known add --decision n", "plain,nsfw"),
    ],
)
def test_options_and_files_are_completed(
    main: Any, words: str, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = words.split()[0]
    monkeypatch.setenv(f"_{program.upper()}_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words.replace(" ", "\n"))
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert run(main) == 0
    assert capsys.readouterr().out.splitlines() == [answer]


@pytest.mark.slow
def test_bash_takes_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(detector.cli.main, "completion", "bash") == 0
    Path("script").write_text(capsys.readouterr().out)
    asked = "source ./script; COMP_WORDS=(censor --jou); COMP_CWORD=1; _censor_completion censor; echo ${COMPREPLY[@]}"
    answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "--journal"


def test_help_shows_examples_before_options(capsys: pytest.CaptureFixture[str]) -> None:
    for main, arguments in (
        (censor.cli.main, ["--help"]),
        (detector.cli.main, ["detect", "--help"]),
        (detector.cli.main, ["known", "add", "--help"]),
        (detector.cli.main, ["completion", "--help"]),
    ):
        assert run(main, *arguments) == 0
        text = capsys.readouterr().out
        assert 0 < text.index("Examples:") < text.index("Options:")


def test_no_output_is_coloured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(censor.cli.main, "missing.jpg", "out.jpg", "--model", "nonsense") != 0
    assert run(detector.cli.main, "detect", "--nonsense") == 2
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize("arguments", [["{}", "{}"], ["--mask", "{}", "{}", "out.jpg"], ["{}", "x/{}", "out/"]])
def test_a_name_cannot_steer_the_terminal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\x9b.jpg"
    Path(name).write_bytes(b"\xff")
    assert run(censor.cli.main, *(argument.replace("{}", name) for argument in arguments)) != 0
    said = capsys.readouterr().err
    assert "a\\x1b[2J\\x9b.jpg" in said
    assert not {"\x1b", "\x9b"} & set(said)


def test_a_folder_stands_for_its_pictures() -> None:
    Path("in/sub").mkdir(parents=True)
    Path("in/sub/b.dat").write_bytes(saved(colour_picture(), "PNG"))
    Path("in/clip.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41")
    Path("in/notes.txt").write_text("words")
    files, passed_over = pictures_in(["-", "missing.jpg", "in"])
    assert files == ["-", "missing.jpg", os.path.join("in", "sub", "b.dat")]
    assert [(entry.relative, entry.skipped) for entry in passed_over] == [
        ("clip.mp4", "a video"),
        ("notes.txt", "not a picture or video"),
    ]
