"""The library's calls: a file, bytes or an array in, the same kind out, with everything hidden that was found."""

import functools
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from censor.animation.api import run_frames
from censor.animation.opening import open_source
from censor.atomic import write_atomic
from censor.imagefile import format_for
from censor.jobs import same_file
from censor.paint import paint
from censor.pipeline import Detector, Outcome, Pipeline, regions_of
from censor.policy import CensorPolicy, load_censor_policy
from censor.report import MaskFile, Report
from censor.video.job import run_video
from censor.video.rules import VideoRules
from censor.video.sniff import is_video
from detector.detections import Detections
from detector.errors import UsageError
from detector.known import KnownList
from detector.memory import keep_picture_memory
from detector.models import load
from detector.open_nsfw import OpenNSFWScorer, load_open_nsfw
from detector.picture import Limits, Picture

__all__ = ["build_pipeline", "censor_bytes", "censor_file", "censor_image", "run_picture", "run_to_file"]

Source = str | os.PathLike[str] | bytes | BinaryIO | Picture


@functools.lru_cache(maxsize=4)
def _shared_detector(name: str | None, device: str, threads: int | None) -> Detector:
    """Load a detector once a process: it is immutable and safe for threads, and loading costs more than looking."""
    return load(name, device=device, threads=threads)


@functools.lru_cache(maxsize=4)
def _shared_opinion(device: str, threads: int | None) -> OpenNSFWScorer:
    return load_open_nsfw(device, threads)


def build_pipeline(
    policy: CensorPolicy | str | Path = "default",
    *,
    model: Detector | str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    verify: bool = True,
    ahead: bool = True,
    keep_memory: bool = True,
    known: KnownList | str | Path | None = None,
    **changes: Any,
) -> Pipeline:
    """Put the job together: models, policy and settings.

    Args:
        policy: a policy, its name or its file.
        model: a loaded detector, or the name of one; None takes the default.
        device: `cpu` or `cuda`; a device that is not there is an error.
        threads: threads a model uses for one picture; None lets it choose.
        verify: whether each output is decoded and looked at again.
        ahead: whether one picture may use a second core: see `Pipeline`.
        keep_memory: let Pillow keep up to 192 MB of freed pictures for the next: see `detector.memory`.
        known: a person's earlier decisions, or the file of them: see `detector.known`.
        **changes: what the caller wants differently from the policy: see `load_censor_policy`.

    Raises:
        PolicyError: when the policy or a change is not understood.
        ModelError: when a model cannot be loaded.
        InputError: when the known list cannot be read.
    """
    decisions = known if known is None or isinstance(known, KnownList) else KnownList.read(known)
    if keep_memory:
        keep_picture_memory()
    rules = load_censor_policy(policy, **changes)
    with ThreadPoolExecutor(max_workers=1) as beside:  # the two load side by side: a fifth of a cold start
        asked = rules.policy.verdict.second_opinion
        opinion = beside.submit(_shared_opinion, device, threads) if asked else None
        loaded = _shared_detector(model, device, threads) if model is None or isinstance(model, str) else model
    unknown = [name for name in rules.classes if name not in loaded.class_names]
    if unknown:
        raise UsageError(f"the model {loaded.name} must know every class of the policy; it does not know {unknown}")
    return Pipeline(
        model=loaded,
        opinion=opinion.result() if opinion else None,
        policy=rules,
        verify=verify,
        ahead=ahead,
        known=decisions,
    )


def run_picture(
    pipeline: Pipeline,
    picture: Picture,
    target: str | None,
    output_format: str | None,
    *,
    mask: MaskFile | None = None,
    preview: bool = False,
) -> Outcome:
    """Censor, mask or preview one opened picture; return the bytes to write and the report."""
    if preview:
        return pipeline.preview(picture, target, output_format)
    if mask is None:
        return pipeline.run(picture, target, output_format)
    boxes, records = mask.boxes_for(picture)
    return pipeline.run_mask(picture, boxes, records, target, output_format)


