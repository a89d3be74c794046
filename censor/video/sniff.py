"""Tell a video by its content, wherever it comes from, without PyAV: names are not asked."""

import os
from typing import BinaryIO

from detector.video_files import HEAD_BYTES, may_hold_video

__all__ = ["is_video"]


def is_video(source: str | os.PathLike[str] | bytes | BinaryIO) -> bool:
    """Whether a file is a video by its content; a file object stays where it stood.

    False for what cannot be read or sought in: whoever opens it next says why.
    """
    if isinstance(source, bytes):
        return may_hold_video(source[:HEAD_BYTES])
    if isinstance(source, str | os.PathLike):
        try:
            if not os.path.isfile(source):  # a pipe would wait for somebody to write into it
                return False
            with open(source, "rb") as file:
                return may_hold_video(file.read(HEAD_BYTES))
        except (OSError, ValueError):
            return False
    try:
        if not source.seekable():
            return False
        place = source.tell()
        try:
            head = source.read(HEAD_BYTES)
        finally:
            source.seek(place)
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(head, bytes) and may_hold_video(head)
