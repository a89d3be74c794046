"""Earlier decisions of a person, recalled for near copies: the list that `--known` reads.

One JSON object a line:

    {"schema": "retina-censor-known/1", "pdq": "<64 hex>", "quality": 100, "decision": "nsfw",
     "boxes": [{"label": "BUTTOCKS_EXPOSED", "box": [0.1, 0.2, 0.4, 0.5]}], "note": "in.jpg"}

Boxes are shares of width and height, and may be left out. PDQ can be forged: a stranger who knows one hash of the list
can make another picture with it. So a near copy of something nsfw is always nsfw, while a near copy of something safe
is looked at all the same, unless the policy says `[verdict] known = "trust"`.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detector.classes import ALL_CLASSES, canonical_class
from detector.errors import InputError, UsageError
from detector.pdq import MAX_DISTANCE, MIN_QUALITY, Pdq, distances, pack_hashes
from detector.policy import Policy
from detector.verdict import Verdict

__all__ = [
    "DECISIONS",
    "KNOWN_LABELS",
    "KNOWN_SCHEMA",
    "KnownEntry",
    "KnownList",
    "Match",
    "entries_of",
    "recalled",
    "with_known",
]

KNOWN_SCHEMA = "retina-censor-known/1"
# What a person can have decided.
DECISIONS = ("safe", "nsfw")
# What a box of the list may be called: a class, or all of the picture, as a report says it.
KNOWN_LABELS = (*ALL_CLASSES, "WHOLE_PICTURE")
_KEYS = {"schema", "pdq", "quality", "decision", "boxes", "note"}


@dataclass(frozen=True)
class KnownEntry:
    """One decision about one picture.

    Attributes:
        pdq: the picture's hash and its quality.
        decision: `safe` or `nsfw`.
        boxes: what was to be hidden: (label, (x1, y1, x2, y2)) with sides as shares of width and height, in [0, 1].
        note: whatever a person wants to read again; a file name, say.
    """

    pdq: Pdq
    decision: str
    boxes: tuple[tuple[str, tuple[float, float, float, float]], ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if self.decision not in DECISIONS:
            raise UsageError(f"a decision must be one of {', '.join(DECISIONS)}; got {self.decision!r}")
        if self.decision == "safe" and self.boxes:
            raise UsageError("a safe picture must have no boxes to hide; got some")
        for _, (x1, y1, x2, y2) in self.boxes:
            if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
                raise UsageError(
                    f"a known box must be [x1, y1, x2, y2] as shares, 0 <= x1 < x2 <= 1; got {[x1, y1, x2, y2]}"
                )

    def to_json(self) -> str:
        """Return one line of the list."""
        boxes = [{"label": label, "box": [round(side, 6) for side in box]} for label, box in self.boxes]
        record: dict[str, Any] = {"schema": KNOWN_SCHEMA, "pdq": self.pdq.hash, "quality": self.pdq.quality}
        record |= {"decision": self.decision, "boxes": boxes, "note": self.note}
        return json.dumps(record, ensure_ascii=True)

    @classmethod
    def from_record(cls, record: Any) -> "KnownEntry":
        """Read one parsed line.

        Raises:
            UsageError: when something is missing, unknown or of the wrong kind.
        """
        if not isinstance(record, dict) or record.get("schema") != KNOWN_SCHEMA:
            raise UsageError(f'it must be an object with "schema": "{KNOWN_SCHEMA}"')
        unknown = sorted(set(record) - _KEYS)
        if unknown:
            raise UsageError(f"its keys must be among {', '.join(sorted(_KEYS))}; got {unknown[0]!r}")
        pdq = Pdq(str(record.get("pdq", "")).lower(), record.get("quality"))  # type: ignore[arg-type]
        try:
            boxes = tuple(_box(box) for box in record.get("boxes") or ())
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError("its boxes must be objects with `label` and `box` = [x1, y1, x2, y2]") from error
        return cls(pdq, str(record.get("decision")), boxes, str(record.get("note", "")))


@dataclass(frozen=True)
class Match:
    """The entry that a picture is a near copy of.

    Attributes:
        entry: the earlier decision.
        distance: in how many of 256 bits the hashes differ.
        line: where it stands in the list, from 1.
        looked: whether the picture was looked at all the same.
    """

    entry: KnownEntry
    distance: int
    line: int
    looked: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return what a report says about it."""
        return {
            "decision": self.entry.decision,
            "distance": self.distance,
            "line": self.line,
            "note": self.entry.note,
            "looked": self.looked,
        }

    @property
    def reason(self) -> str:
        """One sentence for a verdict's reasons."""
        ending = "looked at all the same" if self.looked else "not looked at again"
        return (
            f"a person said {self.entry.decision} of a near copy (line {self.line} of the known list, "
            f"{self.distance} of 256 bits differ); {ending}"
        )


