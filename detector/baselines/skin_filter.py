"""Part of the baseline `skin_limbs`: where the colour and the texture are those of skin, as of 1996.

Lengths are for a SCALE of 1, a picture whose height and width add up to 320 pixels, and grow with it. All figures are
the published ones, as two later reimplementations quote them, except where it says "chosen": the paper itself was not
at hand. The authors' later page (texture up to 5; hue 110 to 150 at saturation 20 to 60 or 130 to 170 at 30 to 130)
is not followed: the figures for precision and recall are the paper's.

Left out: the random number of up to 1 that is added to each value against bands in dark places, since the same
picture must give the same score. And the medians are of whole numbers.

Source:
    Fleck, Forsyth, Bregler: Finding Naked People (ECCV 1996), section 3; Fleck, Forsyth: Naked People Skin Filter.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["intensity_and_opponents", "ranges", "scale_of", "skin_mask"]

LOG_GAIN = 105
EDGE = 10  # pixels around the picture that do not count for the camera's response to black
SCALE_SUM = 320

# Sides of the windows of the medians.
OPPONENT_WINDOW = 4
INTENSITY_WINDOW = 8
TEXTURE_WINDOW = 12

MAX_TEXTURE = 4.5
# (lowest hue, highest, lowest saturation, highest), hue in degrees, ends left out.
TIGHT = ((120, 160, 10, 60), (150, 180, 20, 80))
RELAXED = (110, 180, 0, 130)
# Chosen: how far the mask may grow into pixels of the relaxed range; the paper has it "adjacent".
GROWTH = 2


def scale_of(height: int, width: int) -> int:
    """Return SCALE, a whole number of at least 1."""
    return max(round((height + width) / SCALE_SUM), 1)


def intensity_and_opponents(
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return I, Rg and By, the intensity and two opponent colours of logarithms.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        Three (H, W) float32: I in [0, 253], Rg and By in [-253, 253]. What the darkest channel of the darkest pixel
        has counts for black, in all three channels.
    """
    inner = pixels[EDGE:-EDGE, EDGE:-EDGE]
    black = inner.min() if inner.size else np.uint8(0)
    logs = LOG_GAIN * np.log10(np.maximum(pixels, black).astype(np.float32) - np.float32(black) + 1)
    red, green, blue = np.moveaxis(logs, -1, 0)
    return (red + green + blue) / 3, red - green, blue - (green + red) / 2


def ranges(
    hue: NDArray[np.float32], saturation: NDArray[np.float32], texture: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where skin begins, and where it may grow to.

    Args:
        hue: degrees.
        saturation: in units of the opponent colours.
        texture: in units of I.
    """

    def within(low_hue: int, high_hue: int, low: int, high: int) -> NDArray[np.bool_]:
        return (hue > low_hue) & (hue < high_hue) & (saturation > low) & (saturation < high)

    begins = within(*TIGHT[0]) | within(*TIGHT[1])
    return begins & (texture < MAX_TEXTURE), within(*RELAXED)


def skin_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a picture, (H, W, 3) uint8 RGB, looks like skin: (H, W) bool."""
    scale = scale_of(*pixels.shape[:2])
    intensity, red_green, blue_yellow = intensity_and_opponents(pixels)
    red_green, blue_yellow = (_median(plane, OPPONENT_WINDOW * scale, 128) for plane in (red_green, blue_yellow))
    texture = np.abs(intensity - _median(intensity, INTENSITY_WINDOW * scale, 0))
    texture = _median(texture * 10, TEXTURE_WINDOW * scale, 0) / np.float32(
        10
    )  # in tenths: 4 and 5 must not be all there is
    hue = np.degrees(np.arctan2(red_green, blue_yellow))
    begins, may_grow = ranges(hue, np.hypot(red_green, blue_yellow), texture)
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask = begins.astype(np.uint8)
    for _ in range(GROWTH * scale):
        mask |= cv2.dilate(mask, ring).astype(np.uint8) & may_grow.astype(np.uint8)
    return mask.astype(bool)


def _median(plane: NDArray[np.float32], window: int, offset: int) -> NDArray[np.float32]:
    """Return the median over a square window, of values rounded and cut to 256 steps from -offset.

    No skin has an opponent colour that is cut: both ends lie beyond the highest saturation, or within 3 of it.
    """
    steps = np.clip(np.rint(plane) + offset, 0, 255).astype(np.uint8)
    return np.asarray(cv2.medianBlur(steps, window + 1), dtype=np.float32) - np.float32(offset)
