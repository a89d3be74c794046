"""One animation through the whole job: look at every frame, hold regions over time, paint, write, and check the file.

The source is decoded once for looking and once for writing, the result once or twice for checking; a frame or two are
held at a time, besides the bytes of the source and, while it is checked, of the result.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from censor.animation.checking import Written, check_animation, found_again, harder
from censor.animation.covering import Cover, Painter, held_boxes, known_covers, regions_for, whole_cover
from censor.animation.looking import Looks, look_at_all, worst
from censor.animation.plan import ANIMATED, plan_for, with_hidden
from censor.animation.report import FramesReport, boxes_by_frame, frame_ranges
from censor.animation.sequence import Animation
from censor.animation.writing import write_frames
from censor.motion.rules import MotionRules
from censor.paint import Painted, Region
from censor.preview import draw_boxes
from censor.report import MaskFile
from detector.detections import Detections
from detector.errors import UsageError
from detector.pdq import Pdq

if TYPE_CHECKING:
    from censor.pipeline import Pipeline

__all__ = ["Progress", "censor_animation"]

# Called with a stage's name, the frames done, and how many there are.
Progress = Callable[[str, int, int | None], None]

# What is found again in the file that was written is covered and the file written anew, at most so many times.
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What is to be hidden in each frame and what is said about it."""

    covers: Sequence[Sequence[Cover]]
    records: Sequence[dict[str, Any]]
    warnings: tuple[str, ...]
    transparent: bool
    pdqs: tuple[Pdq, ...]
    looks: Looks | None = None


def censor_animation(
    pipeline: "Pipeline",
    animation: Animation,
    file: BinaryIO,
    target: str | None,
    output_format: str | None,
    *,
    mask: MaskFile | None = None,
    preview: bool = False,
    motion: MotionRules | None = None,
    progress: Progress | None = None,
) -> FramesReport:
    """Censor, mask or preview an animation into an open file; whoever opened it throws it away when this raises.

    Args:
        pipeline: the parts of the job.
        animation: the source.
        file: a binary file that can be written, read, sought in and cut; whatever it holds is replaced.
        target: name of the output, for the report.
        output_format: Pillow's name of the format to write; None keeps the source's.
        mask: boxes that a person chose for each frame, hidden instead of what a detector finds.
        preview: draw the boxes and hide nothing.
        motion: how long and how widely a part is hidden around the frames that show it.
        progress: told the stage, the frames done and their number; may raise to stop.

    Raises:
        UsageError: for a format that holds no animation.
        InputError: when a frame cannot be decoded.
        OutputError: when the result cannot be encoded, or is not what was to be written.
    """
    format = output_format or animation.format
    if format not in ANIMATED:
        raise UsageError(
            f"{animation.name}: an animation must be written as GIF, PNG, WebP or AVIF; got {format}, which would "
            "hold one frame of it; save that frame as a picture and pass it, or name another format"
        )
    rules = motion or MotionRules()
    teller = _Teller(progress, animation.count)
    if preview:
        return _preview(pipeline, animation, file, target, format, rules, teller)
    work = (
        _masked(pipeline, animation, mask, teller) if mask is not None else _looked(pipeline, animation, rules, teller)
    )
    plan = plan_for(animation, format, transparent=work.transparent)
    covers = [list(regions) for regions in work.covers]
    problems: tuple[str, ...] = ()
    for number in range(ROUNDS + 1):
        painted: list[list[Painted]] = []
        written = teller.of("writing")
        frames = _painted(
            animation, covers, painted, written, skip_first=animation.default_image and not plan.default_image
        )
        likenesses = write_frames(file, frames, plan)
        if not pipeline.verify:
            break
        shown = painted[-len(likenesses) :]
        output = check_animation(file, Written(plan=plan, likenesses=likenesses, painted=shown))
        hits = found_again(pipeline, output, shown, teller.of("checking"), cover_new=mask is None)
        hits = [Detections(image_size=animation.image_size)] * (len(painted) - len(shown)) + hits
        if not any(len(found) for found in hits):
            break
        if number == ROUNDS:
            problems = _still_found(hits)
            break
        more = harder(pipeline, animation, hits, painted, rules.hold)
        covers = [[*old, *new] for old, new in zip(covers, more, strict=True)]
    report = _report(pipeline, animation, target, work, painted)
    return replace(
        report, verified=pipeline.verify and not problems, warnings=(*work.warnings, *_outside(painted), *problems)
    )


