"""COCO annotation files: reading, writing, and the rules that ours must keep.

    {"info": {...},
     "images":      [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}, ...],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [x, y, width, height], "area": ...,
                      "iscrowd": 0}, ...],
     "categories":  [{"id": 1, "name": "BELLY_EXPOSED"}, ...]}

`width`, `height` and `bbox` are those of the picture as a viewer sees it, EXIF orientation applied. `category_id` is
1..6 in the order of `detector.CLASSES`. `iscrowd` 1 means that a detection there counts neither for nor against.
`score` may be there where a detector made the box.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from detector.atomic import write_atomic
from detector.classes import CLASSES
from detector.errors import InputError, OutputError

__all__ = [
    "CATEGORIES",
    "EDGE_TOLERANCE",
    "MIN_SIDE",
    "Coco",
    "Problem",
    "find_problems",
    "picture_path",
    "read_coco",
    "read_json",
    "refuse_existing",
    "require_sound",
    "write_coco",
]

CATEGORIES: tuple[Mapping[str, Any], ...] = tuple({"id": i, "name": name} for i, name in enumerate(CLASSES, start=1))

# Pixels by which a box may reach over the edge: formats that store whole pixels or shares of a side round so far.
EDGE_TOLERANCE = 1.0
# Pixels. A box with a smaller side is hardly a body part: mostly a slip of the mouse.
MIN_SIDE = 4.0
# Problems that an error message quotes; `detector data check` lists all.
_QUOTED = 3


@dataclass(frozen=True, kw_only=True)
class Coco:
    """The content of one annotation file; the records are the file's own, with every field they had."""

    images: Sequence[Mapping[str, Any]]
    annotations: Sequence[Mapping[str, Any]]
    categories: Sequence[Mapping[str, Any]] = CATEGORIES
    info: Mapping[str, Any] = field(default_factory=dict)

    def by_image(self) -> dict[int, list[Mapping[str, Any]]]:
        """Return the annotations of each image id; an empty list where there are none."""
        found: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in self.images}
        for annotation in self.annotations:
            found[annotation["image_id"]].append(annotation)
        return found


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, or (`broken` false) only odd.

    Attributes:
        kind: a word for counting, for example `outside`.
        where: the file name of the picture, or the place in the annotation file.
        text: what is there.
        broken: whether the data must not be used like this.
    """

    kind: str
    where: str
    text: str
    broken: bool = True


def read_coco(path: Path) -> Coco:
    """Read an annotation file; only its outline is checked, see `find_problems` for the rest.

    Raises:
        InputError: when it cannot be read, is not JSON, or does not hold lists of images, annotations and categories.
    """
    table = read_json(path)
    names = ("images", "annotations", "categories")
    if not isinstance(table, dict) or not all(
        isinstance(table.get(name), list) and all(isinstance(record, dict) for record in table[name]) for name in names
    ):
        raise InputError(
            f"{path}: a COCO file must be an object with lists of objects `images`, `annotations` and `categories`; "
            "it is not; for another format type: detector data convert"
        )
    info = table.get("info")
    return Coco(
        images=table["images"],
        annotations=table["annotations"],
        categories=table["categories"],
        info=info if isinstance(info, dict) else {},
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: when it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"an annotation file must be readable; {path} is not ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: an annotation file must be JSON; it is not ({error})") from error


def write_coco(path: Path, coco: Coco, *, overwrite: bool = False) -> None:
    """Write an annotation file in one step, one record a line, so that two versions can be compared.

    Args:
        path: the target.
        coco: what to write.
        overwrite: whether an existing file may be replaced; a person may have corrected it by hand.

    Raises:
        OutputError: when the file exists and must not be replaced, or cannot be written.
    """
    refuse_existing(path, overwrite=overwrite)
    lists = ("images", coco.images), ("annotations", coco.annotations), ("categories", coco.categories)
    parts = ['"info": ' + _dumps(coco.info)]
    for name, records in lists:
        rows = ",\n  ".join(_dumps(record) for record in records)
        parts.append(f'"{name}": [' + (f"\n  {rows}\n " if rows else "") + "]")
    write_atomic(path, ("{" + ",\n ".join(parts) + "}\n").encode())


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError when the file exists and must not be replaced; asked before long work as well as after."""
    if path.exists() and not overwrite:
        raise OutputError(f"the output must not exist yet; {path} does; name another file, or give --overwrite")


def picture_path(folder: Path, file_name: Any) -> Path:
    """Return where a picture of an annotation file is.

    Raises:
        InputError: when the name is no relative path inside the folder: annotation files come from other people, and
            must not decide which files of this machine are opened.
    """
    if not isinstance(file_name, str) or not file_name or "\0" in file_name:
        raise InputError(f"a file_name must be a relative path; got {file_name!r}")
    # A Windows path is none elsewhere, and would be looked for under a name with backslashes in it.
    if file_name.startswith("/") or ".." in PurePosixPath(file_name).parts or "\\" in file_name or ":" in file_name[:2]:
        raise InputError(
            f"a file_name must be a path inside the folder of pictures, with / between its parts; got {file_name!r}; "
            "make it relative to the folder that --images names"
        )
    return folder / file_name


