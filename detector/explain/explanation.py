"""`Explanation`: how much each pixel of a picture matters to a score."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command's help needs the names below, and no arrays
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GRADIENT_METHODS", "METHODS", "OCCLUSION_METHODS", "Explanation"]

OCCLUSION_METHODS: tuple[str, ...] = ("occlusion", "window")
GRADIENT_METHODS: tuple[str, ...] = ("grad-cam", "guided-backprop", "deconvolution")
METHODS: tuple[str, ...] = OCCLUSION_METHODS + GRADIENT_METHODS


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A heat map and what it is of.

    Attributes:
        heat: (H, W) float32, a value for each pixel of the source picture as a viewer sees it. `occlusion`: by how
            much the score falls when the pixel is covered, the mean over the windows that cover it; below 0 where
            covering raises it. `window`: the score of what a window shows alone, the mean over the windows that show
            the pixel. `grad-cam`, `guided-backprop`, `deconvolution`: at least 0, without a unit; only to compare
            within one map.
        score: of the whole picture, in [0, 1], at the scale that was explained.
        target: the class whose score this is; "nsfw" for the model's own score.
        method: one of `METHODS`.
        model: its name.
        settings: what else the heat depends on: window and stride, in pixels of the network's frame.
    """

    heat: "NDArray[np.float32]"
    score: float
    target: str
    method: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `heat` as rows of numbers."""
        return {
            "model": self.model,
            "method": self.method,
            "target": self.target,
            "score": self.score,
            "image_size": list(self.heat.shape),
            "settings": self.settings,
            "heat": self.heat.tolist(),
        }
