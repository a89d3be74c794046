"""Read APNGs: frames are found in the file's chunks, decoded one by one as PNGs, and composited.

Source: PNG, third edition (W3C, 2025), section 11.3.6 and chapter 13 for animations.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from PIL import Image

from censor.animation.sequence import Animation, as_seen, profile_of
from detector.containers import exif_orientation
from detector.decode import decoding, normalise
from detector.errors import InputError
from detector.formats import Header
from detector.limits import Limits

__all__ = ["PNG_SIGNATURE", "ApngFrame", "ApngStructure", "PngAnimation", "apng_structure", "png_chunk", "png_chunks"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What a frame's pixels need besides its own data; the rest (text, times, EXIF) is not looked at.
_SHARED = (b"PLTE", b"tRNS", b"iCCP", b"sRGB")
_CHECKED = (*_SHARED, b"IHDR", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND")
_CLEAR, _RESTORE = 1, 2
_OVER = 1


@dataclass(kw_only=True)
class ApngFrame:
    """One frame as it stands in the file: (x, y, width, height), its time, what becomes of it, where its data is."""

    box: tuple[int, int, int, int]
    duration: Fraction
    disposal: int
    over: bool
    parts: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ApngStructure:
    """What an APNG file consists of.

    Attributes:
        header: the body of IHDR.
        plays: how often the animation is shown, 0 without an end.
        default_image: the parts of a picture that is not part of the animation; empty where there is none.
        frames: those of the animation.
        shared: chunks that every frame's decoder needs, whole.
        orientation: 1..8 as in EXIF.
    """

    header: bytes
    plays: int
    default_image: list[tuple[int, int]]
    frames: tuple[ApngFrame, ...]
    shared: bytes
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        width, height = struct.unpack_from(">II", self.header)
        return width, height


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Serialise a chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name and where its body begins and ends, up to IEND.

    Raises:
        InputError: when a chunk reaches over the file's end, or a checksum that counts is wrong.
    """
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        (length,) = struct.unpack(">I", data[at : at + 4].rjust(4, b"\0"))
        start, end = at + 8, at + 8 + length
        if len(kind) < 4 or end + 4 > len(data):
            raise InputError(f"{name}: a PNG must be whole; this one is truncated; export it again")
        if kind in _CHECKED and data[end : end + 4] != struct.pack(">I", zlib.crc32(memoryview(data)[at + 4 : end])):
            raise InputError(f"{name}: a PNG's checksums must be right; {kind.decode()}'s is not; export it again")
        yield kind, start, end
        at = end + 4


def apng_structure(data: bytes, name: str, limits: Limits) -> ApngStructure | None:
    """Walk over a PNG's chunks; None for a picture that is no animation.

    Raises:
        InputError: when the chunks contradict each other; viewers would then show different things.
        LimitError: when there are more frames, or more pixels in them, than the limits allow.
    """
    try:
        return _walk(data, name, limits)
    except struct.error as error:
        raise _broken(name, "its chunks must have their full length") from error


def _broken(name: str, must: str) -> InputError:
    return InputError(f"{name}: an animated PNG must be whole: {must}; it is truncated or corrupt; export it again")


def _walk(data: bytes, name: str, limits: Limits) -> ApngStructure | None:
    header, shared, orientation = b"", b"", 1
    announced: tuple[int, int] | None = None
    default_image: list[tuple[int, int]] = []
    frames: list[ApngFrame] = []
    number, has_image = 0, False
    for kind, start, end in png_chunks(data, name):
        if kind == b"IHDR":
            header = data[start:end]
            width, height = struct.unpack_from(">II", header)
            limits.check_size(width, height, name)
        elif kind in _SHARED and not has_image:
            shared += data[start - 8 : end + 4]
        elif kind == b"eXIf":
            orientation = exif_orientation(data[start:end])
        elif kind == b"acTL":
            if announced is not None or has_image:
                raise _broken(name, "it must announce its frames once, before its picture")
            announced = struct.unpack_from(">II", data, start)
            limits.check_frames(announced[0], 0, name)
        elif kind in (b"fcTL", b"fdAT") and announced is not None:
            if struct.unpack_from(">I", data, start)[0] != number:
                raise _broken(name, "its frames must be in order")
            number += 1
            if kind == b"fcTL":
                frames.append(_frame(data[start:end], struct.unpack_from(">II", header), name))
                limits.check_frames(len(frames), len(frames) * frames[0].box[2] * frames[0].box[3], name)
            elif not frames or not has_image:
                raise _broken(name, "a frame's data must follow its description")
            else:
                frames[-1].parts.append((start + 4, end))
        elif kind == b"IDAT":
            has_image = True
            (frames[-1].parts if frames else default_image).append((start, end))
    if announced is None or (announced[0] == 1 and len(frames) <= 1 and not (frames and default_image)):
        return None
    _check_frames(name, announced[0], frames, header, separate=bool(default_image))
    width, height = struct.unpack_from(">II", header)
    limits.check_frames(len(frames), len(frames) * width * height, name)
    return ApngStructure(
        header=header,
        plays=announced[1],
        default_image=default_image,
        frames=tuple(frames),
        shared=shared,
        orientation=orientation,
    )


