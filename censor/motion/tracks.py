"""`Track`: one part followed over time, and which found box belongs to which part.

An own small tracker instead of a package. Those there are (ByteTrack's ports, norfair, motpy) answer where a thing is
now, from what was before; here it must be covered before it was first found, so the way is needed backwards as well,
with its gaps, and a wrong match must never uncover anything. They also bring SciPy, a Kalman filter and, some, torch.
From ByteTrack comes its main idea: a box of a low score continues a track that is there.

Source: Zhang et al., ByteTrack (arXiv:2110.06864), sections 3 and 4, for the low scores; Yang et al., C-BIoU
(arXiv:2211.14317), for comparing enlarged boxes. Matching is greedy instead of optimal: boxes are few and, if two swap
their tracks, both stay covered.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from censor.motion.rules import MotionRules
from detector.boxes import box_iou
from detector.detections import Detections

__all__ = ["Sighting", "Track", "match"]

Floats = NDArray[np.float32]

# From this overlap on, a box is the same part for certain: its way between is a line.
SAME_IOU = 0.2
# Boxes that do not overlap may still be one part that moves fast: compared again with this share of their sides added
# on every side, and more for every second since, up to a bound. What is matched so is hidden over the whole of both
# boxes in between, and each is held as a part of its own: it may as well be two parts.
BUFFER, BUFFER_A_SECOND, MAX_BUFFER = 0.75, 5.0, 3.0
# Speed is measured over this long, seconds: a shaking box has no speed.
SPEED_OVER = 0.25
# Beyond what was seen a part is thought to move on for at most so long, seconds; farther off nothing is known.
MOVES_ON = 1.0
# A way between two sightings may bend this far off the line, as a share of its length: an arc of 53 degrees does.
BEND = 1 / 8
# Two sightings closer in time than this have no speed between them, seconds.
MIN_STEP = 1e-6


@dataclass(frozen=True)
class Sighting:
    """One look at which a part was found.

    Attributes:
        time: seconds.
        box: (4,) float32 xyxy.
        score, label: as the detector said.
    """

    time: float
    box: Floats
    score: float
    label: str


@dataclass(eq=False)
class Track:
    """One part, followed.

    Attributes:
        number: names the track.
        sightings: in order of time, at least one; old ones are dropped by `forget`.
        first_from: how far back in time it is hidden before its first sighting; not before a scene cut.
        until: how long it is hidden after its last sighting, as far as is known now.
        confirmed: whether a score was ever high enough for a box of its own; low scores alone hide nothing.
        cut_at: the time of the scene cut after its last sighting, if there was one.
        origin: a sighting of another track from which this part may have come, fast: all between the two is hidden.
        followed: whether its last sighting is such an origin; it is none again.
    """

    number: int
    sightings: list[Sighting]
    first_from: float
    until: float = math.inf
    confirmed: bool = False
    cut_at: float | None = None
    origin: Sighting | None = None
    followed: bool = False
    label: str = ""
    _best: float = field(default=-1.0, repr=False)

    @property
    def last(self) -> Sighting:
        """The latest sighting."""
        return self.sightings[-1]

    def add(self, seen: Sighting, *, confirms: bool) -> None:
        """Continue the track; the label is that of its best score."""
        self.sightings.append(seen)
        self.followed = False
        self.note(seen, confirms=confirms)
        self.cut_at = None

    def note(self, seen: Sighting, *, confirms: bool) -> None:
        """Take over what a sighting says about the whole track."""
        self.confirmed = self.confirmed or confirms
        if seen.score > self._best:
            self.label, self._best = seen.label, seen.score

    def forget(self, before: float) -> None:
        """Drop sightings that no moment from `before` on depends on."""
        while len(self.sightings) > 2 and self.sightings[1].time < before:
            del self.sightings[0]

    def predicted(self, time: float, over: float = SPEED_OVER) -> Floats:
        """Return where the part is expected: (4,), by its speed over its last so many seconds."""
        step = min(time - self.last.time, MOVES_ON)
        return _ordered(self.last.box + self._speed(from_end=True, over=over) * np.float32(step))

    def cover(self, time: float, rules: MotionRules) -> Floats | None:
        """Return the box (4,) to hide at a moment; None when the part is not hidden then."""
        first, last = self.sightings[0], self.last
        if not self.first_from <= time <= self.until:
            return None
        if first.time <= time <= last.time:
            way, away = self._between(time, rules)
            return _grown(_hull(way), rules.drift * min(away, MOVES_ON), BEND * self._step_around(time))
        end = last if time > last.time else first
        away = abs(time - end.time)
        way, _ = self._between(end.time, rules)
        step = np.float32(math.copysign(min(away, MOVES_ON), time - end.time))
        beyond = [self._speed(from_end=end is last, over=over) * step for over in (SPEED_OVER, 0.0)]
        if self.origin is not None and self.origin.time <= time < first.time:
            way.append(self.origin.box)
        way += [end.box + moved for moved in beyond]
        farthest = max(float(np.abs(moved).max()) for moved in beyond)
        return _grown(_hull(way), rules.drift * min(away, MOVES_ON), BEND * farthest)

    def _between(self, time: float, rules: MotionRules) -> tuple[list[Floats], float]:
        """Return the boxes that the part passes around a moment, and the time to the nearest sighting."""
        times = [seen.time for seen in self.sightings]
        after = int(np.searchsorted(times, time))
        before = max(after - 1, 0)
        after = min(after, len(times) - 1)
        gap = times[after] - times[before]
        # A part need not move in a line: the longer nobody saw it, the more of its way is hidden.
        spread = max(rules.spread, gap / 4)
        start, stop = time - spread, time + spread
        way = [self._at(start), self._at(time), self._at(stop)]
        way += [seen.box for seen in self.sightings if start <= seen.time <= stop]
        return way, min(abs(time - times[before]), abs(times[after] - time))

    def _step_around(self, time: float) -> float:
        """Return how far, in pixels, the part moved between the two sightings around a moment; 0 at a sighting."""
        for left, right in zip(self.sightings, self.sightings[1:], strict=False):
            if left.time < time < right.time:
                return float(np.abs(right.box - left.box).max())
        return 0.0

    def _at(self, time: float) -> Floats:
        """Return the interpolated box; the first or the last one outside of what was seen."""
        for left, right in zip(self.sightings, self.sightings[1:], strict=False):
            if left.time <= time <= right.time:
                part = np.float32((time - left.time) / max(right.time - left.time, MIN_STEP))
                return np.asarray(left.box + (right.box - left.box) * part, dtype=np.float32)
        return self.sightings[0].box if time <= self.sightings[0].time else self.last.box

    def _speed(self, *, from_end: bool, over: float = SPEED_OVER) -> Floats:
        """Return (4,) pixels a second of the four sides, at the track's start or end."""
        known = self.sightings if self.origin is None else [self.origin, *self.sightings]
        ordered = known[::-1] if from_end else self.sightings
        anchor = ordered[0]
        other = anchor
        for seen in ordered[1:]:
            other = seen
            if abs(seen.time - anchor.time) >= over:
                break
        step = other.time - anchor.time
        if abs(step) < MIN_STEP:
            return np.zeros(4, dtype=np.float32)
        return np.asarray((other.box - anchor.box) / np.float32(step), dtype=np.float32)


