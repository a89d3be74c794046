"""The fused verdict: what it is made of, and what it never does."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from detector import Detections, Policy, classify, load_policy
from detector.classes import CLASSES, NSFW_CLASSES
from detector.config import from_table
from detector.errors import PolicyError, UsageError
from detector.evidence import COUNT_CAP, Evidence, Record, counted_classes, log_odds, part_values, probability
from detector.fusion import Feature, Fitted, FusionModel

FITTED = Fitted(source="x", sha256="0", pictures=80, nsfw=40, l2=1.0, folds=5, log_loss=0.3, auc=0.9, brier=0.1)
COUNTED_FROM = dict.fromkeys(counted_classes(NSFW_CLASSES), 0.25)
GOOD = Record(posted=(5, 30, 200, 500), flagged=(0, 0, 0, 0))
BAD = Record(posted=(5, 30, 200, 500), flagged=(5, 30, 200, 500))


def feature(weight: float, mean: float = 0.0, scale: float = 1.0) -> Feature:
    return Feature(weight=weight, mean=mean, scale=scale)


FEATURES = {
    "exposed.score": feature(4.0, 0.1, 0.5),
    "BUTTOCKS_EXPOSED.count": feature(0.5),
    "second_opinion": feature(1.5, -1.0, 2.0),
    "uploader.flagged_7d": feature(1.0, -3.0, 0.5),
    "uploader.flagged_90d": feature(2.0, -3.0, 0.5),
    "group.flagged_30d": feature(1.0, -3.0, 0.5),
}


def model(**changes: Any) -> FusionModel:
    settings = {
        "detector": "",
        "nsfw_classes": NSFW_CLASSES,
        "counted_from": COUNTED_FROM,
        "intercept": -1.0,
        "review_above": 0.3,
        "nsfw_above": 0.8,
        "features": FEATURES,
        "fitted": FITTED,
        **changes,
    }
    return FusionModel(**settings)


def policy(**changes: Any) -> Policy:
    return replace(load_policy(), name="fused", fusion=model(**changes))


def found(*parts: tuple[str, float], size: tuple[int, int] = (10, 10), **changes: Any) -> Detections:
    return Detections(
        boxes=[[0, 0, 2, 5]] * len(parts),
        scores=[score for _, score in parts],
        labels=[CLASSES.index(name) for name, _ in parts],
        image_size=size,
        **changes,
    )


NOTHING = found()
BREAST = found(("FEMALE_BREAST_EXPOSED", 0.7))


def test_features_are_named_numbers() -> None:
    parts = [("FEMALE_BREAST_EXPOSED", 0.7), ("FEMALE_BREAST_EXPOSED", 0.3), ("BELLY_EXPOSED", 0.9)]
    weak = ("BUTTOCKS_EXPOSED", 0.2)
    values = part_values(found(*parts, weak), NSFW_CLASSES, COUNTED_FROM)
    told = {name: round(value, 6) for name, value in values.items() if value}
    assert told == {
        "exposed.score": 0.7,
        "exposed.count": 2,
        "exposed.area": 0.2,
        "FEMALE_BREAST_EXPOSED.score": 0.7,
        "FEMALE_BREAST_EXPOSED.count": 2,
        "BELLY_EXPOSED.score": 0.9,
    }
    assert values == part_values(found(*parts), NSFW_CLASSES, COUNTED_FROM), "how far down was looked does not matter"
    many = part_values(found(*[("BUTTOCKS_EXPOSED", 0.5)] * 30), NSFW_CLASSES, COUNTED_FROM)
    assert (many["exposed.count"], many["exposed.area"]) == (COUNT_CAP, 1.0)


def test_a_box_over_the_edge_covers_only_the_picture() -> None:
    over = Detections(boxes=[[-90, -90, 5, 5]], scores=[0.9], labels=[1], image_size=(10, 20))
    assert part_values(over, NSFW_CLASSES, COUNTED_FROM)["exposed.area"] == pytest.approx(25 / 200)


def test_the_probability_is_the_sum_of_its_contributions() -> None:
    verdict = classify(BREAST, 0.6, policy=policy(), uploader=BAD, group=GOOD)
    by_name = {part.feature: part for part in verdict.contributions}
    assert by_name["exposed.score"].log_odds == pytest.approx(4.0 * (0.7 - 0.1) / 0.5)
    assert by_name["second_opinion"].log_odds == pytest.approx(1.5 * (math.log(0.6 / 0.4) + 1) / 2)
    assert by_name["second_opinion"].value == 0.6
    assert by_name["group.flagged_30d"].log_odds < 0
    total = math.fsum(part.log_odds for part in verdict.contributions)
    assert verdict.probability == pytest.approx(1 / (1 + math.exp(-total)))
    told = verdict.to_dict()
    assert told["probability"] == round(verdict.probability or 0, 6)
    assert [part["feature"] for part in told["contributions"]] == ["intercept", *FEATURES]
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("detections", "opinion", "verdict"),
    [(NOTHING, 0.001, "safe"), (NOTHING, 0.79, "review"), (BREAST, 0.6, "nsfw"), (BREAST, 0.95, "nsfw")],
)
def test_the_probability_decides(detections: Detections, opinion: float, verdict: str) -> None:
    said = classify(detections, opinion, policy=policy())
    assert said.verdict == verdict
    assert any(f"probability {said.probability:.3f}" in reason and verdict in reason for reason in said.reasons)


def test_reasons_name_the_largest_contributions() -> None:
    reasons = classify(BREAST, 0.6, policy=policy()).reasons
    assert "exposed.score 0.7 raises the log-odds by 4.80" in reasons
    assert "second_opinion 0.6 raises the log-odds by 1.05" in reasons
    assert "second_opinion 0.1 lowers the log-odds by 0.90" in classify(BREAST, 0.1, policy=policy()).reasons


def test_a_missing_or_empty_record_counts_for_nothing() -> None:
    empty = Record(posted=(0, 0, 0, 0), flagged=(0, 0, 0, 0))
    alone = classify(NOTHING, 0.5, policy=policy())
    assert classify(NOTHING, 0.5, policy=policy(), uploader=empty, group=empty) == alone
    records = [part for part in alone.contributions if "flagged" in part.feature]
    assert [(part.value, part.log_odds) for part in records] == [(None, 0.0)] * 3


def test_one_picture_is_no_certainty() -> None:
    usual = probability(-3.0)
    one = Record(posted=(1, 1, 1, 1), flagged=(1, 1, 1, 1))
    hundred = Record(posted=(100,) * 4, flagged=(100,) * 4)
    assert one.share(0, usual) == pytest.approx((1 + 10 * usual) / 11)
    assert usual < (one.share(3, usual) or 0) < 0.15 < 0.9 < (hundred.share(3, usual) or 0)
    probabilities = [
        classify(NOTHING, 0.5, policy=policy(), uploader=record).probability or 0.0
        for record in (GOOD, None, one, hundred)
    ]
    assert all(a < b for a, b in pairwise(probabilities))


@pytest.mark.parametrize(("detections", "opinion"), [(BREAST, 0.6), (BREAST, 0.01), (NOTHING, 0.9)])
def test_a_good_record_never_talks_away_what_was_found(detections: Detections, opinion: float) -> None:
    alone = classify(detections, opinion, policy=policy())
    with_record = classify(detections, opinion, policy=policy(), uploader=GOOD, group=GOOD)
    assert with_record.probability == pytest.approx(alone.probability)
    assert with_record.verdict == alone.verdict != "safe"
    assert with_record.contributions[-1].feature == "record_guard"
    total = math.fsum(part.log_odds for part in with_record.contributions)
    assert with_record.probability == pytest.approx(1 / (1 + math.exp(-total)))
    assert any("counts for nothing" in reason for reason in with_record.reasons)
    worse = classify(detections, opinion, policy=policy(), uploader=BAD)
    assert (worse.probability or 0) > (alone.probability or 1)


def test_a_part_found_below_where_the_fusion_counts_still_silences_a_good_record() -> None:
    lower = policy()
    lower = replace(lower, detect=replace(lower.detect, score_thresh=0.1))
    weak = found(("BUTTOCKS_EXPOSED", 0.15))
    assert classify(weak, 0.5, policy=lower, uploader=GOOD).contributions[-1].feature == "record_guard"
    assert classify(weak, 0.5, policy=policy(), uploader=GOOD).contributions[-1].feature != "record_guard"


def test_a_good_record_helps_where_nothing_was_found() -> None:
    assert classify(NOTHING, 0.79, policy=policy()).verdict == "review"
    assert classify(NOTHING, 0.79, policy=policy(), uploader=GOOD).verdict == "safe"


def test_a_bad_record_alone_says_at_most_review() -> None:
    said = classify(NOTHING, 0.001, policy=policy(), uploader=BAD, group=BAD)
    assert (said.probability or 0) > 0.8
    assert said.verdict == "review"
    assert any("a record alone says at most review" in reason for reason in said.reasons)


def test_a_certain_part_is_never_safe() -> None:
    shy = policy(intercept=-30.0)
    assert classify(found(("BUTTOCKS_EXPOSED", 0.49)), 0.5, policy=shy).verdict == "safe"
    said = classify(found(("BUTTOCKS_EXPOSED", 0.5)), 0.5, policy=shy)
    assert said.verdict == "review"
    assert "BUTTOCKS_EXPOSED at 0.50 is never safe from 0.5 up" in said.reasons


def test_a_class_without_a_weight_leaves_it_to_the_rule_table() -> None:
    features = {**FEATURES, "exposed.score": feature(0.0), "BUTTOCKS_EXPOSED.score": feature(1.0)}
    shy = policy(features=features, intercept=-30.0)
    weak = found(("MALE_GENITALIA_EXPOSED", 0.3))
    said = classify(weak, 0.5, policy=shy)
    assert said.verdict == "nsfw"
    assert "MALE_GENITALIA_EXPOSED has no weight in the fusion: the rule table says nsfw" in said.reasons
    assert classify(weak, 0.1, policy=shy).verdict == "review"
    assert classify(found(("BUTTOCKS_EXPOSED", 0.3)), 0.5, policy=shy).verdict == "safe"


def test_more_evidence_never_lowers_the_probability() -> None:
    rising = [
        classify(detections, opinion, policy=policy()).probability or 0
        for detections, opinion in [
            (NOTHING, 0.01),
            (NOTHING, 0.4),
            (found(("BUTTOCKS_EXPOSED", 0.3)), 0.4),
            (found(("BUTTOCKS_EXPOSED", 0.3), ("BUTTOCKS_EXPOSED", 0.3)), 0.4),
            (found(("BUTTOCKS_EXPOSED", 0.3), ("BUTTOCKS_EXPOSED", 0.9)), 0.99),
        ]
    ]
    assert all(a < b for a, b in pairwise(rising))


def test_a_second_opinion_that_is_needed_must_be_given() -> None:
    with pytest.raises(UsageError, match="a second opinion must be given"):
        classify(NOTHING, policy=policy())
    default = policy()
    with pytest.raises(PolicyError, match="the second opinion must be asked"):
        replace(default, verdict=replace(default.verdict, second_opinion=False))
    optional = policy(features={**FEATURES, "second_opinion.missing": feature(0.7)})
    said = {part.feature: part for part in classify(NOTHING, policy=optional).contributions}
    assert (said["second_opinion"].value, said["second_opinion"].log_odds) == (None, 0.0)
    assert (said["second_opinion.missing"].value, said["second_opinion.missing"].log_odds) == (1.0, 0.7)


@pytest.mark.parametrize("broken", [feature(0.0, 0.1, 5e-324), feature(1e300, 0.1, 1e-300), feature(1e7)])
def test_numbers_that_overflow_are_no_probability(broken: Feature) -> None:
    """NaN exceeds no bound: it would say safe."""
    lenient = policy(features={"exposed.score": broken})
    with pytest.raises(PolicyError, match=r"exposed\.score must move the log-odds by at most 1e\+06"):
        classify(BREAST, policy=lenient)


def test_evidence_is_finite() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(UsageError, match=r"exposed\.score is"):
            Evidence(parts={"exposed.score": value})
    for value in (math.nan, -0.1, 1.1):
        with pytest.raises(UsageError, match=r"a second opinion must be a number in \[0, 1\]"):
            Evidence(parts={}, second_opinion=value)


def test_a_record_that_cannot_be_weighed_is_refused() -> None:
    with pytest.raises(UsageError, match=r"only by a policy with a \[fusion\]; default@1 has none"):
        classify(NOTHING, 0.5, uploader=GOOD)
    without = policy(features={name: value for name, value in FEATURES.items() if "flagged" not in name})
    with pytest.raises(UsageError, match="only by a fusion that was fitted with records"):
        classify(NOTHING, 0.5, policy=without, group=GOOD)


def test_another_detector_or_one_that_lacks_a_class_is_refused() -> None:
    other = found(model="other")
    assert classify(other, 0.5, policy=policy()).probability
    with pytest.raises(PolicyError, match="fitted for, mine; got other; fit it again"):
        classify(other, 0.5, policy=policy(detector="mine"))
    assert classify(found(model="mine"), 0.5, policy=policy(detector="mine")).probability
    few = Detections(image_size=(9, 9), class_names=("BUTTOCKS_EXPOSED",))
    with pytest.raises(UsageError, match="a class must be one of BUTTOCKS_EXPOSED"):
        classify(few, 0.5, policy=policy())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"exposed.score": feature(-0.1)}}, "must have weight >= 0"),
        ({"features": {"exposed.score": feature(1.0, scale=0.0)}}, "scale > 0"),
        ({"features": {"exposed.score": feature(math.nan)}}, "must have finite numbers"),
        ({"features": {"exposed.scor": feature(1.0)}}, "is no feature; the nearest is exposed.score"),
        ({"features": {"second_opinion.missing": feature(1.0)}}, "must not stand without second_opinion"),
        ({"review_above": 0.9}, "review_above <= nsfw_above < 1 must hold; got 0.9 and 0.8"),
        ({"never_safe_above": 0.0}, r"never_safe_above must lie in \(0, 1\]"),
        ({"intercept": math.inf}, "the intercept must be a finite number"),
        ({"counted_from": {"BUTTOCKS": 0.2}}, "counted_from must name"),
        ({"nsfw_classes": ("BUTTOX",)}, "the nearest is"),
    ],
)
def test_a_model_that_is_not_as_it_must_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        model(**changes)


def test_a_fusion_holds_only_for_the_policy_it_was_fitted_with() -> None:
    mine = policy()
    with pytest.raises(PolicyError, match=r"the threshold must not be higher than .* 0.25, .* got 0.5"):
        replace(mine, detect=replace(mine.detect, score_thresh=0.5))
    with pytest.raises(PolicyError, match="nsfw_classes must be those of the policy's"):
        replace(mine, verdict=replace(mine.verdict, nsfw_classes=("BUTTOCKS_EXPOSED",)))
    assert set(mine.classes) == set(CLASSES)
    assert load_policy().classes == NSFW_CLASSES


def test_a_model_is_read_as_it_is_written() -> None:
    table = json.loads(json.dumps(model().to_dict()))
    assert from_table(FusionModel, table, "here") == model()
    table["features"]["exposed.score"] = {"weigth": 1.0, "mean": 0.0, "scale": 1.0}
    with pytest.raises(PolicyError, match="got 'weigth'; the nearest is weight"):
        from_table(FusionModel, table, "here")


@pytest.mark.parametrize(
    ("posted", "flagged", "message"),
    [
        ((1, 2, 3), (0, 0, 0, 0), "must be four counts"),
        ((1, 2, 3, 2), (0, 0, 0, 0), "must not fall"),
        ((1, 1, 1, 1), (0, 0, 0, 2), "must not flag more than was posted"),
        ((1, 1, 1, 1.5), (0, 0, 0, 0), "must be whole numbers"),
        ((1, 1, 1, True), (0, 0, 0, 0), "must be whole numbers"),
        ((-1, 1, 1, 1), (0, 0, 0, 0), "must be whole numbers"),
    ],
)
def test_a_record_must_add_up(posted: Any, flagged: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Record(posted=posted, flagged=flagged)


def test_a_record_from_json() -> None:
    table = {"posted": {"1": 0, "7": 2, "30": 3, "90": 4}, "flagged": {"1": 0, "7": 0, "30": 1, "90": 1}}
    assert Record.from_dict(table) == Record(posted=(0, 2, 3, 4), flagged=(0, 0, 1, 1))
    for bad in (
        None,
        {"posted": table["posted"]},
        {**table, "flaged": {}},
        {**table, "posted": {"1": 0}},
        {**table, "posted": 3},
    ):
        with pytest.raises(UsageError, match="a record must be an object with posted and flagged"):
            Record.from_dict(bad)


def test_log_odds_are_finite_at_the_ends() -> None:
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0))
    assert probability(log_odds(0.3)) == pytest.approx(0.3)
    assert (probability(1e4), probability(-1e4)) == (1.0, 0.0)
    with pytest.raises(UsageError, match=r"the evidence must hold 'exposed.score'"):
        Evidence(parts={}).value("exposed.score", 0.0)


def test_a_policy_file_without_a_fusion_says_nothing_of_one() -> None:
    said = classify(BREAST, 0.5).to_dict()
    assert (said["probability"], said["contributions"]) == (None, [])
    assert load_policy().fusion is None
