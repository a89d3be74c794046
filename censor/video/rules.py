"""`VideoRules`: how often a video is looked at, how long parts are hidden, and how it is written."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from censor.motion.rules import MotionRules
from detector.errors import UsageError
from detector.nearest import nearest

__all__ = ["DROPPABLE", "VideoRules"]

# Streams that are copied where the new container holds them, and left out on request.
DROPPABLE = ("audio", "subtitles")


@dataclass(frozen=True, kw_only=True)
class VideoRules:
    """How one video is worked on.

    Attributes:
        every: look at every so-many-th frame; the first of each scene and the last one are always looked at.
        rate: look so many times a second instead; frames that are shown longer are each looked at once.
        motion: how long and how widely parts are hidden around the looks.
        codec: an encoder of FFmpeg, or h264, hevc, vp9 or av1; None takes what suits the container, H.264 mostly.
        crf: the quality of the encoder, in its own scale; None takes a good one.
        drop: which of `audio` and `subtitles` to leave out.
        verify_share: the share of the frames of the output that is looked at again, 0..1; all are decoded.
        max_frames, max_seconds: longer videos are refused.

    Raises:
        UsageError: for a value out of its range.
    """

    every: int = 1
    rate: float | None = None
    motion: MotionRules = field(default_factory=MotionRules)
    codec: str | None = None
    crf: int | None = None
    drop: tuple[str, ...] = ()
    verify_share: float = 0.1
    max_frames: int = 2_000_000
    max_seconds: float = 6 * 3600.0

    def __post_init__(self) -> None:
        for name in ("every", "max_frames"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} must be a whole number of at least 1; got {value!r}")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"rate must be looks a second, over 0; got {self.rate!r}")
        if self.rate is not None and self.every != 1:
            raise UsageError(f"every and rate must not be given together; got {self.every} and {self.rate}")
        if not (math.isfinite(self.max_seconds) and self.max_seconds > 0):
            raise UsageError(f"max_seconds must be over 0; got {self.max_seconds!r}")
        if not 0 <= self.verify_share <= 1:
            raise UsageError(f"verify_share must lie in 0..1; got {self.verify_share!r}")
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise UsageError(f"crf must lie in 0..63; got {self.crf!r}")
        for name in self.drop:
            if name not in DROPPABLE:
                raise UsageError(f"drop must name {' or '.join(DROPPABLE)}; got {name!r}{nearest(name, DROPPABLE)}")

    def is_look(self, index: int, time: Fraction, last_look: Fraction | None) -> bool:
        """Whether a frame's turn to be looked at has come; `time` and the time of the last look in seconds."""
        if self.rate is None or last_look is None:
            return index % self.every == 0
        return float(time - last_look) >= 1 / self.rate - 1e-6
