"""The pictures that a scorer got most wrong, for a report: reduced to a few cells unless asked for otherwise."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.evaluation.worst import LONG_SIDE, jpeg_url
from detector.picture import Picture

__all__ = ["Mistake", "draw_mistake", "worst_mistakes"]

# Cells along the long side of the whole picture. A picture that is one body part has no more of them than the
# default policy leaves of a part that it hides; without boxes nothing less is safe.
CELLS = 6


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One picture on the wrong side of a threshold.

    Attributes:
        index: into the pictures.
        nude: what it is.
        score: what the scorer says.
    """

    index: int
    nude: bool
    score: float

    @property
    def note(self) -> str:
        """One line for a report."""
        return f"nude, passed with {self.score:.3f}" if self.nude else f"safe, flagged with {self.score:.3f}"


def worst_mistakes(nude: NDArray[np.bool_], scores: NDArray[np.float64], thresh: float, most: int) -> list[Mistake]:
    """Return the mistakes, those furthest from the threshold first, by their share of the way to 0 or to 1.

    Args:
        nude: (N,) what each picture is.
        scores: (N,) what is said of it.
        thresh: pictures at or above it are flagged.
        most: how many at most.
    """
    wrong = np.flatnonzero(nude != (scores >= thresh))
    far = np.where(nude, (thresh - scores) / thresh, (scores - thresh) / max(1 - thresh, 1e-9))[wrong]
    order = wrong[np.argsort(-far, kind="stable")][:most]
    return [Mistake(index=int(i), nude=bool(nude[i]), score=float(scores[i])) for i in order]


def draw_mistake(path: Path, *, show: bool) -> str:
    """Return a picture as a `data:` URL of a JPEG.

    Args:
        path: where it is.
        show: leave it as it is. Otherwise the whole of it is hidden: nobody marked where in it anything is.
    """
    image = np.asarray(Picture.open(path).load().convert("RGB"))
    scale = min(1.0, LONG_SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if show:
        return jpeg_url(cv2.resize(image, size, interpolation=cv2.INTER_AREA), path.name)
    part = CELLS / max(image.shape[:2])
    cells = (max(1, round(image.shape[1] * part)), max(1, round(image.shape[0] * part)))
    few = cv2.resize(image, cells, interpolation=cv2.INTER_AREA)
    return jpeg_url(cv2.resize(few, size, interpolation=cv2.INTER_LINEAR), path.name)
