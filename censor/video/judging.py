"""The verdict on a video, and what a person should know, from what the looks found."""

from dataclasses import dataclass
from typing import Any

from censor.pipeline import Pipeline
from censor.video.looking import Looks
from detector.verdict import Verdict

__all__ = ["Judgement", "judge"]


# Decisions of a person that are named one by one; all of them are in the report.
MOST_REASONS = 3


@dataclass(frozen=True)
class Judgement:
    """What is said about a video.

    Attributes:
        verdict: by votes over time; see `censor.motion.votes`.
        cover_all: whether the whole of every frame is to be hidden.
        warnings: what a person should look at.
        votes: for the report.
    """

    verdict: Verdict
    cover_all: bool
    warnings: tuple[str, ...]
    votes: dict[str, Any]


def judge(pipeline: Pipeline, looks: Looks) -> Judgement:
    """Return the verdict on what the looks found."""
    rules = pipeline.policy
    parts, opinions = looks.votes(), looks.opinion_votes()
    verdict, reasons = parts.verdict, [parts.reason]
    if looks.stopped:
        verdict = "nsfw" if verdict == "nsfw" else "review"
        reasons.append("stopped at the first hit: the rest was not looked at")
    if opinions.looks:
        reasons.append(f"second opinion: {opinions.reason}")
        if verdict == "safe" and opinions.verdict != "safe":
            verdict = "review"
            reasons.append("detector and second opinion contradict each other")
    said_nsfw = [item for item in looks.recalled if item.match.entry.decision == "nsfw"]
    if said_nsfw:
        verdict = "nsfw"
    reasons += [f"at {item.start:.2f} s {item.match.reason}" for item in looks.recalled[:MOST_REASONS]]
    exposed = [name for name in looks.best if name in rules.policy.verdict.nsfw_classes]
    said = Verdict(
        verdict=verdict,
        score=max((looks.best[name] for name in exposed), default=0.0),
        second_opinion=max(looks.opinions, default=None),
        reasons=tuple(reasons),
        policy=rules.policy.label,
    )
    left = sorted(set(exposed) - set(rules.hide.classes))
    drawn = any(item.match.entry.boxes for item in said_nsfw)
    hides = drawn or bool(set(looks.best) & set(rules.hide.classes))
    cover_all, warnings = rules.hide.whole, []
    if verdict != "safe" and (left or not hides) and not cover_all:
        if rules.hide.fallback == "whole":
            cover_all = True
        else:
            why = f"{', '.join(left)} is not among the classes to hide" if left else "there is no region to hide"
            reasons_text = "; ".join(reasons)
            warnings.append(f"the verdict is {verdict} and {why} ({reasons_text}); --fallback whole covers it all")
    bare = [item for item in said_nsfw if not item.match.entry.boxes]
    if bare and rules.hide.fallback != "whole" and not (cover_all or warnings):
        warnings.append(
            f"{bare[0].match.reason}, at {bare[0].start:.2f} s, and nobody said what is to be hidden; --fallback whole "
            "covers what nothing was found in"
        )
    votes = {
        "looks": parts.looks,
        "found": parts.found,
        "start": parts.start,
        "end": parts.end,
        "in_window": list(parts.in_window),
    }
    return Judgement(said, cover_all, tuple(warnings), votes)
