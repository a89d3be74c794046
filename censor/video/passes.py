"""The readings after the first: write what is hidden, check what was written, and cut thumbnails."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from censor.motion.regions import HeldBox
from censor.pipeline import Pipeline
from censor.video.codecs import Encoder
from censor.video.copying import copied_streams
from censor.video.looking import RANGE_GAP, Looks, Progress
from censor.video.painting import FramePainter
from censor.video.reading import VideoFile
from censor.video.rules import VideoRules
from censor.video.sheet import tile
from censor.video.upright import UprightFrame
from censor.video.writing import VideoWriter
from detector.boxes import box_area
from detector.detections import Detections
from detector.errors import InputError, OutputError
from detector.limits import Limits
from detector.picture import Picture

__all__ = ["Hit", "Plan", "Written", "check_video", "cut_tiles", "write_video"]

# A part found with so much of its box under what is hidden is found in the covering itself.
COVERED = 0.5
# Under an opaque box there is nothing to be found; what lies under it so far is an error of the detector.
BURIED = 0.9
# A container may round times to this, seconds.
ROUNDING = 0.001


@dataclass(frozen=True)
class Plan:
    """What is to be done with each frame: the looks, and how they are acted on."""

    pipeline: Pipeline
    rules: VideoRules
    looks: Looks
    cover_all: bool
    opaque: bool = False

    @property
    def starts(self) -> dict[str, float]:
        """The threshold of each class that is hidden."""
        policy = self.pipeline.policy
        return policy.policy.detect.thresholds(policy.hide.classes)

    def held(self) -> Iterator[list[HeldBox]]:
        """Yield what to hide in each frame."""
        whole = self.pipeline.policy.hide.fallback == "whole"
        return self.looks.held(self.starts, self.rules.motion, cover_all=whole)

    def unexplained(self, time: float, held: Sequence[HeldBox]) -> bool:
        """Whether something objects to the frame at a moment, and nothing that is hidden in it says why."""
        policy = self.pipeline.policy
        left = set(policy.policy.verdict.nsfw_classes) - set(policy.hide.classes)
        near = self.rules.motion.hold
        if any(
            item.label in left and item.start - RANGE_GAP <= time <= item.end + RANGE_GAP for item in self.looks.ranges
        ):
            return True
        recalled = (item for item in self.looks.recalled if item.start - near <= time <= item.end + near)
        said = any(item.match.entry.decision == "nsfw" for item in recalled)
        return not held and (said or self.looks.alarmed(time))

    def painter(self) -> FramePainter:
        """Return a painter, for one reading."""
        return FramePainter(
            self.pipeline.policy.hide, self.looks.image_size, cover_all=self.cover_all, opaque=self.opaque
        )


@dataclass
class Written:
    """What was painted: frames with something hidden, and the time ranges by class."""

    frames: int = 0
    hidden: int = 0
    ranges: list[dict[str, Any]] = field(default_factory=list)
    _open: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, time: float, labels: set[str]) -> None:
        """Note a frame."""
        self.frames += 1
        self.hidden += bool(labels)
        for label in labels:
            last = self._open.get(label)
            if last is None or time - last["end"] > RANGE_GAP:
                last = self._open[label] = {"label": label, "start": round(time, 3), "end": 0.0}
                self.ranges.append(last)
            last["end"] = round(time, 3)


@dataclass(frozen=True)
class Hit:
    """Something that must not be found in the output, but is."""

    index: int
    time: float
    found: Detections
    covered: bool


def _checked(looks: Looks, frame: UprightFrame) -> UprightFrame:
    """Return a frame of a later reading, after making sure that it is the one that was looked at."""
    i = frame.index
    if (
        i < len(looks.pts)
        and looks.pts[i] == frame.pts
        and frame.image_size == looks.image_size
        and looks.prints[i] == frame.fingerprint()
    ):
        return frame
    raise InputError(
        "the video must not change while it is worked on; a frame is not the one that was looked at; where the file "
        "stayed the same it is damaged, and decodes differently each time: repair it first"
    )


def write_video(
    plan: Plan, file: VideoFile, out: BinaryIO, container: str, encoder: Encoder, progress: Progress
) -> Written:
    """Read a video again and write it with everything hidden that the plan says.

    Raises:
        InputError: when it is not the video that was looked at.
        OutputError: when it cannot be written.
    """
    looks, held, painter, written = plan.looks, plan.held(), plan.painter(), Written()
    total = len(looks.pts)
    with file.open() as source, ExitStack() as stack:
        main = file.main_stream(source)
        copies = copied_streams(source, plan.rules.drop)
        upright = file.upright(main)
        writer: VideoWriter | None = None
        early: list[Any] = []  # packets of sound from before the first picture
        for packet in file.packets(source, main, *copies):
            if packet.stream.index != main.index:
                if writer is None:
                    early.append(packet)
                else:
                    writer.copy(packet)
                continue
            for frame in upright.take(packet):
                frame = _checked(looks, frame)
                if writer is None:
                    writer = stack.enter_context(
                        VideoWriter.open(out, container, encoder, source=main, copies=copies, first=frame)
                    )
                    for waiting in early:
                        writer.copy(waiting)
                    early.clear()
                boxes = next(held)
                pixels, labels = None, set()
                if painter.has_work(boxes):
                    pixels = frame.rgb()
                    labels = {item.label for item in painter.paint(pixels, boxes) if item.painted}
                writer.write(frame, pixels)
                written.add(float(frame.time), labels)
                progress("writing", written.frames, total)
    if written.frames != total:
        raise InputError(
            f"the video must not change while it is worked on; it had {total} frames and has {written.frames} now"
        )
    return written


def check_video(plan: Plan, output: VideoFile, limits: Limits, progress: Progress) -> list[Hit]:
    """Decode an output, check its frames' number, size and times, and look at a share of them.

    Returns:
        What is found in it and was to be hidden.

    Raises:
        OutputError: when it does not decode to as many frames, at the same times.
    """
    looks, model, held = plan.looks, plan.pipeline.model, plan.held()
    share = 0.0 if plan.cover_all else plan.rules.verify_share
    height, width = looks.image_size
    hits: list[Hit] = []
    count, start = 0, 0.0
    try:
        with output.open() as container:
            stream = output.main_stream(container)
            for frame in output.frames(container, stream):
                boxes = next(held, None)
                if boxes is None:
                    break
                count = frame.index + 1
                start = float(frame.time) - looks.seconds(0) if frame.index == 0 else start
                off = abs(float(frame.time) - start - looks.seconds(frame.index))
                if off > max(ROUNDING, float(stream.time_base)) + 1e-6:
                    raise OutputError(f"the output's frame {frame.index} must keep its time; it is {off:.4f} s off")
                if frame.image_size != (height + height % 2, width + width % 2):
                    raise OutputError(f"the output must be {looks.image_size} pixels; it is {frame.image_size}")
                if int((frame.index + 0.5) * share) < int((frame.index + 1.5) * share):
                    picture = Picture.open(frame.rgb()[:height, :width], limits=limits, name=output.name)
                    found = model.detect(
                        [picture],
                        classes=tuple(plan.starts),
                        score_thresh=plan.starts,
                        tiles=plan.pipeline.policy.policy.detect.tiles,
                    )[0]
                    hits += _hits(plan, frame, found, boxes)
                progress("checking", count, len(looks.pts))
    except InputError as error:
        raise OutputError(f"the output must decode; it does not ({error})") from error
    if count != len(looks.pts) or next(held, None) is not None:
        raise OutputError(f"the output must have {len(looks.pts)} frames; it has {count}")
    return hits


def _hits(plan: Plan, frame: UprightFrame, found: Detections, held: Sequence[HeldBox]) -> Iterator[Hit]:
    """Yield what was found, apart by whether it lies under what is hidden."""
    if not len(found):
        return
    mask = np.zeros(plan.looks.image_size, dtype=bool)
    for item in held:
        x1, y1, x2, y2 = (max(0, round(side)) for side in item.box)
        mask[y1:y2, x1:x2] = True
    shares = []
    for box, size in zip(found.boxes, box_area(found.boxes), strict=True):
        x1, y1, x2, y2 = (max(0, round(float(side))) for side in box)
        shares.append(float(mask[y1:y2, x1:x2].sum()) / max(float(size), 1.0))
    covered = np.array(shares) >= COVERED
    styles = plan.pipeline.policy.hide
    opaque = plan.opaque or all(styles.style_of(item.label).style == "box" for item in held)
    buried = (np.array(shares) >= BURIED) & opaque
    for which, under in ((covered & ~buried, True), (~covered, False)):
        some = found.select(which)
        if len(some):
            yield Hit(frame.index, plan.looks.seconds(frame.index), some, under)


def cut_tiles(plan: Plan, file: VideoFile, picks: Sequence[int], progress: Progress) -> list[tuple[float, Image.Image]]:
    """Return small pictures of some frames, by rising index, with what is hidden hidden.

    Where only the second opinion objects, nobody knows what is to be hidden: such a picture is covered whole, whatever
    the policy says of videos, since a sheet is there to be looked at.
    """
    wanted, tiles = set(picks), []
    painter, held = plan.painter(), plan.held()
    if not wanted:
        return []
    with file.open() as container:
        for frame in file.frames(container, file.main_stream(container)):
            boxes = next(held, None)
            if boxes is None:  # the looks stopped at the first hit
                break
            if frame.index in wanted:
                pixels = _checked(plan.looks, frame).rgb()
                painter.paint(pixels, boxes, everything=plan.unexplained(float(frame.time), boxes))
                tiles.append((float(frame.time), tile(pixels)))
            progress("cutting thumbnails", frame.index + 1, len(plan.looks.pts))
            if frame.index >= picks[-1]:
                break
    return tiles
