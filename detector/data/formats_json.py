"""Annotations in JSON: Label Studio's export, and what NudeNet found."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from detector.data.coco import read_json
from detector.data.labelled import Labelled, Layout, enclosing_box
from detector.errors import InputError

__all__ = ["read_labelstudio", "read_nudenet"]

# What Label Studio puts before the name of an uploaded file.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_PERCENT = 100.0


def read_labelstudio(source: Path, folder: Path) -> Layout:
    """Read Label Studio's JSON export (not JSON-MIN), rectangles with labels.

    A task that nobody has annotated yet is left out and noted: it is not a picture without boxes. Turned rectangles
    become the upright boxes around them.

    Args:
        source: the JSON file.
        folder: where the pictures are. An uploaded file is known by its name with or without the eight letters that
            Label Studio puts before it, whichever is there.

    Raises:
        InputError: when it is another kind of file, a task has several annotations of which none is marked as ground
            truth, or shapes other than rectangles.
    """
    tasks = read_json(source)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise InputError(f"{source}: Label Studio's JSON export must be a list of tasks with `data`; it is not")
    pictures, unlabelled = [], 0
    for task in tasks:
        here = f"{source}, task {task.get('id')}"
        if "annotations" not in task:
            raise InputError(f"{here}: a task must have `annotations`; it has none; export as JSON, not JSON-MIN")
        done = [each for each in task["annotations"] if not each.get("was_cancelled")]
        if not done:
            unlabelled += 1
            continue
        if len(done) > 1:
            done = [each for each in done if each.get("ground_truth")]
        if len(done) != 1:
            raise InputError(f"{here}: a task must have one annotation, or one marked as ground truth; it has not")
        picture = Labelled(_picture_name(task, here, folder))
        pictures.append(picture)
        try:
            for result in done[0]["result"]:
                _add_result(picture, result, here)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{here}: a result must have its fields in numbers; {type(error).__name__}: {error}"
            ) from error
    notes = [f"{unlabelled} tasks are not annotated yet and were left out"] if unlabelled else []
    return Layout(pictures, notes)


def _add_result(picture: Labelled, result: Mapping[str, Any], here: str) -> None:
    """Add one rectangle of Label Studio."""
    if result["type"] in ("choices", "rating", "textarea"):  # said of the whole picture
        return
    if result["type"] != "rectanglelabels":
        raise InputError(f"{here}: only rectangles with labels are read; got {result['type']!r}")
    if result.get("image_rotation", 0) != 0:
        raise InputError(
            f"{here}: a picture must not be turned in Label Studio; got {result['image_rotation']} degrees"
        )
    value = result["value"]
    width, height = int(result["original_width"]), int(result["original_height"])
    picture.image_size = (height, width)
    x, y, w, h = (float(value[key]) / _PERCENT for key in ("x", "y", "width", "height"))
    box = (x * width, y * height, w * width, h * height)
    labels = value["rectanglelabels"]
    if not isinstance(labels, list) or len(labels) != 1:
        raise InputError(f"{here}: a rectangle must have one label; got {labels!r}")
    picture.add(str(labels[0]), enclosing_box(box, float(value.get("rotation", 0)), box[:2]))


def _picture_name(task: Mapping[str, Any], here: str, folder: Path) -> str:
    """Return the name of a task's picture relative to the folder."""
    data = task["data"]
    values = [data["image"]] if "image" in data else [v for v in data.values() if isinstance(v, str) and "/" in v]
    if len(values) != 1 or not isinstance(values[0], str):
        raise InputError(f"{here}: `data` must have one picture, under the key `image`; got {sorted(data)}")
    address = _unquoted(values[0])
    if "?d=" in address:  # local storage: the path below its root
        local = address.partition("?d=")[2].lstrip("/")
        parts = PurePosixPath(local).parts
        tails = ["/".join(parts[i:]) for i in range(len(parts))]
        return next((tail for tail in tails if (folder / tail).is_file()), tails[-1] if tails else local)
    name = address.partition("?")[0].rpartition("/")[2]
    without = _UPLOAD.sub("", name)
    return without if not (folder / name).is_file() and (folder / without).is_file() else name


def _unquoted(address: str) -> str:
    """Undo %-encoding."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), address.encode())
    return raw.decode("utf-8", "replace")


def read_nudenet(source: Path, folder: Path) -> Layout:
    """Read an object of {picture: what NudeNet found in it}.

    NudeNet 3 gives `{"class": ..., "score": ..., "box": [x, y, width, height]}`, versions 1 and 2
    `{"label": ..., "score": ..., "box": [x1, y1, x2, y2]}`: the key tells which box it is.

    Args:
        source: the JSON file.
        folder: where the pictures are; the names in the file are relative to it, or inside it.

    Raises:
        InputError: when it says something else.
    """
    table = read_json(source)
    if not isinstance(table, dict) or not all(isinstance(found, list) for found in table.values()):
        raise InputError(
            f"{source}: NudeNet's detections must be an object of lists, one under each picture's name; it is not"
        )
    pictures = []
    for name, found in table.items():
        path = Path(name)
        if path.is_absolute() and path.is_relative_to(folder.resolve()):
            path = path.relative_to(folder.resolve())
        picture = Labelled(path.as_posix())
        pictures.append(picture)
        for each in found:
            try:
                newer = "class" in each
                a, b, c, d = (float(value) for value in each["box"])
                box = (a, b, c, d) if newer else (a, b, c - a, d - b)
                picture.add(str(each["class" if newer else "label"]), box, score=float(each["score"]))
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{source}: {name}: a detection must have `class` (or `label`), `score` and `box`; got {each!r}"
                ) from error
    return Layout(pictures)
