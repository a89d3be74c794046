"""The boxes of an AVIF image sequence that say how it is played: ticks a second, durations, repetitions.

Pillow gives times in whole milliseconds and always writes ticks of 1/1000 s and endless repetition; the numbers that
it cannot express are read, and set, here.

Source: ISO/IEC 14496-12 (boxes mvhd, tkhd, elst, mdhd, stts); AVIF 1.1, section 3 for repetition by the edit list.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from detector.errors import InputError

__all__ = ["AvifTiming", "avif_timing", "with_timing"]

# Pillow's and libavif's, in ticks a second, where nothing else is asked for.
MILLISECONDS = 1000
_INDEFINITE = (1 << 64) - 1
_CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")
_LOOPS = 1


@dataclass(frozen=True)
class AvifTiming:
    """How a sequence is played: ticks a second, ticks of each frame, and plays (0: for ever)."""

    timescale: int
    ticks: tuple[int, ...]
    plays: int


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each box's type and where its body begins and ends, those inside containers after these."""
    at = start
    while at + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        end = stop if size == 0 else at + size
        if end > stop or end < body:
            raise struct.error("a box leads outside its container")
        yield kind, body, end
        if kind in _CONTAINERS:
            yield from _boxes(data, body, end)
        at = end


def _first_track(data: bytes) -> dict[bytes, tuple[int, int]]:
    """Return where the bodies of the colour track's boxes are; a second track holds the alpha of the same frames."""
    found: dict[bytes, tuple[int, int]] = {}
    for kind, start, end in _boxes(data, 0, len(data)):
        if b"trak" in found and kind in (b"trak", b"mdat"):
            break  # whatever stands behind is nothing that is needed
        found.setdefault(kind, (start, end))
    return found


def avif_timing(data: bytes, name: str) -> AvifTiming:
    """Read how a sequence is played.

    Raises:
        InputError: when the boxes are broken or missing.
    """
    try:
        boxes = _first_track(data)
        start, _ = boxes[b"mdhd"]
        wide = data[start] == 1
        timescale, _ = struct.unpack_from(">IQ" if wide else ">II", data, start + (20 if wide else 12))
        ticks = _durations(data, *boxes[b"stts"])
        if not timescale:
            raise struct.error("no time passes")
        return AvifTiming(timescale, ticks, _plays(data, boxes, sum(ticks), timescale))
    except (struct.error, KeyError, IndexError) as error:
        raise InputError(
            f"{name}: an AVIF sequence must say how long its frames are shown; this one does not; it is truncated or "
            "corrupt; export it again"
        ) from error


def _durations(data: bytes, start: int, end: int) -> tuple[int, ...]:
    (count,) = struct.unpack_from(">I", data, start + 4)
    ticks: list[int] = []
    for i in range(count):
        frames, delta = struct.unpack_from(">II", data, start + 8 + 8 * i)
        if frames > (1 << 20) or len(ticks) > (1 << 20):
            raise struct.error("more frames than anybody shows")
        ticks += [delta] * frames
    return tuple(ticks)


def _plays(data: bytes, boxes: dict[bytes, tuple[int, int]], ticks: int, timescale: int) -> int:
    """Return how often it is played: the track's duration by the edit's, where the edit list says that it repeats."""
    if b"elst" not in boxes:
        return 0  # nothing is said; viewers repeat it, as libavif's own writer would have said
    start, _ = boxes[b"elst"]
    if not int.from_bytes(data[start + 1 : start + 4], "big") & _LOOPS:
        return 1
    at, _ = boxes[b"tkhd"]
    wide = data[at] == 1
    (track,) = struct.unpack_from(">Q" if wide else ">I", data, at + (28 if wide else 20))
    (edit,) = struct.unpack_from(">Q" if data[start] == 1 else ">I", data, start + 8)
    if track == (_INDEFINITE if wide else 0xFFFFFFFF) or not edit:
        return 0
    return int(max(1, -(-track // edit)))


def with_timing(data: bytes, timing: AvifTiming) -> bytes:
    """Return a sequence that Pillow wrote, its durations in ticks of its own, with what Pillow cannot say.

    Raises:
        ValueError: when its boxes are not as libavif writes them: version 1, with an edit list in every track.
    """
    patched = bytearray(data)
    total = sum(timing.ticks)
    whole = _INDEFINITE if timing.plays == 0 else total * timing.plays
    seen = set()
    for kind, start, _ in _boxes(data, 0, len(data)):
        if kind not in (b"mvhd", b"tkhd", b"mdhd", b"elst"):
            continue
        seen.add(kind)
        if data[start] != 1:
            raise ValueError(f"a box {kind.decode()} of version {data[start]}")
        if kind == b"mvhd":
            struct.pack_into(">IQ", patched, start + 20, timing.timescale, whole)
        elif kind == b"mdhd":
            if data[start + 20 : start + 24] != struct.pack(">I", MILLISECONDS):
                raise ValueError("ticks of other than 1/1000 s")
            struct.pack_into(">IQ", patched, start + 20, timing.timescale, total)
        elif kind == b"tkhd":
            struct.pack_into(">Q", patched, start + 28, whole)
        else:
            patched[start + 3] = 0 if timing.plays == 1 else _LOOPS
        # No time of writing: the same input gives the same bytes.
        if kind != b"elst":
            patched[start + 4 : start + 20] = bytes(16)
    if len(seen) != 4:
        raise ValueError("a box that says how it is played is missing")
    return bytes(patched)
