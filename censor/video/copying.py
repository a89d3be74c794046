"""Which of a video's streams are copied without being decoded, and what of their headers may come along.

Headers are no sound and no words: a Vorbis header holds titles and often the cover's picture, a subtitle's header names
files and may carry fonts and pictures. Subtitles that are pictures are not copied at all, since nobody looks at them.
"""

import io
import struct
from collections.abc import Sequence
from typing import Any

from censor.video.reading import is_copied, load_av
from detector.errors import OutputError

__all__ = ["add_copy", "check_streams", "copied_streams", "words_left_out"]

# ISO 639; anything longer is text.
LANGUAGE_LETTERS = 3
# The three headers of Vorbis begin so: facts, comments, tables. Source: Vorbis I specification, 4.2.1.
_VORBIS = (b"\x01vorbis", b"\x03vorbis", b"\x05vorbis")
# A comment header that says nothing: no vendor, no comments, and the bit that ends it.
_NO_COMMENTS = _VORBIS[1] + struct.pack("<II", 0, 0) + b"\x01"
# Of the header of a subtitle file that styles its words (SSA, ASS) the sections, and of the first the lines, that say
# how words are shown; of the last section only how its lines are to be read.
_ASS_SECTIONS = (b"[script info]", b"[v4 styles]", b"[v4+ styles]", b"[v4++ styles]", b"[events]")
_ASS_INFO = frozenset((b"scripttype", b"playresx", b"playresy", b"layoutresx", b"layoutresy", b"wrapstyle", b"timer"))
_ASS_INFO |= frozenset((b"collisions", b"scaledborderandshadow", b"ycbcr matrix", b"kerning"))


def copied_streams(container: Any, drop: Sequence[str]) -> list[Any]:
    """Return the source's streams that are copied without looking into them: sound and the words of subtitles."""
    kinds = [kind for kind, name in (("audio", "audio"), ("subtitle", "subtitles")) if name not in drop]
    return [stream for stream in container.streams if stream.type in kinds and is_copied(stream)]


def check_streams(container: str, streams: Sequence[Any]) -> None:
    """Refuse a stream that the new container cannot hold, before any work is done.

    Raises:
        OutputError: names the stream and what can be done.
    """
    av = load_av()
    for stream in streams:
        try:
            if stream.codec_context is None:
                raise ValueError("unknown codec")
            with av.open(io.BytesIO(), "w", format=container) as out:
                add_copy(out, stream)
                out.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            kind = "subtitles" if stream.type == "subtitle" else "audio"
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            raise OutputError(
                f"the {container} container must hold the {kind} stream {stream.index} ({codec}) as it is; it cannot; "
                f"name an .mkv file, or leave it out with drop={kind}"
            ) from error


def add_copy(out: Any, stream: Any) -> Any:
    """Add to an output a stream for copies of another's packets; nothing but its language is said about it.

    Raises:
        ValueError: when its header is not understood, and may hold anything.
    """
    copy = out.add_stream_from_template(stream)
    language = stream.language
    copy.metadata.clear()
    if language and language.isalpha() and len(language) <= LANGUAGE_LETTERS:
        copy.metadata["language"] = language
    header = stream.codec_context.extradata
    if header:
        codec = stream.codec_context.codec.canonical_name
        copy.codec_context.extradata = words_left_out(codec, bytes(header))
    return copy


def words_left_out(codec: str, header: bytes) -> bytes:
    """Return the header of a codec, FFmpeg's name, without what its decoder does not need.

    Raises:
        ValueError: when it is not understood.
    """
    if codec == "vorbis":
        facts, _, tables = _vorbis_headers(header)
        return b"".join(struct.pack(">H", len(part)) + part for part in (facts, _NO_COMMENTS, tables))
    return _ass_header(header) if codec == "ass" else header


def _vorbis_headers(header: bytes) -> tuple[bytes, bytes, bytes]:
    """Take the three headers apart, which stand with their lengths before each, or with two lengths before all."""
    parts: list[bytes] = []
    if header[:2] == struct.pack(">H", 30):
        at = 0
        while len(parts) < 3:
            (length,) = struct.unpack(">H", header[at : at + 2].rjust(2, b"\0"))
            parts.append(header[at + 2 : at + 2 + length])
            at += 2 + length
    elif header[:1] == b"\x02":
        at, lengths = 1, [0, 0]
        for i in range(2):
            while header[at : at + 1] == b"\xff":
                lengths[i] += 255
                at += 1
            lengths[i] += int.from_bytes(header[at : at + 1], "big")
            at += 1
        first, second = at + lengths[0], at + lengths[0] + lengths[1]
        parts = [header[at:first], header[first:second], header[second:]]
    if len(parts) != 3 or not all(part.startswith(start) for part, start in zip(parts, _VORBIS, strict=True)):
        raise ValueError("its Vorbis headers are broken")
    return parts[0], parts[1], parts[2]


def _ass_header(header: bytes) -> bytes:
    kept, section = [], b""
    for line in header.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"["):
            section = line.strip().lower()
            wanted = section in _ASS_SECTIONS
        else:
            key = line.partition(b":")[0].strip().lower()
            wanted = bool(key) and section in _ASS_SECTIONS and not key.startswith((b";", b"!"))
            wanted = wanted and (section != _ASS_SECTIONS[0] or key in _ASS_INFO)
            wanted = wanted and (section != _ASS_SECTIONS[-1] or key == b"format")
        kept += [line] if wanted else []
    return b"\r\n".join([*kept, b""])
