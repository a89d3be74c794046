"""What else is in a video file and must not come out: comments, pictures, transparency, frames that nobody saw."""

import contextlib
import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_parts import BREAST, MovingPart
from PIL import Image

av = pytest.importorskip("av")

from video_clips import SIZE, clip, frame_of, packets_of, read_frames, video_pipeline  # noqa: E402

from censor.video.copying import words_left_out  # noqa: E402
from censor.video.job import run_video  # noqa: E402
from censor.video.reading import VideoFile  # noqa: E402
from censor.video.rules import VideoRules  # noqa: E402
from censor.video.upright import Upright  # noqa: E402
from detector.errors import InputError, LimitError, OutputError  # noqa: E402

PART = MovingPart((64, 48), (40, 25), 3.0, (24, 18))
SECRET = b"taken by Jane Doe"
ASS = b"""[Script Info]
; taken by Jane Doe
Title: taken by Jane Doe
ScriptType: v4.00+
PlayResX: 640

[Aegisub Project Garbage]
Video File: taken by Jane Doe.mp4

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Graphics]
filename: taken by Jane Doe.jpg
M1=1[

[Events]
Format: Layer, Start, End, Text
Comment: 0,0:00:00.00,0:00:01.00,taken by Jane Doe
"""


def laced(parts: list[bytes]) -> bytes:
    """Return Xiph's other way to put headers together."""
    lengths = b"".join(b"\xff" * (len(part) // 255) + bytes([len(part) % 255]) for part in parts[:-1])
    return bytes([len(parts) - 1]) + lengths + b"".join(parts)


def sixteen(parts: list[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def vorbis_parts(said: bytes) -> list[bytes]:
    comments = struct.pack("<I", 4) + b"Xiph" + struct.pack("<II", 1, len(said)) + said + b"\x01"
    return [b"\x01vorbis" + bytes(23), b"\x03vorbis" + comments, b"\x05vorbis" + bytes(700)]


def remuxed(data: bytes, container: str, headers: dict[str, bytes]) -> bytes:
    """Return a file with other headers for its streams, by codec."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=container) as out:
        streams = {}
        for stream in source.streams:
            streams[stream.index] = copy = out.add_stream_from_template(stream)
            if stream.codec_context.name in headers:
                copy.codec_context.extradata = headers[stream.codec_context.name]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("together", [laced, sixteen])
def test_comments_of_vorbis_are_left_out(together: Any) -> None:
    for said in (b"", SECRET, b"METADATA_BLOCK_PICTURE=" + SECRET * 70):
        parts = vorbis_parts(said)
        clean = words_left_out("vorbis", together(parts))
        assert SECRET not in clean
        assert clean == sixteen([parts[0], b"\x03vorbis" + bytes(8) + b"\x01", parts[2]])
    for broken in (b"", b"\x02\x1e", together(parts)[:40], b"\x01" + bytes(90), sixteen(parts[::-1])):
        with pytest.raises(ValueError, match="headers are broken"):
            words_left_out("vorbis", broken)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_the_cover_in_a_vorbis_header_stays_in_the_source(tmp_path: Path, suffix: str) -> None:
    data = clip([PART], frames=8, container="matroska", sound="vorbis")
    with av.open(io.BytesIO(data)) as container:
        header = bytes(container.streams.audio[0].codec_context.extradata)
    facts, tables = header[header.index(b"\x01vorbis") :][:30], header[header.index(b"\x05vorbis") :]
    laden = remuxed(data, "matroska", {"vorbis": laced([facts, vorbis_parts(SECRET)[1], tables])})
    assert SECRET in laden
    run_video(video_pipeline(), laden, tmp_path / f"o{suffix}")
    assert SECRET not in (tmp_path / f"o{suffix}").read_bytes()
    assert packets_of(tmp_path / f"o{suffix}", "audio") == packets_of(data, "audio")
    with av.open(str(tmp_path / f"o{suffix}")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 5000


def with_streams(*names: str, frames: int = 6) -> bytes:
    """Return a clip with a packet of subtitles in each of these codecs."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        extra = [out.add_mux_stream(name) for name in names]
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(frame_of([PART], i / 30), "rgb24").reformat(format="yuv420p")
            picture.pts = i
            out.mux(stream.encode(picture))
        for i, words in enumerate(extra):
            packet = av.Packet(b"0,0,Default,,0,0,0,,picture %d" % i)
            packet.stream, packet.time_base, packet.duration = words, Fraction(1, 1000), 50
            packet.pts = packet.dts = 40
            out.mux(packet)
        out.mux(stream.encode())
    return file.getvalue()


def test_subtitles_that_are_pictures_are_not_copied(tmp_path: Path) -> None:
    data = with_streams("dvb_subtitle", "hdmv_pgs_subtitle", "ass")
    report = run_video(video_pipeline(), data, tmp_path / "o.mkv")
    written = (tmp_path / "o.mkv").read_bytes()
    assert [b"picture %d" % i in written for i in range(3)] == [False, False, True]
    assert sum("subtitles that are pictures" in note for note in report.notes) == 2


def test_the_header_of_styled_subtitles_says_only_how_words_look(tmp_path: Path) -> None:
    for header in (ASS, ASS.replace(b"\n", b"\r\n")):
        kept = words_left_out("ass", header).decode()
        assert kept.splitlines() == [
            "[Script Info]",
            "ScriptType: v4.00+",
            "PlayResX: 640",
            "[V4+ Styles]",
            "Format: Name, Fontname",
            "Style: Default,Arial",
            "[Events]",
            "Format: Layer, Start, End, Text",
        ]
    data = remuxed(with_streams("ass"), "matroska", {"ass": ASS, "ssa": ASS})
    assert SECRET in data
    run_video(video_pipeline(), data, tmp_path / "o.mkv")
    written = (tmp_path / "o.mkv").read_bytes()
    assert SECRET not in written
    assert b"Style: Default,Arial" in written


@pytest.mark.parametrize(
    ("codec", "container", "pixel_format", "suffix"),
    [
        ("qtrle", "mov", "argb", ".mp4"),
        ("prores_ks", "mov", "yuva444p10le", ".mp4"),
        ("libvpx-vp9", "webm", "yuva420p", ".mp4"),
        ("ffv1", "matroska", "yuva420p", ".mkv"),
    ],
)
def test_what_is_transparent_is_not_uncovered(
    tmp_path: Path, codec: str, container: str, pixel_format: str, suffix: str
) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, pixel_format
        for i in range(4):
            pixels = np.dstack([frame_of([], 0.0), np.full(SIZE, 255, np.uint8)])
            pixels[10:60, 10:60] = (255, 0, 0, 0)
            picture = av.VideoFrame.from_ndarray(pixels, "rgba").reformat(format=pixel_format)
            picture.pts = i
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    report = run_video(video_pipeline(), file.getvalue(), tmp_path / f"o{suffix}")
    for frame in read_frames(tmp_path / f"o{suffix}")[1]:
        assert frame[14:56, 14:56].max() < 30
        assert np.abs(frame[66:, :].astype(int) - frame_of([], 0.0)[66:]).mean() < 6
    assert any("transparency" in note for note in report.notes)


def test_the_cover_of_an_mp4_stays_in_the_source(tmp_path: Path) -> None:
    cover = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(cover, "JPEG", comment=SECRET)

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream, art = out.add_stream("libx264", rate=30), out.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        art.height, art.width, art.pix_fmt = 64, 64, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        out.start_encoding()
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.time_base = art, Fraction(1, 30)
        packet.pts = packet.dts = 0
        out.mux(packet)
        for i in range(4):
            picture = av.VideoFrame.from_ndarray(frame_of([PART], i / 30), "rgb24").reformat(format="yuv420p")
            picture.pts = i
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    assert SECRET in file.getvalue()
    report = run_video(video_pipeline(), file.getvalue(), tmp_path / "o.mp4")
    assert SECRET not in (tmp_path / "o.mp4").read_bytes()
    assert "left out: cover art" in report.notes


def test_frames_that_decode_to_something_else_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some damaged videos do; the file itself stays the same."""
    monkeypatch.setattr(VideoFile, "check_unchanged", lambda self: None)
    source = tmp_path / "in.mp4"
    source.write_bytes(clip([PART], frames=8))

    def progress(name: str, done: int, total: int | None) -> None:
        if name == "looking" and done == 8:
            source.write_bytes(
                clip([MovingPart((64, 48), (40, 25), 3.0, (24, 18), label="BUTTOCKS_EXPOSED")], frames=8)
            )

    with pytest.raises(InputError, match="not the one that was looked at"):
        run_video(video_pipeline(), source, tmp_path / "o.mp4", progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_stream_that_was_not_announced_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file brings PyAV to a stream that it has not made: an IndexError."""
    announced = VideoFile.packets

    def packets(self: VideoFile, container: Any, *streams: Any) -> Iterator[Any]:
        class Container:
            def demux(self, *streams: Any) -> Iterator[Any]:
                yield from list(container.demux(*streams))[:2]
                [][0]

        yield from announced(self, Container(), *streams)

    monkeypatch.setattr(VideoFile, "packets", packets)
    with pytest.raises(InputError, match="must announce all of its streams"):
        run_video(video_pipeline(), clip([PART], frames=4), tmp_path / "o.mp4")


def test_a_turn_that_changes_on_the_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: Iterator[Any] = iter([(), (), (("transpose", "clock"),)])
    monkeypatch.setattr(Upright, "_filters", lambda self, frame: next(turns))
    with pytest.raises(InputError, match="must have one size"):
        run_video(video_pipeline(), clip([PART], frames=4), tmp_path / "o.mp4")


def test_a_video_that_breaks_off_says_so(tmp_path: Path) -> None:
    data = clip([PART], frames=90, container="matroska")
    report = run_video(video_pipeline(), data, tmp_path / "o.mkv")
    assert not report.notes
    report = run_video(video_pipeline(), data[: len(data) // 2], tmp_path / "o.mkv")
    assert "the file says that it lasts 3.0 s; its pictures end after" in report.notes[0]
    assert report.exit_code == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_a_full_disk_is_one_line(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 2_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

        def seek(self, *place: int) -> int:
            if self.tell() > 1_500 and place != (0,):
                raise OSError(28, "No space left on device")
            return super().seek(*place)

    @contextlib.contextmanager
    def stream_atomic(path: Any) -> Iterator[Any]:
        yield Full()

    rng = np.random.default_rng(0)
    data = clip(draw=lambda time: rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), frames=10)
    monkeypatch.setattr("censor.video.job.stream_atomic", stream_atomic)
    with pytest.raises(OSError, match="No space left"):
        run_video(video_pipeline(verify=False), data, tmp_path / f"o{suffix}", rules=VideoRules(crf=5))
    assert capfd.readouterr() == ("", "")


def test_what_fails_while_a_file_is_closed_fails_the_video(tmp_path: Path) -> None:
    """PyAV does not tell of all errors of its callbacks."""
    from censor.video import writing

    class Broken(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(5, "Input/output error")

    sink = writing._Sink(Broken())
    with pytest.raises(OSError, match="Input/output"):
        sink.write(b"12345")
    assert (sink.write(b"12345"), sink.tell(), sink.seek(-2, 2), sink.seek(1, 1), sink.seek(0)) == (5, 5, 3, 4, 0)
    assert sink.error is not None


@pytest.mark.slow
def test_a_huge_frame_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """FFmpeg decodes some frames to learn more about a file; a frame of 256 megapixels took 660 MiB so."""
    import subprocess
    import sys

    side = 16_000
    with av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.height = stream.width = side
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame(side, side, "yuv420p")
        picture.pts = 0
        out.mux(stream.encode(picture))
        out.mux(stream.encode())
    with pytest.raises(LimitError, match="at most 50000000 pixels"):
        run_video(video_pipeline(), tmp_path / "in.mp4", tmp_path / "o.mp4")
    code = (
        "import sys, resource; sys.path.insert(0, 'tests')\n"
        "from video_clips import *; from censor.video.job import run_video\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: run_video(video_pipeline(), sys.argv[1], sys.argv[1] + '.mp4')\n"
        "except ValueError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "in.mp4")]
    done = subprocess.run(run, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    print("KiB:", done.stdout)
    assert int(done.stdout) < 150_000


def test_an_output_that_shows_what_is_hidden_never_comes_of_a_second_angle(tmp_path: Path) -> None:
    """A second stream of pictures is not copied, whichever of the two players would choose."""

    def more(out: Any) -> None:
        stream = out.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for i in range(6):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (230, 20, 200), np.uint8), "rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts = i
            second.extend(stream.encode(picture))
        second.extend(stream.encode())

    second: list[Any] = []
    file = io.BytesIO(clip([PART], frames=6, container="matroska", more=more))
    report = run_video(video_pipeline(), file.getvalue(), tmp_path / "o.mkv")
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert "left out: another video stream" in report.notes
    assert {item["label"] for item in report.hidden} == {BREAST}


def test_a_codec_header_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    data = clip([PART], frames=4, container="matroska", sound="vorbis")
    broken = data.replace(b"\x03vorbis", b"\x03worbis")
    assert broken != data
    with pytest.raises((OutputError, InputError)):
        run_video(video_pipeline(), broken, tmp_path / "o.mkv")
    assert not list(tmp_path.iterdir())


def test_frames_that_an_edit_list_hides_are_in_the_file_no_more(tmp_path: Path) -> None:
    """They stand in the source before its beginning, and players do not show them."""

    def draw(time: float) -> np.ndarray:
        return np.full((*SIZE, 3), (255, 0, 0) if time < 0 else (90, 90, 90), np.uint8)

    data = clip(draw=draw, pts=[i * 3000 for i in range(-6, 6)])
    with av.open(io.BytesIO(data), options={"advanced_editlist": "0"}) as container:
        everything = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert any((frame[..., 0] > 200).all() for frame in everything)
    run_video(video_pipeline(), data, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4"), options={"advanced_editlist": "0", "ignore_editlist": "1"}) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == len(read_frames(data)[1])
    assert max(int(frame.max()) for frame in frames) < 120


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_frames_that_are_shown_for_no_time_are_left_out_and_said(tmp_path: Path, suffix: str) -> None:
    """Two of these begin in the same millisecond, and a Matroska file counts in such."""
    data = clip([PART], pts=[0, 3000, 3010, 6000, 9000], container="matroska", codec="ffv1", pixel_format="yuv444p")
    report = run_video(video_pipeline(), data, tmp_path / f"o{suffix}")
    assert "frames that are shown for no time were left out: 1" in report.notes
    assert len(read_frames(tmp_path / f"o{suffix}")[1]) == 4
