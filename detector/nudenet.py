"""NudeNet v3 (`320n.onnx`, a YOLOv8n) on ONNX Runtime: the weight file only, none of the package's code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.classes import ALL_CLASSES, CLASSES, canonical_classes, canonical_keys
from detector.detections import Detections
from detector.errors import ModelError, UsageError
from detector.letterbox import fit
from detector.models import ModelEntry
from detector.onnx_session import OnnxSession, TensorSpec
from detector.picture import Picture
from detector.postprocess import Candidates, decode_yolo, keep_best
from detector.tiles import is_cut, keep_best_of_tiles, longest_side_needed, plan_windows

__all__ = ["NudeNet"]

# The side that the network was trained at, and its coarsest step. Larger inputs find little more: AP .227 at 320,
# .237 at 352 and .234 at 384 px (192 flipped, moved and scaled mannequins), for a fifth and two fifths more time.
LONG_SIDE = 320
STRIDE = 32
SCALE = np.float32(1 / 255)

# A view has at least this long side. A JPEG that its decoder scaled to exactly 320 px gives scores up to .06 off
# those of the full picture; from 384 px (and so in fact 400 to 800) it is at most .04, for half a millisecond.
MIN_VIEW_SIDE = 384

# From the mannequins: the same AP to .001 from .45 to .7.
NMS_THRESH = 0.5


@dataclass(frozen=True)
class _Settings:
    """One call's arguments, checked and turned into arrays."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    score_thresh: NDArray[np.float32]
    nms_thresh: float
    topk_candidates: int
    detections_per_img: int


