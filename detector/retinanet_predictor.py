"""The RetinaNet behind the same interface as every detector: pictures in, `Detections` out."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from detector.classes import ALL_CLASSES
from detector.errors import UsageError
from detector.jpeg_device import decode_prepared, is_plain_jpeg
from detector.models import read_bytes
from detector.onnx_session import default_threads
from detector.parallel import map_in_order
from detector.picture import Picture
from detector.postprocess import Candidates
from detector.predictor import CallSettings, ViewPredictor
from detector.preprocess import Prepared, prepare
from detector.retinanet_runner import Launched, RetinaNetRunner
from detector.weights import parse_weights

__all__ = ["RetinaNetPredictor"]

# Pictures looked at together. On a CPU a batch gains nothing, and each takes 60 MB a 512 x 512 picture.
CPU_BATCH = 4
CUDA_BATCH = 32

# Batches on the GPU while the next is prepared: one computes, so a second would only take memory.
IN_FLIGHT = 1

# No score reaches this: how a class that is not looked for is left out.
NEVER = 2.0


class RetinaNetPredictor(ViewPredictor[Prepared[Any]]):
    """Finds what its weights were trained for; safe to call from several threads at once, holds no thresholds.

    Args:
        weights: a whole weight file, as `save_weights` writes it.
        name: of the model, for reports.
        device: `cpu` or `cuda`.
        threads: torch's threads for one picture on the CPU; None leaves torch's setting. It is one setting for the
            whole process: torch has no other.
        batch_size: pictures in one run of the network; None takes what is fastest on the device.
        jpeg_on_device: decode plain JPEG files where the network runs (nvJPEG on CUDA) instead of by Pillow. Scores
            change by some hundredths; for scans in which decoding is what the GPU waits for.
        **settings: `precision`, `compile_mode` and `cuda_graphs` of `RetinaNetRunner`.

    Attributes:
        name: the model's name.
        class_names: what the labels of its detections mean: the six first, then the others it has.
        device: where it runs.
        sha256: of the weight file.
        file_classes: the same in the order of the network's outputs, as the weight file says.
        info: what the weight file says of itself.

    Raises:
        UsageError: for bad settings.
        ModelError: when the bytes are no weight file of ours, or one that is broken.
        DeviceError: when the device is not there.
    """

    def __init__(
        self,
        weights: bytes,
        *,
        name: str,
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int | None = None,
        jpeg_on_device: bool = False,
        **settings: Any,
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, or None; got {threads}")
        model, self.info = parse_weights(weights, name)
        self._jpeg_on_device = jpeg_on_device
        self._preprocessing = self.info.config.preprocessing
        self._runner = RetinaNetRunner(model, device=device, **settings)
        if threads is not None and device == "cpu":
            torch.set_num_threads(threads)
        # In the order that every report uses, whatever order it was trained in.
        self.file_classes = self.info.classes
        class_names = tuple(known for known in ALL_CLASSES if known in self.file_classes)
        self._rows = np.array([self.file_classes.index(known) for known in class_names], dtype=np.int64)
        self._label_of_row = np.argsort(self._rows)
        on_gpu = device == "cuda"
        super().__init__(
            name=name,
            class_names=class_names,
            device=device,
            sha256=self.info.sha256,
            network_side=self._preprocessing.long_side,
            batch_size=(CUDA_BATCH if on_gpu else CPU_BATCH) if batch_size is None else batch_size,
            # A GPU waits for pictures; on a CPU decoding ahead would only take cores from the network.
            decoders=(threads or default_threads()) if on_gpu else 1,
        )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, device: str = "cpu", **settings: Any) -> Self:
        """Load a weight file; the model is named after it.

        Raises:
            ModelError: when it cannot be read, besides what the constructor raises.
        """
        return cls(read_bytes(path), name=Path(path).stem, device=device, **settings)

    def _prepare(self, view: NDArray[np.uint8]) -> Prepared[Any]:
        return prepare(view, self._preprocessing)

    def _opened(self, images: Sequence[Any]) -> Iterator[tuple[Picture, list[Prepared[Any]]]]:
        if not self._jpeg_on_device:
            yield from super()._opened(images)
            return
        chunks = [images[start : start + self._batch_size] for start in range(0, len(images), self._batch_size)]
        # A second worker decodes the next batch while this one is looked at.
        for _, result in map_in_order(self._decode_batch, chunks, min(2, len(chunks))):
            if isinstance(result, Exception):
                raise result
            yield from result

    def _decode_batch(self, images: Sequence[Any]) -> list[tuple[Picture, list[Prepared[Any]]]]:
        """Return pictures with their inputs: the plain JPEGs decoded together on the device, the others by Pillow."""
        pictures = [image if isinstance(image, Picture) else Picture.open(image) for image in images]
        plain = [picture for picture in pictures if is_plain_jpeg(picture)]
        there = iter(decode_prepared(plain, self._preprocessing, self._runner.device) if plain else [])
        return [
            (
                picture,
                [next(there)]
                if is_plain_jpeg(picture)
                else [self._prepare(view) for view in picture.views(self._view_side)],
            )
            for picture in pictures
        ]

    def _look(
        self, inputs: Sequence[Prepared[Any]], sizes: Sequence[tuple[int, int]], settings: CallSettings
    ) -> list[Candidates]:
        thresholds = np.full(len(self.info.classes), NEVER, dtype=np.float64)
        thresholds[self._rows[settings.labels]] = settings.score_thresh
        results: dict[int, Candidates] = {}
        under_way: deque[tuple[list[int], Launched]] = deque()

        def fetch() -> None:
            members, launched = under_way.popleft()
            rows = self._runner.fetch(
                launched, nms_thresh=settings.nms_thresh, detections_per_img=settings.detections_per_img
            )
            for slot, index in enumerate(members):
                own = rows[rows[:, 0] == slot]
                boxes = inputs[index].plan.to_source(own[:, 1:5], sizes[index])
                labels = self._label_of_row[own[:, 6].astype(np.int64)]
                results[index] = Candidates(boxes, np.minimum(own[:, 5], np.float32(1)), labels)

        for members in self._batches(inputs):
            launched = self._runner.launch(
                [inputs[index] for index in members],
                score_thresh=thresholds.tolist(),
                topk_candidates=settings.topk_candidates,
            )
            under_way.append((members, launched))
            if len(under_way) > IN_FLIGHT:
                fetch()
        while under_way:
            fetch()
        return [results[index] for index in range(len(inputs))]

    def _batches(self, inputs: Sequence[Prepared[Any]]) -> Iterator[list[int]]:
        """Yield indices of inputs of one shape, at most `batch_size` together."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(inputs):
            by_shape.setdefault(one.plan.network_size, []).append(index)
        for members in by_shape.values():
            for start in range(0, len(members), self._batch_size):
                yield members[start : start + self._batch_size]
