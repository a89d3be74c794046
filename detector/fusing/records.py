"""Records of uploaders and groups from a file: one for all pictures, or JSON Lines with one a picture."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.errors import InputError, UsageError
from detector.evidence import Record
from detector.nearest import nearest

__all__ = ["Records", "read_records"]

_WHOSE = ("uploader", "group")

# Characters of a wrong object in a message.
_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Records:
    """The records of one run.

    Attributes:
        common: those of every picture; None when each has its own.
        by_source: those of single pictures, by the name that was given on the command line.
    """

    common: Mapping[str, Record | None] | None
    by_source: Mapping[str, Mapping[str, Record | None]]

    def of(self, source: str) -> Mapping[str, Record | None]:
        """Return `uploader` and `group` of one picture, for `classify`.

        Raises:
            InputError: when the file has no line for it: a forgotten line is not the same as an unknown uploader.
        """
        if self.common is not None:
            return self.common
        if source not in self.by_source:
            raise InputError(
                f"the record file must have a line for every picture; it has none for {source}; where nothing is "
                'known, say {"source": ..., "uploader": null}'
            )
        return self.by_source[source]


def read_records(path: Path) -> Records:
    """Read a record file.

    It holds either one JSON object, `{"uploader": {"posted": {"1": 0, "7": 2, "30": 10, "90": 40}, "flagged": {...}},
    "group": null}`, for all pictures, or one such object a line, each with the picture's `source`.

    Raises:
        UsageError: when it cannot be read, or says something that is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        objects = _objects(text)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"a record file must be readable JSON or JSON Lines; {path} is not ({reason})") from error
    parsed = [_parse(value, f"{path.name}, object {number}") for number, value in enumerate(objects, start=1)]
    if len(parsed) == 1 and parsed[0][0] is None:
        return Records(common=parsed[0][1], by_source={})
    by_source: dict[str, Mapping[str, Record | None]] = {}
    for number, (source, records) in enumerate(parsed, start=1):
        if source is None or source in by_source:
            what = "has none" if source is None else f"has {source} again"
            raise UsageError(
                f"{path.name}: with several objects each must have a `source` of its own; object {number} {what}"
            )
        by_source[source] = records
    if not by_source:
        raise UsageError(f"{path.name} must hold at least one record; it holds none")
    return Records(common=None, by_source=by_source)


def _objects(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def _short(value: Any) -> str:
    """Any file may have been named here; a line shows how it begins."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _parse(value: Any, where: str) -> tuple[str | None, Mapping[str, Record | None]]:
    if not isinstance(value, Mapping) or not any(key in value for key in _WHOSE):
        raise UsageError(f"{where}: a record must be an object with uploader, group or both; got {_short(value)}")
    for key in value:
        if key not in ("source", *_WHOSE):
            raise UsageError(f"{where}: a key must be source, uploader or group; got {key!r}{nearest(key, _WHOSE)}")
    source = value.get("source")
    if source is not None and not isinstance(source, str):
        raise UsageError(f"{where}: source must be a text; got {source!r}")
    try:
        return source, {whose: None if value.get(whose) is None else Record.from_dict(value[whose]) for whose in _WHOSE}
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
