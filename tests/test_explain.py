"""Occlusion in both forms against known answers, targets, the overlay, and `detector explain`; no torch needed."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector import cli
from detector.detections import Detections
from detector.errors import InputError, ModelError, UsageError
from detector.explain.api import explain, window_count
from detector.explain.explanation import Explanation
from detector.explain.occlusion import GREY, occlusion_map, starts
from detector.explain.overlay import colours, hide, overlay_png
from detector.explain.targets import frame_size, score_of
from detector.scorers import DetectorScorer


class RedShare:
    """The share of pure red pixels."""

    name, device, sha256 = "red-share", "cpu", None

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, images: Any) -> Any:
        if not isinstance(images, list):
            return self.score([images])[0]
        self.calls.append(len(images))
        return [float((np.asarray(image) == (255, 0, 0)).all(axis=2).mean()) for image in images]


def red_at(size: tuple[int, int], top: int, left: int, side: int) -> np.ndarray:
    image = np.full((*size, 3), 40, dtype=np.uint8)
    image[top : top + side, left : left + side] = (255, 0, 0)
    return image


def test_windows_reach_both_ends() -> None:
    assert starts(256, 64, 16) == list(range(0, 193, 16))
    assert starts(100, 64, 16) == [0, 16, 32, 36]
    assert starts(64, 64, 16) == [0]
    assert starts(1, 64, 16) == [0]
    for side in range(1, 40):
        assert {p for first in starts(side, 7, 3) for p in range(first, min(first + 7, side))} == set(range(side))


def test_exact_values_of_both_forms() -> None:
    frame = np.zeros((2, 6, 3), dtype=np.uint8)
    frame[:, 2] = (255, 0, 0)  # one column of six: score 1/6; windows are columns 0-1, 1-2, 2-3, 3-4, 4-5
    fall, base = occlusion_map(frame, RedShare().score, window=2, stride=1)
    assert base == pytest.approx(1 / 6)
    np.testing.assert_allclose(fall[0], np.array([0, 0.5, 1, 0.5, 0, 0]) / 6, atol=1e-7)
    alone, _ = occlusion_map(frame, RedShare().score, window=2, stride=1, alone=True)
    np.testing.assert_allclose(alone[0], np.array([0, 0.5, 1, 0.5, 0, 0]) / 6, atol=1e-7)


def test_the_two_forms_differ_where_covering_raises_the_score() -> None:
    def brightest_is_bad(images: list[np.ndarray]) -> list[float]:
        return [1 - float(image.max()) / 255 for image in images]

    frame = np.zeros((4, 8, 3), dtype=np.uint8)
    frame[:, :4] = 255
    fall, base = occlusion_map(frame, brightest_is_bad, window=4, stride=4)
    assert base == 0
    np.testing.assert_allclose(fall[0, [0, 4]], [-(1 - GREY / 255), 0], atol=1e-6)
    alone, _ = occlusion_map(frame, brightest_is_bad, window=4, stride=4, alone=True)
    np.testing.assert_allclose(alone[0, [0, 4]], [0, 1 - GREY / 255], atol=1e-6)


def test_batches_change_nothing_and_each_window_advances() -> None:
    frame, seen, scorer = red_at((40, 50), 20, 30, 8), [], RedShare()
    expected, _ = occlusion_map(frame, RedShare().score, window=16, stride=8, batch_size=1)
    got, _ = occlusion_map(frame, scorer.score, window=16, stride=8, batch_size=7, advance=lambda: seen.append(1))
    np.testing.assert_array_equal(got, expected)
    assert len(seen) == len(starts(40, 16, 8)) * len(starts(50, 16, 8)) == sum(scorer.calls) - 1
    assert max(scorer.calls) == 7


@pytest.mark.parametrize("bad", [{"window": 0}, {"stride": 0}, {"window": 4, "stride": 5}, {"batch_size": 0}])
def test_bad_windows(bad: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="a window must be at least 1"):
        occlusion_map(red_at((8, 8), 0, 0, 2), RedShare().score, **bad)


def test_scores_must_be_finite() -> None:
    with pytest.raises(ModelError, match="finite"):
        occlusion_map(red_at((8, 8), 0, 0, 2), lambda images: [float("nan")] * len(images))


@pytest.mark.parametrize("method", ["occlusion", "window"])
def test_the_peak_is_on_the_patch_in_source_pixels(method: str) -> None:
    image = red_at((512, 768), 300, 500, 60)
    found = explain(image, model=RedShare(), method=method, window=32, stride=11)
    assert found.heat.shape == (512, 768)
    assert found.heat.dtype == np.float32
    y, x = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert 300 <= y < 360
    assert 500 <= x < 560
    assert found.heat[:200].max() == 0
    assert found.settings["frame_size"] == [171, 256]


@pytest.mark.parametrize("size", [(1, 1), (5, 2000), (2000, 5), (3, 7)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    found = explain(np.full((*size, 3), (255, 0, 0), dtype=np.uint8), model=RedShare())
    assert found.heat.shape == size
    assert found.score == 1
    assert (found.heat > 0).all()
    assert len(overlay_png(np.zeros((*size, 3), np.uint8), found, np.array([[0, 0, 1, 1]]))) > 100
    assert window_count(RedShare(), size, 64, 16) >= 1


def test_alpha_is_explained_as_it_scores_highest() -> None:
    rgba = np.zeros((32, 32, 4), dtype=np.uint8)
    rgba[:, :, 0], rgba[:, :, 3] = 255, 1  # red that hardly shows over white or black
    assert explain(rgba, model=RedShare(), stride=64).score == 1


def test_unknown_names_and_what_has_no_classes() -> None:
    image = red_at((8, 8), 0, 0, 2)
    with pytest.raises(UsageError, match="occlusion"):
        explain(image, model=RedShare(), method="oclusion")
    with pytest.raises(UsageError, match="no classes"):
        explain(image, model=RedShare(), target="porn")
    with pytest.raises(UsageError, match="by name or file"):
        explain(image, model=RedShare(), method="grad-cam")
    with pytest.raises(InputError):
        explain(b"no picture", model=RedShare())


def test_targets_of_detector_and_classifier() -> None:
    class Classifier(RedShare):
        class_names = ("neutral", "porn")

        def probabilities(self, images: Any) -> Any:
            return [np.array([1 - s, s], dtype=np.float32) for s in self.score(images)]

    image = [red_at((10, 10), 0, 0, 5)]
    score, name = score_of(Classifier(), "Neutral")
    assert (score(image), name) == ([0.75], "neutral")
    with pytest.raises(UsageError, match="porn"):
        score_of(Classifier(), "pron")

    class Finds:
        name, device, sha256, class_names = "finds", "cpu", "0", ("BELLY_EXPOSED", "BUTTOCKS_EXPOSED")

        def detect(self, images: Any, *, classes: Any, score_thresh: float) -> Any:
            assert classes == ("BELLY_EXPOSED",)
            some = Detections(boxes=[[0, 0, 2, 2]] * 2, scores=[0.3, 0.6], labels=[0, 0], image_size=(10, 10))
            return [some, Detections(image_size=(10, 10))]

    score, name = score_of(DetectorScorer(Finds()), "EXPOSED_BELLY")
    assert name == "BELLY_EXPOSED"
    assert list(score(image * 2)) == pytest.approx([0.6, 0.0])
    assert frame_size(DetectorScorer(Finds()), (100, 200)) == (160, 320)


def test_the_colours_get_lighter_throughout() -> None:
    lightness = colours(np.linspace(0, 1, 101)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    np.testing.assert_array_equal(colours(np.array([-1.0, 2.0])), [[0, 32, 77], [255, 233, 69]])


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        assert not image.info
        return np.asarray(image)


@pytest.mark.parametrize("method", ["occlusion", "guided-backprop"])
def test_what_is_hidden_cannot_be_read_from_picture_or_heat(method: str) -> None:
    box = np.array([[40, 30, 80, 90]])
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 400, 3), dtype=np.uint8)
    heat = rng.random((120, 400)).astype(np.float32)

    def drawn(pixels: np.ndarray, values: np.ndarray, boxes: Any = box) -> np.ndarray:
        why = Explanation(heat=values, score=0.5, target="nsfw", method=method, model="m")
        return decoded(overlay_png(pixels, why, boxes))

    before = drawn(image, heat)
    hidden = before[30:90, 40:80]
    assert len(np.unique(hidden.reshape(-1, 3), axis=0)) <= 16
    # Other pixels of the same means inside give the same sheet: nothing else of them is in it.
    cells_h, cells_w = hide(image, box), hide(heat, box)
    np.testing.assert_allclose(drawn(cells_h, cells_w).astype(int)[30:90, 40:80], hidden, atol=2)
    assert len(np.unique(drawn(image, heat, None)[30:90, 40:80].reshape(-1, 3), axis=0)) > 100
    assert before.shape == (120 + 56, 400, 3)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> RedShare:
    class Finds:
        name, device, sha256, class_names = "finds", "cpu", "0", ("BUTTOCKS_EXPOSED",)

        def detect(self, image: Any, **settings: Any) -> Detections:
            assert settings["score_thresh"] <= 0.1
            return Detections(
                boxes=[[10, 10, 50, 50]], scores=[0.2], labels=[0], class_names=self.class_names, image_size=(60, 100)
            )

    scorer = RedShare()
    monkeypatch.setattr("detector.models.load", lambda *args, **settings: Finds())
    monkeypatch.setattr("detector.scorers.load_scorer", lambda *args, **settings: scorer)
    return scorer


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["explain", *(str(argument) for argument in arguments)])
    return int(stop.value.code or 0), capsys.readouterr().err


def test_the_command(tmp_path: Path, fakes: RedShare, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (60, 100, 3), dtype=np.uint8)
    image[20:30, 20:30] = (255, 0, 0)
    source, out, table, npy = (tmp_path / name for name in ("in.png", "out.png", "why.json", "why.npy"))
    Image.fromarray(image).save(source)
    code, err = run(source, out, "--json", table, "--npy", npy, "--stride", 32, capsys=capsys)
    assert (code, "wrote" in err) == (0, True), err
    hidden, heat = decoded(out.read_bytes()), np.load(npy)
    assert heat.shape == (60, 100)
    assert len(np.unique(heat[10:50, 10:50])) <= 16
    said = json.loads(table.read_text())
    assert said["method"] == "occlusion"
    np.testing.assert_allclose(said["heat"], heat)
    assert len(np.unique(hidden[10:50, 10:50].reshape(-1, 3), axis=0)) <= 16
    assert run(source, out, "--show-parts", "--stride", 32, capsys=capsys)[0] == 0
    assert len(np.unique(decoded(out.read_bytes())[10:50, 10:50].reshape(-1, 3), axis=0)) > 100


def test_the_command_refuses_before_it_works(
    tmp_path: Path, fakes: RedShare, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(red_at((8, 8), 0, 0, 2)).save(source)
    before = source.read_bytes()
    for arguments, words in (
        ((source, source), "different files"),
        ((source, tmp_path / "out.jpg"), "must end in .png"),
        ((source, tmp_path / "none" / "out.png"), "folder of an output"),
        ((source, tmp_path / "out.png", "--method", "gradcam"), "grad-cam"),
        ((source, tmp_path / "out.png", "--window", 4, "--stride", 8), "a window must be"),
    ):
        code, err = run(*arguments, capsys=capsys)
        assert code == 2, err
        assert words in err
    assert not fakes.calls or max(fakes.calls) == 1
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png"]


def test_a_failing_detector_writes_nothing(
    tmp_path: Path, fakes: RedShare, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*args: Any, **settings: Any) -> Any:
        raise ModelError("the model is not there")

    monkeypatch.setattr("detector.models.load", fails)
    source = tmp_path / "in.png"
    Image.fromarray(red_at((8, 8), 0, 0, 2)).save(source)
    assert run(source, tmp_path / "out.png", capsys=capsys)[0] == 1
    assert not (tmp_path / "out.png").exists()
