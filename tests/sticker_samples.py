"""Stickers that tests lay over pictures."""

import numpy as np
from PIL import Image

from censor.stickers import Sticker


def grey_sticker() -> Sticker:
    """Return a grey one, for any canvas, of levels that no black, white or cell mean has; its left half is clear."""
    pixels = np.zeros((23, 31, 4), dtype=np.uint8)
    pixels[:, :, :3] = np.linspace(60, 100, 31).astype(np.uint8)[None, :, None]
    pixels[:, 12:, 3] = 255
    pixels[:, 10:12, 3] = 90
    return Sticker.of("grey", Image.fromarray(pixels))
