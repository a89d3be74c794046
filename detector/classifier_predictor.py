"""A trained classifier behind the interface of every scorer: pictures in, probabilities or one score out."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from detector.classifier import Classifier, normalise
from detector.classifier_pixels import squares
from detector.classifier_weights import parse_classifier
from detector.errors import ModelError
from detector.models import read_bytes
from detector.onnx_session import default_threads
from detector.parallel import map_in_order
from detector.picture import Picture
from detector.torch_device import check_threads, choose_device

__all__ = ["ClassifierPredictor"]

# Inputs in one run of the network.
CPU_BATCH = 8
CUDA_BATCH = 64


class ClassifierPredictor:
    """Judges whole pictures with a network of `detector train-classifier`; holds no thresholds.

    Safe to call from several threads at once.

    Args:
        model: in evaluation mode; taken over: moved and cast in place.
        name: what to call it in reports.
        sha256: of its weight file; None where there is none.
        device: `cpu` or `cuda`.
        threads: torch's threads for one picture on the CPU, a setting of the whole process; on CUDA, threads that
            prepare pictures. None leaves torch's setting, and prepares on a few cores.
        precision: `float32` or `bfloat16`; None takes bfloat16 on CUDA, float32 on the CPU.

    Attributes:
        name: of the model.
        sha256: of its weight file.
        device: where it runs.
        config: of the network.
        class_names: what the probabilities are of, in order.
        model: the network, on its device, for those who explain it.

    Raises:
        UsageError: for an unknown device or precision, or a bad number of threads.
        DeviceError: when CUDA is asked for and torch cannot use it.
    """

    def __init__(
        self,
        model: Classifier,
        *,
        name: str = "classifier",
        sha256: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        check_threads(threads)
        self._torch_device, self._dtype = choose_device(device, precision)
        on_gpu = device == "cuda"
        self.name, self.device, self.config = name, device, model.config
        self.sha256: str | None = sha256
        self.class_names = model.config.classes
        self._batch = CUDA_BATCH if on_gpu else CPU_BATCH
        # A GPU waits for pictures; on a CPU preparing ahead would only take cores from the network.
        self._workers = (threads or default_threads()) if on_gpu else 1
        self._nsfw = list(model.config.nsfw_indices)
        if threads is not None and not on_gpu:
            torch.set_num_threads(threads)
        self.model: Classifier = (
            model.eval()
            .requires_grad_(False)
            .to(device=self._torch_device, dtype=self._dtype, memory_format=torch.channels_last)
        )

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "cpu",
        threads: int | None = None,
        precision: str | None = None,
    ) -> Self:
        """Load a weight file; its stem is the name.

        Raises:
            ModelError: when it cannot be read or is not a classifier's weight file.
            UsageError, DeviceError: as for the class.
        """
        model, info = parse_classifier(read_bytes(path), os.fspath(path))
        return cls(model, name=Path(path).stem, sha256=info.sha256, device=device, threads=threads, precision=precision)

    def probabilities(self, images: Any) -> Any:
        """Return how likely a picture is of each class.

        A picture with alpha is looked at over white, over black and without its alpha; what is returned is of the look
        that is likeliest not safe for work.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.

        Returns:
            (K,) float32 in the order of `class_names`, adding up to 1; a list of these, in order, for a list.

        Raises:
            InputError: when a picture cannot be read; with a list, the whole call fails.
            ModelError: when the network gives no probability.
        """
        if not isinstance(images, list | tuple):
            return next(self._of_each([images]))
        return list(self._of_each(images))

    def score(self, images: Any) -> Any:
        """Return how likely a picture is not safe for work, in [0, 1]: the sum over `config.nsfw_classes`.

        Args:
            images: as for `probabilities`.

        Returns:
            A float; a list of floats, in order, for a list.

        Raises:
            InputError, ModelError: as for `probabilities`.
        """
        found = self.probabilities(images)
        return [self._sum(row) for row in found] if isinstance(found, list) else self._sum(found)

    def _sum(self, row: NDArray[np.float32]) -> float:
        # Rounding may leave the sum of float32 probabilities a hair above 1.
        return min(1.0, float(row[self._nsfw].sum(dtype=np.float64)))

    def _of_each(self, images: Sequence[Any]) -> Iterator[NDArray[np.float32]]:
        def prepare(image: Any) -> list[NDArray[np.uint8]]:
            return squares(image if isinstance(image, Picture) else Picture.open(image), self.config)

        for start in range(0, len(images), self._batch):
            counts: list[int] = []
            inputs: list[NDArray[np.uint8]] = []
            for _, prepared in map_in_order(prepare, images[start : start + self._batch], self._workers):
                if isinstance(prepared, Exception):
                    raise prepared
                counts.append(len(prepared))
                inputs += prepared
            rows = np.concatenate(
                [self._run(inputs[first : first + self._batch]) for first in range(0, len(inputs), self._batch)]
            )
            first = 0
            for count in counts:
                yield max(rows[first : first + count], key=self._sum)
                first += count

    @torch.inference_mode()
    def _run(self, inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Run the network: (B, S, S, 3) uint8 to (B, K) probabilities."""
        # (B, S, S, 3) in memory is channels_last: a view in torch's order of axes, without a copy.
        pixels = torch.from_numpy(np.stack(inputs)).permute(0, 3, 1, 2).to(self._torch_device)
        images = normalise(pixels, self.config.preprocessing).to(self._dtype)
        logits = self.model(images.contiguous(memory_format=torch.channels_last))
        # The softmax in float32: a score near 1 has too few steps in bfloat16.
        probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise ModelError(f"{self.name}: the network's outputs must be finite; they are not; its weights are broken")
        return probabilities
