"""YOLO's text labels: a file a picture, a line a box: class index, centre x, centre y, width, height in shares of 1."""

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from detector.data.labelled import Labelled, Layout
from detector.data.pictures import list_pictures
from detector.errors import InputError

__all__ = ["read_names", "read_yolo"]

# Text files that stand among labels and are none.
_NOT_LABELS = frozenset(("classes.txt", "train.txt", "val.txt", "test.txt", "readme.txt", "requirements.txt"))
_NAMES_FILES = ("data.yaml", "data.yml", "classes.txt", "labels/classes.txt", "obj.names")
# The mapping's keys and values, and the entries of a list. Anything richer is refused: this is no YAML parser.
_NUMBERED = re.compile(r"^\s+(\d+)\s*:\s*(.+?)\s*$")
_DASHED = re.compile(r"^\s*-\s+(.+?)\s*$")
_PLAIN = re.compile(r"[\w.+-](?:[\w .+-]*[\w.+-])?")


def read_yolo(source: Path, folder: Path) -> Layout:
    """Read a folder of pictures and labels, or a data.yaml whose folder has them.

    A picture's labels are where YOLO looks for them: at the same path with the last `images` replaced by `labels`,
    or beside the picture, in a file of the picture's stem and `.txt`. A picture without such a file counts as one
    without boxes, and is noted.

    Args:
        source: the data set's folder, or its data.yaml, classes.txt or obj.names.
        folder: where the pictures are, in it or in the folders in it.

    Raises:
        InputError: when class names or all labels are missing, a line is not understood, or a label file has no
            picture.
    """
    names = read_names(_names_file(source))
    pictures, used, without = [], set(), 0
    folders: set[Path] = set()
    for path in list_pictures(folder):
        picture = Labelled(path.relative_to(folder).as_posix())
        pictures.append(picture)
        candidates = _label_files(path, folder)
        folders.update(candidate.parent for candidate in candidates)
        label = next((candidate for candidate in candidates if candidate.is_file()), None)
        if label is None:
            without += 1
            continue
        if label in used:
            raise InputError(f"{label}: a label file must belong to one picture; two have its stem; rename one")
        used.add(label)
        _read_label(label, picture, names)
    if not used:
        raise InputError(f"the pictures must have label files; none of {len(pictures)} in {folder} has one")
    texts = {text for place in folders if place.is_dir() for text in place.glob("*.txt")}
    orphans = sorted(text for text in texts - used if text.name.lower() not in _NOT_LABELS)
    if orphans:
        raise InputError(
            f"every label file must have its picture; {len(orphans)} have none, the first is {orphans[0]}; "
            "add the picture, or move the file away"
        )
    notes = [f"{without} pictures have no label file and count as pictures without boxes"] if without else []
    return Layout(pictures, notes)


def read_names(path: Path) -> list[str]:
    """Return the class names of a names file, in the order of their indices.

    Of YAML only what these files use is read: `names: [a, b]`, `names:` with `- a` lines, and `names:` with
    `0: a` lines, names plain or quoted.

    Raises:
        InputError: when the file cannot be read, or says it in another way.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file of class names must be readable; {path} is not ({error})") from error
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    names = _yaml_names(lines, path) if path.suffix in (".yaml", ".yml") else [line.strip() for line in lines]
    if not names:
        raise InputError(f"{path}: there must be at least one class name; there is none")
    return names


def _yaml_names(lines: Sequence[str], path: Path) -> list[str]:
    starts = [i for i, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if len(starts) != 1:
        raise InputError(f"{path}: there must be one key `names`; there are {len(starts)}")
    head = lines[starts[0]].partition(":")[2].strip()
    rest = lines[starts[0] + 1 :]
    if head.startswith("["):
        # A list in brackets may run over several lines.
        joined = head
        while not _uncommented(joined).endswith("]") and rest:
            joined, rest = _uncommented(joined) + " " + rest[0].strip(), rest[1:]
        joined = _uncommented(joined)
        if not joined.endswith("]"):
            raise InputError(f"{path}: the list of `names` must end with ]; it does not")
        entries = joined[1:-1].rstrip().removesuffix(",")
        return [_scalar(entry, path) for entry in entries.split(",")] if entries.strip() else []
    if _uncommented(head):
        raise InputError(f"{path}: `names` must be a list or a numbered mapping; got {head!r}")
    listed: list[str] = []
    numbered: dict[int, str] = {}
    for line in rest:
        if dashed := _DASHED.match(line):
            listed.append(_scalar(dashed[1], path))
        elif number := _NUMBERED.match(line):
            if int(number[1]) in numbered:
                raise InputError(f"{path}: a class index must be there once; {number[1]} is there twice")
            numbered[int(number[1])] = _scalar(number[2], path)
        elif line[0].isspace():
            raise InputError(f"{path}: a line of `names` must be `- name` or `0: name`; got {line.strip()!r}")
        else:
            break
    if (listed and numbered) or sorted(numbered) != list(range(len(numbered))):
        raise InputError(f"{path}: `names` must be one list, or be numbered 0, 1, 2, ... without gaps")
    return listed or [numbered[i] for i in range(len(numbered))]


def _uncommented(text: str) -> str:
    return re.sub(r"(^|\s)#.*$", "", text).rstrip()


def _scalar(text: str, path: Path) -> str:
    """Return a plain or quoted YAML string."""
    text = _uncommented(text).strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if not _PLAIN.fullmatch(text):
        raise InputError(f"{path}: a class name must be of letters, digits, spaces and . _ - +; got {text!r}")
    return text


def _names_file(source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise InputError(f"a YOLO data set must be a folder or its data.yaml; {source} is neither")
    found = [source / name for name in _NAMES_FILES if (source / name).is_file()]
    if not found:
        raise InputError(f"a YOLO data set must have class names in {', '.join(_NAMES_FILES)}; {source} has none")
    return found[0]


def _label_files(picture: Path, folder: Path) -> list[Path]:
    """Return where the labels of a picture may be, the likeliest first."""
    beside = picture.with_suffix(".txt")
    # The folder itself counts, so that `--images data/images` finds data/labels.
    parts = [folder.resolve().name, *PurePosixPath(beside.relative_to(folder).as_posix()).parts]
    places = [beside]
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index("images")
        base = folder.resolve().parent.joinpath(*parts[:last])
        places.insert(0, base.joinpath("labels", *parts[last + 1 :]))
    return places


def _read_label(path: Path, picture: Labelled, names: Sequence[str]) -> None:
    """Add the boxes of a label file to its picture."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"a label file must be readable; {path} is not ({error})") from error
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        here = f"{path}, line {number}"
        if len(fields) not in (5, 6):
            raise InputError(
                f"{here}: a box must be `class cx cy width height` and perhaps a score; got {len(fields)} fields; "
                "polygons and poses are not read"
            )
        try:
            index, numbers = int(fields[0]), [float(value) for value in fields[1:]]
        except ValueError as error:
            raise InputError(f"{here}: a box must be of a whole number and 4 or 5 numbers; got {line!r}") from error
        if not all(math.isfinite(value) for value in numbers):
            raise InputError(f"{here}: numbers must be finite; got {line!r}")
        if not 0 <= index < len(names):
            raise InputError(f"{here}: a class index must be 0..{len(names) - 1}; got {index}")
        if max(numbers[:4]) > 2:
            raise InputError(f"{here}: a box must be in shares of the picture's sides, 0..1; got pixels? {line!r}")
        cx, cy, width, height = numbers[:4]
        box = (cx - width / 2, cy - height / 2, width, height)
        picture.add(names[index], box, relative=True, score=numbers[4] if len(numbers) == 5 else None)
