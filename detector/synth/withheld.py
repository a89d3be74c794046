"""What only the test split shows: a detector is to be measured on poses, backgrounds and light it has not learned.

Bodies differ between splits by chance: no two have the same shape. Poses, backgrounds and light come from lists, so
some of each list are kept for the test split, which shows nothing else.
"""

from collections.abc import Sequence
from typing import TypeVar

from detector.errors import UsageError

__all__ = ["KINDS", "kinds_of_split", "kinds_shown"]

# all: everything; train: what is not withheld; test: only what is.
KINDS = ("all", "train", "test")
# Every fourth of a sorted list is withheld.
_EVERY = 4

Item = TypeVar("Item")


def kinds_of_split(split: str) -> str:
    """Return which kinds a split shows: `test` and what begins so, in any case, the withheld ones, others the rest."""
    return "test" if split.lower().startswith("test") else "train"


def kinds_shown(names: Sequence[Item], kinds: str) -> list[Item]:
    """Return those of a list that pictures may show, in its order.

    Args:
        names: all, in an order that does not change.
        kinds: one of `KINDS`. A list too short to share shows all in any case.

    Raises:
        UsageError: for other kinds.
    """
    if kinds not in KINDS:
        raise UsageError(f"kinds must be one of {', '.join(KINDS)}; got {kinds!r}")
    if kinds == "all" or len(names) < _EVERY:
        return list(names)
    withheld = kinds == "test"
    return [name for number, name in enumerate(names) if (number % _EVERY == _EVERY - 1) == withheld]
