"""Read animated WebPs: the file's chunks are walked over first, then libwebp decodes and composites.

Source: WebP container specification (RFC 9649).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from PIL import Image

from censor.animation.sequence import Animation, as_seen, profile_of
from detector.containers import exif_orientation, webp_size
from detector.decode import decoding
from detector.errors import InputError
from detector.formats import open_decoder
from detector.limits import Limits

__all__ = ["WebpAnimation", "WebpStructure", "webp_chunks", "webp_structure"]

# A frame's position, size, time and flags stand before its own chunks.
FRAME_HEADER = 16


@dataclass(frozen=True, kw_only=True)
class WebpStructure:
    """What an animated WebP consists of: (width, height), plays (0: for ever), milliseconds of each frame."""

    size: tuple[int, int]
    plays: int
    milliseconds: tuple[int, ...]
    lossless: bool
    orientation: int


def webp_chunks(data: bytes, name: str, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name and where its body begins and ends.

    Raises:
        InputError: when a chunk reaches over the end.
    """
    at = start
    while at + 8 <= stop:
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > stop:
            raise _broken(name, "its chunks must lie inside the file")
        yield kind, at + 8, at + 8 + size
        at += 8 + size + size % 2


def webp_structure(data: bytes, name: str, limits: Limits) -> WebpStructure | None:
    """Walk over a WebP's chunks; None for a picture that is no animation of several frames.

    Raises:
        InputError: when it is truncated.
        LimitError: when there are more frames, or more pixels in them, than the limits allow.
    """
    if data[12:16] != b"VP8X" or b"ANMF" not in data:
        return None
    width, height = webp_size(data, name)
    limits.check_size(width, height, name)
    milliseconds: list[int] = []
    plays, lossless, orientation = 1, False, 1
    (size,) = struct.unpack_from("<I", data, 4)
    if 8 + size > len(data) + 1:  # writers disagree on whether a last odd byte is padded
        raise _broken(name, "it must be as long as it says")
    for kind, start, end in webp_chunks(data, name, 12, min(8 + size, len(data))):
        if kind == b"ANIM" and end - start >= 6:
            (plays,) = struct.unpack_from("<H", data, start + 4)
        elif kind == b"EXIF":
            orientation = exif_orientation(data[start:end])
        elif kind == b"ANMF":
            if end - start < FRAME_HEADER:
                raise _broken(name, "a frame must have its header")
            milliseconds.append(int.from_bytes(data[start + 12 : start + 15], "little"))
            inside = webp_chunks(data, name, start + FRAME_HEADER, end)
            lossless = any(part == b"VP8L" for part, _, _ in inside) or lossless
            limits.check_frames(len(milliseconds), len(milliseconds) * width * height, name)
    if len(milliseconds) < 2:
        return None
    return WebpStructure(
        size=(width, height),
        plays=plays,
        milliseconds=tuple(milliseconds),
        lossless=lossless,
        orientation=orientation,
    )


def _broken(name: str, must: str) -> InputError:
    return InputError(f"{name}: a WebP must be whole: {must}; it is truncated or corrupt; export it again")


class WebpAnimation(Animation):
    """An animated WebP."""

    format = "WEBP"

    def __init__(self, name: str, data: bytes, structure: WebpStructure, limits: Limits) -> None:
        super().__init__(
            name,
            data,
            size=structure.size,
            orientation=structure.orientation,
            durations=tuple(Fraction(time, 1000) for time in structure.milliseconds),
            plays=structure.plays,
            limits=limits,
            lossless=structure.lossless,
        )

    def frames(self) -> Iterator[Image.Image]:
        """Decode each frame; see `Animation.frames`."""
        with decoding(self.name, self.format):
            image = open_decoder(self.data, "WEBP", self.name, self.limits)
            if getattr(image, "n_frames", 1) != self.count:
                raise _broken(self.name, f"all of its {self.count} frames must be readable")
            profile = profile_of("WEBP", image)
        for i in range(self.count):
            with decoding(self.name, self.format):
                image.seek(i)
                image.load()
                frame = as_seen(image.copy(), profile, self.orientation)
            yield frame
