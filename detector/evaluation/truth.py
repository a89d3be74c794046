"""What is in the pictures of a COCO file: read, checked, and reduced to the classes that are evaluated."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.classes import canonical_class, canonical_classes
from detector.data.coco import picture_path, read_json
from detector.errors import InputError, UsageError

__all__ = ["Truth", "read_truth"]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The annotated parts of every picture; the evaluation's one reference.

    Attributes:
        class_names: what is evaluated; label i is COCO category i + 1 in `dataset`.
        dataset: COCO: `images`, `annotations` (ids from 1, bbox xywh in pixels of the picture), `categories`.
        other_boxes: by picture id, (N, 4) xyxy of annotations that are not evaluated: they are hidden in reports too.
        digest: SHA-256 of what is evaluated, so that two results can be told to be of the same data.
    """

    class_names: tuple[str, ...]
    dataset: Mapping[str, Any]
    other_boxes: Mapping[int, NDArray[np.float64]]
    digest: str


def read_truth(path: Path, *, classes: Sequence[str] | None = None) -> Truth:
    """Read a COCO file of boxes.

    Annotation ids are dealt out anew from 1: pycocotools takes a match with id 0 for none. A missing `area` is that
    of the box; a missing `iscrowd` is 0.

    Args:
        path: a JSON file with `images`, `annotations` and `categories`; category names in any spelling.
        classes: evaluate only these; None takes every category of the file.

    Raises:
        InputError: when the file cannot be read, or says something that cannot be evaluated.
        UsageError: for a class that is unknown or that the file has no category for.
    """
    table = read_json(path)
    try:
        by_id = _categories(table["categories"])
        names = tuple(by_id.values()) if classes is None else canonical_classes(classes)
        missing = [name for name in names if name not in by_id.values()]
        if missing:
            raise UsageError(f"{path.name} must have a category for every class; it has none for {', '.join(missing)}")
        images = [_image(image) for image in table["images"]]
        known = {image["id"] for image in images}
        if len(known) != len(images) or not images:
            raise InputError(f"{path.name} must list at least one picture, each id once; it lists {len(images)}")
        notes = [_annotation(note, by_id, known) for note in table["annotations"]]
    except (UsageError, InputError):
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path.name} must be COCO: images, annotations (bbox, category_id, image_id) and categories; "
            f"something is missing or of another type ({type(error).__name__}: {error})"
        ) from error
    dataset = {
        "images": images,
        "annotations": [
            {**note, "id": number, "category_id": names.index(name) + 1}
            for number, (name, note) in enumerate(((n, a) for n, a in notes if n in names), 1)
        ],
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(names)],
    }
    others: dict[int, list[list[float]]] = {}
    for name, note in notes:
        if name not in names:
            others.setdefault(note["image_id"], []).append(note["bbox"])
    return Truth(
        class_names=names,
        dataset=dataset,
        other_boxes={key: _xyxy(boxes) for key, boxes in others.items()},
        digest=hashlib.sha256(json.dumps(dataset, sort_keys=True).encode()).hexdigest(),
    )


def _xyxy(boxes_xywh: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    boxes = np.array(boxes_xywh, dtype=np.float64).reshape(len(boxes_xywh), 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _categories(table: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Return the canonical name of each category id; two ids of one meaning are refused."""
    by_id = {int(category["id"]): canonical_class(str(category["name"])) for category in table}
    if len(by_id) != len(table) or len(set(by_id.values())) != len(table) or not table:
        raise InputError(f"categories must name each class once; got {[category['name'] for category in table]}")
    return by_id


def _image(image: Mapping[str, Any]) -> dict[str, Any]:
    picture_path(Path(), image["file_name"])
    size = {key: int(image[key]) for key in ("width", "height") if image.get(key) is not None}
    return {"id": int(image["id"]), "file_name": image["file_name"], **size}


def _annotation(note: Mapping[str, Any], by_id: Mapping[int, str], images: set[int]) -> tuple[str, dict[str, Any]]:
    where = f"annotation {note.get('id')}"
    if note["category_id"] not in by_id or note["image_id"] not in images:
        raise InputError(f"{where}: its category and its picture must be listed; it has {dict(note)}")
    box = [float(side) for side in note["bbox"]]
    if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0:
        raise InputError(f"{where}: bbox must be x, y, width, height with a positive size; got {note['bbox']}")
    area = box[2] * box[3] if note.get("area") is None else float(note["area"])
    if not 0 <= area < np.inf:  # it decides which of the figures by size the part counts in
        raise InputError(f"{where}: area must be a number from 0 up, or left out; got {note['area']}")
    return by_id[note["category_id"]], {
        "image_id": int(note["image_id"]),
        "bbox": box,
        "area": area,
        "iscrowd": int(bool(note.get("iscrowd", 0))),
    }
