"""`detector evaluate`: figures, thresholds, errors and reports of one detector or several on annotated pictures."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import EXIT_FAILED, device_option, progress, split_names, workers_option
from detector.errors import OutputError, UsageError

if TYPE_CHECKING:
    from detector.evaluation.run import ModelRun
    from detector.evaluation.truth import Truth

__all__ = ["evaluate"]

# As in `censor`: written, but a person should look.
EXIT_LOOK = 3

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog="Exit codes: 0 done, 1 a figure fell (--gate), 2 wrong usage, 3 a wanted recall is not reached.")
@click.argument("annotations", type=FILE)
@click.option("--images", type=click.Path(path_type=Path, file_okay=False), help="Their folder.  [beside ANNOTATIONS]")
@click.option("--model", "models", multiple=True, metavar="NAME|FILE", help="Detector; again for more to compare.")
@click.option("--classes", metavar="A,B", help="Evaluate only these.  [every category]")
@click.option("--json", "json_path", type=FILE, help="Write every figure here.")
@click.option("--html", "html_path", type=FILE, help="Write a report with plots and the worst pictures here.")
@click.option("--show-pictures", is_flag=True, help="Do not hide body regions in the report.")
@click.option("--worst", type=click.IntRange(0, 200), default=12, help="Pictures a model in the report.  [12]")
@click.option("--write-policy", type=FILE, help="Write a policy with thresholds for --want-recall; of the first model.")
@click.option("--want-recall", type=float, default=0.95, metavar="R", help="Recall wanted of each class.  [0.95]")
@click.option("--gate", type=FILE, help="Exit with 1 when a figure fell since this former --json output.")
@click.option("--tolerance", type=float, default=0.005, metavar="T", help="How far a figure may fall.  [0.005]")
@click.option("--thresh", type=float, metavar="T", help="Score for confusion and worst pictures.  [default policy's]")
@click.option("--bootstrap", "rounds", type=click.IntRange(0), default=1000, help="Draws for intervals.  [1000]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the draws.  [0]")
@device_option
@workers_option
def evaluate(**options: Any) -> int:
    """Measure detectors on the pictures of a COCO file.

    \b
    Examples:
      detector evaluate val/annotations.json
      detector evaluate val/annotations.json --model nudenet-320n --model mine.safetensors --html report.html
      detector evaluate val/annotations.json --model mine.safetensors --gate baseline.json
      detector evaluate val/annotations.json --write-policy mine.toml --want-recall 0.95
    """
    from detector.evaluation.gate import check_gate, read_baseline
    from detector.evaluation.run import Settings, make_result
    from detector.evaluation.table import text_table
    from detector.evaluation.truth import read_truth

    _check(options)
    baseline = read_baseline(options["gate"]) if options["gate"] else None
    truth = read_truth(options["annotations"], classes=split_names(options["classes"]))
    folder = options["images"] or options["annotations"].parent
    settings = Settings(
        want_recall=options["want_recall"],
        rounds=options["rounds"],
        seed=options["seed"],
        operating_thresh=options["thresh"],
        workers=options["workers"],
    )
    runs = [_run(name, truth, folder, options) for name in options["models"] or [None]]
    result = make_result(runs, truth, settings)
    click.echo(text_table(result), nl=False)
    if options["json_path"]:
        _write(options["json_path"], json.dumps(result, indent=2, allow_nan=False) + "\n")
    if options["html_path"]:
        _write(options["html_path"], _report(runs, truth, folder, result, options))
    code = _policy(runs[0], options) if options["write_policy"] else 0
    if baseline is not None:
        fallen = check_gate(result, baseline, options["tolerance"])
        for line in fallen:
            click.echo(f"gate: {line}", err=True)
        if fallen:
            return EXIT_FAILED
        click.echo(f"gate: no figure fell by more than {options['tolerance']:g}")
    return code


def _check(options: dict[str, Any]) -> None:
    """Refuse before the work what would fail after it."""
    for key in ("json_path", "html_path", "write_policy"):
        path = options[key]
        if path is not None and not path.resolve().parent.is_dir():
            raise UsageError(f"the folder of an output must exist; there is no {path.parent}; make it first")
    if not 0 < options["want_recall"] <= 1:
        raise UsageError(f"--want-recall must lie in (0, 1]; got {options['want_recall']}")
    if options["write_policy"] and options["write_policy"].suffix != ".toml":
        raise UsageError(f"a policy file must end in .toml, to be loaded by its path; got {options['write_policy']}")
    models: Sequence[str] = options["models"]
    if len(set(models)) != len(models):
        raise UsageError(f"each --model must be named once; got {', '.join(models)}")


def _run(name: str | None, truth: "Truth", folder: Path, options: dict[str, Any]) -> "ModelRun":
    from detector.evaluation.measure import look_at_all
    from detector.evaluation.run import ModelRun
    from detector.models import load

    workers = options["workers"]
    model = load(name, device=options["device"], threads=1 if workers > 1 else None)
    with progress(len(truth.dataset["images"])) as say:
        looked = look_at_all(model, truth, folder, workers=workers, advance=lambda: say(None))
    return ModelRun.of(model, looked, truth)


def _report(
    runs: Sequence["ModelRun"], truth: "Truth", folder: Path, result: dict[str, Any], options: dict[str, Any]
) -> str:
    from detector.evaluation.report_html import html_report
    from detector.evaluation.worst import draw_case, worst_cases

    thresh, show = result["settings"]["operating_thresh"], options["show_pictures"]
    gallery = [
        [
            (
                draw_case(worst, folder, truth.other_boxes.get(worst.case.image_id), score_thresh=thresh, show=show),
                worst.case.file_name,
                worst.notes,
            )
            for worst in worst_cases(run.cases, truth.class_names, thresh, options["worst"])
        ]
        for run in runs
    ]
    return html_report(result, gallery, hidden=not show)


def _policy(run: "ModelRun", options: dict[str, Any]) -> int:
    """Write the policy file; return 3 when a class does not get the recall that was asked for."""
    from detector.evaluation.thresholds import policy_text

    path, wanted = options["write_policy"], options["want_recall"]
    points = run.points_at_recall(wanted)
    source = f"Measured with {run.model.name} on {options['annotations'].name}, {len(run.cases)} pictures, IoU 0.5."
    _write(path, policy_text(path.stem, points, wanted=wanted, source=source))
    lacking = [name for name, point in points.items() if point is None or not point.reached]
    for name in lacking:
        point = points[name]
        best = "nothing of it was found or annotated" if point is None else f"the most is {point.recall:.3f}"
        click.echo(f"policy: {name} does not reach a recall of {wanted:g}; {best}; see {path}", err=True)
    return EXIT_LOOK if lacking else 0


def _write(path: Path, text: str) -> None:
    """Write a file in one step, so that a former result stays whole when this fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"the output must be writable; {path} is not ({error.strerror or error})") from error
    print(f"wrote {path}", file=sys.stderr)
