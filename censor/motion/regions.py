"""`RegionTimeline`: what is hidden at each moment, from what was found at some of them.

What it promises, for whoever reads the boxes: every box that was found with a score that counts is covered in its own
frame, and a part is covered from `hold` before it is first found to `hold` after it was last found. Where it cannot
know (a part between two looks, a match in doubt) it covers more, not less. Only a scene cut ends a part at once.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from censor.motion.rules import MotionRules
from censor.motion.tracks import Sighting, Track, match
from detector.detections import Detections
from detector.errors import UsageError

__all__ = ["HeldBox", "RegionTimeline", "hold_regions"]


@dataclass(frozen=True)
class HeldBox:
    """A box to hide in one frame.

    Attributes:
        box: xyxy, pixels of the frame; may reach over its edge.
        label: the class of the part, by its best score.
        track: which part it is; the same number in every frame.
        found: whether the part was found in this very frame.
    """

    box: tuple[float, float, float, float]
    label: str
    track: int
    found: bool


class RegionTimeline:
    """Takes frames in order and gives back what to hide in each, as soon as it is known.

    A frame is ready when one has looked `MotionRules.look_ahead` seconds and `bridge_looks` looks beyond it; `finish`
    makes the rest ready. Holds boxes of that window only, so its memory does not grow with the length.

    Args:
        starts: lowest score, for all classes or each, that hides a part of its own. Boxes below it only continue a
            part that reaches it elsewhere. A class that is not named is always certain.
        rules: how long and how widely; see `MotionRules`.
    """

    def __init__(self, starts: float | Mapping[str, float] = 0.0, *, rules: MotionRules | None = None) -> None:
        self._starts = starts
        self._rules = rules or MotionRules()
        self._waiting: deque[float] = deque()
        self._looks: deque[float] = deque()
        self._tracks: list[Track] = []
        self._count = 0
        self._time = self._cut = -math.inf
        self._finished = False

    def push(self, time: float, found: Detections | None, *, cut: bool = False) -> None:
        """Take the next frame.

        Args:
            time: seconds; not before the frame before.
            found: what was found in it, also with low scores; None when nobody looked.
            cut: whether a new scene begins with this frame.

        Raises:
            UsageError: for a time that is not a number or goes back, or after `finish`.
        """
        if self._finished or not math.isfinite(time) or time < self._time:
            raise UsageError(f"frames must come in order of time and before the end; got {time} after {self._time}")
        self._time = time
        self._waiting.append(time)
        if cut:
            self._cut = time
            for track in self._tracks:
                if track.cut_at is None:
                    track.cut_at = time
        if found is not None:
            self._look(time, found)

    def pop_ready(self) -> list[list[HeldBox]]:
        """Return what to hide in the next frames that are ready, one list a frame, in order; [] when none is."""
        ready = []
        while self._waiting and self._is_ready(self._waiting[0]):
            ready.append(self._hidden(self._waiting.popleft()))
        self._forget()
        return ready

    def finish(self) -> list[list[HeldBox]]:
        """Say that no frame follows; return what to hide in all that are left."""
        self._finished = True
        return self.pop_ready()

    def _is_ready(self, time: float) -> bool:
        if self._finished:
            return True
        if not self._looks or self._looks[-1] < time + self._rules.look_ahead:
            return False
        return sum(look > time for look in self._looks) >= self._rules.bridge_looks

    def _look(self, time: float, found: Detections) -> None:
        starts = self._certain(found)
        open_tracks = [track for track in self._tracks if self._is_open(track, time)]
        for j, (i, sure) in enumerate(match(open_tracks, found, time, starts)):
            seen = Sighting(time, found.boxes[j], float(found.scores[j]), found.names[j])
            if i >= 0 and sure:
                open_tracks[i].add(seen, confirms=bool(starts[j]))
                continue
            self._count += 1
            track = Track(number=self._count, sightings=[seen], first_from=self._back_from(time))
            if i >= 0:
                track.origin, open_tracks[i].followed = open_tracks[i].last, True
                track.first_from = min(track.first_from, track.origin.time)
            track.note(seen, confirms=bool(starts[j]) or (i >= 0 and open_tracks[i].confirmed))
            self._tracks.append(track)
        self._looks.append(time)

    def _certain(self, found: Detections) -> np.ndarray:
        if isinstance(self._starts, Mapping):
            limits = np.array([self._starts.get(name, 0.0) for name in found.names], dtype=np.float32)
        else:
            limits = np.full(len(found), self._starts, dtype=np.float32)
        return np.asarray(found.scores >= limits)

    def _back_from(self, time: float) -> float:
        """Return from when on a part is hidden that is first found at `time`; not before the scene began."""
        looks = list(self._looks)[-self._rules.hold_looks :]
        # Nobody looked so often before: it may have been there from the start.
        by_looks = looks[0] if len(looks) == self._rules.hold_looks else -math.inf
        return max(min(time - self._rules.hold, by_looks), self._cut)

    def _is_open(self, track: Track, time: float) -> bool:
        """Whether a part that was last found some time ago may still be found again."""
        if track.cut_at is not None and time - track.cut_at > self._rules.hold:
            return False
        return time - track.last.time <= self._rules.bridge or self._looks_after(track) < self._rules.bridge_looks

    def _looks_after(self, track: Track) -> int:
        return sum(look > track.last.time for look in self._looks)

    def _until(self, track: Track) -> float:
        """Return how long a part is hidden after it was last found: to the cut, `hold`, or the second look after."""
        after = [look for look in self._looks if look > track.last.time][: self._rules.hold_looks]
        # Nobody looked so often since: it may be there still.
        by_looks = after[-1] if len(after) == self._rules.hold_looks else math.inf
        # The cut's own frame is the first of the new scene.
        cut = math.nextafter(track.cut_at, -math.inf) if track.cut_at is not None else math.inf
        return max(min(max(track.last.time + self._rules.hold, by_looks), cut), track.last.time)

    def _hidden(self, time: float) -> list[HeldBox]:
        held = []
        for track in self._tracks:
            if not track.confirmed:
                continue
            track.until = self._until(track)
            box = track.cover(time, self._rules)
            if box is not None:
                x1, y1, x2, y2 = (float(side) for side in box)
                found = any(seen.time == time for seen in track.sightings)
                held.append(HeldBox((x1, y1, x2, y2), track.label, track.number, found))
        return held

    def _forget(self) -> None:
        """Drop what no frame to come depends on."""
        now = self._waiting[0] if self._waiting else self._time
        self._tracks = [
            track for track in self._tracks if self._is_open(track, self._time) or self._until(track) >= now
        ]
        for track in self._tracks:
            track.forget(now - self._rules.look_ahead - 1.0)
        keep = self._rules.bridge_looks + 1
        while len(self._looks) > keep and self._looks[keep] < now - self._rules.look_ahead:
            self._looks.popleft()


def hold_regions(
    frames: Sequence[Detections | None],
    times: Sequence[float],
    *,
    starts: float | Mapping[str, float] = 0.0,
    cuts: Sequence[bool] | None = None,
    rules: MotionRules | None = None,
) -> list[list[HeldBox]]:
    """Return what to hide in each frame of a whole sequence; see `RegionTimeline`.

    Args:
        frames: what was found in each; None where nobody looked.
        times: when each is shown, seconds, not falling.
        starts: as for `RegionTimeline`.
        cuts: whether a new scene begins with a frame; None for no cuts.
        rules: as for `RegionTimeline`.

    Returns:
        One list a frame; [] for no frames.

    Raises:
        UsageError: when the sequences differ in length, or a time goes back.
    """
    if len(frames) != len(times) or (cuts is not None and len(cuts) != len(times)):
        raise UsageError(
            f"there must be one time and one cut a frame; got {len(frames)} frames, {len(times)} times and "
            f"{len(cuts) if cuts is not None else 'no'} cuts"
        )
    timeline = RegionTimeline(starts, rules=rules)
    held: list[list[HeldBox]] = []
    for i, (time, found) in enumerate(zip(times, frames, strict=True)):
        timeline.push(time, found, cut=bool(cuts[i]) if cuts is not None else False)
        held += timeline.pop_ready()
    return held + timeline.finish()
