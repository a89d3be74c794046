"""Look again at an animation that was written, frame by frame, as a viewer composites it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from censor.animation.covering import Cover, solid
from censor.animation.looking import Watcher
from censor.animation.opening import open_source
from censor.animation.plan import Plan
from censor.animation.sequence import Animation
from censor.animation.writing import likeness
from censor.paint import Painted, Region
from censor.styles import SOFT_STYLES
from censor.verify import GROW_HARDER, NEAR_LEAST, NEAR_SHARE
from detector.boxes import box_ios
from detector.detections import Detections
from detector.errors import InputError, OutputError
from detector.limits import Limits

if TYPE_CHECKING:
    from censor.pipeline import Pipeline

__all__ = ["UNBOUNDED", "Written", "check_animation", "found_again", "harder"]

# How far a frame's small copy may lie from that of what was written, of 255, on the mean: nothing where nothing is
# lost, the nearest of 256 colours for GIF, and what coders of few bits make of noise.
TOLERANCE = {"PNG": 0.0, "GIF": 12.0, "WEBP": 32.0, "AVIF": 32.0}
# Above what any written file has; it was bounded when it was read.
UNBOUNDED = Limits(
    max_bytes=1 << 40, max_pixels=1 << 40, max_side=1 << 20, max_frames=1 << 30, max_total_pixels=1 << 60
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: how, the likeness of each frame, and what was painted on each."""

    plan: Plan
    likenesses: Sequence[NDArray[np.uint8]]
    painted: Sequence[Sequence[Painted]]


def check_animation(file: BinaryIO, written: Written) -> Animation:
    """Read the structure of a written file and every frame of it; return it for a second look.

    Raises:
        OutputError: when it is not what was to be written: frames, times, plays, size, or what a frame shows.
    """
    plan = written.plan
    file.seek(0)
    try:
        output = open_source(file.read(), limits=UNBOUNDED, name="the output")
        if not isinstance(output, Animation):
            raise OutputError("the output must be an animation; it is not")
        said = (output.format, output.durations, output.plays, output.image_size[::-1], output.default_image)
        asked = (plan.format, plan.durations, plan.plays, plan.size, plan.default_image)
        if said != asked:
            raise OutputError(f"the output must be played as was asked; {asked} was; it is {said}")
        tolerance = 0.0 if plan.lossless and plan.format == "WEBP" else TOLERANCE[plan.format]
        for i, (frame, wanted) in enumerate(zip(output.frames(), written.likenesses, strict=True)):
            away = float(np.abs(likeness(frame).astype(np.int16) - wanted).mean())
            if away > tolerance:
                raise OutputError(f"frame {i} of the output must show what was painted; it lies {away:.0f} of 255 off")
    except InputError as error:
        raise OutputError(f"the output must decode; it does not ({error})") from error
    return output


def found_again(
    pipeline: "Pipeline",
    output: Animation,
    painted: Sequence[Sequence[Painted]],
    told: Callable[[int], None],
    *,
    cover_new: bool,
) -> list[Detections]:
    """Return what must not be found in each frame of the output but is.

    Near a hidden region the look is twice as sharp as the first, as for pictures. `told` is given the frames done.
    """
    rules = pipeline.policy
    classes = tuple(name for name in rules.hide.classes if name in pipeline.model.class_names)
    thresholds = rules.policy.detect.thresholds(classes)
    near = {name: min(value, max(value * NEAR_SHARE, NEAR_LEAST)) for name, value in thresholds.items()}
    watcher = Watcher(pipeline, near, classes, output.limits)
    hits = []
    for frame, regions in zip(output.frames(), painted, strict=True):
        found = watcher.look(frame)
        touches = box_ios(found.boxes, _boxes(regions)).max(axis=1, initial=0) > 0
        limits = np.array([thresholds[name] for name in found.names], dtype=np.float32)
        hits.append(found.select(touches | (found.scores >= limits) if cover_new else touches))
        told(len(hits))
    return hits


def harder(
    pipeline: "Pipeline",
    animation: Animation,
    hits: Sequence[Detections],
    painted: Sequence[Sequence[Painted]],
    hold: float,
) -> list[list[Cover]]:
    """Return what to hide in addition: an opaque box over each hit and the soft regions that it touches.

    It is held over time like everything else, for `hold` seconds before and after.
    """
    first = int(animation.default_image)
    times = [0.0] * first + animation.times
    more: list[list[Cover]] = [[] for _ in hits]
    for i, (found, regions) in enumerate(zip(hits, painted, strict=True)):
        soft = _boxes([item for item in regions if item.style in SOFT_STYLES])
        for box, name in zip(found.boxes, found.names, strict=True):
            touched = soft[box_ios(box[None], soft)[0] > 0]
            low = np.vstack([box[:2], touched[:, :2]]).min(axis=0)
            high = np.vstack([box[2:], touched[:, 2:]]).max(axis=0)
            corners = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            region = solid(Region(corners, pipeline.policy.hide.style_of(name), name))
            style = replace(region.style, grow=max(region.style.grow, GROW_HARDER))
            cover = Cover(replace(region, style=style), "found again")
            for j in range(len(hits)):
                if j == i or (i >= first and j >= first and abs(times[j] - times[i]) <= hold):
                    more[j].append(cover)
    return more


def _boxes(painted: Sequence[Painted]) -> NDArray[np.float32]:
    return np.array([item.box for item in painted], dtype=np.float32).reshape(-1, 4)
