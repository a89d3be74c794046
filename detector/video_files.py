"""Tell a video by its first bytes, not by its name: one list for who walks over folders and who opens a file.

Containers hold sound alone as well. Some say so in their first bytes: the brand of an MP4 file, the streams of an Ogg
file. Of others only the streams tell, and PyAV is asked where it is installed. What stays unknown is taken for a video:
whoever opens it finds out, and nothing of it gets out unseen.
"""

import os
from typing import Any

__all__ = ["HEAD_BYTES", "holds_sound_alone", "may_hold_video", "says_sound_alone"]

# Transport streams are told by marks 188 or 192 bytes apart; three of them are no accident.
HEAD_BYTES = 1024

_MATROSKA = b"\x1a\x45\xdf\xa3"
_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_STARTS = (
    _MATROSKA,  # WebM too
    _ASF,  # WMV, WMA
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b".RMF",
    b"DKIF",  # IVF
    b"YUV4MPEG2",
    b"nut/multimedia container\x00",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",  # MXF: a header partition
)
# First boxes of QuickTime files that have no `ftyp`, and of pieces of a stream.
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx", b"moof")
# Brands of pictures in the same container, and of animations, which are read as pictures; of camera raw; of sound.
_PICTURES = (b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"jpeg")
_RAW = b"crx "
_SOUND = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
# How a stream in an Ogg file begins that shows no moving pictures: sound, words, and the index of the others.
_OGG_SOUND = (
    b"\x01vorbis",
    b"OpusHead",
    b"Speex   ",
    b"\x7fFLAC",
    b"fLaC",
    b"PCM     ",
    b"CELT    ",
    b"fishead\0",
    b"\x80kate\0\0\0",
    b"CMML\0\0\0\0",
)
_OGG_FIRST = 2  # the flag of a page that begins a stream; all of them come first (RFC 3533, section 4)
_ATTACHED = 0x400  # FFmpeg's flag of cover art
_PROBE_PIXELS = 1 << 26


def may_hold_video(head: bytes) -> bool:
    """Whether a file that begins with these bytes is in a container of videos, and no picture; give `HEAD_BYTES`."""
    if head.startswith(_STARTS) or head[4:8] in _BOXES:
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[4:8] == b"ftyp":
        return head[8:12] not in (*_PICTURES, _RAW)
    return any(_marks(head, start, step) for start, step in ((0, 188), (4, 192)))


def says_sound_alone(head: bytes) -> bool:
    """Whether the first bytes of a file for which `may_hold_video` holds say that there are no moving pictures."""
    if head[4:8] == b"ftyp":
        return head[8:12] in _SOUND
    return head.startswith(b"OggS") and _ogg_sound_alone(head)


def holds_sound_alone(path: str | os.PathLike[str], head: bytes) -> bool:
    """Whether a file for which `may_hold_video` holds has no moving pictures; PyAV is asked where bytes do not tell.

    A cover's picture does not move. False for what cannot be opened: whoever opens it next says why.
    """
    said = says_sound_alone(head)
    if not (head[4:8] == b"ftyp" or head.startswith((_MATROSKA, _ASF))):
        return said
    try:
        import av
        import av.logging
    except ImportError:
        return said
    av.logging.set_level(None)
    try:
        with open(path, "rb") as file, av.open(file, **_careful()) as container:
            moving = [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED]
            return not moving and bool(container.streams.audio)
    except (OSError, ValueError, IndexError):
        return said


def _careful() -> dict[str, Any]:
    """Return how PyAV opens what nobody has looked at yet: no other file, no network, no huge frames."""
    return {
        "mode": "r",
        "metadata_errors": "replace",
        "container_options": {"protocol_whitelist": "none"},
        "options": {"max_pixels": str(_PROBE_PIXELS)},
    }


def _marks(head: bytes, start: int, step: int) -> bool:
    return len(head) > start + 2 * step and all(head[start + i * step] == 0x47 for i in range(3))


def _ogg_sound_alone(head: bytes) -> bool:
    """Whether every stream that begins here is known to be no video; False where one may begin after these bytes."""
    at = 0
    while head[at : at + 4] == b"OggS" and len(head) > at + 27:
        if not head[at + 5] & _OGG_FIRST:
            return at > 0
        segments = head[at + 26]
        body = at + 27 + segments
        if not head[body:].startswith(_OGG_SOUND):
            return False
        at = body + sum(head[at + 27 : body])
    return False
