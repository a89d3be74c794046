"""The verdict on a picture: `safe`, `review` or `nsfw`, with the reasons and the policy that decided.

Rules, applied in this order (`second opinion` is open_nsfw's score of the whole picture, where it was asked):

| detector, exposed class | second opinion | verdict |
|---|---|---|
| found | not asked, unsure or nsfw | nsfw |
| found | safe | review: they contradict each other |
| nothing | nsfw | review: they contradict each other |
| nothing | unsure | what the policy says: safe or review |
| nothing | not asked or safe | safe |

A picture that could not be looked at has no verdict: that is an error, never `safe`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.detections import Detections
from detector.opinion import WHOLE_VIEW, Opinion
from detector.policy import Policy, load_policy

__all__ = ["Verdict", "classify"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said about one picture.

    Attributes:
        verdict: `safe`, `review` or `nsfw`.
        score: the highest score of an exposed class that the detector reported, 0 when there is none.
        second_opinion: open_nsfw's score in [0, 1], or None when it was not asked.
        decided_by: the view of the picture that this score is of, or None.
        reasons: one sentence each, in the order in which they counted.
        policy: `name@version` of the policy that decided.
    """

    verdict: str
    score: float
    second_opinion: float | None
    decided_by: str | None = None
    reasons: tuple[str, ...]
    policy: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        opinion = None if self.second_opinion is None else round(self.second_opinion, 6)
        return {
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "second_opinion": opinion,
            "decided_by": self.decided_by,
            "reasons": list(self.reasons),
            "policy": self.policy,
        }


def classify(
    found: Detections, second_opinion: float | Opinion | None = None, *, policy: str | Path | Policy = "default"
) -> Verdict:
    """Say whether a picture is safe, from what was found in it.

    Args:
        found: what a detector found; scores below the policy's thresholds are passed over here.
        second_opinion: open_nsfw's score of the same picture in [0, 1], or its `Opinion`; None when it was not asked.
        policy: a policy, its name, or the path of its file.

    Raises:
        UsageError: when `second_opinion` is not a number in [0, 1].
        PolicyError: when the policy is not understood.

    Example:
        >>> from detector import Detections, classify
        >>> classify(Detections(image_size=(480, 640))).verdict
        'safe'
    """
    policy = load_policy(policy)
    rules = policy.verdict
    asked = Opinion(score=second_opinion) if isinstance(second_opinion, float | int) else second_opinion
    # A model without one of these classes cannot find it; what it can find still counts.
    exposed = found.select([name in rules.nsfw_classes for name in found.names])
    hits = exposed.above(policy.detect.thresholds(rules.nsfw_classes))
    score = float(exposed.scores[0]) if len(exposed) else 0.0

    best = {name: float(s) for name, s in zip(reversed(hits.names), hits.scores[::-1], strict=True)}
    reasons = [f"{name} found at {best[name]:.2f}" for name in dict.fromkeys(hits.names)]
    reasons = reasons or ["no exposed class found"]
    opinion = "not asked"
    if asked is not None:
        opinion = _band(asked.score, rules.safe_below, rules.nsfw_above)
        view = "" if asked.decided_by == WHOLE_VIEW else f" ({asked.decided_by})"
        reasons.append(f"second opinion {asked.score:.2f}{view} says {opinion}")

    if len(hits):
        verdict = "review" if opinion == "safe" else "nsfw"
    elif opinion == "unsure":
        verdict = rules.unsure
    else:
        verdict = "review" if opinion == "nsfw" else "safe"
    if (len(hits) and opinion == "safe") or (not len(hits) and opinion == "nsfw"):
        reasons.append("detector and second opinion contradict each other")
    return Verdict(
        verdict=verdict,
        score=score,
        second_opinion=asked.score if asked else None,
        decided_by=asked.decided_by if asked else None,
        reasons=tuple(reasons),
        policy=policy.label,
    )


def _band(score: float, safe_below: float, nsfw_above: float) -> str:
    """Name the band that a second opinion lies in; the bounds themselves are unsure."""
    if score < safe_below:
        return "safe"
    return "nsfw" if score > nsfw_above else "unsure"
