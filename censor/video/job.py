"""One video through the whole job: look, judge, write, check; or scan it, or make a contact sheet of it.

A video is read twice, once to look and once to write, so that a part is hidden before it is first found however long
the video is, and no pictures wait in memory for what comes.
"""

import hashlib
import io
import math
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

from censor.atomic import stream_atomic, write_atomic
from censor.imagefile import format_for
from censor.pipeline import Pipeline
from censor.video.codecs import Encoder, choose_encoder, container_for
from censor.video.copying import check_streams, copied_streams
from censor.video.judging import Judgement, judge
from censor.video.looking import Looks, Progress, look_through
from censor.video.passes import Hit, Plan, Written, check_video, cut_tiles, write_video
from censor.video.reading import VideoFacts, VideoFile
from censor.video.report import VideoReport
from censor.video.rules import VideoRules
from censor.video.sheet import contact_sheet, encode_sheet, pick_frames
from detector.errors import InputError, UsageError
from detector.limits import Limits

__all__ = ["VideoSource", "preview_video", "run_video", "scan_video"]

VideoSource = str | os.PathLike[str] | bytes | BinaryIO

# How often a video is written again because something was found in what was written.
ROUNDS = 2
# Thumbnails of a scan.
THUMBNAILS = 12
# A last frame may stand still for a while; missing is what is longer than this share of the video.
MISSING = 0.1
HDR_NOTE = "the video is HDR and was looked at without tone mapping, paler than it is shown: what is dark may be missed"
_CHUNK = 1 << 20


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""


@contextmanager
def _opened(source: VideoSource, rules: VideoRules, limits: Limits) -> Iterator[VideoFile]:
    bounds: dict[str, Any] = {"limits": limits, "max_frames": rules.max_frames, "max_seconds": rules.max_seconds}
    if isinstance(source, bytes):
        yield VideoFile(io.BytesIO(source), "<bytes>", **bounds)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open(name, "rb"))
            except OSError as error:
                raise InputError(f"{name}: a video file must be readable; {error.strerror or error}") from error
            yield VideoFile(file, name, **bounds)
    else:
        name = str(getattr(source, "name", "<file>"))
        if not source.seekable():
            raise InputError(f"{name}: a video is read twice: it must be a file that can be sought in; save it first")
        yield VideoFile(source, name, **bounds)


def run_video(
    pipeline: Pipeline,
    source: VideoSource,
    target: str | os.PathLike[str],
    *,
    rules: VideoRules | None = None,
    limits: Limits | None = None,
    progress: Progress = _silent,
) -> VideoReport:
    """Write a video with everything hidden that is found in it.

    Args:
        pipeline: from `censor.build_pipeline`.
        source: the video; read at least twice.
        target: path of the result; its suffix chooses the container.
        rules: how often to look, how long to hold, how to write.
        limits: of a frame's pixels and sides; a video may have any number of bytes.
        progress: told the stage, the frames done and their number.

    Raises:
        UsageError, InputError, OutputError: as `censor.censor_file`; nothing has been written then.
    """
    rules, limits = rules or VideoRules(), limits or Limits()
    container = container_for(target)
    with _opened(source, rules, limits) as file:
        with file.open() as opened:
            facts = file.facts(opened)
            base = file.main_stream(opened).time_base
            encoder = choose_encoder(container, rules.codec, rules.crf, base)
            check_streams(container, copied_streams(opened, rules.drop))
        looks = look_through(pipeline, file, rules, limits, progress)
        judged = judge(pipeline, looks)
        plan = Plan(pipeline, rules, looks, judged.cover_all)
        with stream_atomic(target) as out:
            plan, written, hits = _write_checked(plan, file, out, container, encoder, limits, progress)
            file.check_unchanged()
            digest = _digest(out)
    problems = tuple(
        f"{name} is still found in the output at {hit.time:.2f} s, at {score:.2f}"
        for hit in hits
        for name, score in zip(hit.found.names, hit.found.scores, strict=True)
    )
    report = _report(pipeline, file, facts, looks, judged, rules)
    video = {
        **report.video,
        "hidden_frames": written.hidden,
        "output": {"container": container, "encoder": encoder.name, "pixel_format": encoder.pixel_format},
        "checked_share": rules.verify_share if pipeline.verify else 0.0,
    }
    return replace(
        report,
        target=os.fspath(target),
        method="painted" if written.hidden else "reencoded",
        hidden=tuple(written.ranges),
        video=video,
        verified=pipeline.verify and not problems,
        notes=(*report.notes, *_notes(looks, plan, rules)),
        warnings=(*report.warnings, *problems),
        sha256={"in": file.sha256, "out": digest},
    )


def _write_checked(
    plan: Plan,
    file: VideoFile,
    out: BinaryIO,
    container: str,
    encoder: Encoder,
    limits: Limits,
    progress: Progress,
) -> tuple[Plan, Written, list[Hit]]:
    """Write a video and look at it, again where something is found; return how, and what still is found."""
    hits: list[Hit] = []
    for round_ in range(ROUNDS + 1):
        out.seek(0)
        out.truncate()
        written = write_video(plan, file, out, container, encoder, progress)
        if not plan.pipeline.verify:
            break
        output = VideoFile(out, "the output", limits=_wide(limits), max_frames=sys.maxsize, max_seconds=math.inf)
        hits = check_video(plan, output, limits, progress)
        if not hits or round_ == ROUNDS:
            break
        plan = _harder(plan, hits)
    return plan, written, hits


