"""`detector data check`: what is wrong with a data set, and what is in it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detector.classes import CLASSES
from detector.data.coco import MIN_SIDE, Coco, Problem, find_problems
from detector.data.phash import HASH_BITS, NEAR_BITS
from detector.data.pictures import Seen, copies, look_at_pictures
from detector.errors import RetinaCensorError
from detector.limits import Limits

__all__ = ["Report", "check"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `check` found.

    Attributes:
        images: number of pictures in the annotation file.
        annotations: number of boxes.
        class_counts: boxes of each class that count; those to be ignored (`iscrowd`) are not among them.
        ignored: number of boxes to be ignored.
        boxes_per_image: how many pictures have 0 boxes, 1, 2, and so on; the keys rise.
        same: groups of file names with the same bytes.
        near: groups of file names that are copies, resized, coded again or mirrored; without those of `same`.
        near_bits: highest number of bits, of 64, that two hashes of copies differ in.
        problems: everything that is broken or odd.
    """

    images: int
    annotations: int
    class_counts: Mapping[str, int]
    ignored: int
    boxes_per_image: Mapping[int, int]
    same: Sequence[Sequence[str]]
    near: Sequence[Sequence[str]]
    near_bits: int
    problems: Sequence[Problem]

    @property
    def broken(self) -> bool:
        """Whether the data must not be used like this."""
        return any(problem.broken for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {**asdict(self), "broken": self.broken}

    def lines(self, most: int) -> list[str]:
        """Return the report for people, with at most so many lines on problems and on each kind of copies."""
        lines = [f"{self.images} pictures, {self.annotations} boxes, {self.ignored} of them to be ignored"]
        lines += [f"  {name:<26}{count:>8}" for name, count in self.class_counts.items()]
        spread = ", ".join(f"{boxes}: {count}" for boxes, count in self.boxes_per_image.items())
        lines.append(f"boxes in a picture (boxes: pictures): {spread or 'none'}")
        for title, groups in (
            ("of the same bytes", self.same),
            (f"of near copies (hashes differ in at most {self.near_bits} of {HASH_BITS} bits)", self.near),
        ):
            lines.append(f"groups {title}: {len(groups)}")
            lines += _first(["  " + "  ".join(group) for group in groups], most)
        kinds = Counter((problem.kind, problem.broken) for problem in self.problems)
        words = ", ".join(f"{count} {kind}{'' if broken else ' (odd)'}" for (kind, broken), count in kinds.items())
        lines.append(f"problems: {words or 'none'}")
        ordered = sorted(self.problems, key=lambda problem: not problem.broken)
        return lines + _first(
            [f"  {'BROKEN' if p.broken else 'odd   '}  {p.kind:<16} {p.where}: {p.text}" for p in ordered], most
        )


def check(
    coco: Coco,
    folder: Path,
    *,
    limits: Limits | None = None,
    workers: int = 1,
    near_bits: int = NEAR_BITS,
    min_side: float = MIN_SIDE,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Check annotations against the rules and against the pictures, every one of which is decoded.

    Args:
        coco: the annotations.
        folder: where the pictures are.
        limits: bounds on untrusted pictures.
        workers: pictures looked at in parallel.
        near_bits: highest number of bits, of 64, that the hashes of copies differ in.
        min_side: pixels; a box with a smaller side is reported as tiny.
        advance: called after each picture.
    """
    problems = find_problems(coco, min_side=min_side)
    names: list[str] = []
    seen: list[Seen] = []
    for image, result in look_at_pictures(
        coco.images, folder, limits=limits or Limits(), workers=workers, advance=advance
    ):
        name = str(image.get("file_name"))
        if isinstance(result, RetinaCensorError):
            problems.append(Problem("unreadable", name, str(result)))
        elif isinstance(result, Exception):
            raise result
        else:
            problems += _against_picture(image, name, result)
            names.append(name)
            seen.append(result)
    same, near = copies(seen, near_bits)
    identical = {tuple(group) for group in same}
    counted = Counter(str(a.get("category_id")) for a in coco.annotations if a.get("iscrowd", 0) != 1)
    per_image = Counter(str(annotation.get("image_id")) for annotation in coco.annotations)
    spread = Counter(per_image[str(image.get("id"))] for image in coco.images)
    return Report(
        images=len(coco.images),
        annotations=len(coco.annotations),
        class_counts={name: counted[str(i)] for i, name in enumerate(CLASSES, start=1)},
        ignored=sum(annotation.get("iscrowd", 0) == 1 for annotation in coco.annotations),
        boxes_per_image=dict(sorted(spread.items())),
        same=[[names[i] for i in group] for group in same if len(group) > 1],
        near=[[names[i] for i in group] for group in near if len(group) > 1 and tuple(group) not in identical],
        near_bits=near_bits,
        problems=problems,
    )


def _against_picture(image: Mapping[str, Any], name: str, seen: Seen) -> list[Problem]:
    """Compare one image record with its picture."""
    problems = []
    height, width = seen.image_size
    said = (image.get("width"), image.get("height"))
    if said != (width, height):
        text = f"width and height must be those of the picture, {width} x {height}; got {said[0]} x {said[1]}"
        if seen.turned and said == (height, width):
            text += "; the file is stored turned, and its boxes are of the stored pixels, not of what a viewer sees"
        problems.append(Problem("size mismatch", name, text))
    if seen.blank:
        problems.append(Problem("blank", name, "the picture shows one colour only", broken=False))
    return problems


def _first(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"  ... and {len(lines) - most} more"]
