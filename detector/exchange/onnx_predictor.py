"""An exported RetinaNet on ONNX Runtime: NumPy and OpenCV around it, no torch."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from detector.classes import CLASSES, canonical_class, canonical_classes
from detector.detections import Detections
from detector.errors import ModelError, UsageError
from detector.exchange.onnx_format import INPUT, OUTPUT, OnnxHeader
from detector.letterbox import Letterbox, resize
from detector.onnx_session import OnnxSession, TensorSpec
from detector.picture import Picture
from detector.postprocess import Candidates, keep_best
from detector.retinanet_config import STRIDES, ModelConfig, Preprocessing
from detector.tiles import is_cut, keep_best_of_tiles, longest_side_needed, plan_windows

__all__ = ["OnnxRetinaNet", "anchors_array", "decode_array", "network_input", "plan_input"]

Floats = NDArray[np.float32]

# Upper bound on dw and dh, as in detector/anchors.py.
MAX_LOG_SCALE = np.float32(math.log(1000 / 16))


def plan_input(image_size: tuple[int, int], table: Preprocessing, step: int) -> Letterbox:
    """Return where a picture lies in the network's input: as large as both bounds allow, padded to whole steps.

    Args:
        image_size: (height, width) of what will be looked at.
        table: of the model.
        step: both sides must be multiples of it, besides those of `table.multiple`.
    """
    scale = table.long_side / max(image_size)
    if table.short_side is not None:
        scale = min(scale, table.short_side / min(image_size))
    height, width = (max(1, round(side * scale)) for side in image_size)
    multiple = math.lcm(table.multiple, step)
    return Letterbox((height, width), (-(-height // multiple) * multiple, -(-width // multiple) * multiple))


def network_input(view: NDArray[np.uint8], plan: Letterbox, table: Preprocessing) -> Floats:
    """Return (3, H, W) of `plan.network_size`: the view (h, w, 3) RGB resized, normalised, zeros as padding."""
    # Whole numbers, as torch's side takes them to the device.
    pixels = np.rint(resize(view, plan.content))
    if table.colour == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.array(part, dtype=np.float32) for part in (table.mean, table.std))
    inner = (pixels * np.float32(table.scale) - mean) / std
    images: Floats = np.zeros((3, *plan.network_size), dtype=np.float32)
    images[:, : plan.content[0], : plan.content[1]] = inner.transpose(2, 0, 1)
    return images


@lru_cache(maxsize=16)
def anchors_array(config: ModelConfig, image_size: tuple[int, int]) -> tuple[Floats, tuple[int, ...]]:
    """Return what `detector.anchors.anchors_for` does, as a read-only array (A, 4), and how many each level has."""
    levels = []
    ratios = np.sqrt(np.array(config.anchor_ratios, dtype=np.float32))[:, None]
    for base, stride in zip(config.anchor_sizes, STRIDES, strict=True):
        sides = np.array([base * scale for scale in config.anchor_scales], dtype=np.float64)
        if config.anchor_rounding:
            sides = np.trunc(sides)
        width = ((1 / ratios) * sides.astype(np.float32)).reshape(-1)
        height = (ratios * sides.astype(np.float32)).reshape(-1)
        cell = np.stack([-width, -height, width, height], axis=1) / 2
        if config.anchor_rounding:
            cell = np.round(cell)
        rows, columns = (-(-side // stride) for side in image_size)
        steps = (stride, stride)
        if config.anchor_stride == "floor":
            steps = (image_size[0] // rows, image_size[1] // columns)
        y, x = np.meshgrid(
            (np.arange(rows) + config.anchor_offset) * steps[0],
            (np.arange(columns) + config.anchor_offset) * steps[1],
            indexing="ij",
        )
        corner = np.stack([x, y, x, y], axis=2).astype(np.float32).reshape(-1, 1, 4)
        levels.append((corner + cell).reshape(-1, 4))
    anchors = np.concatenate(levels).astype(np.float32)
    anchors.setflags(write=False)
    return anchors, tuple(len(level) for level in levels)


def decode_array(box_deltas: Floats, anchors: Floats, config: ModelConfig) -> Floats:
    """Return the boxes (N, 4) of deltas (N, 4) and their anchors (N, 4); as `detector.anchors.decode_boxes`."""
    deltas = box_deltas * np.array(config.box_std, dtype=np.float32)
    sides = anchors[:, 2:] - anchors[:, :2]
    if config.box_coding == "xyxy":
        return anchors + deltas * np.tile(sides, 2)
    middle = anchors[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = np.exp(np.minimum(deltas[:, 2:], MAX_LOG_SCALE)) * sides / 2
    return np.concatenate([middle - half, middle + half], axis=1)


@dataclass(frozen=True)
class _Settings:
    """One call's arguments, checked and turned into arrays."""

    logit_thresh: Floats  # (K,), infinite where the class is not wanted
    nms_thresh: float
    topk_candidates: int
    detections_per_img: int


