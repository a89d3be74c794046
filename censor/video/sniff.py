"""Tell a video by its first bytes, without PyAV: names are not asked."""

import os
from typing import BinaryIO

__all__ = ["HEAD_BYTES", "is_video", "looks_like_video"]

# Transport streams are told by marks 188 or 192 bytes apart; three of them are no accident.
HEAD_BYTES = 1024

_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b".RMF",
    b"DKIF",  # IVF
    b"YUV4MPEG2",
    b"nut/multimedia container\x00",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",  # MXF
)
# First boxes of QuickTime files that have no `ftyp`.
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# Brands of pictures in the same container, and of animations, which are read as pictures.
_PICTURES = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"jpeg")


def looks_like_video(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a video, or sound alone, and no picture; give `HEAD_BYTES`."""
    if head.startswith(_STARTS):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURES
    if head[4:8] in _BOXES:
        return True
    return any(_marks(head, start, step) for start, step in ((0, 188), (4, 192)))


def _marks(head: bytes, start: int, step: int) -> bool:
    return len(head) > start + 2 * step and all(head[start + i * step] == 0x47 for i in range(3))


def is_video(source: str | os.PathLike[str] | bytes | BinaryIO) -> bool:
    """Whether a file is a video by its content; a file object stays where it stood.

    False for what cannot be read or sought in: whoever opens it next says why.
    """
    if isinstance(source, bytes):
        return looks_like_video(source[:HEAD_BYTES])
    if isinstance(source, str | os.PathLike):
        try:
            if not os.path.isfile(source):  # a pipe would wait for somebody to write into it
                return False
            with open(source, "rb") as file:
                return looks_like_video(file.read(HEAD_BYTES))
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
    return isinstance(head, bytes) and looks_like_video(head)
