"""A target is the old file or the new one, whole; nothing else in the folder changes."""

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detector import atomic
from detector.atomic import leftovers, stream_atomic, write_atomic
from detector.errors import OutputError

ROOT = Path(__file__).resolve().parents[1]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def assert_refused(path: Path, message: str, data: bytes = b"new") -> None:
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(OutputError, match=message) as caught:
        write_atomic(path, data)
    assert "\n" not in str(caught.value)
    if before is not None:
        assert sorted(path.parent.iterdir()) == before


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)) * 10_000], ids=["empty", "short", "long"])
def test_a_new_file_holds_the_data_and_nothing_else_is_left(tmp_path: Path, data: bytes) -> None:
    write_atomic(tmp_path / "out.jpg", data)
    assert (tmp_path / "out.jpg").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


def test_a_streamed_file_can_be_read_before_it_counts(tmp_path: Path) -> None:
    target = tmp_path / "out.gif"
    target.write_bytes(b"old")
    with stream_atomic(target) as file:
        file.write(b"first")
        file.write(b"second")
        file.seek(5)
        assert file.read() == b"second"
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"firstsecond"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_nobody_else_may_read_what_is_not_finished(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with stream_atomic(tmp_path / "out.mp4") as file:
            file.write(b"not yet checked")
            (temporary,) = leftovers(tmp_path)
            assert mode_of(temporary) == 0o600
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "out.mp4") == 0o666 & ~umask


@pytest.mark.parametrize("exception", [RuntimeError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_whatever_is_raised_while_streaming_leaves_the_old_file_alone(tmp_path: Path, exception: BaseException) -> None:
    target = tmp_path / "out.gif"
    target.write_bytes(b"old")
    expected = OutputError if isinstance(exception, OSError) else type(exception)

    def stream() -> None:
        with stream_atomic(target) as file:
            file.write(b"half")
            raise exception

    with pytest.raises(expected):
        stream()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]


def test_a_longer_old_file_is_replaced_whole_by_another_file(tmp_path: Path) -> None:
    target = tmp_path / "out.jpg"
    target.write_bytes(b"o" * 10_000)
    inode = target.stat().st_ino
    with target.open("rb") as reader:
        write_atomic(str(target), b"new")
        assert reader.read() == b"o" * 10_000
    assert target.read_bytes() == b"new"
    assert target.stat().st_ino != inode


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".jpg")
    write_atomic(target, b"new")
    assert target.read_bytes() == b"new"


def test_the_old_mode_is_kept_and_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    old = tmp_path / "old.jpg"
    old.write_bytes(b"old")
    for mode in (0o600, 0o640, 0o664):
        old.chmod(mode)
        write_atomic(old, b"new")
        assert mode_of(old) == mode
    umask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new.jpg", b"new")
    finally:
        os.umask(umask)
    assert mode_of(tmp_path / "new.jpg") == 0o640


def test_links_are_refused_and_neither_they_nor_what_they_point_to_change(tmp_path: Path) -> None:
    source, link, dangling = tmp_path / "in.jpg", tmp_path / "out.jpg", tmp_path / "nowhere.jpg"
    source.write_bytes(b"source")
    link.symlink_to(source)
    dangling.symlink_to(tmp_path / "gone.jpg")
    assert_refused(link, f"points to {source}; name that file")
    assert_refused(dangling, "symbolic link")
    assert source.read_bytes() == b"source"
    assert link.is_symlink()
    assert not (tmp_path / "gone.jpg").exists()


def test_a_link_among_the_folders_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomic(tmp_path / "link" / "out.jpg", b"new")
    assert (tmp_path / "real" / "out.jpg").read_bytes() == b"new"


