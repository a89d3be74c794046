"""Read animated GIFs: frames are found in the file's blocks, decoded one by one, and composited as browsers do it.

Source: CompuServe, GIF89a specification (1990); the Netscape 2.0 application extension for the number of repetitions.
Where viewers differ this follows browsers: disposal to the background leaves the area transparent.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from PIL import Image

from censor.animation.sequence import FOREVER, Animation, as_seen
from detector.decode import decoding
from detector.errors import InputError
from detector.limits import Limits

__all__ = ["CLEAR", "KEEP", "RESTORE", "GifAnimation", "GifFrame", "GifStructure", "gif_structure"]

# What becomes of a frame when the next one comes.
KEEP, CLEAR, RESTORE = 1, 2, 3
_TRAILER, _EXTENSION, _IMAGE = 0x3B, 0x21, 0x2C
_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_INTERLACED, _HAS_PALETTE = 0x40, 0x80


@dataclass(frozen=True, kw_only=True)
class GifFrame:
    """One frame as it stands in the file.

    Attributes:
        box: (x, y, width, height) on the screen.
        palette: the bytes of its own palette or the global one; empty where there is neither.
        interlaced: whether its rows are stored in GIF's four passes.
        coded: from the code size to the end of the coded blocks.
        centiseconds: how long it is shown.
        disposal: `KEEP`, `CLEAR` or `RESTORE`; whatever else a file says is `KEEP`.
        transparent: the palette index that shows what is below, or None.
    """

    box: tuple[int, int, int, int]
    palette: bytes
    interlaced: bool
    coded: tuple[int, int]
    centiseconds: int
    disposal: int
    transparent: int | None


@dataclass(frozen=True, kw_only=True)
class GifStructure:
    """What a GIF file consists of: screen size as (width, height), repetitions as stored (None: none), frames."""

    size: tuple[int, int]
    repetitions: int | None
    frames: tuple[GifFrame, ...]


class _Control:
    """The extension that says how the next frame is shown."""

    def __init__(self, body: bytes = bytes(4)) -> None:
        flags, self.centiseconds, transparent = struct.unpack("<BHB", body)
        disposal = flags >> 2 & 7
        self.disposal = disposal if disposal in (CLEAR, RESTORE) else KEEP
        self.transparent = transparent if flags & 1 else None


def gif_structure(data: bytes, name: str, limits: Limits) -> GifStructure:
    """Walk over a GIF's blocks; nothing is decoded.

    Raises:
        InputError: when a block reaches over the file's end, or an animation lacks its own end.
        LimitError: when there are more frames, or more pixels in them, than the limits allow.
    """
    try:
        return _walk(data, name, limits)
    except (struct.error, IndexError) as error:
        raise _broken(name) from error


def _broken(name: str) -> InputError:
    return InputError(f"{name}: a GIF must be whole; this one is truncated; export it again")


def _walk(data: bytes, name: str, limits: Limits) -> GifStructure:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    palette, at = _palette(data, 13, flags)
    control, repetitions = _Control(), None
    frames: list[GifFrame] = []
    while at < len(data) and data[at] != _TRAILER:
        if data[at] == _EXTENSION:
            label, end = data[at + 1], _after_blocks(data, at + 2)
            if label == _CONTROL and data[at + 2] == 4:
                control = _Control(data[at + 3 : at + 7])
            elif label == _APPLICATION and data[at + 3 : at + 14] in _LOOPS and data[at + 14 : at + 16] == b"\3\1":
                (repetitions,) = struct.unpack_from("<H", data, at + 16)
            at = end
        elif data[at] == _IMAGE:
            x, y, frame_width, frame_height, flags = struct.unpack_from("<4HB", data, at + 1)
            own, start = _palette(data, at + 10, flags)
            at = _after_blocks(data, start + 1)
            if not frames:
                # As browsers do: a first frame that is larger than the screen makes the screen larger.
                width, height = max(width, x + frame_width), max(height, y + frame_height)
                limits.check_size(width, height, name)
            frames.append(
                GifFrame(
                    box=(x, y, frame_width, frame_height),
                    palette=own or palette,
                    interlaced=bool(flags & _INTERLACED),
                    coded=(start, at),
                    centiseconds=control.centiseconds,
                    disposal=control.disposal,
                    transparent=control.transparent,
                )
            )
            # A frame may be larger than the screen; its decoder sets all of it aside.
            limits.check_size(max(frame_width, 1), max(frame_height, 1), name)
            limits.check_frames(len(frames), len(frames) * width * height, name)
            control = _Control()
        else:
            at += 1  # decoders step over stray bytes
    if at >= len(data) and len(frames) > 1:
        raise _broken(name)  # without its trailer more frames may have followed
    return GifStructure(size=(width, height), repetitions=repetitions, frames=tuple(frames))


def _palette(data: bytes, at: int, flags: int) -> tuple[bytes, int]:
    """Return a palette that the flags may announce, and where what follows it begins."""
    end = at + (3 << (flags & 7) + 1 if flags & _HAS_PALETTE else 0)
    if end > len(data):
        raise IndexError(end)
    return data[at:end], end


def _after_blocks(data: bytes, at: int) -> int:
    """Return where a chain of blocks ends; `IndexError` when it leads over the file's end."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


class GifAnimation(Animation):
    """An animated GIF."""

    format = "GIF"

    def __init__(self, name: str, data: bytes, structure: GifStructure, limits: Limits) -> None:
        self._structure = structure
        repetitions = structure.repetitions
        super().__init__(
            name,
            data,
            size=structure.size,
            durations=tuple(Fraction(frame.centiseconds, 100) for frame in structure.frames),
            # The number in the file counts the repetitions after the first time, as browsers have it.
            plays=1 if repetitions is None else FOREVER if repetitions == 0 else repetitions + 1,
            limits=limits,
        )

    def frames(self) -> Iterator[Image.Image]:
        """Composite each frame over what the one before left; see `Animation.frames`."""
        canvas = Image.new("RGBA", self._structure.size)
        for frame in self._structure.frames:
            x, y, width, height = frame.box
            before = canvas.copy() if frame.disposal == RESTORE else None
            if width and height:
                with decoding(self.name, self.format):
                    pixels = self._decoded(frame)
                canvas.paste(pixels, (x, y), pixels.getchannel("A"))
            yield as_seen(canvas)
            if before is not None:
                canvas = before
            elif frame.disposal == CLEAR:
                canvas.paste((0, 0, 0, 0), (x, y, x + width, y + height))

    def _decoded(self, frame: GifFrame) -> Image.Image:
        """Return one frame's pixels, with alpha 0 or 255, by decoding a GIF of this frame alone."""
        from PIL.GifImagePlugin import GifImageFile

        _, _, width, height = frame.box
        has = _HAS_PALETTE | (len(frame.palette) // 3).bit_length() - 2 if frame.palette else 0
        header = b"GIF89a" + struct.pack("<HHBBB", width, height, has, 0, 0) + frame.palette
        if frame.transparent is not None:
            header += struct.pack("<BBBBHBB", _EXTENSION, _CONTROL, 4, 1, 0, frame.transparent, 0)
        header += struct.pack("<B4HB", _IMAGE, 0, 0, width, height, frame.interlaced * _INTERLACED)
        start, end = frame.coded
        file = io.BytesIO(b"".join([header, self.data[start:end], bytes([_TRAILER])]))
        image = GifImageFile(file)
        image.load()
        return image.convert("RGBA")
