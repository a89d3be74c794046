"""The heat map over the picture, with a scale; parts that were found are hidden, in the heat too."""

import io
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detector.explain.explanation import Explanation

__all__ = ["colours", "hide", "overlay_png"]

Array = TypeVar("Array", bound=NDArray[Any])

# Eleven steps of a scale from dark blue to yellow whose lightness rises evenly, so that it reads the same in grey and
# for every kind of colour blindness.
_STEPS = np.array(
    [
        (0, 32, 77),
        (0, 48, 111),
        (42, 63, 108),
        (72, 78, 107),
        (97, 93, 110),
        (120, 109, 117),
        (145, 126, 116),
        (170, 143, 109),
        (196, 162, 99),
        (224, 183, 83),
        (255, 233, 69),
    ],
    dtype=np.float64,
)

# The picture is greyed, and shows through by this share.
PICTURE_SHARE = 0.45
# Colours that the heat is drawn with.
TABLE = 256
# Maps without averaging are drawn up to this percentile, which the legend says.
FINE, FINE_TOP = ("guided-backprop", "deconvolution"), 99.5
LEGEND_HEIGHT, BAR_HEIGHT, MARGIN, MIN_WIDTH, LEGEND_WIDTH = 56, 12, 8, 360, 450


def colours(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return (..., 3) RGB in [0, 255] for values in [0, 1]; what lies outside takes the nearest end."""
    places = np.linspace(0, 1, len(_STEPS))
    return np.stack([np.interp(values, places, _STEPS[:, channel]) for channel in range(3)], axis=-1)


def hide(array: Array, boxes: NDArray[Any]) -> Array:
    """Return a picture or a heat map with each box replaced by a few cells of its mean; (N, 4) xyxy, source pixels."""
    from detector.evaluation.worst import hide_regions

    hidden: Any = hide_regions(array, boxes.astype(np.float64).reshape(-1, 4))
    return hidden  # type: ignore[no-any-return]


def overlay_png(image: NDArray[np.uint8], explanation: Explanation, boxes: NDArray[Any] | None) -> bytes:
    """Draw the heat over the picture, and a legend below.

    Args:
        image: (H, W, 3) uint8 RGB, of the explanation's picture.
        explanation: of it.
        boxes: (N, 4) xyxy in source pixels, hidden in the picture and in the heat: a fine map draws the outlines of
            what it lies over. None hides nothing.

    Returns:
        A PNG file, without metadata; the picture at its own size, on a wider sheet where it is narrow.
    """
    heat = explanation.heat
    if boxes is not None:
        image, heat = hide(image, boxes), hide(heat, boxes)
    # A few pixels at the edge of the network's padding would else leave a fine map dark.
    fine = explanation.method in FINE
    low, high = min(0.0, float(heat.min())), float(np.percentile(heat, FINE_TOP) if fine else heat.max())
    span = high - low or 1.0
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    table = colours(np.linspace(0, 1, TABLE)).astype(np.float32)
    steps = np.clip(np.rint((heat - low) * ((TABLE - 1) / span)), 0, TABLE - 1).astype(np.intp)
    mixed = PICTURE_SHARE * grey[:, :, None] + (1 - PICTURE_SHARE) * table[steps]
    height, width = heat.shape
    # As large for the eye on a large picture.
    scale = max(1, width // LEGEND_WIDTH)
    sheet = Image.new("RGB", (max(width, MIN_WIDTH), height + scale * LEGEND_HEIGHT), "white")
    sheet.paste(Image.fromarray(np.rint(mixed).astype(np.uint8)), (0, 0))
    _legend(sheet, explanation, height, scale, (low, low + span), ">= " if fine else "")
    with io.BytesIO() as file:
        sheet.save(file, format="PNG")
        return file.getvalue()


def _legend(
    sheet: Image.Image, explanation: Explanation, top: int, scale: int, ends: tuple[float, float], over: str
) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10 * scale)
    title = f"{explanation.model}  {explanation.method}  {explanation.target}  score {explanation.score:.3f}"
    draw.text((MARGIN, top + 4 * scale), title.encode("ascii", "replace").decode(), fill="black", font=font)
    length = sheet.width - 2 * MARGIN
    bar = np.tile(colours(np.linspace(0, 1, length)), (scale * BAR_HEIGHT, 1, 1))
    sheet.paste(Image.fromarray(np.rint(bar).astype(np.uint8)), (MARGIN, top + 20 * scale))
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        value = ends[0] + share * (ends[1] - ends[0])
        draw.text(
            (MARGIN + share * length, top + 36 * scale),
            f"{over if share == 1 else ''}{value:.3g}",
            fill="black",
            font=font,
            anchor=anchor,
        )
