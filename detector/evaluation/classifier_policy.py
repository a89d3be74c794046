"""A policy with a threshold that was chosen on labelled pictures: only what it means for that scorer is written."""

from detector.errors import UsageError
from detector.evaluation.binary_metrics import Cut
from detector.evaluation.thresholds import checked_policy, named_default, replace_line
from detector.policy import load_policy
from detector.scorers import OPEN_NSFW, DetectorScorer, Scorer

__all__ = ["between", "can_write_policy", "classifier_policy_text"]


def can_write_policy(scorer: Scorer) -> None:
    """Refuse a scorer that no policy has a threshold for.

    Raises:
        UsageError: for a baseline, a combination, or another classifier than open_nsfw.
    """
    if not isinstance(scorer, DetectorScorer) and scorer.name != OPEN_NSFW:
        raise UsageError(
            f"a policy has thresholds for a detector and for {OPEN_NSFW}, nothing for {scorer.name}; "
            "name one of these first"
        )


def classifier_policy_text(
    scorer: Scorer, cut: Cut | None, *, name: str, want_fpr: float | None, want_recall: float | None, source: str
) -> tuple[str, bool]:
    """Return a policy file, the default policy but for the chosen threshold, and whether what was wanted is reached.

    For a detector the threshold is `score_thresh`. For open_nsfw a wanted FPR sets `nsfw_above`: at most so many safe
    pictures are called nsfw; a wanted recall sets `safe_below`: at most the rest of the nude ones are called safe.
    Whatever was not reached, because only flagging everything or nothing would do, leaves the default's value.

    Args:
        scorer: a detector or open_nsfw.
        cut: the threshold chosen, None when there is none.
        name: of the policy.
        want_fpr: what it was chosen for, or None.
        want_recall: the same; one of the two is given.
        source: one line on what it was measured with.

    Raises:
        UsageError: for another scorer, or a name that could not stand in a file.
    """
    can_write_policy(scorer)
    wanted = f"an FPR of {want_fpr:g}" if want_fpr is not None else f"a recall of {want_recall:g}"
    body = named_default(name, f"The default policy, at a threshold of {scorer.name} for {wanted}.")
    # A score of 0 is a picture in which nothing was found: flagging from there up is no threshold.
    if cut is None or cut.score_thresh <= 0 or cut.fpr == 1:
        head = f"# {wanted} IS NOT REACHED; the thresholds are the default policy's\n"
        return checked_policy(head + body, name, source), False
    thresh = between(cut.next_score, cut.score_thresh)
    note = f"  # of whole pictures: recall {cut.recall:.3f}, FPR {cut.fpr:.3f}"
    rules = load_policy().verdict
    if isinstance(scorer, DetectorScorer):
        body = replace_line(body, "score_thresh", f"score_thresh = {thresh!r}{note}")
    elif want_fpr is not None:
        body = replace_line(body, "nsfw_above", f"nsfw_above = {thresh!r}{note}")
        if thresh < rules.safe_below:
            body = replace_line(body, "safe_below", f"safe_below = {thresh!r}  # not over nsfw_above")
    else:
        if thresh > rules.nsfw_above:
            note += f"; {thresh!r} would do, but it may not lie over nsfw_above"
        body = replace_line(body, "safe_below", f"safe_below = {min(thresh, rules.nsfw_above)!r}{note}")
    return checked_policy(body, name, source), True


def between(low: float, high: float) -> float:
    """Return the number with the fewest digits near the middle of two scores: over `low` and under `high`.

    The same pictures lie over it as at or over `high`, whether a rule takes its bound in or not.
    """
    middle = (low + high) / 2
    return next((near for digits in range(2, 17) if low < (near := round(middle, digits)) < high), middle)
