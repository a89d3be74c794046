"""What came of a folder, for people: counts in a table, and the names that were not said aloud while it ran."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from censor.batch.plan import Plan
from censor.batch.run import Result
from censor.report import EXIT_FAILED, EXIT_LOOK, EXIT_OK
from detector.cliparts import printable

__all__ = ["Summary"]

# Names listed of each kind; the report has all of them.
LISTED = 10


class Summary:
    """Counts results as they come.

    Args:
        plan: the folder's plan: what is skipped and what cannot be read stands in it.
        report: where all details are, named where names are left out; None when no report was asked for.
    """

    def __init__(self, plan: Plan, report: str | None = None) -> None:
        self._plan, self._report = plan, report
        self._started = time.monotonic()
        self._states: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._look = 0
        self._look_before: list[str] = []
        self._failed = len(plan.failed)
        self._placed: set[str] = set()

    @property
    def count(self) -> int:
        """How many results came, failed ones included."""
        return sum(self._states.values())

    @property
    def exit_code(self) -> int:
        """As for single files: the highest-ranked of all wins, 1, then 3, then 0."""
        return EXIT_FAILED if self._failed else EXIT_LOOK if self._look else EXIT_OK

    def add(self, result: Result) -> None:
        """Count one result."""
        self._states[result.state] += 1
        self._placed.add(result.item.target_relative)
        self._verdicts[result.done.verdict or "boxes by a person"] += 1
        if result.done.exit_code != EXIT_OK:
            self._look += 1
            if result.report is None:
                self._look_before.append(printable(result.item.target))

    def add_failure(self) -> None:
        """Count one file that failed."""
        self._states["failed"] += 1
        self._failed += 1

    def left_over(self, *own: str | None) -> list[str]:
        """Return the paths of what lay in OUT before and is no result of this run: nobody says that it is censored.

        Results of sources that are gone or failed this time are among them, and whatever a person put there.

        Args:
            *own: the run's journal and report, wherever they are.
        """
        mine = {os.path.realpath(path) for path in own if path is not None}
        paths = (os.path.join(self._plan.target, name) for name in self._plan.there if name not in self._placed)
        return [path for path in paths if os.path.realpath(path) not in mine]

    def lines(self, left_over: Sequence[str] = ()) -> Iterator[str]:
        """Yield the table and the lists; `left_over` as the method returns it."""
        plan, states = self._plan, self._states
        yield f"{printable(plan.source)} -> {printable(plan.target)}"
        verdicts = ", ".join(f"{count} {name}" for name, count in sorted(self._verdicts.items()))
        reasons = Counter(entry.skipped for entry in plan.skipped)
        skipped = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        seconds = time.monotonic() - self._started
        pace = f"in {_duration(seconds)}, {states['written'] / seconds:.1f} a second" if seconds > 0 else ""
        rows = [
            ("written", states["written"], pace if states["written"] else ""),
            ("copied", states["copied"], "same bytes as another file"),
            ("done before", states["before"], "same bytes, same settings"),
            ("to look at", self._look, ""),
            ("failed", self._failed, ""),
            ("skipped", len(plan.skipped), skipped),
            ("not begun", len(plan.items) - self.count, ""),
            ("left over", len(left_over), "in OUT from before, not of this run; nobody looked at them"),
        ]
        for name, count, note in rows:
            if count or name == "written":
                yield f"  {name:<12}{count:>8}  {note}".rstrip()
        if verdicts:
            yield f"  verdicts: {verdicts}"
        yield from self._list("to look at, as said before", self._look_before)
        yield from self._list("skipped", (f"{printable(entry.path)}: {entry.skipped}" for entry in plan.skipped))
        yield from self._list("left over", (printable(path) for path in left_over))

    def _list(self, title: str, names: Iterable[str]) -> Iterator[str]:
        listed = list(names)
        for name in listed[:LISTED]:
            yield f"{title}: {name}"
        if len(listed) > LISTED:
            where = f"see {printable(self._report)}" if self._report else "--report FILE names all"
            yield f"{title}: and {len(listed) - LISTED} more; {where}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"
