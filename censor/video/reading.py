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

from censor.video.colour import has_alpha
from censor.video.upright import Upright, UprightFrame, most_coded_pixels
from detector.errors import InputError, LimitError
from detector.limits import Limits

__all__ = ["VideoFacts", "VideoFile", "frame_rate", "is_copied", "load_av"]

# Demuxers that read other files than their own, make pictures of text, or belong to the readers of pictures.
_REFUSED = frozenset(("concat", "dash", "gif", "apng", "hls", "applehttp", "image2", "image2pipe", "imf", "lavfi"))
_REFUSED |= frozenset(("tty", "webm_dash_manifest", "bin", "xbin", "adf", "idf", "ico"))
# What FFmpeg says of subtitles that are words, not pictures: AV_CODEC_PROP_TEXT_SUB.
_WORDS = 1 << 17
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
                options={"max_pixels": str(most_coded_pixels(self._limits))},  # it decodes some to know the rest
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
        rate = frame_rate(main)
        frames = main.frames or (round(seconds * rate) if seconds and rate else None)
        others = [stream for stream in container.streams if stream is not main]
        left_out = [_what(stream) for stream in others if not is_copied(stream)]
        if container.chapters():
            left_out.append("chapters")
        if main.metadata.get("alpha_mode") == "1" or has_alpha(main.codec_context.format):
            left_out.append("transparency: black stands in its place")
        return VideoFacts(
            container=container.format.name,
            codec=main.codec_context.name,
            seconds=seconds,
            frames=frames,
            left_out=tuple(left_out),
        )

    def packets(self, container: Any, *streams: Any) -> Iterator[Any]:
        """Yield the packets of some streams, in the file's order.

        Raises:
            InputError: when a stream appears of which the file's beginning said nothing.
        """
        packets = container.demux(*streams)
        while True:
            try:
                packet = next(packets, None)
            except IndexError as error:  # PyAV looks for a stream that it does not know
                raise InputError(f"{self.name}: a video must announce all of its streams; it is damaged") from error
            if packet is None:
                return
            yield packet

    def upright(self, stream: Any) -> Upright:
        """Return what turns decoded frames of the stream into upright ones, in order."""
        return Upright(self.name, stream, self._limits, self._max_frames, self._max_seconds)

    def frames(self, container: Any, stream: Any, upright: Upright | None = None) -> Iterator[UprightFrame]:
        """Yield the upright frames of one stream in order of time; `upright` counts them for whoever gives it."""
        upright = upright or self.upright(stream)
        for packet in self.packets(container, stream):
            yield from upright.take(packet)
        if not upright.count:
            raise InputError(f"{self.name}: a video must have at least one frame; none could be decoded")


class _Bytes:
    """A file as FFmpeg may use it: read and seek, without a name that could be mistaken for an address."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def frame_rate(stream: Any) -> Fraction | None:
    """Return how many frames a second a stream shows, as far as it says so; more than one a tick nobody can show."""
    rates = (stream.average_rate, stream.guessed_rate)
    return next((rate for rate in rates if rate and 0 < rate * stream.time_base <= 1), None)


def is_copied(stream: Any) -> bool:
    """Whether a stream holds what is copied without looking into it: sound, or subtitles made of words."""
    if stream.type == "subtitle":
        context = stream.codec_context
        return context is not None and bool(context.codec.properties & _WORDS)
    return bool(stream.type == "audio")


def _is_picture(stream: Any) -> bool:
    return bool(int(stream.disposition) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC: cover art


def _what(stream: Any) -> str:
    if stream.type == "video":
        return "cover art" if _is_picture(stream) else "another video stream"
    if stream.type == "subtitle":
        return "subtitles that are pictures, at which nobody looked"
    return {"attachment": "an attachment", "data": "a data stream"}.get(stream.type, f"a stream of kind {stream.type}")


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
