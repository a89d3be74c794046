"""The readable table: what a person sees on standard output."""

from collections.abc import Iterator, Mapping
from typing import Any

from detector.evaluation.text_parts import grid, interval, number

__all__ = ["text_table"]

_OVERALL = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def text_table(result: Mapping[str, Any]) -> str:
    """Return a result of `make_result` as text; a dash stands where nothing can be said."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    data, settings = result["data"], result["settings"]
    yield f"{data['pictures']} pictures, {data['parts']} parts, {data['crowds']} crowds, {len(data['classes'])} classes"
    for model in result["models"]:
        yield ""
        yield from _model_lines(model, data["classes"], settings)
    for change in result["differences"]:
        yield ""
        yield f"{change['to']} minus {change['from']}"
        for name in ("AP", "AP50"):
            if change[name] is not None:
                better = f"better in {change[name]['better']:.0%} of draws"
                yield f"  {name:<5} {interval(change[name], '+.3f')}; {better}"


def _model_lines(model: Mapping[str, Any], classes: list[str], settings: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model['name']} on {model['device']}"
    yield from grid(
        ["", *_OVERALL],
        [
            ["all classes", *(number(model["figures"][name]) for name in _OVERALL)],
            ["any class", *(number(model["class_agnostic"][name]) for name in _OVERALL)],
        ],
    )
    for name, found in model["confidence"].items():
        if found is not None:
            yield f"  {name:<5} {interval(found, '.3f')} at {settings['bootstrap_confidence']:.0%} confidence"
    want = f"recall {settings['want_recall']:g} at"
    rows = []
    for name, entry in model["per_class"].items():
        figures, f1, recall = entry["figures"], entry["best_f1"], entry["wanted_recall"]
        rows.append(
            [
                name,
                str(entry["parts"]),
                *(number(figures[key]) for key in ("AP", "AP50", "AP75", "AR100")),
                "-" if f1 is None else f"{f1['f1']:.3f} at {f1['score_thresh']:.3f}",
                _recall(recall),
            ]
        )
    yield ""
    yield from grid(["class", "parts", "AP", "AP50", "AP75", "AR100", "best F1", want], rows)
    yield ""
    errors = model["errors"]
    yield from grid(
        ["errors at IoU 0.5, all scores", *errors["count"]],
        [
            ["count", *(str(value) for value in errors["count"].values())],
            ["AP50 that mending gains", *(number(value) for value in errors["cost"].values())],
        ],
    )
    yield ""
    short = [name.replace("_EXPOSED", "").replace("FEMALE", "F").replace("_MALE", "M") for name in classes]
    yield from grid(
        [f"there \\ found, from {settings['operating_thresh']:g}", *short, "missed"],
        [
            [name, *(str(value) for value in row)]
            for name, row in zip([*classes, "background"], model["confusion"], strict=True)
        ],
    )
    yield ""
    speed = model["speed"]
    memory = "" if speed["peak_bytes"] is None else f", peak memory {speed['peak_bytes'] / 2**20:.0f} MiB"
    if speed["peak_device_bytes"] is not None:
        memory += f", on the device {speed['peak_device_bytes'] / 2**20:.0f} MiB"
    yield f"  {speed['pictures_per_second']:.1f} pictures/s with {speed['workers']} workers{memory}"


def _recall(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return "-"
    if not point["reached"]:
        return f"not reached ({point['recall']:.3f} at {point['score_thresh']:.3f})"
    return f"{point['score_thresh']:.3f} (precision {point['precision']:.3f})"
