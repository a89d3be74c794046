"""`Report`: what happened to one picture, and the JSON that `--json` writes and `--mask` reads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.classes import ALL_CLASSES
from detector.cliparts import printable
from detector.detections import Detections
from detector.errors import InputError, UsageError
from detector.known import Match
from detector.pdq import Pdq
from detector.picture import Picture
from detector.verdict import Verdict

__all__ = ["SCHEMA", "WHOLE", "MaskFile", "Report"]

# Named in every report, so that a reader can refuse one that it does not understand.
SCHEMA = "retina-censor/1"

# The label of the region that covers everything; no class has this name.
WHOLE = "WHOLE_PICTURE"

# Exit codes of `censor`, the same for one file as for many (the highest-ranked of all files wins: 1, then 3, then 0).
EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_LOOK = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Report:
    """What happened to one picture.

    Attributes:
        source, target: names as given; `target` is None when nothing was written to a file.
        image_size: (height, width) of the picture as a viewer sees it.
        model: name and sha256 of the detector's weights; empty when a person's boxes were applied.
        device: where it ran.
        policy: name, version and what the caller changed.
        verdict: what was said about the picture as it came in; None when a person's boxes were applied.
        boxes: what was found, as in `Detections.to_records`, each with `hide`: whether it was to be hidden.
        painted: the regions that were painted, in whole pixels.
        method: `painted`, `lossless` (JPEG rewritten segment by segment), `reencoded` or `preview`.
        verified: whether the output passed every check that was asked for.
        warnings: one sentence each; any of them asks for a person's look.
        sha256: hashes of the input's and the output's bytes.
        pdq: the input's perceptual hash, for near copies. A blurred likeness of the picture can be made from it: a
            report belongs with the original.
        known: the earlier decision about a near copy, if there was one.
    """

    source: str
    target: str | None
    image_size: tuple[int, int]
    model: Mapping[str, Any]
    device: str
    policy: Mapping[str, Any]
    verdict: Verdict | None
    boxes: tuple[Mapping[str, Any], ...] = ()
    painted: tuple[Mapping[str, Any], ...] = ()
    method: str = "reencoded"
    verified: bool = False
    warnings: tuple[str, ...] = ()
    sha256: Mapping[str, str | None] = field(default_factory=dict)
    pdq: Pdq | None = None
    known: Match | None = None

    @property
    def exit_code(self) -> int:
        """0 when all is well, 3 when it was written but a person should look."""
        return EXIT_LOOK if self.warnings else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form, which `MaskFile` reads."""
        nothing: dict[str, Any] = {"second_opinion": None, "probability": None, "contributions": []}
        said = self.verdict.to_dict() if self.verdict else nothing
        return {
            "schema": SCHEMA,
            "source": self.source,
            "target": self.target,
            "image_size": list(self.image_size),
            "model": dict(self.model),
            "device": self.device,
            "policy": dict(self.policy),
            "verdict": self.verdict.verdict if self.verdict else None,
            "score": round(self.verdict.score, 6) if self.verdict else None,
            "second_opinion": said["second_opinion"],
            "decided_by": self.verdict.decided_by if self.verdict else None,
            "probability": said["probability"],
            "contributions": said["contributions"],
            "reasons": list(self.verdict.reasons) if self.verdict else [],
            "boxes": [dict(box) for box in self.boxes],
            "painted": [dict(region) for region in self.painted],
            "method": self.method,
            "verified": self.verified,
            "warnings": list(self.warnings),
            "sha256": dict(self.sha256),
            "pdq": self.pdq.to_dict() if self.pdq else None,
            "known": self.known.to_dict() if self.known else None,
        }

    def to_json(self) -> str:
        """Return one line of JSON, in ASCII, so that any file name survives any terminal."""
        return json.dumps(self.to_dict(), ensure_ascii=True)

    def summary(self) -> str:
        """Return one line for people."""
        hidden = len(self.painted)
        what = {
            "painted": f"{hidden} region{'s' if hidden != 1 else ''} hidden",
            "lossless": "nothing to hide, rewritten without loss",
            "reencoded": "nothing to hide, rewritten",
            "preview": f"preview of {sum(bool(box['hide']) for box in self.boxes)} boxes, nothing hidden",
        }[self.method]
        verdict = "boxes by a person" if self.verdict is None else self.verdict.verdict
        verified = ", verified" if self.verified else ""
        return f"{printable(self.source)} -> {printable(self.target or '-')}: {verdict}, {what}{verified}"


@dataclass(frozen=True)
class MaskFile:
    """Boxes that a person edited: the JSON that `--json` writes, one object or one a line."""

    records: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: str | Path) -> "MaskFile":
        """Read a report file.

        Raises:
            InputError: when it cannot be read or is not JSON of this schema.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"a mask file must be readable JSON; {path} is not ({error})") from error
        try:
            records = _objects(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"a mask file must hold JSON as `censor --json` writes it; {path}: {error}") from error
        for record in records:
            if not isinstance(record, dict) or record.get("schema") != SCHEMA:
                raise InputError(f'a mask file must say "schema": "{SCHEMA}"; {path} does not')
        # What a folder's run did not look at anew says no boxes: the record of the same bytes has them.
        return cls(tuple(record for record in records if "journal" not in record))

    def boxes_for(self, picture: Picture) -> tuple[Detections, list[Mapping[str, Any]]]:
        """Return the boxes to hide in one picture, and every box of its record for the next report.

        The record is found by the hash of the picture's bytes, or by its name where the record has no hash.

        Raises:
            InputError: when no record or more than one is about this picture, or the record is about other bytes or
                another size: boxes drawn for another picture would hide the wrong place.
        """
        mine = [record for record in self.records if _hash(record) and _hash(record) == picture.sha256]
        # The same picture twice in one run: its name decides.
        mine = [record for record in mine if len(mine) == 1 or record.get("source") == picture.name]
        mine = mine or [record for record in self.records if not _hash(record) and record.get("source") == picture.name]
        if len(mine) != 1:
            raise InputError(
                f"a mask file must hold one record for {picture.name} (by sha256.in, or by source where it has no "
                f"hash); it holds {len(mine)}"
            )
        height, width = picture.image_size
        if mine[0].get("image_size") != [height, width]:
            raise InputError(
                f"a mask must be for a picture of {[height, width]} (height, width); got one for "
                f"{mine[0].get('image_size')}"
            )
        return _to_hide(mine[0], picture.image_size)


def _objects(text: str) -> list[Any]:
    """Parse one JSON object, a list of them, or one a line."""
    try:
        value = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return value if isinstance(value, list) else [value]


def _hash(record: Mapping[str, Any]) -> str | None:
    hashes = record.get("sha256")
    value = hashes.get("in") if isinstance(hashes, dict) else None
    return value if isinstance(value, str) else None


def _to_hide(record: Mapping[str, Any], image_size: tuple[int, int]) -> tuple[Detections, list[Mapping[str, Any]]]:
    boxes = record.get("boxes")
    if not isinstance(boxes, list) or not all(isinstance(box, dict) for box in boxes):
        raise InputError("a mask must hold a list `boxes` of objects; got something else")
    if not all(isinstance(box.get("hide", True), bool) for box in boxes):
        raise InputError("a mask's `hide` must be true or false; got something else")
    chosen = [box for box in boxes if box.get("hide", True)]
    try:
        found = Detections.from_records(chosen, image_size, class_names=(*ALL_CLASSES, WHOLE), model="person")
    except UsageError as error:
        raise InputError(f"a mask's boxes must be as `censor --json` writes them: {error}") from error
    return found, boxes
