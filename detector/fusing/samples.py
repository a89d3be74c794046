"""Labelled pictures for a fit, from a CSV: with feature columns, or with files that are looked at."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detector.cliparts import printable
from detector.errors import InputError, UsageError
from detector.evaluation.labelled import LABELS
from detector.evidence import OPINION, WINDOWS, Evidence, Record, counted_classes, part_features
from detector.nearest import nearest
from detector.policy import Policy

__all__ = ["Sample", "Samples", "features_csv", "read_samples", "with_evidence"]

_TOGETHER, _DETECTOR, _COUNTED_FROM = "keep_together", "detector", "counted_from"
_RECORD_COLUMNS = {
    whose: {kind: tuple(f"{whose}.{kind}.{days}" for days in WINDOWS) for kind in ("posted", "flagged")}
    for whose in ("uploader", "group")
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One labelled picture; `evidence` lacks the features of the detector until it has been looked at.

    Attributes:
        line: where it stands in the CSV, for messages.
        nsfw: its label.
        file: its file as the CSV names it; empty where only features are given.
        keep_together: pictures of the same text here, of one uploader or copies of each other, say, are never on both
            sides of a cross-validation; empty for one that stands alone.
        evidence: what is known of it.
    """

    line: int
    nsfw: bool
    file: str
    evidence: Evidence
    keep_together: str = ""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A labelled CSV.

    Attributes:
        source, sha256: name and hash of the file.
        items: one a line.
        detector: name of the detector that the features are of; empty when the file does not say.
        unused: columns that are not understood and not used.
    """

    source: str
    sha256: str
    items: tuple[Sample, ...]
    detector: str = ""
    unused: tuple[str, ...] = field(default=())

    @property
    def looked_at(self) -> bool:
        """Whether the features of the detector are there."""
        return all(item.evidence.parts for item in self.items)


def read_samples(path: Path, policy: Policy) -> Samples:
    """Read a labelled CSV.

    Its columns: `label` (nsfw or safe; nude, sfw, 1 and 0 are understood too), and either `file` (relative to the
    CSV's folder) or every feature of the detector (`exposed.score`, …) with `second_opinion` (empty where it was not
    asked; the column may be left out). Records are `uploader.posted.1`, `uploader.flagged.1`, … for 1, 7, 30 and
    90 days, and the same for `group`; empty where nothing is known. `keep_together` is explained at `Sample`.
    `detector` and `counted_from`, as `features_csv` writes them, are compared with the policy.

    Args:
        path: the file.
        policy: whose classes and thresholds the features belong to.

    Raises:
        InputError: when the file cannot be read.
        UsageError: when a column is missing, or a value is not understood; the message names the line.
    """
    try:
        data = path.read_bytes()
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(f"a labelled file must be readable CSV in UTF-8; {path} is not ({reason})") from error
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{path.name} must have each column once; it has {', '.join(map(repr, twice))} again")
    if not rows or "label" not in columns:
        near = nearest("label", columns) if columns else ""
        raise UsageError(f"{path.name} must have a column 'label' and at least one line; it has not{near}")
    parts = part_features(policy.verdict.nsfw_classes)
    given = [name for name in parts if name in columns]
    if given and len(given) < len(parts):
        lacking = [name for name in parts if name not in columns]
        raise UsageError(f"{path.name} must have every feature of the detector or none; it lacks {', '.join(lacking)}")
    if not given and "file" not in columns:
        raise UsageError(f"{path.name} must have a column 'file', or the features {', '.join(parts)}; it has neither")
    known = {"label", "file", _TOGETHER, OPINION, _DETECTOR, _COUNTED_FROM, *parts}
    for whose, kinds in _RECORD_COLUMNS.items():
        names = [*kinds["posted"], *kinds["flagged"]]
        if any(name in columns for name in names) and not all(name in columns for name in names):
            lacking = [name for name in names if name not in columns]
            raise UsageError(f"{path.name}: the record of the {whose} must be whole; it lacks {', '.join(lacking)}")
        known |= set(names)
    read = _Reader(path.name, tuple(given))
    items = tuple(read.sample(line, row) for line, row in enumerate(rows, start=2))
    if given:
        _check_thresholds(path.name, rows, items, policy)
    detectors = sorted({row.get(_DETECTOR) or "" for row in rows})
    if len(detectors) > 1:
        raise UsageError(f"{path.name}: the features must be of one detector; they are of {', '.join(detectors)}")
    unused = tuple(name for name in columns if name not in known)
    digest = hashlib.sha256(data).hexdigest()
    return Samples(source=printable(path.name), sha256=digest, items=items, detector=detectors[0], unused=unused)


def features_csv(samples: Samples, policy: Policy) -> str:
    """Return the CSV with every feature, which `read_samples` reads again without looking at a picture."""
    parts = part_features(policy.verdict.nsfw_classes)
    records = [name for kinds in _RECORD_COLUMNS.values() for names in kinds.values() for name in names]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "file", _TOGETHER, *parts, OPINION, *records, _DETECTOR, _COUNTED_FROM])
    for item in samples.items:
        evidence = item.evidence
        opinion = "" if evidence.second_opinion is None else _number_text(evidence.second_opinion)
        counts: list[object] = []
        for record in (evidence.uploader, evidence.group):
            counts += [""] * (2 * len(WINDOWS)) if record is None else [*record.posted, *record.flagged]
        values = [_number_text(evidence.parts[name]) for name in parts]
        label = "nsfw" if item.nsfw else "safe"
        row = [label, item.file, item.keep_together, *values, opinion, *counts]
        writer.writerow([*row, samples.detector, _thresholds_text(policy)])
    return text.getvalue()


@dataclass(frozen=True)
class _Reader:
    """Reads lines; every message names the file and the line."""

    name: str
    parts: tuple[str, ...]

    def sample(self, line: int, row: Mapping[str, str]) -> Sample:
        where = f"{self.name}, line {line}"
        if None in row or None in row.values():
            raise UsageError(f"{where}: there must be one value a column; there are more or fewer")
        label = row["label"].strip().lower()
        if label not in LABELS:
            raise UsageError(f"{where}: label must be one of {', '.join(LABELS)}; got {row['label']!r}")
        if not self.parts and not row["file"]:
            raise UsageError(f"{where}: file must name a picture; it is empty")
        values = {name: self._number(where, name, row[name], 5.0) for name in self.parts}
        opinion = row.get(OPINION, "") if self.parts else ""
        evidence = Evidence(
            parts=values,
            second_opinion=self._number(where, OPINION, opinion, 1.0) if opinion else None,
            uploader=self._record(where, row, "uploader"),
            group=self._record(where, row, "group"),
        )
        return Sample(
            line=line,
            nsfw=LABELS[label],
            file=row.get("file", ""),
            evidence=evidence,
            keep_together=row.get(_TOGETHER, ""),
        )

    def _number(self, where: str, column: str, text: str, most: float) -> float:
        most = 1.0 if not column.endswith(".count") else most
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 <= value <= most:
            raise UsageError(f"{where}: {column} must be a number in [0, {most:g}]; got {text!r}")
        return value

    def _record(self, where: str, row: Mapping[str, str], whose: str) -> Record | None:
        columns = _RECORD_COLUMNS[whose]
        texts = [row.get(name, "").strip() for names in columns.values() for name in names]
        if not any(texts):
            return None
        try:
            counts = [int(text) for text in texts]
        except ValueError as error:
            raise UsageError(f"{where}: the {whose}'s record must be 8 whole numbers, or all empty; {error}") from error
        a, b, c, d, e, f, g, h = counts
        try:
            return Record(posted=(a, b, c, d), flagged=(e, f, g, h))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error


def with_evidence(samples: Samples, parts: Sequence[Evidence], detector: str) -> Samples:
    """Return the samples with what was found in their pictures, records kept."""
    items = tuple(
        replace(item, evidence=replace(seen, uploader=item.evidence.uploader, group=item.evidence.group))
        for item, seen in zip(samples.items, parts, strict=True)
    )
    return replace(samples, items=items, detector=detector)


def _number_text(value: float) -> str:
    """Write every digit: a fit to the file is then the fit to the pictures."""
    return repr(value).removesuffix(".0")


def _thresholds_text(policy: Policy) -> str:
    thresholds = policy.detect.thresholds(counted_classes(policy.verdict.nsfw_classes))
    return " ".join(f"{name}={value:g}" for name, value in thresholds.items())


def _check_thresholds(name: str, rows: list[dict[str, str]], items: tuple[Sample, ...], policy: Policy) -> None:
    """Refuse features that were counted from other scores than the policy's."""
    wanted = _thresholds_text(policy)
    for item, row in zip(items, rows, strict=True):
        stated = row.get(_COUNTED_FROM) or wanted
        if stated != wanted:
            raise UsageError(f"{name}, line {item.line}: counted_from must be as in the policy, {wanted}; got {stated}")
        for pair in wanted.split():
            label, _, thresh = pair.partition("=")
            score = item.evidence.parts[f"{label}.score"]
            if 0 < score < float(thresh) - 1e-6:
                raise UsageError(
                    f"{name}, line {item.line}: {label}.score must be 0, or at least the policy's threshold {thresh}; "
                    f"got {score:g}"
                )
