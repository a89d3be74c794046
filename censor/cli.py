"""`censor IN OUT`: hide what should not be seen. No subcommands: none can be mistaken for a file name."""

import json
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

import detector
from censor.edit.options import edit_options, paths_to_edit
from censor.style_options import style_changes, style_options, wants_demo
from detector.cliparts import (
    EPILOG_EXIT_CODES,
    Say,
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
    from censor.jobs import Job
    from censor.pipeline import Pipeline
    from censor.report import MaskFile, Report
    from detector.picture import Limits

__all__ = ["command", "main"]

EXAMPLES = """\b
Examples:
  censor in.jpg out.jpg
  censor --style box --colour white in.jpg out.jpg
  censor photos/*.jpg censored/
  censor --policy strict --json in.jpg out.jpg
  censor --boxes in.jpg preview.jpg
  censor --mask edited.json in.jpg out.jpg
  censor edit in.jpg
  curl -s ... | censor - - > out.jpg
"""


@click.command(
    help="Find exposed body parts in pictures and hide them for good.\n\n"
    "Give one picture and the name of the result, or several pictures and a folder. '-' reads standard input or "
    "writes standard output.\n\n" + EXAMPLES,
    epilog=EPILOG_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("paths", nargs=-1, metavar="IN... OUT")
@click.option("--policy", default="default", metavar="NAME|FILE", help="Named policy or a .toml file.  [default]")
@click.option("--style", type=str, help="blur, pixelate, box, match, sticker or inpaint.  [policy: pixelate]")
@click.option("--shape", type=str, help="rectangle, ellipse or rounded; each covers the whole box.  [rectangle]")
@click.option("--colour", "--color", type=str, help="Colour of --style box: a name or #rrggbb.  [black]")
@click.option("--grow", type=float, help="Hide this share of a box's width and height more than was found.  [0.2]")
@click.option("--feather", type=float, help="Soft edge outside the region, as a share of its shorter side.  [0]")
@style_options
@click.option("--classes", type=str, metavar="A,B", help="Classes to hide, instead of the policy's.")
@click.option("--thresh", multiple=True, metavar="T|CLASS=T", help="Lowest score that counts, for all or one class.")
@click.option("--fallback", type=str, help="whole: cover the whole picture when no region explains the verdict; none.")
@click.option("--second-opinion/--no-second-opinion", default=None, help="Ask open_nsfw about the whole picture.")
@tiles_option
@click.option("--boxes", "preview", is_flag=True, help="Preview: draw labelled boxes instead of hiding anything.")
@edit_options
@click.option("--mask", metavar="JSON", help="Hide the boxes of an edited report instead of detecting.")
@click.option("--verify/--no-verify", default=True, help="Decode and detect the result again.  [on]")
@click.option("--in-place", is_flag=True, help="Replace IN itself; OUT is left out or the same.")
@click.option("--json", "as_json", is_flag=True, help="One JSON report a file on standard output.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors and warnings.")
@click.option("--model", metavar="NAME", help="Detector to use; see `detector models`.")
@device_option
@workers_option
@limits_options
@click.version_option(detector.__version__, "-V", "--version", prog_name="censor", message="%(prog)s %(version)s")
def command(**options: Any) -> int:
    """Turn the options into jobs, run them, and return the exit code."""
    if wants_demo(options):
        return 0
    edited = paths_to_edit(options)
    if edited is not None:
        from censor.edit.command import run_edit

        return run_edit(edited, options, _changes(options))
    from censor.jobs import plan_jobs

    return _run_jobs(plan_jobs(options["paths"], in_place=options["in_place"]), options)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1, 2 or 3."""
    sys.exit(run_command(command, "censor", argv))


def _run_jobs(jobs: list["Job"], options: dict[str, Any]) -> int:
    from censor.api import build_pipeline, run_to_file
    from censor.jobs import STREAM, make_folder
    from censor.report import EXIT_FAILED, EXIT_LOOK, EXIT_OK, MaskFile
    from detector.parallel import map_in_order
    from detector.picture import Limits

    workers = min(options["workers"], len(jobs))
    if options["mask"] and options["preview"]:
        raise UsageError("--boxes and --mask must not be given together: one shows boxes, the other hides them")
    if options["in_place"] and options["preview"]:
        raise UsageError("--boxes and --in-place must not be given together: the picture would be lost to its preview")
    useless = [name for name in ("classes", "thresh", "fallback", "second_opinion", "tiles", "whole") if options[name]]
    if options["mask"] and useless:
        raise UsageError(
            f"--mask must not be given with --{useless[0].replace('_', '-')}: a person's boxes are hidden, nothing is "
            "looked for"
        )
    mask = MaskFile.read(options["mask"]) if options["mask"] else None
    limits = Limits(max_bytes=options["max_bytes"], max_pixels=options["max_pixels"], max_side=options["max_side"])
    pipeline = build_pipeline(
        options["policy"],
        model=options["model"],
        device=options["device"],
        threads=1 if workers > 1 else None,
        verify=options["verify"],
        ahead=workers == 1,
        **_changes(options),
    )
    make_folder(options["paths"])

    def run(job: "Job") -> "Report":
        if job.target == STREAM or job.source == STREAM:
            return _run_stream(pipeline, job, mask, limits, preview=options["preview"])
        return run_to_file(pipeline, job.source, job.target, mask=mask, limits=limits, preview=options["preview"])

    # With the picture itself on standard output, reports go where the messages go.
    reports = sys.stderr if any(job.target == STREAM for job in jobs) else sys.stdout
    codes = {EXIT_OK}
    with progress(len(jobs), quiet=options["quiet"]) as say:
        for job, result in map_in_order(run, jobs, workers):
            if isinstance(result, Exception):
                codes.add(EXIT_FAILED)
                _say_failure(say, job, result, reports if options["as_json"] else None)
            else:
                codes.add(result.exit_code)
                _say_report(say, result, options, reports)
            say(None)
    return next(code for code in (EXIT_FAILED, EXIT_LOOK, EXIT_OK) if code in codes)


def _run_stream(
    pipeline: "Pipeline", job: "Job", mask: "MaskFile | None", limits: "Limits", *, preview: bool
) -> "Report":
    """Run a job with a standard stream on one side or both; nothing is written until all of it succeeded."""
    from censor.api import run_picture, run_to_file
    from censor.jobs import STREAM
    from detector.picture import Picture

    picture = Picture.open(sys.stdin.buffer if job.source == STREAM else job.source, limits=limits, name=job.source)
    if job.target != STREAM:
        return run_to_file(pipeline, picture, job.target, mask=mask, preview=preview)
    outcome = run_picture(pipeline, picture, STREAM, None, mask=mask, preview=preview)
    sys.stdout.buffer.write(outcome.data)
    sys.stdout.buffer.flush()
    return outcome.report


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """Return what the flags say differently from the policy."""
    common, by_class = parse_thresholds(options["thresh"])
    return {
        "classes": split_names(options["classes"]),
        "score_thresh": common,
        "score_thresh_by_class": by_class or None,
        **style_changes(options),
        **{
            name: options[name]
            for name in ("style", "shape", "colour", "grow", "feather", "fallback", "second_opinion", "tiles")
        },
    }


def _say_report(say: Say, report: "Report", options: dict[str, Any], reports: TextIO) -> None:
    if options["as_json"]:
        say(report.to_json(), reports)
    elif not options["quiet"]:
        say(report.summary())
    for warning in report.warnings:
        say(f"censor: look at {printable(report.target or report.source)}: {warning}")


def _say_failure(say: Say, job: "Job", error: Exception, reports: TextIO | None) -> None:
    """Print one line for one failed picture, and a report where reports are wanted."""
    message = failure_text(job.source, error)
    say(f"censor: error: {message}")
    if reports is not None:
        from censor.report import SCHEMA

        record = {"schema": SCHEMA, "source": job.source, "target": None, "verdict": "error", "error": message}
        say(json.dumps(record), reports)
