"""Animations of drawn shapes, a detector that knows the one to hide by its colour, and other people's decoders."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from detector.classes import ALL_CLASSES
from detector.detections import Detections
from detector.opinion import Opinion

# What is to be hidden, and nothing else comes near this colour.
SECRET = (250, 10, 120)
TIMES = (100, 50, 30, 200, 100, 0, 100, 70)
SIZE = (48, 32)


class Finder:
    """Finds whatever has the secret's colour, but misses the looks that it is told to miss."""

    name, device, sha256, class_names = "finder", "cpu", "0" * 64, ALL_CLASSES

    def __init__(self, misses: Sequence[int] = (), label: str = "BUTTOCKS_EXPOSED") -> None:
        self.misses = set(misses)
        self.label = label
        self.looks = 0

    def detect(self, images: Any, *, classes: Sequence[str], score_thresh: Any, tiles: bool) -> Detections:
        self.looks += 1
        records = []
        where = exposed(images.views(1)[0])
        if where.sum() > 3 and self.looks - 1 not in self.misses:
            rows, columns = np.nonzero(where)
            box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
            records = [{"label": self.label, "score": 0.9, "box": box}]
        return Detections.from_records(records, images.image_size, class_names=ALL_CLASSES)


class Opinions:
    """Says the scores that it is given, one after the other."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.looks = 0

    def look(self, images: Any) -> Opinion:
        self.looks += 1
        return Opinion(score=self.scores[min(self.looks, len(self.scores)) - 1])


def pipeline(finder: Finder | None = None, opinion: Opinions | None = None, **changes: Any) -> Pipeline:
    verify = changes.pop("verify", True)
    rules = load_censor_policy("default", **{"style": "box", "second_opinion": opinion is not None, **changes})
    return Pipeline(model=finder or Finder(), opinion=opinion, policy=rules, verify=verify)


def exposed(pixels: NDArray[np.uint8], within: int = 60) -> NDArray[np.bool_]:
    """Return (h, w), where the secret's colour shows."""
    return np.abs(pixels[..., :3].astype(int) - np.array(SECRET)).max(axis=2) < within


def drawn(count: int = len(TIMES), *, alpha: bool = False, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    """Return a disc that moves to the right over a square, on a ground or on nothing."""
    frames = []
    for i in range(count):
        image = Image.new("RGBA", size, (0, 0, 0, 0) if alpha else (40, 90, 140, 255))
        draw = ImageDraw.Draw(image)
        draw.rectangle((2, 2, 28, 28), fill=(90 + i, 160, 60, 255))
        draw.ellipse((4 + 4 * i, 10, 14 + 4 * i, 20), fill=(*SECRET, 255))
        frames.append(image if alpha else image.convert("RGB"))
    return frames


def animated(kind: str, frames: Sequence[Image.Image] | None = None, **options: Any) -> bytes:
    """Return an animation that Pillow wrote."""
    frames = frames or drawn()
    usual: dict[str, Any] = {"duration": list(TIMES[: len(frames)]), "loop": 3}
    usual |= {"GIF": {"disposal": 2 if frames[0].mode == "RGBA" else 1}, "WEBP": {"lossless": True}}.get(kind, {})
    if kind == "AVIF":
        usual["duration"] = [max(time, 1) for time in usual["duration"]]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **{**usual, **options})
    return buffer.getvalue()


def by_pillow(data: bytes) -> list[NDArray[np.uint8]]:
    """Return (h, w, 4) arrays as Pillow composites the frames."""
    frames = []
    with Image.open(io.BytesIO(data)) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.array(image.convert("RGBA")))
    return frames


def by_opencv(data: bytes) -> list[NDArray[np.uint8]]:
    """Return (h, w, 3) RGB arrays as OpenCV composites the frames."""
    import cv2

    done, animation = cv2.imdecodeanimation(np.frombuffer(data, np.uint8))
    assert done
    return [frame[..., 2::-1] for frame in animation.frames]


def by_ffmpeg(data: bytes) -> list[NDArray[np.uint8]]:
    """Return (h, w, 4) arrays as FFmpeg composites the frames."""
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(data)) as container:
        return [np.array(frame.to_ndarray(format="rgba")) for frame in container.decode(video=0)]