def _painted(
    animation: Animation,
    covers: Sequence[Sequence[Cover]],
    painted: list[list[Painted]],
    told: Callable[[int], None],
    *,
    skip_first: bool,
) -> Iterator[Image.Image]:
    """Yield each frame with its regions painted, and note what became of them."""
    painter = Painter()
    for i, (frame, regions) in enumerate(zip(animation.frames(), covers, strict=True)):
        # The default image is no moment of the animation: its cells are its own.
        image, done = (Painter() if i < animation.default_image else painter).paint(frame, regions)
        painted.append(done)
        told(i + 1)
        if i or not skip_first:
            yield with_hidden(image, [item.box for item in done if item.painted])


class _Teller:
    """Says how far a job is, stage by stage, to whoever wants to know."""

    def __init__(self, progress: Progress | None, count: int) -> None:
        self._progress, self._count = progress, count

    def of(self, stage: str) -> Callable[[int], None]:
        """Return what takes the number of frames done in one stage."""

        def told(done: int) -> None:
            if self._progress is not None:
                self._progress(stage, done, self._count)

        return told


def _looked(pipeline: "Pipeline", animation: Animation, rules: MotionRules, teller: _Teller) -> _Work:
    """Look at all frames and decide what is hidden in each."""
    looks = look_at_all(pipeline, animation, told=teller.of("looking"))
    policy = pipeline.policy
    covers, records = [], []
    reasons: dict[str, list[int]] = {}
    known = known_covers(animation, looks, policy, rules.hold)
    for i, held in enumerate(held_boxes(animation, looks, policy, rules)):
        verdict = looks.verdicts[i]
        found = looks.found[i].above(policy.thresholds)
        regions, reason = regions_for(held, found, verdict.verdict, animation.image_size, policy, known[i])
        if reason:
            reasons.setdefault(reason, []).append(i)
        seen = [item for item in found.to_records() if item["label"] not in policy.hide.classes]
        match = looks.matches[i]
        covers.append(regions)
        records.append(
            {
                **_when(animation, i),
                "verdict": verdict.verdict,
                "score": round(verdict.score, 6),
                "second_opinion": verdict.to_dict()["second_opinion"] if looks.asked[i] else None,
                "boxes": [
                    *({**cover.record(), "hide": True} for cover in regions),
                    *({**x, "hide": False} for x in seen),
                ],
                "found": found.to_records(),
                "pdq": looks.pdqs[i].to_dict(),
                "known": match.to_dict() if match else None,
            }
        )
    warnings = tuple(f"in frames {frame_ranges(numbers)} {reason}" for reason, numbers in reasons.items())
    return _Work(
        covers=covers, records=records, warnings=warnings, transparent=looks.transparent, pdqs=looks.pdqs, looks=looks
    )


def _masked(pipeline: "Pipeline", animation: Animation, mask: MaskFile, teller: _Teller) -> _Work:
    """Take a person's boxes; the frames are decoded once all the same, to know that every one can be."""
    chosen = boxes_by_frame(mask, animation.name, animation.sha256, [animation.image_size] * animation.count)
    looks = look_at_all(pipeline, animation, told=teller.of("looking"), detect=False)
    covers, records = [], []
    for i, (boxes, rows) in enumerate(chosen):
        hidden = [row for row in rows if row.get("hide", True)]
        parts = {_corners(row): str(row.get("part", row.get("label"))) for row in hidden}
        regions = [whole_cover(animation.image_size, pipeline.policy.hide)] if pipeline.policy.hide.whole else []
        for box, label in zip(boxes.boxes.tolist(), boxes.names, strict=True):
            x1, y1, x2, y2 = box
            region = Region((x1, y1, x2, y2), pipeline.policy.hide.style_of(label), label)
            regions.append(Cover(region, parts.get(_corners({"box": box}), label)))
        covers.append(regions)
        records.append(
            {
                **_when(animation, i),
                "verdict": None,
                "boxes": [dict(row) for row in rows],
                "pdq": looks.pdqs[i].to_dict(),
            }
        )
    nothing = ("no box of the mask is to be hidden: all of the animation stays visible",)
    return _Work(
        covers=covers,
        records=records,
        warnings=() if any(covers) else nothing,
        transparent=looks.transparent,
        pdqs=looks.pdqs,
    )


