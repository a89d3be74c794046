"""How large an untrusted picture may be, and the reading of its bytes within that."""

import io
import os
import stat
from dataclasses import dataclass, fields
from typing import BinaryIO

from PIL import Image

from detector.errors import InputError, LimitError, UsageError

__all__ = ["Limits", "read_file_object", "read_path"]

# A stream may give fewer bytes than asked for; this many are asked for at a time.
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds, inclusive, that are checked before any pixel is decoded.

    Attributes:
        max_bytes: of the file. A phone's largest pictures have some 30 MB.
        max_pixels: width times height. At four bytes a pixel the default takes 200 MB a copy. Pillow has a bound of
            its own, `PIL.Image.MAX_IMAGE_PIXELS` (89 megapixels unless a program changes it), that holds as well.
        max_side: of width and height each.
        max_frames: of an animation, and pages of a file.
        max_total_pixels: of all frames together; each of them is decoded three times. The default is 1,000 frames
            of 1920 x 1080, with some room.

    Raises:
        UsageError: for a bound that is not a whole number of at least 1.
    """

    max_bytes: int = 100 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side: int = 20_000
    max_frames: int = 5_000
    max_total_pixels: int = 2_500_000_000

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{bound.name} must be a whole number of at least 1; got {value!r}")

    def check_bytes(self, count: int, name: str) -> None:
        """Refuse a file of more than `max_bytes`; `count` may be what is known so far."""
        if count > self.max_bytes:
            raise LimitError(
                f"{name}: a picture file must have at most {self.max_bytes} bytes; got {count} or more; "
                "raise the limit on bytes if you trust its source"
            )

    def check_size(self, width: int, height: int, name: str) -> None:
        """Refuse a picture of no pixels, or of more than the limits allow."""
        if width < 1 or height < 1:
            raise InputError(f"{name}: a picture must have at least one pixel; got {width} x {height}")
        if max(width, height) > self.max_side:
            raise LimitError(
                f"{name}: a picture's sides must have at most {self.max_side} pixels; got {width} x {height}; "
                "make it smaller, or raise the limit on sides if you trust its source"
            )
        bound = min(self.max_pixels, Image.MAX_IMAGE_PIXELS or self.max_pixels)
        if width * height > bound:
            raise LimitError(
                f"{name}: a picture must have at most {bound} pixels; got {width} x {height} = {width * height}; "
                "make it smaller, or raise the limit on pixels if you trust its source"
            )

    def check_frames(self, count: int, total_pixels: int, name: str) -> None:
        """Refuse more frames or pages, or more pixels in all of them, than the limits allow."""
        if count > self.max_frames:
            raise LimitError(
                f"{name}: a file must have at most {self.max_frames} frames or pages; got {count} or more; "
                "cut it into shorter ones, or raise the limit on frames if you trust its source"
            )
        if total_pixels > self.max_total_pixels:
            raise LimitError(
                f"{name}: a file's frames must have at most {self.max_total_pixels} pixels together; got "
                f"{total_pixels} or more; make it smaller or shorter, or raise the limit if you trust its source"
            )


def read_path(path: str, limits: Limits) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        InputError: when it is missing, unreadable or not a regular file. A FIFO is refused without waiting for
            somebody to write into it.
        LimitError: when it is larger than the limits allow; at most one byte more than that is read.
    """
    # O_NONBLOCK: opening a FIFO would otherwise hang until it has a writer. Windows has neither it nor FIFOs.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        if os.path.isdir(path):  # Windows cannot open one to ask
            raise InputError(f"{path}: a picture must be a file; this is a folder; name the files in it")
        with open(os.open(path, flags), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(
                    f"{path}: a picture must be a regular file; this is a {_kind(status.st_mode)}; "
                    "save it to a file first, or pass it through standard input"
                )
            limits.check_bytes(status.st_size, path)
            return _read(file, path, limits)
    except FileNotFoundError as error:
        raise InputError(f"{path}: a picture file must be there; no such file; check the name") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"{path}: a picture file must be readable; got: {reason}") from error


def read_file_object(file: BinaryIO, name: str, limits: Limits) -> bytes:
    """Return the bytes of a binary file object, from where it stands to its end.

    Raises:
        InputError: when it is in text mode, or its `read` fails.
        LimitError: when it is larger than the limits allow; at most one byte more than that is read.
    """
    try:
        return _read(file, name, limits)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{name}: a file object must give bytes; reading failed: {type(error).__name__}: {error}"
        ) from error


def _read(file: BinaryIO | io.FileIO, name: str, limits: Limits) -> bytes:
    chunks: list[bytes] = []
    count = 0
    while count <= limits.max_bytes:
        # A file's own size is unknown here; asking for it all at once would set the whole limit aside.
        chunk = file.read(min(max(count, _CHUNK), limits.max_bytes + 1 - count))
        if not isinstance(chunk, bytes):
            raise InputError(
                f"{name}: a file object must give bytes; got {type(chunk).__name__}; open it in binary mode"
            )
        if not chunk:
            break
        chunks.append(chunk)
        count += len(chunk)
    limits.check_bytes(count, name)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "special file"
