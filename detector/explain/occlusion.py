"""Occlusion sensitivity in both forms: what a window scores alone, and what the picture loses when it is covered.

Not by Captum's `Occlusion`: that needs torch and a differentiable-looking forward function, covers the network's input
(behind the JPEG round trip of open_nsfw, where nothing can be covered by a person), and has only one of the two forms.
Where both can be asked they agree (`tests/test_explain_gradients.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from detector.errors import ModelError, UsageError

__all__ = ["GREY", "ScoreMany", "occlusion_map", "starts"]

# Of what is covered, in all three channels.
GREY = 128

ScoreMany = Callable[[list[NDArray[np.uint8]]], Sequence[float]]


def starts(side: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along a side, so that the first touches its start and the last its end.

    Args:
        side: length, pixels.
        window: of the window; a longer one than the side counts as the side.
        stride: from one window to the next; the last step may be shorter.
    """
    last = max(side - window, 0)
    return [*range(0, last, stride), last]


def occlusion_map(
    frame: NDArray[np.uint8],
    score: ScoreMany,
    *,
    window: int = 64,
    stride: int = 16,
    alone: bool = False,
    batch_size: int = 32,
    advance: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.float32], float]:
    """Slide a window over a picture and score each position.

    Args:
        frame: (h, w, 3) uint8 RGB at the network's scale.
        score: gives a score for each picture of a list.
        window: side of the square, pixels of `frame`.
        stride: pixels between two windows; at most `window`, so that every pixel is covered.
        alone: True greys out all but the window; False greys out the window.
        batch_size: pictures given to `score` together.
        advance: called once for each window.

    Returns:
        (h, w) float32: with `alone` the mean score of the windows that show a pixel; otherwise the mean fall of the
        score over the windows that cover it. And the score of the uncovered frame.

    Raises:
        UsageError: for a window or stride out of range.
        ModelError: when a score is no finite number.

    Source:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2014), section 4.2; the form with
        the window alone: Clarifai, What convolutional neural networks see when they see nudity (2016).
    """
    if window < 1 or not 1 <= stride <= window or batch_size < 1:
        raise UsageError(
            "a window must be at least 1 pixel, its stride from 1 to the window's side, and a batch at least 1; "
            f"got {window}, {stride} and {batch_size}"
        )
    height, width = frame.shape[:2]
    base = _finite(score([frame]))[0]
    total = np.zeros((height, width), dtype=np.float64)
    count = np.zeros((height, width), dtype=np.int64)
    corners = list(product(starts(height, window, stride), starts(width, window, stride)))
    for some in _batches(corners, batch_size):
        areas = [(slice(top, top + window), slice(left, left + window)) for top, left in some]
        scores = _finite(score([_covered(frame, area, alone) for area in areas]))
        for area, value in zip(areas, scores, strict=True):
            total[area] += value if alone else base - value
            count[area] += 1
            advance()
    return (total / count).astype(np.float32), base


def _covered(frame: NDArray[np.uint8], area: tuple[slice, slice], alone: bool) -> NDArray[np.uint8]:
    if alone:
        covered = np.full_like(frame, GREY)
        covered[area] = frame[area]
    else:
        covered = frame.copy()
        covered[area] = GREY
    return covered


def _batches(corners: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for first in range(0, len(corners), size):
        yield corners[first : first + size]


def _finite(scores: Sequence[float]) -> list[float]:
    if not np.isfinite(scores).all():
        raise ModelError(f"scores must be finite numbers; got {list(scores)}")
    return [float(score) for score in scores]
