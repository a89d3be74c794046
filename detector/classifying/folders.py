"""An image folder for training: which pictures are of which class, and which of them are for validation."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector.data.phash import VIEW_SIDE, group_linked, hash_view, near_pairs
from detector.errors import InputError
from detector.nearest import nearest
from detector.onnx_session import default_threads
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["SUFFIXES", "FolderData", "Labelled", "read_folder"]

# What is taken for a picture in a class's folder. The content decides how it is read; anything else is an error there,
# so that no picture is left out unseen.
SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# Files that file managers leave in every folder.
_LITTER = ("thumbs.db", "desktop.ini")
_PARTS = ("train", "val")


@dataclass(frozen=True)
class Labelled:
    """One picture and its label."""

    path: Path
    label: int


@dataclass(frozen=True, kw_only=True)
class FolderData:
    """The pictures of a data set, each part in the order of labels and names.

    Attributes:
        train: what is learned from.
        val: what is judged.
        split: how the parts came about, in words.
    """

    train: tuple[Labelled, ...]
    val: tuple[Labelled, ...]
    split: str


def read_folder(folder: Path, classes: Sequence[str], *, val_share: float, seed: int) -> FolderData:
    """List the pictures of an image folder.

    Args:
        folder: holds `train/CLASS/…` and `val/CLASS/…`; or `CLASS/…` alone, which is then split: by chance, class by
            class, all near-copies of a picture (resized, coded again, mirrored) on one side.
        classes: the folders that must be there, no more and no fewer, each with at least one picture in each part.
        val_share: of each class, for a split.
        seed: of the split.

    Raises:
        InputError: when a class's folder is missing, unknown or empty, holds something that is no picture, or a
            picture that must be looked at for a split cannot be read.
    """
    names = {path.name for path in _folders(folder)}
    if names & set(_PARTS):
        for part in _PARTS:
            if part not in names:
                raise InputError(f"{folder} must hold both train and val, or a folder a class; there is no {part}")
        extra = sorted(names - set(_PARTS))
        if extra:
            raise InputError(
                f"{folder} holds train and val, so nothing else may stand there; got the folder {extra[0]}"
            )
        train, val = (_read_part(folder / part, classes) for part in _PARTS)
        return FolderData(train=train, val=val, split="train/ and val/ as given")
    return _split(_read_part(folder, classes), classes, val_share, seed)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"the data must be a folder that can be read; {folder} is not ({error.strerror})") from error


def _read_part(folder: Path, classes: Sequence[str]) -> tuple[Labelled, ...]:
    there = _folders(folder)
    for path in there:
        if path.name not in classes:
            raise InputError(
                f"{folder}: its folders must be the classes {', '.join(classes)}; got {path.name}"
                f"{nearest(path.name, classes)}; rename it, or set model.classes"
            )
    names = {path.name for path in there}
    found: list[Labelled] = []
    for label, name in enumerate(classes):
        if name not in names:
            raise InputError(f"{folder} must hold a folder for each class; there is none for {name}")
        pictures = _pictures(folder / name)
        if not pictures:
            raise InputError(f"each class must have at least one picture; {folder / name} has none")
        found += [Labelled(path, label) for path in pictures]
    return tuple(found)


def _pictures(folder: Path) -> list[Path]:
    """Return the files of a folder and those below, sorted."""
    pictures = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: a class's folder must hold pictures only ({' '.join(SUFFIXES)}); move it away")
        pictures.append(path)
    return pictures


def _split(pictures: Sequence[Labelled], classes: Sequence[str], val_share: float, seed: int) -> FolderData:
    def look(picture: Labelled) -> NDArray[np.bool_]:
        return hash_view(Picture.open(picture.path).views(VIEW_SIDE)[0])

    hashes: list[NDArray[np.bool_]] = []
    for _, found in map_in_order(look, pictures, default_threads()):
        if isinstance(found, Exception):
            raise found
        hashes.append(found)
    groups = group_linked(len(pictures), near_pairs(hashes))
    random.Random(seed).shuffle(groups)
    # Of each class val takes groups, in that order, until it has its share.
    by_class: list[list[list[int]]] = [[] for _ in classes]
    mixed = 0
    for group in groups:
        labels = Counter(pictures[index].label for index in group)
        mixed += len(labels) > 1
        by_class[labels.most_common(1)[0][0]].append(group)
    chosen: set[int] = set()
    for name, members in zip(classes, by_class, strict=True):
        if len(members) < 2:
            raise InputError(
                f"a class must have at least two different pictures to be split; {name} has {len(members)}; add "
                "pictures, or make train/ and val/ yourself"
            )
        wanted = val_share * sum(map(len, members))
        picked: list[list[int]] = []
        for group in members:
            # A group that would overshoot by more than it lacks waits for training; one is left there in any case.
            if sum(map(len, picked)) + len(group) / 2 <= wanted and len(picked) < len(members) - 1:
                picked.append(group)
        chosen.update(index for group in picked or [min(members, key=len)] for index in group)
    text = f"{val_share:.0%} of each class by chance, seed {seed}; {len(groups)} groups of near-copies"
    if mixed:
        text += f", {mixed} of them with pictures of several classes: look at their labels"
    parts = ([p for i, p in enumerate(pictures) if (i in chosen) is side] for side in (False, True))
    train, val = (tuple(part) for part in parts)
    return FolderData(train=train, val=val, split=text)
