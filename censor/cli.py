"""`censor IN OUT`: hide what should not be seen. No subcommands: none can be mistaken for a file name."""

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

import detector
from censor.animation.options import frame_limits, frames_options
from censor.batch.options import folder_options, refuse_folder_options
from censor.edit.options import edit_options, paths_to_edit
from censor.style_options import style_changes, style_options, wants_demo
from censor.video.options import run_sheet, stoppable, video_options, video_settings, wants_sheet
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
    from censor.batch.run import Runner
    from censor.jobs import Job
    from censor.pipeline import Pipeline
    from censor.report import MaskFile, Report
    from detector.picture import Limits

__all__ = ["command", "main"]

EXAMPLES = """\b
Examples:
  censor in.jpg out.jpg
  censor --style box --colour white in.jpg out.jpg
  censor --sticker heart in.jpg out.jpg
  censor photos/*.jpg censored/
  censor photos/ clean/                     # a whole tree; again, and it goes on where it stopped
  censor --exclude .git --include=*.jpg --dry-run photos/ clean/
  censor clip.mp4 out.mp4
  censor --scan clip.mp4
  censor --policy strict --json in.jpg out.jpg
  censor --boxes in.jpg preview.jpg
  censor --mask edited.json in.jpg out.jpg
  censor edit in.jpg
  curl -s ... | censor - - > out.jpg
"""


@click.command(
    help="Find exposed body parts in pictures and hide them for good.\n\n"
    "Give one picture and the name of the result, several pictures and a folder, or a folder and another. '-' reads "
    "standard input or writes standard output; after '--' a name may begin with a dash.\n\n" + EXAMPLES,
    epilog=EPILOG_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="IN... OUT")
@click.option(
    "--policy", type=click.Path(), default="default", metavar="NAME|FILE", help="Name or .toml file.  [default]"
)
@click.option("--style", type=str, help="blur, pixelate, box, match, sticker or inpaint.  [policy: pixelate]")
@click.option("--shape", type=str, help="rectangle, ellipse or rounded; each covers the whole box.  [rectangle]")
@click.option("--colour", "--color", type=str, help="Colour of box, and behind a sticker: a name or #rrggbb.  [black]")
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
@click.option("--mask", type=click.Path(), metavar="JSON", help="Hide an edited report's boxes; detect nothing.")
@click.option("--verify/--no-verify", default=True, help="Decode and detect the result again.  [on]")
@click.option("--in-place", is_flag=True, help="Replace IN itself; OUT is left out or the same.")
@click.option("--json", "as_json", is_flag=True, help="One JSON report a file on standard output.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors and warnings.")
@click.option("--model", metavar="NAME|FILE", help="Detector: of `detector models`, or a weight file.")
@device_option
@workers_option
@folder_options
@video_options
@limits_options
@frames_options
@click.version_option(detector.__version__, "-V", "--version", prog_name="censor", message="%(prog)s %(version)s")
def command(**options: Any) -> int:
    """Turn the options into jobs, run them, and return the exit code."""
    if wants_demo(options):
        return 0
    edited = paths_to_edit(options)
    if edited is not None:
        from censor.edit.command import run_edit

        return run_edit(edited, options, _changes(options))
    if wants_sheet(options):
        return run_sheet(options, _prepare(options, 1)[0])
    from censor.batch.command import is_folder_call, run_folder
    from censor.jobs import plan_jobs

    with stoppable():
        if is_folder_call(options["paths"]):
            return run_folder(options, functools.partial(_prepare, options))
        refuse_folder_options(options)
        return _run_jobs(plan_jobs(options["paths"], in_place=options["in_place"]), options)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 0, 1, 2 or 3."""
    sys.exit(run_command(command, "censor", argv))


def _prepare(options: dict[str, Any], workers: int) -> "tuple[Pipeline, Runner]":
    """Check the options, build the pipeline for so many pictures at a time, and return it with what runs one job."""
    from censor.api import build_pipeline, run_to_file
    from censor.batch.gather import batched
    from censor.jobs import STREAM, Job
    from censor.report import MaskFile
    from detector.picture import Limits

    if options["mask"] and options["preview"]:
        raise UsageError("--boxes and --mask must not be given together: one shows boxes, the other hides them")
    if options["in_place"] and options["preview"]:
        raise UsageError("--boxes and --in-place must not be given together: the picture would be lost to its preview")
    looking = ("classes", "thresh", "fallback", "second_opinion", "tiles", "whole", "known")
    useless = [name for name in looking if options[name]]
    if options["mask"] and useless:
        raise UsageError(
            f"--mask must not be given with --{useless[0].replace('_', '-')}: a person's boxes are hidden, nothing is "
            "looked for"
        )
    mask = MaskFile.read(options["mask"]) if options["mask"] else None
    moving = video_settings(options, bar=workers == 1)
    sizes = {name: options[name] for name in ("max_bytes", "max_pixels", "max_side")}
    limits = Limits(**sizes, **frame_limits(options))
    pipeline = build_pipeline(
        options["policy"],
        model=options["model"],
        device=options["device"],
        threads=1 if workers > 1 else None,
        verify=options["verify"],
        ahead=workers == 1,
        known=options["known"],
        **_changes(options),
    )
    if workers > 1:
        pipeline = batched(pipeline)

    def run(source: str, target: str) -> "Report":
        if STREAM in (source, target):
            return _run_stream(pipeline, Job(source, target), mask, limits, moving, preview=options["preview"])
        return run_to_file(pipeline, source, target, mask=mask, limits=limits, preview=options["preview"], **moving)

    return pipeline, run


def _run_jobs(jobs: list["Job"], options: dict[str, Any]) -> int:
    from censor.jobs import STREAM, make_folder
    from censor.report import EXIT_FAILED, EXIT_LOOK, EXIT_OK
    from detector.parallel import map_in_order

    workers = min(options["workers"], len(jobs))
    _, run = _prepare(options, workers)
    make_folder(options["paths"])

    # With the picture itself on standard output, reports go where the messages go.
    reports = sys.stderr if any(job.target == STREAM for job in jobs) else sys.stdout
    codes = {EXIT_OK}
    with progress(len(jobs), quiet=options["quiet"]) as say:
        for job, result in map_in_order(lambda job: run(job.source, job.target), jobs, workers):
            if isinstance(result, Exception):
                codes.add(EXIT_FAILED)
                _say_failure(say, job, result, reports if options["as_json"] else None)
            else:
                codes.add(result.exit_code)
                _say_report(say, result, options, reports)
            say(None)
    return next(code for code in (EXIT_FAILED, EXIT_LOOK, EXIT_OK) if code in codes)


def _run_stream(
    pipeline: "Pipeline",
    job: "Job",
    mask: "MaskFile | None",
    limits: "Limits",
    moving: dict[str, Any],
    *,
    preview: bool,
) -> "Report":
    """Run a job with a standard stream on one side or both; nothing is written until all of it succeeded."""
    from censor.animation.api import run_frames
    from censor.animation.opening import open_source
    from censor.api import run_picture, run_to_file
    from censor.imagefile import format_for
    from censor.jobs import STREAM
    from detector.picture import Picture

    picture = open_source(sys.stdin.buffer if job.source == STREAM else job.source, limits=limits, name=job.source)
    if not isinstance(picture, Picture):
        target = sys.stdout.buffer if job.target == STREAM else job.target
        told = {"motion": moving["video"].motion, "progress": moving["progress"]}
        return run_frames(pipeline, picture, target, format_for(job.target), mask=mask, preview=preview, **told)
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
