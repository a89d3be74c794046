"""The nearest known word, for error messages."""

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; the nearest is X` for the end of an error message, or nothing when no known word is there.

    Case does not count; X is spelled as in `known`.
    """
    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.strip().lower(), spelled, n=1, cutoff=0.0)
    return f"; the nearest is {spelled[close[0]]}" if close else ""
