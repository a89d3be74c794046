"""The fit of a fusion: the optimiser, the figures, the cross-validation, the CSV and the policy file."""

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_samples import samples, written

from censor.policy import load_censor_policy
from detector import classify, load_policy
from detector.config import from_table
from detector.detections import Detections
from detector.errors import InputError, PolicyError, UsageError
from detector.evidence import MISSING, OPINION, RECORD_FEATURES
from detector.fusing.figures import auc, brier, log_loss, threshold_for_fpr, threshold_for_recall
from detector.fusing.fit import FitSettings, _folds, _units, fit_fusion
from detector.fusing.logistic import fit_logistic, sigmoid
from detector.fusing.policy_text import fused_policy_text
from detector.fusing.samples import features_csv, read_samples
from detector.fusing.table import fit_text
from detector.policy import Policy, policy_path

QUICK = FitSettings(rounds=20)
DEFAULT = policy_path("default").read_text(encoding="utf-8")


def problem(seed: int, rows: int = 200, columns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(rows, columns)) @ draws.normal(size=(columns, columns))
    y = draws.random(rows) < sigmoid(x @ draws.normal(size=columns) - 0.5)
    return x, y


@pytest.mark.parametrize("l2", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_unconstrained_fit_is_scikit_learns(seed: int, l2: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = problem(seed)
    theirs = linear.LogisticRegression(C=1 / l2, tol=1e-12, max_iter=5000, solver="newton-cholesky").fit(x, y)
    ours = fit_logistic(x, y, l2=l2, non_negative=False)
    np.testing.assert_allclose(ours, [*theirs.intercept_, *theirs.coef_[0]], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_constrained_fit_is_a_minimum(seed: int) -> None:
    """At the minimum no weight is negative, those above 0 have no slope and those at 0 would only rise."""
    x, y = problem(seed)
    theta = fit_logistic(x, y, l2=0.5)
    design = np.hstack([np.ones((len(x), 1)), x])
    slope = design.T @ (sigmoid(design @ theta) - y) + 0.5 * np.array([0.0, *theta[1:]])
    held = theta[1:] == 0
    assert (theta[1:] >= 0).all()
    assert held.any()
    assert (~held).any()
    assert (slope[1:][held] > 0).all()
    np.testing.assert_allclose(slope[[True, *~held]], 0, atol=1e-6)


def test_where_the_constraint_does_not_bind_both_fits_agree() -> None:
    draws = np.random.default_rng(0)
    x = draws.normal(size=(300, 3))
    y = draws.random(300) < sigmoid(x @ [1.0, 2.0, 0.5])
    np.testing.assert_allclose(fit_logistic(x, y), fit_logistic(x, y, non_negative=False), atol=1e-8)


def test_separable_labels_have_a_finite_fit() -> None:
    x = np.linspace(-1, 1, 40)[:, None] * [1.0, 1000.0]
    theta = fit_logistic(x, x[:, 0] > 0, l2=1e-3)
    assert np.isfinite(theta).all()
    assert ((x @ theta[1:] + theta[0] > 0) == (x[:, 0] > 0)).all()


@pytest.mark.parametrize("l2", [0.0, -1.0, math.nan, math.inf])
def test_a_penalty_is_needed(l2: float) -> None:
    with pytest.raises(UsageError, match="l2 must be over 0"):
        fit_logistic(*problem(0), l2=l2)


def test_a_fit_to_nonsense_is_refused() -> None:
    x, y = problem(0)
    for bad_x, bad_y in ((np.where(x > 1, np.nan, x), y), (x, np.ones_like(y)), (x, np.zeros_like(y))):
        with pytest.raises(UsageError, match="finite features and both labels"):
            fit_logistic(bad_x, bad_y)


def test_figures_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draws = np.random.default_rng(0)
    for _ in range(5):
        y = draws.random(60) < 0.4
        p = np.round(draws.random(60), 1) * 0.98 + 0.01  # with ties
        assert auc(p, y) == pytest.approx(metrics.roc_auc_score(y, p))
        assert brier(p, y) == pytest.approx(metrics.brier_score_loss(y, p))
        assert log_loss(p, y) == pytest.approx(metrics.log_loss(y, p))


def test_thresholds_keep_what_was_wanted() -> None:
    draws = np.random.default_rng(1)
    y = draws.random(400) < 0.5
    p = np.where(y, draws.beta(3, 2, 400), draws.beta(2, 3, 400))
    for wanted in (0.0, 0.01, 0.1, 0.5, 1.0):
        thresh = threshold_for_fpr(p, y, wanted)
        assert (p[~y] > thresh).mean() <= wanted
        assert wanted == 1 or (p[~y] > thresh - 0.02).mean() > wanted, "no higher than it must be"
    for wanted in (0.01, 0.5, 0.95, 1.0):
        thresh = threshold_for_recall(p, y, wanted)
        assert (p[y] > thresh).mean() >= wanted
        assert (p[y] > thresh + 0.02).mean() < wanted, "no lower than it must be"
    exact = np.array([0.5, 0.5, 0.2, 0.2])
    labels = np.array([True, True, False, False])
    assert (threshold_for_fpr(exact, labels, 0.0), threshold_for_recall(exact, labels, 1.0)) == (0.2, 0.4999)
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="--want-fpr must lie in"):
            threshold_for_fpr(exact, labels, bad)
        with pytest.raises(UsageError, match="--want-recall must lie in"):
            threshold_for_recall(exact, labels, bad)


def test_a_fit_learns_what_the_labels_say_and_says_what_it_does_not_know() -> None:
    result = fit_fusion(samples(), load_policy(), QUICK)
    figures = result.figures
    assert all(feature.weight >= 0 for feature in result.model.features.values())
    assert figures["fusion"]["auc"] > max(figures["best part score"]["auc"], figures["second opinion"]["auc"])
    assert figures["fusion"]["log_loss"] < figures["second opinion"]["log_loss"]
    assert result.model.fitted.auc == figures["fusion"]["auc"]
    assert set(result.dropped) >= {"MALE_GENITALIA_EXPOSED.score", "group.flagged_7d", MISSING}
    assert OPINION in result.model.features
    assert result.model.needs_opinion
    assert {row.feature for row in result.weights} == set(result.model.features)
    assert all(row.low <= row.high for row in result.weights)
    totals = {name: sum(sum(row.values()) for row in rows.values()) for name, rows in result.verdicts.items()}
    assert totals == {"rule table": 120, "fusion": 120}
    fused = result.verdicts["fusion"]
    assert fused["nsfw"]["safe"] <= 3
    assert fused["safe"]["nsfw"] == 0, "1 % of 60 pictures is none"


def test_a_fit_is_the_same_each_time() -> None:
    first, second = (fit_fusion(samples(), load_policy(), QUICK).to_dict() for _ in range(2))
    assert first == second
    assert first != fit_fusion(samples(), load_policy(), replace(QUICK, seed=1)).to_dict()


def test_labels_that_mean_nothing_give_an_auc_of_about_half() -> None:
    """Out of fold: on the pictures that a model was fitted to, twenty weights would find something."""
    drawn = samples(100)
    labels = np.random.default_rng(5).permutation([item.nsfw for item in drawn.items])
    items = tuple(replace(item, nsfw=bool(label)) for item, label in zip(drawn.items, labels, strict=True))
    model = fit_fusion(replace(drawn, items=items), load_policy(), replace(QUICK, l2=0.1)).model
    assert 0.35 < model.fitted.auc < 0.62
    seen = np.array([model.weigh(item.evidence, alarmed=False)[0] for item in items])
    assert model.fitted.log_loss > log_loss(seen, labels) + 0.005


def test_what_is_kept_together_is_in_one_fold() -> None:
    drawn = samples(120)
    items = tuple(replace(item, keep_together=str(index // 3)) for index, item in enumerate(drawn.items))
    y = np.array([item.nsfw for item in items])
    fold_of = _folds(_units(replace(drawn, items=items)), y, QUICK)
    assert (fold_of.reshape(-1, 3) == fold_of[::3, None]).all()
    alone = _folds(_units(drawn), y, QUICK)
    assert (alone.reshape(-1, 3) != alone[::3, None]).any()
    for folds in (fold_of, alone):
        counts = np.array([np.bincount(folds[y == label], minlength=5) for label in (True, False)])
        assert np.ptp(counts, axis=1).max() <= 3, "each fold has its share of both labels"
    together = tuple(replace(item, keep_together="one") for item in items)
    with pytest.raises(UsageError, match="use fewer --folds"):
        fit_fusion(replace(drawn, items=together), load_policy(), QUICK)


def test_pictures_without_a_second_opinion_are_weighed_as_such() -> None:
    result = fit_fusion(samples(200, unasked=0.3), load_policy(), QUICK)
    model = result.model
    assert not model.needs_opinion
    assert model.features[MISSING].mean == 0.0
    assert "second opinion" not in result.figures, "its figures would be of fewer pictures"
    asked = [row.known for row in result.weights if row.feature == OPINION]
    assert 100 < asked[0] < 180
    policy = replace(load_policy(), fusion=model)
    assert classify(Detections(image_size=(9, 9), model="nudenet-320n"), policy=policy).probability is not None
    drawn = samples(unasked=0.3)
    same = [
        replace(i, evidence=replace(i.evidence, second_opinion=i.evidence.second_opinion and 0.5)) for i in drawn.items
    ]
    flat = fit_fusion(replace(drawn, items=tuple(same)), load_policy(), QUICK)
    assert {OPINION, MISSING} <= set(flat.dropped), "an opinion that is always the same says nothing"
    none = fit_fusion(samples(unasked=1.0), load_policy(), QUICK).model
    assert not {OPINION, MISSING} & set(none.features)


def test_a_record_is_neutral_at_the_usual_share() -> None:
    drawn = samples()
    model = fit_fusion(drawn, load_policy(), QUICK).model
    records = [item.evidence.uploader for item in drawn.items if item.evidence.uploader]
    share = sum(record.flagged[3] for record in records) / sum(record.posted[3] for record in records)
    means = {model.features[name].mean for name in RECORD_FEATURES if name in model.features}
    assert len(means) == 1
    assert sigmoid(np.array(means.pop())) == pytest.approx(share, rel=0.01)
    assert not fit_fusion(samples(records=False), load_policy(), QUICK).model.weighs_records


def test_too_few_pictures_are_refused() -> None:
    few = samples(100)
    items = [item for item in few.items if item.nsfw] + [item for item in few.items if not item.nsfw][:19]
    with pytest.raises(UsageError, match="at least 20 pictures of each label; safe has 19"):
        fit_fusion(replace(few, items=tuple(items)), load_policy(), QUICK)
    with pytest.raises(UsageError, match=r"--folds must lie in \[2, 20\]; got 1"):
        fit_fusion(few, load_policy(), replace(QUICK, folds=1))


def test_features_are_read_as_they_are_written(tmp_path: Path) -> None:
    drawn = samples(50, unasked=0.2)
    path = written(tmp_path / "features.csv", drawn)
    again = read_samples(path, load_policy())
    assert again.looked_at
    assert again.detector == "nudenet-320n"
    assert [item.evidence for item in again.items] == [item.evidence for item in drawn.items]
    assert [item.nsfw for item in again.items] == [item.nsfw for item in drawn.items]
    assert features_csv(again, load_policy()) == path.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("label,", "lable,"), "must have a column 'label' .*; the nearest is lable"),
        (("\nnsfw,", "\nbad,"), "line 2: label must be one of nude, nsfw, 1, safe, sfw, 0; got 'bad'"),
        (("exposed.area", "exposed.aria"), "it lacks exposed.area"),
        (("uploader.flagged.7,", "uploader.flagged.8,"), "it lacks uploader.flagged.7"),
        (("nudenet-320n,BUTT", "other,BUTT"), "must be of one detector"),
        (("BUTTOCKS_EXPOSED=0.25", "BUTTOCKS_EXPOSED=0.2"), "line 2: counted_from must be as in the policy"),
        (("\nnsfw,,,", "\nnsfw,,,x"), r"line 2: exposed.score must be a number in \[0, 1\]; got 'x"),
        (("\nnsfw,,,", "\nnsfw,,,7"), r"line 2: exposed.score must be a number in \[0, 1\]; got '7"),
        (("\nnsfw,", "\nnsfw,,"), "line 2: there must be one value a column"),
        (("keep_together", "label"), "each column once; it has 'label' again"),
        (("0", "é"), "must be readable CSV in UTF-8"),
    ],
)
def test_a_csv_that_is_not_understood_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = written(tmp_path / "features.csv", samples(40))
    text = path.read_text().replace(*change, 1)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises((UsageError, InputError), match=message):
        read_samples(path, load_policy())


def test_features_counted_from_lower_scores_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "features.csv", samples(40))
    strict = load_policy("default")
    higher = replace(strict, detect=replace(strict.detect, score_thresh=0.6))
    with pytest.raises(UsageError, match="counted_from must be as in the policy"):
        read_samples(path, higher)
    bare = "\n".join(line.rsplit(",", 2)[0] for line in path.read_text().splitlines())
    path.write_text(bare)
    with pytest.raises(UsageError, match=r"must be 0, or at least the policy's threshold 0\.6"):
        read_samples(path, higher)
    assert read_samples(path, strict).detector == ""


def test_a_bad_record_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    columns = [f"uploader.{kind}.{days}" for kind in ("posted", "flagged") for days in (1, 7, 30, 90)]
    head = ",".join(["label", "file", "scene", *columns])
    path.write_text(f"{head}\nsafe,a.jpg,beach,,,,,,,,\nNude,b.jpg,,1,2,3,4,0,0,0,1\n")
    read = read_samples(path, load_policy())
    assert read.unused == ("scene",)
    assert [item.evidence.uploader is None for item in read.items] == [True, False]
    assert not read.looked_at
    for cells, message in (
        ("1,2,3,4,0,0,0,9", "line 2: a record must not flag"),
        ("1,2,3,x,0,0,0,0", "8 whole numbers"),
    ):
        path.write_text(f"{head}\nsafe,a.jpg,,{cells}\n")
        with pytest.raises(UsageError, match=message):
            read_samples(path, load_policy())


def test_the_policy_file_is_the_base_with_the_fusion(tmp_path: Path) -> None:
    model = fit_fusion(samples(), load_policy(), QUICK).model
    path = tmp_path / "mine.toml"
    path.write_text(fused_policy_text(DEFAULT, "mine", model), encoding="utf-8")
    loaded = load_policy(path)
    assert loaded.fusion == model
    assert loaded.label == "mine@1"
    assert (loaded.detect, loaded.verdict) == (load_policy().detect, load_policy().verdict)
    assert load_censor_policy(path).hide == load_censor_policy("default").hide
    assert "# Yahoo's own bands" in path.read_text(), "comments stay"
    again = fused_policy_text(path.read_text(), "mine", replace(model, intercept=9.0))
    assert from_table(Policy, {k: v for k, v in tomllib.loads(again).items() if k != "hide"}, "x").label == "mine@2"
    assert again.count("[fusion]") == again.count("# How likely a picture") == 1
    after = path.read_text().replace("[fusion]", "[fusion]", 1) + "\n# about hiding\n[detect.score_thresh_by_class]\n"
    moved = fused_policy_text(after, "mine", model)
    assert "# about hiding\n[detect.score_thresh_by_class]" in moved
    assert moved.count("[fusion.features]") == 1


def test_a_base_that_cannot_be_rewritten_is_refused() -> None:
    model = fit_fusion(samples(), load_policy(), QUICK).model
    with pytest.raises(UsageError, match="a policy's name must be letters"):
        fused_policy_text(DEFAULT, "my policy", model)
    inline = 'name = "x"\nversion = 1\nfusion = { intercept = 1 }\n'
    with pytest.raises(PolicyError, match="must be rewritable line by line"):
        fused_policy_text(inline, "mine", model)
    several = 'name = "x"\nversion = 1\nsummary = """a\nb"""\n'
    with pytest.raises(PolicyError, match=r"must be rewritable|of their own"):
        fused_policy_text(several, "mine", model)
    raised = DEFAULT.replace("score_thresh = 0.25", "score_thresh = 0.9")
    with pytest.raises(PolicyError, match="the threshold must not be higher"):
        fused_policy_text(raised, "mine", model)


def test_the_text_says_what_a_person_must_know() -> None:
    result = fit_fusion(samples(), load_policy(), QUICK)
    text = fit_text(result, QUICK)
    assert "120 pictures, 60 nsfw, 60 safe; nudenet-320n" in text
    assert "rule table" in text
    assert "60 safe pictures cannot show a false-positive rate of 0.01" in text
    assert "the probability holds where 0.5 of the pictures are nsfw" in text
    assert f"{result.model.features['exposed.score'].weight:.3f}" in text
    plain = fit_text(fit_fusion(samples(), load_policy(), replace(QUICK, rounds=0)), replace(QUICK, rounds=0))
    assert "nan" not in plain
    assert all(len(line) < 200 for line in text.splitlines() if "left out" not in line)
