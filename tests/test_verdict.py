import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detector import Detections, Policy, classify, load_policy
from detector.classes import CLASSES
from detector.errors import UsageError


def found(**scores: float) -> Detections:
    return Detections(
        boxes=[[0, 0, 1, 1]] * len(scores),
        scores=list(scores.values()),
        labels=[CLASSES.index(name) for name in scores],
        image_size=(9, 9),
    )


NOTHING = found()
BREAST = found(FEMALE_BREAST_EXPOSED=0.7)


@pytest.mark.parametrize(
    ("detections", "opinion", "verdict"),
    [
        (NOTHING, None, "safe"),
        (NOTHING, 0.1, "safe"),
        (NOTHING, 0.5, "safe"),
        (NOTHING, 0.9, "review"),
        (BREAST, None, "nsfw"),
        (BREAST, 0.1, "review"),
        (BREAST, 0.5, "nsfw"),
        (BREAST, 0.9, "nsfw"),
        (found(BELLY_EXPOSED=0.9, MALE_BREAST_EXPOSED=0.9), None, "safe"),
        (found(BUTTOCKS_EXPOSED=0.24), None, "safe"),
        (found(BUTTOCKS_EXPOSED=0.25), None, "nsfw"),
        (found(FEMALE_GENITALIA_EXPOSED=0.3), 0.2, "nsfw"),
        (found(MALE_GENITALIA_EXPOSED=0.3), 0.8, "nsfw"),
    ],
)
def test_rule_table(detections: Detections, opinion: float | None, verdict: str) -> None:
    assert classify(detections, opinion).verdict == verdict


def test_strict_sends_the_unsure_to_a_person() -> None:
    assert classify(NOTHING, 0.5, policy="strict").verdict == "review"
    assert classify(NOTHING, 0.1, policy="strict").verdict == "safe"


def test_reasons_name_each_class_once_at_its_best() -> None:
    detections = Detections(boxes=[[0, 0, 1, 1]] * 3, scores=[0.5, 0.8, 0.3], labels=[2, 2, 1], image_size=(9, 9))
    verdict = classify(detections, 0.05)
    assert verdict.reasons == (
        "FEMALE_BREAST_EXPOSED found at 0.80",
        "BUTTOCKS_EXPOSED found at 0.30",
        "second opinion 0.05 says safe",
        "detector and second opinion contradict each other",
    )
    assert verdict.score == pytest.approx(0.8)
    assert verdict.policy == "default@1"
    assert classify(NOTHING).reasons == ("no exposed class found",)


def test_score_is_that_of_exposed_classes_only() -> None:
    assert classify(found(BELLY_EXPOSED=0.9, BUTTOCKS_EXPOSED=0.1)).score == pytest.approx(0.1)
    assert classify(found(BELLY_EXPOSED=0.9)).score == 0


@pytest.mark.parametrize("opinion", [math.nan, math.inf, -0.1, 1.1, "0.9", [0.9]])
def test_an_opinion_that_is_no_number_is_refused(opinion: Any) -> None:
    with pytest.raises(UsageError, match=r"a second opinion must be a number in \[0, 1\]"):
        classify(NOTHING, opinion)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numpys_numbers_are_numbers(kind: Any) -> None:
    asked = classify(NOTHING, kind(1))
    assert (asked.verdict, asked.second_opinion) == ("review", 1.0)
    json.dumps(asked.to_dict())


def test_a_detector_that_cannot_find_any_of_the_classes_gives_no_verdict() -> None:
    with pytest.raises(UsageError, match=r"must know one of the policy's classes, .* it knows FACE_FEMALE"):
        classify(Detections(image_size=(9, 9), class_names=("FACE_FEMALE",)))
    assert classify(Detections(image_size=(9, 9), class_names=("FACE_FEMALE", "BUTTOCKS_EXPOSED"))).verdict == "safe"


def test_a_policy_may_be_given_whole() -> None:
    default = load_policy()
    lax = replace(default, name="lax", detect=replace(default.detect, score_thresh_by_class={"f_breast": 0.8}))
    assert isinstance(lax, Policy)
    assert classify(BREAST, policy=lax).verdict == "safe"
    assert classify(BREAST, policy=lax).policy == "lax@1"
