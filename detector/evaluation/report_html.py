"""The HTML report: one file, nothing loaded from anywhere, plots as inline SVG."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from detector.evaluation.coco_metrics import FIGURES, RECALL_POINTS
from detector.evaluation.errors_breakdown import ERRORS
from detector.evaluation.html_parts import change_cells, ends, key, number, page, table, text
from detector.evaluation.svg import bars, unit_plot

__all__ = ["Gallery", "html_report"]

# For each model, in order: (data URL, file name, one line a mistake) of its worst pictures.
Gallery = Sequence[Sequence[tuple[str, str, Sequence[str]]]]

_ERRORS_TEXT = (
    "Every detection that is not a hit at IoU 0.5 is one of: misplaced (IoU 0.1 to 0.5 with a part of its class), "
    "wrong class (0.5 or more with a part of another class), duplicate (its part is taken), background (nothing "
    "there), both (misplaced and of the wrong class). A part is missed when no hit, misplaced or wrong-class detection "
    "is about it. All scores count. The bars say by how much AP50 rises when one kind alone is mended; they do "
    "not add up."
)


def html_report(result: Mapping[str, Any], gallery: Gallery, *, hidden: bool) -> str:
    """Return the report as one HTML page.

    Args:
        result: as `make_result` gives it.
        gallery: the worst pictures of each model, in the result's order.
        hidden: whether body regions in them are hidden; the page says so.
    """
    models, data = result["models"], result["data"]
    names = [model["name"] for model in models]
    body = [
        f"<h1>Evaluation: {text(', '.join(names))}</h1>",
        f"<p>{data['pictures']} pictures, {data['parts']} parts, {data['crowds']} crowds, "
        f"{len(data['classes'])} classes. Scores from {result['settings']['score_thresh']:g} up. "
        f"Made {text(result['made'])} by retina-censor {text(result['version'])}.</p>",
        f"<p>{' &nbsp; '.join(key(index, name) for index, name in enumerate(names))}</p>",
        *_overview(result),
        *_curves(models),
        *_classes(models, result["settings"]),
        *_errors(models),
        *_confusion(models, data["classes"], result["settings"]),
        *_speed(models),
        *_pictures(names, gallery, result["settings"], hidden),
    ]
    return page(f"Evaluation: {', '.join(names)}", body)


def _overview(result: Mapping[str, Any]) -> Iterable[str]:
    models, settings = result["models"], result["settings"]
    yield "<h2>Figures</h2>"
    rows = [[text(model["name"]), *(number(model["figures"][name]) for name in FIGURES)] for model in models]
    rows += [
        [text(model["name"]) + ", any class", *(number(model["class_agnostic"][name]) for name in FIGURES)]
        for model in models
    ]
    yield table(["model", *FIGURES], rows)
    groups = {name: [model["figures"][name] for model in models] for name in ("AP", "AP50", "AP75")}
    whiskers = {name: [ends(model["confidence"].get(name)) for model in models] for name in ("AP", "AP50")}
    yield bars(groups, whiskers)
    if settings["bootstrap_rounds"]:
        yield (
            f"<p>Whiskers: {settings['bootstrap_confidence']:.0%} confidence, {settings['bootstrap_rounds']} draws of "
            "pictures with replacement.</p>"
        )
    changes = [
        [text(f"{change['to']} minus {change['from']}"), name, *change_cells(change[name])]
        for change in result["differences"]
        for name in ("AP", "AP50")
        if change[name] is not None
    ]
    if changes:
        yield table(["difference on the same draws", "", "change", "low", "high", "better in"], changes)


def _curves(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield '<h2>Precision and recall at IoU 0.5</h2><div class="plots">'
    for name, entry in models[0]["per_class"].items():
        values = [model["per_class"][name]["precision_at_recall"] for model in models]
        lines = [_line(points) if points else [] for points in values]
        yield unit_plot(f"{name} ({entry['parts']})", "recall", "precision", lines)
    yield "</div>"


def _line(precision: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points of the curve up to where it ends: 0 beyond the highest recall is no point of it."""
    return [(float(x), y) for x, y in zip(RECALL_POINTS, precision, strict=True) if y > 0]


