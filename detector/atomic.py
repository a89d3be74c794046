"""Write a file in one step: the target is the old one or the new one, whole, whatever happens in between."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from detector.errors import OutputError

__all__ = ["leftovers", "stream_atomic", "write_atomic"]

# A name of its own, not the target's with an addition: that could be too long for the file system.
_PREFIX, _SUFFIX = ".retina-censor-", ".partial"
# 128 bits: nobody can put a link where the temporary file will be.
_NAME_BYTES = 16
_PERMISSIONS = 0o777
# Absent on Windows, where the flags would mean nothing.
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then put it in its place.

    The data is on the disk before the name points to it, so that even a power failure leaves the old file or the new
    one. A target that exists keeps its permissions (and its owner, where this process may set it); a new one gets
    what the umask allows. Extended attributes and other hard links of an old target are not carried over: a hard
    link keeps the old content.

    A target that is a symbolic link is refused. Writing through it would change a file that the caller did not name,
    perhaps the source itself; replacing the link would leave the uncensored file that it points to under its own
    name. Links among the parent folders are followed.

    A process that is killed between the two steps leaves a hidden file that `leftovers` lists.

    Raises:
        OutputError: when the target is a link, a folder, a device or read-only, when its folder is missing or may not
            be written, or when the disk is full. The target is as it was, and the temporary file is gone.
    """
    with stream_atomic(path) as file:
        file.write(data)


@contextlib.contextmanager
def stream_atomic(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a temporary file beside `path` to write into piece by piece, and put it in its place at the end.

    For what is too large to hold, as `write_atomic` for what is not. The file may also be read and sought in, to check
    what was written before it counts. Whatever is raised in the `with` block, Ctrl-C included, removes the file and
    leaves the target as it was.

    Raises:
        OutputError: as `write_atomic`; also for any other `OSError` of the block.
    """
    target = Path(os.fspath(path))
    temporary = target.parent / f"{_PREFIX}{secrets.token_hex(_NAME_BYTES)}{_SUFFIX}"
    replaced = False
    try:
        old = _check_target(target)
        # Made as the umask has it, then closed to everybody else while it is written: what is checked only afterwards
        # may still show what must be hidden.
        descriptor = os.open(temporary, _NEW_FILE, 0o666 if old is None else 0o600)
        with open(descriptor, "w+b") as file:
            usual = stat.S_IMODE(os.fstat(descriptor).st_mode)
            _set_mode(temporary, 0o600)
            yield file
            if old is not None:
                _copy_owner_and_mode(temporary, old)
            else:
                _set_mode(temporary, usual)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        replaced = True
        _sync_folder(target.parent)
    except FileNotFoundError as error:
        raise OutputError(f"the folder of the output must exist; there is no {target.parent}; make it first") from error
    except OutputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"the output must be writable; {target} is not ({reason}); name another file") from error
    finally:
        # Also on KeyboardInterrupt. The name is ours alone, so removing it can hit nothing else.
        if not replaced:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files in a folder, sorted: of runs that were killed, or are writing at this moment.

    They hold a result or a part of one, never the source, and no picture suffix, so that a batch does not take them
    for input. They are not removed here: another process may be at work.

    Raises:
        OSError: when the folder cannot be listed.
    """
    return sorted(path for path in Path(folder).iterdir() if path.name.startswith(_PREFIX) and path.suffix == _SUFFIX)


def _check_target(target: Path) -> os.stat_result | None:
    """Return the facts of the file that is to be replaced, None where there is none yet."""
    if not target.name:
        raise OutputError(f"the output must be a file name; got {os.fspath(target)!r}")
    try:
        old = os.lstat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(old.st_mode):
        points_to = os.readlink(target)
        raise OutputError(f"the output must not be a symbolic link; {target} points to {points_to}; name that file")
    if stat.S_ISDIR(old.st_mode):
        raise OutputError(f"the output must be a file; {target} is a folder; name a file in it")
    if not stat.S_ISREG(old.st_mode):
        raise OutputError(f"the output must be an ordinary file; {target} is a device or a pipe; use - for a pipe")
    # A rename needs no permission on the file itself, and root needs none at all; the owner's wish counts for both.
    if not old.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise OutputError(f"the output must be writable; {target} is read-only; change its mode or name another file")
    return old


def _set_mode(path: Path, mode: int) -> None:
    """Set permissions where the file system has any: a memory card has not."""
    with contextlib.suppress(OSError):
        os.chmod(path, mode)


def _copy_owner_and_mode(temporary: Path, old: os.stat_result) -> None:
    if hasattr(os, "chown"):
        with contextlib.suppress(PermissionError):
            os.chown(temporary, old.st_uid, old.st_gid)
    # After the owner: changing that may clear bits.
    os.chmod(temporary, stat.S_IMODE(old.st_mode) & _PERMISSIONS)


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk. Where a folder cannot be synced the file is in place all the same."""
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
