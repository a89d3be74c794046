"""Open a video and give its frames as a viewer sees them, one at a time.

The file is opened here and handed to FFmpeg as a stream of bytes, and FFmpeg may open nothing else: a playlist or a
list of files would make it read what nobody named, or ask the network.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from censor.video.colour import Colours
from detector.errors import InputError, LimitError
from detector.limits import Limits

__all__ = ["UprightFrame", "VideoFacts", "VideoFile", "load_av"]

# Demuxers that read other files than their own, make pictures of text, or belong to the readers of pictures.
_REFUSED = frozenset(("concat", "dash", "gif", "apng", "hls", "applehttp", "image2", "image2pipe", "imf", "lavfi"))
_REFUSED |= frozenset(("tty", "webm_dash_manifest", "bin", "xbin", "adf", "idf", "ico"))
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
_HASH_CHUNK = 1 << 20


def load_av() -> Any:
    """Return PyAV.

    Raises:
        InputError: when it is not installed.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise InputError(
            "videos need the package av (PyAV); it is not installed; pip install 'retina-censor[video]'"
        ) from error
    av.logging.set_level(None)  # its messages may quote what the file says; errors come as exceptions
    return av


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

    def thumbnail(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return its pixels at (width, height), RGB; for comparing frames."""
        return self.colours.to_rgb(self.frame, size)


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a file says about itself; the frames are counted when they are read.

    Attributes:
        container, codec: names as FFmpeg gives them.
        seconds: its length, None where the file does not say.
        frames: the number of frames, as far as the file says or its rate suggests; for progress.
        left_out: what is in the file and never copied, for the report.
    """

    container: str
    codec: str
    seconds: float | None
    frames: int | None
    left_out: tuple[str, ...]


class VideoFile:
    """A video that may be read several times; closes nothing but what it opened itself.

    Args:
        file: a binary file that can be sought in.
        name: for messages.
        limits: pixels and sides of a frame that are accepted.
        max_frames, max_seconds: longer videos are refused as soon as that is known.
    """

    def __init__(self, file: BinaryIO, name: str, *, limits: Limits, max_frames: int, max_seconds: float) -> None:
        self.name = name
        self._file, self._limits = file, limits
        self._max_frames, self._max_seconds = max_frames, max_seconds
        self.sha256 = self._hash()

    def _hash(self) -> str:
        digest = hashlib.sha256()
        self._file.seek(0)
        while chunk := self._file.read(_HASH_CHUNK):
            digest.update(chunk)
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened first.

        Raises:
            InputError: when it is not.
        """
        if self._hash() != self.sha256:
            raise InputError(f"{self.name}: the video must not change while it is worked on; it did; try again")

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Give PyAV's container, at the start.

        Raises:
            InputError: when it is no video, or a kind that leads to other files; and for whatever FFmpeg cannot read
                in the block.
        """
        av = load_av()
        self._file.seek(0)
        try:
            with av.open(
                _Bytes(self._file),
                mode="r",
                metadata_errors="replace",
                container_options={"protocol_whitelist": "none"},
            ) as container:
                kinds = set(container.format.name.split(","))
                if kinds & _REFUSED or any(kind.endswith("_pipe") for kind in kinds):
                    raise InputError(
                        f"{self.name}: a video must hold its own frames; this is a {container.format.name} file"
                    )
                yield container
        except av.error.FFmpegError as error:
            raise InputError(f"{self.name}: a video must be readable; FFmpeg says: {_words(error)}") from error

    def main_stream(self, container: Any) -> Any:
        """Return the stream that players show.

        Raises:
            InputError: when there is none, or it cannot be decoded here.
        """
        videos = [stream for stream in container.streams.video if not _is_picture(stream)]
        if not videos:
            raise InputError(f"{self.name}: a video must have moving pictures; this file has none")
        stream = container.streams.best("video")
        stream = stream if stream in videos else videos[0]
        if stream.codec_context is None:
            raise InputError(f"{self.name}: its codec is not one that FFmpeg decodes here")
        self._limits.check_size(max(stream.width, 1), max(stream.height, 1), self.name)
        return stream

    def facts(self, container: Any) -> VideoFacts:
        """Return what the file says about itself."""
        main = self.main_stream(container)
        seconds = None if container.duration is None else container.duration / 1_000_000
        if seconds is not None and seconds > self._max_seconds:
            raise LimitError(
                f"{self.name}: a video must last at most {self._max_seconds:g} s; got {seconds:.0f}; raise max_seconds"
            )
        rate = main.average_rate
        frames = main.frames or (round(seconds * rate) if seconds and rate else None)
        others = [stream for stream in container.streams if stream is not main]
        left_out = [_what(stream) for stream in others if stream.type not in ("audio", "subtitle")]
        if container.chapters():
            left_out.append("chapters")
        return VideoFacts(
            container=container.format.name,
            codec=main.codec_context.name,
            seconds=seconds,
            frames=frames,
            left_out=tuple(left_out),
        )

    def upright(self, container: Any, stream: Any) -> "Upright":
        """Return what turns decoded frames of the stream into upright ones, in order."""
        return Upright(self.name, stream, self._limits, self._max_frames, self._max_seconds)

    def frames(self, container: Any, stream: Any) -> Iterator[UprightFrame]:
        """Yield the upright frames of one stream in order of time."""
        upright = self.upright(container, stream)
        for packet in container.demux(stream):
            yield from upright.take(packet)
        if not upright.count:
            raise InputError(f"{self.name}: a video must have at least one frame; none could be decoded")


class Upright:
    """Decodes the packets of one stream: checked, turned, numbered; use one for each reading."""

    def __init__(self, name: str, stream: Any, limits: Limits, max_frames: int, max_seconds: float) -> None:
        self._name, self._stream, self._limits = name, stream, limits
        self._max_frames, self._max_seconds = max_frames, max_seconds
        self._size: tuple[int, int] | None = None
        self._shape: tuple[Any, ...] = ()
        self._graph: Any = None
        self._first = self._last = Fraction(0)
        self.count = self.skipped = 0
        stream.thread_type = "AUTO"

    def take(self, packet: Any) -> Iterator[UprightFrame]:
        """Yield the frames that a packet completes; the empty packet at the end completes the rest."""
        for frame in packet.decode():
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
        if self._size is None:
            self._size = (frame.height, frame.width)
        if self._size != (frame.height, frame.width):
            raise InputError(
                f"{self._name}: all frames must have one size; it changes from {self._size} to "
                f"{(frame.height, frame.width)} (height, width); convert it to one size first"
            )
        filters = self._filters(frame)
        if not filters:
            return frame
        shape = (filters, frame.format.name)
        if shape != self._shape:
            self._graph, self._shape = _graph(filters, frame, self._stream.time_base), shape
        self._graph.vpush(frame)
        return self._graph.vpull()

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


class _Bytes:
    """A file as FFmpeg may use it: read and seek, without a name that could be mistaken for an address."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _graph(filters: tuple[tuple[str, str], ...], frame: Any, time_base: Fraction) -> Any:
    from av.filter import Graph

    graph = Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)]
    nodes += [graph.add(name, args) for name, args in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _is_picture(stream: Any) -> bool:
    return bool(int(stream.disposition) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC: cover art


def _what(stream: Any) -> str:
    if stream.type == "video":
        return "cover art" if _is_picture(stream) else "another video stream"
    return {"attachment": "an attachment", "data": "a data stream"}.get(stream.type, f"a stream of kind {stream.type}")


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
