"""NudeNet v3 (`320n.onnx`, a YOLOv8n) on ONNX Runtime: the weight file only, none of the package's code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.classes import ALL_CLASSES
from detector.errors import ModelError
from detector.letterbox import Letterbox, fit
from detector.models import ModelEntry
from detector.onnx_session import OnnxSession, TensorSpec
from detector.postprocess import Candidates, decode_yolo
from detector.predictor import CallSettings, ViewPredictor

__all__ = ["NudeNet"]

# The side that the network was trained at, and its coarsest step. Larger inputs find little more: AP .227 at 320,
# .237 at 352 and .234 at 384 px (192 flipped, moved and scaled mannequins), for a fifth and two fifths more time.
LONG_SIDE = 320
STRIDE = 32
SCALE = np.float32(1 / 255)


class Fitted(NamedTuple):
    """A view at the network's scale.

    Attributes:
        pixels: (H, W, 3) float32 in [0, 255], of the plan's `network_size`.
        plan: where the view lies in it, and the way back.
    """

    pixels: NDArray[np.float32]
    plan: Letterbox


class NudeNet(ViewPredictor[Fitted]):
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

    _refuses_no_classes = False

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
        super().__init__(
            name=entry.name,
            class_names=ALL_CLASSES,
            device=device,
            sha256=entry.sha256,
            network_side=LONG_SIDE,
            batch_size=self._session.batch_size if batch_size is None else batch_size,
        )

    def _prepare(self, view: NDArray[np.uint8]) -> Fitted:
        plan = fit((view.shape[0], view.shape[1]), long_side=LONG_SIDE, stride=STRIDE)
        return Fitted(plan.apply(view), plan)

    def _look(
        self, inputs: Sequence[Fitted], sizes: Sequence[tuple[int, int]], settings: CallSettings
    ) -> list[Candidates]:
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(inputs):
            by_shape.setdefault(one.plan.network_size, []).append(index)
        results: dict[int, Candidates] = {}
        for shape, members in by_shape.items():
            for start in range(0, len(members), self._batch_size):
                batch = members[start : start + self._batch_size]
                images = np.empty((len(batch), 3, *shape), dtype=np.float32)
                for slot, index in enumerate(batch):
                    np.multiply(inputs[index].pixels.transpose(2, 0, 1), SCALE, out=images[slot])
                for index, output in zip(batch, self._session.run(images), strict=True):
                    found = decode_yolo(
                        output,
                        rows=self._rows[settings.labels],
                        labels=settings.labels,
                        score_thresh=settings.score_thresh,
                        topk_candidates=settings.topk_candidates,
                    )
                    boxes = inputs[index].plan.to_source(found.boxes, sizes[index])
                    results[index] = Candidates(boxes, found.scores, found.labels)
        return [results[index] for index in range(len(inputs))]