def find_problems(coco: Coco, *, min_side: float = MIN_SIDE) -> list[Problem]:
    """Check everything that can be checked without the pictures.

    Args:
        coco: as `read_coco` returns it.
        min_side: pixels; a box with a smaller side is reported as tiny.
    """
    problems = [*_category_problems(coco.categories), *_image_problems(coco.images)]
    problems += _duplicates("annotation", (annotation.get("id") for annotation in coco.annotations))
    images = {image["id"]: image for image in coco.images if _is_id(image.get("id"))}
    seen: set[tuple[Any, ...]] = set()
    for annotation in coco.annotations:
        image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
        here = f"annotation {annotation.get('id')!r}"
        image = images.get(image_id) if _is_id(image_id) else None
        if image is None:
            problems.append(Problem("unknown image", here, f"image_id must be that of an image; got {image_id!r}"))
            continue
        where = str(image.get("file_name"))
        if not _is_id(category_id) or not 1 <= category_id <= len(CLASSES):
            text = f"{here}: category_id must be 1..{len(CLASSES)}; got {category_id!r}"
            problems.append(Problem("wrong category", where, text))
        if annotation.get("iscrowd", 0) not in (0, 1):
            text = f"{here}: iscrowd must be 0 or 1; got {annotation['iscrowd']!r}"
            problems.append(Problem("wrong field", where, text))
        problems += [
            Problem(kind, where, f"{here}: {text}", broken)
            for kind, text, broken in _box_problems(annotation.get("bbox"), image, min_side)
        ]
        key = (image_id, str(category_id), str(annotation.get("bbox")))
        if key in seen:
            problems.append(Problem("same box twice", where, f"{here}: another has the same box and class", False))
        seen.add(key)
    return problems


def require_sound(coco: Coco, path: Path) -> None:
    """Raise InputError when `find_problems` finds something broken; the message quotes the first of it."""
    broken = [problem for problem in find_problems(coco) if problem.broken]
    if broken:
        quoted = "; ".join(f"{problem.where}: {problem.text}" for problem in broken[:_QUOTED])
        more = f"; and {len(broken) - _QUOTED} more" if len(broken) > _QUOTED else ""
        raise InputError(
            f"{path}: annotations must be sound; {len(broken)} broken: {quoted}{more}; type: detector data check {path}"
        )


def _category_problems(categories: Sequence[Mapping[str, Any]]) -> list[Problem]:
    problems = _duplicates("category", (category.get("id") for category in categories))
    for category in categories:
        if not any(category.get("id") == own["id"] and category.get("name") == own["name"] for own in CATEGORIES):
            known = ", ".join(f"{own['id']} {own['name']}" for own in CATEGORIES)
            text = (
                f"a category must be one of {known}; "
                f"got {category.get('id')!r} {category.get('name')!r}; type: detector data convert --from coco"
            )
            problems.append(Problem("wrong category", "categories", text))
    return problems


def _image_problems(images: Sequence[Mapping[str, Any]]) -> list[Problem]:
    problems = _duplicates("image", (image.get("id") for image in images))
    names: set[str] = set()
    for image in images:
        name = str(image.get("file_name"))
        # Some file systems hold one file for names that differ in case only.
        if name.casefold() in names:
            problems.append(Problem("duplicate name", name, "every image must have a file_name of its own"))
        names.add(name.casefold())
        try:
            picture_path(Path(), image.get("file_name"))
        except InputError as error:
            problems.append(Problem("wrong name", name, str(error)))
        size = (image.get("width"), image.get("height"))
        if not all(_is_id(side) and side >= 1 for side in size):
            text = f"width and height must be whole numbers of at least 1; got {size[0]!r} and {size[1]!r}"
            problems.append(Problem("wrong size", name, text))
    return problems


def _duplicates(what: str, ids: Iterable[Any]) -> list[Problem]:
    """Report ids that are no whole numbers, or are there twice."""
    problems, seen = [], set()
    for number in ids:
        if not _is_id(number):
            problems.append(Problem("wrong id", f"{what} {number!r}", "an id must be a whole number"))
        elif number in seen:
            problems.append(Problem("duplicate id", f"{what} {number}", "an id must be there once"))
        else:
            seen.add(number)
    return problems


def _box_problems(bbox: Any, image: Mapping[str, Any], min_side: float) -> list[tuple[str, str, bool]]:
    """Return (kind, text, broken) for one box; at most one."""
    if not isinstance(bbox, list | tuple) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        return [("not a box", f"bbox must be [x, y, width, height] in numbers; got {bbox!r}", True)]
    if not all(math.isfinite(value) for value in bbox):
        return [("not finite", f"bbox must be finite; got {bbox!r}", True)]
    x, y, width, height = bbox
    if width <= 0 or height <= 0:
        return [("empty", f"a box must have a width and a height; got {bbox}", True)]
    size = image.get("width"), image.get("height")
    if _is_id(size[0]) and _is_id(size[1]):
        over = max(-x, -y, x + width - size[0], y + height - size[1])
        if over > EDGE_TOLERANCE:
            text = f"a box must lie inside the picture, {size[0]} x {size[1]}; {bbox} reaches {over:g} pixels out"
            return [("outside", text, True)]
    if min(width, height) < min_side:
        return [("tiny", f"a side is below {min_side:g} pixels: {bbox}", False)]
    return []


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """JSON's whole numbers have any length; one that no float can hold is no coordinate."""
    return isinstance(value, float) or (_is_id(value) and abs(value) < 1 << 63)


def _dumps(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise OutputError(f"an annotation must hold finite numbers; got {record!r}; check the input") from error