class KnownList:
    """A person's earlier decisions, by perceptual hash; immutable, safe for threads.

    Args:
        entries: the decisions. Those of a quality below `MIN_QUALITY` match nothing: `ignored` counts them.
        lines: the line of each in its file; 1, 2, 3, … where it has none.
    """

    def __init__(self, entries: Sequence[KnownEntry], lines: Sequence[int] | None = None) -> None:
        numbered = list(zip(entries, lines or range(1, len(entries) + 1), strict=True))
        self._entries = [(entry, line) for entry, line in numbered if entry.pdq.quality >= MIN_QUALITY]
        self.ignored = len(numbered) - len(self._entries)
        self._packed = pack_hashes([entry.pdq.hash for entry, _ in self._entries])
        self._nsfw = np.array([entry.decision == "nsfw" for entry, _ in self._entries], dtype=bool)

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "KnownList":
        """Read a list.

        Raises:
            InputError: when it cannot be read or a line is not understood: a decision that is passed over silently
                might be the one that hides something.
        """
        entries, lines = [], []
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"a known list must be a text file; {os.fspath(path)} cannot be read ({error})") from error
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                entries.append(KnownEntry.from_record(json.loads(line)))
            except (ValueError, RecursionError) as error:  # UsageError is a ValueError too
                raise InputError(f"{os.fspath(path)}, line {number}, must be a decision as JSON; {error}") from error
            lines.append(number)
        return cls(entries, lines)

    def find(self, pdq: Pdq) -> Match | None:
        """Return the nearest decision about a near copy; None when there is none, or the hash can tell too little.

        Among near copies with different decisions nsfw counts, however near the other is. Where several are equally
        near, as those of a picture that was added twice, the boxes of all of them count.
        """
        if pdq.quality < MIN_QUALITY or not self._entries:
            return None
        far = distances(self._packed, pdq.hash)
        near = far <= MAX_DISTANCE
        if not near.any():
            return None
        if (near & self._nsfw).any():
            near &= self._nsfw
        distance = int(far[near].min())
        nearest = [self._entries[index] for index in np.flatnonzero(near & (far == distance))]
        entry, line = nearest[0]
        boxes = dict.fromkeys(box for other, _ in nearest for box in other.boxes)  # each once
        return Match(replace(entry, boxes=tuple(boxes)), distance, line)


def recalled(match: Match, policy: Policy) -> Match:
    """Return the match as it is used under a policy: whether the picture must be looked at all the same.

    It must unless the policy trusts the list; and where a picture is nsfw and nobody said what is to be hidden.
    """
    enough = match.entry.decision == "safe" or bool(match.entry.boxes)
    return replace(match, looked=policy.verdict.known != "trust" or not enough)


def with_known(verdict: Verdict | None, match: Match, policy: Policy) -> Verdict:
    """Return the verdict on a near copy of a picture that a person has decided about.

    Args:
        verdict: what the models say; None where they were not asked, and the decision alone counts.
        match: as `recalled` returns it.
        policy: the policy that decides.
    """
    if verdict is None:
        return Verdict(
            verdict=match.entry.decision,
            score=0.0,
            second_opinion=None,
            reasons=(match.reason,),
            policy=policy.label,
        )
    said = "nsfw" if match.entry.decision == "nsfw" else verdict.verdict
    return replace(verdict, verdict=said, reasons=(*verdict.reasons, match.reason))


def entries_of(records: Iterable[Mapping[str, Any]], decision: str) -> list[KnownEntry]:
    """Turn reports of `censor` into entries of a list.

    Args:
        records: parsed reports; what they were to hide goes into nsfw entries.
        decision: what the person decided about all of them.

    Raises:
        UsageError: when a report says no hash, as one of a failure does, or is not understood.
    """
    found: dict[str, KnownEntry] = {}
    for record in records:
        frames = (record.get("frames") or record.get("samples")) if decision == "nsfw" else None
        shown = [frame for frame in frames or () if any(box.get("hide", True) for box in frame["boxes"])]
        # Of a moving picture what was hidden in it, frame by frame; else, and where nothing was, what stands for all.
        for one in [{**record, **frame} for frame in shown] or [dict(record)]:
            entry = _entry_of(one, decision)
            found.setdefault(f"{entry.pdq.hash} {entry.note}" if frames else str(len(found)), entry)
    return list(found.values())


def _entry_of(record: Mapping[str, Any], decision: str) -> KnownEntry:
    """Turn the report of one picture, frame or page into an entry."""
    name = record.get("source")
    pdq, size = record.get("pdq"), record.get("image_size")
    if not isinstance(pdq, Mapping) or not isinstance(size, list) or len(size) != 2:
        raise UsageError(f"a report must hold `pdq` and `image_size`; that of {name} does not")
    height, width = size
    boxes = []
    for box in record.get("boxes", ()) if decision == "nsfw" else ():
        if box.get("hide", True):
            x1, y1, x2, y2 = box["box"]
            sides = (x1 / width, y1 / height, x2 / width, y2 / height)
            if not all(math.isfinite(side) for side in sides):  # NaN would be passed over silently
                raise UsageError(f"a report's boxes must be numbers; that of {name} has {box['box']}")
            left, top, right, bottom = (min(max(float(side), 0.0), 1.0) for side in sides)
            if left < right and top < bottom:
                boxes.append((_label(box), (left, top, right, bottom)))
    return KnownEntry(Pdq(pdq.get("hash"), pdq.get("quality")), decision, tuple(boxes), str(name))  # type: ignore[arg-type]


def _label(record: Mapping[str, Any]) -> str:
    return canonical_class(str(record["label"]), KNOWN_LABELS)


def _box(record: Mapping[str, Any]) -> tuple[str, tuple[float, float, float, float]]:
    x1, y1, x2, y2 = (float(side) for side in record["box"])
    if not all(math.isfinite(side) for side in (x1, y1, x2, y2)):
        raise ValueError("not finite")
    return _label(record), (x1, y1, x2, y2)
