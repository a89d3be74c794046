"""The readable table of whole-picture scores: what a person sees on standard output."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detector.evaluation.classifier_run import FEW
from detector.evaluation.text_parts import grid, interval, number

__all__ = ["AT_THRESH", "DIFFERENCES", "OVERALL", "classifier_text_table", "head_lines", "wanted_text", "with_interval"]

# Figures at the operating threshold, and their heads.
AT_THRESH: Mapping[str, str] = {
    "accuracy": "accuracy",
    "precision_nude": "P nude",
    "recall_nude": "R nude",
    "f1_nude": "F1 nude",
    "precision_safe": "P safe",
    "recall_safe": "R safe",
    "f1_safe": "F1 safe",
    "fpr": "FPR",
}
OVERALL: Mapping[str, str] = {"auc": "ROC AUC", "average_precision": "AP"}
DIFFERENCES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "f1_nude": "F1 nude",
    "auc": "ROC AUC",
    "average_precision": "AP",
    "brier": "Brier",
}


def classifier_text_table(result: Mapping[str, Any]) -> str:
    """Return a result of `make_classifier_result` as text; a dash stands where nothing can be said."""
    return "\n".join(_lines(result)) + "\n"


def head_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the figures are of, and what they are not of."""
    data = result["data"]
    yield f"{data['pictures']} pictures of {data['source']}: {data['nude']} nude, {data['safe']} safe"
    if data["errors"]:
        yield (
            f"{len(data['errors'])} files could not be looked at; they are in no figure of any scorer but the last "
            "column of the first table, where each counts as a mistake"
        )
    if data["repeated"]:
        yield f"{data['repeated']} files repeat another's content; they count each time, and intervals are too narrow"
    if data["beside"]:
        yield f"{data['beside']} files beside the labelled folders were not looked at"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    models, settings = result["models"], result["settings"]
    yield from head_lines(result)
    yield ""
    yield "At the operating threshold (flagged from there up)"
    yield from _at_threshold(models, bool(result["data"]["errors"]))
    yield ""
    yield f"Over all thresholds, [..] at {settings['confidence']:.0%} confidence"
    yield from _overall(models)
    yield ""
    yield from _calibration(models, settings)
    yield from _chosen(models, settings)
    yield from _slices(models)
    for change in result["differences"]:
        yield ""
        yield f"{change['to']} minus {change['from']}, on the same draws of pictures"
        for name, head in DIFFERENCES.items():
            if change[name] is not None:
                better = f"better in {change[name]['better']:.0%} of draws"
                yield f"  {head:<9} {interval(change[name], '+.3f')}; {better}"


def _at_threshold(models: Sequence[Mapping[str, Any]], errors: bool) -> Iterator[str]:
    heads = ["scorer", "from", "hits", "missed", "false", "passed", *AT_THRESH.values()]
    rows = []
    for model in models:
        counts = [str(model["confusion"][name]) for name in ("tp", "fn", "fp", "tn")]
        row = [model["name"], f"{model['thresh']:g}", *counts, *(number(model["figures"][name]) for name in AT_THRESH)]
        rows.append([*row, number(model["accuracy_if_errors_are_mistakes"])] if errors else row)
    yield from grid([*heads, "with errors"] if errors else heads, rows)


def _overall(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from grid(
        ["scorer", *OVERALL.values(), "pictures/s"],
        [
            [
                model["name"],
                *(with_interval(model, name) for name in OVERALL),
                f"{model['speed']['pictures_per_second']:.1f}",
            ]
            for model in models
        ],
    )
    yield ""
    yield "FPR at a recall (R) of the nude pictures, and recall at an FPR"
    yield from grid(
        [
            "scorer",
            *(f"R {entry['wanted']:g}" for entry in models[0]["fpr_at_recall"]),
            *(f"FPR {entry['wanted']:g}" for entry in models[0]["recall_at_fpr"]),
        ],
        [
            [
                model["name"],
                *(number(entry.get("fpr")) for entry in model["fpr_at_recall"]),
                *(number(entry.get("recall")) for entry in model["recall_at_fpr"]),
            ]
            for model in models
        ],
    )


def _calibration(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[str]:
    yield "As probabilities, before and after a temperature fitted on other pictures; precision at a base rate"
    heads = ["scorer", "Brier", "after", "ECE", "after", "NLL", "after", "temperature"]
    yield from grid(
        [*heads, f"precision at {100 * settings['base_rate']:g} % nude"],
        [
            [
                model["name"],
                *(
                    number(model["calibration"][when][name])
                    for name in ("brier", "ece", "nll")
                    for when in ("before", "after")
                ),
                f"{model['calibration']['temperature']:.3g}",
                with_interval(model, "precision_at_base_rate"),
            ]
            for model in models
        ],
    )


def _chosen(models: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Iterator[str]:
    wanted = wanted_text(settings)
    if not wanted:
        return
    yield ""
    yield f"Threshold for {wanted}, chosen on these very pictures"
    rows = []
    for model in models:
        found = model["chosen"]
        names = ("accuracy", "precision_nude", "recall_nude", "fpr")
        cells = ["not reached", *("-" for _ in names)]
        if found is not None:
            cells = [f"{found['score_thresh']:.4f}", *(number(found["figures"][name]) for name in names)]
        rows.append([model["name"], *cells])
    yield from grid(["scorer", "from", "accuracy", "P nude", "R nude", "FPR"], rows)


def _slices(models: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for column in models[0]["slices"]:
        yield ""
        yield f"By {column} (* fewer than {FEW} pictures of a kind: read the intervals)"
        rows = []
        for model in models:
            for value, entry in model["slices"][column].items():
                counts = [str(entry["nude"]), str(entry["safe"])]
                shares = [with_interval(entry, name) for name in ("recall_nude", "fpr", "accuracy", "auc")]
                rest = [number(entry["figures"][name]) for name in ("precision_nude", "f1_nude", "average_precision")]
                rows.append([model["name"], value + (" *" if entry["few"] else ""), *counts, *shares, *rest])
        heads = ["scorer", column, "nude", "safe", "R nude", "FPR", "accuracy", "ROC AUC", "P nude", "F1 nude", "AP"]
        yield from grid(heads, rows)


def wanted_text(settings: Mapping[str, Any]) -> str:
    """Say what a threshold was chosen for; nothing when none was."""
    if settings["want_fpr"] is not None:
        return f"an FPR of at most {settings['want_fpr']:g}"
    return "" if settings["want_recall"] is None else f"a recall of at least {settings['want_recall']:g}"


def with_interval(entry: Mapping[str, Any], name: str) -> str:
    """Return a figure with its interval, where it has one."""
    found, value = entry["confidence"].get(name), entry["figures"][name]
    if found is None or value is None:
        return number(value)
    return f"{value:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
