"""Run what has several frames or pages into a file or a stream: the one function behind which all of this stands."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from censor.animation.job import Progress, censor_animation
from censor.animation.pages import censor_pages
from censor.animation.report import FramesReport
from censor.animation.sequence import Animation
from censor.animation.tiff_pages import Pages
from censor.atomic import stream_atomic
from censor.motion.rules import MotionRules
from censor.report import MaskFile

if TYPE_CHECKING:
    from censor.pipeline import Pipeline

__all__ = ["run_frames"]

_BLOCK = 1 << 20


def run_frames(
    pipeline: "Pipeline",
    source: Animation | Pages,
    target: str | os.PathLike[str] | BinaryIO,
    output_format: str | None,
    *,
    mask: MaskFile | None = None,
    preview: bool = False,
    motion: MotionRules | None = None,
    progress: Progress | None = None,
) -> FramesReport:
    """Censor, mask or preview an animation or a file of pages.

    Args:
        pipeline: the parts of the job.
        source: what `open_source` gave.
        target: a path, written in one step when everything else has succeeded; or a stream that is written to then.
        output_format: Pillow's name of the format to write; None keeps the source's.
        mask: boxes that a person chose for each frame or page.
        preview: draw the boxes and hide nothing.
        motion: for animations: see `censor_animation`.
        progress: for animations too.
    """

    def run(file: BinaryIO, name: str | None) -> FramesReport:
        if isinstance(source, Pages):
            report = censor_pages(pipeline, source, file, name, output_format, mask=mask, preview=preview)
        else:
            told: dict[str, Any] = {"motion": motion, "progress": progress}
            report = censor_animation(pipeline, source, file, name, output_format, mask=mask, preview=preview, **told)
        return replace(report, sha256={**report.sha256, "out": _sha256(file)})

    if isinstance(target, str | os.PathLike):
        with stream_atomic(target) as file:
            return run(file, os.fspath(target))
    with tempfile.TemporaryFile() as file:
        report = run(file, None)
        file.seek(0)
        shutil.copyfileobj(file, target, _BLOCK)
        target.flush()
        return report


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