def match(tracks: Sequence[Track], found: Detections, time: float, starts: NDArray[np.bool_]) -> list[tuple[int, bool]]:
    """Say which track each found box continues.

    Args:
        tracks: those that may be continued.
        found: what was found at this moment, (N) boxes.
        time: of this look, seconds.
        starts: (N,) whether a box is certain enough to begin a track; such boxes are given a track first.

    Returns:
        One a box: (index into `tracks` or -1, whether it is that part for certain).
    """
    result = [(-1, True)] * len(found)
    if not tracks or not len(found):
        return result
    pairs = []
    for i, track in enumerate(tracks):
        # Where it was, where its way leads, and where its last step leads, for those who turn.
        places = np.stack([track.last.box, track.predicted(time), track.predicted(time, over=0.0)])
        gap = time - track.last.time
        certain = box_iou(places, found.boxes).max(axis=0)
        near = box_iou(_buffered(places, gap), _buffered(found.boxes, gap)).max(axis=0)
        for j, name in enumerate(found.names):
            same = name == track.label
            sure = bool(certain[j] >= SAME_IOU)
            # After a cut a new thing may stand where the old one stood: only what is the same for certain goes on.
            maybe = near[j] > 0 and not track.followed and track.cut_at is None
            if not (sure and (same or track.cut_at is None)) and not maybe:
                continue
            rank = (sure, track.confirmed, bool(starts[j]), same, float(certain[j] + near[j]))
            pairs.append((rank, -i, -j, sure))
    used = set()
    for _, i, j, sure in sorted(pairs, reverse=True):
        if -i not in used and result[-j][0] < 0:
            used.add(-i)
            result[-j] = (-i, sure)
    return result


def _ordered(box: Floats) -> Floats:
    """Return a box whose sides may have crossed as one whose sides have not."""
    return np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])]).astype(np.float32)


def _hull(boxes: Sequence[Floats]) -> Floats:
    together = np.stack([_ordered(box) for box in boxes])
    return np.concatenate([together[:, :2].min(axis=0), together[:, 2:].max(axis=0)]).astype(np.float32)


def _grown(box: Floats, share: float, pixels: float = 0.0) -> Floats:
    side = np.tile(box[2:] - box[:2], 2) * np.float32(share) + np.float32(pixels)
    return np.asarray(box + side * np.array([-1, -1, 1, 1], dtype=np.float32), dtype=np.float32)


def _buffered(boxes: Floats, gap: float) -> Floats:
    """Enlarge boxes (N, 4) for comparing over a gap of so many seconds."""
    share = min(BUFFER + BUFFER_A_SECOND * gap, MAX_BUFFER)
    side = np.tile(boxes[:, 2:] - boxes[:, :2], (1, 2)) * np.float32(share)
    return np.asarray(boxes + side * np.array([-1, -1, 1, 1], dtype=np.float32), dtype=np.float32)
