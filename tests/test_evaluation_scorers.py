"""Scorers: a detector taken as a classifier, combinations, and what a name loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_samples import Says, detections

import detector.scorers
from detector.classes import CLASSES
from detector.detections import Detections
from detector.errors import UsageError
from detector.picture import Picture
from detector.scorers import (
    LOWEST_SCORE,
    CombinedScorer,
    DetectorScorer,
    default_thresh,
    load_scorer,
    scorer_names,
)


class Fixed:
    """Says the same of every picture."""

    sha256, device = None, "cpu"

    def __init__(self, name: str, score: float, device: str = "cpu") -> None:
        self.name, self._score, self.device = name, score, device

    def score(self, images: Any) -> Any:
        return [self._score] * len(images) if isinstance(images, list | tuple) else self._score


class Asked(Says):
    """Keeps what it was asked for, and answers a single picture with a single answer."""

    def detect(self, images: Any, **asked: Any) -> Any:
        self.asked = asked
        found: list[Detections] = super().detect(images if isinstance(images, list) else [images])
        return found if isinstance(images, list) else found[0]


def test_a_detectors_score_is_its_highest_of_a_class_that_flags(example: Path) -> None:
    pictures = [Picture.open(example, name=name) for name in ("a", "b")]
    model = Asked("m", {"a": detections([(2, 0, 0, 9, 9), (1, 0, 0, 9, 9)], [0.7, 0.3]), "b": detections([], [])})
    scorer = DetectorScorer(model)
    assert scorer.score(pictures) == pytest.approx([0.7, 0])
    assert scorer.score(pictures[0]) == pytest.approx(0.7)
    assert set(model.asked["classes"]) == set(CLASSES) - {"BELLY_EXPOSED", "MALE_BREAST_EXPOSED"}
    assert model.asked["score_thresh"] == LOWEST_SCORE
    assert (scorer.name, scorer.sha256, scorer.device) == ("m", "0" * 64, "cpu")
    model.class_names = ("BELLY_EXPOSED",)
    with pytest.raises(UsageError, match="m knows BELLY_EXPOSED"):
        DetectorScorer(model)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.0, 0.0), 0.0),
        ((0.25, 0.0), 0.5),  # the detector's own threshold
        ((0.0, 0.8), 0.5),  # open_nsfw's
        ((0.125, 0.4), 0.25),
        ((1.0, 0.0), 1.0),
        ((0.25, 0.9), 0.75),
    ],
)
def test_a_combination_flags_what_one_member_flags(scores: tuple[float, float], expected: float) -> None:
    combined = CombinedScorer([Fixed("a", scores[0]), Fixed("b", scores[1])], [0.25, 0.8])
    assert combined.score("x") == pytest.approx(expected)
    assert combined.score(["x", "y"]) == pytest.approx([expected] * 2)
    assert (combined.score("x") >= 0.5) == (scores[0] >= 0.25 or scores[1] >= 0.8)
    assert combined.score([]) == []
    assert combined.name == "a+b"


def test_a_combination_is_monotone() -> None:
    grid = np.linspace(0, 1, 21)
    found = [
        [CombinedScorer([Fixed("a", a), Fixed("b", b)], [0.25, 0.8]).score("x") for a in grid.tolist()]
        for b in grid.tolist()
    ]
    assert (np.diff(found, axis=0) >= 0).all()
    assert (np.diff(found, axis=1) >= 0).all()
    assert CombinedScorer([Fixed("a", 0), Fixed("b", 0, "cuda")], [0.5, 0.5]).device == "cuda"


@pytest.mark.parametrize(
    ("members", "thresh"),
    [([Fixed("a", 0)], [0.5]), ([Fixed("a", 0), Fixed("a", 0)], [0.5, 0.5]), ([Fixed("a", 0), Fixed("b", 0)], [0.5])],
)
def test_a_bad_combination_is_refused(members: Sequence[Fixed], thresh: list[float]) -> None:
    with pytest.raises(UsageError):
        CombinedScorer(members, thresh)
    with pytest.raises(UsageError, match="a threshold in"):
        CombinedScorer([Fixed("a", 0), Fixed("b", 0)], [0.0, 0.5])


def test_names_load_what_they_name(monkeypatch: pytest.MonkeyPatch, example: Path) -> None:
    combined = load_scorer("nudenet-320n+open-nsfw", threads=1)
    assert isinstance(combined, CombinedScorer)
    assert combined.thresh == (0.25, 0.8)
    parts, whole = combined.members
    scores = [member.score(example) for member in combined.members]
    assert combined.score(example) == pytest.approx(max(_stretched(scores)))
    assert default_thresh(combined) == 0.5
    assert (default_thresh(parts), default_thresh(whole)) == (0.25, 0.8)
    assert isinstance(load_scorer("nudenet-320n", threads=1), DetectorScorer)
    assert {"nudenet-320n", "open-nsfw", "skin-share"} <= set(scorer_names())
    share = load_scorer("skin-share")
    assert 0 <= share.score(example) <= 1
    assert default_thresh(share) == 0.5
    loaded: list[str] = []

    def load(name: str, **_: Any) -> Says:
        loaded.append(name)
        return Says(name, {})

    monkeypatch.setattr(detector.scorers, "load", load)
    assert load_scorer("mine.onnx").name == "mine.onnx"
    assert loaded == ["mine.onnx"]


def _stretched(scores: list[float]) -> list[float]:
    return [s / t / 2 if s < t else 0.5 + (s - t) / (1 - t) / 2 for s, t in zip(scores, (0.25, 0.8), strict=True)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open-nfsw", "the nearest is open-nsfw"),
        ("skin-shar", "the nearest is skin-share"),
        ("nudenet-320n+nosuch", "got 'nosuch'"),
        ("open-nsfw+open-nsfw", "each once"),
        ("+", "got ''"),
    ],
)
def test_what_cannot_be_loaded_is_said(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_scorer(name, threads=1)


def test_a_files_own_word_says_whether_it_classifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from detector.classifier import build_classifier
    from detector.classifier_config import ClassifierConfig
    from detector.classifier_weights import save_classifier
    from detector.weight_file import pack

    config = ClassifierConfig(arch="cnn", classes=("nude", "safe"), nsfw_classes=("nude",), input_size=32)
    torch.manual_seed(0)
    path = tmp_path / "a+b.safetensors"  # a name with a + in it is a file all the same
    save_classifier(path, build_classifier(config))
    image = np.zeros((40, 40, 3), np.uint8)
    scorer = load_scorer(str(path))
    assert type(scorer).__name__ == "ClassifierPredictor"
    assert (scorer.name, default_thresh(scorer)) == ("a+b", 0.5)
    assert 0 < scorer.score(image) < 1
    asked: list[str] = []
    monkeypatch.setattr(detector.scorers, "load", lambda name, **_: asked.append(name) or Says(name, {}))
    detects = tmp_path / "d.safetensors"
    state = {"x": torch.zeros(1)}
    detects.write_bytes(pack(state, task="detect", storage="float32", config={}, classes=("a",), metadata={}))
    for file in (detects, tmp_path / "none.safetensors"):  # what is no classifier is the detector's loader's to judge
        assert isinstance(load_scorer(str(file)), DetectorScorer)
    assert asked == [str(detects), str(tmp_path / "none.safetensors")]


def test_a_policy_with_a_fusion_is_a_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    import detector.fusing.scorer

    class Fused(Fixed):
        class policy:
            class fusion:
                nsfw_above = 0.71

    asked: list[Any] = []
    monkeypatch.setattr(
        detector.fusing.scorer, "FusionScorer", lambda name, **options: asked.append((name, options)) or Fused("f", 0.3)
    )
    scorer = load_scorer("fused.toml", threads=2)
    assert asked == [("fused.toml", {"device": "cpu", "threads": 2})]
    assert default_thresh(scorer) == 0.71
    combined = load_scorer("fused.toml+skin-share")
    assert isinstance(combined, CombinedScorer)
    assert combined.thresh == (0.71, 0.5)
