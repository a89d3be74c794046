"""The options of `censor` for videos, the bar that shows how far one is, and the calls that write no video."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from detector.cliparts import F, printable
from detector.errors import UsageError

if TYPE_CHECKING:
    from censor.pipeline import Pipeline
    from censor.video.report import VideoReport

__all__ = ["run_sheet", "stoppable", "video_options", "video_settings", "wants_sheet"]

# What is done sooner, seconds, needs no bar: most animations.
BAR_DELAY = 0.5
# Set by Ctrl-C or SIGTERM: a video in another thread stops at its next frame.
_stopped = threading.Event()


def video_options(function: F) -> F:
    """Add the options for videos."""
    for option in reversed(
        (
            click.option(
                "--every",
                type=click.IntRange(1),
                metavar="N",
                help="Video: look at every N-th frame; above 1 what moves fast may show.  [1]",
            ),
            click.option("--rate", type=float, metavar="FPS", help="Video: look so many times a second instead."),
            click.option(
                "--hold",
                type=float,
                metavar="S",
                help="Video, animation: hide so long before and after it is found.  [0.4]",
            ),
            click.option("--codec", metavar="NAME", help="Video: h264, hevc, vp9, av1, h264_nvenc, ….  [h264]"),
            click.option("--crf", type=int, metavar="Q", help="Video: quality in the codec's scale; less is better."),
            click.option("--drop", metavar="A,B", help="Video: leave out audio, subtitles or both."),
            click.option(
                "--verify-share", type=float, metavar="P", help="Video: share of frames checked again.  [0.1]"
            ),
            click.option("--max-seconds", type=float, metavar="S", help="Video: longest that is accepted.  [21600]"),
            click.option(
                "--preview",
                "preview_frames",
                type=int,
                metavar="N",
                help="Video: only a sheet of N frames, into OUT.",
            ),
            click.option("--scan", is_flag=True, help="Video: only say what is in IN and when; OUT: a sheet."),
            click.option("--first", is_flag=True, help="With --scan: stop at the first frame that flags the video."),
        )
    ):
        function = option(function)
    return function


def video_settings(options: dict[str, Any], *, bar: bool = True) -> dict[str, Any]:
    """Return what `run_to_file` takes for videos: the rules, and who is told how far it is."""
    from censor.motion.rules import MotionRules
    from censor.video.rules import VideoRules

    given = {name: options[name] for name in ("every", "rate", "codec", "crf", "verify_share", "max_seconds")}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options["hold"] is not None:
        hold = options["hold"]
        settings["motion"] = MotionRules(hold=hold, bridge=max(hold, MotionRules.bridge))
    if options["drop"] is not None:
        settings["drop"] = tuple(part.strip() for part in options["drop"].split(",") if part.strip())
    show = bar and not options["quiet"] and sys.stderr.isatty()
    return {"video": VideoRules(**settings), "progress": _Bars() if show else _heed}


def wants_sheet(options: dict[str, Any]) -> bool:
    """Whether no video is to be written: `--scan` or `--preview`.

    Raises:
        UsageError: when options do not go together.
    """
    scan, frames = options["scan"], options["preview_frames"]
    if options["first"] and not scan:
        raise UsageError("--first must be given with --scan")
    if not scan and frames is None:
        return False
    if scan and frames is not None:
        raise UsageError("--scan and --preview must not be given together")
    for name in ("mask", "preview", "in_place"):
        if options[name]:
            shown = {"preview": "boxes"}.get(name, name).replace("_", "-")
            raise UsageError(f"--{shown} must not be given with --scan or --preview: no video is written")
    count = len(options["paths"])
    if not (1 <= count <= 2 if scan else count == 2):
        raise UsageError(f"--scan must be given IN and perhaps OUT, --preview IN and OUT; got {count} paths")
    return True


def run_sheet(options: dict[str, Any], pipeline: "Pipeline") -> int:
    """Scan or preview one video, say what is in it, and return the exit code."""
    from censor.jobs import same_file
    from censor.video.job import preview_video, scan_video
    from censor.video.sniff import is_video
    from detector.limits import Limits

    source, *rest = options["paths"]
    sheet = rest[0] if rest else None
    if sheet is not None and same_file(source, sheet):
        raise UsageError(f"OUT must be another file than IN; both are {source}")
    if not is_video(source):
        from detector.errors import InputError

        raise InputError(f"{source}: --scan and --preview must be given a video; this is none, or not there")
    settings = video_settings(options)
    limits = Limits(max_pixels=options["max_pixels"], max_side=options["max_side"])
    common: dict[str, Any] = {"rules": settings["video"], "limits": limits, "progress": settings["progress"]}
    with stoppable():
        if options["scan"]:
            report = scan_video(pipeline, source, sheet, first=options["first"], **common)
        else:
            report = preview_video(pipeline, source, str(sheet), options["preview_frames"], **common)
    _say(report, options)
    return report.exit_code


def _say(report: "VideoReport", options: dict[str, Any]) -> None:
    if options["as_json"]:
        print(report.to_json())
    elif not options["quiet"]:
        print("\n".join(printable(line) for line in report.summary().splitlines()))


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end all videos that are worked on, in any thread, with nothing half-written left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        _stopped.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stopped.clear()


def _heed(stage: str, done: int, total: int | None) -> None:
    """Stop where somebody asked for it."""
    if _stopped.is_set():
        raise KeyboardInterrupt


class _Bars:
    """One bar a stage, with frames a second and the time left."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Move the bar."""
        from tqdm import tqdm

        _heed(stage, done, total)
        if stage != self._stage or (self._bar is not None and done < self._bar.n):
            if self._bar is not None:
                self._bar.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, unit="frame", file=sys.stderr, leave=False, delay=BAR_DELAY)
        self._bar.update(done - self._bar.n)
        if total is not None and done >= total:
            self._bar.close()
