"""What every detector of ours does around its network: check a call, decode ahead, look in tiles, put together."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from detector.classes import CLASSES, canonical_classes, canonical_keys
from detector.detections import Detections
from detector.errors import UsageError
from detector.parallel import map_in_order
from detector.picture import Picture
from detector.postprocess import Candidates, keep_best
from detector.tiles import is_cut, keep_best_of_tiles, longest_side_needed, plan_windows

__all__ = ["CallSettings", "ViewPredictor"]

Input = TypeVar("Input")

# From the mannequins, with 320n: the same AP to .001 from .45 to .7.
NMS_THRESH = 0.5


@dataclass(frozen=True)
class CallSettings:
    """One call's arguments, checked.

    Attributes:
        labels: (L,) what is looked for, as indices into `class_names`.
        score_thresh: (L,) lowest score that counts, for each of them.
        nms_thresh: highest IoU that two boxes of one class may have.
        topk_candidates: at most so many boxes go into the suppression.
        detections_per_img: at most so many are returned for a picture.
    """

    labels: NDArray[np.int64]
    score_thresh: NDArray[np.float32]
    nms_thresh: float
    topk_candidates: int
    detections_per_img: int

    @classmethod
    def of(
        cls,
        class_names: tuple[str, ...],
        *,
        classes: Sequence[str],
        score_thresh: float | Mapping[str, float],
        nms_thresh: float,
        topk_candidates: int,
        detections_per_img: int,
    ) -> "CallSettings":
        """Check a call's arguments; every class looked for must have a threshold.

        Raises:
            UsageError: when something is unknown, missing, or out of its range.
        """
        if isinstance(classes, str):
            raise UsageError(f"classes must be a list of names; got the string {classes!r}; write [{classes!r}]")
        names = canonical_classes(classes, class_names)
        if isinstance(score_thresh, Mapping):
            by_class = canonical_keys(score_thresh, class_names)
            missing = [name for name in names if name not in by_class]
            if missing:
                raise UsageError(f"score_thresh must name every class looked for; {', '.join(missing)} is missing")
            limits = [float(by_class[name]) for name in names]
        else:
            limits = [float(score_thresh)] * len(names)
        if not all(0 <= value <= 1 for value in [*limits, nms_thresh]):
            raise UsageError(f"score_thresh and nms_thresh must lie in [0, 1]; got {score_thresh} and {nms_thresh}")
        if topk_candidates < 1 or detections_per_img < 1:
            raise UsageError(
                "topk_candidates and detections_per_img must be at least 1; "
                f"got {topk_candidates} and {detections_per_img}"
            )
        return cls(
            labels=np.array([class_names.index(name) for name in names], dtype=np.int64),
            score_thresh=np.array(limits, dtype=np.float32),
            nms_thresh=nms_thresh,
            topk_candidates=topk_candidates,
            detections_per_img=detections_per_img,
        )


class ViewPredictor(ABC, Generic[Input]):
    """A detector that looks at views of a picture: safe to call from several threads, holds no thresholds.

    Args:
        name: of the model, for reports.
        class_names: what the labels mean, the six first.
        device: where it runs, for reports.
        sha256: of the weight file.
        network_side: the longer side of the network's input, pixels.
        batch_size: pictures that are looked at together.
        decoders: threads that decode and resize ahead of the network; 1 does it in the caller's thread, in turn.
    """

    # Whether an empty list of classes is an error; nudenet-320n has always answered it with nothing found.
    _refuses_no_classes = True

    def __init__(
        self,
        *,
        name: str,
        class_names: tuple[str, ...],
        device: str,
        sha256: str,
        network_side: int,
        batch_size: int,
        decoders: int = 1,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, or None; got {batch_size}")
        self.name, self.class_names, self.device, self.sha256 = name, class_names, device, sha256
        self._network_side = network_side
        # A view has at least this long side. With 320n a JPEG that its decoder scaled to exactly 320 px gives scores up
        # to .06 off those of the full picture; from 384 px (and so in fact 400 to 800) it is at most .04, for half a
        # millisecond.
        self._view_side = -(-network_side * 6 // 5)
        self._batch_size, self._decoders = batch_size, decoders

    @abstractmethod
    def _prepare(self, view: NDArray[np.uint8]) -> Input:
        """Bring a view (h, w, 3) uint8 RGB to the network's scale; called from several threads."""

    @abstractmethod
    def _look(
        self, inputs: Sequence[Input], sizes: Sequence[tuple[int, int]], settings: CallSettings
    ) -> list[Candidates]:
        """Run the network over inputs of any shape.

        Args:
            inputs: from `_prepare`.
            sizes: for each the (height, width) of the frame that its boxes are wanted in.
            settings: the call's.

        Returns:
            One for each, in order; clipped to its frame; labels are indices into `class_names`.
        """

    def detect(
        self,
        images: Any,
        *,
        classes: Sequence[str] = CLASSES,
        score_thresh: float | Mapping[str, float] = 0.2,
        nms_thresh: float = NMS_THRESH,
        topk_candidates: int = 1000,
        detections_per_img: int = 300,
        tiles: bool = False,
    ) -> Any:
        """Find parts in one picture or many.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.
            classes: what to look for, in any spelling; the six unless others are named.
            score_thresh: lowest score that counts; one for all, or one for each of `classes` by name.
            nms_thresh: highest IoU that two boxes of one class may have.
            topk_candidates: at most so many boxes of a level of the network go into the suppression.
            detections_per_img: at most so many are returned for a picture.
            tiles: look at the picture in overlapping parts too: 10 to 50 times slower, finds small parts.

        Returns:
            `Detections` in pixels of the source picture as a viewer sees it, clipped to it; a list of them, in
            order, for a list.

        Raises:
            UsageError: for an unknown class, a threshold outside [0, 1], or a class without one.
            InputError: when a picture cannot be read; with a list, the whole call fails.
            ModelError: when the network gives no finite numbers.
        """
        if self._refuses_no_classes and not isinstance(classes, str) and not classes:
            raise UsageError("classes must name at least one class; got none: nothing would be looked for")
        settings = CallSettings.of(
            self.class_names,
            classes=classes,
            score_thresh=score_thresh,
            nms_thresh=nms_thresh,
            topk_candidates=topk_candidates,
            detections_per_img=detections_per_img,
        )
        single = not isinstance(images, list | tuple)
        listed = [images] if single else images
        found: list[Detections] = []
        if tiles:
            found = [self._detect_tiled(_open(image), settings) for image in listed]
        else:
            opened = self._opened(listed)
            while some := list(islice(opened, self._batch_size)):
                found += self._detect_some(some, settings)
        return found[0] if single else found

    def _opened(self, images: Sequence[Any]) -> Iterator[tuple[Picture, list[Input]]]:
        """Yield pictures and their inputs in order, decoded ahead where there are threads for it."""

        def one(image: Any) -> tuple[Picture, list[Input]]:
            picture = _open(image)
            return picture, [self._prepare(view) for view in picture.views(self._view_side)]

        for _, result in map_in_order(one, images, min(self._decoders, len(images))):
            if isinstance(result, Exception):
                raise result
            yield result

    def _detect_some(self, opened: Sequence[tuple[Picture, list[Input]]], settings: CallSettings) -> list[Detections]:
        """Look at a few pictures, in as few runs of the network as their shapes allow."""
        sizes = [picture.image_size for picture, inputs in opened for _ in inputs]
        looked = iter(self._look([one for _, inputs in opened for one in inputs], sizes, settings))
        results = []
        for picture, inputs in opened:
            # A picture with alpha is seen several times, over white and over black: what shows in either counts.
            together = Candidates.concatenate([next(looked) for _ in inputs])
            best = keep_best(together, nms_thresh=settings.nms_thresh, detections_per_img=settings.detections_per_img)
            results.append(self._detections(picture, best))
        return results

    def _detect_tiled(self, picture: Picture, settings: CallSettings) -> Detections:
        """Look at the whole of a picture, inside its border, and at overlapping tiles."""
        height, width = picture.image_size
        parts, cuts = [], []
        for view in picture.views(max(self._view_side, longest_side_needed(picture.image_size, self._network_side))):
            whole, windows = plan_windows(view)
            scale = np.array([width / view.shape[1], height / view.shape[0]] * 2, dtype=np.float32)
            for start in range(0, len(windows), self._batch_size):
                some = windows[start : start + self._batch_size]
                inputs = [self._prepare(window.crop(view)) for window in some]
                for window, found in zip(some, self._look(inputs, [w.size for w in some], settings), strict=True):
                    offset = np.array([window.left, window.top] * 2, dtype=np.float32)
                    boxes = found.boxes + offset
                    cuts.append(is_cut(boxes, window, whole))
                    parts.append(Candidates(boxes * scale, found.scores, found.labels))
        best = keep_best_of_tiles(
            Candidates.concatenate(parts),
            np.concatenate(cuts),
            nms_thresh=settings.nms_thresh,
            detections_per_img=settings.detections_per_img,
        )
        return self._detections(picture, best)

    def _detections(self, picture: Picture, found: Candidates) -> Detections:
        return Detections(
            boxes=found.boxes,
            scores=found.scores,
            labels=found.labels,
            image_size=picture.image_size,
            class_names=self.class_names,
            model=self.name,
            device=self.device,
        )


def _open(image: Any) -> Picture:
    return image if isinstance(image, Picture) else Picture.open(image)
