"""`Pixels`: one picture while it is worked on, decoded once for everybody who looks at it."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from detector.picture import Picture

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Pixels"]

# A JPEG of this many pixels or more is looked at in a reduced copy, which its decoder makes at a fraction of the cost;
# the full decode (10 ms and more) then runs beside it in a second thread.
REDUCED_PIXELS = 1_000_000


class Pixels:
    """The pixels of one picture, for the detector, the second opinion and the painter.

    A context manager: on leaving it, a decode that is still under way in the second thread is given up.

    Args:
        picture: the picture as it came in.
        ahead: decode a large JPEG at full size in a second thread while the detector looks at a reduced copy. Only
            for who will need it in any case: a decode that nobody needs slows the look itself down, by half.
    """

    def __init__(self, picture: Picture, *, ahead: bool = False) -> None:
        height, width = picture.image_size
        self.picture = picture
        self._reduced = picture.format == "JPEG" and height * width >= REDUCED_PIXELS
        self._image: Image.Image | None = None
        self._cancelled = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[Image.Image] | None = None
        if ahead and self._reduced and (os.cpu_count() or 1) > 1:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="retina-censor-decode")
            self._future = self._pool.submit(picture.load, self._cancelled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancelled.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def full(self) -> "Image.Image":
        """Return the picture at full size, decoded once; what is painted on it is seen by everybody who looks later."""
        if self._image is None:
            self._image = self._future.result() if self._future is not None else self.picture.load()
        return self._image

    def for_detector(self) -> Picture:
        """Return what a detector looks at: the file of a large JPEG, the decoded pixels of anything else."""
        return self.picture if self._reduced else self.picture.decoded(self.full())

    def for_opinion(self) -> Picture:
        """Return what the second opinion looks at: full size, since a reduced copy moves its score by up to .07."""
        return self.picture.decoded(self.full())
