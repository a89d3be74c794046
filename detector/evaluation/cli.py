"""`detector evaluate`: figures, thresholds, errors and reports of detectors and of whole-picture scores."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from detector.cliparts import device_option, workers_option
from detector.errors import UsageError

__all__ = ["evaluate"]

FILE = click.Path(path_type=Path, dir_okay=False)

# Options that mean something in one mode only, as they are typed.
_BOXES_ONLY = {"images": "--images", "classes": "--classes"}
_CLASSIFIER_ONLY = {"base_rate": "--base-rate", "slices": "--slice", "want_fpr": "--want-fpr"}


@click.command(
    epilog="Exit codes: 0 done, 1 a figure fell (--gate) or a picture could not be looked at, 2 wrong usage, 3 a "
    "wanted recall or FPR is not reached."
)
@click.argument("annotations", type=FILE, required=False)
@click.option("--as-classifier", type=click.Path(path_type=Path), metavar="DIR|CSV", help="Score whole pictures.")
@click.option("--images", type=click.Path(path_type=Path, file_okay=False), help="Their folder.  [beside ANNOTATIONS]")
@click.option("--model", "models", multiple=True, metavar="NAME|FILE", help="Detector or scorer; again to compare.")
@click.option("--classes", metavar="A,B", help="Evaluate only these.  [every category]")
@click.option("--json", "json_path", type=FILE, help="Write every figure here.")
@click.option("--html", "html_path", type=FILE, help="Write a report with plots and the worst pictures here.")
@click.option("--show-pictures", is_flag=True, help="Do not hide body regions in the report.")
@click.option("--worst", type=click.IntRange(0, 200), default=12, help="Pictures a model in the report.  [12]")
@click.option("--write-policy", type=FILE, help="Write a policy with the threshold(s) wanted, of the first model.")
@click.option("--want-recall", type=float, metavar="R", help="Recall wanted: of each class [0.95], or of nude.")
@click.option("--want-fpr", type=float, metavar="F", help="Whole pictures: share of safe ones that may be flagged.")
@click.option("--base-rate", type=float, default=0.01, metavar="B", help="Precision where B of all is nude.  [0.01]")
@click.option("--slice", "slices", multiple=True, metavar="COLUMN", help="Figures by value of this column of the CSV.")
@click.option("--gate", type=FILE, help="Exit with 1 when a figure fell since this former --json output.")
@click.option("--tolerance", type=float, default=0.005, metavar="T", help="How far a figure may fall.  [0.005]")
@click.option("--thresh", type=float, metavar="T", help="Operating threshold.  [default policy's; each scorer's own]")
@click.option("--bootstrap", "rounds", type=click.IntRange(0), default=1000, help="Draws for intervals.  [1000]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the draws.  [0]")
@device_option
@workers_option
@click.pass_context
def evaluate(ctx: click.Context, /, **options: Any) -> int:
    """Measure detectors on the pictures of a COCO file, or scores of whole pictures.

    With --as-classifier the pictures are known to be nude or safe: a folder with nude/ and safe/, or a CSV with the
    columns file and label. --model is then a detector (its highest score counts), open-nsfw, a classifier, a baseline,
    or several joined by +.

    \b
    Examples:
      detector evaluate val/annotations.json
      detector evaluate val/annotations.json --model nudenet-320n --model mine.safetensors --html report.html
      detector evaluate val/annotations.json --model mine.safetensors --gate baseline.json
      detector evaluate val/annotations.json --write-policy mine.toml --want-recall 0.95
      detector evaluate --as-classifier pictures/ --model open-nsfw --model nudenet-320n+open-nsfw
      detector evaluate --as-classifier labels.csv --slice skin_tone --base-rate 0.01 --html report.html
    """
    annotations, labels = options.pop("annotations"), options.pop("as_classifier")
    if (annotations is None) == (labels is None):
        got = "neither" if labels is None else "both"
        raise UsageError(f"evaluate needs a COCO file, or --as-classifier and a folder or CSV; got {got}")
    others = _CLASSIFIER_ONLY if labels is None else _BOXES_ONLY
    for name, typed in others.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{typed} goes {'only' if labels is None else 'not'} with --as-classifier; leave it out")
    if labels is None:
        from detector.evaluation.boxes_mode import evaluate_boxes_of

        return evaluate_boxes_of(annotations, options)
    from detector.evaluation.classifier_mode import evaluate_as_classifier

    return evaluate_as_classifier(labels, options)
