import pytest

from detector import Detections, Opinion, classify
from detector.errors import UsageError


def test_one_score_is_an_opinion_of_the_whole() -> None:
    opinion = Opinion(score=0.4)
    assert (opinion.decided_by, dict(opinion.views)) == ("whole", {"whole": 0.4})


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_scores_are_probabilities(score: float) -> None:
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        Opinion(score=score)
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        Opinion(score=0.5, views={"whole": 0.5, "crop 1 of 2": score})


def test_the_score_is_the_deciding_views() -> None:
    with pytest.raises(UsageError, match="deciding view"):
        Opinion(score=0.5, decided_by="without border", views={"whole": 0.5, "without border": 0.9})


def test_a_verdict_says_which_view_decided() -> None:
    opinion = Opinion(score=0.9, decided_by="without border", views={"whole": 0.3, "without border": 0.9})
    verdict = classify(Detections(image_size=(8, 8)), opinion)
    assert verdict.decided_by == "without border"
    assert "second opinion 0.90 (without border) says nsfw" in verdict.reasons
    assert classify(Detections(image_size=(8, 8)), 0.9).decided_by == "whole"
    assert classify(Detections(image_size=(8, 8))).to_dict()["decided_by"] is None
