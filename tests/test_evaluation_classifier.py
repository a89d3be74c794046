"""`detector evaluate --as-classifier`: the data, the run, the outputs, and what is refused."""

import copy
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.cliparts import run_command
from detector.errors import InputError, ModelError, UsageError
from detector.evaluation.binary_metrics import Cut, score_curve
from detector.evaluation.classifier_policy import between, classifier_policy_text
from detector.evaluation.cli import evaluate
from detector.evaluation.gate import check_gate, read_baseline
from detector.evaluation.labelled import read_labelled
from detector.evaluation.scored import score_all
from detector.evaluation.thumbnails import CELLS, draw_mistake, worst_mistakes
from detector.policy import load_policy
from detector.scorers import DetectorScorer

SIDE = 24
# By file name: what the scorer `good` says, and `bad`; nude ones start with n.
GOOD = {"n0": 0.9, "n1": 0.8, "n2": 0.7, "n3": 0.36, "s0": 0.1, "s1": 0.2, "s2": 0.6, "s3": 0.0}
BAD = {name: 1 - score for name, score in GOOD.items()}


class Knows:
    """Knows the score of each file name; refuses to be given more than one picture where one of them is broken."""

    sha256, device = "1" * 64, "cpu"

    def __init__(self, name: str, scores: Mapping[str, float], device: str = "cpu") -> None:
        self.name, self.scores, self.device = name, scores, device

    def score(self, images: Any) -> Any:
        for image in images:
            image.load()
        return [self.scores[Path(image.name).stem] for image in images]


def run(*arguments: str | Path) -> int:
    arguments = ("--workers", "1", "--bootstrap", "50", *arguments)
    return run_command(evaluate, "detector evaluate", [str(argument) for argument in arguments])


