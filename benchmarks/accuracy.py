"""Accuracy beside nudenet 3.4.2 on the same pictures, in one run: AP, AP50, and what each says about whole pictures.

    python benchmarks/accuracy.py                                 # the rendered mannequins
    python benchmarks/accuracy.py --data FOLDER --json out.json   # any folder of pictures with annotations.json (COCO)

Needs `pip install -e '.[dev,nudenet]'`. The peer runs as it is: its colour order, integer boxes and thresholds (0.2,
then 0.25 in its suppression). Rows of ours: at its threshold, the fairest comparison; at 0.2, our default; and at
0.01, which AP is defined for and which the peer cannot be asked for. Two more rows take the peer's code apart.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nudenet
import numpy as np
from PIL import Image

import detector
from detector.classes import CLASSES, NSFW_CLASSES
from detector.evaluation.coco_metrics import AP_THRESH, evaluate_boxes

ROOT = Path(__file__).resolve().parent.parent
# The lowest score that nudenet 3.4.2 lets through its suppression.
PEER_THRESH = 0.25

Record = dict[str, Any]
Detect = Callable[[Path], list[Record]]


def peer_records(found: list[dict[str, Any]]) -> list[Record]:
    """Turn the peer's answer into COCO records; its boxes are x, y, width, height; other classes are left out."""
    return [
        {
            "category_id": CLASSES.index(item["class"]) + 1,
            "bbox": [float(x) for x in item["box"]],
            "score": item["score"],
        }
        for item in found
        if item["class"] in CLASSES
    ]


def our_records(found: detector.Detections) -> list[Record]:
    """Turn our answer into COCO records."""
    return [
        {
            "category_id": CLASSES.index(name) + 1,
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "score": float(score),
        }
        for name, score, (x1, y1, x2, y2) in zip(found.names, found.scores, found.boxes, strict=True)
    ]


def contenders() -> dict[str, Detect]:
    """Return a name and a function from a picture's path to COCO records for every row of the table."""
    model, peer = detector.load(), nudenet.NudeDetector()

    def ours(score_thresh: float) -> Detect:
        return lambda path: our_records(model.detect(path, score_thresh=score_thresh))

    def peer_in_rgb(path: Path) -> list[Record]:
        # The peer swaps red and blue twice; swapped once more beforehand, its network sees RGB.
        return peer_records(peer.detect(np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])))

    def ours_in_bgr(path: Path) -> list[Record]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        return our_records(model.detect(np.ascontiguousarray(pixels[:, :, ::-1]), score_thresh=PEER_THRESH))

    return {
        "nudenet 3.4.2": lambda path: peer_records(peer.detect(str(path))),
        f"ours, scores from {PEER_THRESH}": ours(PEER_THRESH),
        "ours, scores from 0.2 (default)": ours(0.2),
        f"ours, scores from {AP_THRESH}": ours(AP_THRESH),
        "nudenet 3.4.2, colours corrected": peer_in_rgb,
        f"ours, colours swapped as the peer's, from {PEER_THRESH}": ours_in_bgr,
    }


def coco_ap(truth: dict[str, Any], records: list[Record]) -> tuple[float, float]:
    """Return AP and AP50 as pycocotools gives them over the categories of `truth`."""
    figures = evaluate_boxes(truth, records).figures
    return figures["AP"] or 0.0, figures["AP50"] or 0.0


def as_classifier(truth: dict[str, Any], records: list[Record]) -> tuple[str, str]:
    """Return how many nude pictures were found and how many safe ones flagged, by "an exposed class is at 0.2".

    A picture whose only exposed parts are marked as crowd (too small or too oblique to be held against anyone) is
    neither.
    """
    exposed = {CLASSES.index(name) + 1 for name in NSFW_CLASSES}
    said = {record["image_id"] for record in records if record["category_id"] in exposed and record["score"] >= 0.2}
    parts = [note for note in truth["annotations"] if note["category_id"] in exposed]
    nude = {note["image_id"] for note in parts if not note.get("iscrowd")}
    safe = {image["id"] for image in truth["images"]} - {note["image_id"] for note in parts}
    return f"{len(said & nude)} of {len(nude)}", f"{len(said & safe)} of {len(safe)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=ROOT / "tests/data/mannequins", help="folder with annotations.json"
    )
    parser.add_argument("--json", type=Path, help="write the table here too")
    options = parser.parse_args()
    truth = json.loads((options.data / "annotations.json").read_text(encoding="utf-8"))

    rows = []
    for name, detect in contenders().items():
        records = [
            {"image_id": image["id"], **record}
            for image in truth["images"]
            for record in detect(options.data / image["file_name"])
        ]
        ap, ap50 = coco_ap(truth, records)
        found, flagged = as_classifier(truth, records)
        rows.append({"detector": name, "AP": ap, "AP50": ap50, "nude_found": found, "safe_flagged": flagged})

    counted = sum(not note.get("iscrowd") for note in truth["annotations"])
    print(f"{len(truth['images'])} pictures, {counted} parts, {len(CLASSES)} classes\n")
    print("| detector | AP | AP50 | nude pictures found | safe pictures flagged |\n|---|---|---|---|---|")
    for row in rows:
        print("| {detector} | {AP:.3f} | {AP50:.3f} | {nude_found} | {safe_flagged} |".format(**row))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
