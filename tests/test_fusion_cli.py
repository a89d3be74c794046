"""`detector fit-fusion`, `detector classify --record`, the scorer and `censor` with a fused policy, on fake models."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_samples import FakeDetector, FakeOpinion, picture, samples, written

from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from detector import cli, load_policy
from detector.classes import CLASSES
from detector.errors import InputError, PolicyError, UsageError
from detector.fusing.fit import FitSettings, fit_fusion
from detector.fusing.policy_text import fused_policy_text
from detector.fusing.records import read_records
from detector.fusing.scorer import FusionScorer
from detector.picture import Picture
from detector.policy import policy_path

RECORD = {
    "posted": {"1": 5, "7": 30, "30": 200, "90": 500},
    "flagged": {"1": 0, "7": 0, "30": 0, "90": 0},
}


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "fused.toml"
    model = fit_fusion(samples(), load_policy(), FitSettings(rounds=0)).model
    path.write_text(fused_policy_text(policy_path("default").read_text(encoding="utf-8"), "fused", model))
    return path


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> FakeDetector:
    model = FakeDetector()
    monkeypatch.setattr("detector.models.load", lambda *args, **settings: model)
    monkeypatch.setattr("detector.open_nsfw.OpenNSFW", FakeOpinion)
    return model


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_fit_from_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv, out, table = written(tmp_path / "f.csv", samples()), tmp_path / "mine.toml", tmp_path / "mine.json"
    before = set(sys.modules)
    code, text, err = run("fit-fusion", csv, "--out", out, "--json", table, "--l2", 2, "--bootstrap", 10, capsys=capsys)
    assert not {"torch", "onnxruntime"} & (set(sys.modules) - before), "features need no model"
    assert code == 0
    assert "second_opinion" in text
    assert "wrote" in err
    policy = load_policy(out)
    assert policy.fusion is not None
    assert policy.fusion.fitted.l2 == 2
    assert policy.fusion.to_dict() == json.loads(table.read_text())["fusion"]
    first = out.read_bytes()
    assert run("fit-fusion", csv, "--out", tmp_path / "mine.toml", "--l2", 2, capsys=capsys)[1] != ""
    assert out.read_bytes() == first, "the same features give the same file"
    again = tmp_path / "again.toml"
    assert run("fit-fusion", csv, "--base", out, "--out", again, capsys=capsys)[0] == 0
    assert load_policy(again).label == "again@1"


def test_a_fit_looks_at_files_and_keeps_the_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fakes: FakeDetector
) -> None:
    rows = []
    for index in range(44):
        nsfw, kind = index % 2 == 0, (index // 2) % 3
        name = picture(tmp_path / f"{index}.png", kind if nsfw else kind // 2, 60 + kind if nsfw else 30 + kind).name
        rows.append(f"{'nsfw' if nsfw else 'safe'},{name},beach")
    csv = tmp_path / "labelled.csv"
    csv.write_text("label,file,scene\n" + "\n".join(rows) + "\n")
    features, looked, later = tmp_path / "features.csv", tmp_path / "looked.json", tmp_path / "later.json"
    code, _, err = run("fit-fusion", csv, "--write-features", features, "--json", looked, capsys=capsys)
    assert code == 0, err
    assert "columns that are not used: scene" in err
    assert set(fakes.asked[0]["classes"]) == set(CLASSES), "belly and male breast are features too"
    assert len(features.read_text().splitlines()) == 45
    assert run("fit-fusion", features, "--json", later, capsys=capsys)[0] == 0
    first, second = (json.loads(path.read_text()) for path in (looked, later))
    assert first["figures"] == second["figures"]
    assert first["fusion"]["features"] == second["fusion"]["features"]
    assert first["fusion"]["detector"] == "nudenet-320n"

    (tmp_path / "3.png").write_bytes(b"no picture")
    code, _, err = run("fit-fusion", csv, "--json", looked, capsys=capsys)
    assert code == 1
    assert "3.png" in err
    assert "every picture of labelled.csv must be readable; 1 of 44 were not" in err
    assert json.loads(looked.read_text()) == first, "the former result stays"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "mine.txt"), "a policy file must end in .toml"),
        (("--out", "nowhere/mine.toml"), "the folder of an output must exist"),
        (("--out", "f.csv"), "must be different files"),
        (("--base", "strikt"), "the nearest is strict"),
        (("--l2", "0"), "l2 must be over 0"),
        (("--want-fpr", "2"), "--want-fpr must lie in"),
        (("--folds", "1"), "--folds must lie in"),
        (("--out", "my policy.toml"), "a policy's name must be letters"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "f.csv", samples(44))
    code, out, err = run("fit-fusion", "f.csv", *arguments, capsys=capsys)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv"]


def test_classify_with_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fused: Path, fakes: FakeDetector
) -> None:
    clean, bare = picture(tmp_path / "clean.png", 0, 60), picture(tmp_path / "bare.png", 2, 60)
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"uploader": RECORD}))

    def verdicts(*arguments: object) -> list[dict[str, Any]]:
        code, out, err = run("classify", "--json", "--policy", fused, *arguments, capsys=capsys)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    alone, known = verdicts(clean, bare), verdicts("--record", record, clean, bare)
    assert known[0]["probability"] < alone[0]["probability"]
    assert known[1]["probability"] == alone[1]["probability"] > 0.5
    assert known[1]["contributions"][-1]["feature"] == "record_guard"
    assert set(fakes.asked[-1]["classes"]) == set(CLASSES)

    record.write_text(
        json.dumps({"source": str(clean), "uploader": RECORD})
        + "\n"
        + json.dumps({"source": str(bare), "uploader": None})
        + "\n"
    )
    lines = verdicts("--record", record, clean, bare)
    assert lines[0]["probability"] == known[0]["probability"]
    assert lines[1] == alone[1]
    record.write_text(json.dumps({"source": str(clean), "uploader": RECORD}))
    code, out, _ = run("classify", "--json", "--policy", fused, "--record", record, clean, bare, capsys=capsys)
    assert code == 1
    assert "must have a line for every picture; it has none for" in json.loads(out.splitlines()[1])["error"]


def test_classify_refuses_what_a_policy_cannot_weigh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fused: Path, fakes: FakeDetector
) -> None:
    clean, record = picture(tmp_path / "clean.png", 0, 60), tmp_path / "record.json"
    record.write_text(json.dumps({"uploader": RECORD}))
    code, _, err = run("classify", "--record", record, clean, capsys=capsys)
    assert (code, "fitted with records; default@1 has none" in err) == (2, True)
    code, _, err = run("classify", "--policy", fused, "--no-second-opinion", clean, capsys=capsys)
    assert (code, "the second opinion must be asked" in err) == (2, True)
    assert not fakes.asked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold at least one record"),
        ("{", "must be readable JSON or JSON Lines"),
        ("3", "must be an object with uploader, group or both"),
        ('{"uploadr": {}, "group": null}', "got 'uploadr'; the nearest is uploader"),
        ('{"source": 3, "group": null}', "source must be a text; got 3"),
        ('{"uploader": {"posted": {}}}', "object 1: a record must be an object with posted and flagged"),
        ('{"group": null}\n{"group": null}', "object 1 has none"),
        ('{"source": "a", "group": null}\n{"source": "a", "group": null}', "object 2 has a again"),
    ],
)
def test_a_record_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_records(path)
    with pytest.raises(UsageError, match="No such file"):
        read_records(tmp_path / "nowhere.json")


def test_the_scorer_gives_the_fused_probability(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fused: Path,
    monkeypatch: pytest.MonkeyPatch,
    fakes: FakeDetector,
) -> None:
    monkeypatch.setattr("detector.fusing.scorer.load_open_nsfw", FakeOpinion)
    files = [picture(tmp_path / f"{index}.png", index % 3, 10 + index) for index in range(20)]
    scorer = FusionScorer(fused, model=fakes, threads=1)
    scores = scorer.score(files)
    _, out, _ = run("classify", "--json", "--policy", fused, *files, capsys=capsys)
    assert np.round(scores, 6).tolist() == [json.loads(line)["probability"] for line in out.splitlines()]
    assert scorer.score(str(files[3])) == scores[3]
    assert scorer.score([]) == []
    assert (scorer.name, scorer.device, len(scorer.sha256)) == ("fused@1", "cpu", 64)
    with pytest.raises(PolicyError, match=r"a policy with a \[fusion\]; default@1 has none"):
        FusionScorer("default")
    fakes.name = "another"
    with pytest.raises(PolicyError, match="fitted for, nudenet-320n; got another"):
        FusionScorer(fused, model=fakes)
    with pytest.raises(InputError):
        scorer.score([files[0], b"no picture"])


def test_censor_reports_what_the_fusion_said(tmp_path: Path, fused: Path) -> None:
    model = FakeDetector()
    pipeline = Pipeline(model=model, opinion=FakeOpinion(), policy=load_censor_policy(fused), verify=False)
    found = Picture.open(picture(tmp_path / "bare.png", 2, 60))
    report = pipeline.run(found, None, None).report
    told = report.to_dict()
    assert set(model.asked[0]["classes"]) == set(CLASSES), "what is not hidden is a feature all the same"
    assert told["probability"] == pytest.approx(report.verdict.probability, abs=1e-6)
    assert [part["feature"] for part in told["contributions"]][:2] == ["intercept", "exposed.score"]
    assert len(told["painted"]) == 2
    clean = pipeline.run(Picture.open(picture(tmp_path / "clean.png", 0, 10)), None, None).report.to_dict()
    assert (clean["verdict"], clean["painted"]) == ("safe", [])
    with pytest.raises(PolicyError, match="the second opinion must be asked"):
        load_censor_policy(fused, second_opinion=False)
    with pytest.raises(PolicyError, match="the threshold must not be higher"):
        load_censor_policy(fused, score_thresh=0.5)
    assert load_censor_policy(fused, score_thresh=0.1).policy.fusion is not None