def picture(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight pictures in nude/ and safe/deep/, none with a suffix that says what it is; `good` and `bad` score them."""
    (tmp_path / "set/nude").mkdir(parents=True)
    (tmp_path / "set/safe/deep").mkdir(parents=True)
    for seed, name in enumerate(GOOD):
        picture(tmp_path / "set" / ("nude" if name[0] == "n" else "safe/deep") / f"{name}.bin", seed)
    known = {"good": Knows("good", GOOD), "bad": Knows("bad", BAD)}
    monkeypatch.setattr("detector.evaluation.classifier_mode.load_scorer", lambda name, **_: known[name])
    return tmp_path / "set"


@pytest.fixture
def table(folder: Path) -> Path:
    """The same pictures in a CSV with a column `tone`, empty for one of them."""
    rows = ["file,label,tone"]
    for path in sorted(folder.rglob("*.bin")):
        tone = "" if path.stem == "n3" else "light" if path.stem[1] in "02" else "dark"
        label = {"n0": "NUDE", "n1": "nsfw", "s0": "sfw", "s1": "0"}.get(
            path.stem, "1" if path.stem[0] == "n" else "safe"
        )
        rows.append(f"{path.relative_to(folder.parent)},{label},{tone}")
    path = folder.parent / "labels.csv"
    path.write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def result_of(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    out = folder.parent / "out.json"
    assert run("--as-classifier", folder, "--model", "good", "--json", out, *arguments) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_figures_of_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(folder, "--model", "bad", "--want-fpr", "0.25")
    assert {key: found["data"][key] for key in ("pictures", "nude", "safe", "errors")} == {
        "pictures": 8,
        "nude": 4,
        "safe": 4,
        "errors": [],
    }
    good, bad = found["models"]
    assert good["thresh"] == 0.5
    assert good["confusion"] == {"tp": 3, "fn": 1, "fp": 1, "tn": 3}
    assert bad["confusion"] == {"tp": 1, "fn": 3, "fp": 3, "tn": 1}
    assert good["figures"]["accuracy"] == good["figures"]["precision_nude"] == 0.75
    assert good["figures"]["auc"] == 15 / 16
    assert bad["figures"]["auc"] == 1 / 16
    assert good["figures"]["precision_at_base_rate"] == pytest.approx(
        0.75 * 0.01 / (0.75 * 0.01 + 0.25 * 0.99), abs=1e-6
    )
    assert good["accuracy_if_errors_are_mistakes"] is None
    assert [entry["fpr"] for entry in good["fpr_at_recall"]] == [0.25] * 3
    assert [entry["recall"] for entry in good["recall_at_fpr"]] == [0.75] * 4
    assert [entry["recall"] for entry in bad["recall_at_fpr"]] == [0] * 4
    assert (good["chosen"]["score_thresh"], good["chosen"]["recall"]) == (0.36, 1)
    assert bad["chosen"]["recall"] == 0
    assert sum(good["histogram"]["nude"]) == sum(good["histogram"]["safe"]) == 4
    for name, ends in good["confidence"].items():
        assert ends["low"] <= good["figures"][name] <= ends["high"], name
    assert found["differences"][0]["accuracy"]["point"] == -0.5
    assert found["differences"][0]["brier"]["better"] < 0.05  # less is better, and bad has more
    assert {entry["file"]: entry["scores"] for entry in found["pictures"]}["safe/deep/s3.bin"] == [0, 1]
    printed = capsys.readouterr().out
    assert "8 pictures of set: 4 nude, 4 safe" in printed
    assert re.search(r"good +0.5 +3 +1 +1 +3 +0.750", printed)
    assert "bad minus good" in printed


def test_a_threshold_can_be_given(folder: Path) -> None:
    good = result_of(folder, "--thresh", "0.25", "--base-rate", "0.5")["models"][0]
    assert good["confusion"] == {"tp": 4, "fn": 0, "fp": 1, "tn": 3}
    assert good["figures"]["precision_at_base_rate"] == pytest.approx(0.8)


def test_slices_have_the_same_figures(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(table, "--slice", "tone")
    tones = found["models"][0]["slices"]["tone"]
    assert {value: (entry["nude"], entry["safe"]) for value, entry in tones.items()} == {
        "light": (2, 2),
        "dark": (1, 2),
        "(not stated)": (1, 0),
    }
    assert tones["light"]["confusion"] == {"tp": 2, "fn": 0, "fp": 1, "tn": 1}
    assert tones["(not stated)"]["figures"]["fpr"] is None
    assert tones["(not stated)"]["figures"]["recall_nude"] == 0
    assert all(entry["few"] for entry in tones.values())
    assert tones["light"]["confidence"]["recall_nude"]["low"] < 0.5  # two of two is not known to be all
    assert "light *" in capsys.readouterr().out
    assert found["models"][0]["confusion"] == result_of(table.parent / "set")["models"][0]["confusion"]


def test_what_cannot_be_read_is_an_error_and_is_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "nude/broken.jpg").write_bytes(b"no picture")
    whole = (folder / "safe/deep/s0.bin").read_bytes()
    (folder / "safe/deep/cut.bin").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("beside")
    out, page = tmp_path / "out.json", tmp_path / "out.html"
    assert run("--as-classifier", folder, "--model", "good", "--json", out, "--html", page) == 1
    found = json.loads(out.read_text())
    assert found["data"]["pictures"] == 8
    assert found["data"]["beside"] == 1
    assert [(error["file"], error["nude"]) for error in found["data"]["errors"]] == [
        ("nude/broken.jpg", True),
        ("safe/deep/cut.bin", False),
    ]
    assert found["models"][0]["figures"]["accuracy"] == 0.75
    assert found["models"][0]["accuracy_if_errors_are_mistakes"] == 0.6
    printed = capsys.readouterr()
    assert "detector: error: nude/broken.jpg: a picture must be" in printed.err
    assert "detector: error: safe/deep/cut.bin: " in printed.err
    assert "2 files could not be looked at" in printed.out
    assert "with errors" in printed.out
    assert "nude/broken.jpg" in page.read_text()


def test_one_bad_picture_does_not_take_its_batch_with_it(folder: Path) -> None:
    (folder / "nude/broken.jpg").write_bytes(b"no picture")
    labelled = read_labelled(folder)
    scored = score_all(Knows("good", GOOD, device="cuda"), labelled)  # in one batch, as on a GPU
    assert list(scored.errors) == [0]
    assert np.isnan(scored.scores[0])
    assert scored.scores[1:].tolist() == [GOOD[Path(each.name).stem] for each in labelled.pictures[1:]]
    for wrong in (math.nan, 1.1, -0.1):
        with pytest.raises(ModelError, match="must lie in"):
            score_all(Knows("wrong", dict.fromkeys(GOOD, wrong)), labelled)


def test_one_kind_of_picture_is_enough_for_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "nude").iterdir():
        path.unlink()
    page = folder.parent / "out.html"
    found = result_of(folder, "--html", page, "--want-recall", "0.9")["models"][0]
    assert found["figures"]["fpr"] == 0.25
    assert found["figures"]["auc"] is found["figures"]["recall_nude"] is found["chosen"] is None
    assert "not reached" in capsys.readouterr().out
    for path in (folder / "safe").rglob("*.bin"):
        path.write_bytes(b"nothing")
    assert run("--as-classifier", folder, "--model", "good") == 1
    assert "at least one picture must be readable" in capsys.readouterr().err


def test_the_page_loads_nothing_and_hides_everything(folder: Path, tmp_path: Path) -> None:
    name = "<img src=x onerror=a>"
    (folder / "safe/deep/s2.bin").rename(folder / "safe/deep" / f"{name}.bin")
    renamed = {**GOOD, name: 0.6}
    page = tmp_path / "out.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detector.evaluation.classifier_mode.load_scorer", lambda *_, **__: Knows("<b>good", renamed))
        assert run("--as-classifier", folder, "--model", "x", "--html", page, "--want-recall", "0.9") == 0
        text = page.read_text()
        assert run("--as-classifier", folder, "--model", "x", "--html", page, "--show-pictures", "--worst", "1") == 0
    assert text.count("data:image/jpeg;base64,") == 2  # n3 and s2
    assert not re.search(r"(src|href)=\"(?!data:)|https?://|<script|@import|url\(", text)
    assert "<img src=x" not in text
    assert "<b>good" not in text
    assert "Reduced to a few cells" in text
    assert "nude, passed with 0.360" in text
    assert "Shown without hiding anything" in page.read_text()
    assert page.read_text().count("data:image/jpeg;base64,") == 1


def test_a_hidden_picture_has_a_few_cells(tmp_path: Path) -> None:
    import base64
    import io

    # Noise, which a mean takes away and a mere smaller copy keeps.
    pixels = np.random.default_rng(0).integers(0, 255, (240, 240, 1), dtype=np.uint8).repeat(3, axis=2)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def drawn(show: bool) -> Any:
        data = base64.b64decode(draw_mistake(tmp_path / "a.png", show=show).partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float)

    assert drawn(show=True).std() > 60
    assert drawn(show=False).std() < 4
    assert CELLS <= 6  # no more than the default policy leaves of a region


def test_the_worst_mistakes_come_first() -> None:
    nude = np.array([True, True, False, False, True])
    scores = np.array([0.1, 0.2, 0.9, 0.3, 0.9])
    found = worst_mistakes(nude, scores, 0.25, 10)
    assert [each.index for each in found] == [2, 0, 1, 3]
    assert [each.index for each in worst_mistakes(nude, scores, 0.25, 1)] == [2]
    assert found[0].note == "safe, flagged with 0.900"


def test_the_gate_holds_classifiers_too(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(table, "--slice", "tone")
    base = tmp_path / "base.json"
    base.write_text(json.dumps(found))
    arguments = ("--as-classifier", table, "--slice", "tone", "--gate", base)
    assert run(*arguments, "--model", "good") == 0
    assert run(*arguments, "--model", "bad") == 1
    printed = capsys.readouterr().err
    for line in ("bad: auc fell from 0.9375 to 0.0625", "bad: recall safe of tone dark fell from 1.0000"):
        assert f"gate: {line}" in printed
    assert run("--as-classifier", table, "--gate", base, "--model", "good") == 2  # other slices
    assert "same settings; slices" in capsys.readouterr().err
    worse = copy.deepcopy(found)
    worse["models"][0]["recall_at_fpr"][0]["recall"] = 0.1
    assert check_gate(worse, found) == ["good: recall at an FPR of 0.01 fell from 0.7500 to 0.1000"]
    worse["models"][0] = {**found["models"][0], "speed": {}, "accuracy_if_errors_are_mistakes": 0}
    assert check_gate(worse, found) == []
    with pytest.raises(InputError, match="of the other kind"):
        read_baseline(base)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.25, 0.26), (0.300001, 0.300002), (0.0, 1e-12), (0.2, 0.9)])
def test_a_threshold_lies_between_two_scores(low: float, high: float) -> None:
    found = between(low, high)
    assert low < found < high
    assert float(repr(found)) == found


class _OpenNSFW(Knows):
    def __init__(self) -> None:
        super().__init__("open-nsfw", {})


def _detector() -> DetectorScorer:
    class Model:
        name, sha256, device, class_names = "m", "", "cpu", ("BUTTOCKS_EXPOSED",)

    model: Any = Model()
    return DetectorScorer(model)


@pytest.mark.parametrize(
    ("scorer", "want_fpr", "want_recall", "changed"),
    [
        (_detector(), None, 1.0, {"score_thresh": 0.28}),
        (_detector(), 0.25, None, {"score_thresh": 0.28}),
        (_detector(), 0.1, None, {"score_thresh": 0.65}),
        (_OpenNSFW(), 0.1, None, {"nsfw_above": 0.65}),
        (_OpenNSFW(), None, 1.0, {"safe_below": 0.28}),
    ],
)
def test_a_policy_flags_what_the_curve_promised(
    scorer: Any, want_fpr: float | None, want_recall: float | None, changed: dict[str, float], tmp_path: Path
) -> None:
    nude = np.array([name[0] == "n" for name in GOOD])
    curve = score_curve(nude, np.array(list(GOOD.values())))
    cut = curve.at_recall(want_recall) if want_fpr is None else curve.at_fpr(want_fpr or 1)
    text, reached = classifier_policy_text(
        scorer, cut, name="mine", want_fpr=want_fpr, want_recall=want_recall, source="a\ntest"
    )
    assert reached
    (tmp_path / "mine.toml").write_text(text)
    policy, default = load_policy(tmp_path / "mine.toml"), load_policy()
    assert policy.label == "mine@1"
    values = {"score_thresh": policy.detect.score_thresh, **vars(policy.verdict)}
    expected = {"score_thresh": default.detect.score_thresh, **vars(default.verdict), **changed}
    assert {key: values[key] for key in expected} == expected


def test_a_policy_keeps_its_bounds_in_order_and_says_what_is_not_reached(tmp_path: Path) -> None:
    def policy(cut: Cut | None, **want: Any) -> Any:
        wanted = {"want_fpr": None, "want_recall": None, **want}
        text, reached = classifier_policy_text(_OpenNSFW(), cut, name="x", source="", **wanted)
        (tmp_path / "x.toml").write_text(text)
        return load_policy(tmp_path / "x.toml").verdict, reached, text

    low = Cut(score_thresh=0.12, recall=1, fpr=0.1, next_score=0.08)
    rules, reached, _ = policy(low, want_fpr=0.1)
    assert reached
    assert rules.nsfw_above == rules.safe_below == 0.1  # fewer pictures are called safe, not more
    high = Cut(score_thresh=0.96, recall=1, fpr=0.0, next_score=0.9)
    rules, reached, text = policy(high, want_recall=0.9)
    assert (rules.safe_below, rules.nsfw_above) == (0.8, 0.8)
    assert "0.93 would do" in text
    everything = Cut(score_thresh=0.1, recall=1, fpr=1.0, next_score=0.0)
    for cut in (None, everything, Cut(score_thresh=0.0, recall=1, fpr=0.5, next_score=0.0)):
        rules, reached, text = policy(cut, want_recall=0.9)
        assert not reached
        assert "a recall of 0.9 IS NOT REACHED" in text
        assert rules == load_policy().verdict
    with pytest.raises(UsageError, match="nothing for good"):
        classifier_policy_text(Knows("good", {}), None, name="x", want_fpr=0.1, want_recall=None, source="")


def test_a_policy_is_written_for_the_first_scorer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"o": Knows("open-nsfw", GOOD), "bad": Knows("open-nsfw", BAD)}
    monkeypatch.setattr("detector.evaluation.classifier_mode.load_scorer", lambda name, **_: known[name])
    path = tmp_path / "mine.toml"
    assert run("--as-classifier", folder, "--model", "o", "--write-policy", path, "--want-fpr", "0.01") == 0
    assert load_policy(path).verdict.nsfw_above == 0.65
    assert "does not reach" not in capsys.readouterr().err
    assert run("--as-classifier", folder, "--model", "bad", "--write-policy", path, "--want-fpr", "0.01") == 3
    assert "open-nsfw does not reach an FPR of at most 0.01" in capsys.readouterr().err
    path.unlink()
    (folder / "nude/broken.jpg").write_bytes(b"no picture")
    assert run("--as-classifier", folder, "--model", "o", "--write-policy", path, "--want-fpr", "0.01") == 1
    assert load_policy(path).verdict.nsfw_above == 0.65


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file\nx,1", "must have the column 'label'"),
        ("file,labels\nx,1", "the nearest is labels"),
        ("file,label\nx,nude,1", "one value for each"),
        ("file,label,tone\nx,nude", "one value for each"),
        ("file,label\nx,porn", "row 2: a label must be one of nude, nsfw"),
        ("file,label\nx,1\nx,0", "row 3: a file must be named, and once only"),
        ("file,label\n ,1", "a file must be named"),
        ("file,label\na\0b,1", "a file must be named|not: line contains NUL"),
        ("file,label,label\nx,nude,safe", "each column once; it has 'label' again"),
        ("file,label", "has none"),
        ("", "has none"),
    ],
)
def test_a_csv_says_what_it_means(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(rows)
    with pytest.raises((UsageError, InputError), match=message):
        read_labelled(path)


def test_folders_say_what_they_mean(folder: Path, tmp_path: Path) -> None:
    digest = read_labelled(folder).digest
    (folder / "nude").rename(folder / "NSFW")
    assert read_labelled(folder).digest == digest  # of contents and labels, not of names
    whole = (folder / "NSFW/n0.bin").read_bytes()
    (folder / "NSFW/again.bin").write_bytes(whole)
    assert read_labelled(folder).repeated == 1
    (folder / "safe/again.bin").write_bytes(whole)
    with pytest.raises(UsageError, match="the same file with both"):
        read_labelled(folder)
    (folder / "saef").mkdir()
    with pytest.raises(UsageError, match="got 'saef'; the nearest is safe"):
        read_labelled(folder)
    with pytest.raises(UsageError, match="needs a CSV"):
        read_labelled(folder, slices=["tone"])
    with pytest.raises(InputError, match="must be a folder or a readable CSV"):
        read_labelled(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has none"):
        read_labelled(tmp_path / "empty")


def test_a_linked_folder_is_not_passed_over(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "nude" / "more").symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"must not be a link.*more is one"):
        read_labelled(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "got neither"),
        (("a.json", "--as-classifier", "."), "got both"),
        (("--as-classifier", ".", "--images", "."), "--images goes not with --as-classifier"),
        (("--as-classifier", ".", "--classes", "BELLY"), "--classes goes not with"),
        (("a.json", "--slice", "x"), "--slice goes only with"),
        (("a.json", "--base-rate", "0.01"), "--base-rate goes only with"),
        (("a.json", "--want-fpr", "0.1"), "--want-fpr goes only with"),
        (("--as-classifier", ".", "--want-fpr", "0.1", "--want-recall", "0.9"), "got both; give one"),
        (("--as-classifier", ".", "--base-rate", "1"), "--base-rate must lie"),
        (("--as-classifier", ".", "--want-fpr", "0"), "--want-fpr must lie"),
        (("--as-classifier", ".", "--thresh", "0"), "--thresh must lie"),
        (("--as-classifier", ".", "--write-policy", "x.toml"), "give --want-fpr or --want-recall"),
    ],
)
def test_wrong_usage_is_said(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_two_scorers_need_two_names(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--as-classifier", folder, "--model", "good", "--model", "good") == 2
    assert run("--as-classifier", folder, "--model", "good", "--write-policy", "x.toml", "--want-fpr", "0.1") == 2
    assert "nothing for good" in capsys.readouterr().err


@pytest.mark.slow
def test_the_mannequins(tmp_path: Path, mannequins: list[Path], annotations: dict[str, Any]) -> None:
    """The detector, the second opinion and both, on rendered pictures: the figures that the README may state."""
    flags = {"BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED"}
    wanted = {category["id"] for category in annotations["categories"] if category["name"] in flags}
    nude = {note["image_id"] for note in annotations["annotations"] if note["category_id"] in wanted}
    by_name = {image["file_name"]: image["id"] in nude for image in annotations["images"]}
    rows = [f"{path},{int(by_name[path.name])}" for path in mannequins]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["file,label", *rows]))
    out = tmp_path / "out.json"
    assert run("--as-classifier", labels, "--json", out) == 0
    models = {model["name"]: model for model in json.loads(out.read_text())["models"]}
    assert list(models) == ["nudenet-320n", "open-nsfw", "nudenet-320n+open-nsfw"]
    both = models["nudenet-320n+open-nsfw"]["confusion"]
    for name in ("nudenet-320n", "open-nsfw"):
        assert both["tp"] >= models[name]["confusion"]["tp"]
        assert both["fp"] >= models[name]["confusion"]["fp"]
    assert models["nudenet-320n"]["figures"]["auc"] > 0.6
