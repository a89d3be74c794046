"""Look at every frame of an animation: what is found, what is said, and where one scene ends and another begins."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from censor.animation.sequence import Animation
from censor.animation.writing import likeness
from censor.motion.cuts import THUMBNAIL, CutFinder
from detector.detections import Detections
from detector.known import Match, with_known
from detector.limits import Limits
from detector.opinion import Opinion
from detector.pdq import VIEW_SIDE, Pdq, pdq_of
from detector.picture import Picture
from detector.verdict import Verdict, classify

if TYPE_CHECKING:
    from censor.pipeline import Pipeline

__all__ = ["MOST_OPINIONS", "Looks", "Watcher", "asked_frames", "look_at_all", "worst"]

# The second opinion is asked about at most so many frames, spread evenly, the first and the last among them; it looks
# at whole scenes, which last many frames, and costs several times what the detector does.
MOST_OPINIONS = 16
# Boxes down to this share of the threshold, and this score, continue a part that is found elsewhere; they begin none.
LOW_SHARE, LOW_LEAST = 0.5, 0.1
# What was shown for so many seconds is a slide: what differs from it by so much, of 255, on the mean of the likenesses
# is another picture. Two unrelated photographs differ by 60 and more. Else a cut must stand out, as in video.
SLIDE, SLIDE_DIFFERS = 0.4, 48.0
# An animation runs on into its own beginning when that differs from its end by no more than this many times what its
# frames differ by at most.
SEAM = 1.5
_ORDER = ("safe", "review", "nsfw")


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What was seen in all frames.

    Attributes:
        found: in each frame, also with scores below the thresholds.
        verdicts: on each frame.
        asked: whether the second opinion was asked about the very frame.
        cuts: whether a new scene begins with the frame.
        seamless: whether the first frame follows the last like any other, when the animation starts again.
        transparent: whether any pixel of any frame is not opaque.
        pdqs: the perceptual hash of each frame.
        matches: the earlier decision about a near copy of each frame; None where there is none.
    """

    found: tuple[Detections, ...]
    verdicts: tuple[Verdict, ...]
    asked: tuple[bool, ...]
    cuts: tuple[bool, ...]
    seamless: bool
    transparent: bool
    pdqs: tuple[Pdq, ...] = ()
    matches: tuple[Match | None, ...] = ()


class Watcher:
    """Looks at frames with one pipeline; a frame that was seen before is not looked at again."""

    def __init__(
        self, pipeline: "Pipeline", thresholds: dict[str, float], classes: Sequence[str], limits: Limits
    ) -> None:
        self._pipeline = pipeline
        self._limits = limits
        self._thresholds = thresholds
        self._classes = tuple(classes)
        self._seen: dict[bytes, Detections] = {}

    def look(self, image: Image.Image) -> Detections:
        """Return what is found in a frame."""
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in self._seen:
            self._seen[key] = self._pipeline.model.detect(
                Picture.open(image, limits=self._limits),
                classes=self._classes,
                score_thresh=self._thresholds,
                tiles=self._pipeline.policy.policy.detect.tiles,
            )
        return self._seen[key]


def look_at_all(
    pipeline: "Pipeline", animation: Animation, *, told: Callable[[int], None] = lambda done: None, detect: bool = True
) -> Looks:
    """Decode every frame once and look at it.

    Args:
        pipeline: gives the detector, the second opinion and the policy.
        animation: what to look at.
        told: given the number of frames done, after each.
        detect: whether anything is looked for; without it frames are only decoded, and nothing is said about them.

    Raises:
        InputError: when any frame cannot be decoded.
    """
    thresholds = pipeline.policy.thresholds
    low = {name: min(value, max(value * LOW_SHARE, LOW_LEAST)) for name, value in thresholds.items()}
    watcher = Watcher(pipeline, low, pipeline.policy.classes, animation.limits)
    ask = asked_frames(animation.count) if pipeline.opinion is not None and detect else ()
    found: list[Detections] = []
    opinions: dict[int, Opinion] = {}
    cuts: list[bool] = []
    pdqs: list[Pdq] = []
    transparent = False
    shown: list[NDArray[np.uint8]] = []  # 192 bytes a frame
    steps: list[float] = []
    finder = CutFinder()
    for i, frame in enumerate(animation.frames()):
        transparent = transparent or (frame.mode == "RGBA" and frame.getchannel("A").getextrema() != (255, 255))
        small = likeness(frame)
        step = _difference(shown[-1], small) if shown else 0.0
        number = i - animation.default_image
        cut = number >= 0 and finder.is_cut(np.asarray(frame.convert("RGB").resize(THUMBNAIL, Image.Resampling.BOX)))
        cuts.append(cut or (number > 0 and animation.durations[number - 1] >= SLIDE and step >= SLIDE_DIFFERS))
        if number >= 0:
            steps += [step] if shown and not cuts[-1] else []
            shown.append(small)
        pdqs.append(pdq_of(Picture.open(frame, limits=animation.limits).views(VIEW_SIDE)[0]))
        if detect:
            found.append(watcher.look(frame))
        if i in ask and pipeline.opinion is not None:
            opinions[i] = pipeline.opinion.look(Picture.open(frame, limits=animation.limits))
        told(i + 1)
    # A frame is looked at whatever a person said of its like: what stands beside it in time is another picture.
    known = pipeline.known if detect else None
    matches = [known.find(pdq) if known is not None else None for pdq in pdqs]
    verdicts = []
    for i, item in enumerate(found):
        said = classify(item.above(thresholds), _opinion_of(i, opinions), policy=pipeline.policy.policy)
        match = matches[i]
        verdicts.append(with_known(said, match, pipeline.policy.policy) if match is not None else said)
    return Looks(
        found=tuple(found),
        verdicts=tuple(verdicts),
        asked=tuple(i in opinions for i in range(len(found))),
        cuts=tuple(cuts),
        seamless=bool(shown) and _difference(shown[-1], shown[0]) <= SEAM * max(steps, default=0.0),
        transparent=transparent,
        pdqs=tuple(pdqs),
        matches=tuple(matches),
    )


def _difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Return the mean difference of two likenesses, of 255."""
    return float(np.abs(before.astype(np.int16) - after).mean())


def asked_frames(count: int) -> frozenset[int]:
    """Return the frames about which the second opinion is asked: all, or `MOST_OPINIONS` spread evenly."""
    if count <= MOST_OPINIONS:
        return frozenset(range(count))
    return frozenset(round(i * (count - 1) / (MOST_OPINIONS - 1)) for i in range(MOST_OPINIONS))


def worst(verdicts: Sequence[Verdict]) -> int:
    """Return which verdict stands for all: the gravest, among equals that of the highest score, then the first."""
    return max(range(len(verdicts)), key=lambda i: (_ORDER.index(verdicts[i].verdict), verdicts[i].score, -i))


def _opinion_of(number: int, opinions: dict[int, Opinion]) -> Opinion | None:
    """Return the opinion on a frame: its own, or the graver one of the two frames nearest that were asked about."""
    if number in opinions or not opinions:
        return opinions.get(number)
    left = max((i for i in opinions if i < number), default=None)
    right = min((i for i in opinions if i > number), default=None)
    near = [opinions[i] for i in (left, right) if i is not None]
    return max(near, key=lambda opinion: opinion.score)
