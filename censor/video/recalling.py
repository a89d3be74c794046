"""What a person decided earlier about near copies of a video's frames, and hashes of the video's own for later.

A frame that a person called nsfw makes the video nsfw, and what was hidden in it is hidden around it, as long as a part
that was found. A frame that a person called safe clears nothing: what stands beside it in time is another picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from censor.known import drawn_boxes
from censor.motion.regions import HeldBox
from censor.report import WHOLE
from detector.detections import Detections
from detector.known import Match
from detector.pdq import Pdq

__all__ = ["Recalled", "Samples", "with_recalled"]

# Matches of one line of the list no farther apart than this are one, seconds; as for what a detector finds.
GAP = 1.0
# Hashes kept for the report: one a second at first, and every other one is dropped when there are more than this.
MOST_SAMPLES = 64


@dataclass
class Recalled:
    """A stretch of time in which frames are near copies of one decision's picture: seconds, and the nearest match."""

    match: Match
    start: float
    end: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {**self.match.to_dict(), "start": round(self.start, 3), "end": round(self.end, 3)}


@dataclass
class Samples:
    """Hashes of looks, evenly over the video, few however long it is; with what was found in each."""

    records: list[dict[str, Any]] = field(default_factory=list)
    _every: float = 1.0

    def is_due(self, time: float) -> bool:
        """Whether a look at this moment is to be kept."""
        return not self.records or time - self.records[-1]["time"] >= self._every - 1e-6

    def add(self, frame: int, time: float, pdq: Pdq, found: Detections, hide: Sequence[str]) -> None:
        """Keep a look: `found` at or above the thresholds, `hide` the classes to be hidden."""
        boxes = [{**record, "hide": record["label"] in hide} for record in found.to_records()]
        self.records.append({"frame": frame, "time": round(time, 3), "pdq": pdq.to_dict(), "boxes": boxes})
        if len(self.records) > MOST_SAMPLES:
            self.records, self._every = self.records[::2], 2 * self._every


def with_recalled(
    held: Iterator[list[HeldBox]],
    times: Iterator[float],
    recalled: Sequence[Recalled],
    hold: float,
    image_size: tuple[int, int],
    *,
    cover_all: bool,
) -> Iterator[list[HeldBox]]:
    """Yield what is held in each frame, and in addition what a person hid in near copies of frames close in time.

    Args:
        held: what was found, a list a frame.
        times: of the frames, seconds, rising.
        recalled: the decisions; those that say safe are passed over.
        hold: how long before and after, seconds.
        image_size: (height, width).
        cover_all: hide the whole frame where nobody said what is to be hidden and nothing was found.
    """
    height, width = image_size
    waiting = sorted((item for item in recalled if item.match.entry.decision == "nsfw"), key=lambda item: item.start)
    near: list[tuple[int, Recalled]] = []
    place = 0
    for boxes, time in zip(held, times, strict=False):
        while place < len(waiting) and waiting[place].start - hold <= time:
            near.append((place, waiting[place]))
            place += 1
        near = [(i, item) for i, item in near if time <= item.end + hold]
        more = []
        for i, item in near:
            drawn = drawn_boxes(item.match, image_size)
            for (x1, y1, x2, y2), label in zip(drawn.boxes.tolist(), drawn.names, strict=True):
                more.append(HeldBox((x1, y1, x2, y2), label, -1 - i, item.start <= time <= item.end))
        if near and not boxes and not more and cover_all:
            more.append(HeldBox((0.0, 0.0, float(width), float(height)), WHOLE, -1 - near[0][0], False))
        yield boxes + more
