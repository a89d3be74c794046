"""Pictures that are known to be nude or safe: two folders, or a CSV file."""

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.errors import InputError, UsageError
from detector.nearest import nearest

__all__ = ["LABELS", "Labelled", "LabelledPicture", "read_labelled"]

# What a folder's name or a CSV's label says: whether it is nude.
LABELS: Mapping[str, bool] = {"nude": True, "nsfw": True, "1": True, "safe": False, "sfw": False, "0": False}
FOLDERS = ("nude", "nsfw", "safe", "sfw")
# A slice value that the CSV leaves empty.
NOT_STATED = "(not stated)"


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """One file and what is known of it.

    Attributes:
        name: as reports show it: relative to the folder, or as the CSV has it.
        path: where it is.
        nude: what it is.
        slices: value by column, of the columns that were asked for.
    """

    name: str
    path: Path
    nude: bool
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """All of them; whether the files are pictures at all is seen when they are scored.

    Attributes:
        source: name of the folder or file.
        pictures: in a fixed order, at least one.
        slice_columns: the columns that were asked for.
        digest: SHA-256 of every file's content and label, so that two results can be told to be of the same data.
        repeated: files whose content an earlier file of the same label has already.
        beside: files in the folder that lie in none of the labelled subfolders; they are not evaluated.
    """

    source: str
    pictures: Sequence[LabelledPicture]
    slice_columns: tuple[str, ...]
    digest: str
    repeated: int
    beside: int

    @property
    def nude(self) -> NDArray[np.bool_]:
        """(N,) what each picture is."""
        return np.array([picture.nude for picture in self.pictures], dtype=bool)


def read_labelled(path: Path, *, slices: Sequence[str] = ()) -> Labelled:
    """List labelled pictures.

    A folder has the subfolders `nude` (or `nsfw`) and `safe` (or `sfw`), searched to any depth. Every file in them
    counts, whatever its name: what is in it says whether it is a picture. A CSV has the columns `file` (relative to
    the CSV) and `label` (nude, nsfw, 1, safe, sfw, 0), and any others.

    Args:
        path: the folder or file.
        slices: columns of the CSV by which figures are wanted.

    Raises:
        InputError: when it cannot be read or lists nothing.
        UsageError: when something in it is not understood, or one content has both labels.
    """
    beside = 0
    if path.is_dir():
        if slices:
            raise UsageError(f"--slice needs a CSV with that column; {path} is a folder")
        pictures, beside = _of_folder(path)
    else:
        pictures = list(_of_csv(path, slices))
    if not pictures:
        raise InputError(f"there must be at least one picture with a label; {path} has none")
    digest, repeated = _digest(pictures)
    return Labelled(
        source=path.resolve().name,
        pictures=pictures,
        slice_columns=tuple(slices),
        digest=digest,
        repeated=repeated,
        beside=beside,
    )


def _of_folder(folder: Path) -> tuple[list[LabelledPicture], int]:
    pictures, beside = [], 0
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"a folder must be readable; {folder} is not ({error.strerror or error})") from error
    for entry in entries:
        if not entry.is_dir():
            beside += 1
            continue
        if entry.name.lower() not in FOLDERS:
            raise UsageError(
                f"every subfolder of {folder} must be named one of {', '.join(FOLDERS)}; got {entry.name!r}"
                + nearest(entry.name, FOLDERS)
            )
        nude = LABELS[entry.name.lower()]
        for where, folders, files in os.walk(entry, onerror=_raise):
            folders.sort()
            linked = next((name for name in folders if (Path(where) / name).is_symlink()), None)
            if linked is not None:  # what it holds would be passed over without a word
                raise InputError(
                    f"a folder in {entry} must not be a link, which may lead round in circles; {Path(where) / linked} "
                    "is one; put the pictures there, or list them in a CSV"
                )
            for name in sorted(files):
                file = Path(where) / name
                pictures.append(LabelledPicture(name=file.relative_to(folder).as_posix(), path=file, nude=nude))
    return pictures, beside


def _raise(error: OSError) -> None:
    """A folder that cannot be listed is no empty folder."""
    raise InputError(f"a folder must be readable; {error.filename} is not ({error.strerror or error})") from error


def _of_csv(path: Path, slices: Sequence[str]) -> Iterator[LabelledPicture]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"labels must be a folder or a readable CSV in UTF-8; {path} is not: {error}") from error
    if not rows:
        return
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{path.name} must have each column once; it has {', '.join(map(repr, twice))} again")
    for column in ("file", "label", *slices):
        if column not in columns:
            known = [name for name in columns if name]
            raise UsageError(
                f"{path.name} must have the column {column!r}; it has {', '.join(known)}{nearest(column, known)}"
            )
    seen: set[Path] = set()
    for number, row in enumerate(rows, 2):
        where = f"{path.name}, row {number}"
        if None in row or None in row.values():
            raise UsageError(f"{where}: a row must have one value for each of the {len(columns)} columns")
        label = row["label"].strip().lower()
        if label not in LABELS:
            raise UsageError(f"{where}: a label must be one of {', '.join(LABELS)}; got {row['label']!r}")
        file_path = path.parent / row["file"]
        if not row["file"].strip() or "\0" in row["file"] or file_path in seen:
            raise UsageError(f"{where}: a file must be named, and once only; got {row['file']!r}")
        seen.add(file_path)
        values = {column: row[column].strip() or NOT_STATED for column in slices}
        yield LabelledPicture(name=row["file"], path=file_path, nude=LABELS[label], slices=values)


def _digest(pictures: Sequence[LabelledPicture]) -> tuple[str, int]:
    """Hash contents and labels; refuse one content with two labels, which no scorer could get right."""
    first: dict[str, LabelledPicture] = {}
    lines, repeated = [], 0
    for picture in pictures:
        try:
            with picture.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            content = f"unreadable {picture.name}"  # reported when it is scored
        other = first.setdefault(content, picture)
        if other.nude != picture.nude:
            raise UsageError(
                f"a picture must have one label; {other.name} and {picture.name} are the same file with both"
            )
        repeated += other is not picture
        lines.append(f"{content} {int(picture.nude)} {sorted(picture.slices.items())}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(), repeated
