"""`VideoReport`: what happened to one video; the report of a picture, with times in the place of boxes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from censor.report import EXIT_LOOK, EXIT_OK, SCHEMA
from detector.cliparts import printable
from detector.verdict import Verdict

__all__ = ["VideoReport"]


@dataclass(frozen=True, kw_only=True)
class VideoReport:
    """What happened to one video.

    Attributes:
        source, target, image_size, model, device, policy, verdict, method, verified, warnings, sha256: as in
            `censor.report.Report`; `method` is `painted`, `reencoded`, `scan` or `preview`.
        ranges: where the classes were found: label, start and end in seconds, looks, highest score.
        hidden: where they were hidden: label, start and end in seconds.
        video: frames, frames looked at, frames with something hidden, seconds, codec and so on.
        votes: what the looks voted for; see `censor.motion.votes`.
        notes: one sentence each about what is as it should be, but may surprise.
    """

    source: str
    target: str | None
    image_size: tuple[int, int]
    model: Mapping[str, Any]
    device: str
    policy: Mapping[str, Any]
    verdict: Verdict
    ranges: tuple[Mapping[str, Any], ...] = ()
    hidden: tuple[Mapping[str, Any], ...] = ()
    video: Mapping[str, Any] = field(default_factory=dict)
    votes: Mapping[str, Any] = field(default_factory=dict)
    method: str = "painted"
    verified: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    sha256: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when all is well, 3 when it was written but a person should look."""
        return EXIT_LOOK if self.warnings else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form: the keys of a picture's report, and more."""
        said = self.verdict.to_dict()
        return {
            "schema": SCHEMA,
            "kind": "video",
            "source": self.source,
            "target": self.target,
            "image_size": list(self.image_size),
            "model": dict(self.model),
            "device": self.device,
            "policy": dict(self.policy),
            "verdict": said["verdict"],
            "score": said["score"],
            "second_opinion": said["second_opinion"],
            "decided_by": said["decided_by"],
            "probability": said["probability"],
            "contributions": said["contributions"],
            "reasons": said["reasons"],
            "ranges": [dict(item) for item in self.ranges],
            "hidden": [dict(item) for item in self.hidden],
            "votes": dict(self.votes),
            "video": dict(self.video),
            "method": self.method,
            "verified": self.verified,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "sha256": dict(self.sha256),
        }

    def to_json(self) -> str:
        """Return one line of JSON, in ASCII."""
        return json.dumps(self.to_dict(), ensure_ascii=True)

    def summary(self) -> str:
        """Return one line for people; for a scan, one more for each range."""
        frames = self.video.get("frames", 0)
        what = {
            "painted": f"hidden in {self.video.get('hidden_frames', 0)} of {frames} frames",
            "reencoded": f"nothing to hide in {frames} frames, written again",
            "scan": f"{self.video.get('looked', 0)} looks in {frames} frames, nothing written",
            "preview": f"contact sheet of {self.video.get('thumbnails', 0)} frames",
        }[self.method]
        verified = ", verified" if self.verified else ""
        arrow = f" -> {printable(self.target)}" if self.target else ""
        lines = [f"{printable(self.source)}{arrow}: {self.verdict.verdict}, {what}{verified}"]
        if self.method == "scan":
            lines += [
                f"  {item['start']:9.2f} s to {item['end']:9.2f} s  {item['label']} in {item['looks']} looks, "
                f"up to {item['score']:.2f}"
                for item in self.ranges
            ]
        return "\n".join(lines)