def _check_frames(name: str, announced: int, frames: list[ApngFrame], header: bytes, *, separate: bool) -> None:
    if len(frames) != announced or not frames:
        raise _broken(name, f"it must have the {announced} frames that it announces; it has {len(frames)}")
    if not all(frame.parts for frame in frames):
        raise _broken(name, "every frame must have data")
    if not separate and frames[0].box != (0, 0, *struct.unpack_from(">II", header)):
        raise _broken(name, "its first frame must fill the picture")


def _frame(body: bytes, size: tuple[int, int], name: str) -> ApngFrame:
    width, height, x, y, numerator, denominator, disposal, blend = struct.unpack_from(">4IHHBB", body, 4)
    if not width or not height or x + width > size[0] or y + height > size[1] or disposal > _RESTORE or blend > _OVER:
        raise _broken(name, "its frames must lie inside the picture")
    return ApngFrame(
        box=(x, y, width, height),
        duration=Fraction(numerator, denominator or 100),
        disposal=disposal,
        over=blend == _OVER,
    )


class PngAnimation(Animation):
    """An animated PNG."""

    format = "PNG"

    def __init__(self, name: str, data: bytes, structure: ApngStructure, limits: Limits) -> None:
        self._structure = structure
        super().__init__(
            name,
            data,
            size=structure.size,
            orientation=structure.orientation,
            durations=tuple(frame.duration for frame in structure.frames),
            plays=structure.plays,
            limits=limits,
            default_image=bool(structure.default_image),
        )

    def frames(self) -> Iterator[Image.Image]:
        """Composite each frame over what the one before left; see `Animation.frames`."""
        structure = self._structure
        if structure.default_image:
            with decoding(self.name, self.format):
                image, profile = self._decoded(structure.size, structure.default_image)
            yield as_seen(image, profile, self.orientation)
        canvas = Image.new("RGBA", structure.size)
        for i, frame in enumerate(structure.frames):
            x, y, width, height = frame.box
            with decoding(self.name, self.format):
                pixels, profile = self._decoded((width, height), frame.parts)
            pixels = pixels.convert("RGBA")
            # Nothing stands before the first frame: to restore that is to clear.
            before = canvas.copy() if frame.disposal == _RESTORE and i else None
            if frame.over:
                canvas.alpha_composite(pixels, (x, y))
            else:
                canvas.paste(pixels, (x, y))
            yield as_seen(canvas, profile, self.orientation)
            if before is not None:
                canvas = before
            elif frame.disposal != 0:
                canvas.paste((0, 0, 0, 0), (x, y, x + width, y + height))

    def _decoded(self, size: tuple[int, int], parts: list[tuple[int, int]]) -> tuple[Image.Image, bytes | None]:
        """Return the pixels of one frame, by decoding a PNG of this frame alone, and the profile of the file."""
        from PIL.PngImagePlugin import PngImageFile

        header = struct.pack(">II", *size) + self._structure.header[8:]
        body = b"".join(self.data[start:end] for start, end in parts)
        chunks = [png_chunk(b"IHDR", header), self._structure.shared, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
        image = PngImageFile(io.BytesIO(b"".join([PNG_SIGNATURE, *chunks])))
        facts = Header(format="PNG", size=size, mode=image.mode, bits=header[8])
        profile = profile_of("PNG", image)
        return normalise(image, facts, self.name), profile
