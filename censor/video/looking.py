"""The first reading of a video: what was found in which frame, kept small, and what the looks vote for."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from censor.motion.cuts import THUMBNAIL, CutFinder
from censor.motion.regions import HeldBox, RegionTimeline
from censor.motion.rules import MotionRules
from censor.motion.votes import Votes, count_votes
from censor.pipeline import Pipeline
from censor.video.reading import VideoFile
from censor.video.recalling import GAP as RECALL_GAP
from censor.video.recalling import Recalled, Samples, with_recalled
from censor.video.rules import VideoRules
from censor.video.upright import UprightFrame
from detector.detections import Detections
from detector.known import Match
from detector.limits import Limits
from detector.pdq import VIEW_SIDE, Pdq, pdq_of
from detector.picture import Picture
from detector.verdict import classify, opinion_band

__all__ = ["Looks", "Progress", "Range", "look_through", "low_thresholds"]

# Called with a stage's name, the frames done, and how many there are (None: not known).
Progress = Callable[[str, int, int | None], None]

# A score from this share of its threshold on continues a part that is there, but not below what is found in noise; as
# in censor.verify.
LOW_SHARE, LOW_LEAST = 0.5, 0.1
# Frames looked at together, fewer where they are large, so that a batch takes at most so many bytes.
BATCH, BATCH_BYTES = 8, 64 << 20
# The second opinion is slow and changes little from frame to frame: asked so often, seconds.
OPINION_EVERY = 1.0
# Findings of a class no farther apart than this are one range of the report, seconds.
RANGE_GAP = 1.0
_LOOKED, _CUT = 1, 2


@dataclass
class Range:
    """A stretch of time in which a class was found: seconds, looks that found it, the highest score."""

    label: str
    start: float
    end: float
    looks: int = 1
    score: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "label": self.label,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "looks": self.looks,
            "score": round(self.score, 6),
        }


@dataclass
class Looks:
    """What the first reading saw; no pixels, some twenty bytes a frame and as many a box.

    Attributes:
        time_base: unit of `pts`, seconds.
        pts: when each frame is shown.
        prints: what each frame looked like, in short; see `UprightFrame.fingerprint`.
        ranges: where the classes were found, by their thresholds.
        best: the highest score of each class.
        stopped: whether it ended at the first hit.
        hdr: whether its frames have more light than a detector knows; they were looked at as they are.
        skipped: frames that are shown for no time, left out.
        pdq: the perceptual hash of the frame of the highest score, the first among equals.
        samples: the hashes of some looks, for the report.
        recalled: what a person decided about near copies of frames, in order of time.
    """

    time_base: Fraction
    image_size: tuple[int, int]
    pts: "array[int]" = field(default_factory=lambda: array("q"))
    prints: "array[int]" = field(default_factory=lambda: array("I"))
    ranges: list[Range] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    hdr: bool = False
    skipped: int = 0
    pdq: Pdq | None = None
    samples: Samples = field(default_factory=Samples)
    recalled: list[Recalled] = field(default_factory=list)
    opinions: "array[float]" = field(default_factory=lambda: array("d"))
    opinion_times: "array[float]" = field(default_factory=lambda: array("d"))
    opinion_alarms: bytearray = field(default_factory=bytearray)
    _flags: bytearray = field(default_factory=bytearray)
    _packed: dict[int, bytes] = field(default_factory=dict)
    _empty: Detections | None = None
    _vote_times: "array[float]" = field(default_factory=lambda: array("d"))
    _votes: bytearray = field(default_factory=bytearray)
    _open: dict[str, Range] = field(default_factory=dict)
    _recalled_last: dict[int, Recalled] = field(default_factory=dict)

    def add_frame(self, pts: int, likeness: int, *, cut: bool) -> None:
        """Note the next frame."""
        self.pts.append(pts)
        self.prints.append(likeness)
        self._flags.append(_CUT if cut else 0)

    def seconds(self, index: int) -> float:
        """Return when a frame is shown."""
        return float(self.pts[index] * self.time_base)

    def add_found(self, index: int, found: Detections) -> None:
        """Note what was found in a frame; what was found there before stays."""
        self._flags[index] |= _LOOKED
        if self._empty is None:
            self._empty = found.select([])
        parts = np.column_stack([found.boxes, found.scores, found.labels]).astype(np.float32)
        if len(parts):
            self._packed[index] = self._packed.get(index, b"") + parts.tobytes()

    def found(self, index: int) -> Detections | None:
        """Return what was found in a frame; None where nobody looked."""
        if not self._flags[index] & _LOOKED or self._empty is None:
            return None
        parts = np.frombuffer(self._packed.get(index, b""), dtype=np.float32).reshape(-1, 6)
        return Detections(
            boxes=parts[:, :4],
            scores=parts[:, 4],
            labels=parts[:, 5].astype(np.int64),
            image_size=self.image_size,
            class_names=self._empty.class_names,
            model=self._empty.model,
            device=self._empty.device,
        )

    @property
    def looked(self) -> int:
        """How many frames were looked at."""
        return sum(flags & _LOOKED for flags in self._flags)

    @property
    def cuts(self) -> int:
        """How many scene cuts there are."""
        return sum(bool(flags & _CUT) for flags in self._flags)

    @property
    def hits(self) -> list[int]:
        """The frames in which something was found, with any score."""
        return sorted(self._packed)

    def vote(self, time: float, found: Detections, flagged: bool) -> None:
        """Note one look for the verdict and the ranges; `found` at or above the thresholds."""
        self._vote_times.append(time)
        self._votes.append(flagged)
        for name, score in zip(found.names, found.scores, strict=True):
            value = float(score)
            self.best[name] = max(self.best.get(name, 0.0), value)
            last = self._open.get(name)
            if last is None or time - last.end > RANGE_GAP:
                last = self._open[name] = Range(name, time, time, 0)
                self.ranges.append(last)
            last.looks += time > last.end or last.looks == 0
            last.end, last.score = time, max(last.score, value)

    def votes(self) -> Votes:
        """Return what the looks vote for."""
        return count_votes(self._vote_times, self._votes)

    def opinion_votes(self) -> Votes:
        """Return what the second opinions vote for."""
        return count_votes(self.opinion_times, self.opinion_alarms)

    def alarmed(self, time: float) -> bool:
        """Whether the second opinion objected to the frame at a moment, or to one of the two nearest it was asked."""
        place = bisect_left(self.opinion_times, time)
        return any(self.opinion_alarms[max(0, place - 1) : place + 1])

    def recall(self, time: float, match: Match) -> None:
        """Note that a frame is a near copy of what a person decided about."""
        last = self._recalled_last.get(match.line)
        if last is None or time - last.end > RECALL_GAP:
            last = self._recalled_last[match.line] = Recalled(match, time, time)
            self.recalled.append(last)
        last.end = time
        last.match = min(last.match, match, key=lambda item: item.distance)

    def held(
        self, starts: dict[str, float], motion: MotionRules, *, cover_all: bool = False
    ) -> Iterator[list[HeldBox]]:
        """Yield what to hide in each frame, in order.

        Args:
            starts: the classes that are hidden, and their thresholds.
            motion: how long and how widely.
            cover_all: hide whole frames that a person called nsfw where nothing says what of them is to be hidden.
        """
        times = (self.seconds(index) for index in range(len(self.pts)))
        found = self._held(starts, motion)
        return with_recalled(found, times, self.recalled, motion.hold, self.image_size, cover_all=cover_all)

    def _held(self, starts: dict[str, float], motion: MotionRules) -> Iterator[list[HeldBox]]:
        timeline = RegionTimeline(starts, rules=motion)
        for index in range(len(self.pts)):
            found = self.found(index)
            hide = None if found is None else found.select([name in starts for name in found.names])
            timeline.push(self.seconds(index), hide, cut=bool(self._flags[index] & _CUT))
            yield from timeline.pop_ready()
        yield from timeline.finish()


def low_thresholds(thresholds: dict[str, float]) -> dict[str, float]:
    """Return the scores from which a box continues a part that is there."""
    return {name: min(value, max(value * LOW_SHARE, LOW_LEAST)) for name, value in thresholds.items()}


def look_through(
    pipeline: Pipeline, file: VideoFile, rules: VideoRules, limits: Limits, progress: Progress, *, first: bool = False
) -> Looks:
    """Read a video once and look at it.

    Args:
        pipeline: the detector, the second opinion and the policy.
        file: the video.
        rules: how often to look.
        limits: of a frame's size.
        progress: told about each frame.
        first: stop at the first look that flags the video.
    """
    with file.open() as container:
        stream = file.main_stream(container)
        total = file.facts(container).frames
        looker: _Looker | None = None
        cuts = CutFinder()
        last_look: Fraction | None = None
        frame: UprightFrame | None = None
        looked = False
        upright = file.upright(stream)
        for frame in file.frames(container, stream, upright):
            if looker is None:
                looks = Looks(stream.time_base, frame.image_size, hdr=frame.colours.is_hdr)
                looker = _Looker(pipeline, file.name, limits, looks)
            small = frame.thumbnail(THUMBNAIL)
            cut = cuts.is_cut(small)
            looker.looks.add_frame(frame.pts, frame.fingerprint(), cut=cut)
            looked = cut or rules.is_look(frame.index, frame.time, last_look)
            if looked:
                last_look = frame.time
                looker.add(frame)
                if first and looker.flagged:
                    looker.looks.stopped = True
                    break
            progress("looking", frame.index + 1, total)
        assert looker is not None
        assert frame is not None
        if not looked:
            looker.add(frame)
        looker.flush()
        looker.looks.skipped = upright.skipped
        return looker.looks


class _Looker:
    """Looks at frames in batches."""

    def __init__(self, pipeline: Pipeline, name: str, limits: Limits, looks: Looks) -> None:
        self.looks = looks
        self.flagged = False
        self._pipeline, self._name, self._limits = pipeline, name, limits
        self._waiting: list[tuple[UprightFrame, Picture]] = []
        height, width = looks.image_size
        self._batch = max(1, min(BATCH, BATCH_BYTES // (3 * height * width)))
        self._last_opinion: float | None = None
        self._best = -1.0

    def add(self, frame: UprightFrame) -> None:
        """Look at a frame, now or with the next ones."""
        # Without its pixels in YUV: what waits must not keep the decoder's buffers.
        bare = UprightFrame(frame.index, frame.pts, frame.duration, frame.time, None, frame.colours)
        self._waiting.append((bare, Picture.open(frame.rgb(), limits=self._limits, name=self._name)))
        if len(self._waiting) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Look at what waits."""
        if not self._waiting:
            return
        rules = self._pipeline.policy
        found = self._pipeline.model.detect(
            [picture for _, picture in self._waiting],
            classes=rules.classes,
            score_thresh=low_thresholds(rules.thresholds),
            tiles=rules.policy.detect.tiles,
        )
        for (frame, picture), boxes in zip(self._waiting, found, strict=True):
            self.looks.add_found(frame.index, boxes)
            certain = boxes.above(rules.thresholds)
            self._hash(frame, picture, boxes, certain)
            self._vote(float(frame.time), picture, certain)
        self._waiting.clear()

    def _hash(self, frame: UprightFrame, picture: Picture, found: Detections, certain: Detections) -> None:
        """Hash the frames of which a hash is wanted: all where there are decisions to recall."""
        known, time = self._pipeline.known, float(frame.time)
        score = float(found.scores.max(initial=0.0))
        best, due = score > self._best, self.looks.samples.is_due(time)
        if not (best or due or known is not None):
            return
        pdq = pdq_of(picture.views(VIEW_SIDE)[0])
        if best:
            self._best, self.looks.pdq = score, pdq
        if due:
            self.looks.samples.add(frame.index, time, pdq, certain, self._pipeline.policy.hide.classes)
        match = known.find(pdq) if known is not None else None
        if match is not None:
            self.looks.recall(time, match)
            self.flagged = self.flagged or match.entry.decision == "nsfw"

    def _vote(self, time: float, picture: Picture, found: Detections) -> None:
        policy = self._pipeline.policy.policy
        opinion = None
        due = self._last_opinion is None or time - self._last_opinion >= OPINION_EVERY
        if self._pipeline.opinion is not None and (due or policy.fusion is not None):
            opinion = self._pipeline.opinion.look(picture)
            self._last_opinion = time
            self.looks.opinions.append(opinion.score)
            self.looks.opinion_times.append(time)
            band = opinion_band(opinion.score, policy.verdict)
            unsure = band == "unsure" and policy.verdict.unsure != "safe"
            self.looks.opinion_alarms.append(band == "nsfw" or unsure)
        if policy.fusion is not None:
            flagged = classify(found, opinion, policy=policy).verdict != "safe"
        else:
            flagged = any(name in policy.verdict.nsfw_classes for name in found.names)
        self.flagged = self.flagged or flagged
        self.looks.vote(time, found, flagged)
