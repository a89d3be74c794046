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

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.detections import Detections
from detector.errors import UsageError
from detector.policy import Policy, load_policy

__all__ = ["Verdict", "classify"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said about one picture.

    Attributes:
        verdict: `safe`, `review` or `nsfw`.
        score: the highest score of an exposed class that the detector reported, 0 when there is none.
        second_opinion: open_nsfw's score in [0, 1], or None when it was not asked.
        reasons: one sentence each, in the order in which they counted.
        policy: `name@version` of the policy that decided.
    """

    verdict: str
    score: float
    second_opinion: float | None
    reasons: tuple[str, ...]
    policy: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        opinion = None if self.second_opinion is None else round(self.second_opinion, 6)
        return {
            "verdict": self.verdict,
            "score": round(self.score, 6),
            "second_opinion": opinion,
            "reasons": list(self.reasons),
            "policy": self.policy,
        }


def classify(
    found: Detections, second_opinion: float | None = None, *, policy: str | Path | Policy = "default"
) -> Verdict:
    """Say whether a picture is safe, from what was found in it.

    Args:
        found: what a detector found; scores below the policy's thresholds are passed over here.
        second_opinion: open_nsfw's score of the same picture in [0, 1]; None when it was not asked.
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
    if second_opinion is not None and not (math.isfinite(second_opinion) and 0 <= second_opinion <= 1):
        raise UsageError(f"a second opinion must be a number in [0, 1]; got {second_opinion}")
    # A model without one of these classes cannot find it; what it can find still counts.
    exposed = found.select([name in rules.nsfw_classes for name in found.names])
    hits = exposed.above(policy.detect.thresholds(rules.nsfw_classes))
    score = float(exposed.scores[0]) if len(exposed) else 0.0

    best = {name: float(s) for name, s in zip(reversed(hits.names), hits.scores[::-1], strict=True)}
    reasons = [f"{name} found at {best[name]:.2f}" for name in dict.fromkeys(hits.names)]
    reasons = reasons or ["no exposed class found"]
    opinion = _opinion(second_opinion, rules.safe_below, rules.nsfw_above)
    if opinion != "not asked":
        reasons.append(f"second opinion {second_opinion:.2f} says {opinion}")

    if len(hits):
        verdict = "review" if opinion == "safe" else "nsfw"
    elif opinion == "unsure":
        verdict = rules.unsure
    else:
        verdict = "review" if opinion == "nsfw" else "safe"
    if (len(hits) and opinion == "safe") or (not len(hits) and opinion == "nsfw"):
        reasons.append("detector and second opinion contradict each other")
    return Verdict(
        verdict=verdict, score=score, second_opinion=second_opinion, reasons=tuple(reasons), policy=policy.label
    )


def _opinion(score: float | None, safe_below: float, nsfw_above: float) -> str:
    """Name the band that a second opinion lies in; the bounds themselves are unsure."""
    if score is None:
        return "not asked"
    if score < safe_below:
        return "safe"
    return "nsfw" if score > nsfw_above else "unsure"
