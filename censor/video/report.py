"""`VideoReport`: what happened to one video; the report of a picture, with times in the place of boxes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from censor.report import Report
from detector.cliparts import printable

__all__ = ["VideoReport"]


@dataclass(frozen=True, kw_only=True)
class VideoReport(Report):
    """What happened to one video.

    Attributes:
        method: `painted`, `reencoded`, `scan` or `preview`; `boxes` and `painted` stay empty.
        ranges: where the classes were found: label, start and end in seconds, looks, highest score.
        hidden: where they were hidden: label, start and end in seconds.
        video: frames, frames looked at, frames with something hidden, seconds, codec and so on.
        samples: perceptual hashes of some looks: frame, time, pdq, and the boxes found there; few, however long it is.
        recalled: what a person decided about near copies of frames: the decision, start and end in seconds. `known` is
            the gravest and nearest of them.
        votes: what the looks voted for; see `censor.motion.votes`.
        notes: one sentence each about what is as it should be, but may surprise.
    """

    ranges: tuple[Mapping[str, Any], ...] = ()
    hidden: tuple[Mapping[str, Any], ...] = ()
    video: Mapping[str, Any] = field(default_factory=dict)
    votes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    recalled: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form: the keys of a picture's report, and more."""
        return {
            **super().to_dict(),
            "kind": "video",
            "ranges": [dict(item) for item in self.ranges],
            "hidden": [dict(item) for item in self.hidden],
            "votes": dict(self.votes),
            "video": dict(self.video),
            "notes": list(self.notes),
            "samples": [dict(item) for item in self.samples],
            "recalled": [dict(item) for item in self.recalled],
        }

    def summary(self) -> str:
        """Return one line for people; for a scan, one more for each range."""
        frames = self.video.get("frames", 0)
        what = {
            "painted": f"hidden in {self.video.get('hidden_frames', 0)} of {frames} frames",
            "reencoded": f"nothing to hide in {frames} frames, written again",
            "scan": f"{self.video.get('looked', 0)} looks in {frames} frames, no video written",
            "preview": f"contact sheet of {self.video.get('thumbnails', 0)} frames",
        }[self.method]
        verdict = self.verdict.verdict if self.verdict else "no verdict"
        verified = ", verified" if self.verified else ""
        arrow = f" -> {printable(self.target)}" if self.target else ""
        lines = [f"{printable(self.source)}{arrow}: {verdict}, {what}{verified}"]
        if self.method == "scan":
            lines += [
                f"  {item['start']:9.2f} s to {item['end']:9.2f} s  {item['label']} in {item['looks']} looks, "
                f"up to {item['score']:.2f}"
                for item in self.ranges
            ]
        return "\n".join(lines)
