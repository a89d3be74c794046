"""`censor` and `detector` as typed, with the real detector on rendered mannequins."""

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import censor
import detector
from censor.cli import main as censor_main
from detector import onnx_session
from detector.cli import main as detector_main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def _each_network_is_optimised_once() -> Iterator[None]:
    """Sessions hold no state: the commands of this file share one for each network and number of threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_session, "_create", functools.cache(onnx_session._create))
        yield


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty folder; return exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, program: Callable[[list[str]], None] = censor_main) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            program([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_example_is_censored_and_verified(run: Run, example: Path) -> None:
    code, out, err = run(example, "out.jpg")
    assert (code, out) == (0, "")
    assert err.startswith(f"{example} -> out.jpg: nsfw, ")
    assert err.endswith("regions hidden, verified\n")
    assert os.listdir() == ["out.jpg"]
    before, after = pixels(example), pixels("out.jpg")
    assert before.shape == after.shape
    for box in detector.load().detect(example, classes=detector.NSFW_CLASSES).boxes:
        x1, y1, x2, y2 = box.astype(int)
        assert np.abs(after[y1:y2, x1:x2] - before[y1:y2, x1:x2]).mean() > 5
    assert np.abs(after[700:] - before[700:]).mean() < 2, "the legs are as before"


def test_json_reports_what_was_done(run: Run, example: Path) -> None:
    code, out, err = run("--json", "--style", "box", example, "out.png")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert report["schema"] == "retina-censor/1"
    assert report["image_size"] == [1200, 900]
    assert report["model"]["name"] == "nudenet-320n"
    assert report["device"] == "cpu"
    assert report["policy"] == {"name": "default", "version": 1, "changed": {"hide.style": "box", "hide.by_class": {}}}
    assert report["verdict"] == "nsfw"
    assert report["verified"] is True
    assert {box["label"] for box in report["boxes"]} == {"FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED"}
    for region in report["painted"]:
        x1, y1, x2, y2 = region["box"]
        assert (pixels("out.png")[y1:y2, x1:x2] == 0).all()


def test_a_person_edits_the_report_and_gives_it_back(run: Run, example: Path) -> None:
    _, out, _ = run("--json", "--style", "box", example, "out.jpg")
    report = json.loads(out)
    report["boxes"] = [{"label": "BELLY", "box": [100, 100, 200, 200]}, {**report["boxes"][0], "hide": False}]
    Path("edited.json").write_text(json.dumps(report))
    code, out, _ = run("--json", "--mask", "edited.json", "--style", "box", "--grow", "0", example, "out2.png")
    second = json.loads(out)
    assert code == 0
    assert [item["box"] for item in second["painted"]] == [[100, 100, 200, 200]]
    assert second["model"] == {"name": "person"}
    changed = np.argwhere((pixels("out2.png") != pixels(example)).any(axis=2))
    assert changed.min(axis=0).tolist() == [100, 100]
    assert changed.max(axis=0).tolist() == [199, 199]
    Path("again.json").write_text(out)
    code, out, _ = run("--json", "--mask", "again.json", "--style", "box", "--grow", "0", example, "out3.jpg")
    assert json.loads(out)["painted"] == second["painted"]


def test_a_mask_for_another_picture_is_refused(run: Run, example: Path, mannequins: list[Path]) -> None:
    _, out, _ = run("--json", example, "out.jpg")
    Path("mask.json").write_text(out)
    code, _, err = run("--mask", "mask.json", mannequins[0], "out2.png")
    assert code == 1
    assert "a mask file must hold one record for" in err
    assert not Path("out2.png").exists()
    Path("mask.json").write_text("{}")
    assert run("--mask", "mask.json", example, "o.png")[2].endswith(
        'must say "schema": "retina-censor/1"; mask.json does not\n'
    )


def test_many_pictures_one_of_them_bad(run: Run, mannequins: list[Path]) -> None:
    Path("bad.jpg").write_bytes(b"no picture at all")
    code, out, err = run("--json", *mannequins[:4], "bad.jpg", "missing.jpg", "new/")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [Path(line["source"]).name for line in lines] == [
        *(path.name for path in mannequins[:4]),
        "bad.jpg",
        "missing.jpg",
    ]
    assert [line["verdict"] for line in lines[4:]] == ["error", "error"]
    assert sorted(os.listdir("new")) == [path.name for path in mannequins[:4]]
    errors = [line for line in err.splitlines() if line.startswith("censor: error:")]
    assert len(errors) == 2
    assert "bad.jpg" in errors[0]


def test_standard_streams_and_nothing_is_asked_of_the_network(example: Path, root: Path) -> None:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('the network was asked for')\n"
        "socket.socket = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse\n"
        "from censor.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "--json", "-", "-"]
    done = subprocess.run(command, input=example.read_bytes(), capture_output=True, cwd=root, timeout=60)
    assert done.returncode == 0, done.stderr
    assert Image.open(io.BytesIO(done.stdout)).size == (900, 1200)
    assert json.loads(done.stderr)["target"] == "-"


def test_standard_input_that_is_no_picture(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"nothing")))
    with pytest.raises(SystemExit) as stop:
        censor_main(["--json", "-", "-"])
    out, err = capfdbinary.readouterr()
    assert (stop.value.code, out) == (1, b"")
    assert b"censor: error: " in err


def test_preview_draws_and_hides_nothing(run: Run, example: Path) -> None:
    code, _, err = run("--boxes", example, "preview.png")
    assert code == 0
    assert "preview of 3 boxes, nothing hidden" in err
    difference = np.abs(pixels("preview.png") - pixels(example)).max(axis=2) > 8
    assert 0.001 < difference.mean() < 0.2


def test_a_folder_that_cannot_be_made_is_one_error(run: Run, example: Path) -> None:
    Path("file").touch()
    code, _, err = run(example, "file/new/")
    assert code == 1
    assert err == "censor: error: the folder file/new/ must be there or be made; Not a directory\n"


def test_a_report_of_a_picture_covered_whole_covers_it_again(run: Run, example: Path) -> None:
    arguments = ["--policy", "strict", "--classes", "FACE_MALE", "--json"]
    _, out, _ = run(*arguments, example, "whole.jpg")
    report = json.loads(out)
    assert report["boxes"][-1] == {"label": "WHOLE_PICTURE", "box": [0.0, 0.0, 900.0, 1200.0], "hide": True}
    Path("whole.json").write_text(out)
    code, out, _ = run("--policy", "strict", "--mask", "whole.json", "--json", example, "again.jpg")
    assert code == 0
    assert json.loads(out)["painted"][0]["box"] == [0, 0, 900, 1200]
    report["boxes"] = []
    Path("none.json").write_text(json.dumps(report))
    code, _, err = run("--mask", "none.json", example, "none.png")
    assert code == 3
    assert "no box of the mask is to be hidden" in err


def test_names_cannot_forge_lines_or_steer_the_terminal(run: Run, example: Path) -> None:
    name = "n\nforged -> safe\x1b[31m.jpg"
    Path(name).write_bytes(b"nothing")
    code, _, err = run(name, "o.jpg")
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith("censor: error: n\\nforged -> safe\\x1b[31m.jpg: a picture must be")


def test_in_place(run: Run, example: Path) -> None:
    Path("in.jpg").write_bytes(example.read_bytes())
    code, _, err = run("in.jpg", "in.jpg")
    assert code == 2
    assert err == ("censor: error: OUT must be another file than IN; both are in.jpg; --in-place replaces it\n")
    assert Path("in.jpg").read_bytes() == example.read_bytes()
    code, _, _ = run("--in-place", "in.jpg")
    assert code == 0
    assert Path("in.jpg").read_bytes() != example.read_bytes()
    assert os.listdir() == ["in.jpg"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["in.jpg"], 2, "IN and OUT must be given; got 1 path"),
        (["--style", "blurr", "in.jpg", "o.jpg"], 2, "got 'blurr'; the nearest is blur"),
        (["--policy", "strikt", "in.jpg", "o.jpg"], 2, "the nearest is strict"),
        (["--classes", "GENITALS", "in.jpg", "o.jpg"], 2, "a class must be one of"),
        (["--classes", ",", "in.jpg", "o.jpg"], 2, "--classes must name at least one class; got ','"),
        (["--thresh", "high", "in.jpg", "o.jpg"], 2, "--thresh must be a number or CLASS=number; got 'high'"),
        (["--thresh", "2", "in.jpg", "o.jpg"], 2, "must lie in (0, 1]; got 2.0"),
        (["--model", "nudenet-321n", "in.jpg", "o.jpg"], 2, "nudenet-320n"),
        (["--device", "gpu", "in.jpg", "o.jpg"], 2, "cuda"),
        (["--nonsense", "in.jpg", "o.jpg"], 2, "No such option"),
        (["--workers", "0", "in.jpg", "o.jpg"], 2, "--workers"),
        (["--boxes", "--mask", "m.json", "in.jpg", "o.jpg"], 2, "must not be given together"),
        (["--mask", "missing.json", "in.jpg", "o.jpg"], 1, "missing.json"),
        (["missing.jpg", "o.jpg"], 1, "missing.jpg"),
        (["in.jpg", "o.xyz"], 2, ".xyz"),
        (["--thresh", "F_BREAST=0.1", "--thresh", "EXPOSED_BREAST_F=0.9", "in.jpg", "o.jpg"], 2, "is given again"),
        (["--thresh", "FACE_FEMALE=0.1", "in.jpg", "o.jpg"], 2, "looked for"),
        (["--mask", "m.json", "--tiles", "in.jpg", "o.jpg"], 2, "--mask must not be given with --tiles"),
        (["--mask", "m.json", "--whole", "in.jpg", "o.jpg"], 2, "--mask must not be given with --whole"),
        (["--sticker", "hart", "in.jpg", "o.jpg"], 2, "the nearest is heart"),
        (["--caption", "mine", "in.jpg", "o.jpg"], 2, "add --style box"),
        (["--in-place", "--boxes", "in.jpg"], 2, "--boxes and --in-place must not be given together"),
        (["in.jpg", "nowhere/o.jpg"], 1, "nowhere"),
        (["--max-pixels", "1000", "in.jpg", "o.jpg"], 1, "1000"),
    ],
)
def test_errors_are_one_line_and_write_nothing(
    run: Run, example: Path, arguments: list[str], code: int, message: str
) -> None:
    Path("in.jpg").write_bytes(example.read_bytes())
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert err.count("\n") == 1
    assert err.startswith("censor: error: ")
    assert message in err
    assert os.listdir() == ["in.jpg"]


def test_a_gpu_that_is_not_there_is_an_error(run: Run, example: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime offers CUDA")
    code, _, err = run("--device", "cuda", example, "o.jpg")
    assert code == 1
    assert "onnxruntime-gpu" in err
    assert not os.listdir()


def test_help_shows_examples_first_and_costs_little(root: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-c", "from censor.cli import main; main()", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60, check=True)
    assert done.stdout.index("censor in.jpg out.jpg") < done.stdout.index("--policy")
    for heavy in ("onnxruntime", "torch", "numpy", "PIL", "cv2"):
        assert f" {heavy}\n" not in done.stderr


def test_detector_detect(run: Run, example: Path) -> None:
    code, out, _ = run("detect", "--json", example, program=detector_main)
    found = json.loads(out)
    assert code == 0
    assert {box["label"] for box in found["boxes"]} == {
        "BELLY_EXPOSED",
        "FEMALE_BREAST_EXPOSED",
        "FEMALE_GENITALIA_EXPOSED",
    }
    code, out, _ = run("detect", "--classes", "face_f,face_m", "--thresh", "0.1", example, program=detector_main)
    assert code == 0
    assert "FACE_" in out
    assert "BREAST" not in out


def test_detector_classify(run: Run, example: Path) -> None:
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (300, 200), "white").save("white.png")
    code, out, err = run("classify", example, "white.png", "bad.png", program=detector_main)
    lines = out.splitlines()
    assert code == 1
    assert lines[0].startswith(f"{example}: nsfw (FEMALE_BREAST_EXPOSED found at ")
    assert lines[1].startswith("white.png: safe (no exposed class found; second opinion 0.0")
    assert "detector: error: bad.png: " in err
    code, out, _ = run("classify", "--json", "--no-second-opinion", example, program=detector_main)
    assert json.loads(out)["second_opinion"] is None


def test_detector_models_and_doctor(run: Run) -> None:
    code, out, _ = run("models", program=detector_main)
    assert code == 0
    assert "nudenet-320n" in out
    assert "AGPL-3.0" in out
    assert "BSD-2-Clause" in out
    code, out, _ = run("models", "--json", program=detector_main)
    assert {entry["name"] for entry in json.loads(out)} >= {"nudenet-320n", "open-nsfw"}
    code, out, _ = run("doctor", program=detector_main)
    assert code == 0, out
    assert "broken" not in out
    code, out, _ = run("doctor", "--json", program=detector_main)
    assert all(check["state"] in ("ok", "missing") for check in json.loads(out))


def test_every_kind_of_source_gives_the_same_answer(example: Path, tmp_path: Path) -> None:
    data = example.read_bytes()
    censor.censor_file(example, tmp_path / "path.jpg")
    censor.censor_file(data, tmp_path / "bytes.jpg")
    censor.censor_file(io.BytesIO(data), tmp_path / "file.jpg")
    results = {path.read_bytes() for path in tmp_path.iterdir()}
    results.add(censor.censor_bytes(data)[0])
    assert len(results) == 1
