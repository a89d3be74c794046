"""Score labelled pictures, and take the time that it needs."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.cliparts import failure_text
from detector.errors import InputError, ModelError
from detector.evaluation.labelled import Labelled, LabelledPicture
from detector.evaluation.measure import BATCH_CPU, BATCH_GPU
from detector.parallel import map_in_order
from detector.picture import Picture
from detector.scorers import Scorer

__all__ = ["Scored", "score_all"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a scorer says of every picture.

    Attributes:
        scores: (N,) in [0, 1], in the pictures' order; NaN where it could not look.
        errors: by index into the pictures, one line each.
        seconds: for all pictures, reading and decoding included, loading the model and one picture to warm up not.
    """

    scores: NDArray[np.float64]
    errors: Mapping[int, str]
    seconds: float


def score_all(
    scorer: Scorer, labelled: Labelled, *, workers: int = 1, advance: Callable[[], None] = lambda: None
) -> Scored:
    """Score every picture; one that cannot be read is an error of its own and stops nothing.

    Args:
        scorer: any.
        labelled: the pictures.
        workers: pictures (on a GPU batches of them) worked on at a time.
        advance: called once a picture, in this thread.

    Raises:
        ModelError: when a score is no number in [0, 1].
    """
    pictures = list(enumerate(labelled.pictures))
    size = BATCH_CPU if scorer.device == "cpu" else BATCH_GPU
    batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]

    def look(batch: Sequence[tuple[int, LabelledPicture]]) -> list[float | str]:
        return _scores(scorer, [picture for _, picture in batch])

    look(pictures[:1])
    scores = np.full(len(pictures), np.nan)
    errors: dict[int, str] = {}
    start = time.perf_counter()
    for batch, result in map_in_order(look, batches, workers):
        if isinstance(result, Exception):
            raise result
        for (index, _), found in zip(batch, result, strict=True):
            if isinstance(found, str):
                errors[index] = found
            else:
                scores[index] = found
            advance()
    return Scored(scores=scores, errors=errors, seconds=time.perf_counter() - start)


def _scores(scorer: Scorer, pictures: Sequence[LabelledPicture]) -> list[float | str]:
    """Return the score, or the error, of each; only when a batch fails is each of its pictures looked at alone."""
    try:
        scores = scorer.score([Picture.open(picture.path, name=picture.name) for picture in pictures])
    except InputError as error:
        if len(pictures) == 1:
            reason = str(error).removeprefix(f"{pictures[0].path}: ")
            return [failure_text(pictures[0].name, InputError(reason))]
        return [found for picture in pictures for found in _scores(scorer, [picture])]
    for score in scores:
        if not (math.isfinite(score) and 0 <= score <= 1):
            raise ModelError(f"{scorer.name}: scores must lie in [0, 1]; got {score}")
    return [float(score) for score in scores]
