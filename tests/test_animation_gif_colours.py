"""The palette of a written GIF: shared by what is seen and what hides."""

import numpy as np
import pytest
from PIL import Image

from censor.animation.gif_write import indexed


@pytest.mark.parametrize("room_left", [0, 1, 3])
def test_what_hides_is_never_the_nearest_of_the_other_colours(room_left: int) -> None:
    """Where the visible colours fill the palette, all share it: a black box must not come out as a light grey."""
    pixels = np.zeros((40, 64, 3), np.uint8)
    bright = np.random.default_rng(0).integers(120, 256, (256 - room_left, 3), dtype=np.uint8)
    pixels[20:] = np.resize(bright, (20 * 64, 3)).reshape(20, 64, 3)
    pixels[:20] = np.repeat(np.arange(0, 80, 4, dtype=np.uint8), 64).reshape(20, 64, 1)
    hidden = Image.new("L", (64, 40))
    hidden.paste(255, (0, 0, 64, 20))
    after = np.asarray(indexed(Image.fromarray(pixels), None, hidden).convert("RGB")).astype(int)
    assert np.abs(after[:20] - pixels[:20]).max() < 12
    assert np.abs(after[20:] - pixels[20:]).mean() < 6
