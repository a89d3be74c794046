"""Labelled evidence drawn from a seeded generator, and models whose answers a picture's colour says."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detector.classes import CLASSES, NSFW_CLASSES
from detector.detections import Detections
from detector.evidence import Evidence, Record, part_features
from detector.fusing.samples import Sample, Samples, features_csv
from detector.opinion import Opinion
from detector.policy import load_policy


def evidence(draws: np.random.Generator, nsfw: bool, *, asked: bool = True, records: bool = True) -> Evidence:
    """Return what a picture of this label may look like: parts, opinion and record each say something, none all."""
    parts = dict.fromkeys(part_features(NSFW_CLASSES), 0.0)
    for name in NSFW_CLASSES[:3]:
        if draws.random() < (0.45 if nsfw else 0.06):
            parts[f"{name}.score"] = round(float(draws.uniform(0.25, 0.95 if nsfw else 0.6)), 4)
            parts[f"{name}.count"] = float(draws.integers(1, 3))
    parts["exposed.score"] = max(parts[f"{name}.score"] for name in NSFW_CLASSES)
    parts["exposed.count"] = min(sum(parts[f"{name}.count"] for name in NSFW_CLASSES), 5.0)
    parts["exposed.area"] = round(0.05 * parts["exposed.count"], 4)
    parts["BELLY_EXPOSED.score"] = round(float(draws.uniform(0.25, 1)), 4) if draws.random() < 0.3 else 0.0
    opinion = round(float(draws.beta(4, 2) if nsfw else draws.beta(2, 5)), 4) if asked else None
    record = None
    if records and draws.random() < 0.7:
        posted = sorted(int(count) for count in draws.integers(0, 60, 4))
        fresh = np.diff([0, *posted])
        flagged = np.cumsum([draws.binomial(count, 0.2 if nsfw else 0.05) for count in fresh])
        a, b, c, d = posted
        e, f, g, h = (int(count) for count in flagged)
        record = Record(posted=(a, b, c, d), flagged=(e, f, g, h))
    return Evidence(parts=parts, second_opinion=opinion, uploader=record)


def samples(count: int = 120, *, seed: int = 0, unasked: float = 0.0, records: bool = True) -> Samples:
    """Return half nsfw and half safe pictures, a share of them without a second opinion."""
    draws = np.random.default_rng(seed)
    items = []
    for line in range(count):
        asked = draws.random() >= unasked
        seen = evidence(draws, line % 2 == 0, asked=asked, records=records)
        items.append(Sample(line=line + 2, nsfw=line % 2 == 0, file="", evidence=seen))
    return Samples(source="drawn.csv", sha256="0" * 64, items=tuple(items), detector="nudenet-320n")


def written(path: Path, found: Samples) -> Path:
    """Write the features, as `--write-features` does."""
    path.write_text(features_csv(found, load_policy()), encoding="utf-8")
    return path


class FakeDetector:
    """Finds in every picture as many breasts as its red value says; safe for threads."""

    name, device, sha256, class_names = "nudenet-320n", "cpu", "0" * 64, CLASSES

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def detect(self, images: Any, **wanted: Any) -> Any:
        """Return the detections of one picture, or a list of them."""
        if isinstance(images, list):
            return [self.detect(image, **wanted) for image in images]
        self.asked.append(wanted)
        count = np.asarray(images.load())[0, 0, 0]
        found = Detections(
            boxes=[[10, 10, 30, 30]] * count,
            scores=[0.7] * count,
            labels=[CLASSES.index("FEMALE_BREAST_EXPOSED")] * count,
            image_size=images.image_size,
            model=self.name,
        )
        return found.above({name: wanted["score_thresh"][name] for name in wanted["classes"]})


class FakeOpinion:
    """Says of every picture its green value, in hundredths."""

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def look(self, images: Any) -> Any:
        """Return the opinion of one picture, or a list of them."""
        if isinstance(images, list):
            return [self.look(image) for image in images]
        return Opinion(score=float(np.asarray(images.load())[0, 0, 1]) / 100)


def picture(path: Path, parts: int, opinion: int) -> Path:
    """Write a picture of which the fakes say this."""
    Image.new("RGB", (64, 48), (parts, opinion, 0)).save(path)
    return path