class NudeNet:
    """Finds 18 kinds of body parts; safe to call from several threads at once, holds no thresholds.

    Args:
        entry: the model's manifest entry.
        weights: its file, as `read_weights` returns it.
        device: `cpu` or `cuda`.
        threads: threads for one picture; None takes what is fastest for one picture at a time.
        batch_size: pictures in one run of the network; None takes what is fastest on the device.

    Attributes:
        name: the model's name in the manifest.
        class_names: what the labels of its detections mean: the six first, then the other twelve.
        device: where it runs.
        sha256: of the weight file.

    Raises:
        ModelError: when the file's classes, inputs or outputs are not what the manifest says.
        DeviceError: when the device is not there.
    """

    def __init__(
        self,
        entry: ModelEntry,
        weights: bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        if set(entry.classes) != set(ALL_CLASSES) or len(entry.classes) != len(ALL_CLASSES):
            raise ModelError(f"{entry.name} must have the classes {', '.join(ALL_CLASSES)}; got {entry.classes}")
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, or None; got {batch_size}")
        self.name, self.sha256, self.device = entry.name, entry.sha256, device
        self.class_names: tuple[str, ...] = ALL_CLASSES
        # Row of the network's scores for each of `class_names`.
        self._rows = np.array([entry.classes.index(name) for name in ALL_CLASSES], dtype=np.int64)
        self._session = OnnxSession(
            weights,
            name=entry.name,
            input_spec=TensorSpec("images", (None, 3, None, None)),
            output_spec=TensorSpec("output0", (None, 4 + len(entry.classes), None)),
            # Exported files carry their class names: the manifest's order is checked against the file's own.
            metadata={"names": str(dict(enumerate(entry.classes))), "task": "detect", "stride": str(STRIDE)},
            device=device,
            threads=threads,
        )
        self._batch_size = self._session.batch_size if batch_size is None else batch_size

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
            topk_candidates: at most so many boxes of a picture, or of a tile, go into the suppression.
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
        settings = self._settings(classes, score_thresh, nms_thresh, topk_candidates, detections_per_img)
        if not isinstance(images, list | tuple):
            return self._detect_some([images], settings, tiles)[0]
        found: list[Detections] = []
        for start in range(0, len(images), self._batch_size):
            found += self._detect_some(images[start : start + self._batch_size], settings, tiles)
        return found

    def _settings(
        self,
        classes: Sequence[str],
        score_thresh: float | Mapping[str, float],
        nms_thresh: float,
        topk_candidates: int,
        detections_per_img: int,
    ) -> _Settings:
        """Check the arguments of a call; every class looked for must have a threshold."""
        if isinstance(classes, str):
            raise UsageError(f"classes must be a list of names; got the string {classes!r}; write [{classes!r}]")
        names = canonical_classes(classes, self.class_names)
        if isinstance(score_thresh, Mapping):
            by_class = canonical_keys(score_thresh, self.class_names)
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
        labels = np.array([self.class_names.index(name) for name in names], dtype=np.int64)
        return _Settings(
            rows=self._rows[labels],
            labels=labels,
            score_thresh=np.array(limits, dtype=np.float32),
            nms_thresh=nms_thresh,
            topk_candidates=topk_candidates,
            detections_per_img=detections_per_img,
        )

    def _detect_some(self, images: Sequence[Any], settings: _Settings, tiles: bool) -> list[Detections]:
        """Look at a few pictures, in as few runs of the network as their shapes allow."""
        pictures = [image if isinstance(image, Picture) else Picture.open(image) for image in images]
        if tiles:
            return [self._detect_tiled(picture, settings) for picture in pictures]
        views = [picture.views(MIN_VIEW_SIDE) for picture in pictures]
        sizes = [picture.image_size for picture, seen in zip(pictures, views, strict=True) for _ in seen]
        looked = iter(self._look([view for seen in views for view in seen], sizes, settings))
        results = []
        for picture, seen in zip(pictures, views, strict=True):
            # A picture with alpha is seen twice, over white and over black: what shows in either counts.
            both = Candidates.concatenate([next(looked) for _ in seen])
            best = keep_best(both, nms_thresh=settings.nms_thresh, detections_per_img=settings.detections_per_img)
            results.append(self._detections(picture, best))
        return results

    def _detect_tiled(self, picture: Picture, settings: _Settings) -> Detections:
        """Look at the whole of a picture, inside its border, and at overlapping tiles."""
        height, width = picture.image_size
        parts, cuts = [], []
        for view in picture.views(max(MIN_VIEW_SIDE, longest_side_needed(picture.image_size, LONG_SIDE))):
            whole, windows = plan_windows(view)
            scale = np.array([width / view.shape[1], height / view.shape[0]] * 2, dtype=np.float32)
            looked = self._look([w.crop(view) for w in windows], [w.size for w in windows], settings)
            for window, found in zip(windows, looked, strict=True):
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

    def _look(
        self, views: list[NDArray[np.uint8]], sizes: list[tuple[int, int]], settings: _Settings
    ) -> list[Candidates]:
        """Run the network over views of any size, those of one input shape together.

        Args:
            views: each (h, w, 3) uint8 RGB.
            sizes: for each view the (height, width) of the frame that its boxes are wanted in.
            settings: the call's.

        Returns:
            One for each view, in order; clipped to its frame.
        """
        plans = [fit((view.shape[0], view.shape[1]), long_side=LONG_SIDE, stride=STRIDE) for view in views]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            by_shape.setdefault(plan.network_size, []).append(index)
        results: dict[int, Candidates] = {}
        for shape, members in by_shape.items():
            for start in range(0, len(members), self._batch_size):
                batch = members[start : start + self._batch_size]
                images = np.empty((len(batch), 3, *shape), dtype=np.float32)
                for slot, index in enumerate(batch):
                    pixels = plans[index].apply(views[index])  # (H, W, 3) in [0, 255]
                    np.multiply(pixels.transpose(2, 0, 1), SCALE, out=images[slot])
                for index, output in zip(batch, self._session.run(images), strict=True):
                    found = decode_yolo(
                        output,
                        rows=settings.rows,
                        labels=settings.labels,
                        score_thresh=settings.score_thresh,
                        topk_candidates=settings.topk_candidates,
                    )
                    boxes = plans[index].to_source(found.boxes, sizes[index])
                    results[index] = Candidates(boxes, found.scores, found.labels)
        return [results[index] for index in range(len(views))]

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
