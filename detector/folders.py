"""Walk over a folder's tree and say, by content and not by name, what is a picture, what is a video, and what neither.

Links are never followed: a loop has no end, and what lies outside the tree was not asked for. Whatever is passed over
is said, with the reason.
"""

import fnmatch
import os
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detector.errors import InputError
from detector.formats import sniff
from detector.video_files import HEAD_BYTES, holds_sound_alone, may_hold_video, says_sound_alone

__all__ = ["VIDEO", "Entry", "Patterns", "content_kind", "pictures_in", "walk"]

# The kind of every video; pictures have Pillow's name of their format.
VIDEO = "VIDEO"
# Results of an interrupted run, and its journal: see `detector.atomic`.
OWN_PREFIX = ".retina-censor-"

_NOT_READ = "not a picture or video"
# By name only; whoever wrote it believed that it was a picture.
_PICTURE_NAMES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".heic")
# The size of the header that follows a BMP's first 14 bytes: many a text begins with "BM".
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
# Pictures that no decoder of ours reads: named, so that nobody believes that they were looked at.
_UNREAD = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"\x00\x00\x01\x00": "icon",
    b"FUJIFILM": "camera raw",
}


@dataclass(frozen=True)
class Entry:
    """One file or link of a tree; exactly one of `kind`, `skipped` and `failed` is set.

    Attributes:
        path: where it is: the root as given, and what follows.
        relative: its path below the root, with `/` between folders on every system.
        kind: Pillow's name of a picture's format, or `VIDEO`.
        skipped: why it is passed over.
        failed: why nobody can say what it is.
    """

    path: str
    relative: str
    kind: str | None = None
    skipped: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Patterns:
    """Which files are wanted, by shell patterns; `*` stands for `/` too, and case does not count.

    A pattern without `/` is held against names, any other against paths below the root. A folder that is excluded is
    not entered.

    Attributes:
        include: a file must match one of these; all files where there are none.
        exclude: nothing that matches one of these is wanted.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants_folder(self, relative: str) -> bool:
        """Whether a folder is entered."""
        return not _any_match(self.exclude, relative)

    def wants_file(self, relative: str) -> bool:
        """Whether a file is looked at."""
        included = not self.include or _any_match(self.include, relative)
        return included and not _any_match(self.exclude, relative)


def walk(root: str | os.PathLike[str], patterns: Patterns | None = None) -> Iterator[Entry]:
    """Yield the files and links below a folder, in order of their names, folder by folder.

    What the patterns leave out is not yielded. A folder that cannot be listed is an entry that `failed`.
    """
    patterns = patterns or Patterns()
    start = os.fspath(root)
    # Folders seen, by device and number: a bind mount or a junction may lead back without being a link.
    seen: set[tuple[int, int]] = set()
    waiting = [(start, "")]
    while waiting:
        folder, relative = waiting.pop()
        try:
            status = os.stat(folder)
            if status.st_ino and (status.st_dev, status.st_ino) in seen:
                yield Entry(folder, relative, skipped="a folder that was entered before, by another way")
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                children = sorted(listing, key=lambda child: child.name)
        except OSError as error:
            yield Entry(folder, relative or ".", failed=f"the folder must be readable; {error.strerror or error}")
            continue
        folders = []
        for child in children:
            below = f"{relative}/{child.name}" if relative else child.name
            if _is_link(child):
                if patterns.wants_file(below):
                    yield Entry(child.path, below, skipped="a link, not followed")
            elif child.is_dir(follow_symlinks=False):
                if patterns.wants_folder(below):
                    folders.append((child.path, below))
            elif patterns.wants_file(below) and not child.name.startswith(OWN_PREFIX):
                yield _examine(child, below)
        waiting += reversed(folders)


def pictures_in(paths: Sequence[str]) -> tuple[list[str], list[Entry]]:
    """Return the paths with each folder's pictures in its place, and what of the folders is passed over."""
    files: list[str] = []
    passed_over: list[Entry] = []
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            files.append(path)
            continue
        for entry in walk(path):
            if entry.kind == VIDEO:
                passed_over.append(Entry(entry.path, entry.relative, skipped="a video"))
            elif entry.kind is None:
                passed_over.append(entry)
            else:
                files.append(entry.path)
    return files, passed_over


def content_kind(head: bytes) -> str | None:
    """Return the kind of a file from its first bytes: a picture format, `VIDEO`, or None for neither."""
    try:
        kind = sniff(head, "")
    except (InputError, struct.error):
        return VIDEO if may_hold_video(head) and not says_sound_alone(head) else None
    if kind == "BMP" and int.from_bytes(head[14:18], "little") not in _BMP_HEADERS:
        return None
    return kind


def _examine(child: "os.DirEntry[str]", relative: str) -> Entry:
    """Read a file's first bytes; anything but a regular file is passed over without being opened."""
    try:
        if not child.is_file(follow_symlinks=False):
            return Entry(child.path, relative, skipped="a pipe, socket or device")
        with open(child.path, "rb", buffering=0) as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return Entry(child.path, relative, failed=f"the file must be readable; {error.strerror or error}")
    kind = content_kind(head)
    if kind in (None, VIDEO) and may_hold_video(head) and holds_sound_alone(child.path, head):
        return Entry(child.path, relative, skipped="sound alone, no pictures")
    if kind is None and may_hold_video(head):
        kind = VIDEO
    if kind is not None:
        return Entry(child.path, relative, kind=kind)
    if not head:
        return Entry(child.path, relative, skipped="empty")
    unread = next((what for start, what in _UNREAD.items() if head.startswith(start)), None)
    why = f"{_NOT_READ}, whatever its name says" if relative.lower().endswith(_PICTURE_NAMES) else _NOT_READ
    unread = "camera raw" if head[4:12] == b"ftypcrx " else unread
    return Entry(child.path, relative, skipped=f"{unread}, a kind that is not read" if unread else why)


def _is_link(child: "os.DirEntry[str]") -> bool:
    junction = getattr(child, "is_junction", None)  # Windows; from Python 3.12 on
    return child.is_symlink() or bool(junction and junction())


def _any_match(patterns: Sequence[str], relative: str) -> bool:
    path = _folded(relative)
    name = path.rsplit("/", 1)[-1]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern.rstrip("/") else name, _folded(pattern.rstrip("/")))
        for pattern in patterns
    )


def _folded(text: str) -> str:
    """Return a spelling that does not depend on case, nor on whether accents are letters of their own (macOS)."""
    return unicodedata.normalize("NFC", text).casefold()
