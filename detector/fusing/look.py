"""Look at the pictures of a labelled CSV: the evidence that a fusion is fitted to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from detector.detections import Detections
from detector.errors import InputError
from detector.evidence import Evidence, counted_classes, part_values
from detector.fusing.samples import Samples, with_evidence
from detector.limits import Limits
from detector.parallel import map_in_order
from detector.picture import Picture
from detector.pixels import Pixels
from detector.policy import Policy

__all__ = ["Opinionated", "evidence_of", "evidence_of_batch", "look_at_samples"]


class Opinionated(Protocol):
    """A whole-picture classifier, as far as it is needed here."""

    def look(self, images: Any) -> Any:
        """Return the `Opinion` of one picture."""
        ...


def evidence_of(picture: Picture, model: Any, opinion: Opinionated | None, policy: Policy) -> Evidence:
    """Look at one picture as `detector classify` does, and return what is known of it, without records.

    Raises:
        InputError: when it cannot be decoded.
    """
    with Pixels(picture) as pixels:
        found = model.detect(pixels.for_detector() if opinion else picture, **_wanted(policy))
        score = opinion.look(pixels.for_opinion()).score if opinion else None
    return _evidence(found, score, policy)


def evidence_of_batch(
    pictures: Sequence[Picture], model: Any, opinion: Opinionated | None, policy: Policy
) -> list[Evidence]:
    """Return the same of several pictures, that each model looks at together."""
    found = model.detect(list(pictures), **_wanted(policy))
    scores = [asked.score for asked in opinion.look(list(pictures))] if opinion else [None] * len(pictures)
    return [_evidence(parts, score, policy) for parts, score in zip(found, scores, strict=True)]


def _counted_from(policy: Policy) -> dict[str, float]:
    if policy.fusion is not None:
        return policy.fusion.counted_from
    return policy.detect.thresholds(counted_classes(policy.verdict.nsfw_classes))


def _wanted(policy: Policy) -> dict[str, Any]:
    thresholds = _counted_from(policy)
    return {"classes": tuple(thresholds), "score_thresh": thresholds, "tiles": policy.detect.tiles}


def _evidence(found: Detections, score: float | None, policy: Policy) -> Evidence:
    parts = part_values(found, policy.verdict.nsfw_classes, _counted_from(policy))
    return Evidence(parts=parts, second_opinion=score)


def look_at_samples(
    samples: Samples,
    folder: Path,
    model: Any,
    opinion: Opinionated | None,
    policy: Policy,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    failed: Callable[[str, Exception], None] = lambda file, error: None,
    advance: Callable[[], None] = lambda: None,
) -> Samples:
    """Return the samples with what was found in their pictures.

    Args:
        samples: with files, relative to `folder`.
        folder: that of the CSV.
        model: a detector.
        opinion: the whole-picture classifier; None leaves it out of the fit.
        policy: its thresholds, classes and tiles hold.
        workers: pictures looked at side by side.
        limits: bytes, pixels and sides that are accepted.
        failed: told of each picture that cannot be looked at.
        advance: called after each picture.

    Raises:
        InputError: after all pictures, when one of them could not be looked at: a fit without it would be to other
            pictures than the file says.
    """

    def run(file: str) -> Evidence:
        return evidence_of(Picture.open(folder / file, limits=limits, name=file), model, opinion, policy)

    seen, errors = [], 0
    for file, result in map_in_order(run, [item.file for item in samples.items], workers):
        if isinstance(result, Exception):
            failed(file, result)
            errors += 1
        else:
            seen.append(result)
        advance()
    if errors:
        raise InputError(
            f"every picture of {samples.source} must be readable; {errors} of {len(samples.items)} were not; "
            "mend them or take their lines out"
        )
    return with_evidence(samples, seen, model.name)
