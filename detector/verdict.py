"""The verdict on a picture: `safe`, `review` or `nsfw`, with the reasons and the policy that decided.

Rules, applied in this order (`second opinion` is open_nsfw's score of the whole picture, where it was asked):

| detector, exposed class | second opinion | verdict |
|---|---|---|
| found | not asked, unsure or nsfw | nsfw |
| found | safe | review: they contradict each other |
| nothing | nsfw | review: they contradict each other |
| nothing | unsure | what the policy says: safe or review |
| nothing | not asked or safe | safe |

A policy with a `[fusion]` decides by that instead: a fitted logistic model, see `detector.fusion`. Only it weighs the
records of an uploader and a group.

A picture that could not be looked at has no verdict: that is an error, never `safe`.
"""

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from detector.detections import Detections
from detector.errors import PolicyError, UsageError
from detector.evidence import Evidence, Record, part_values
from detector.fusion import Contribution, Decision, FusionModel
from detector.opinion import WHOLE_VIEW, Opinion
from detector.policy import Policy, VerdictRules, load_policy

__all__ = ["Verdict", "classify", "opinion_band", "rule_verdict"]

# Names of detections that no model made: drawn by a person, or built in code.
_NO_MODEL = ("none", "person")


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
        probability: how likely the picture is not safe, by the policy's fusion; None without one.
        contributions: what each feature adds to the log-odds of that probability; they add up to it.
    """

    verdict: str
    score: float
    second_opinion: float | None
    decided_by: str | None = None
    reasons: tuple[str, ...]
    policy: str
    probability: float | None = None
    contributions: tuple[Contribution, ...] = ()

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
            "probability": None if self.probability is None else round(self.probability, 6),
            "contributions": [
                {
                    "feature": part.feature,
                    "value": None if part.value is None else round(part.value, 6),
                    "log_odds": round(part.log_odds, 6),
                }
                for part in self.contributions
            ],
        }


def classify(
    found: Detections,
    second_opinion: float | Opinion | None = None,
    *,
    policy: str | Path | Policy = "default",
    uploader: Record | None = None,
    group: Record | None = None,
) -> Verdict:
    """Say whether a picture is safe, from what was found in it.

    Args:
        found: what a detector found; scores below the policy's thresholds are passed over here.
        second_opinion: open_nsfw's score of the same picture in [0, 1], or its `Opinion`; None when it was not asked.
        policy: a policy, its name, or the path of its file.
        uploader: what came of the uploader's earlier pictures; None when that is not known. Only a policy with a
            `[fusion]` that was fitted with records can weigh it.
        group: the same of the group that it is posted to.

    Raises:
        UsageError: when `second_opinion` is not a number in [0, 1], is missing where the policy's fusion needs it, a
            record is given that the policy cannot weigh, or the detector knows no class that flags a picture.
        PolicyError: when the policy is not understood, or its fusion was fitted for another detector.

    Example:
        >>> from detector import Detections, classify
        >>> classify(Detections(image_size=(480, 640))).verdict
        'safe'
    """
    policy = load_policy(policy)
    rules = policy.verdict
    asked = _asked(second_opinion)
    if not set(rules.nsfw_classes) & set(found.class_names):
        raise UsageError(
            f"the detector must know one of the policy's classes, {', '.join(rules.nsfw_classes)}; it knows "
            f"{', '.join(found.class_names)}: that it found none of them says nothing"
        )
    # A model without one of these classes cannot find it; what it can find still counts.
    exposed = found.select([name in rules.nsfw_classes for name in found.names])
    hits = exposed.above(policy.detect.thresholds(rules.nsfw_classes))
    score = float(exposed.scores[0]) if len(exposed) else 0.0

    best = {name: float(s) for name, s in zip(reversed(hits.names), hits.scores[::-1], strict=True)}
    reasons = [f"{name} found at {best[name]:.2f}" for name in dict.fromkeys(hits.names)]
    reasons = reasons or ["no exposed class found"]
    opinion = opinion_band(asked.score if asked else None, rules)
    if asked is not None:
        view = "" if asked.decided_by == WHOLE_VIEW else f" ({asked.decided_by})"
        reasons.append(f"second opinion {asked.score:.2f}{view} says {opinion}")

    ruled = rule_verdict(bool(len(hits)), opinion, rules)
    if (len(hits) and opinion == "safe") or (not len(hits) and opinion == "nsfw"):
        reasons.append("detector and second opinion contradict each other")
    decision: Decision | None = None
    if policy.fusion is not None:
        evidence = Evidence(
            parts=_parts(found, policy.fusion),
            second_opinion=asked.score if asked else None,
            uploader=uploader,
            group=group,
        )
        decision = policy.fusion.decide(evidence, best, alarmed=opinion == "nsfw", ruled=ruled)
    elif uploader is not None or group is not None:
        raise UsageError(f"a record can be weighed only by a policy with a [fusion]; {policy.label} has none")
    return Verdict(
        verdict=decision.verdict if decision else ruled,
        score=score,
        second_opinion=asked.score if asked else None,
        decided_by=asked.decided_by if asked else None,
        reasons=(*reasons, *decision.reasons) if decision else tuple(reasons),
        policy=policy.label,
        probability=decision.probability if decision else None,
        contributions=decision.contributions if decision else (),
    )


def rule_verdict(found: bool, opinion: str, rules: VerdictRules) -> str:
    """Return the rule table's verdict.

    Args:
        found: whether an exposed class was found at or above its threshold.
        opinion: what the second opinion says: `safe`, `unsure`, `nsfw` or `not asked`.
        rules: say what `unsure` means when nothing was found.
    """
    if found:
        return "review" if opinion == "safe" else "nsfw"
    if opinion == "unsure":
        return rules.unsure
    return "review" if opinion == "nsfw" else "safe"


def opinion_band(score: float | None, rules: VerdictRules) -> str:
    """Name what a second opinion says; the bounds themselves are unsure, and None is `not asked`."""
    if score is None:
        return "not asked"
    if score < rules.safe_below:
        return "safe"
    return "nsfw" if score > rules.nsfw_above else "unsure"


def _asked(second_opinion: object) -> Opinion | None:
    """Take NumPy's numbers for numbers, and nothing else for an opinion."""
    if second_opinion is None or isinstance(second_opinion, Opinion):
        return second_opinion
    if not isinstance(second_opinion, Real):
        raise UsageError(f"a second opinion must be a number in [0, 1], an Opinion or None; got {second_opinion!r}")
    return Opinion(score=float(second_opinion))


def _parts(found: Detections, fusion: FusionModel) -> dict[str, float]:
    if fusion.detector and found.model not in (*_NO_MODEL, fusion.detector):
        raise PolicyError(
            f"a policy's [fusion] must be used with the detector it was fitted for, {fusion.detector}; "
            f"got {found.model}; fit it again"
        )
    return part_values(found, fusion.nsfw_classes, fusion.counted_from)
