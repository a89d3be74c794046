"""Recall a person's earlier decision about the picture at hand, and what of it is to be hidden."""

from typing import Any

import numpy as np

from detector.detections import Detections
from detector.known import KNOWN_LABELS, KnownList, Match, recalled
from detector.pdq import VIEW_SIDE, Pdq, pdq_of
from detector.pixels import Pixels
from detector.policy import Policy

__all__ = ["drawn_boxes", "drawn_records", "hash_and_recall"]


def hash_and_recall(pixels: Pixels, known: KnownList | None, policy: Policy) -> tuple[Pdq, Match | None]:
    """Return the picture's perceptual hash, and the decision about a near copy of it, if there is one.

    Raises:
        InputError: when the picture cannot be decoded.
    """
    pdq = pdq_of(pixels.for_detector().views(VIEW_SIDE)[0])
    match = known.find(pdq) if known is not None else None
    return pdq, recalled(match, policy) if match is not None else None


def drawn_boxes(match: Match | None, image_size: tuple[int, int]) -> Detections:
    """Return what the earlier decision hides, in pixels of the picture at hand; nothing without a match."""
    height, width = image_size
    entries = match.entry.boxes if match is not None else ()
    return Detections.from_records(
        [
            {"label": label, "box": np.array(box) * [width, height, width, height], "score": 1.0}
            for label, box in entries
        ],
        image_size,
        class_names=KNOWN_LABELS,
        model="person",
    )


def drawn_records(drawn: Detections) -> list[dict[str, Any]]:
    """Return them as a report lists them, told apart from what a detector found."""
    return [{**record, "hide": True, "by": "known"} for record in drawn.to_records()]
