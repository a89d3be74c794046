"""`detector evaluate ANNOTATIONS`: detectors against the boxes of a COCO file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from detector.cliparts import progress, split_names
from detector.errors import UsageError
from detector.evaluation.gate import read_baseline
from detector.evaluation.measure import look_at_all
from detector.evaluation.outputs import EXIT_LOOK, check_outputs, gate_code, name_apart, write_result, write_text
from detector.evaluation.report_html import html_report
from detector.evaluation.run import ModelRun, Settings, make_result
from detector.evaluation.table import text_table
from detector.evaluation.thresholds import policy_text
from detector.evaluation.truth import Truth, read_truth
from detector.evaluation.worst import Worst, draw_case, worst_cases
from detector.models import Predictor, load

__all__ = ["WANT_RECALL", "evaluate_boxes_of"]

WANT_RECALL = 0.95


def evaluate_boxes_of(annotations: Path, options: Mapping[str, Any]) -> int:
    """Measure detectors on the pictures of a COCO file; return the exit code.

    Args:
        annotations: the COCO file.
        options: of the command, by name.
    """
    wanted = WANT_RECALL if options["want_recall"] is None else options["want_recall"]
    if not 0 < wanted <= 1:
        raise UsageError(f"--want-recall must lie in (0, 1]; got {wanted}")
    check_outputs(options, annotations)
    baseline = read_baseline(options["gate"]) if options["gate"] else None
    settings = Settings(
        want_recall=wanted,
        rounds=options["rounds"],
        seed=options["seed"],
        operating_thresh=options["thresh"],
        workers=options["workers"],
    )
    truth = read_truth(annotations, classes=split_names(options["classes"]))
    folder = options["images"] or annotations.parent
    runs = [_run(model, truth, folder, options) for model in _load(options)]
    result = make_result(runs, truth, settings)
    click.echo(text_table(result), nl=False)
    if options["json_path"]:
        write_result(options["json_path"], result)
    if options["html_path"]:
        write_text(options["html_path"], _report(runs, truth, folder, result, options))
    code = _policy(runs[0], annotations, wanted, options["write_policy"]) if options["write_policy"] else 0
    return gate_code(result, baseline, options["tolerance"]) or code


def _load(options: Mapping[str, Any]) -> list[Predictor]:
    """Load all of them before the first looks at a picture: a wrong name must not come out after an hour."""
    names = options["models"] or [None]
    threads = 1 if options["workers"] > 1 else None
    models = [load(name, device=options["device"], threads=threads) for name in names]
    name_apart(models, names)
    return models


def _run(model: Predictor, truth: Truth, folder: Path, options: Mapping[str, Any]) -> ModelRun:
    workers = options["workers"]
    with progress(len(truth.dataset["images"])) as say:
        looked = look_at_all(model, truth, folder, workers=workers, advance=lambda: say(None))
    return ModelRun.of(model, looked, truth)


def _report(
    runs: list[ModelRun], truth: Truth, folder: Path, result: Mapping[str, Any], options: Mapping[str, Any]
) -> str:
    thresh, show = result["settings"]["operating_thresh"], options["show_pictures"]
    gallery = [
        [
            (
                draw_case(worst, folder, _also_hidden(runs, truth, worst), score_thresh=thresh, show=show),
                worst.case.file_name,
                worst.notes,
            )
            for worst in worst_cases(run.cases, truth.class_names, thresh, options["worst"])
        ]
        for run in runs
    ]
    return html_report(result, gallery, hidden=not show)


def _also_hidden(runs: Sequence[ModelRun], truth: Truth, worst: Worst) -> NDArray[np.float64]:
    """Return (N, 4) what else is marked in a picture: other classes, and what any of the models found.

    A model is in the report for what it does not find; another one may have found what nobody annotated.
    """
    image_id = worst.case.image_id
    marked = [run.looked.found[image_id].boxes for run in runs]
    return np.concatenate([truth.other_boxes.get(image_id, np.zeros((0, 4))), *marked]).astype(np.float64)


def _policy(run: ModelRun, annotations: Path, wanted: float, path: Path) -> int:
    """Write the policy file; return 3 when a class does not get the recall that was asked for."""
    points = run.points_at_recall(wanted)
    source = f"Measured with {run.model.name} on {annotations.name}, {len(run.cases)} pictures, IoU 0.5."
    write_text(path, policy_text(path.stem, points, wanted=wanted, source=source))
    lacking = [name for name, point in points.items() if point is None or not point.reached]
    for name in lacking:
        point = points[name]
        best = "nothing of it was found or annotated" if point is None else f"the most is {point.recall:.3f}"
        click.echo(f"policy: {name} does not reach a recall of {wanted:g}; {best}; see {path}", err=True)
    return EXIT_LOOK if lacking else 0
