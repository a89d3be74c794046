"""`detector evaluate --as-classifier`: whole-picture scores against pictures that are known to be nude or safe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from detector.cliparts import EXIT_FAILED, progress
from detector.errors import UsageError
from detector.evaluation.binary_metrics import score_curve
from detector.evaluation.classifier_figures import ClassifierSettings, chosen_cut
from detector.evaluation.classifier_html import classifier_html
from detector.evaluation.classifier_policy import can_write_policy, classifier_policy_text
from detector.evaluation.classifier_run import (
    CLASSIFIER_FORMAT,
    ScorerRun,
    make_classifier_result,
    scored_by_all,
)
from detector.evaluation.classifier_table import classifier_text_table, wanted_text
from detector.evaluation.gate import read_baseline
from detector.evaluation.labelled import Labelled, read_labelled
from detector.evaluation.outputs import EXIT_LOOK, check_outputs, gate_code, name_apart, write_result, write_text
from detector.evaluation.scored import score_all
from detector.evaluation.thumbnails import draw_mistake, worst_mistakes
from detector.models import DEFAULT_MODEL
from detector.scorers import JOIN, OPEN_NSFW, Scorer, load_scorer

__all__ = ["DEFAULT_SCORERS", "evaluate_as_classifier"]

# The detector, the second opinion, and what the verdict makes of both.
DEFAULT_SCORERS: tuple[str, ...] = (DEFAULT_MODEL, OPEN_NSFW, DEFAULT_MODEL + JOIN + OPEN_NSFW)


def evaluate_as_classifier(labels: Path, options: Mapping[str, Any]) -> int:
    """Measure scorers on labelled pictures; return the exit code.

    Args:
        labels: a folder with `nude/` and `safe/`, or a CSV.
        options: of the command, by name.
    """
    settings = ClassifierSettings(
        thresh=options["thresh"],
        base_rate=options["base_rate"],
        want_fpr=options["want_fpr"],
        want_recall=options["want_recall"],
        rounds=options["rounds"],
        seed=options["seed"],
        workers=options["workers"],
    )
    check_outputs(options, labels)
    if options["write_policy"] and settings.want_fpr is None and settings.want_recall is None:
        raise UsageError("--write-policy needs what the threshold is chosen for; give --want-fpr or --want-recall")
    baseline = read_baseline(options["gate"], CLASSIFIER_FORMAT) if options["gate"] else None
    labelled = read_labelled(labels, slices=options["slices"])
    scorers = _load(options)
    if options["write_policy"]:
        can_write_policy(scorers[0])
    runs = [_run(scorer, labelled, settings.workers) for scorer in scorers]
    result = make_classifier_result(runs, labelled, settings)
    for error in result["data"]["errors"]:
        click.echo(f"detector: error: {error['why']}", err=True)
    click.echo(classifier_text_table(result), nl=False)
    if options["json_path"]:
        write_result(options["json_path"], result)
    if options["html_path"]:
        write_text(options["html_path"], _report(runs, labelled, settings, result, options))
    code = _policy(runs, labelled, settings, options["write_policy"]) if options["write_policy"] else 0
    if result["data"]["errors"]:
        code = EXIT_FAILED
    return gate_code(result, baseline, options["tolerance"]) or code


def _load(options: Mapping[str, Any]) -> list[Scorer]:
    """Load all of them before the first looks at a picture: a wrong name must not come out after an hour."""
    threads = 1 if options["workers"] > 1 else None
    names = options["models"] or DEFAULT_SCORERS
    scorers = [load_scorer(name, device=options["device"], threads=threads) for name in names]
    name_apart(scorers, names)
    return scorers


def _run(scorer: Scorer, labelled: Labelled, workers: int) -> ScorerRun:
    with progress(len(labelled.pictures)) as say:
        scored = score_all(scorer, labelled, workers=workers, advance=lambda: say(None))
    return ScorerRun(scorer=scorer, scored=scored)


def _report(
    runs: Sequence[ScorerRun],
    labelled: Labelled,
    settings: ClassifierSettings,
    result: Mapping[str, Any],
    options: Mapping[str, Any],
) -> str:
    usable, show = scored_by_all(runs), options["show_pictures"]
    pictures = [picture for picture, kept in zip(labelled.pictures, usable, strict=True) if kept]
    gallery = []
    for run in runs:
        scores = run.scored.scores[usable]
        wrong = worst_mistakes(labelled.nude[usable], scores, run.thresh(settings), options["worst"])
        gallery.append(
            [
                (draw_mistake(pictures[each.index].path, show=show), pictures[each.index].name, each.note)
                for each in wrong
            ]
        )
    return classifier_html(result, gallery, hidden=not show)


def _policy(runs: Sequence[ScorerRun], labelled: Labelled, settings: ClassifierSettings, path: Path) -> int:
    """Write the first scorer's policy file; return 3 when what was wanted is not reached."""
    usable = scored_by_all(runs)
    scorer, scores = runs[0].scorer, runs[0].scored.scores[usable]
    cut = chosen_cut(score_curve(labelled.nude[usable], scores), settings)
    text, reached = classifier_policy_text(
        scorer,
        cut,
        name=path.stem,
        want_fpr=settings.want_fpr,
        want_recall=settings.want_recall,
        source=f"Measured with {scorer.name} on whole pictures of {labelled.source}, {int(usable.sum())} of them.",
    )
    write_text(path, text)
    if not reached:
        click.echo(f"policy: {scorer.name} does not reach {wanted_text(vars(settings))}; see {path}", err=True)
    return 0 if reached else EXIT_LOOK
