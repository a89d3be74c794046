"""Plots as inline SVG: lines in a unit square, bars with intervals."""

import html
from collections.abc import Mapping, Sequence

__all__ = ["COLOURS", "bars", "mirrored_bars", "unit_plot"]

# Okabe and Ito's palette, readable with colour blindness, brown and olive for its black and yellow: whiskers
# are black and the page is white. More models than colours start over.
COLOURS: tuple[str, ...] = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c564b",
    "#999933",
)

# Size of a plot's square and the margin left of it and below it, in pixels.
SIDE, MARGIN = 190, 30
# Height of one bar and its gap, width at 1, and room for labels.
BAR, GAP, BAR_WIDTH, LABEL_WIDTH, VALUE_WIDTH = 12, 3, 340, 130, 60


def unit_plot(
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Sequence[tuple[float, float]]],
    *,
    diagonal: bool = False,
    marks: Sequence[Sequence[tuple[float, float, float]]] = (),
) -> str:
    """Return lines of points in [0, 1]², one colour each; an empty line is left out and keeps its colour.

    Args:
        title: plain text.
        x_label: the same.
        y_label: the same.
        lines: by model.
        diagonal: draw the line from corner to corner: chance, or perfect calibration.
        marks: by model, (x, y, radius in pixels) of dots.
    """
    width, height = SIDE + MARGIN + 12, SIDE + MARGIN + 26
    left, top = MARGIN, 20

    def at(x: float, y: float) -> str:
        return f"{left + x * SIDE:.1f},{top + (1 - y) * SIDE:.1f}"

    parts = [f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    parts.append(f'<text x="{left + SIDE / 2}" y="12" class="t">{html.escape(title)}</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<polyline class="g" points="{at(tick, 0)} {at(tick, 1)}"/>')
        parts.append(f'<polyline class="g" points="{at(0, tick)} {at(1, tick)}"/>')
        x, y = left + tick * SIDE, top + (1 - tick) * SIDE
        parts.append(f'<text x="{x:.1f}" y="{top + SIDE + 12}" class="m">{tick:g}</text>')
        parts.append(f'<text x="{left - 4}" y="{y + 3:.1f}" class="e">{tick:g}</text>')
    parts.append(f'<text x="{left + SIDE / 2}" y="{top + SIDE + 26}" class="m">{html.escape(x_label)}</text>')
    middle = top + SIDE / 2
    parts.append(f'<text x="7" y="{middle}" class="m" transform="rotate(-90 7 {middle})">{html.escape(y_label)}</text>')
    if diagonal:
        parts.append(f'<polyline class="d" points="{at(0, 0)} {at(1, 1)}"/>')
    for index, line in enumerate(lines):
        if line:
            points = " ".join(at(x, y) for x, y in line)
            parts.append(f'<polyline class="l" stroke="{COLOURS[index % len(COLOURS)]}" points="{points}"/>')
    for index, dots in enumerate(marks):
        for x, y, radius in dots:
            left_px, top_px = at(x, y).split(",")
            colour = COLOURS[index % len(COLOURS)]
            place = f'cx="{left_px}" cy="{top_px}" r="{radius:.1f}"'
            parts.append(f'<circle {place} stroke="#fff" fill="{colour}" fill-opacity="0.85"/>')
    return "".join([*parts, "</svg>"])


def bars(
    groups: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, Sequence[tuple[float, float] | None]] | None = None,
    *,
    top: float = 1.0,
) -> str:
    """Return horizontal bars, one group a row label, one bar and colour a model.

    Args:
        groups: values by label; None draws a dash.
        intervals: (low, high) by label, drawn as whiskers.
        top: the value that fills the width; at least that of the longest bar.
    """
    many = max((len(values) for values in groups.values()), default=1)
    step = many * (BAR + GAP) + 8
    width, height = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH, step * len(groups) + 4
    parts = [f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    for row, (label, values) in enumerate(groups.items()):
        y0 = row * step + 4
        middle = y0 + (many * (BAR + GAP)) / 2 + 3
        parts.append(f'<text x="{LABEL_WIDTH - 6}" y="{middle:.1f}" class="e">{html.escape(label)}</text>')
        for index, value in enumerate(values):
            y = y0 + index * (BAR + GAP)
            text, x = "–", LABEL_WIDTH + 4.0
            if value is not None:
                length = max(0.0, min(1.0, value / top)) * BAR_WIDTH
                colour = COLOURS[index % len(COLOURS)]
                parts.append(f'<rect x="{LABEL_WIDTH}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
                text, x = f"{value:.3f}", LABEL_WIDTH + length + 4
            whisker = intervals[label][index] if intervals and label in intervals else None
            if whisker is not None:
                low, high = (LABEL_WIDTH + max(0.0, min(1.0, side / top)) * BAR_WIDTH for side in whisker)
                y_mid = y + BAR / 2
                parts.append(f'<polyline class="w" points="{low:.1f},{y_mid} {high:.1f},{y_mid}"/>')
                x = max(x, high + 4)
            parts.append(f'<text x="{x:.1f}" y="{y + BAR - 2}" class="v">{text}</text>')
    return "".join([*parts, "</svg>"])


def mirrored_bars(title: str, upper: Sequence[int], lower: Sequence[int], at: float, colour: str) -> str:
    """Return two histograms over [0, 1], one upwards and one downwards: shares of each, the tallest fills its half.

    Args:
        title: plain text.
        upper: counts in bins of equal width: nude pictures.
        lower: the same of safe ones.
        at: where a dashed line stands: the operating threshold.
        colour: of the upper bars; the lower ones are grey.
    """
    width, height = SIDE + MARGIN + 12, SIDE + MARGIN + 26
    left, top, middle = MARGIN, 20, 20 + SIDE / 2
    parts = [f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
    parts.append(f'<text x="{left + SIDE / 2}" y="12" class="t">{html.escape(title)}</text>')
    step = SIDE / max(1, len(upper))
    tallest = max(max(counts, default=0) / max(1, sum(counts)) for counts in (upper, lower)) or 1.0
    for counts, sign, fill in ((upper, -1, colour), (lower, 1, "#888")):
        total = max(1, sum(counts)) * tallest
        for index, count in enumerate(counts):
            length = count / total * SIDE / 2
            y = middle - length if sign < 0 else middle
            bar = f'<rect x="{left + index * step:.1f}" y="{y:.1f}" width="{step - 1:.1f}" height="{length:.1f}"'
            parts.append(f'{bar} fill="{fill}"/>' if count else "")
    parts.append(f'<polyline class="w" points="{left},{middle} {left + SIDE},{middle}"/>')
    x = left + at * SIDE
    parts.append(f'<polyline class="d" points="{x:.1f},{top} {x:.1f},{top + SIDE}"/>')
    ticks = ((left + tick * SIDE, tick) for tick in (0, 0.25, 0.5, 0.75, 1))
    parts.extend(f'<text x="{x:.1f}" y="{top + SIDE + 12}" class="m">{tick:g}</text>' for x, tick in ticks)
    parts.append(f'<text x="{left + SIDE / 2}" y="{top + SIDE + 26}" class="m">score</text>')
    for word, y in (("nude", top + SIDE / 4), ("safe", top + 3 * SIDE / 4)):
        parts.append(f'<text x="16" y="{y}" class="m" transform="rotate(-90 16 {y})">{word}</text>')
    return "".join([*parts, "</svg>"])
