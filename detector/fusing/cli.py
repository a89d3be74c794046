"""`detector fit-fusion`: a logistic model of verdicts, fitted to a labelled CSV and written into a policy."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import device_option, failure_text, limits_options, progress, workers_option
from detector.errors import UsageError

if TYPE_CHECKING:
    from detector.fusing.samples import Samples
    from detector.policy import Policy

__all__ = ["fit_fusion"]

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("csv", type=FILE, metavar="CSV")
@click.option("--out", type=FILE, metavar="POLICY.toml", help="Write the policy here; its name is the file's.")
@click.option("--base", default="default", metavar="NAME|FILE", help="Policy to add the fit to.  [default]")
@click.option(
    "--write-features", type=FILE, metavar="OUT.csv", help="Write the features, to fit again without looking."
)
@click.option("--json", "json_path", type=FILE, metavar="FILE", help="Write model and figures as JSON.")
@click.option("--l2", type=float, default=1.0, help="Penalty on the weights; more for few pictures.  [1]")
@click.option("--folds", type=int, default=5, help="Parts of the cross-validation.  [5]")
@click.option("--want-fpr", type=float, default=0.01, metavar="R", help="Safe pictures called nsfw, at most.  [0.01]")
@click.option("--want-recall", type=float, default=0.95, metavar="R", help="Nsfw pictures not called safe.  [0.95]")
@click.option("--bootstrap", "rounds", type=click.IntRange(0), default=200, help="Draws for the intervals.  [200]")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of folds and draws.  [0]")
@click.option("--model", metavar="NAME|FILE", help="Detector to look with; see `detector models`.")
@device_option
@workers_option
@limits_options
def fit_fusion(**options: Any) -> int:
    """Fit how parts, second opinion and records weigh, and write a policy that decides by it.

    CSV has a column `label` (nsfw or safe) and `file` (looked at now), or the features that --write-features writes.
    Records of uploaders and groups are columns `uploader.posted.1`, `uploader.flagged.1`, and so on for 1, 7, 30 and
    90 days, and the same with `group`. Pictures with the same `keep_together` stay on one side of each fold.

    \b
    Examples:
      detector fit-fusion labelled.csv --out fused.toml --write-features features.csv
      detector fit-fusion features.csv --out fused.toml --base strict --l2 3
      detector classify --policy fused.toml in.jpg
    """
    from dataclasses import replace

    from detector.fusing.fit import FitSettings, fit_fusion
    from detector.fusing.policy_text import fused_policy_text
    from detector.fusing.samples import features_csv, read_samples
    from detector.fusing.table import fit_text
    from detector.policy import load_policy, policy_path

    _check(options)
    policy = replace(load_policy(options["base"]), fusion=None)
    base = policy_path(options["base"]).read_text(encoding="utf-8")
    settings = FitSettings(
        **{key: options[key] for key in ("l2", "folds", "want_fpr", "want_recall", "rounds", "seed")}
    )
    samples = read_samples(options["csv"], policy)
    if samples.unused:
        click.echo(f"columns that are not used: {', '.join(samples.unused)}", err=True)
    if not samples.looked_at:
        samples = _look(samples, policy, options)
    if options["write_features"]:  # before the fit: looking took the time, and a refused fit must not lose it
        _write(options["write_features"], features_csv(samples, policy))
        if not options["out"] and not options["json_path"]:
            return 0
    result = fit_fusion(samples, policy, settings)
    policy_text = fused_policy_text(base, options["out"].stem, result.model) if options["out"] else ""
    json_text = json.dumps(result.to_dict(), indent=2, allow_nan=False) + "\n"
    click.echo(fit_text(result, settings), nl=False)
    if options["json_path"]:
        _write(options["json_path"], json_text)
    if options["out"]:
        _write(options["out"], policy_text)
    return 0


def _check(options: dict[str, Any]) -> None:
    """Refuse before the work what would fail after it."""
    paths = [options[key] for key in ("out", "write_features", "json_path") if options[key] is not None]
    for path in paths:
        if not path.resolve().parent.is_dir():
            raise UsageError(f"the folder of an output must exist; there is no {path.parent}; make it first")
    resolved = [path.resolve() for path in (*paths, options["csv"])]
    if len(set(resolved)) < len(resolved):
        raise UsageError("--out, --write-features, --json and CSV must be different files")
    if options["out"] is not None and options["out"].suffix != ".toml":
        raise UsageError(f"a policy file must end in .toml, to be loaded by its path; got {options['out']}")


def _look(samples: "Samples", policy: "Policy", options: dict[str, Any]) -> "Samples":
    """Look at every picture of the CSV."""
    from detector.fusing.look import look_at_samples
    from detector.models import load
    from detector.open_nsfw import load_open_nsfw
    from detector.picture import Limits

    workers = min(options["workers"], len(samples.items))
    threads = 1 if workers > 1 else None
    model = load(options["model"], device=options["device"], threads=threads)
    opinion = load_open_nsfw(options["device"], threads) if policy.verdict.second_opinion else None
    with progress(len(samples.items)) as say:
        return look_at_samples(
            samples,
            options["csv"].parent,
            model,
            opinion,
            policy,
            workers=workers,
            limits=Limits(**{key: options[key] for key in ("max_bytes", "max_pixels", "max_side")}),
            failed=lambda file, error: say(f"detector: error: {failure_text(file, error)}"),
            advance=lambda: say(None),
        )


def _write(path: Path, text: str) -> None:
    from detector.atomic import write_atomic

    write_atomic(path, text.encode("utf-8"))
    print(f"wrote {path}", file=sys.stderr)
