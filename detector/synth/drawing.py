"""Pictures as drawings: toon shading with outlines, pencil, and posters; outlines come from the geometry."""

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.nearest import nearest
from detector.synth.render import Rendered

__all__ = ["COLOURLESS", "DRAWINGS", "LUMINANCE", "draw"]

DRAWINGS = ("lines", "pencil", "poster", "toon")
# Those that leave no colour.
COLOURLESS = ("lines", "pencil")
# Of sRGB light: how bright each channel looks (ITU-R BT.709).
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

Floats = NDArray[np.float32]


def draw(shown: Floats, kind: str, rng: np.random.Generator, rendered: Rendered | None = None) -> Floats:
    """Return (H, W, 3) in [0, 1], `shown` as a drawing.

    Args:
        shown: (H, W, 3) in [0, 1], as on a screen.
        kind: one of `DRAWINGS`.
        rng: how many tones, how dark the lines, the grain of the paper.
        rendered: outlines where its depth, normals or meshes change; None: where the picture does.

    Raises:
        UsageError: for an unknown kind.
    """
    if kind not in DRAWINGS:
        raise UsageError(f"a drawing must be one of {', '.join(DRAWINGS)}; got {kind!r}{nearest(kind, DRAWINGS)}")
    lines = _outlines(shown, rendered)
    if kind == "lines":
        paper = rng.uniform(0.82, 1.0, 3)
        return np.asarray(paper * (1 - 0.9 * lines[:, :, None]), np.float32)
    if kind == "pencil":
        grey = shown @ LUMINANCE
        # Dodging by the blurred negative leaves what changes: the shading of a pencil.
        soft = cv2.GaussianBlur(1 - grey, (0, 0), max(grey.shape) / 40)
        tone = np.minimum(grey / np.maximum(1 - soft, 0.05), 1) * 0.6 + 0.4 * grey**0.5
        grain = 1 - 0.15 * rng.random(grey.shape, dtype=np.float32)
        return np.asarray(np.repeat((tone * grain * (1 - 0.7 * lines))[:, :, None], 3, axis=2), np.float32)
    levels = int(rng.integers(3, 7))
    flat = cv2.bilateralFilter(np.ascontiguousarray(shown, np.float32), 5, 0.15, 5)
    stepped = np.rint(flat * levels) / levels
    if kind == "poster":
        return np.asarray(stepped, np.float32)
    # Toon: the steps are in brightness only, colours stay.
    grey = np.maximum(flat @ LUMINANCE, 1e-3)[:, :, None]
    toon = flat * (np.rint(grey * levels).clip(1) / levels) / grey
    return np.asarray(toon.clip(0, 1) * (1 - np.float32(rng.uniform(0.6, 1)) * lines[:, :, None]), np.float32)


def _outlines(shown: Floats, rendered: Rendered | None) -> Floats:
    """Return (H, W) in [0, 1], 1 on a line."""
    if rendered is None:
        grey = cv2.GaussianBlur((shown @ LUMINANCE).astype(np.float32), (0, 0), 1)
        strength = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1)) * 2
        return np.asarray(strength.clip(0, 1), np.float32)
    kernel = np.ones((3, 3), np.uint8)
    ids = rendered.mesh.astype(np.float32)
    depth = np.where(np.isfinite(rendered.depth), rendered.depth, np.float32(100))
    edges = (cv2.dilate(ids, kernel) != cv2.erode(ids, kernel)) | (
        cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > 0.06
    )
    creases = sum(
        cv2.dilate(rendered.normal[:, :, axis], kernel) - cv2.erode(rendered.normal[:, :, axis], kernel)
        for axis in range(3)
    )
    lines = np.maximum(edges.astype(np.float32), (np.asarray(creases, np.float32) - 0.9).clip(0, 1))
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), 0.6).clip(0, 1), np.float32)
