"""Random annotations and detections, and detectors that say what a test wants, for the tests of the evaluation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detector.classes import CLASSES
from detector.detections import Detections
from detector.evaluation.cases import Case, cases_of
from detector.evaluation.truth import Truth, read_truth

SIZE = 300

# A part or a detection: class index, then x1, y1, x2, y2.
Part = tuple[int, float, float, float, float]


def write_truth(
    folder: Path, parts: Mapping[int, Sequence[Part]], *, crowds: Mapping[int, Sequence[Part]] | None = None
) -> Path:
    """Write a COCO file; the keys are picture ids, and every picture has `SIZE` x `SIZE` pixels."""
    notes = [
        {"image_id": image, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(crowd)}
        for crowd, table in ((False, parts), (True, crowds or {}))
        for image, boxes in table.items()
        for label, x1, y1, x2, y2 in boxes
    ]
    table = {
        "images": [{"id": image, "file_name": f"{image}.png", "width": SIZE, "height": SIZE} for image in parts],
        "annotations": notes,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(table))
    return path


def detections(boxes: Sequence[Part], scores: Sequence[float]) -> Detections:
    return Detections(
        boxes=np.array([box[1:] for box in boxes], dtype=np.float32).reshape(-1, 4),
        scores=np.array(scores, dtype=np.float32),
        labels=np.array([box[0] for box in boxes], dtype=np.int64),
        image_size=(SIZE, SIZE),
    )


def random_case(folder: Path, seed: int, pictures: int = 12, classes: int = 4) -> tuple[Truth, list[Case]]:
    """Parts of every size, some of them crowds; detections near them, of wrong classes, doubled, and at random."""
    rng = np.random.default_rng(seed)
    parts: dict[int, list[Part]] = {}
    crowds: dict[int, list[Part]] = {}
    found: dict[int, Detections] = {}
    for image in range(10, 10 + pictures):
        boxes: list[Part] = []
        for _ in range(int(rng.integers(0, 6))):
            x, y = rng.uniform(0, 180, 2)
            width, height = rng.choice([12, 50, 110]) * rng.uniform(0.7, 1.1, 2)
            boxes.append((int(rng.integers(0, classes)), x, y, x + width, y + height))
        crowd = rng.random(len(boxes)) < 0.15
        parts[image] = [box for box, is_crowd in zip(boxes, crowd, strict=True) if not is_crowd]
        crowds[image] = [box for box, is_crowd in zip(boxes, crowd, strict=True) if is_crowd]
        seen: list[Part] = []
        for label, x1, y1, x2, y2 in boxes:
            for _ in range(int(rng.integers(0, 4))):
                dx, dy = rng.normal(0, 0.15, 2) * (x2 - x1, y2 - y1)
                name = label if rng.random() < 0.8 else int(rng.integers(0, classes))
                seen.append((name, x1 + dx, y1 + dy, x2 + dx, y2 + dy))
        for _ in range(int(rng.integers(0, 3))):
            x, y = rng.uniform(0, 200, 2)
            seen.append((int(rng.integers(0, classes)), x, y, x + 40, y + 50))
        # Rounded, so that ties in score occur.
        found[image] = detections(seen, np.round(rng.uniform(0.01, 1, len(seen)), 2).tolist())
    truth = read_truth(write_truth(folder, parts, crowds=crowds))
    return truth, cases_of(truth, found)


class Says:
    """A detector that knows the answer for each picture's file name."""

    device, sha256, class_names = "cpu", "0" * 64, CLASSES

    def __init__(self, name: str, answers: Mapping[str, Detections]) -> None:
        self.name, self.answers = name, answers

    def detect(self, images: Sequence[Any], **_: Any) -> list[Detections]:
        return [self.answers[Path(image.name).name] for image in images]
