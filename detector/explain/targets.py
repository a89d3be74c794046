"""What is explained of a scorer: its own score or that of one class, and the frame in which it looks at a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.classes import canonical_classes
from detector.errors import UsageError
from detector.explain.occlusion import ScoreMany
from detector.nearest import nearest
from detector.scorers import LOWEST_SCORE, OPEN_NSFW, DetectorScorer, Scorer

__all__ = ["OWN_SCORE", "class_index", "frame_size", "score_of"]

# The name of a scorer's own score, as a target.
OWN_SCORE = "nsfw"

# Long side of the frame: of NudeNet's network, and for scorers without one of their own.
NUDENET_SIDE, PLAIN_SIDE = 320, 256
# Yahoo squashes every picture to this before its middle is taken.
OPEN_NSFW_SIDE = 256
# A longer frame would hold thousands of windows that lie outside of the square that a classifier sees.
MAX_ASPECT = 4


def class_index(target: str, names: Sequence[str]) -> int:
    """Return where a class stands among `names`; case does not matter.

    Raises:
        UsageError: when it is not there; the message names the nearest.
    """
    lower = [name.lower() for name in names]
    if target.lower() not in lower:
        raise UsageError(f"a target must be one of {', '.join(names)}; got {target!r}{nearest(target, names)}")
    return lower.index(target.lower())


def score_of(scorer: Scorer, target: str | None) -> tuple[ScoreMany, str]:
    """Return what gives the explained score for a list of arrays, and the target's name.

    Args:
        scorer: any.
        target: a class of a detector or a classifier; None for the scorer's own score.

    Raises:
        UsageError: for an unknown class, or a class of a scorer that has none.
    """
    if target is None or target.lower() == OWN_SCORE:
        return scorer.score, OWN_SCORE
    if isinstance(scorer, DetectorScorer):
        model = scorer.model
        names = canonical_classes([target], model.class_names)

        def highest(images: list[NDArray[np.uint8]]) -> list[float]:
            found = model.detect(images, classes=names, score_thresh=LOWEST_SCORE)
            return [float(each.scores.max()) if len(each) else 0.0 for each in found]

        return highest, names[0]
    of_class: Any = scorer
    if hasattr(scorer, "class_names"):
        index = class_index(target, of_class.class_names)
        return lambda images: [float(row[index]) for row in of_class.probabilities(images)], of_class.class_names[index]
    raise UsageError(f"{scorer.name} has one score and no classes, so its target must be {OWN_SCORE}; got {target!r}")


def frame_size(scorer: Scorer, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) to which a picture is brought before windows slide over it.

    Close to the scale at which the scorer's network looks, so that a window is as large for every picture.

    Args:
        scorer: any.
        image_size: (height, width) of the picture.
    """
    config = getattr(scorer, "config", None)
    preprocessing = getattr(config, "preprocessing", None)
    if scorer.name == OPEN_NSFW:
        return OPEN_NSFW_SIDE, OPEN_NSFW_SIDE
    if config is not None and preprocessing is not None:
        if preprocessing.fit == "squash":
            return config.input_size, config.input_size
        return _scaled(image_size, config.resize / min(image_size), config.resize * MAX_ASPECT)
    side = PLAIN_SIDE
    if isinstance(scorer, DetectorScorer):
        info = getattr(scorer.model, "info", None)
        side = NUDENET_SIDE if info is None else info.config.preprocessing.long_side
    return _scaled(image_size, side / max(image_size), side)


def _scaled(image_size: tuple[int, int], scale: float, most: int) -> tuple[int, int]:
    height, width = (min(most, max(1, round(side * scale))) for side in image_size)
    return height, width
