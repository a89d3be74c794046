"""`detector data convert`: other tools' annotations into COCO with the six classes."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from detector.classes import ALL_CLASSES, CLASSES, canonical_class
from detector.data.coco import Coco, picture_path, read_coco
from detector.data.formats_json import read_labelstudio, read_nudenet
from detector.data.formats_xml import read_cvat, read_voc
from detector.data.labelled import Labelled, Layout
from detector.data.yolo import read_yolo
from detector.errors import InputError, UsageError
from detector.limits import Limits
from detector.nearest import nearest
from detector.picture import Picture

__all__ = ["FORMATS", "Converted", "convert", "parse_renames"]

Reader: TypeAlias = Callable[[Path, Path], Layout]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What `convert` made.

    Attributes:
        coco: the annotations.
        dropped: boxes that were left out, by the name of their class in the source.
        notes: what a person should know, one sentence each.
    """

    coco: Coco
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_coco_layout(path: Path, folder: Path) -> Layout:
    """Read a COCO file of other categories; polygons and masks in it are left behind, their boxes are kept."""
    coco = read_coco(path)
    try:
        names = {category["id"]: str(category["name"]) for category in coco.categories}
        pictures: dict[Any, Labelled] = {
            image["id"]: Labelled(str(image["file_name"]), (int(image["height"]), int(image["width"])))
            for image in coco.images
        }
        if len(pictures) != len(coco.images):
            raise InputError(f"{path}: every image must have an id of its own; type: detector data check {path}")
        for annotation in coco.annotations:
            score = annotation.get("score")
            x, y, width, height = annotation["bbox"]
            pictures[annotation["image_id"]].add(
                names[annotation["category_id"]],
                (float(x), float(y), float(width), float(height)),
                ignore=annotation.get("iscrowd", 0) == 1,
                score=None if score is None else float(score),
            )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: records must have their COCO fields; {type(error).__name__}: {error}; "
            f"type: detector data check {path}"
        ) from error
    return Layout(list(pictures.values()))


FORMATS: Mapping[str, Reader] = {
    "yolo": read_yolo,
    "voc": read_voc,
    "cvat": read_cvat,
    "labelstudio": read_labelstudio,
    "nudenet": read_nudenet,
    "coco": read_coco_layout,
}


def parse_renames(values: Iterable[str]) -> dict[str, str]:
    """Parse `OLD=NEW` into {old: one of the six}.

    Raises:
        UsageError: when there is no `=`, or NEW is no class of ours.
    """
    renames = {}
    for value in values:
        old, equals, new = value.partition("=")
        if not equals or not old.strip():
            raise UsageError(f"--map must be OLD=NEW; got {value!r}")
        renames[old.strip()] = canonical_class(new, CLASSES)
    return renames


def convert(
    source: Path,
    kind: str,
    *,
    folder: Path | None = None,
    renames: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    limits: Limits | None = None,
) -> Converted:
    """Read annotations of another format.

    NudeNet's twelve other classes are left out and counted. Any other name that is none of the six in any spelling
    is an error, because a class that is lost silently is one that is never censored.

    Args:
        source: the file or folder.
        kind: one of `FORMATS`.
        folder: where the pictures are; `source` or its folder where None. Needed where the format has no sizes.
        renames: {name in the source: one of the six}.
        drop_unknown: leave unknown names out, counted, instead.
        limits: bounds on untrusted pictures.

    Raises:
        InputError: when the source cannot be read, or does not say what its format must.
        UsageError: for an unknown format or class; the message names the nearest.
    """
    if kind not in FORMATS:
        raise UsageError(f"--from must be one of {', '.join(FORMATS)}; got {kind!r}{nearest(kind, FORMATS)}")
    if folder is None:
        folder = source if source.is_dir() else source.parent
    layout = FORMATS[kind](source, folder)
    names = _map_names(layout, renames or {}, drop_unknown)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    pictures = sorted(layout.pictures, key=lambda picture: picture.file_name)
    for image_id, picture in enumerate(pictures, start=1):
        path = picture_path(folder, picture.file_name)
        height, width = picture.image_size or Picture.open(path, limits=limits).image_size
        images.append({"id": image_id, "file_name": picture.file_name, "width": width, "height": height})
        for box in picture.boxes:
            name = names[box.name]
            if name is None:
                dropped[box.name] += 1
                continue
            bbox = box.in_pixels((height, width))
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": CLASSES.index(name) + 1,
                "bbox": bbox,
                "area": round(bbox[2] * bbox[3], 3),
                "iscrowd": int(box.ignore),
            }
            annotations.append(annotation if box.score is None else {**annotation, "score": box.score})
    coco = Coco(images=images, annotations=annotations, info={"description": f"converted from {kind}"})
    return Converted(coco=coco, dropped=dict(sorted(dropped.items())), notes=tuple(layout.notes))


def _map_names(layout: Layout, renames: Mapping[str, str], drop_unknown: bool) -> dict[str, str | None]:
    """Return one of the six, or None for a name to be left out, for every name that a box has."""
    names: dict[str, str | None] = {}
    unknown = []
    for name in dict.fromkeys(box.name for picture in layout.pictures for box in picture.boxes):
        try:
            known = renames.get(name) or canonical_class(name, ALL_CLASSES)
            names[name] = known if known in CLASSES else None
        except UsageError:
            names[name] = None
            unknown.append(f"{name!r}{nearest(name, CLASSES)}")
    if unknown and not drop_unknown:
        raise UsageError(
            f"a class must be one of {', '.join(CLASSES)}; got {', '.join(unknown)}; "
            "name what it is with --map OLD=NEW, or leave it out with --drop-unknown"
        )
    return names
