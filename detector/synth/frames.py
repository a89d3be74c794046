"""What surrounds a picture on a page or a screen, and the affine that its boxes follow."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.nearest import nearest

__all__ = ["FRAMES", "Placement", "framed", "rescaled"]

FRAMES = ("border", "caption", "letterbox", "screenshot")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Placement:
    """Where the content of a picture lies in its frame: x' = scale_x x + left, y' = scale_y y + top, in pixels.

    The frame of reference has pixel edges at whole numbers: column j covers x from j to j + 1.
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def boxes(self, boxes: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (N, 4) xyxy boxes of the finished picture, from (N, 4) of the content."""
        scale = np.array([self.scale_x, self.scale_y, self.scale_x, self.scale_y])
        moved = np.asarray(boxes, dtype=np.float64) * scale + (self.left, self.top, self.left, self.top)
        return np.asarray(moved, dtype=np.float64)


def framed(shown: Floats, kind: str, rng: np.random.Generator) -> tuple[Floats, Placement]:
    """Return (H, W, 3) of the same size with the picture made smaller inside a frame, and where it lies.

    Raises:
        UsageError: for a kind that is not in `FRAMES`.
    """
    if kind not in FRAMES:
        raise UsageError(f"a frame must be one of {', '.join(FRAMES)}; got {kind!r}{nearest(kind, FRAMES)}")
    height, width = shown.shape[:2]
    colour = rng.choice([0.0, 0.06, 0.5, 0.95, 1.0]) + rng.normal(0, 0.02, 3)
    canvas = np.broadcast_to(colour.clip(0, 1).astype(np.float32), shown.shape).copy()
    if kind == "border":
        left, top, right, bottom = rng.uniform(0.01, 0.12, 4)
    elif kind == "letterbox":
        bar = rng.uniform(0.04, 0.2)
        left, top, right, bottom = (0.0, bar, 0.0, bar) if rng.random() < 0.6 else (bar, 0.0, bar, 0.0)
    elif kind == "screenshot":
        left, top, right, bottom = (
            rng.uniform(0, 0.15),
            rng.uniform(0.05, 0.15),
            rng.uniform(0, 0.15),
            rng.uniform(0, 0.12),
        )
    else:
        left, top, right, bottom = (
            0.0,
            *((0.0, 0.0, rng.uniform(0.08, 0.2)) if rng.random() < 0.5 else (0.14, 0.0, 0.0)),
        )
    x0, y0 = round(left * width), round(top * height)
    x1, y1 = max(x0 + 1, width - round(right * width)), max(y0 + 1, height - round(bottom * height))
    if kind in ("screenshot", "caption"):
        canvas = _write_on(canvas, (x0, y0, x1, y1), rng)
    size = (x1 - x0, y1 - y0)
    canvas[y0:y1, x0:x1] = cv2.resize(shown, size, interpolation=cv2.INTER_AREA)
    return canvas, Placement(size[0] / width, size[1] / height, float(x0), float(y0))


def rescaled(shown: Floats, factor: float) -> Floats:
    """Return the picture made `factor` times smaller and large again; its content stays put."""
    height, width = shown.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    reduced = cv2.resize(shown, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _write_on(canvas: Floats, content: tuple[int, int, int, int], rng: np.random.Generator) -> Floats:
    """Put lines of letters and buttons into the frame around `content`."""
    height, width = canvas.shape[:2]
    ink = np.zeros((height, width), np.uint8)
    _, y0, _, y1 = content
    for top, bottom in ((0, y0), (y1, height)):
        if bottom - top < 6:
            continue
        y = top + (bottom - top) * 2 // 3
        text = "".join(chr(int(c)) for c in rng.integers(48, 123, 24))
        cv2.putText(ink, text, (width // 20, y), cv2.FONT_HERSHEY_SIMPLEX, (bottom - top) / 60, 255, 1, cv2.LINE_AA)
        cv2.circle(ink, (width - width // 12, (top + bottom) // 2), (bottom - top) // 4, 160, -1, cv2.LINE_AA)
    share = ink.astype(np.float32)[:, :, None] / 255
    contrast = np.float32(0.1 if canvas.mean() > 0.5 else 0.9)
    return np.asarray(canvas + share * (contrast - canvas), np.float32)
