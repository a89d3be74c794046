"""Each figure of a classifier against scikit-learn, on random scores with ties."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.evaluation.binary_bootstrap import RESAMPLED, resampled_figures
from detector.evaluation.binary_metrics import (
    Confusion,
    brier_score,
    precision_at_base_rate,
    score_curve,
    wilson_interval,
)
from detector.evaluation.bootstrap import picture_weights
from detector.evaluation.calibration import (
    CLIP,
    fit_temperature,
    fold_numbers,
    negative_log_likelihood,
    reliability,
    scale_by_others,
    scale_scores,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@pytest.fixture(scope="module")
def metrics() -> Any:
    """Import the peer where it is asked for: it takes a second."""
    return pytest.importorskip("sklearn.metrics")


def sample(seed: int, pictures: int = 80, digits: int = 1) -> tuple[Bools, Floats]:
    """Labels and scores that say something about them; rounded, so that most scores are tied; 0 and 1 among them."""
    rng = np.random.default_rng(seed)
    nude = rng.random(pictures) < rng.uniform(0.2, 0.8)
    nude[:2] = (True, False)
    scores = np.clip(rng.normal(np.where(nude, 0.6, 0.4), 0.3), 0, 1)
    return nude, np.round(scores, digits)


@pytest.mark.parametrize("seed", range(6))
def test_areas_and_brier_are_those_of_scikit_learn(metrics: Any, seed: int) -> None:
    nude, scores = sample(seed)
    curve = score_curve(nude, scores)
    assert curve.auc() == pytest.approx(metrics.roc_auc_score(nude, scores), abs=1e-12)
    assert curve.average_precision() == pytest.approx(metrics.average_precision_score(nude, scores), abs=1e-12)
    assert brier_score(nude, scores) == pytest.approx(metrics.brier_score_loss(nude, scores), abs=1e-12)
    assert 0.3 < (curve.auc() or 0) < 1


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_those_of_scikit_learn(metrics: Any, seed: int) -> None:
    nude, scores = sample(seed)
    curve = score_curve(nude, scores)
    fpr, recall, thresholds = metrics.roc_curve(nude, scores, drop_intermediate=False)
    assert np.allclose(curve.fpr, fpr[1:], atol=1e-12)
    assert np.allclose(curve.recall, recall[1:], atol=1e-12)
    assert np.array_equal(curve.scores, thresholds[1:])
    precision, recall, thresholds = metrics.precision_recall_curve(nude, scores)
    assert np.allclose(curve.precision, precision[:-1][::-1], atol=1e-12)
    assert np.array_equal(curve.scores, thresholds[::-1])


@pytest.mark.parametrize("thresh", [0.0, 0.3, 0.5, 1.0, 1.1])
def test_figures_at_a_threshold_are_those_of_scikit_learn(metrics: Any, thresh: float) -> None:
    nude, scores = sample(3)
    flagged = scores >= thresh
    confusion = Confusion.of(nude, flagged)
    theirs = metrics.confusion_matrix(nude, flagged, labels=[True, False])
    assert [[confusion.tp, confusion.fn], [confusion.fp, confusion.tn]] == theirs.tolist()
    figures = {name: np.nan if value is None else value for name, value in confusion.figures().items()}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        nude, flagged, labels=[True, False], zero_division=np.nan
    )
    for index, kind in enumerate(("nude", "safe")):
        assert figures[f"precision_{kind}"] == pytest.approx(precision[index], nan_ok=True)
        assert figures[f"recall_{kind}"] == pytest.approx(recall[index], nan_ok=True)
        assert figures[f"f1_{kind}"] == pytest.approx(f1[index], nan_ok=True)
    assert figures["accuracy"] == pytest.approx(metrics.accuracy_score(nude, flagged))
    assert figures["fpr"] == pytest.approx(1 - recall[1])


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_is_the_best_that_keeps_its_word(metrics: Any, seed: int) -> None:
    nude, scores = sample(seed)
    curve = score_curve(nude, scores)
    fpr, recall, thresholds = metrics.roc_curve(nude, scores, drop_intermediate=False)
    for wanted in (0.05, 0.1, 0.5, 1.0):
        cut, fits = curve.at_fpr(wanted), fpr[1:] <= wanted
        assert (cut is not None) == bool(fits.any())
        if cut is not None:
            assert cut.recall == pytest.approx(recall[1:][fits].max())
            assert cut.fpr == pytest.approx(np.mean(scores[~nude] >= cut.score_thresh))
            assert cut.fpr <= wanted
        cut = curve.at_recall(wanted)
        assert cut is not None
        assert cut.fpr == pytest.approx(fpr[1:][recall[1:] >= wanted].min())
        assert cut.score_thresh == thresholds[1:][recall[1:] >= wanted].max()
    assert score_curve(np.array([True, False]), np.array([0.1, 0.9])).at_fpr(0.5) is None


def test_a_wanted_recall_counts_pictures_not_floats() -> None:
    nude = np.array([True] * 20 + [False])
    scores = np.linspace(0.99, 0.1, 21)
    for count in range(1, 21):
        cut = score_curve(nude, scores).at_recall(count / 20)
        assert cut is not None
        assert cut.score_thresh == scores[count - 1]


@pytest.mark.parametrize("kind", [True, False])
def test_one_kind_of_picture_says_nothing_about_the_other(kind: bool) -> None:
    nude, scores = np.full(5, kind), np.linspace(0, 1, 5)
    curve = score_curve(nude, scores)
    assert curve.auc() is None
    assert curve.at_recall(0.9) is None
    assert curve.at_fpr(0.1) is None
    assert (curve.average_precision() is None) == (not kind)
    figures = Confusion.of(nude, scores >= 0.5).figures()
    assert (figures["recall_nude"] is None) == (not kind)
    assert (figures["fpr"] is None) == kind


def test_what_is_no_score_is_refused() -> None:
    for scores in (np.array([0.1, np.nan]), np.array([0.1, np.inf]), np.array([0.1]), np.zeros((0,))):
        with pytest.raises(UsageError):
            score_curve(np.array([True, False])[: max(0, len(scores) + (len(scores) == 1))], scores)
    with pytest.raises(UsageError, match="a wanted FPR"):
        score_curve(*sample(0)).at_fpr(0.0)


def test_precision_at_a_base_rate() -> None:
    assert precision_at_base_rate(0.98, 0.02, 0.01) == pytest.approx(98 / (98 + 198))  # the example of the text
    assert precision_at_base_rate(0.98, 0.02, 0.5) == pytest.approx(0.98)
    assert precision_at_base_rate(0.5, 0.0, 0.01) == 1
    assert precision_at_base_rate(0.0, 0.0, 0.01) is None
    assert precision_at_base_rate(None, 0.1, 0.01) is None
    nude, scores = sample(1)  # at the set's own base rate it is the set's own precision
    figures = Confusion.of(nude, scores >= 0.5).figures()
    found = precision_at_base_rate(figures["recall_nude"], figures["fpr"], float(nude.mean()))
    assert found == pytest.approx(figures["precision_nude"])


@pytest.mark.parametrize(("part", "whole"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 7), (45, 900)])
def test_intervals_of_shares_are_those_of_scipy(part: int, whole: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(part, whole).proportion_ci(method="wilson")
    assert wilson_interval(part, whole) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize("digits", [1, 3])
def test_reliability_is_that_of_scikit_learn(digits: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    nude, scores = sample(5, 300, digits)
    ours = reliability(nude, scores, 10)
    share, score = calibration.calibration_curve(nude, scores, n_bins=10)
    used = ours.count > 0
    assert np.allclose(ours.share[used], share)
    assert np.allclose(ours.score[used], score)
    assert ours.count.sum() == 300
    assert ours.ece == pytest.approx(np.sum(ours.count[used] / 300 * np.abs(share - score)))


def test_the_temperature_is_the_best_there_is(metrics: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    for seed in range(4):
        nude, scores = sample(seed, 400, 3)
        theirs = optimize.minimize_scalar(
            lambda log_t, nude=nude, scores=scores: metrics.log_loss(nude, scale_scores(scores, np.exp(log_t))),
            bounds=(-4, 4),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert fit_temperature(nude, scores) == pytest.approx(np.exp(theirs.x), rel=1e-3)
        clipped = np.clip(scores, CLIP, 1 - CLIP)
        assert negative_log_likelihood(nude, scores) == pytest.approx(metrics.log_loss(nude, clipped))


def test_a_temperature_that_was_applied_is_found_again() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.02, 0.98, 20_000)
    nude = rng.random(20_000) < truth
    sharp = scale_scores(truth, 0.4)  # overconfident: logits 2.5 times too large
    assert fit_temperature(nude, sharp) == pytest.approx(2.5, rel=0.05)
    scaled = scale_by_others(nude, sharp, 0)
    assert reliability(nude, sharp).ece > 0.05
    assert reliability(nude, scaled).ece < 0.02
    assert np.allclose(scale_scores(truth, 1.0), truth)


def test_a_temperature_has_bounds() -> None:
    nude = np.array([True, False, True])
    assert fit_temperature(nude, np.array([0.9, 0.1, 0.8])) == pytest.approx(0.01, rel=1e-6)
    assert fit_temperature(nude, np.array([0.1, 0.9, 0.2])) == pytest.approx(100, rel=1e-6)


def test_no_picture_is_scaled_by_itself() -> None:
    nude, scores = sample(2, 60, 3)
    numbers = fold_numbers(nude, 0)
    scaled = scale_by_others(nude, scores, 0)
    for kind in (True, False):
        sizes = np.bincount(numbers[nude == kind])
        assert sizes.max() - sizes.min() <= 1
    for index in (0, 7, 41):
        other = nude.copy()
        same_fold = numbers == numbers[index]
        other[same_fold] = ~other[same_fold]
        own = numbers[index]
        again = scale_scores(scores[same_fold], fit_temperature(other[numbers != own], scores[numbers != own]))
        assert np.allclose(scaled[same_fold], again)
    assert len(scale_by_others(np.array([True]), np.array([0.7]), 0)) == 1


def test_drawn_figures_are_those_of_the_pictures_drawn(metrics: Any) -> None:
    nude, scores = sample(4, 40)
    drawn = resampled_figures(nude, {"a": scores}, {"a": 0.5}, rounds=25, seed=9)["a"]
    assert set(drawn) == set(RESAMPLED)
    seed = int(np.random.SeedSequence(9).generate_state(1)[0])
    weights = picture_weights(40, 25, seed).astype(int)
    for index, row in enumerate(weights):
        kinds, values = np.repeat(nude, row), np.repeat(scores, row)
        assert drawn["auc"][index] == pytest.approx(metrics.roc_auc_score(kinds, values))
        assert drawn["average_precision"][index] == pytest.approx(metrics.average_precision_score(kinds, values))
        assert drawn["brier"][index] == pytest.approx(metrics.brier_score_loss(kinds, values))
        figures = Confusion.of(kinds, values >= 0.5).figures()
        for name in ("accuracy", "f1_nude", "f1_safe"):
            assert drawn[name][index] == pytest.approx(figures[name])


def test_draws_are_the_same_for_all_and_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    nude, scores = sample(6, 50)
    found = resampled_figures(nude, {"a": scores, "b": scores.copy()}, {"a": 0.5, "b": 0.5}, rounds=30, seed=1)
    assert all(np.array_equal(found["a"][key], found["b"][key]) for key in RESAMPLED)
    monkeypatch.setattr("detector.evaluation.binary_bootstrap.BLOCK_NUMBERS", 50 * 8)
    blocks = resampled_figures(nude, {"a": scores}, {"a": 0.5}, rounds=30, seed=1)["a"]["auc"]
    assert blocks.shape == (30,)
    assert len(np.unique(blocks)) > 20
    one_kind = resampled_figures(np.array([True, True]), {"a": np.array([0.1, 0.9])}, {"a": 0.5}, rounds=5, seed=0)
    assert np.isnan(one_kind["a"]["auc"]).all()
    assert not np.isnan(one_kind["a"]["accuracy"]).any()
