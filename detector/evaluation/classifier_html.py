"""The HTML report of whole-picture scores: one file, nothing loaded from anywhere, plots as inline SVG."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detector.evaluation.classifier_run import FEW
from detector.evaluation.classifier_table import (
    AT_THRESH,
    DIFFERENCES,
    OVERALL,
    head_lines,
    wanted_text,
)
from detector.evaluation.html_parts import change_cells, ends, key, number, page, table, text
from detector.evaluation.svg import COLOURS, bars, mirrored_bars, unit_plot

__all__ = ["classifier_html"]

# Radius in pixels: of an operating threshold, and of bins by the number of pictures in them.
DOT = 4.0
SMALLEST_DOT, LARGEST_DOT = 2.0, 9.0

# For each scorer, in order: (data URL, file name, one line) of its worst pictures.
Gallery = Sequence[Sequence[tuple[str, str, str]]]


def classifier_html(result: Mapping[str, Any], gallery: Gallery, *, hidden: bool) -> str:
    """Return the report as one HTML page.

    Args:
        result: as `make_classifier_result` gives it.
        gallery: the worst pictures of each scorer, in the result's order.
        hidden: whether they are hidden; the page says so.
    """
    models = result["models"]
    names = [model["name"] for model in models]
    body = [
        f"<h1>Whole pictures: {text(', '.join(names))}</h1>",
        *(f"<p>{text(line)}.</p>" for line in head_lines(result)),
        f"<p>Made {text(result['made'])} by retina-censor {text(result['version'])}.</p>",
        f"<p>{' &nbsp; '.join(key(index, name) for index, name in enumerate(names))}</p>",
        *_at_threshold(models, result["settings"]),
        *_confusion(models),
        *_curves(models),
        *_differences(result),
        *_calibration(models, result["settings"]),
        *_histograms(models),
        *_chosen(models, result["settings"]),
        *_slices(models),
        *_errors(result["data"]["errors"]),
        *_pictures(models, gallery, hidden),
    ]
    return page(f"Whole pictures: {', '.join(names)}", body)


def _at_threshold(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterable[str]:
    yield (
        "<h2>At the operating threshold</h2><p>P precision, R recall, FPR share of the safe pictures that are "
        "flagged. Whiskers and small figures: "
        f"{settings['confidence']:.0%} confidence; of shares Wilson's, of the rest {settings['bootstrap_rounds']} "
        "draws of pictures with replacement.</p>"
    )
    errors = any(model["accuracy_if_errors_are_mistakes"] is not None for model in models)
    rows = [
        [
            text(model["name"]),
            f"{model['thresh']:g}",
            *(number(model["figures"][name]) for name in AT_THRESH),
            *([number(model["accuracy_if_errors_are_mistakes"])] if errors else []),
        ]
        for model in models
    ]
    yield table(["scorer", "flagged from", *AT_THRESH.values(), *(["accuracy with errors"] if errors else [])], rows)
    names = ("accuracy", "precision_nude", "recall_nude", "f1_nude", "fpr")
    yield bars(
        {AT_THRESH[name]: [model["figures"][name] for model in models] for name in names},
        {AT_THRESH[name]: [ends(model["confidence"].get(name)) for model in models] for name in names},
    )


def _confusion(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "<h2>Confusion</h2><p>Rows: what it is; columns: what was said, at the operating threshold.</p>"
    yield '<div class="plots">'
    for index, model in enumerate(models):
        counts = model["confusion"]
        rows = []
        for name, cells in (("nude", (counts["tp"], counts["fn"])), ("safe", (counts["fp"], counts["tn"]))):
            most = max(1, sum(cells))
            shaded = "".join(
                f'<td style="background:rgba(0,114,178,{0.6 * value / most:.2f})">{value}</td>' for value in cells
            )
            rows.append(f"<tr><td>{name}</td>{shaded}</tr>")
        head = "<tr><th></th><th>flagged</th><th>passed</th></tr>"
        yield f'<div><p>{key(index, model["name"])}</p><table class="matrix">{head}{"".join(rows)}</table></div>'
    yield "</div>"


def _curves(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "<h2>Over all thresholds</h2><p>Dots: the operating thresholds.</p>"
    yield '<div class="plots">'
    at = [
        [(model["figures"]["fpr"], model["figures"]["recall_nude"], DOT)]
        if model["roc"] and model["figures"]["fpr"] is not None
        else []
        for model in models
    ]
    yield unit_plot("ROC", "FPR", "recall", [model["roc"] for model in models], diagonal=True, marks=at)
    at = [
        [(model["figures"]["recall_nude"], model["figures"]["precision_nude"], DOT)]
        if model["precision_recall"] and model["figures"]["precision_nude"] is not None
        else []
        for model in models
    ]
    lines = [model["precision_recall"] for model in models]
    yield unit_plot("Precision and recall", "recall", "precision", lines, marks=at)
    yield "</div>"
    yield table(
        ["scorer", *OVERALL.values(), "pictures/s"],
        [
            [
                text(model["name"]),
                *(_with_interval(model, name) for name in OVERALL),
                f"{model['speed']['pictures_per_second']:.1f}",
            ]
            for model in models
        ],
    )
    yield table(
        [
            "scorer",
            *(f"FPR at R {entry['wanted']:g}" for entry in models[0]["fpr_at_recall"]),
            *(f"R at FPR {entry['wanted']:g}" for entry in models[0]["recall_at_fpr"]),
        ],
        [
            [
                text(model["name"]),
                *(_at_score(entry, "fpr") for entry in model["fpr_at_recall"]),
                *(_at_score(entry, "recall") for entry in model["recall_at_fpr"]),
            ]
            for model in models
        ],
    )
    yield "<p>Small: the score from which pictures are then flagged; from 0 up is all of them.</p>"


def _differences(result: Mapping[str, Any]) -> Iterable[str]:
    rows = [
        [text(f"{change['to']} minus {change['from']}"), head, *change_cells(change[name])]
        for change in result["differences"]
        for name, head in DIFFERENCES.items()
        if change[name] is not None
    ]
    if rows:
        yield "<h2>Differences</h2><p>Of the Brier score less is better.</p>"
        yield table(["on the same draws of pictures", "", "change", "low", "high", "better in"], rows)


def _calibration(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterable[str]:
    yield (
        "<h2>As probabilities</h2><p>Of the pictures with a score near s, is a share s nude? Left the scores as they "
        "are; right after a temperature, each picture's fitted on four fifths of the others. ECE: mean distance from "
        "the diagonal (15 bins; the area of a dot shows how many pictures are in it). A detector's score is not meant "
        "as a probability.</p>"
    )
    yield '<div class="plots">'
    for when, title in (("before", "Reliability"), ("after", "after a temperature")):
        most = max(b["pictures"] for model in models for b in model["calibration"][when]["bins"])
        dots = [
            [
                (b["score"], b["nude"], max(SMALLEST_DOT, LARGEST_DOT * math.sqrt(b["pictures"] / most)))
                for b in model["calibration"][when]["bins"]
            ]
            for model in models
        ]
        yield unit_plot(title, "mean score", "share nude", [], diagonal=True, marks=dots)
    yield "</div>"
    rows = []
    for model in models:
        found = model["calibration"]
        numbers = (number(found[when][name]) for name in ("brier", "ece", "nll") for when in ("before", "after"))
        temperature = f"{found['temperature']:.3g}"
        rows.append([text(model["name"]), *numbers, temperature, _with_interval(model, "precision_at_base_rate")])
    heads = ["scorer", "Brier", "after", "ECE", "after", "NLL", "after", "temperature"]
    yield table([*heads, f"precision at {100 * settings['base_rate']:g} % nude"], rows)
    yield (
        "<p>The last column is the precision at the operating threshold where only that share of all pictures is "
        "nude. Half-and-half sets flatter: recall 0.98 at an FPR of 0.02 is 98 % precision there, and 33 % at a base "
        "rate of 1 %. Its interval takes the ends of both shares.</p>"
    )


def _histograms(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield "<h2>Scores</h2><p>Share of the nude (up) and the safe pictures (down) by score; dashed: the operating "
    yield 'threshold.</p><div class="plots">'
    for index, model in enumerate(models):
        bins, colour = model["histogram"], COLOURS[index % len(COLOURS)]
        yield mirrored_bars(model["name"], bins["nude"], bins["safe"], model["thresh"], colour)
    yield "</div>"


def _chosen(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterable[str]:
    wanted = wanted_text(settings)
    if not wanted:
        return
    yield f"<h2>Threshold for {text(wanted)}</h2><p>Chosen on these very pictures; on others it will do worse.</p>"
    names = ("accuracy", "precision_nude", "recall_nude", "fpr")
    rows = []
    for model in models:
        found = model["chosen"]
        cells = ["not reached", *("–" for _ in names)]
        if found is not None:
            cells = [f"{found['score_thresh']:.4f}", *(number(found["figures"][name]) for name in names)]
        rows.append([text(model["name"]), *cells])
    yield table(["scorer", "flagged from", *(AT_THRESH[name] for name in names)], rows)


def _slices(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    for column in models[0]["slices"]:
        values = models[0]["slices"][column]
        yield f"<h2>By {text(column)}</h2><p>* fewer than {FEW} pictures of a kind: read the intervals; an area of 0 "
        yield "or 1 says little there.</p>"
        labels = {value: value + (" *" if entry["few"] else "") for value, entry in values.items()}
        yield '<div class="plots">'
        for name in ("recall_nude", "fpr"):
            entries = {label: [model["slices"][column][value] for model in models] for value, label in labels.items()}
            yield f"<div><p>{AT_THRESH[name]}</p>"
            yield bars(
                {label: [entry["figures"][name] for entry in row] for label, row in entries.items()},
                {label: [ends(entry["confidence"].get(name)) for entry in row] for label, row in entries.items()},
            )
            yield "</div>"
        yield "</div>"
        rows = []
        for model in models:
            for value, entry in model["slices"][column].items():
                cells = [_with_interval(entry, name) for name in ("recall_nude", "fpr", "accuracy", "auc")]
                numbers = [number(entry["figures"][n]) for n in ("precision_nude", "f1_nude", "average_precision")]
                counts = [str(entry["nude"]), str(entry["safe"])]
                rows.append([text(model["name"]), text(labels[value]), *counts, *cells, *numbers])
        heads = ["nude", "safe", "R nude", "FPR", "accuracy", "ROC AUC", "P nude", "F1 nude", "AP"]
        yield table(["scorer", column, *heads], rows)


def _errors(errors: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if errors:
        yield "<h2>Not looked at</h2><p>In no figure above but the accuracy with errors; a host must not let such a "
        yield "file pass.</p><ul>"
        yield from (f"<li>{text(error['why'])}</li>" for error in errors)
        yield "</ul>"


def _pictures(models: Sequence[Mapping[str, Any]], gallery: Gallery, hidden: bool) -> Iterable[str]:
    yield "<h2>Worst pictures</h2><p>The mistakes furthest from the operating threshold. "
    yield (
        "Reduced to a few cells, since nobody marked where in them anything is; --show-pictures shows them.</p>"
        if hidden
        else "Shown without hiding anything.</p>"
    )
    for index, (model, pictures) in enumerate(zip(models, gallery, strict=True)):
        yield f'<p>{key(index, model["name"])}</p><div class="pictures">'
        for url, file, note in pictures:
            caption = f"<b>{text(file)}</b><br>{text(note)}"
            yield f'<figure><img src="{url}" alt=""><figcaption>{caption}</figcaption></figure>'
        yield "</div>" if pictures else "</div><p>None.</p>"


def _with_interval(entry: Mapping[str, Any], name: str) -> str:
    """Return a figure and, small, its interval, where it has one."""
    found, value = entry["confidence"].get(name), entry["figures"][name]
    if found is None or value is None:
        return number(value)
    return f"{value:.3f} <small>{found['low']:.2f} to {found['high']:.2f}</small>"


def _at_score(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        return "–"
    thresh = "none" if entry["score_thresh"] is None else f"{entry['score_thresh']:.3f}"
    return f"{value:.3f} <small>{thresh}</small>"