def _corners(row: Any) -> tuple[float, ...]:
    return tuple(round(float(side), 2) for side in row["box"])


def _preview(
    pipeline: "Pipeline",
    animation: Animation,
    file: BinaryIO,
    target: str | None,
    format: str,
    rules: MotionRules,
    teller: _Teller,
) -> FramesReport:
    """Draw what was found on every frame, and hide nothing."""
    work = _looked(pipeline, animation, rules, teller)
    assert work.looks is not None
    found = [
        item.above(pipeline.policy.thresholds).of_classes(pipeline.policy.hide.classes) for item in work.looks.found
    ]
    plan = plan_for(animation, format, transparent=False)
    frames = (draw_boxes(frame, boxes) for frame, boxes in zip(animation.frames(), found, strict=True))
    if animation.default_image and not plan.default_image:
        next(frames)
    write_frames(file, frames, plan)
    return replace(_report(pipeline, animation, target, work, [[]] * animation.count), method="preview")


def _when(animation: Animation, i: int) -> dict[str, Any]:
    """Return which frame it is, for its record; the default image has no time."""
    number = i - animation.default_image
    if number < 0:
        return {"frame": i, "default_image": True, "time": None, "duration": None}
    time, duration = sum(animation.durations[:number]), animation.durations[number]
    return {"frame": i, "time": round(float(time), 6), "duration": round(float(duration), 6)}


def _report(
    pipeline: "Pipeline",
    animation: Animation,
    target: str | None,
    work: _Work,
    painted: Sequence[Sequence[Painted]],
) -> FramesReport:
    verdicts = work.looks.verdicts if work.looks is not None else ()
    chosen = worst(verdicts) if verdicts else None
    rows = [
        [{"label": x.label, "box": list(x.box), "style": x.style, "shape": x.shape} for x in done] for done in painted
    ]
    return FramesReport(
        source=animation.name,
        target=target,
        image_size=animation.image_size,
        model={"name": pipeline.model.name, "sha256": pipeline.model.sha256} if verdicts else {"name": "person"},
        device=pipeline.model.device,
        policy=pipeline.policy.to_dict(),
        verdict=verdicts[chosen] if chosen is not None else None,
        method="painted" if any(rows) else "reencoded",
        sha256={"in": animation.sha256, "out": None},
        kind="animation",
        frames=tuple({**record, "painted": row} for record, row in zip(work.records, rows, strict=True)),
        plays=animation.plays,
        worst=chosen,
        warnings=work.warnings,
        pdq=work.pdqs[chosen or 0],
        known=work.looks.matches[chosen] if work.looks is not None and chosen is not None else None,
    )


def _outside(painted: Sequence[Sequence[Painted]]) -> tuple[str, ...]:
    """Say in which frames a person's or a detector's box hid nothing because it lies outside."""
    numbers = [i for i, done in enumerate(painted) if any(not item.painted for item in done)]
    return (f"in frames {frame_ranges(numbers)} a box lies outside the picture: it hid nothing",) if numbers else ()


def _still_found(hits: Sequence[Detections]) -> tuple[str, ...]:
    numbers = [i for i, found in enumerate(hits) if len(found)]
    names = sorted({name for found in hits for name in found.names})
    return (f"in frames {frame_ranges(numbers)} {', '.join(names)} is still found in the output, after covering it",)