def _classes(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>Classes and thresholds</h2>"
    names = list(models[0]["per_class"])
    groups = {name: [model["per_class"][name]["figures"]["AP50"] for model in models] for name in names}
    yield "<p>AP50 of each class</p>" + bars({_short(name): values for name, values in groups.items()})
    for index, model in enumerate(models):
        yield f"<p>{key(index, model['name'])}</p>"
        rows = [
            [
                name,
                str(entry["parts"]),
                *(number(entry["figures"][key]) for key in ("AP", "AP50", "AP75", "AR100")),
                *_point(entry["best_f1"], "f1"),
                *_point(entry["wanted_recall"], "recall"),
            ]
            for name, entry in model["per_class"].items()
        ]
        want = f"for recall {settings['want_recall']:g}"
        heads = ["best F1", "at score", "precision", "recall", "at score, " + want, "precision"]
        yield table(["class", "parts", "AP", "AP50", "AP75", "AR100", *heads], rows)


def _errors(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield f"<h2>Errors</h2><p>{_ERRORS_TEXT}</p>"
    groups = {name: [model["errors"]["cost"][name] for model in models] for name in ERRORS}
    top = max([value for values in groups.values() for value in values if value is not None], default=0.0)
    yield bars({name.replace("_", " "): values for name, values in groups.items()}, top=max(top, 0.01))
    rows = [[text(model["name"]), *(str(model["errors"]["count"][name]) for name in ERRORS)] for model in models]
    yield table(["count", *(name.replace("_", " ") for name in ERRORS)], rows)


def _confusion(
    models: Sequence[Mapping[str, Any]], classes: Sequence[str], settings: Mapping[str, Any]
) -> Iterable[str]:
    yield (
        f"<h2>Confusion</h2><p>Rows: what is there; columns: what was found, from a score of "
        f"{settings['operating_thresh']:g}, matched by place alone (IoU {settings['confusion_iou']:g}), best score "
        "first. A second box on a part that is taken counts as background.</p>"
    )
    for index, model in enumerate(models):
        yield f"<p>{key(index, model['name'])}</p>"
        head = "".join(f"<th>{text(name)}</th>" for name in ("", *map(_short, classes), "missed"))
        rows = []
        for name, row in zip([*classes, "background"], model["confusion"], strict=True):
            most = max(1, sum(row))
            cells = "".join(
                f'<td style="background:rgba(0,114,178,{0.6 * value / most:.2f})">{value}</td>' for value in row
            )
            rows.append(f"<tr><td>{text(_short(name))}</td>{cells}</tr>")
        yield f'<div class="wide"><table class="matrix"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _speed(models: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield (
        "<h2>Speed and memory</h2><p>Reading and decoding included; loading the model and one picture to warm up not. "
        "Memory is the highest of the whole process during the run.</p>"
    )
    rows = []
    for model in models:
        speed = model["speed"]
        rows.append(
            [
                text(model["name"]),
                text(model["device"]),
                str(speed["workers"]),
                f"{speed['pictures_per_second']:.1f}",
                _mebibytes(speed["peak_bytes"]),
                _mebibytes(speed["peak_device_bytes"]),
            ]
        )
    yield table(["model", "device", "workers", "pictures/s", "memory", "on the device"], rows)


def _pictures(names: Sequence[str], gallery: Gallery, settings: Mapping[str, Any], hidden: bool) -> Iterable[str]:
    yield f"<h2>Worst pictures</h2><p>Most mistakes from a score of {settings['operating_thresh']:g}. "
    yield "Blue: there; green: found rightly; orange: found wrongly; grey: crowd or ignored. "
    yield (
        "Everything annotated or found is hidden, whichever model found it; the rest is not.</p>"
        if hidden
        else "Shown without hiding anything.</p>"
    )
    for index, (name, pictures) in enumerate(zip(names, gallery, strict=True)):
        yield f'<p>{key(index, name)}</p><div class="pictures">'
        for url, file, notes in pictures:
            lines = "".join(f"<li>{text(note)}</li>" for note in notes)
            yield (
                f'<figure><img src="{url}" alt=""><figcaption><b>{text(file)}</b><ul>{lines}</ul></figcaption></figure>'
            )
        yield "</div>" if pictures else "</div><p>None.</p>"


def _point(point: Mapping[str, Any] | None, first: str) -> list[str]:
    """Cells of a threshold: best F1, score and precision; or recall, score and precision."""
    if point is None:
        return ["–", "–", "–"]
    value = f"{point[first]:.3f}"
    if not point["reached"]:
        value += " (not reached)"
    return [value, f"{point['score_thresh']:.3f}", f"{point['precision']:.3f}"]


def _short(name: str) -> str:
    return name.removesuffix("_EXPOSED").replace("_", " ").lower()


def _mebibytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 2**20:.0f} MiB"
