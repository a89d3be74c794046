"""`FramesReport`: a `Report` with a list by frame or page, and the boxes of each that a person edited."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from censor.report import SCHEMA, MaskFile, Report
from detector.cliparts import printable
from detector.detections import Detections
from detector.errors import InputError
from detector.picture import Picture

__all__ = ["FramesReport", "boxes_by_frame", "frame_ranges"]


@dataclass(frozen=True, kw_only=True)
class FramesReport(Report):
    """What happened to an animation or a file of pages; the verdict is that on the worst frame or page.

    Attributes:
        kind: `animation` or `pages`.
        frames: one record each: `frame` (from 0), `verdict`, `score`, `second_opinion`, `boxes` (what was hidden, as
            `--mask` reads it), `found`, `painted`, `pdq`, `known`; for an animation `time` and `duration` in seconds.
            The report's own `pdq` and `known` are those of the worst one.
        plays: how often an animation is shown, 0 without an end; None for pages.
        worst: the number of the frame whose verdict stands for all; None when a person's boxes were applied.
    """

    kind: str
    frames: tuple[Mapping[str, Any], ...]
    plays: int | None = None
    worst: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form; its `boxes` and `painted` are empty, those of each frame are in `frames`."""
        more = {"kind": self.kind, "plays": self.plays, "worst_frame": self.worst}
        return {**super().to_dict(), **more, "frames": [dict(frame) for frame in self.frames]}

    def summary(self) -> str:
        """Return one line for people."""
        word = "frame" if self.kind == "animation" else "page"
        hidden = sum(bool(frame["painted"]) for frame in self.frames)
        what = f"regions hidden in {hidden} of {len(self.frames)} {word}s" if hidden else "nothing to hide, rewritten"
        if self.method == "preview":
            what = f"preview of {len(self.frames)} {word}s, nothing hidden"
        verdict = "boxes by a person" if self.verdict is None else self.verdict.verdict
        if self.worst is not None and verdict != "safe":
            verdict += f" ({word} {self.worst})"
        verified = ", verified" if self.verified else ""
        return f"{printable(self.source)} -> {printable(self.target or '-')}: {verdict}, {what}{verified}"


def boxes_by_frame(
    mask: MaskFile, name: str, sha256: str, sizes: list[tuple[int, int]]
) -> list[tuple[Detections, list[Mapping[str, Any]]]]:
    """Return a person's boxes for each frame or page: those to hide, and all of its records.

    Args:
        mask: the file.
        name: of the source; decides where a record has no hash, or several have the same.
        sha256: of the source's bytes.
        sizes: (height, width) of each frame or page.

    Raises:
        InputError: when no record or more than one is about this source, or it has another number of frames, or
            other sizes: boxes drawn for something else would hide the wrong place.
    """
    records = [record for record in mask.records if (record.get("sha256") or {}).get("in") == sha256]
    records = [record for record in records if len(records) == 1 or record.get("source") == name]
    unhashed = [record for record in mask.records if not (record.get("sha256") or {}).get("in")]
    records = records or [record for record in unhashed if record.get("source") == name]
    if len(records) != 1:
        raise InputError(
            f"a mask file must hold one record for {name} (by sha256.in, or by source where it has no hash); "
            f"it holds {len(records)}"
        )
    frames = records[0].get("frames")
    if not isinstance(frames, list) or len(frames) != len(sizes) or not all(isinstance(item, dict) for item in frames):
        count = len(frames) if isinstance(frames, list) else "none"
        raise InputError(f"a mask for {name} must have {len(sizes)} objects in `frames`; got {count}")
    return [_boxes_of(frame, size, records[0].get("image_size")) for frame, size in zip(frames, sizes, strict=True)]


def _boxes_of(
    frame: Mapping[str, Any], size: tuple[int, int], usual: Any
) -> tuple[Detections, list[Mapping[str, Any]]]:
    """Read one frame's boxes as those of a picture of its own."""
    picture = Picture.open(np.zeros((1, 1, 3), np.uint8))
    picture.image_size = size
    record = {"schema": SCHEMA, "source": picture.name, "boxes": frame.get("boxes")}
    record["image_size"] = frame.get("image_size", usual)
    return MaskFile((record,)).boxes_for(picture)


def frame_ranges(numbers: list[int]) -> str:
    """Return frame numbers in few words: `3, 5-9`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
