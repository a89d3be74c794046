"""TIFF files of several pages: each page is a picture of its own, with its own size, mode, profile and orientation.

Pages are not moments of time: nothing is held from one to the next. What hangs below a page (previews and the like in
SubIFDs) is not carried over.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property

from detector.limits import Limits
from detector.picture import Picture
from detector.tiff import single_page, tiff_pages

__all__ = ["Pages", "open_pages"]


class Pages:
    """A TIFF file of several pages; each is opened when its turn comes.

    Attributes:
        name: the path as given, or `<bytes>`, `<file>`.
        data: the whole file.
        format: TIFF.
        limits: what it was checked against.
    """

    format = "TIFF"

    def __init__(self, name: str, data: bytes, starts: list[int], limits: Limits) -> None:
        self.name = name
        self.data = data
        self.limits = limits
        self._starts = starts

    @property
    def count(self) -> int:
        """How many pages there are."""
        return len(self._starts)

    @cached_property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    def pictures(self) -> Iterator[Picture]:
        """Open each page, in order; nothing is decoded.

        Raises:
            InputError: when a page is broken in its structure.
            LimitError: when a page is larger than the limits allow, or all of them are together.
        """
        total = 0
        for number, start in enumerate(self._starts, 1):
            name = f"{self.name} (page {number})"
            picture = Picture.open(single_page(self.data, start), limits=self.limits, name=name)
            total += picture.image_size[0] * picture.image_size[1]
            self.limits.check_frames(number, total, self.name)
            yield picture


def open_pages(name: str, data: bytes, limits: Limits) -> Pages | None:
    """Return the pages of a TIFF file; None where there is one only.

    Raises:
        InputError: when the chain of pages is broken.
        LimitError: when there are more than the limits allow.
    """
    starts = tiff_pages(data, name, limits)
    return Pages(name, data, starts, limits) if len(starts) > 1 else None
