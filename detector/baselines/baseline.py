"""What the three baselines share: how a picture is read and reduced, and the face of a scorer."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.picture import Picture

__all__ = ["MAX_SIDE", "Baseline", "reduced"]

# Pixels. The papers worked on pictures of about this size; it also bounds the time for a large one.
MAX_SIDE = 400


class Baseline:
    """A rule as a scorer, to compare with, never to decide with; safe to call from several threads.

    Args:
        name: one of `detector.baselines.BASELINES`.
        rule: takes the reduced picture, (H, W, 3) uint8 RGB, and gives a score in [0, 1], above one half exactly
            where the published rule says nude.

    Attributes:
        name: as given.
        sha256: None; there are no weights.
        device: `cpu`.
    """

    def __init__(self, name: str, rule: Callable[[NDArray[np.uint8]], float]) -> None:
        self.name = name
        self.sha256: str | None = None
        self.device = "cpu"
        self._rule = rule

    def __repr__(self) -> str:
        return f"<Baseline {self.name}>"

    def score(self, images: Any) -> Any:
        """Return how far the rule is from saying nude, in [0, 1]; not a probability.

        A picture with alpha is looked at over white, over black and without its alpha; the highest score counts.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 array or a `Picture`; or a list of these.

        Returns:
            A float; a list of floats, in order, for a list.

        Raises:
            InputError: when a picture cannot be read; with a list, the whole call fails.
        """
        if isinstance(images, list | tuple):
            return [self._score_one(image) for image in images]
        return self._score_one(images)

    def _score_one(self, image: Any) -> float:
        picture = image if isinstance(image, Picture) else Picture.open(image)
        return max(float(self._rule(reduced(view))) for view in picture.views(MAX_SIDE))


def reduced(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an (H, W, 3) picture with no side above `MAX_SIDE`, in the same proportions; as it is when smaller."""
    height, width = view.shape[:2]
    longest = max(height, width)
    if longest <= MAX_SIDE:
        return view
    size = (max(round(width * MAX_SIDE / longest), 1), max(round(height * MAX_SIDE / longest), 1))
    return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
