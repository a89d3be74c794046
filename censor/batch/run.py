"""Work through a folder's plan: pictures side by side, videos one by one, each result in the journal as it stands."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from censor.atomic import write_atomic
from censor.batch.journal import Done, Journal
from censor.batch.plan import Item
from censor.report import SCHEMA, Report
from detector.folders import VIDEO
from detector.parallel import map_in_order

__all__ = ["Result", "Runner", "record_of", "run_items"]

# Censors one file into another: source, target.
Runner = Callable[[str, str], Report]

# A result larger than this is made again for a second copy of its source, since copying it would take it into memory.
MAX_COPIED = 256 << 20


@dataclass(frozen=True)
class Result:
    """What came of one file.

    Attributes:
        item: the file.
        state: `written`, `copied` (from the result of another file of the same bytes), or `before` (by an earlier run).
        done: what the journal says of it.
        report: what the pipeline says of it; None unless it was written now.
    """

    item: Item
    state: str
    done: Done
    report: Report | None = None


def run_items(
    items: tuple[Item, ...],
    journal: Journal,
    *,
    pictures: Runner,
    videos: Runner,
    workers: int,
    copies: bool = True,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield what came of each item; an exception in its result's place when it failed, and the rest goes on.

    Videos come last, in the caller's thread, each with all cores for itself: Ctrl-C reaches them at once.

    Args:
        items: what to do.
        journal: tells what was done, and is told.
        pictures: what censors a picture; called from several threads.
        videos: what censors a video; called in turn.
        workers: pictures worked on at a time.
        copies: whether the result of a file may be copied for another of the same bytes. Not where a file's name
            decides too.
    """
    still = [item for item in items if item.kind != VIDEO]
    moving = [item for item in items if item.kind == VIDEO]

    def one(item: Item, run: Runner) -> Result:
        before = journal.find(item)
        if before is not None:
            return Result(item, "before", before)
        copied = _copied(item, journal) if copies else None
        if copied is not None:
            return Result(item, "copied", copied)
        return _written(item, journal, run)

    yield from chain(
        map_in_order(lambda item: one(item, pictures), still, min(workers, len(still))),
        map_in_order(lambda item: one(item, videos), moving, 1),
    )


def record_of(result: Result) -> dict[str, Any]:
    """Return the line of a report; a short one for what an earlier run did, whose details are no longer known."""
    if result.report is not None:
        return result.report.to_dict()
    done = result.done
    return {
        "schema": SCHEMA,
        "source": result.item.source,
        "target": result.item.target,
        "verdict": done.verdict,
        "method": done.method,
        "exit_code": done.exit_code,
        "sha256": {"in": done.source_sha256, "out": done.target_sha256},
        "journal": result.state,
    }


def _written(item: Item, journal: Journal, run: Runner) -> Result:
    journal.make_place(item)
    report = run(item.source, item.target)
    read, written = report.sha256["in"], report.sha256["out"]
    assert read is not None  # a file has bytes
    assert written is not None
    # What the pipeline read and wrote, not what stands there by now; the sizes only save hashing what differs anyhow.
    done = Done(
        key=journal.key,
        source=item.relative,
        target=item.target_relative,
        source_sha256=read,
        source_bytes=os.path.getsize(item.source),
        target_sha256=written,
        target_bytes=os.path.getsize(item.target),
        verdict=report.verdict.verdict if report.verdict else None,
        method=report.method,
        exit_code=report.exit_code,
    )
    journal.add(done)
    return Result(item, "written", done, report)


def _copied(item: Item, journal: Journal) -> Done | None:
    """Write a second copy's result from the first's, if that stands; its bytes are checked once more as they are."""
    twin = journal.find_copy(item)
    if twin is None or twin.target_bytes > MAX_COPIED:
        return None
    place = journal.place_of(twin)
    if os.path.realpath(place) == os.path.realpath(item.target):
        return None
    data = Path(place).read_bytes()
    if hashlib.sha256(data).hexdigest() != twin.target_sha256:  # altered between the check and the copy
        return None
    journal.make_place(item)
    write_atomic(item.target, data)
    done = Done(**{**vars(twin), "source": item.relative, "target": item.target_relative})
    journal.add(done)
    return done
