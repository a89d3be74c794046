"""`detector data split`: into training, validation and test, no copy of a picture on two sides."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from detector.classes import CLASSES
from detector.data.coco import Coco, refuse_existing, write_coco
from detector.data.phash import group_linked
from detector.errors import InputError, OutputError, UsageError

__all__ = ["Split", "split_groups", "split_shares", "stem_family", "stem_pairs", "write_parts"]

_PARTS = ("train", "val", "test")
# Stands among the classes for pictures without any box, which every part should have its share of.
NOTHING = "nothing"
# Endings that tools put on a picture's name when they derive others from it: `a_aug3`, `a-flip`, `a (2)`, `a_copy`.
_DERIVED = re.compile(
    r"(?: *\(\d+\)|[ _.-]+(?:copy|aug(?:mented)?|flip(?:ped)?|mirror(?:ed)?|crop(?:ped)?|rot(?:ated)?|"
    r"resized?|scaled?|small|thumb(?:nail)?|edit(?:ed)?)[ _-]*\d*|[ _-]+\d{1,2}|[ _-]\d+x\d+)+$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Split:
    """The parts of a data set.

    Attributes:
        parts: `train`, `val` and, where asked for, `test`, each with the fields of the whole.
        groups: number of groups of pictures that had to stay together.
        largest: number of pictures in the largest of them.
    """

    parts: Mapping[str, Coco]
    groups: int
    largest: int

    def counts(self) -> dict[str, dict[str, int]]:
        """Return for each part the number of pictures, and of boxes that count of each class."""
        table = {}
        for name, part in self.parts.items():
            counted = Counter(a["category_id"] for a in part.annotations if a.get("iscrowd", 0) != 1)
            table[name] = {"pictures": len(part.images)} | {c: counted[i] for i, c in enumerate(CLASSES, start=1)}
        return table


def split_shares(val: float, test: float) -> dict[str, float]:
    """Return the share of each part, the training part first; parts without a share are left out.

    Raises:
        UsageError: when a share is negative, `val` is 0, or nothing is left to train on.
    """
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise UsageError(f"--val must be above 0, --test at least 0, and both together below 1; got {val} and {test}")
    shares = {"train": 1 - val - test, "val": val}
    return shares | ({"test": test} if test else {})


def stem_family(file_name: str) -> str:
    """Return what the names of pictures derived from one another have in common: folder and stem without endings."""
    path = PurePosixPath(file_name)
    return str(path.with_name(_DERIVED.sub("", path.stem) or path.stem)).casefold()


def stem_pairs(file_names: Sequence[str]) -> list[tuple[int, int]]:
    """Return index pairs that link the names of one family."""
    first: dict[str, int] = {}
    return [(first.setdefault(stem_family(name), index), index) for index, name in enumerate(file_names)]


def split_groups(coco: Coco, pairs: Sequence[tuple[int, int]], *, shares: Mapping[str, float], seed: int = 0) -> Split:
    """Deal out groups of linked pictures so that every part gets its share of every class, as far as groups allow.

    The rarest class is dealt out first; each of its groups, the largest first, goes to the part that lacks most of
    that class, and where several lack alike, to the one that lacks most pictures. The same pictures and seed give
    the same parts, whatever the order of the file.

    Args:
        coco: sound annotations.
        pairs: indices of images that must stay together.
        shares: of each part, adding up to 1.
        seed: of the order in which groups of one size are dealt out.

    Raises:
        InputError: when there are fewer groups than parts.

    Source:
        Sechidis et al., On the Stratification of Multi-Label Data (2011), algorithm 1, with groups for samples.
    """
    groups = group_linked(len(coco.images), pairs)
    if len(groups) < len(shares):
        raise InputError(
            f"a data set must have at least {len(shares)} groups of different pictures to be split into "
            f"{', '.join(shares)}; got {len(groups)} of {len(coco.images)} pictures; add pictures"
        )
    by_image = coco.by_image()
    groups.sort(key=lambda group: min(str(coco.images[i]["file_name"]) for i in group))
    random.Random(seed).shuffle(groups)
    contents = [_content(coco.images, by_image, group) for group in groups]
    places = _deal(contents, [len(group) for group in groups], shares)
    parts = {}
    for part in shares:
        chosen = sorted(i for group, place in zip(groups, places, strict=True) if place == part for i in group)
        ids = {coco.images[i]["id"] for i in chosen}
        parts[part] = Coco(
            images=[coco.images[i] for i in chosen],
            annotations=[annotation for annotation in coco.annotations if annotation["image_id"] in ids],
            categories=coco.categories,
            info={**coco.info, "split": {"part": part, "shares": dict(shares), "seed": seed}},
        )
    return Split(parts=parts, groups=len(groups), largest=max(map(len, groups)))


def write_parts(split: Split, folder: Path, *, source: Path, overwrite: bool = False) -> list[Path]:
    """Write each part to its own file in a folder, which is made; return their paths.

    Args:
        split: the parts.
        folder: where they go.
        source: the annotation file that they come from; it is never replaced.
        overwrite: whether older parts may be replaced.

    Raises:
        OutputError: when a part would replace the source or an older one, or when the folder holds an older part that
            this split does not make: some of its pictures would stand on two sides.
    """
    paths = {name: folder / f"{name}.json" for name in split.parts}
    for path in paths.values():
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(f"a part must not replace the file it comes from; {path} would; name another folder")
        refuse_existing(path, overwrite=overwrite)
    stale = [folder / f"{name}.json" for name in _PARTS if name not in paths and (folder / f"{name}.json").exists()]
    if stale:
        raise OutputError(f"the folder must hold no part of another split; {stale[0]} is one; remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} must be there or be made; {error.strerror or error}") from error
    for name, path in paths.items():
        write_coco(path, split.parts[name], overwrite=overwrite)
    return list(paths.values())


def _content(
    images: Sequence[Mapping[str, Any]], by_image: Mapping[int, Sequence[Mapping[str, Any]]], group: Sequence[int]
) -> Counter[str]:
    """Count the boxes of each class in a group, and its pictures without any."""
    content: Counter[str] = Counter()
    for index in group:
        counting = [a["category_id"] for a in by_image[images[index]["id"]] if a.get("iscrowd", 0) != 1]
        content.update([CLASSES[category - 1] for category in counting] or [NOTHING])
    return content


def _deal(contents: Sequence[Counter[str]], sizes: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """Return the part that each group goes to."""
    totals: Counter[str] = Counter()
    for content in contents:
        totals.update(content)
    lacks = {part: {name: share * count for name, count in totals.items()} for part, share in shares.items()}
    room = {part: share * sum(sizes) for part, share in shares.items()}
    places: dict[int, str] = {}
    left = Counter(totals)
    while left:
        rarest = min(left, key=lambda name: (left[name], name))
        holders = [i for i, content in enumerate(contents) if i not in places and rarest in content]
        for index in sorted(holders, key=lambda i: -contents[i][rarest]):
            part = max(shares, key=lambda part: (lacks[part][rarest], room[part]))
            places[index] = part
            room[part] -= sizes[index]
            for name, count in contents[index].items():
                lacks[part][name] -= count
                left[name] -= count
        left = +left
    _fill_empty(places, sizes, shares)
    return [places[i] for i in range(len(contents))]


def _fill_empty(places: dict[int, str], sizes: Sequence[int], shares: Mapping[str, float]) -> None:
    """Move the smallest group of the part with most groups into a part that got none."""
    for part in shares:
        if part not in places.values():
            donor = Counter(places.values()).most_common(1)[0][0]
            places[min((i for i, place in places.items() if place == donor), key=lambda i: sizes[i])] = part
