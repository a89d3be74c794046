"""A fit as text: weights with intervals, figures out of fold beside the rule table's, thresholds."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.fusing.fit import FitResult, FitSettings

__all__ = ["fit_text"]


def fit_text(result: "FitResult", settings: "FitSettings") -> str:
    """Return the lines that `detector fit-fusion` prints."""
    return "\n".join(_lines(result, settings)) + "\n"


def _lines(result: "FitResult", settings: "FitSettings") -> Iterator[str]:
    model, fitted = result.model, result.model.fitted
    safe = fitted.pictures - fitted.nsfw
    detector = model.detector or "detector unknown"
    yield f"{fitted.source}: {fitted.pictures} pictures, {fitted.nsfw} nsfw, {safe} safe; {detector}"
    yield ""
    yield f"weights: log-odds for one standard deviation, none below 0; 95 % of {settings.rounds} draws"
    rows = [
        [
            row.feature,
            f"{row.weight:.3f}",
            "-" if row.low is None or row.high is None else f"[{row.low:.3f}, {row.high:.3f}]",
            f"{model.features[row.feature].mean:.3g}",
            f"{model.features[row.feature].scale:.3g}",
            str(row.known),
        ]
        for row in result.weights
    ]
    yield from _grid(["feature", "weight", "interval", "mean", "scale", "known"], rows)
    yield f"  intercept {model.intercept:.3f}"
    if result.dropped:
        yield f"  left out, the same in every picture or never known: {', '.join(result.dropped)}"
    yield ""
    yield f"each picture judged by a model fitted without it, {settings.folds} folds"
    names = {"log_loss": "log-loss", "auc": "AUC", "brier": "Brier"}
    yield from _grid(
        ["", *names.values()],
        [
            [name, *("-" if row[key] is None else f"{row[key]:.3f}" for key in names)]
            for name, row in result.figures.items()
        ],
    )
    yield ""
    yield from _grid(
        ["", "nsfw: nsfw", "review", "safe", "safe: nsfw", "review", "safe"],
        [
            [name, *(str(counts[label][said]) for label in ("nsfw", "safe") for said in ("nsfw", "review", "safe"))]
            for name, counts in result.verdicts.items()
        ],
    )
    yield ""
    yield (
        f"nsfw above {model.nsfw_above:.4f} (of the safe pictures at most {settings.want_fpr:g}), "
        f"review above {model.review_above:.4f} (of the nsfw pictures at least {settings.want_recall:g} are above); "
        "both chosen on these pictures"
    )
    if settings.want_fpr * safe < 1:
        yield f"{safe} safe pictures cannot show a false-positive rate of {settings.want_fpr:g}: none of them is above"
    yield (
        f"the probability holds where {fitted.nsfw / fitted.pictures:.3g} of the pictures are nsfw, as here; "
        "fit to traffic as it comes"
    )


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield aligned lines: the first column to the left, the others to the right."""
    lines = [head, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for first, *rest in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        yield "  " + "  ".join(cells).rstrip()
