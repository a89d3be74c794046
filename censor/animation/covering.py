"""What is hidden in each frame, and the painting of it.

Frame after frame of a moving thing through the same few cells would together show more than the cells of one picture
do. So `blur` and `pixelate` are held still: their cells are measured once for each class, when a part of it is first
hidden, and shown wherever one is hidden. What comes later under them changes nothing. Not once for each part that is
followed: what moves fast, or is lost now and then, is followed as many.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.animation.looking import Looks
from censor.animation.sequence import SHORTEST, Animation
from censor.known import drawn_boxes
from censor.masks import Box, Footprint, area
from censor.motion.regions import HeldBox, hold_regions
from censor.motion.rules import MotionRules
from censor.paint import Painted, Region, paint_image, whole
from censor.pipeline import regions_of
from censor.policy import HideRules
from censor.report import WHOLE
from censor.styles import SOFT_STYLES
from detector.detections import Detections

if TYPE_CHECKING:
    from censor.policy import CensorPolicy

__all__ = ["Cover", "Painter", "held_boxes", "known_covers", "regions_for", "solid", "whole_cover"]


@dataclass(frozen=True)
class Cover:
    """A region of one frame and the part that it follows; regions of one class show the same cells in all frames."""

    region: Region
    part: str

    def record(self) -> dict[str, Any]:
        """Return what a report says about it."""
        return {"label": self.region.label, "box": [round(side, 3) for side in self.region.box], "part": self.part}


def held_boxes(animation: Animation, looks: Looks, policy: "CensorPolicy", rules: MotionRules) -> list[list[HeldBox]]:
    """Return what to hide in each picture of an animation, held over time; the default image stands alone.

    Where the animation is shown again, and its end runs into its beginning, what is hidden in the last frame is held
    into the first ones, and the other way round.
    """
    first = int(animation.default_image)
    starts = policy.thresholds
    hide = [found.of_classes(policy.hide.classes) for found in looks.found]
    alone = hold_regions(hide[:first], [0.0] * first, starts=starts, rules=rules)
    frames, times, cuts = hide[first:], animation.times, looks.cuts[first:]
    held = hold_regions(frames, times, starts=starts, cuts=cuts, rules=rules)
    if animation.plays != 1 and looks.seamless:
        _hold_over_the_end(held, frames, times, cuts, animation, starts, rules)
    return alone + held


def _hold_over_the_end(
    held: list[list[HeldBox]],
    frames: Sequence[Detections],
    times: Sequence[float],
    cuts: Sequence[bool],
    animation: Animation,
    starts: dict[str, float],
    rules: MotionRules,
) -> None:
    """Add to the first and the last frames what is held over the place where the animation begins again."""
    length = times[-1] + float(max(animation.durations[-1], SHORTEST))
    count, near = len(times), rules.look_ahead + rules.hold
    last = [i for i in range(count) if i >= count - rules.bridge_looks or times[i] > length - near]
    early = [i for i in range(count) if i < rules.bridge_looks or times[i] < near]
    over = hold_regions(
        [frames[i] for i in (*last, *early)],
        [*(times[i] - length for i in last), *(times[i] for i in early)],
        starts=starts,
        cuts=[*(cuts[i] for i in last), False, *(cuts[i] for i in early[1:])],
        rules=rules,
    )
    for place, i in enumerate((*last, *early)):
        time = times[i] - length if place < len(last) else times[i]
        if abs(time) <= rules.hold or i < rules.hold_looks or i >= count - rules.hold_looks:
            # Parts of this second reckoning are numbered apart from those of the first.
            new = [replace(box, track=-box.track) for box in over[place]]
            held[i] += [box for box in new if not any(_contains(old.box, box.box) for old in held[i])]


def _contains(outer: Sequence[float], inner: Sequence[float]) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


def known_covers(animation: Animation, looks: Looks, policy: "CensorPolicy", hold: float) -> list[list[Cover]]:
    """Return what a person hid in near copies of the frames, held over time like everything else.

    The default image stands alone.
    """
    first = int(animation.default_image)
    times = [0.0] * first + animation.times
    covers: list[list[Cover]] = [[] for _ in times]
    for i, match in enumerate(looks.matches):
        drawn = drawn_boxes(match, animation.image_size)
        new = [Cover(region, f"known {j}") for j, region in enumerate(regions_of(drawn, policy.hide))]
        if match is not None and match.entry.decision == "nsfw" and not new and policy.hide.fallback == "whole":
            new = [whole_cover(animation.image_size, policy.hide)]  # nobody said where
        if i < first:
            near = range(i, i + 1)
        else:
            near = range(
                first + bisect_left(animation.times, times[i] - hold),
                first + bisect_right(animation.times, times[i] + hold),
            )
        for k in near if new else ():
            covers[k] += [cover for cover in new if cover not in covers[k]]
    return covers


def regions_for(
    held: Sequence[HeldBox],
    found: Detections,
    verdict: str,
    image_size: tuple[int, int],
    policy: "CensorPolicy",
    known: Sequence[Cover] = (),
) -> tuple[list[Cover], str]:
    """Return what to hide in one frame, and why a person should look at it, or an empty text.

    Args:
        held: the boxes to hide.
        found: what was found in the very frame at or above the thresholds.
        verdict: on the frame.
        image_size: (height, width).
        policy: says how, and what to do where no region explains the verdict.
        known: what a person hid in a near copy.
    """
    rules: HideRules = policy.hide
    if rules.whole:
        return [whole_cover(image_size, rules)], ""
    covers = [Cover(Region(_short(item.box), rules.style_of(item.label), item.label), str(item.track)) for item in held]
    covers += known
    left = sorted((set(found.names) & set(policy.policy.verdict.nsfw_classes)) - set(rules.classes))
    if verdict == "safe" or (covers and not left):
        return covers, ""
    if rules.fallback == "whole":
        return [whole_cover(image_size, rules)], ""
    why = f"{', '.join(left)} is not among the classes to hide" if left else "there is no region to hide"
    return covers, f"the verdict is {verdict} and {why}; --fallback whole covers it all"


def whole_cover(image_size: tuple[int, int], rules: HideRules) -> Cover:
    """Return the region of the whole frame, in the style for all classes."""
    return Cover(whole(image_size, rules.style_of(""), WHOLE), WHOLE)


def _short(box: Sequence[float]) -> tuple[float, float, float, float]:
    """Return a box rounded outward to eighths of a pixel, which a report holds exactly: a mask of it is alike."""
    x1, y1, x2, y2 = box
    return math.floor(x1 * 8) / 8, math.floor(y1 * 8) / 8, math.ceil(x2 * 8) / 8, math.ceil(y2 * 8) / 8


class Painter:
    """Paints frame after frame, in order; holds the few cells of each class that was hidden so far."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], NDArray[np.uint8]] = {}

    def paint(self, image: Image.Image, covers: Sequence[Cover]) -> tuple[Image.Image, list[Painted]]:
        """Hide the regions of one frame; `image` is changed, and returned unless it had to be converted."""
        size = (image.height, image.width)
        still: list[tuple[Box, NDArray[np.uint8]]] = []
        for cover in covers:
            core = Footprint.of(cover.region.box, cover.region.style, size).core
            if cover.region.style.style in SOFT_STYLES and area(core):
                still.append((core, self._still(image, cover, core)))
        # All are measured before any is laid down; then what is painted are means of these cells alone.
        for core, cells in still:
            patch = Image.fromarray(cells).resize((core[2] - core[0], core[3] - core[1]), Image.Resampling.NEAREST)
            image.paste(patch, core[:2])
        return paint_image(image, [cover.region for cover in covers])

    def _still(self, image: Image.Image, cover: Cover, core: Box) -> NDArray[np.uint8]:
        """Return (h, w, 3) the cells of a class, measured when a part of it is first hidden."""
        key = (cover.region.label, cover.region.style.style)
        if key not in self._cells:
            width, height = core[2] - core[0], core[3] - core[1]
            most = cover.region.style.cells
            scale = most / max(width, height)
            grid = (min(width, max(1, int(width * scale))), min(height, max(1, int(height * scale))))
            part = image.crop(core).convert("RGB").resize(grid, Image.Resampling.BOX)
            self._cells[key] = np.asarray(part)
        return self._cells[key]


def solid(region: Region) -> Region:
    """Return the same region as an opaque box: for what was found again under something softer."""
    return replace(region, style=replace(region.style, style="box"))
