"""Write a video: new pictures, the sound and subtitles as they were, and nothing else of the source.

The container is made afresh. Only what is added here is in it: no metadata but the languages of the streams, no
chapters, attachments, cover art, data or timecode, and pictures that are built from their pixels, without side data.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from censor.video.codecs import Encoder
from censor.video.copying import add_copy
from censor.video.reading import frame_rate, load_av
from censor.video.upright import UprightFrame
from detector.errors import OutputError, RetinaCensorError

__all__ = ["VideoWriter"]

# Chroma of half the size needs sides of an even number of pixels.
EVEN = 2
# Decoders of sound need a little from before the start, seconds.
PRIMING = 0.1


class _Sink:
    """A file for FFmpeg to write to. What it cannot hold is an error once; FFmpeg then goes on without a disk.

    PyAV raises the first error when the packet is written, and prints all others to standard error, with a trace each.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at, self._end = file, 0, 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                return self._file.write(data)
            except OSError as error:
                self.error = error
                raise
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.error is None:
            try:
                self._at = self._file.seek(offset, whence)
                return self._at
            except OSError as error:  # what waited to be written could not be
                self.error = error
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._file.tell() if self.error is None else self._at

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


class VideoWriter:
    """One output, written from start to end; use `VideoWriter.open`."""

    def __init__(
        self, out: Any, main: Any, copies: dict[int, Any], encoder: Encoder, image_size: tuple[int, int]
    ) -> None:
        self._out, self._main, self._copies, self._encoder = out, main, copies, encoder
        self._pad = tuple(-side % EVEN for side in image_size)
        self._before: int | None = None
        self._step = 1

    @classmethod
    @contextmanager
    def open(
        cls,
        file: BinaryIO,
        container: str,
        encoder: Encoder,
        *,
        source: Any,
        copies: Sequence[Any],
        first: UprightFrame,
    ) -> Iterator["VideoWriter"]:
        """Begin a video in a file; leaving the block without an error completes it.

        Args:
            file: to write to; may be sought in.
            container: FFmpeg's name.
            encoder: for the pictures.
            source: the source's stream of pictures: its time base and rate hold for the new one.
            copies: the source's streams to copy.
            first: the first frame, for its size and colours.

        Raises:
            OutputError: when FFmpeg cannot write it.
        """
        av = load_av()
        base = source.time_base
        options = {"fflags": "+bitexact"}
        if container in ("mp4", "mov", "3gp"):
            options["video_track_timescale"] = str(base.denominator)  # the source's times, to the tick
        sink = _Sink(file)
        with _as_output_error(f"{container} with {encoder.name}"):
            out = av.open(sink, "w", format=container, options=options)
        try:
            with _as_output_error(f"{container} with {encoder.name}"):
                rate = frame_rate(source)
                main = out.add_stream(encoder.name, rate=rate or 25, options=dict(encoder.options))
                height, width = first.image_size
                size = (height + height % EVEN, width + width % EVEN)
                encoder.set_up(main.codec_context, size, base, rate)
                main.time_base = base
                aspect = _aspect(source, first)
                if aspect:
                    main.codec_context.sample_aspect_ratio = aspect
                first.colours.tag(main.codec_context)
                added = {stream.index: add_copy(out, stream) for stream in copies}
            writer = cls(out, main, added, encoder, first.image_size)
            yield writer
            with _as_output_error(container):
                for packet in main.encode(None):
                    out.mux(packet)
        finally:
            try:
                with _as_output_error(container):
                    out.close()
            finally:
                if sink.error is not None:  # PyAV does not tell of all, nor of each by its name
                    raise sink.error

    def write(self, frame: UprightFrame, pixels: NDArray[np.uint8] | None) -> None:
        """Encode one frame: its own pixels, or those given, (H, W, 3) RGB, in its place."""
        from av import VideoFrame

        if pixels is None and any(self._pad):
            pixels = frame.rgb()
        if pixels is None:
            picture = frame.colours.convert(frame.frame, self._encoder.pixel_format)
        else:
            padded = np.pad(pixels, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
            picture = frame.colours.from_rgb(padded, self._encoder.pixel_format)
        # Built again from its pixels: a decoded frame carries side data that encoders write out.
        bare = VideoFrame.from_ndarray(picture.to_ndarray(), format=self._encoder.pixel_format)
        frame.colours.tag(bare)
        if self._before is not None:
            self._step = frame.pts - self._before
        self._before = frame.pts
        # An MP4 whose last frame lasts for no time ends before it.
        bare.pts, bare.time_base = frame.pts, self._main.codec_context.time_base
        bare.duration = frame.duration or self._step
        with _as_output_error(self._encoder.name):
            for packet in self._main.encode(bare):
                self._out.mux(packet)

    def copy(self, packet: Any) -> None:
        """Write a packet of a copied stream as it is."""
        if packet.dts is None or not packet.size:
            return  # the mark at the end of a stream
        when = packet.dts if packet.pts is None else packet.pts
        if packet.is_discard and not -PRIMING <= when * packet.time_base < 0:
            return  # an edit list cut it off: nobody hears it, and it may say what was cut off
        with _as_output_error(f"a copy of stream {packet.stream.index}"):
            packet.stream = self._copies[packet.stream.index]
            self._out.mux(packet)


@contextmanager
def _as_output_error(what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into ours."""
    av = load_av()
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, RetinaCensorError):
            raise
        raise OutputError(
            f"the output must be writable as {what}; FFmpeg says: {error}; name another format"
        ) from error


def _aspect(source: Any, first: UprightFrame) -> Fraction | None:
    """Return the shape of a pixel, for the upright picture."""
    aspect = source.sample_aspect_ratio
    if not aspect or aspect <= 0:
        return None
    turned = (source.height, source.width) != first.image_size
    return Fraction(1 / aspect) if turned else Fraction(aspect)
