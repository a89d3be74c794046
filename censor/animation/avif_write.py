"""Write AVIF image sequences through Pillow, which asks for one frame after the other; libavif holds what it coded."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from censor.animation.avif_boxes import AvifTiming, with_timing
from censor.animation.plan import Plan
from censor.imagefile import AVIF_OPTIONS

__all__ = ["write_avif"]


class _Frames(Image.Image):
    """A picture of several frames, each taken from an iterator when Pillow seeks to it."""

    def __init__(self, frames: Iterator[Image.Image], count: int) -> None:
        super().__init__()
        self._frames = frames
        self.n_frames = count
        self.is_animated = count > 1
        self._at = -1
        self.seek(0)

    def seek(self, frame: int) -> None:
        """Go to the next frame, or stay; past the last one is the end, as Pillow has it."""
        if frame >= self.n_frames:
            raise EOFError(frame)
        if frame < self._at:
            return  # Pillow goes back to where it began, when all is done
        while self._at < frame:
            image = next(self._frames)
            self._at += 1
            self.im, self._mode, self._size = image.im, image.mode, image.size

    def tell(self) -> int:
        """Return the number of the frame that this is."""
        return self._at


def write_avif(file: BinaryIO, frames: Iterator[Image.Image], plan: Plan) -> None:
    """Write frames as they come, with the durations and the number of plays that Pillow cannot express."""
    buffer = io.BytesIO()
    ticks = plan.ticks
    assert plan.timescale is not None
    pictures = _Frames(frames, len(ticks))
    # Pillow hands the encoder whole numbers and a scale of 1/1000 s; which scale they are in is set afterwards.
    pictures.save(buffer, "AVIF", save_all=True, duration=ticks, **AVIF_OPTIONS)
    file.write(with_timing(buffer.getvalue(), AvifTiming(plan.timescale, tuple(ticks), plan.plays)))
