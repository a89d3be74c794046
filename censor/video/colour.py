"""`Colours`: how a frame's numbers mean colours, kept from the source to the output."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colours", "has_alpha"]

# Codes of ITU-T H.273, as FFmpeg uses them.
UNSPECIFIED = 2
BT709, BT601 = 1, 6
LIMITED, FULL = 1, 2
HDR = (16, 18)  # transfers PQ and HLG
# Matrices that swscale knows, by the code of the standard, and its own number for them.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
# Videos of this height and more use BT.709 where they do not say, lower ones BT.601.
HD_HEIGHT = 720


def has_alpha(format: Any) -> bool:
    """Whether PyAV's pixel format, or None, says how opaque each pixel is; a palette may."""
    return format is not None and (format.has_palette or any(part.is_alpha for part in format.components))


@dataclass(frozen=True)
class Colours:
    """What a frame says about its colours, with gaps filled for converting.

    Attributes:
        matrix: code of the matrix between RGB and YUV that is used here; one that swscale knows.
        full: whether luma uses 0..255 instead of 16..235.
        tags: (matrix, range, transfer, primaries) as the output states them; unspecified stays so.
    """

    matrix: int
    full: bool
    tags: tuple[int, int, int, int]

    @property
    def is_hdr(self) -> bool:
        """Whether its numbers mean light beyond what is looked at here as sRGB: PQ or HLG."""
        return self.tags[2] in HDR

    @classmethod
    def of(cls, frame: Any) -> "Colours":
        """Read PyAV's frame."""
        full = frame.color_range == FULL or frame.format.name.startswith("yuvj")
        stated = int(frame.colorspace)
        matrix = stated if stated in _MATRICES else BT709 if frame.height >= HD_HEIGHT else BT601
        tag = stated if stated in (*_MATRICES, UNSPECIFIED) else matrix
        if frame.format.is_rgb:
            full, tag = False, matrix
        return cls(matrix, full, (tag, FULL if full else LIMITED, int(frame.color_trc), int(frame.color_primaries)))

    def to_rgb(self, frame: Any, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB of a frame, at (width, height) if a size is given; a new array.

        What is transparent becomes black: a viewer does not see the colours that lie under it.
        """
        from av.video.reformatter import Interpolation

        width, height = size or (frame.width, frame.height)
        flags = Interpolation.AREA if size else Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT
        source = {} if frame.format.is_rgb else {"src_color_range": FULL if self.full else LIMITED}
        rgb = frame.reformat(
            width=width,
            height=height,
            format="rgba" if has_alpha(frame.format) else "rgb24",
            src_colorspace=_MATRICES[self.matrix],
            dst_colorspace=_MATRICES[self.matrix],
            dst_color_range=FULL,
            interpolation=int(flags),
            threads=1,
            **source,
        )
        pixels = np.array(rgb.to_ndarray(), dtype=np.uint8)
        if pixels.shape[2] == 3:
            return pixels
        opaque = pixels[..., 3:].astype(np.uint16)
        return ((pixels[..., :3] * opaque + 127) // 255).astype(np.uint8)

    def from_rgb(self, rgb: NDArray[np.uint8], pixel_format: str) -> Any:
        """Return PyAV's frame of (H, W, 3) RGB pixels, in a YUV format; sides of an even number of pixels."""
        from av import VideoFrame
        from av.video.reformatter import Interpolation

        return VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format=pixel_format,
            src_colorspace=_MATRICES[self.matrix],
            dst_colorspace=_MATRICES[self.matrix],
            src_color_range=FULL,
            dst_color_range=FULL if self.full else LIMITED,
            interpolation=int(Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT),
            threads=1,
        )

    def convert(self, frame: Any, pixel_format: str) -> Any:
        """Return a frame in another YUV format; the same numbers where the format is the same."""
        if frame.format.is_rgb or has_alpha(frame.format):
            return self.from_rgb(self.to_rgb(frame), pixel_format)
        span = FULL if self.full else LIMITED
        return frame.reformat(
            format=pixel_format,
            src_colorspace=_MATRICES[self.matrix],
            dst_colorspace=_MATRICES[self.matrix],
            src_color_range=span,
            dst_color_range=span,
            threads=1,
        )

    def tag(self, target: Any) -> None:
        """State the colours on a frame or an encoder."""
        target.colorspace, target.color_range, target.color_trc, target.color_primaries = self.tags
