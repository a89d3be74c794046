"""What the printed tables share: aligned columns, numbers, intervals."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["grid", "interval", "number"]


def interval(found: Mapping[str, Any], form: str) -> str:
    """Return a point and its interval; `form` formats each number."""
    return f"{found['point']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"


def number(value: float | None) -> str:
    """Return three digits, or a dash where nothing can be said."""
    return "-" if value is None else f"{value:.3f}"


def grid(head: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    """Yield aligned lines: the first column to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        yield "  " + "  ".join([first.strip().ljust(widths[0]), *rest]).rstrip()
