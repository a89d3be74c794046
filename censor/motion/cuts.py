"""`CutFinder`: where one scene ends and the next begins, from one small picture a frame.

A cut that is not noticed costs nothing: what was hidden stays hidden a little longer. One that is seen where there is
none could uncover a part, so only a change of nearly the whole picture counts, and that stands out from its time.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["THUMBNAIL", "CutFinder"]

# (width, height) of the small pictures: a few hundred pixels are blind to what moves within a scene.
THUMBNAIL = (32, 18)
# Mean change of a colour value, 0..255, between two frames; within a scene it seldom is above 10.
LEAST_CHANGE = 36.0
# A cut changes the picture so many times as much as the frames before it did; shaking and flicker do not.
STANDS_OUT = 4.0
# And this share of the pixels by at least `LEAST_CHANGE`; a flash light or a thing close by leaves some as they were.
CHANGED_SHARE = 0.5
# How fast the usual change follows the newest.
FOLLOWS = 0.2


class CutFinder:
    """Says of each frame whether a new scene begins with it; frames are given in order."""

    def __init__(self) -> None:
        self._before: NDArray[np.int16] | None = None
        self._usual: float | None = None  # not known before the second frame

    def is_cut(self, thumbnail: NDArray[np.uint8]) -> bool:
        """Take the next frame's small picture, (h, w, 3) uint8 of the same size each time."""
        now = np.asarray(thumbnail, dtype=np.int16)
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            return False
        change = np.abs(now - before).mean(axis=2)
        mean = float(change.mean())
        if self._usual is None:
            self._usual = mean
            return False
        cut = (
            mean >= LEAST_CHANGE
            and mean >= STANDS_OUT * self._usual
            and float((change >= LEAST_CHANGE).mean()) >= CHANGED_SHARE
        )
        if not cut:
            self._usual += FOLLOWS * (mean - self._usual)
        return cut
