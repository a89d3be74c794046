"""The library's calls for videos: `censor_video` writes one, `scan_video` says what is in one."""

import os
from pathlib import Path
from typing import Any

from censor.jobs import same_file
from censor.pipeline import Pipeline
from censor.policy import CensorPolicy
from censor.video.job import VideoSource, run_video
from censor.video.job import scan_video as scan
from censor.video.looking import Progress
from censor.video.report import VideoReport
from censor.video.rules import VideoRules
from detector.errors import UsageError
from detector.limits import Limits

__all__ = ["censor_video", "scan_video"]


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def _built(policy: CensorPolicy | str | Path, settings: dict[str, Any]) -> Pipeline:
    from censor.api import build_pipeline

    return build_pipeline(policy, **settings)


def censor_video(
    source: VideoSource,
    target: str | os.PathLike[str],
    *,
    policy: CensorPolicy | str | Path = "default",
    rules: VideoRules | None = None,
    in_place: bool = False,
    limits: Limits | None = None,
    progress: Progress = _silent,
    **settings: Any,
) -> VideoReport:
    """Hide what is found in a video, and write the result to another file.

    The video is read twice: once to look at it, once to write it. A part is hidden from before it is first found until
    after it was last found. Sound and subtitles are copied as they are; nothing else of the source is kept.

    Args:
        source: path, bytes or a file object that can be sought in.
        target: path of the result; its suffix chooses the container.
        policy: a policy's name or file, see `configs/policies/`.
        rules: how often to look, how long to hold, how to write.
        in_place: allow `target` to be the source itself.
        limits: pixels and sides of a frame that are accepted.
        progress: called with the stage, the frames done and their number, after each frame; may raise to stop.
        **settings: as for `censor.censor_file`.

    Returns:
        What was found, when, and hidden. `report.exit_code` is 3 when a person should look.

    Raises:
        UsageError: when the call is not understood, or the target is the source and `in_place` is not set.
        InputError: when the video cannot be read or is refused, or PyAV is not installed.
        OutputError: when the result cannot be written.
    """
    origin = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if isinstance(origin, str | os.PathLike) and not in_place and same_file(origin, target):
        raise UsageError(f"OUT must be another file than IN; both are {os.fspath(target)}; say in_place to replace it")
    return run_video(_built(policy, settings), source, target, rules=rules, limits=limits, progress=progress)


def scan_video(
    source: VideoSource,
    sheet: str | os.PathLike[str] | None = None,
    *,
    first: bool = False,
    policy: CensorPolicy | str | Path = "default",
    rules: VideoRules | None = None,
    limits: Limits | None = None,
    progress: Progress = _silent,
    **settings: Any,
) -> VideoReport:
    """Say what is in a video, and when, without writing one.

    Args:
        source: as for `censor_video`.
        sheet: where to write a picture of thumbnails, hidden parts hidden; None for none.
        first: stop at the first frame in which something is found that flags the video.
        policy: as for `censor_video`.
        rules: how often to look.
        limits: as for `censor_video`.
        progress: as for `censor_video`.
        **settings: as for `censor.censor_file`.

    Raises:
        UsageError, InputError, OutputError: as `censor_video`.
    """
    pipeline = _built(policy, settings)
    return scan(pipeline, source, sheet, first=first, rules=rules, limits=limits, progress=progress)