class OnnxRetinaNet:
    """A RetinaNet that `detector export` wrote; safe to call from several threads at once, holds no thresholds.

    Args:
        weights: the whole file.
        name: of the model, for reports.
        device: `cpu` or `cuda`.
        threads: threads for one picture; None takes what is fastest for one picture at a time.

    Attributes:
        name: as given.
        class_names: what the labels of its detections mean: the six first, then the others it has.
        device: where it runs.
        sha256: of the file.
        config: of the model.

    Raises:
        ModelError: when the file was not written by `detector export`, or is not what its metadata says.
        DeviceError: when the device is not there.
    """

    def __init__(self, weights: bytes, *, name: str, device: str = "cpu", threads: int | None = None) -> None:
        header = OnnxHeader.read(weights, name)
        self.name, self.device, self.sha256 = name, device, hashlib.sha256(weights).hexdigest()
        self.config, self._step, self._rows = header.config, header.step, header.class_names
        rest = [name for name in self._rows if name not in CLASSES]
        self.class_names: tuple[str, ...] = (*(name for name in CLASSES if name in self._rows), *rest)
        self._label_of_row = np.array([self.class_names.index(name) for name in self._rows], dtype=np.int64)
        self._session = OnnxSession(
            weights,
            name=name,
            input_spec=TensorSpec(INPUT, (None, 3, None, None)),
            output_spec=TensorSpec(OUTPUT, (None, None, len(self.class_names) + 4)),
            device=device,
            threads=threads,
        )

    @classmethod
    def from_file(cls, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> Self:
        """Load a file; its name without the suffix becomes the model's.

        Raises:
            ModelError: when it cannot be read or is no such file.
            DeviceError: when the device is not there.
        """
        path = Path(path)
        try:
            weights = path.read_bytes()
        except OSError as error:
            raise ModelError(f"the weights must be readable; {path} is not ({error.strerror or error})") from error
        return cls(weights, name=path.stem, device=device, threads=threads)

    def detect(
        self,
        images: Any,
        *,
        classes: Sequence[str] = CLASSES,
        score_thresh: float | Mapping[str, float] = 0.2,
        nms_thresh: float = 0.5,
        topk_candidates: int = 1000,
        detections_per_img: int = 300,
        tiles: bool = False,
    ) -> Any:
        """Find parts in one picture or many.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.
            classes: what to look for, in any spelling.
            score_thresh: lowest score that counts; one for all, or one for each of `classes` by name.
            nms_thresh: highest IoU that two boxes of one class may have.
            topk_candidates: at most so many boxes of a pyramid level go into the suppression.
            detections_per_img: at most so many are returned for a picture.
            tiles: look at the picture in overlapping parts too.

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
        size = self._session.batch_size
        for start in range(0, len(images), size):
            found += self._detect_some(images[start : start + size], settings, tiles)
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
        given = score_thresh if isinstance(score_thresh, Mapping) else dict.fromkeys(names, score_thresh)
        limits = {canonical_class(name, self.class_names): float(value) for name, value in given.items()}
        missing = [name for name in names if name not in limits]
        if missing:
            raise UsageError(f"score_thresh must name every class looked for; {', '.join(missing)} is missing")
        if not all(0 <= value <= 1 for value in [*limits.values(), nms_thresh]):
            raise UsageError(f"score_thresh and nms_thresh must lie in [0, 1]; got {score_thresh} and {nms_thresh}")
        if topk_candidates < 1 or detections_per_img < 1:
            raise UsageError(
                "topk_candidates and detections_per_img must be at least 1; "
                f"got {topk_candidates} and {detections_per_img}"
            )
        scores = np.array([limits[name] if name in names else 2.0 for name in self._rows], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.where(scores > 1, np.inf, np.log(scores / (1 - scores)))
        # A float32 score of 1 is reached at a logit of 17.33, as in detector/retinanet_postprocess.py.
        logits = np.where((scores <= 1) & (logits > 17.33), 17.33, logits)
        return _Settings(logits.astype(np.float32), nms_thresh, topk_candidates, detections_per_img)

    def _long_side(self) -> int:
        """Return the side that views are asked for with: reducing further in the JPEG decoder moves scores."""
        return -(-self.config.preprocessing.long_side * 6 // 5)

    def _detect_some(self, images: Sequence[Any], settings: _Settings, tiles: bool) -> list[Detections]:
        """Look at a few pictures, in as few runs of the network as their shapes allow."""
        pictures = [image if isinstance(image, Picture) else Picture.open(image) for image in images]
        if tiles:
            return [self._detect_tiled(picture, settings) for picture in pictures]
        views = [picture.views(self._long_side()) for picture in pictures]
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
        for view in picture.views(longest_side_needed(picture.image_size, self._long_side())):
            whole, windows = plan_windows(view)
            scale = np.array([width / view.shape[1], height / view.shape[0]] * 2, dtype=np.float32)
            looked = self._look([w.crop(view) for w in windows], [w.size for w in windows], settings)
            for window, found in zip(windows, looked, strict=True):
                boxes = found.boxes + np.array([window.left, window.top] * 2, dtype=np.float32)
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
        """Run the network over views of any size, one run for each input shape; boxes come in frames of `sizes`."""
        table = self.config.preprocessing
        plans = [plan_input((view.shape[0], view.shape[1]), table, self._step) for view in views]
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, plan in enumerate(plans):
            by_shape.setdefault(plan.network_size, []).append(index)
        results: dict[int, Candidates] = {}
        for shape, members in by_shape.items():
            for start in range(0, len(members), self._session.batch_size):
                batch = members[start : start + self._session.batch_size]
                images = np.stack([network_input(views[index], plans[index], table) for index in batch])
                for index, output in zip(batch, self._session.run(images), strict=True):
                    found = self._read(output, shape, settings)
                    boxes = plans[index].to_source(found.boxes, sizes[index])
                    results[index] = Candidates(boxes, found.scores, found.labels)
        return [results[index] for index in range(len(views))]

    def _read(self, output: Floats, shape: tuple[int, int], settings: _Settings) -> Candidates:
        """Return the best anchors of each level, decoded: boxes in pixels of the network's input."""
        anchors, levels = anchors_array(self.config, shape)
        classes = len(self.class_names)
        if output.shape != (len(anchors), classes + 4):
            raise ModelError(f"{self.name} must give {(len(anchors), classes + 4)} for {shape}; it gave {output.shape}")
        parts, start = [], 0
        for count in levels:
            rows, labels = np.nonzero(output[start : start + count, :classes] >= settings.logit_thresh)
            rows += start
            logits = output[rows, labels]
            if len(logits) > settings.topk_candidates:
                top = np.argpartition(-logits, settings.topk_candidates - 1)[: settings.topk_candidates]
                rows, labels, logits = rows[top], labels[top], logits[top]
            boxes = decode_array(output[rows, classes:], anchors[rows], self.config)
            # float64 inside: exp overflows float32 only where the score is 0 anyway.
            scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
            parts.append(Candidates(boxes, scores, self._label_of_row[labels]))
            start += count
        return Candidates.concatenate(parts)

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
