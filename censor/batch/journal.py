"""The journal of a folder's run: what was done, from which bytes, under which settings, and into which bytes.

One JSON object a line, appended when a result stands at its place. A result counts as done only when the source, the
settings and the result itself are still those that the line names, by their hashes. A line that a crash cut short is
passed over, and its file done again. The journal says nothing of what was seen in a picture, not its perceptual hash
either, because it lies beside the results; still, it names the sources, and is readable by its owner only.
"""

import hashlib
import json
import os
import stat
import threading
from dataclasses import dataclass
from typing import Any

from censor.batch.plan import Item, make_parents, strays
from detector.errors import OutputError

__all__ = ["JOURNAL_NAME", "JOURNAL_SCHEMA", "Done", "Journal", "hash_file"]

JOURNAL_NAME = ".retina-censor-journal.jsonl"
JOURNAL_SCHEMA = "retina-censor-journal/1"
# What a verdict can be; a person's boxes have none.
_VERDICTS = ("safe", "review", "nsfw", None)
_CHUNK = 1 << 20
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Done:
    """One result that was written.

    Attributes:
        key: of the settings: see `censor.batch.settings`.
        source, target: below the two roots.
        source_sha256, source_bytes, target_sha256, target_bytes: which bytes became which.
        verdict, method, exit_code: what came of it.
    """

    key: str
    source: str
    target: str
    source_sha256: str
    source_bytes: int
    target_sha256: str
    target_bytes: int
    verdict: str | None
    method: str
    exit_code: int

    def to_json(self) -> str:
        """Return one line."""
        return json.dumps({"schema": JOURNAL_SCHEMA, **vars(self)}, ensure_ascii=True)

    @classmethod
    def from_json(cls, line: str) -> "Done | None":
        """Read one line; None for what is none of ours, or was cut short."""
        try:
            record: dict[str, Any] = json.loads(line)
            if record.pop("schema") != JOURNAL_SCHEMA:
                return None
            done = cls(**record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        texts = (done.key, done.source, done.target, done.source_sha256, done.target_sha256, done.method)
        numbers = (done.source_bytes, done.target_bytes, done.exit_code)
        right = all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)
        return done if right and done.verdict in _VERDICTS else None


class Journal:
    """What earlier runs did and this one does; safe for threads. A context manager: leaving it puts all on the disk.

    Args:
        path: the file; it need not be there.
        root: the folder that results lie in.
        key: of this run's settings; lines of other settings count for nothing.
        write: whether this run appends; a dry run does not.

    Raises:
        OutputError: when it cannot be read or written.
    """

    def __init__(self, path: str, root: str, key: str, *, write: bool = True) -> None:
        self.path, self.key, self._root = path, key, root
        self._lock = threading.Lock()
        self._by_source: dict[str, Done] = {}
        self._by_content: dict[str, Done] = {}
        self._sizes: set[int] = set()  # sources of another size need not be hashed to know that they are new
        self._file: int | None = None
        torn = self._read()
        if write:
            try:
                self._file = os.open(path, _APPEND, 0o600)
                if torn:  # by a crash: the next line must begin on a line of its own
                    os.write(self._file, b"\n")
            except OSError as error:
                raise OutputError(f"the journal must be writable; {path} is not ({error.strerror or error})") from error

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fsync(file)
        except OSError as error:
            raise OutputError(f"the journal must be writable; {self.path} is not ({error.strerror})") from error
        finally:
            os.close(file)

    def find(self, item: Item) -> Done | None:
        """Return what stands at the item's target already: its own result, from these bytes and settings, unaltered."""
        done = self._by_source.get(item.relative)
        if done is None or done.target != item.target_relative:
            return None
        return done if self._is_source(item, done) and self._stands(done) else None

    def find_copy(self, item: Item) -> Done | None:
        """Return the result of another file of the same bytes, to be written in the same format."""
        with self._lock:
            try:
                if os.path.getsize(item.source) not in self._sizes:
                    return None
            except OSError:
                return None
        sha256 = hash_file(item.source)
        with self._lock:
            done = self._by_content.get(sha256) if sha256 else None
        if done is None or _suffix(done.target) != _suffix(item.target_relative):
            return None
        return done if self._stands(done) else None

    def make_place(self, item: Item) -> None:
        """Make the folder of a result, and refuse one that a link has led elsewhere since the plan was made.

        Raises:
            OutputError: when it cannot be made, or leads elsewhere.
        """
        make_parents(item.target)
        real = strays(self._root, item.target_relative)
        if real is not None:
            raise OutputError(f"a result must stay at its place; the folder of {item.target} leads to {real}")

    def place_of(self, done: Done) -> str:
        """Return the path of a result."""
        return os.path.join(self._root, *done.target.split("/"))

    def add(self, done: Done) -> None:
        """Append one result. The line is written at once and in one piece; on the disk it is when the journal closes.

        Raises:
            OutputError: when the disk is full.
        """
        line = done.to_json().encode("ascii") + b"\n"
        with self._lock:
            self._remember(done)
            if self._file is None:
                return
            try:
                while line:
                    line = line[os.write(self._file, line) :]
            except OSError as error:
                raise OutputError(f"the journal must be writable; {self.path} is not ({error.strerror})") from error

    def _read(self) -> bool:
        """Take in the lines of this run's settings; return whether the last one was cut short."""
        last = b"\n"
        try:
            with open(self.path, "rb") as file:
                for raw in file:
                    last = raw
                    done = Done.from_json(raw.decode("ascii", errors="replace"))
                    if done is not None:
                        self._by_source.pop(done.source, None)
                        if done.key == self.key:
                            self._remember(done)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OutputError(
                f"the journal must be readable; {self.path} is not ({error.strerror or error})"
            ) from error
        return not last.endswith(b"\n")

    def _remember(self, done: Done) -> None:
        self._by_source[done.source] = done
        self._by_content[done.source_sha256] = done
        self._sizes.add(done.source_bytes)

    def _is_source(self, item: Item, done: Done) -> bool:
        try:
            if os.path.getsize(item.source) != done.source_bytes:
                return False
        except OSError:
            return False
        return hash_file(item.source) == done.source_sha256

    def _stands(self, done: Done) -> bool:
        place = self.place_of(done)
        try:
            if strays(self._root, done.target) is not None:
                return False
            status = os.lstat(place)
        except (OSError, ValueError):  # ValueError: no name on this system
            return False
        whole = stat.S_ISREG(status.st_mode) and status.st_size == done.target_bytes
        return whole and hash_file(place) == done.target_sha256


def hash_file(path: str) -> str | None:
    """Return a file's hexadecimal SHA-256, None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _suffix(relative: str) -> str:
    return os.path.splitext(relative)[1].lower()