def run_to_file(
    pipeline: Pipeline,
    source: Source,
    target: str | os.PathLike[str],
    *,
    mask: MaskFile | None = None,
    limits: Limits | None = None,
    preview: bool = False,
    video: VideoRules | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Report:
    """Censor one picture, animation, file of pages or video into a file with a built pipeline; see `censor_file`.

    With `preview` the labelled boxes are drawn and nothing is hidden, for a person to judge what was found. `video`
    and `progress` are for videos: see `censor.video.api.censor_video`; `progress`, and of `video` how long parts are
    held, for animations too.
    """
    if not isinstance(source, Picture) and is_video(source):
        if mask is not None or preview:
            raise UsageError("a mask or a preview of boxes must be for a picture; got a video; see --preview N")
        told = {} if progress is None else {"progress": progress}
        return run_video(pipeline, source, target, rules=video, limits=limits, **told)
    output_format = format_for(target)
    opened = open_source(source, limits=limits)
    if not isinstance(opened, Picture):
        moving: dict[str, Any] = {"motion": None if video is None else video.motion, "progress": progress}
        return run_frames(pipeline, opened, target, output_format, mask=mask, preview=preview, **moving)
    outcome = run_picture(pipeline, opened, os.fspath(target), output_format, mask=mask, preview=preview)
    write_atomic(target, outcome.data)
    return outcome.report


def censor_file(
    source: Source,
    target: str | os.PathLike[str],
    *,
    policy: CensorPolicy | str | Path = "default",
    mask: str | Path | MaskFile | None = None,
    in_place: bool = False,
    limits: Limits | None = None,
    **settings: Any,
) -> Report:
    """Hide what is found in a picture file, and write the result to another file.

    The target is written in one step, when everything else has succeeded; on any failure it is left as it was.

    Args:
        source: path, bytes, file object or opened `Picture` of a JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF picture, or
            of an animation (GIF, APNG, WebP, AVIF), a TIFF of several pages or a video, of which every frame is
            censored; `censor_video` takes more settings for these.
        target: path of the result; its suffix chooses the format.
        policy: a policy's name or file, see `configs/policies/`.
        mask: boxes that a person edited, as a report's JSON: hidden instead of what a detector finds.
        in_place: allow `target` to be the source itself.
        limits: bytes, pixels and sides that are accepted.
        **settings: `style`, `shape`, `classes`, `score_thresh`, `device`, `verify`, …: see `build_pipeline` and
            `censor.policy.load_censor_policy`.

    Returns:
        What was found, said and hidden; a `FramesReport` for several frames. `report.exit_code` is 3 when a person
        should look.

    Raises:
        UsageError: when the call is not understood, or the target is the source and `in_place` is not set.
        InputError: when the picture cannot be read or is refused.
        OutputError: when the result cannot be written.
    """
    origin = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    if isinstance(origin, str | os.PathLike) and not in_place and same_file(origin, target):
        raise UsageError(f"OUT must be another file than IN; both are {os.fspath(target)}; say in_place to replace it")
    masks = MaskFile.read(mask) if isinstance(mask, str | Path) else mask
    return run_to_file(build_pipeline(policy, **settings), source, target, mask=masks, limits=limits)


def censor_bytes(
    data: bytes | BinaryIO,
    *,
    output_format: str | None = None,
    policy: CensorPolicy | str | Path = "default",
    limits: Limits | None = None,
    **settings: Any,
) -> tuple[bytes, Report]:
    """Hide what is found in a picture's bytes; return the new bytes and the report.

    Args:
        data: the bytes of a picture file, or a file object of them.
        output_format: `JPEG`, `PNG`, …; None keeps the input's.
        policy: as for `censor_file`.
        limits: as for `censor_file`.
        **settings: as for `censor_file`.
    """
    opened = open_source(data, limits=limits)
    pipeline = build_pipeline(policy, **settings)
    if isinstance(opened, Picture):
        outcome = pipeline.run(opened, None, output_format)
        return outcome.data, outcome.report
    buffer = io.BytesIO()
    report = run_frames(pipeline, opened, buffer, output_format)
    return buffer.getvalue(), report


def censor_image(
    image: NDArray[np.uint8], found: Detections, *, policy: CensorPolicy | str | Path = "default", **changes: Any
) -> NDArray[np.uint8]:
    """Hide what was found in an array; nothing is detected, decided or verified.

    Args:
        image: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, uint8; not changed.
        found: what a detector found in it. What is at or above the policy's thresholds and among its classes is
            hidden.
        policy: a policy's name or file.
        **changes: `style`, `shape`, `grow`, `feather`, `colour`, `classes`, `score_thresh`, …

    Returns:
        A new array of the same shape.

    Raises:
        UsageError: when `found` is about a picture of another size.

    Example:
        >>> import numpy as np, censor, detector
        >>> image = np.full((40, 60, 3), 255, dtype=np.uint8)
        >>> found = detector.Detections(
        ...     boxes=[[10, 10, 20, 20]], scores=[0.9], labels=[1], image_size=(40, 60)
        ... )
        >>> censor.censor_image(image, found, style="box", grow=0.0)[10:20, 10:20].max()
        np.uint8(0)
    """
    if tuple(image.shape[:2]) != found.image_size:
        raise UsageError(
            f"`found` must be about this picture, {tuple(image.shape[:2])} (height, width); it is about "
            f"{found.image_size}"
        )
    rules = load_censor_policy(policy, **changes)
    known = tuple(name for name in rules.hide.classes if name in found.class_names)
    if changes.get("classes") is not None and len(known) < len(rules.hide.classes):
        raise UsageError(f"the classes to hide must be among those of `found`, {found.class_names}; some are not")
    hide = found.of_classes(known).above(rules.policy.detect.thresholds(known))
    result = image.copy()
    paint(result, regions_of(hide, rules.hide))
    return result
