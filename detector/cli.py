"""`detector detect | classify | models | doctor`: what is in pictures, and what this installation can do."""

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

import detector
from detector.cliparts import (
    EXIT_FAILED,
    F,
    device_option,
    failure_text,
    limits_options,
    parse_thresholds,
    printable,
    progress,
    run_command,
    split_names,
    tiles_option,
    workers_option,
)
from detector.errors import UsageError

if TYPE_CHECKING:
    from detector.detections import Detections
    from detector.folders import Entry
    from detector.models import Predictor
    from detector.picture import Picture

__all__ = ["cli", "main"]

# Standard input in the place of a file name.
STREAM = "-"


# Commands that are loaded from their own place when they are asked for: they need more than the base install.
_LATER: dict[str, tuple[str, str]] = {
    "completion": ("detector.completion", "completion"),
    "data": ("detector.data.cli", "data"),
    "evaluate": ("detector.evaluation.cli", "evaluate"),
    "explain": ("detector.explain.cli", "explain"),
    "export": ("detector.exchange.cli", "export"),
    "fit-fusion": ("detector.fusing.cli", "fit_fusion"),
    "import-weights": ("detector.exchange.cli", "import_weights"),
    "known": ("detector.known_cli", "known"),
    "synth": ("detector.synth.cli", "synth"),
    "train": ("detector.training.cli", "train"),
    "train-classifier": ("detector.classifying.cli", "train_classifier"),
}


class _LazyGroup(click.Group):
    """A group whose further commands are imported only when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_LATER]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _LATER:
            return super().get_command(ctx, cmd_name)
        module, name = _LATER[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(detector.__version__, "-V", "--version", prog_name="detector", message="%(prog)s %(version)s")
def cli() -> None:
    """Look at pictures: find parts, give verdicts, list models, examine this installation."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1 or 2."""
    sys.exit(run_command(cli, "detector", argv))


json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a picture.")
model_option = click.option("--model", metavar="NAME|FILE", help="Detector: of `detector models`, or a weight file.")


def looking_options(function: F) -> F:
    """Add the options of the commands that look at pictures."""
    for option in (limits_options, workers_option, device_option, model_option, json_option, tiles_option):
        function = option(function)
    return function


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--classes", metavar="A,B", help="Classes to report, instead of the six.")
@click.option("--thresh", multiple=True, metavar="T|CLASS=T", help="Lowest score reported.  [0.25]")
@looking_options
def detect(**options: Any) -> int:
    """Print what is found in each picture.

    \b
    Examples:
      detector detect in.jpg
      detector detect --json photos/ > found.jsonl
      detector detect --classes FACE_FEMALE,FACE_MALE --thresh 0.4 in.jpg
    """
    from detector.classes import CLASSES, canonical_classes, canonical_keys
    from detector.policy import DetectRules

    passed_over = _expand(options)
    names = split_names(options["classes"])
    classes = CLASSES if names is None else canonical_classes(names)
    common, by_class = parse_thresholds(options["thresh"])
    by_class = canonical_keys(by_class, classes)
    default = DetectRules().score_thresh
    rules = DetectRules(score_thresh=default if common is None else common, score_thresh_by_class=by_class)
    model, look = _looker(options, classes, rules.thresholds(classes), bool(options["tiles"]))

    def record(file: str, found: "Detections") -> dict[str, Any]:
        return {
            "source": file,
            "image_size": list(found.image_size),
            "model": {"name": model.name, "sha256": model.sha256},
            "device": model.device,
            "boxes": found.to_records(),
        }

    def lines(file: str, found: "Detections") -> Iterator[str]:
        yield f"{printable(file)}: {len(found)} found"
        for name, score, box in zip(found.names, found.scores, found.boxes, strict=True):
            yield f"  {score:.3f}  {name:<26}" + "".join(f"{side:9.1f}" for side in box)

    return _print_all(options, look, record, lines, passed_over)


