"""The pictures of a data set: which files they are, and what each shows to those who compare them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.data.coco import picture_path
from detector.data.phash import VIEW_SIDE, group_linked, hash_view, near_pairs
from detector.errors import InputError
from detector.limits import Limits
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["SUFFIXES", "Seen", "copies", "list_pictures", "look_at_pictures", "see"]

# What is taken for a picture in a folder; its content decides when it is read.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".jfif")
)

# Levels. A picture whose colours deviate less than this from their mean shows nothing: a fill, a failed export.
BLANK_DEVIATION = 2.0


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What comparing pictures needs to know of one.

    Attributes:
        image_size: (height, width) as a viewer sees it.
        turned: whether the file is stored turned by 90 degrees and an orientation puts it right.
        sha256: of the file.
        hashes: (2, 64) bool, see `hash_view`.
        blank: whether it shows nothing.
    """

    image_size: tuple[int, int]
    turned: bool
    sha256: str
    hashes: NDArray[np.bool_]
    blank: bool


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder and the folders in it, sorted; hidden ones are left out.

    Raises:
        InputError: when it is no folder, or holds no pictures.
    """
    if not folder.is_dir():
        raise InputError(f"the pictures must be in a folder; {folder} is none")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    pictures = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not pictures:
        raise InputError(f"the folder must hold pictures; {folder} has none ({', '.join(sorted(SUFFIXES))})")
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def see(path: Path, limits: Limits) -> Seen:
    """Decode a picture and describe it.

    Raises:
        InputError: when it cannot be read to its end.
    """
    picture = Picture.open(path, limits=limits)
    (view, *_) = picture.views(VIEW_SIDE)
    return Seen(
        image_size=picture.image_size,
        turned=picture.orientation >= 5,
        sha256=str(picture.sha256),
        hashes=hash_view(view),
        blank=float(cv2.meanStdDev(view)[1].max()) < BLANK_DEVIATION,
    )


def look_at_pictures(
    images: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    limits: Limits,
    workers: int,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Mapping[str, Any], Seen | Exception]]:
    """Yield each image record of an annotation file with what its picture shows, or why it could not be read."""

    def look(image: Mapping[str, Any]) -> Seen:
        return see(picture_path(folder, image.get("file_name")), limits)

    for image, result in map_in_order(look, images, workers):
        advance()
        yield image, result


def copies(seen: Sequence[Seen], near_bits: int) -> tuple[list[list[int]], list[list[int]]]:
    """Group pictures that are copies.

    Args:
        seen: N pictures.
        near_bits: as in `near_pairs`.

    Returns:
        The groups of byte-identical files, and those of near copies (which hold the identical ones too); indices
        into `seen`, singles included in both.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(picture.sha256, index), index) for index, picture in enumerate(seen)]
    near = near_pairs([picture.hashes for picture in seen], near_bits)
    return group_linked(len(seen), same), group_linked(len(seen), [*same, *near])
