"""Which file is a video and which is sound alone: by first bytes, and by streams where those do not tell."""

import builtins
import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from video_clips import clip, tone  # noqa: E402

from censor.video.sniff import is_video  # noqa: E402
from detector.folders import VIDEO, content_kind, walk  # noqa: E402
from detector.video_files import HEAD_BYTES, may_hold_video, says_sound_alone  # noqa: E402


def sound(container: str, codec: str, *, cover: bool = False) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=48_000, options={"strict": "-2"} if codec == "vorbis" else {})
        stream.bit_rate = 64_000
        art = None
        if cover:
            art = out.add_stream("mjpeg", rate=1)
            art.height, art.width, art.pix_fmt = 16, 16, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
        tone(out, stream, 0.2)
        if art is not None:
            picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24").reformat(format="yuvj420p")
            picture.pts = 0
            out.mux(art.encode(picture))
            out.mux(art.encode())
    return file.getvalue()


SOUNDS = {
    "ogg": lambda: sound("ogg", "libopus"),
    "vorbis": lambda: sound("ogg", "vorbis"),
    "flac": lambda: sound("ogg", "flac"),
    "m4a": lambda: sound("ipod", "aac"),
    "cover": lambda: sound("mp4", "aac", cover=True),
    "mka": lambda: sound("matroska", "aac"),
    "wma": lambda: sound("asf", "wmav2"),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_alone_is_passed_over_in_folders(tmp_path: Path, name: str) -> None:
    data = SOUNDS[name]()
    assert may_hold_video(data[:HEAD_BYTES])
    assert is_video(data), "who names it is told that it holds no moving pictures"
    (tmp_path / "x").write_bytes(data)
    (entry,) = walk(tmp_path)
    assert (entry.kind, entry.skipped) == (None, "sound alone, no pictures")


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libx264"), ("asf", "mpeg4"), ("ipod", "libx264")])
def test_videos_are_videos_whatever_their_container_is_known_for(tmp_path: Path, container: str, codec: str) -> None:
    data = clip(container=container, codec=codec, frames=2, time_base=Fraction(1, 30))
    (tmp_path / "x").write_bytes(data)
    assert [entry.kind for entry in walk(tmp_path)] == [VIDEO]
    if container == "ipod":  # a brand of sound does not make it sound, where the streams can be asked
        data = data[:8] + b"M4A " + data[12:]
        (tmp_path / "x").write_bytes(data)
        assert [entry.kind for entry in walk(tmp_path)] == [VIDEO]


def test_without_pyav_bytes_decide_and_the_unknown_is_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(SOUNDS["m4a"]())
    (tmp_path / "b").write_bytes(SOUNDS["mka"]())
    (tmp_path / "c").write_bytes(b"\x1a\x45\xdf\xa3" + bytes(100))
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert [entry.kind for entry in walk(tmp_path)] == [None, VIDEO, VIDEO]


def page(codec: bytes, first: bool = True) -> bytes:
    return b"OggS\0" + bytes([2 * first]) + bytes(20) + bytes([1, len(codec)]) + codec


@pytest.mark.parametrize(
    ("head", "alone"),
    [
        (page(b"\x01vorbis") + page(b"\x03vorbis", False), True),
        (page(b"fishead\0") + page(b"OpusHead") + page(b"OpusTags", False), True),
        (page(b"\x01vorbis") + page(b"\x80theora") + page(b"", False), False),
        (page(b"\x01vorbis") + page(b"nobody knows") + page(b"", False), False),
        (page(b"\x01vorbis"), False),
        (page(b"\x03vorbis", False), False),
        (b"OggS", False),
        (b"OggS" + bytes(24) + b"\x01vorbis", False),
    ],
)
def test_an_ogg_file_names_all_of_its_streams_first(head: bytes, alone: bool) -> None:
    assert may_hold_video(head)
    assert says_sound_alone(head) is alone
    assert content_kind(head) == (None if alone else VIDEO)


def test_what_is_neither() -> None:
    for head in (
        b"",
        b"hello",
        b"\0\0\0\x18ftypcrx ",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x03",
    ):
        assert not may_hold_video(head)
    for box in (b"styp", b"moof", b"sidx", b"mdat"):
        assert may_hold_video(b"\0\0\0\x18" + box)
