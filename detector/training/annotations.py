"""COCO annotations as training needs them: classes by name, crowds and unsure parts marked as to be ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.classes import canonical_class
from detector.data.coco import picture_path, read_coco
from detector.errors import InputError, UsageError

__all__ = ["Annotations", "read_annotations", "unseen_classes"]


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What is in the pictures of one file.

    Attributes:
        dataset: COCO `images`, `annotations` and `categories`; label i is category i + 1, ids count from 1. `iscrowd`
            is 1 also where the file says `ignore`.
        by_image: the annotations of each image id; empty where there are none.
    """

    dataset: Mapping[str, Any]
    by_image: Mapping[int, Sequence[Mapping[str, Any]]]


def read_annotations(path: Path, classes: Sequence[str]) -> Annotations:
    """Read a COCO file and keep the boxes of `classes`; pictures without any stay, as negatives.

    Args:
        path: a JSON file; category names in any known spelling.
        classes: canonical names; the file must have a category for each.

    Raises:
        InputError: when it cannot be read, lists no picture, or holds a box that cannot be learned from.
        UsageError: for a category of unknown name, or a class without a category: it would be learned as background.
    """
    coco = read_coco(path)
    try:
        names = {int(category["id"]): canonical_class(str(category["name"])) for category in coco.categories}
        missing = [name for name in classes if name not in names.values()]
        if missing:
            raise UsageError(f"{path} must have a category for every class; it has none for {', '.join(missing)}")
        images = {int(image["id"]): dict(image) for image in coco.images}
        if not images or len(images) != len(coco.images):
            raise InputError(f"{path} must list at least one picture, each id once; it lists {len(coco.images)}")
        for image in images.values():
            picture_path(Path(), image["file_name"])
            if min(int(image["width"]), int(image["height"])) < 1:
                raise InputError(f"{path}: a picture must have a width and a height; got {image}")
        notes = [_note(note, names, images, path) for note in coco.annotations]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, UsageError | InputError):
            raise
        raise InputError(
            f"{path}: images need id, file_name, width and height, annotations image_id, category_id and bbox, "
            f"categories id and name; there is something else ({type(error).__name__}: {error}); "
            f"type: detector data check {path}"
        ) from error
    labels = {name: label for label, name in enumerate(classes)}
    kept = [
        {**note, "id": number, "category_id": labels[name] + 1}
        for number, (name, note) in enumerate(((n, note) for n, note in notes if n in labels), 1)
    ]
    by_image: dict[int, list[Mapping[str, Any]]] = {key: [] for key in images}
    for note in kept:
        by_image[note["image_id"]].append(note)
    dataset = {
        "images": list(images.values()),
        "annotations": kept,
        "categories": [{"id": label + 1, "name": name} for name, label in labels.items()],
    }
    return Annotations(dataset=dataset, by_image=by_image)


def unseen_classes(annotations: Annotations) -> list[str]:
    """Return the classes without a single box that is learned from; crowds are not."""
    dataset = annotations.dataset
    seen = {note["category_id"] for note in dataset["annotations"] if not note["iscrowd"]}
    return [category["name"] for category in dataset["categories"] if category["id"] not in seen]


def _note(
    note: Mapping[str, Any], names: Mapping[int, str], images: Mapping[int, Any], path: Path
) -> tuple[str, dict[str, Any]]:
    """Return the class and the fields that are needed of one annotation."""
    where = f"{path}: annotation {note.get('id')!r}"
    if note["category_id"] not in names or note["image_id"] not in images:
        raise InputError(f"{where} must be of a listed picture and category; got {note['image_id']!r}, "
                         f"{note['category_id']!r}; type: detector data check {path}")  # fmt: skip
    box = [float(side) for side in note["bbox"]]
    if len(box) != 4 or not np.isfinite(box).all() or min(box[2:]) <= 0:
        raise InputError(
            f"{where} must have a bbox [x, y, width, height] of positive size; got {note['bbox']}; "
            f"type: detector data check {path}"
        )
    return names[note["category_id"]], {
        "image_id": int(note["image_id"]),
        "bbox": box,
        "area": float(note.get("area") or box[2] * box[3]),
        "iscrowd": int(bool(note.get("iscrowd") or note.get("ignore"))),
    }
