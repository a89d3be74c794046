"""Parts that move along known ways, and a detector that misses some of them: for the tests of animations and video."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detector.classes import ALL_CLASSES
from detector.detections import Detections

BREAST, BUTTOCKS = "FEMALE_BREAST_EXPOSED", "BUTTOCKS_EXPOSED"


@dataclass(frozen=True)
class MovingPart:
    """A part of (width, height) whose centre swings over the picture, there from `start` to `stop` seconds."""

    centre: tuple[float, float]
    swing: tuple[float, float]
    period: float
    size: tuple[float, float]
    start: float = 0.0
    stop: float = math.inf
    label: str = BREAST

    def box(self, time: float) -> tuple[float, float, float, float] | None:
        if not self.start <= time < self.stop:
            return None
        phase = 2 * math.pi * time / self.period
        x, y = self.centre[0] + self.swing[0] * math.sin(phase), self.centre[1] + self.swing[1] * math.cos(phase)
        return x - self.size[0] / 2, y - self.size[1] / 2, x + self.size[0] / 2, y + self.size[1] / 2


def detections(
    records: Sequence[tuple[str, float, Sequence[float]]], image_size: tuple[int, int] = (240, 320)
) -> Detections:
    return Detections.from_records(
        [{"label": label, "score": score, "box": box} for label, score, box in records],
        image_size,
        class_names=ALL_CLASSES,
    )


def looks(
    parts: Sequence[MovingPart],
    times: Sequence[float],
    *,
    misses: float = 0.2,
    shake: float = 0.02,
    seed: int = 0,
    image_size: tuple[int, int] = (240, 320),
) -> Iterator[Detections]:
    """Yield what a detector says of each frame that misses a part with this chance and shakes its boxes' sides."""
    rng = np.random.default_rng(seed)
    for time in times:
        records = []
        for part in parts:
            box = part.box(time)
            if box is None or rng.random() < misses:
                continue
            side = np.array([*part.size, *part.size])
            shaken = np.array(box) + rng.normal(0, shake, 4) * side
            records.append((part.label, 0.6, shaken.tolist()))
        yield detections(records, image_size)


def cover_mask(boxes: Sequence[Sequence[float]], image_size: tuple[int, int], grow: float = 0.2) -> np.ndarray:
    """Return (H, W) booleans: the whole pixels inside boxes that are grown as the default policy grows them."""
    mask = np.zeros(image_size, dtype=bool)
    for x1, y1, x2, y2 in boxes:
        wide, high = (x2 - x1) * grow / 2, (y2 - y1) * grow / 2
        left, top = max(0, math.floor(x1 - wide)), max(0, math.floor(y1 - high))
        mask[top : max(0, math.ceil(y2 + high)), left : max(0, math.ceil(x2 + wide))] = True
    return mask


def exposed_mask(parts: Sequence[MovingPart], time: float, image_size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) booleans: the pixels that show a part."""
    boxes = [box for part in parts if (box := part.box(time)) is not None]
    mask = np.zeros(image_size, dtype=bool)
    for x1, y1, x2, y2 in boxes:
        rows = slice(max(0, round(y1)), max(0, round(y2)))
        mask[rows, max(0, round(x1)) : max(0, round(x2))] = True
    return mask
