"""`detector data autolabel`: a detector draws boxes on a person's own pictures, for that person to correct."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.classes import CLASSES
from detector.data.coco import Coco
from detector.data.pictures import list_pictures
from detector.detections import Detections
from detector.errors import RetinaCensorError
from detector.limits import Limits
from detector.models import Predictor
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["Labels", "autolabel"]

# Decimals of pixels and scores that are written: less than a person or a detector can tell apart.
_PIXEL_DECIMALS, _SCORE_DECIMALS = 2, 4


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What `autolabel` made.

    Attributes:
        coco: the pictures that could be looked at, each annotation with its `score`.
        failed: (file name, error) of those that could not; they are not in `coco`, because a picture without boxes
            there means that somebody looked and found nothing.
    """

    coco: Coco
    failed: tuple[tuple[str, RetinaCensorError], ...] = ()


def autolabel(
    folder: Path,
    model: Predictor,
    *,
    score_thresh: Mapping[str, float],
    tiles: bool = False,
    limits: Limits | None = None,
    workers: int = 1,
    begin: Callable[[int], Callable[[], None]] = lambda total: lambda: None,
) -> Labels:
    """Look at every picture of a folder and the folders in it.

    Args:
        folder: of the pictures; file names are relative to it.
        model: any loaded detector that knows the six classes.
        score_thresh: lowest score of each of the six.
        tiles: look in overlapping tiles too.
        limits: bounds on untrusted pictures.
        workers: pictures looked at in parallel.
        begin: called with the number of pictures; what it returns is called after each.

    Raises:
        InputError: when the folder holds no pictures.
    """
    paths = list_pictures(folder)
    advance = begin(len(paths))

    def look(path: Path) -> Detections:
        picture = Picture.open(path, limits=limits)
        found: Detections = model.detect(picture, classes=CLASSES, score_thresh=score_thresh, tiles=tiles)
        return found

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    failed: list[tuple[str, RetinaCensorError]] = []
    for path, found in map_in_order(look, paths, workers):
        advance()
        name = path.relative_to(folder).as_posix()
        if isinstance(found, RetinaCensorError):
            failed.append((name, found))
            continue
        if isinstance(found, Exception):
            raise found
        height, width = found.image_size
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        annotations += _annotations(found, len(images), len(annotations) + 1)
    info = {
        "description": "drawn by a detector; to be corrected by a person",
        "model": {"name": model.name, "sha256": model.sha256},
        "score_thresh": {name: score_thresh[name] for name in CLASSES},
        "tiles": tiles,
    }
    return Labels(coco=Coco(images=images, annotations=annotations, info=info), failed=tuple(failed))


def _annotations(found: Detections, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Return one record a detection; a box without an area, at a picture's edge, is no annotation."""
    records: list[dict[str, Any]] = []
    for name, score, (x1, y1, x2, y2) in zip(found.names, found.scores, found.boxes.tolist(), strict=True):
        x, y, w, h = (round(value, _PIXEL_DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1))
        if w <= 0 or h <= 0:
            continue
        records.append(
            {
                "id": first_id + len(records),
                "image_id": image_id,
                "category_id": CLASSES.index(name) + 1,
                "bbox": [x, y, w, h],
                "area": round(w * h, _PIXEL_DECIMALS),
                "iscrowd": 0,
                "score": round(float(score), _SCORE_DECIMALS),
            }
        )
    return records