@cli.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--policy", default="default", metavar="NAME|FILE", help="Named policy or a .toml file.  [default]")
@click.option("--second-opinion/--no-second-opinion", default=None, help="Ask open_nsfw about the whole picture.")
@click.option(
    "--record",
    type=click.Path(),
    metavar="FILE",
    help="Uploader's and group's record, JSON or JSON Lines; for [fusion].",
)
@looking_options
def classify(**options: Any) -> int:
    """Print the verdict on each picture: safe, review or nsfw, with reasons.

    \b
    Examples:
      detector classify in.jpg
      detector classify --policy strict --json photos/*.jpg
      detector classify --policy fused.toml --record uploader.json in.jpg
    """
    from dataclasses import replace
    from pathlib import Path

    from detector.fusing.records import read_records
    from detector.open_nsfw import load_open_nsfw
    from detector.picture import Picture
    from detector.pixels import Pixels
    from detector.policy import load_policy
    from detector.verdict import Verdict, classify

    passed_over = _expand(options)
    policy = load_policy(options["policy"])
    ask = policy.verdict.second_opinion if options["second_opinion"] is None else options["second_opinion"]
    policy = replace(policy, verdict=replace(policy.verdict, second_opinion=ask))  # refused where a fusion needs it
    records = read_records(Path(options["record"])) if options["record"] else None
    if records is not None and not (policy.fusion and policy.fusion.weighs_records):
        raise UsageError(f"--record needs a policy whose [fusion] was fitted with records; {policy.label} has none")
    tiles = policy.detect.tiles if options["tiles"] is None else options["tiles"]
    classes = policy.classes
    model, look = _looker(options, classes, policy.detect.thresholds(classes), tiles)
    opinion = load_open_nsfw(options["device"], _threads(options)) if ask else None

    def judge(picture: Picture) -> Verdict:
        with Pixels(picture) as pixels:
            found = look(pixels.for_detector() if opinion else picture)
            asked = opinion.look(pixels.for_opinion()) if opinion else None
            return classify(found, asked, policy=policy, **(records.of(picture.name) if records else {}))

    def record(file: str, verdict: Verdict) -> dict[str, Any]:
        return {"source": file, "model": {"name": model.name, "sha256": model.sha256}, **verdict.to_dict()}

    def lines(file: str, verdict: Verdict) -> Iterator[str]:
        yield f"{printable(file)}: {verdict.verdict} ({'; '.join(verdict.reasons)})"

    return _print_all(options, judge, record, lines, passed_over)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="The whole manifest entries, as JSON.")
def models(as_json: bool) -> int:
    """List the models with licence, provenance, and whether they are installed."""
    from detector.models import list_models

    entries = list_models()
    if as_json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=2))
        return 0
    for entry in entries:
        state = "installed" if entry.installed else f"not installed: {entry.install}"
        print(f"{entry.name}  ({entry.task}; {state})")
        print(f"  licence     {entry.licence}")
        print(f"  provenance  {entry.provenance}")
        print(f"  classes     {', '.join(entry.classes)}")
        print(f"  sha256      {entry.sha256}")
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(as_json: bool) -> int:
    """Say what this installation can do, what is missing, and what to type; exits with 1 when something is broken."""
    from detector.doctor import examine

    checks = examine()
    if as_json:
        print(json.dumps([{"name": c.name, "state": c.state, "detail": c.detail} for c in checks], indent=2))
    else:
        for check in checks:
            print(f"{check.state:<8} {check.name:<34} {check.detail}")
    return EXIT_FAILED if any(check.state == "broken" for check in checks) else 0


def _expand(options: dict[str, Any]) -> "list[Entry]":
    """Put the pictures of a folder in its place among the files; return what of it is no picture."""
    from detector.folders import pictures_in

    options["files"], passed_over = pictures_in(options["files"])
    return passed_over


def _threads(options: dict[str, Any]) -> int | None:
    """One thread a model where every core has a picture of its own; the model's own choice otherwise."""
    return 1 if min(options["workers"], len(options["files"])) > 1 else None


def _looker(
    options: dict[str, Any], classes: tuple[str, ...], thresholds: dict[str, float], tiles: bool
) -> "tuple[Predictor, Callable[[Picture], Detections]]":
    """Load the detector that the options ask for, and return it with a function that looks at one picture."""
    from detector.models import load

    model = load(options["model"], device=options["device"], threads=_threads(options))

    def look(picture: "Picture") -> "Detections":
        found: Detections = model.detect(picture, classes=classes, score_thresh=thresholds, tiles=tiles)
        return found

    return model, look


def _print_all(
    options: dict[str, Any],
    look: Callable[["Picture"], Any],
    record: Callable[[str, Any], dict[str, Any]],
    lines: Callable[[str, Any], Iterable[str]],
    passed_over: "list[Entry]",
) -> int:
    """Look at every file, print each result as text or as a JSON line, and return the exit code."""
    from detector.parallel import map_in_order
    from detector.picture import Limits, Picture

    limits = Limits(max_bytes=options["max_bytes"], max_pixels=options["max_pixels"], max_side=options["max_side"])

    def run(file: str) -> Any:
        return look(Picture.open(sys.stdin.buffer if file == STREAM else file, limits=limits, name=file))

    code, as_json = 0, options["as_json"]
    files = options["files"]
    with progress(len(files)) as say:
        for entry in passed_over:
            what = f"error: {printable(entry.path)}: {entry.failed}"
            say(f"detector: {what if entry.failed else f'skipped: {printable(entry.path)}: {entry.skipped}'}")
            code = EXIT_FAILED if entry.failed else code
        for file, result in map_in_order(run, files, min(options["workers"], len(files))):
            if isinstance(result, Exception):
                code = EXIT_FAILED
                message = failure_text(file, result)
                say(f"detector: error: {message}")
                if as_json:
                    say(json.dumps({"source": file, "verdict": "error", "error": message}), sys.stdout)
            elif as_json:
                say(json.dumps(record(file, result)), sys.stdout)
            else:
                say("\n".join(lines(file, result)), sys.stdout)
            say(None)
    return code
