"""`censor photos/ clean/`: a whole folder, as the command line runs it."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from censor.atomic import stream_atomic
from censor.batch.journal import JOURNAL_NAME, Journal
from censor.batch.plan import Plan, make_parents, plan_folder
from censor.batch.run import Result, Runner, record_of, run_items
from censor.batch.settings import settings_key
from censor.batch.summary import Summary
from censor.pipeline import Pipeline
from censor.report import EXIT_FAILED, EXIT_OK, SCHEMA
from detector.cliparts import Say, failure_text, printable, progress
from detector.errors import UsageError
from detector.folders import Patterns

__all__ = ["is_folder_call", "run_folder"]

# Options that may name a file which is read.
_READ = ("known", "mask", "policy", "model", "sticker")
# Builds a pipeline for so many pictures at a time, and what censors one file with it.
Prepare = Callable[[int], tuple[Pipeline, Runner]]


def is_folder_call(paths: Sequence[str]) -> bool:
    """Whether the command line names a folder and where its results go.

    Raises:
        UsageError: when a folder is named among other inputs.
    """
    folders = [path for path in paths[:-1] if path != "-" and os.path.isdir(path)]
    if folders and len(paths) != 2:
        raise UsageError(f"a folder must be the only IN; {printable(folders[0])} is one of {len(paths) - 1}")
    if folders and paths[1] == "-":
        raise UsageError("a folder's results must go to a folder; got -, standard output")
    return bool(folders)


def run_folder(options: dict[str, Any], prepare: Prepare) -> int:
    """Censor a folder's pictures and videos into another; return the exit code.

    Raises:
        UsageError: when the folders or the names of the results cannot work; nothing is read or written then.
        OutputError: when the journal or the report cannot be written.
    """
    source, target = options["paths"]
    if options["in_place"]:
        raise UsageError("--in-place must not be given with a folder: the originals would be lost; name another folder")
    plan = plan_folder(source, target, Patterns(tuple(options["include"]), tuple(options["exclude"])))
    journal_path = options["journal"] or os.path.join(target, JOURNAL_NAME)
    _check_paths(plan, options, journal_path)
    workers = max(min(options["workers"], len(plan.items)), 1)
    pipeline, run = prepare(workers)
    key = settings_key(pipeline, options)
    if options["dry_run"]:
        return _dry_run(plan, Journal(journal_path, target, key, write=False), quiet=options["quiet"])
    make_parents(os.path.join(target, JOURNAL_NAME))

    @functools.cache
    def with_all_cores() -> Runner:
        return run if workers == 1 else prepare(1)[1]

    summary = Summary(plan, options["report"])
    with _report_file(options["report"]) as report, Journal(journal_path, target, key) as journal:
        results = run_items(
            plan.items,
            journal,
            pictures=run,
            videos=lambda source, target: with_all_cores()(source, target),
            workers=workers,
            copies=not options["mask"],
        )
        with progress(len(plan.items), quiet=options["quiet"]) as say:
            out = _Output(say, report, as_json=options["as_json"])
            out.planned(plan)
            try:
                for item, result in results:
                    if isinstance(result, Exception):
                        out.failure(item.source, result)
                        summary.add_failure()
                    else:
                        summary.add(result)
                        out.result(result)
                    say(None)
            except KeyboardInterrupt:
                say(
                    f"censor: interrupted with {summary.count} of {len(plan.items)} done; the same command goes on "
                    "from here"
                )
                raise
            left = summary.left_over(journal_path, options["report"])
            out.left_over(left)
    if not options["quiet"]:
        for line in summary.lines(left):
            print(line, file=sys.stderr)
    return summary.exit_code


class _Output:
    """Where lines about single files go: warnings and failures to the terminal, reports to whoever wants them."""

    def __init__(self, say: Say, report: BinaryIO | None, *, as_json: bool) -> None:
        self._say, self._report, self._as_json = say, report, as_json

    def planned(self, plan: Plan) -> None:
        """Report what is passed over and what cannot be read."""
        for entry in plan.skipped:
            self._record({"schema": SCHEMA, "source": entry.path, "target": None, "skipped": entry.skipped})
        for entry in plan.failed:
            message = f"{printable(entry.path)}: {entry.failed}"
            self._say(f"censor: error: {message}")
            self._record(_error(entry.path, message))

    def left_over(self, paths: Sequence[str]) -> None:
        """Report what lay in OUT before and is no result of this run."""
        for path in paths:
            self._record({"schema": SCHEMA, "source": None, "target": path, "skipped": "in OUT, not of this run"})

    def result(self, result: Result) -> None:
        """Report what was done, and say aloud what a person should look at."""
        self._record(record_of(result))
        for warning in result.report.warnings if result.report else ():
            self._say(f"censor: look at {printable(result.item.target)}: {warning}")

    def failure(self, source: str, error: Exception) -> None:
        """Report a failure."""
        message = failure_text(source, error)
        self._say(f"censor: error: {message}")
        self._record(_error(source, message))

    def _record(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=True)
        if self._report is not None:
            self._report.write(line.encode("ascii") + b"\n")
        if self._as_json:
            self._say(line, sys.stdout)


def _error(source: str, message: str) -> dict[str, Any]:
    return {"schema": SCHEMA, "source": source, "target": None, "verdict": "error", "error": message}


@contextlib.contextmanager
def _report_file(path: str | None) -> Iterator[BinaryIO | None]:
    """Give a file to write a report into, put in its place at the end; after Ctrl-C too, as far as it goes.

    Raises:
        OutputError: at once, when nothing could be put there.
    """
    if path is None:
        yield None
        return
    stopped: BaseException | None = None
    with stream_atomic(path) as lines:
        try:
            yield lines
        except BaseException as error:  # what was done until then is told all the same
            stopped = error
    if stopped is not None:
        raise stopped


def _dry_run(plan: Plan, journal: Journal, *, quiet: bool) -> int:
    """Print what would be done to standard output; nothing is written."""
    done = 0
    for item in plan.items:
        before = journal.find(item) is not None
        done += before
        if not quiet:
            what = "done before" if before else "would censor"
            print(f"{what}  {printable(item.source)} -> {printable(item.target)}")
    for entry in plan.skipped:
        if not quiet:
            print(f"would skip  {printable(entry.path)}: {entry.skipped}")
    for entry in plan.failed:
        print(f"censor: error: {printable(entry.path)}: {entry.failed}", file=sys.stderr)
    print(
        f"{len(plan.items) - done} to censor, {done} done before, {len(plan.skipped)} to skip, {len(plan.failed)} "
        "that would fail; nothing was written",
        file=sys.stderr,
    )
    return EXIT_FAILED if plan.failed else EXIT_OK


def _check_paths(plan: Plan, options: dict[str, Any], journal_path: str) -> None:
    """Refuse, before any work, a journal or report that cannot be written, or is another file."""
    taken = {os.path.realpath(path) for item in plan.items for path in (item.source, item.target)}
    taken |= {os.path.realpath(options[name]) for name in _READ if options[name]}
    for path in (journal_path, options["report"]):
        if path is None:
            continue
        if os.path.realpath(path) in taken:
            raise UsageError(f"a journal or report must be a file of its own; {printable(path)} is taken")
        taken.add(os.path.realpath(path))
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
            raise UsageError(f"a journal or report must be an ordinary file; {printable(path)} is none; name another")
    for path in (options["journal"], options["report"]):
        if path is not None and not os.path.isdir(os.path.dirname(path) or "."):
            raise UsageError(f"the folder of a journal or report must be there; {printable(path)} has none; make it")
