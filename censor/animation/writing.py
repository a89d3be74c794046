"""Write an animation in any of the formats, and keep of each frame what it takes to recognise it when read back."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.animation.avif_write import write_avif
from censor.animation.gif_write import write_gif
from censor.animation.plan import Plan, fitted
from censor.animation.png_write import write_png
from censor.animation.webp_write import write_webp
from detector.errors import OutputError, RetinaCensorError

__all__ = ["likeness", "write_frames"]

_WRITERS: dict[str, Callable[[BinaryIO, Iterator[Image.Image], Plan], None]] = {
    "GIF": write_gif,
    "PNG": write_png,
    "WEBP": write_webp,
    "AVIF": write_avif,
}
# The sides, in cells, of the small copy of a frame that is kept.
CELLS = 8


def likeness(image: Image.Image) -> NDArray[np.uint8]:
    """Return (8, 8, 3) uint8, the mean colours of a frame over black: 192 bytes by which to know it again."""
    if image.mode == "RGBA":
        flat = Image.new("RGB", image.size)
        flat.paste(image, mask=image.getchannel("A"))
        image = flat
    return np.asarray(image.convert("RGB").resize((CELLS, CELLS), Image.Resampling.BOX))


def write_frames(file: BinaryIO, frames: Iterator[Image.Image], plan: Plan) -> list[NDArray[np.uint8]]:
    """Write an animation over whatever the file holds, from its beginning, frame by frame.

    Args:
        file: one that can be written, sought in and cut.
        frames: RGB or RGBA, first the default image where the plan has one; asked for one at a time.
        plan: how.

    Returns:
        The `likeness` of each, in order.

    Raises:
        OutputError: when the encoder fails.
        InputError: whatever the frames' own decoding raises.
    """
    written: list[NDArray[np.uint8]] = []

    def noted() -> Iterator[Image.Image]:
        for frame in frames:
            image = fitted(frame, plan)
            written.append(likeness(image))
            yield image

    file.seek(0)
    file.truncate()
    try:
        _WRITERS[plan.format](file, noted(), plan)
        file.flush()
    except (RetinaCensorError, OSError):
        raise
    except Exception as error:  # encoders raise many classes
        raise OutputError(f"the animation must be writable as {plan.format}; its encoder failed ({error})") from error
    return written
