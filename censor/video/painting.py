"""Paint the regions of a video's frames so that many frames together tell no more than one.

A mosaic over something that moves shows other means in each frame, and from enough of them the picture comes back. So
the soft styles are frozen: the means are taken once for each class, when a part of it is first hidden, and shown
wherever one is hidden in the whole video. Once for each part that is followed would not do: what moves fast or is lost
now and then is followed as many parts, each with means of its own. The opaque styles show nothing of it anyhow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from censor.masks import HIDDEN, Footprint, area, slices
from censor.motion.regions import HeldBox
from censor.paint import Painted, Region, paint, whole
from censor.policy import HideRules
from censor.report import WHOLE
from censor.styles import SOFT_STYLES, Style
from detector.errors import OutputError

__all__ = ["FramePainter"]

Pixels = NDArray[np.uint8]

# A frozen mosaic has at most eight cells a side; so many pixels hold it.
FROZEN_SIDE = 32


@dataclass(frozen=True)
class _Job:
    region: Region
    footprint: Footprint


class FramePainter:
    """Paints one video's frames, in order.

    Args:
        rules: which style each class has.
        image_size: (height, width) of the frames.
        cover_all: hide the whole of every frame.
        opaque: use an opaque box in the place of a soft style.
    """

    def __init__(
        self, rules: HideRules, image_size: tuple[int, int], *, cover_all: bool = False, opaque: bool = False
    ) -> None:
        self._rules, self._image_size = rules, image_size
        self._cover_all, self._opaque = cover_all or rules.whole, opaque
        self._frozen: dict[tuple[str, str], Pixels] = {}
        self._frame = (0, 0, image_size[1], image_size[0])

    def has_work(self, held: Sequence[HeldBox]) -> bool:
        """Whether anything is to be painted in a frame."""
        return self._cover_all or bool(held)

    def paint(self, frame: Pixels, held: Sequence[HeldBox], *, everything: bool = False) -> list[Painted]:
        """Hide what is held in a frame, (H, W, 3) RGB, in place; or all of it, as one opaque box.

        Returns:
            What became of each region: those held, and the whole frame where all is covered.

        Raises:
            OutputError: when a pixel that must be hidden was not painted.
        """
        jobs = [self._job(item.box, self._style(item.label), item.label) for item in held]
        if everything:
            region = whole(self._image_size, replace(self._style(""), style="box"), WHOLE)
            jobs.append(self._job(region.box, region.style, WHOLE))
        elif self._cover_all:
            region = whole(self._image_size, self._style(""), WHOLE)
            jobs.append(self._job(region.box, region.style, WHOLE))
        soft = [job for job in jobs if job.region.style.style in SOFT_STYLES and area(job.footprint.window)]
        before = frame.copy() if soft else frame
        for job in sorted(soft, key=lambda job: -area(job.footprint.window)):
            frame[slices(job.footprint.window, self._frame)] = self._patch(job, before)
        painted = paint(frame, [job.region for job in jobs])
        if soft:
            self._restore(frame, before, jobs)
        return painted

    def _job(self, box: tuple[float, float, float, float], style: Style, label: str) -> _Job:
        return _Job(Region(box, style, label), Footprint.of(box, style, self._image_size))

    def _style(self, label: str) -> Style:
        style = self._rules.style_of(label)
        return replace(style, style="box") if self._opaque and style.style in SOFT_STYLES else style

    def _patch(self, job: _Job, before: Pixels) -> Pixels:
        """Return the frozen means of a class, at the size of a part's window in this frame."""
        style = job.region.style
        window = job.footprint.window
        key = (job.region.label, style.style)
        if key not in self._frozen:
            patch = before[slices(window, self._frame)].copy()
            paint(patch, [whole(patch.shape[:2], style)])
            size = (min(FROZEN_SIDE, patch.shape[1]), min(FROZEN_SIDE, patch.shape[0]))
            self._frozen[key] = np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        how = cv2.INTER_LINEAR if style.style == "blur" else cv2.INTER_NEAREST
        size = (window[2] - window[0], window[3] - window[1])
        return np.asarray(cv2.resize(self._frozen[key], size, interpolation=how), dtype=np.uint8)

    def _restore(self, frame: Pixels, before: Pixels, jobs: Sequence[_Job]) -> None:
        """Bring back what no region hides: a window is a rectangle, what is hidden in it need not be one."""
        weights = np.zeros(self._image_size, dtype=np.uint8)
        for job in jobs:
            window = job.footprint.window
            if area(window):
                view = weights[slices(window, self._frame)]
                np.maximum(view, job.footprint.weights(window), out=view)
        shown = (weights < HIDDEN) & (frame != before).any(axis=2)
        weight = weights[shown][:, None].astype(np.uint16)
        frame[shown] = (frame[shown] * weight + before[shown] * (HIDDEN - weight) + HIDDEN // 2) // HIDDEN
        for job in jobs:
            core = job.footprint.core
            if area(core) and int(weights[slices(core, self._frame)].min()) != HIDDEN:
                raise OutputError(f"all pixels of the hidden box {core} must be painted; some are not")