def test_a_folder_a_pipe_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert_refused(tmp_path / "folder.jpg", "is a folder; name a file in it")
    assert_refused(tmp_path / "pipe.jpg", "ordinary file")
    assert_refused(tmp_path / "missing" / "out.jpg", "there is no .*missing; make it first")
    assert_refused(tmp_path / "pipe.jpg" / "out.jpg", "must be writable")
    with pytest.raises(OutputError, match="must be a file name"):
        write_atomic("", b"new")


def test_a_read_only_target_is_refused_for_everyone(tmp_path: Path) -> None:
    target = tmp_path / "out.jpg"
    target.write_bytes(b"old")
    target.chmod(0o444)
    assert_refused(target, "is read-only")
    assert target.read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        assert_refused(tmp_path / "out.jpg", "Permission denied")
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("exception", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
def test_whatever_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, exception: BaseException
) -> None:
    target = tmp_path / "out.jpg"
    target.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise exception

    monkeypatch.setattr(atomic.os, step, fail)
    wanted = OutputError if isinstance(exception, OSError) else KeyboardInterrupt
    with pytest.raises(wanted) as caught:
        write_atomic(target, b"new")
    monkeypatch.undo()
    if wanted is OutputError:
        assert "(No space left on device)" in str(caught.value)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupt_just_after_the_replacement_leaves_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def replace_then_interrupt(*paths: Path) -> None:
        replace(*paths)
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", replace_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "out.jpg", b"new")
    assert (tmp_path / "out.jpg").read_bytes() == b"new"
    assert leftovers(tmp_path) == []


def test_data_reaches_the_disk_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        facts = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(facts.st_mode) else f"file of {facts.st_size}")
        fsync(descriptor)

    def note_replace(*paths: Path) -> None:
        events.append("replace")
        replace(*paths)

    monkeypatch.setattr(atomic.os, "fsync", note_fsync)
    monkeypatch.setattr(atomic.os, "replace", note_replace)
    write_atomic(tmp_path / "out.jpg", b"new" * 1000)
    assert events == ["file of 3000", "replace", "folder"]


# Large enough that writing in place, as a wrong `write_atomic` would, is caught half done by most kills.
SIZE = 8_000_000
# Writes the same target for ever, old and new in turn, each a run of one byte value.
WRITER = """
import sys
from detector.atomic import write_atomic
print("ready", flush=True)
while True:
    for value in (b"a", b"b"):
        write_atomic(sys.argv[1], value * int(sys.argv[2]))
"""


def kill_at_random_times(folder: Path, times: int) -> tuple[int, int]:
    """Start a writer and kill it, again and again; return how many partial targets and strange files were seen."""
    target = folder / "out.jpg"
    target.write_bytes(b"a" * SIZE)
    rng = random.Random(0)
    whole = (b"a" * SIZE, b"b" * SIZE)
    partial = strange = 0
    for _ in range(times):
        for left in leftovers(folder):  # or a thousand of them would fill the disk
            left.unlink()
        command = [sys.executable, "-c", WRITER, str(target), str(SIZE)]
        writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        partial += target.read_bytes() not in whole
        strange += len(set(folder.iterdir()) - {target} - set(leftovers(folder)))
    return partial, strange


@pytest.mark.parametrize("times", [6, pytest.param(1000, marks=pytest.mark.slow)])
def test_kill_9_never_leaves_a_partial_target(tmp_path: Path, times: int) -> None:
    assert kill_at_random_times(tmp_path, times) == (0, 0)
    # What killed runs left behind is in nobody's way.
    write_atomic(tmp_path / "out.jpg", b"new")
    assert (tmp_path / "out.jpg").read_bytes() == b"new"


def test_leftovers_are_listed_and_nothing_else_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    monkeypatch.setattr(atomic.os, "unlink", lambda _: None)
    with pytest.raises(OutputError):
        write_atomic(tmp_path / "out.jpg", b"new")
    monkeypatch.undo()
    write_atomic(tmp_path / "other.partial", b"mine")
    (left,) = leftovers(tmp_path)
    assert left.read_bytes() == b"new"
    assert left.name.startswith(".")
