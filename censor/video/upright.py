"""Decode the packets of a video's stream into frames as a viewer sees them: turned, opaque, in order of time."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from censor.video.colour import Colours
from detector.errors import InputError, LimitError
from detector.limits import Limits

__all__ = ["Upright", "UprightFrame", "most_coded_pixels"]

# Frames are coded in blocks: as many columns and rows may be coded beyond those that are shown.
CODED_EDGE = 128
# Decoders that read the transparency of a WebM file, by the codec's name.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# The display matrix's first two columns, in units of 1 << 16, and the filters that turn a frame so.
# Source: FFmpeg, libavutil/display.h: (x', y') = (a x + c y, b x + d y).
_TURNS: dict[tuple[int, int, int, int], tuple[tuple[str, str], ...]] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): (("hflip", ""),),
    (1, 0, 0, -1): (("vflip", ""),),
    (-1, 0, 0, -1): (("hflip", ""), ("vflip", "")),
    (0, 1, -1, 0): (("transpose", "clock"),),
    (0, -1, 1, 0): (("transpose", "cclock"),),
    (0, 1, 1, 0): (("transpose", "cclock_flip"),),
    (0, -1, -1, 0): (("transpose", "clock_flip"),),
}


@dataclass(frozen=True)
class UprightFrame:
    """One frame as a viewer sees it.

    Attributes:
        index: 0, 1, … in order of time.
        pts: when it is shown, in units of the video's time base.
        duration: how long, in the same units; 0 where the file does not say.
        time: when it is shown, in seconds.
        frame: PyAV's frame, turned as the file asks.
        colours: how its numbers mean colours.
    """

    index: int
    pts: int
    duration: int
    time: Fraction
    frame: Any
    colours: Colours

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.frame.height, self.frame.width

    def rgb(self) -> NDArray[np.uint8]:
        """Return its pixels, (H, W, 3) RGB, to be written on."""
        return self.colours.to_rgb(self.frame)

    def fingerprint(self) -> int:
        """Return by what it is known again in a later reading: a damaged video may decode differently each time."""
        try:
            pixels = self.frame.to_ndarray()
        except ValueError:  # a pixel format that PyAV gives no array of
            pixels = self.rgb()
        return zlib.crc32(pixels.tobytes())

    def thumbnail(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return its pixels at (width, height), RGB; for comparing frames."""
        return self.colours.to_rgb(self.frame, size)


def most_coded_pixels(limits: Limits) -> int:
    """Return how many pixels FFmpeg may decode a frame to, by itself; what is cut off at its edges is coded too."""
    return limits.max_pixels + CODED_EDGE * limits.max_side


class Upright:
    """Decodes the packets of one stream: checked, turned, numbered; use one for each reading."""

    def __init__(self, name: str, stream: Any, limits: Limits, max_frames: int, max_seconds: float) -> None:
        self._name, self._stream, self._limits = name, stream, limits
        self._max_frames, self._max_seconds = max_frames, max_seconds
        self._size: tuple[int, int] | None = None
        self._turned_size: tuple[int, int] | None = None
        self._shape: tuple[Any, ...] = ()
        self._graph: Any = None
        self._first = self._last = Fraction(0)
        self.count = self.skipped = 0
        self._decoder = _decoder(name, stream)
        # Threads that decode a frame each show other pixels more often where a video is damaged; and what is written
        # must be what was looked at.
        self._decoder.thread_type = "SLICE"
        self._decoder.options = {"max_pixels": str(most_coded_pixels(limits))}

    def take(self, packet: Any) -> Iterator[UprightFrame]:
        """Yield the frames that a packet completes; the empty packet at the end completes the rest."""
        for frame in self._decoder.decode(packet):
            time = self._time(frame)
            if self.count and time <= self._last:  # nobody can see it: it is shown for no time
                self.skipped += 1
                continue
            self._first = self._first if self.count else time
            self._last = time
            if self.count >= self._max_frames or time - self._first > self._max_seconds:
                raise LimitError(
                    f"{self._name}: a video must have at most {self._max_frames} frames and {self._max_seconds:g} s; "
                    "it has more; raise max_frames or max_seconds if you trust its source"
                )
            base = self._stream.time_base
            duration = max(0, frame.duration or 0)
            turned = self._turned(frame)
            yield UprightFrame(self.count, int(time / base), duration, time, turned, Colours.of(frame))
            self.count += 1

    def _time(self, frame: Any) -> Fraction:
        """Return when a frame is shown, in seconds; by its number where the file holds no times at all."""
        if frame.pts is not None:
            return Fraction(frame.pts * frame.time_base)
        rate = self._stream.average_rate or self._stream.guessed_rate
        if rate and self._stream.start_time is None:
            base = self._stream.time_base
            return Fraction(round(Fraction(self.count) / rate / base) * base)
        raise InputError(f"{self._name}: each frame must say when it is shown; frame {self.count} does not; remux it")

    def _turned(self, frame: Any) -> Any:
        self._limits.check_size(frame.width, frame.height, self._name)
        self._size = self._size or (frame.height, frame.width)
        self._check_same(self._size, frame)
        filters = self._filters(frame)
        if filters:
            shape = (filters, frame.format.name)
            if shape != self._shape:
                self._graph, self._shape = _graph(filters, frame, self._stream.time_base), shape
            self._graph.vpush(frame)
            frame = self._graph.vpull()
        # A turn that changes on the way swaps the sides, and boxes would hide the wrong place.
        self._turned_size = self._turned_size or (frame.height, frame.width)
        self._check_same(self._turned_size, frame)
        return frame

    def _check_same(self, size: tuple[int, int], frame: Any) -> None:
        if size != (frame.height, frame.width):
            raise InputError(
                f"{self._name}: all frames must have one size; it changes from {size} to {(frame.height, frame.width)} "
                "(height, width); convert it to one size first"
            )

    def _filters(self, frame: Any) -> tuple[tuple[str, str], ...]:
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return ()
        a, b, _, c, d, *_ = (int(value) / (1 << 16) for value in np.frombuffer(bytes(matrix), dtype=np.int32))
        turn = tuple(round(value) for value in (a, b, c, d))
        exact = all(abs(value - whole) < 0.01 for value, whole in zip((a, b, c, d), turn, strict=True))
        if not exact or turn not in _TURNS:
            raise InputError(
                f"{self._name}: a video must be turned by quarters; its matrix is {(a, b, c, d)}; turn it upright first"
            )
        return _TURNS[turn]


def _decoder(name: str, stream: Any) -> Any:
    """Return what decodes a stream; with its transparency, which FFmpeg's own decoders of VP8 and VP9 pass over."""
    from av import CodecContext

    usual = stream.codec_context
    if stream.metadata.get("alpha_mode") != "1" or usual.name not in _WITH_ALPHA:
        return usual
    try:
        decoder = CodecContext.create(_WITH_ALPHA[usual.name], "r")
    except ValueError as error:
        raise InputError(f"{name}: its transparency needs the decoder {_WITH_ALPHA[usual.name]} in FFmpeg") from error
    if usual.extradata:
        decoder.extradata = usual.extradata
    return decoder


def _graph(filters: tuple[tuple[str, str], ...], frame: Any, time_base: Fraction) -> Any:
    from av.filter import Graph

    graph = Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)]
    nodes += [graph.add(name, args) for name, args in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
