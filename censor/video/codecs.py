"""Which containers and encoders a video is written with; encoders in hardware are probed, and used only when named."""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from censor.video.reading import load_av
from detector.errors import OutputError, UsageError
from detector.nearest import nearest

__all__ = ["CONTAINERS", "Encoder", "choose_encoder", "container_for", "is_video_name"]

# By suffix, the muxers as FFmpeg names them.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".m2ts": "mpegts",
    ".mts": "mpegts",
    ".flv": "flv",
    ".3gp": "3gp",
}
# WebM holds no H.264; all others hold it.
_DEFAULTS = {"webm": "libvpx-vp9"}
# AVI keeps one time a frame: what is decoded and shown in different orders loses its times.
_NO_REORDERING = ("avi",)
_DEFAULT = "libx264"
_SHORT = {"h264": "libx264", "h265": "libx265", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
# The option that sets the quality, others that it needs, and a value at which the picture is hard to tell from the
# source, in each encoder's scale.
_QUALITY: dict[str, tuple[str, dict[str, str], int]] = {
    "libx264": ("crf", {}, 20),
    "libx265": ("crf", {"x265-params": "log-level=none"}, 22),
    "libvpx-vp9": ("crf", {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}, 30),
    "libvpx": ("crf", {"b": "4M", "cpu-used": "4"}, 10),
    "libsvtav1": ("crf", {"preset": "8"}, 28),
    "nvenc": ("cq", {"rc": "vbr", "b": "0"}, 22),
    "qsv": ("global_quality", {}, 22),
    "amf": ("qp_i", {"rc": "cqp"}, 22),
}
# For encoders without a scale of their own here: bits a pixel and frame, enough for all but noise.
_BITS_A_PIXEL = 0.3
# 8 bits and 4:2:0, which every player shows; hardware likes the interleaved form of the same.
_PIXEL_FORMATS = ("yuv420p", "nv12")


def container_for(path: str | os.PathLike[str]) -> str:
    """Return the container that a name's suffix asks for.

    Raises:
        UsageError: for another suffix.
    """
    suffix = PurePath(os.fspath(path)).suffix.lower()
    if suffix not in CONTAINERS:
        raise UsageError(f"the name of a video must end in one of {', '.join(CONTAINERS)}; got {os.fspath(path)!r}")
    return CONTAINERS[suffix]


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Whether a name asks for a video; for results, since sources are told by content."""
    return PurePath(os.fspath(path)).suffix.lower() in CONTAINERS


@dataclass(frozen=True)
class Encoder:
    """An encoder that works on this machine.

    Attributes:
        name: FFmpeg's.
        pixel_format: 8 bits, 4:2:0.
        options: for opening it.
    """

    name: str
    pixel_format: str
    options: dict[str, str]

    def set_up(self, target: Any, size: tuple[int, int], time_base: Fraction, rate: Fraction | None) -> None:
        """Set what a codec context or stream needs before it is opened; `size` is (height, width), even."""
        target.height, target.width = size
        target.pix_fmt = self.pixel_format
        target.time_base = time_base
        if rate:
            target.framerate = rate
        if not any(key in self.options for key in ("crf", "cq", "qp_i", "global_quality")):
            target.bit_rate = int(_BITS_A_PIXEL * size[0] * size[1] * float(rate or 25))


def choose_encoder(container: str, codec: str | None, crf: int | None, time_base: Fraction) -> Encoder:
    """Return the encoder to use, after trying that it starts.

    Args:
        container: as from `container_for`.
        codec: the name of an encoder, or of a codec; None for the container's usual one.
        crf: its quality, None for a good one.
        time_base: unit of the frames' times, which it must take.

    Raises:
        UsageError: for a codec that is not known, or has no quality to set.
        OutputError: when the encoder does not start here, as one in hardware that is not there.
    """
    av = load_av()
    name = _SHORT.get(codec, codec) if codec else _DEFAULTS.get(container, _DEFAULT)
    try:
        found = av.codec.Codec(name, "w")
    except ValueError as error:
        known = sorted({*_SHORT, *(item for item in av.codecs_available if "_" in item or item.startswith("lib"))})
        raise UsageError(
            f"codec must be an encoder of FFmpeg such as {', '.join(_SHORT)}; got {name!r}{nearest(name, known)}"
        ) from error
    if found.type != "video":
        raise UsageError(f"codec must be for video; {name} is for {found.type}")
    formats = [item.name for item in found.video_formats or ()]
    usable = [item for item in _PIXEL_FORMATS if item in formats] or ([] if formats else ["yuv420p"])
    if not usable:
        raise UsageError(f"codec must take 8-bit 4:2:0 pictures; {name} takes {', '.join(formats)}")
    scale = _QUALITY.get(name) or _QUALITY.get(name.rpartition("_")[2])
    if scale is None and crf is not None:
        raise UsageError(f"crf must be given with an encoder that has such a scale, libx264 say; {name} has none")
    options = {} if scale is None else {**scale[1], scale[0]: str(scale[2] if crf is None else crf)}
    if container in _NO_REORDERING:
        options["bf"] = "0"
    if name == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # it writes thirty lines to standard error otherwise
    encoder = Encoder(name, usable[0], options)
    _probe(av, encoder, time_base)
    return encoder


def _probe(av: Any, encoder: Encoder, time_base: Fraction) -> None:
    """Start the encoder on a small picture size; hardware tells only so whether it is there."""
    context = av.CodecContext.create(encoder.name, "w")
    encoder.set_up(context, (256, 256), time_base, Fraction(25))
    context.options = dict(encoder.options)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        raise OutputError(
            f"the encoder {encoder.name} must start on this machine; it does not for times in units of {time_base} s "
            f"({error.strerror if isinstance(error, OSError) else error}); name another codec"
        ) from error
