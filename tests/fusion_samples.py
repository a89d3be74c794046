"""Labelled evidence drawn from a seeded generator, for the tests of fitting a fusion."""

from pathlib import Path

import numpy as np

from detector.classes import NSFW_CLASSES
from detector.evidence import Evidence, Record, part_features
from detector.fusing.samples import Sample, Samples, features_csv
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
