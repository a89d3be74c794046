"""An exported RetinaNet on ONNX Runtime: NumPy and OpenCV around it, no torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from detector.classes import ALL_CLASSES
from detector.errors import ModelError
from detector.exchange.onnx_format import INPUT, OUTPUT, OnnxHeader
from detector.exchange.onnx_maths import anchors_array, decode_array
from detector.models import read_bytes
from detector.onnx_session import OnnxSession, TensorSpec
from detector.postprocess import Candidates
from detector.predictor import CallSettings, ViewPredictor
from detector.preprocess import Prepared, network_input, prepare

__all__ = ["OnnxRetinaNet"]

Floats = NDArray[np.float32]

# A float32 score of 1 is reached at this logit, as in detector/retinanet_postprocess.py.
LOGIT_OF_ONE = 17.33


class OnnxRetinaNet(ViewPredictor[Prepared[NDArray[np.uint8]]]):
    """A RetinaNet that `detector export` wrote; safe to call from several threads at once, holds no thresholds.

    Args:
        weights: the whole file.
        name: of the model, for reports.
        device: `cpu` or `cuda`.
        threads: threads for one picture; None takes what is fastest for one picture at a time.

    Attributes:
        name: as given.
        class_names: what the labels of its detections mean: the six first, then the others it has.
        file_classes: the same in the order of the network's outputs, as the file says.
        device: where it runs.
        sha256: of the file.
        config: of the model.

    Raises:
        ModelError: when the file was not written by `detector export`, or is not what its metadata says.
        DeviceError: when the device is not there.
    """

    def __init__(self, weights: bytes, *, name: str, device: str = "cpu", threads: int | None = None) -> None:
        header = OnnxHeader.read(weights, name)
        self.config, self._step = header.config, header.step
        self.file_classes = header.class_names
        class_names = tuple(known for known in ALL_CLASSES if known in self.file_classes)
        # Which of the network's classes each label is, and the way back.
        self._rows = np.array([self.file_classes.index(known) for known in class_names], dtype=np.int64)
        self._label_of_row = np.argsort(self._rows)
        self._session = OnnxSession(
            weights,
            name=name,
            input_spec=TensorSpec(INPUT, (None, 3, None, None)),
            output_spec=TensorSpec(OUTPUT, (None, None, len(class_names) + 4)),
            device=device,
            threads=threads,
        )
        super().__init__(
            name=name,
            class_names=class_names,
            device=device,
            sha256=hashlib.sha256(weights).hexdigest(),
            network_side=self.config.preprocessing.long_side,
            batch_size=self._session.batch_size,
        )

    @classmethod
    def from_file(cls, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> Self:
        """Load a file; its name without the suffix becomes the model's.

        Raises:
            ModelError: when it cannot be read or is no such file.
            DeviceError: when the device is not there.
        """
        return cls(read_bytes(path), name=Path(path).stem, device=device, threads=threads)

    def _prepare(self, view: NDArray[np.uint8]) -> Prepared[NDArray[np.uint8]]:
        return prepare(view, self.config.preprocessing, self._step)

    def _look(
        self, inputs: Sequence[Prepared[NDArray[np.uint8]]], sizes: Sequence[tuple[int, int]], settings: CallSettings
    ) -> list[Candidates]:
        thresholds = self._logit_thresholds(settings)
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(inputs):
            by_shape.setdefault(one.plan.network_size, []).append(index)
        results: dict[int, Candidates] = {}
        for shape, members in by_shape.items():
            for start in range(0, len(members), self._batch_size):
                batch = members[start : start + self._batch_size]
                images = np.stack([network_input(inputs[index], self.config.preprocessing) for index in batch])
                for index, output in zip(batch, self._session.run(images), strict=True):
                    found = self._read(output, shape, thresholds, settings.topk_candidates)
                    boxes = inputs[index].plan.to_source(found.boxes, sizes[index])
                    results[index] = Candidates(boxes, found.scores, found.labels)
        return [results[index] for index in range(len(inputs))]

    def _logit_thresholds(self, settings: CallSettings) -> Floats:
        """Return (K,): the logit that each of the network's classes must reach; infinite where it is not wanted."""
        limits = np.full(len(self._rows), np.inf)
        with np.errstate(divide="ignore"):
            scores = settings.score_thresh.astype(np.float64)
            limits[self._rows[settings.labels]] = np.minimum(np.log(scores) - np.log1p(-scores), LOGIT_OF_ONE)
        return limits.astype(np.float32)

    def _read(self, output: Floats, shape: tuple[int, int], thresholds: Floats, topk_candidates: int) -> Candidates:
        """Return the best anchors of each level, decoded: boxes in pixels of the network's input."""
        anchors, levels = anchors_array(self.config, shape)
        classes = len(self.class_names)
        if output.shape != (len(anchors), classes + 4):
            raise ModelError(f"{self.name} must give {(len(anchors), classes + 4)} for {shape}; it gave {output.shape}")
        parts, start = [], 0
        for count in levels:
            rows, labels = np.nonzero(output[start : start + count, :classes] >= thresholds)
            rows += start
            logits = output[rows, labels]
            if len(logits) > topk_candidates:
                top = np.argpartition(-logits, topk_candidates - 1)[:topk_candidates]
                rows, labels, logits = rows[top], labels[top], logits[top]
            boxes = decode_array(output[rows, classes:], anchors[rows], self.config)
            # float64 inside: exp overflows float32 only where the score is 0 anyway.
            scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
            parts.append(Candidates(boxes, scores, self._label_of_row[labels]))
            start += count
        return Candidates.concatenate(parts)
