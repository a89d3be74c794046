"""The same known boxes, written in every format that `detector data convert` reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from detector.data.coco import Coco, write_coco

SIZES = {"a.png": (64, 48), "sub/b.png": (30, 90), "sub/none.png": (20, 20)}
# Under other spellings than ours, to be understood all the same.
NAMES = ("BELLY", "exposed-buttocks", "F_BREAST", "female_genitalia", "M_GENETALIA", "EXPOSED_BREAST_M")
BOXES = {
    "a.png": [("BELLY", (4, 6, 20, 12)), ("M_GENETALIA", (0, 0, 64, 48)), ("F_BREAST", (33, 11, 7, 9))],
    "sub/b.png": [("exposed-buttocks", (1, 2, 28, 31)), ("EXPOSED_BREAST_M", (10, 70, 20, 20))],
    "sub/none.png": [],
}
IDS = {name: i for i, name in enumerate(NAMES, start=1)}


def pictures(folder: Path) -> Path:
    for name, size in SIZES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (90, 120, 30)).save(path)
    return folder


def write_yolo(folder: Path) -> Path:
    pictures(folder / "images")
    (folder / "data.yaml").write_text("path: .\nnames:\n" + "".join(f"  {i}: {n}\n" for i, n in enumerate(NAMES)))
    for name, boxes in BOXES.items():
        width, height = SIZES[name]
        lines = [
            f"{IDS[label] - 1} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n"
            for label, (x, y, w, h) in boxes
        ]
        path = (folder / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))
    return folder


def voc(name: str, boxes: list[Any], first: int = 1) -> str:
    width, height = SIZES[name]
    objects = "".join(
        f"<object><name>{label}</name><difficult>0</difficult><bndbox><xmin>{x + first}</xmin><ymin>{y + first}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for label, (x, y, w, h) in boxes
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{Path(name).name}</filename>{size}{objects}</annotation>"


def write_voc(folder: Path) -> Path:
    pictures(folder)
    for name, boxes in BOXES.items():
        (folder / name).with_suffix(".xml").write_text(voc(name, boxes))
    return folder


def write_cvat(folder: Path) -> Path:
    text = ""
    for i, (name, boxes) in enumerate(BOXES.items()):
        width, height = SIZES[name]
        text += f'<image id="{i}" name="{name}" width="{width}" height="{height}"><tag label="x"/>'
        for label, (x, y, w, h) in boxes:
            text += f'<box label="{label}" occluded="0" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}" z_order="0"/>'
        text += "</image>"
    path = folder / "annotations.xml"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{text}</annotations>')
    return path


def task(name: str, boxes: list[Any], **fields: Any) -> dict[str, Any]:
    width, height = SIZES[name]
    results = [
        {
            "type": "rectanglelabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "x": 100 * x / width,
                "y": 100 * y / height,
                "width": 100 * w / width,
                "height": 100 * h / height,
                "rotation": 0,
                "rectanglelabels": [label],
            },
        }
        for label, (x, y, w, h) in boxes
    ]
    annotations = [{"result": results, "was_cancelled": False}]
    return {"id": 5, "data": {"image": f"/data/local-files/?d=root/{name}"}, "annotations": annotations, **fields}


def write_labelstudio(folder: Path) -> Path:
    pictures(folder)
    path = folder / "export.json"
    path.write_text(json.dumps([task(name, boxes) for name, boxes in BOXES.items()]))
    return path


def write_nudenet(folder: Path) -> Path:
    pictures(folder)
    table = {
        name: [{"class": label, "score": 0.5, "box": list(box)} for label, box in boxes]
        for name, boxes in BOXES.items()
    }
    path = folder / "found.json"
    path.write_text(json.dumps(table))
    return path


def write_other_coco(folder: Path) -> Path:
    """Write a COCO file whose category ids count from 10 and down, and whose names are other spellings."""
    images = [{"id": 90 + i, "file_name": n, "width": s[0], "height": s[1]} for i, (n, s) in enumerate(SIZES.items())]
    ids = {image["file_name"]: image["id"] for image in images}
    boxes = [
        {"id": 0, "image_id": ids[name], "category_id": 10 - IDS[label], "bbox": list(box)}
        for name, found in BOXES.items()
        for label, box in found
    ]
    categories = [{"id": 10 - i, "name": name} for name, i in IDS.items()]
    write_coco(folder / "other.json", Coco(images=images, annotations=boxes, categories=categories))
    return folder / "other.json"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "yolo": write_yolo,
    "voc": write_voc,
    "cvat": write_cvat,
    "labelstudio": write_labelstudio,
    "nudenet": write_nudenet,
    "coco": write_other_coco,
}


def content(coco: Coco) -> dict[str, list[tuple[int, list[float]]]]:
    names = {image["id"]: image["file_name"] for image in coco.images}
    found: dict[str, list[tuple[int, list[float]]]] = {name: [] for name in names.values()}
    for box in coco.annotations:
        found[names[box["image_id"]]].append((box["category_id"], box["bbox"]))
    return found