def scan_video(
    pipeline: Pipeline,
    source: VideoSource,
    sheet: str | os.PathLike[str] | None = None,
    *,
    first: bool = False,
    rules: VideoRules | None = None,
    limits: Limits | None = None,
    progress: Progress = _silent,
) -> VideoReport:
    """Say what is in a video without writing one.

    Args:
        pipeline: as for `run_video`, and so are `source`, `rules`, `limits` and `progress`.
        source: the video.
        sheet: where to write a picture of thumbnails, hidden parts hidden; None for none.
        first: stop at the first frame in which something is found that flags the video.
        rules: how often to look.
        limits: of a frame.
        progress: told how far it is.
    """
    return _sheet_video(pipeline, source, sheet, THUMBNAILS, "scan", first, rules, limits, progress)


def preview_video(
    pipeline: Pipeline,
    source: VideoSource,
    sheet: str | os.PathLike[str],
    count: int,
    *,
    rules: VideoRules | None = None,
    limits: Limits | None = None,
    progress: Progress = _silent,
) -> VideoReport:
    """Write a contact sheet of so many frames as they would look, half of them where something was found."""
    if count < 1:
        raise UsageError(f"a preview must have at least one frame; got {count}")
    return _sheet_video(pipeline, source, sheet, count, "preview", False, rules, limits, progress)


def _sheet_video(
    pipeline: Pipeline,
    source: VideoSource,
    sheet: str | os.PathLike[str] | None,
    count: int,
    method: str,
    first: bool,
    rules: VideoRules | None,
    limits: Limits | None,
    progress: Progress,
) -> VideoReport:
    rules, limits = rules or VideoRules(), limits or Limits()
    picture_format = format_for(sheet) if sheet is not None else None
    if sheet is not None and picture_format is None:
        raise UsageError(f"a sheet must be a picture, sheet.png say; got {os.fspath(sheet)!r}")
    with _opened(source, rules, limits) as file:
        with file.open() as opened:
            facts = file.facts(opened)
        looks = look_through(pipeline, file, rules, limits, progress, first=first)
        judged = judge(pipeline, looks)
        report = _report(pipeline, file, facts, looks, judged, rules)
        digest, cut = None, 0
        if sheet is not None and picture_format is not None:
            plan = Plan(pipeline, rules, looks, judged.cover_all)
            picks = pick_frames(len(looks.pts), looks.hits, count)
            tiles = cut_tiles(plan, file, picks, progress)
            data, cut = encode_sheet(contact_sheet(tiles), picture_format), len(tiles)
            write_atomic(sheet, data)
            digest = hashlib.sha256(data).hexdigest()
    return replace(
        report,
        target=None if sheet is None else os.fspath(sheet),
        method=method,
        video={**report.video, "thumbnails": cut},
        warnings=(),  # nothing was written that somebody could take for safe
        sha256={"in": file.sha256, "out": digest},
    )


def _harder(plan: Plan, hits: list[Hit]) -> Plan:
    """Take what was found in the output for looks of its own; a mosaic in which a part was found becomes a box."""
    for hit in hits:
        plan.looks.add_found(hit.index, hit.found)
    return replace(plan, opaque=plan.opaque or any(hit.covered for hit in hits))


def _wide(limits: Limits) -> Limits:
    """Return limits for what was just written: it may be one pixel larger."""
    return replace(limits, max_pixels=limits.max_pixels + 2 * limits.max_side, max_side=limits.max_side + 1)


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _report(
    pipeline: Pipeline, file: VideoFile, facts: VideoFacts, looks: Looks, judged: Judgement, rules: VideoRules
) -> VideoReport:
    seconds = looks.seconds(len(looks.pts) - 1) - looks.seconds(0)
    return VideoReport(
        source=file.name,
        target=None,
        image_size=looks.image_size,
        model={"name": pipeline.model.name, "sha256": pipeline.model.sha256},
        device=pipeline.model.device,
        policy=pipeline.policy.to_dict(),
        verdict=judged.verdict,
        ranges=tuple(item.to_dict() for item in looks.ranges),
        video={
            "container": facts.container,
            "codec": facts.codec,
            "frames": len(looks.pts),
            "looked": looks.looked,
            "scene_cuts": looks.cuts,
            "seconds": round(seconds, 3),
            "hold": rules.motion.hold,
        },
        votes=judged.votes,
        notes=(
            *(f"left out: {what}" for what in facts.left_out),
            *_cut_off(facts, looks, seconds),
            *((HDR_NOTE,) if looks.hdr else ()),
        ),
        pdq=looks.pdq,
        known=min(
            (item.match for item in looks.recalled),
            key=lambda match: (match.entry.decision != "nsfw", match.distance),
            default=None,
        ),
        samples=tuple(looks.samples.records),
        recalled=tuple(item.to_dict() for item in looks.recalled),
        warnings=judged.warnings,
        sha256={"in": file.sha256, "out": None},
    )


def _cut_off(facts: VideoFacts, looks: Looks, seconds: float) -> Iterator[str]:
    """Say where the pictures end long before the file says that it ends: a download that broke off, mostly."""
    if not looks.stopped and facts.seconds is not None and facts.seconds - seconds > max(1.0, MISSING * facts.seconds):
        says = f"the file says that it lasts {facts.seconds:.1f} s"
        yield f"{says}; its pictures end after {seconds:.1f} s: it may be cut off"


def _notes(looks: Looks, plan: Plan, rules: VideoRules) -> list[str]:
    notes = [f"left out on request: {what}" for what in rules.drop]
    if any(side % 2 for side in looks.image_size):
        notes.append("an odd width or height was made even by repeating the last column or row")
    if looks.looked < len(looks.pts):
        notes.append(
            f"{looks.looked} of {len(looks.pts)} frames were looked at: between looks, what moves fast may show"
        )
    if looks.skipped:
        notes.append(f"frames that are shown for no time were left out: {looks.skipped}")
    if plan.opaque:
        notes.append("something was found in the mosaic or blur: opaque boxes were used instead")
    return notes
