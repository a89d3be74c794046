"""What the HTML reports share: the page, which loads nothing from anywhere, tables, colour keys, numbers."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detector.evaluation.svg import COLOURS

__all__ = ["change_cells", "ends", "key", "number", "page", "table", "text"]

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 2em auto; max-width: 1100px; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: .6em 0 } td, th { padding: .2em .6em; text-align: right }
th { font-weight: 600; border-bottom: 1px solid #999 } td:first-child, th:first-child { text-align: left }
tr:nth-child(even) td { background: #f6f6f6 } .key { display: inline-block; width: .9em; height: .9em }
.plots, .pictures { display: flex; flex-wrap: wrap; gap: 14px } .wide { overflow-x: auto }
figure { margin: 0; width: 250px } figure img { width: 100%; display: block }
figcaption { font-size: 12px; overflow-wrap: anywhere } ul { margin: .2em 0; padding-left: 1.2em }
svg { background: #fff } svg text { font: 11px system-ui, sans-serif; fill: #333 }
svg .t { font-weight: 600; text-anchor: middle } svg .m { text-anchor: middle; font-size: 10px }
svg .e { text-anchor: end; font-size: 10px } svg .v { font-size: 10px } svg .g { stroke: #e4e4e4; fill: none }
svg .l { fill: none; stroke-width: 2 }
svg .d { stroke: #999; stroke-dasharray: 4 3; fill: none } svg .w { stroke: #222; stroke-width: 1.5; fill: none }
.matrix td { background: none } p { max-width: 60em } .wide td { white-space: nowrap } small { color: #666 }
.named { white-space: nowrap }
"""


def page(title: str, body: Iterable[str]) -> str:
    """Return one HTML page that may load nothing.

    Args:
        title: of the window, plain text.
        body: lines of HTML, what is text in them escaped already.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells must be escaped already, heads not."""
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f"<th>{text(cell)}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{heads}</tr>{lines}</table></div>'


def change_cells(found: Mapping[str, Any]) -> list[str]:
    """Return the cells of a difference: change, low, high, and in how many draws it is better."""
    return [*(f"{found[key]:+.3f}" for key in ("point", "low", "high")), f"{found['better']:.0%}"]


def ends(found: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """Return an interval as a pair."""
    return None if found is None else (found["low"], found["high"])


def key(index: int, name: str) -> str:
    """Return the colour and the name of a model."""
    square = f'<span class="key" style="background:{COLOURS[index % len(COLOURS)]}"></span>'
    return f'<span class="named">{square} {text(name)}</span>'


def number(value: float | None) -> str:
    """Return three digits, or a dash where nothing can be said."""
    return "–" if value is None else f"{value:.3f}"


def text(value: str) -> str:
    """Return what is text in a page."""
    return html.escape(value)
