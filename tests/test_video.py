"""Videos through the whole job: what is hidden, what is kept to the tick, and what is left out."""

import io
import itertools
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_parts import BREAST, BUTTOCKS, MovingPart

av = pytest.importorskip("av")

from video_clips import (  # noqa: E402
    COLOURS,
    SIZE,
    ColourDetector,
    boxes_of,
    clip,
    frame_of,
    mask_of,
    packets_of,
    read_frames,
    video_pipeline,
)

import censor  # noqa: E402
from censor.video.job import run_video  # noqa: E402
from censor.video.rules import VideoRules  # noqa: E402
from detector.errors import InputError, LimitError, OutputError, UsageError  # noqa: E402
from detector.limits import Limits  # noqa: E402

PARTS = [
    MovingPart((64, 48), (40, 25), 3.0, (24, 18)),
    MovingPart((64, 48), (30, 30), 2.0, (18, 20), 0.4, 1.1, BUTTOCKS),
]
ONE = PARTS[:1]
UNEVEN = [0, 7804, 13899, 18988, 22146, 25608, 26935, 28536, 29668, 32070, 39576, 45771]
SECRET = "taken by Jane Doe"


def exposed(frames: list[np.ndarray]) -> int:
    return int(sum(mask_of(frame, label).sum() for frame in frames for label in COLOURS))


def censored(
    data: bytes, target: Path, pipeline: Any = None, **rules: Any
) -> tuple[Any, list[Fraction], list[np.ndarray]]:
    report = run_video(pipeline or video_pipeline(), data, target, rules=VideoRules(**rules))
    return report, *read_frames(target)


def test_no_exposed_pixel_is_left_when_a_fifth_is_missed(tmp_path: Path) -> None:
    data = clip(PARTS, frames=45)
    _, before = read_frames(data)
    detector = ColourDetector(misses=0.2, seed=1)
    alone, rng = 0, np.random.default_rng(1)
    for frame in before:
        for label in COLOURS:
            box = boxes_of(frame, label)
            if box and rng.random() < 0.2:
                alone += int(mask_of(frame, label).sum())
    report, _, after = censored(data, tmp_path / "o.mp4", video_pipeline(detector))
    assert exposed(before) > 10_000
    assert alone / exposed(before) > 0.05  # covering each frame by its own look leaves this share
    assert exposed(after) == 0
    assert report.verified
    assert report.verdict.verdict == "nsfw"
    assert {item["label"] for item in report.hidden} == {BREAST, BUTTOCKS}
    hidden = next(item for item in report.hidden if item["label"] == BUTTOCKS)
    found = next(item for item in report.ranges if item["label"] == BUTTOCKS)
    assert hidden["start"] <= found["start"] - 0.3
    assert hidden["end"] >= found["end"] + 0.3


def test_the_report_holds_a_hash(tmp_path: Path) -> None:
    report, _, _ = censored(clip(ONE, frames=4), tmp_path / "o.mp4")
    assert report.to_dict()["pdq"]["hash"] == report.pdq.hash
    assert not report.notes
    report, _, _ = censored(clip(ONE, frames=4), tmp_path / "o.mp4", every=3, verify_share=0.0)
    assert "2 of 4 frames were looked at: between looks, what moves fast may show" in report.notes


def test_what_is_not_hidden_stays(tmp_path: Path) -> None:
    data = clip(ONE, frames=8)
    _, before = read_frames(data)
    _, _, after = censored(data, tmp_path / "o.mp4")
    # All but the black box, and the part itself.
    hidden = [(new.max(axis=2) < 30) | (np.ptp(old, axis=2) > 20) for old, new in zip(before, after, strict=True)]
    kept = ~np.logical_or.reduce(hidden)
    assert kept.mean() > 0.3
    for old, new in zip(before, after, strict=True):
        assert np.abs(old[kept].astype(int) - new[kept]).mean() < 3


@pytest.mark.parametrize("start", [0, 90_000])
def test_times_are_kept_to_the_tick(tmp_path: Path, start: int) -> None:
    data = clip(ONE, pts=[start + when for when in UNEVEN], sound="aac")
    report, times, _ = censored(data, tmp_path / "o.mp4")
    assert times == read_frames(data)[0]
    assert times[0] == Fraction(start, 90_000)
    assert report.video["frames"] == len(UNEVEN)


@pytest.mark.parametrize(
    ("container", "codec", "suffix", "base"),
    [
        ("matroska", "libx264", ".mkv", Fraction(1, 90_000)),
        ("mpegts", "libx264", ".ts", Fraction(1, 90_000)),
        pytest.param("webm", "libvpx-vp9", ".webm", Fraction(1, 90_000), marks=pytest.mark.slow),
        pytest.param("avi", "mpeg4", ".avi", Fraction(1, 30), marks=pytest.mark.slow),
        pytest.param("mov", "libx264", ".mov", Fraction(1, 90_000), marks=pytest.mark.slow),
        ("h264", "libx264", ".mp4", Fraction(1, 90_000)),
    ],
)
def test_containers(tmp_path: Path, container: str, codec: str, suffix: str, base: Fraction) -> None:
    data = clip(ONE, container=container, codec=codec, frames=10, time_base=base)
    report, times, after = censored(data, tmp_path / f"o{suffix}")
    assert len(after) == 10
    assert exposed(after) == 0
    assert report.verified
    steps = {round(float(b - a), 3) for a, b in itertools.pairwise(times)}
    assert steps <= ({0.04} if container == "h264" else {0.033, 0.034})  # a stream without times gets 25 a second


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_the_rotation_flag_is_applied(tmp_path: Path, rotation: int) -> None:
    data = clip(ONE, frames=8, rotation=rotation)
    report, _, after = censored(data, tmp_path / "o.mp4")
    height, width = SIZE if rotation == 180 else SIZE[::-1]
    assert report.image_size == (height, width)
    assert after[0].shape == (height, width, 3)
    assert exposed(after) == 0
    upright = np.rot90(frame_of((), 0.0), {90: 1, 180: 2, -90: 3}[rotation])
    same = np.abs(upright.astype(int) - after[0]).max(axis=2) < 12
    assert same.mean() > 0.6  # all but the box
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert all(frame.rotation == 0 for frame in container.decode(video=0))


@pytest.mark.parametrize(
    ("size", "pixel_format", "codec"),
    [
        ((95, 127), "yuv444p", "libx264"),
        (SIZE, "yuv420p10le", "libx264"),
        (SIZE, "yuvj420p", "libx264"),
        (SIZE, "rgb24", "libx264rgb"),
    ],
)
def test_sizes_and_pixel_formats(tmp_path: Path, size: tuple[int, int], pixel_format: str, codec: str) -> None:
    data = clip(ONE, frames=6, size=size, pixel_format=pixel_format, codec=codec)
    _, before = read_frames(data)
    report, _, after = censored(data, tmp_path / "o.mp4")
    assert after[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert exposed(after) == 0
    assert bool(report.notes) == (size != SIZE)
    corner = np.abs(before[0][:8, :8].astype(int) - after[0][:8, :8]).mean()
    assert corner < 4
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].pix_fmt in ("yuv420p", "yuvj420p")


def test_colour_tags_are_kept(tmp_path: Path) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_trc, context.color_primaries = 9, 1, 16, 9
        for i in range(4):
            picture = av.VideoFrame.from_ndarray(frame_of((), 0.0), "rgb24").reformat(format="yuv420p")
            picture.colorspace, picture.color_range, picture.color_trc, picture.color_primaries = 9, 1, 16, 9
            picture.pts = i
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    report, _, _ = censored(file.getvalue(), tmp_path / "o.mp4")
    assert "the video is HDR and was looked at without tone mapping" in report.notes[0]
    with av.open(str(tmp_path / "o.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries) == (9, 1, 16, 9)


def test_sound_is_copied_packet_by_packet(tmp_path: Path) -> None:
    data = clip(ONE, frames=12, container="matroska", sound="aac")
    report, _, _ = censored(data, tmp_path / "o.mp4")
    assert packets_of(tmp_path / "o.mp4", "audio") == packets_of(data, "audio")
    assert not report.notes
    with av.open(io.BytesIO(data)) as old, av.open(str(tmp_path / "o.mp4")) as new:
        packets = [next(iter(file.demux(file.streams.audio[0]))) for file in (old, new)]
        first = [float(packet.pts * packet.time_base) for packet in packets]
    assert abs(first[0] - first[1]) < 0.03


def test_sound_that_was_cut_off_stays_cut_off(tmp_path: Path) -> None:
    data = clip(ONE, frames=30, sound="aac", sound_from=-0.6)
    censored(data, tmp_path / "o.mp4")
    with av.open(io.BytesIO(data)) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        audible = [bytes(packet) for packet in packets if not packet.is_discard]
    copied = packets_of(tmp_path / "o.mp4", "audio")
    assert len(packets) > len(audible) + 20
    assert copied[-len(audible) :] == audible
    assert len(copied) <= len(audible) + 5  # what a decoder needs from before the start


def test_what_the_container_cannot_hold_is_refused_or_dropped(tmp_path: Path) -> None:
    data = clip(ONE, frames=6, sound="aac")
    detector = ColourDetector()
    with pytest.raises(OutputError, match=r"webm container must hold the audio stream 1 \(aac\)"):
        censored(data, tmp_path / "o.webm", video_pipeline(detector))
    assert detector.looks == 0  # before any work
    assert not list(tmp_path.iterdir())
    report, _, _ = censored(data, tmp_path / "o.webm", drop=("audio",))
    assert "left out on request: audio" in report.notes
    with av.open(str(tmp_path / "o.webm")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


LEFT_OUT = ("an attachment", "cover art", "another video stream", "chapters")


def laden() -> bytes:
    """Return a clip with everything in it that may not come out."""

    def more(out: Any) -> None:
        out.metadata.update({"title": SECRET, "comment": SECRET, "creation_time": "2024-05-06T07:08:09Z"})
        out.streams.video[0].metadata["title"] = SECRET
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000), "metadata": {"title": SECRET}}]
        )
        out.add_attachment("secret.jpg", "image/jpeg", SECRET.encode() * 3)
        out.add_attachment("font.ttf", "font/ttf", SECRET.encode() * 3)
        second = out.add_stream("mpeg4", rate=30)
        second.height, second.width, second.pix_fmt = 48, 64, "yuv420p"

    return clip(ONE, frames=8, container="matroska", sound="aac", more=more)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_nothing_else_of_the_source_is_left(tmp_path: Path, suffix: str) -> None:
    data = laden()
    assert SECRET.encode() in data
    report, _, _ = censored(data, tmp_path / f"o{suffix}")
    written = (tmp_path / f"o{suffix}").read_bytes()
    assert SECRET.encode() not in written
    assert b"2024" not in written
    with av.open(io.BytesIO(written)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert not container.chapters()
        assert set(container.metadata) <= {"encoder", "major_brand", "minor_version", "compatible_brands"}
        for stream in container.streams:
            assert set(stream.metadata) <= {"language", "handler_name", "vendor_id", "DURATION", "encoder"}
    assert {f"left out: {what}" for what in LEFT_OUT} <= set(report.notes)


def test_the_output_does_not_depend_on_what_is_hidden(tmp_path: Path) -> None:
    class Fixed(ColourDetector):
        def _one(self, picture: Any, classes: Any) -> Any:
            found = super()._one(picture, ())
            return type(found).from_records(
                [{"label": BREAST, "score": 0.9, "box": (30, 30, 70, 60)}],
                found.image_size,
                class_names=self.class_names,
            )

    written = []
    for shade in (0, 250):

        def draw(time: float, shade: int = shade) -> np.ndarray:
            pixels = frame_of((), 0.0)
            pixels[34:56, 34:66] = (shade, int(time * 100), 128)
            return pixels

        # Without loss, so that only what is hidden differs between the two sources.
        data = clip(draw=draw, frames=6, codec="ffv1", container="matroska", pixel_format="yuv444p")
        report = run_video(video_pipeline(Fixed()), data, tmp_path / "o.mp4", rules=VideoRules(verify_share=0.0))
        assert report.verified
        written.append((tmp_path / "o.mp4").read_bytes())
    assert written[0] == written[1]


def test_a_cut_uncovers_nothing_and_smears_nothing(tmp_path: Path) -> None:
    left, right = (
        MovingPart((30, 30), (0, 0), 1.0, (24, 18), 0.0, 0.5),
        MovingPart((100, 70), (0, 0), 1.0, (24, 18), 0.5),
    )

    def draw(time: float) -> np.ndarray:
        pixels = frame_of([left, right], time)
        return pixels if time < 0.5 else np.where(mask_of(pixels, BREAST)[:, :, None], pixels, 255 - pixels // 3)

    data = clip(frames=30, draw=draw)
    detector = ColourDetector(misses=0.2, seed=3)
    report, _, after = censored(data, tmp_path / "o.mp4", video_pipeline(detector))
    assert report.video["scene_cuts"] == 1
    assert exposed(after) == 0
    black = [frame.max(axis=2) < 40 for frame in after]
    assert black[14][30, 30]
    assert not black[15][30, 30]
    assert black[15][70, 100]
    assert not black[14][70, 100]


def test_who_looks_rarely_still_hides_all(tmp_path: Path) -> None:
    slow = MovingPart((64, 48), (30, 20), 6.0, (30, 24))
    for rules in ({"every": 3}, {"rate": 8.0}):
        detector = ColourDetector()
        report, _, after = censored(
            clip([slow], frames=41), tmp_path / "o.mp4", video_pipeline(detector, verify=False), **rules
        )
        assert report.video["looked"] == detector.looks == (15 if "every" in rules else 11)  # with the last frame
        assert exposed(after) == 0
        assert not report.verified


def stop_at(stage: str) -> Any:
    def progress(name: str, done: int, total: int | None) -> None:
        if name == stage and done == 4:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("stage", ["looking", "writing", "checking"])
def test_interrupting_leaves_no_half_file(tmp_path: Path, stage: str) -> None:
    target = tmp_path / "o.mp4"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        run_video(video_pipeline(), clip(ONE, frames=8), target, progress=stop_at(stage))
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.parametrize("pts", [(0, 3000, 7000, 9000), (0, *range(3001, 24_000, 3000)), ()])
def test_a_video_that_changes_while_it_is_worked_on_is_refused(tmp_path: Path, pts: tuple[int, ...]) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(clip(ONE, frames=8))

    def progress(name: str, done: int, total: int | None) -> None:
        if name == "looking" and done == 8:
            other = clip(ONE, pts=pts) if pts else clip(PARTS[1:], frames=8)
            with source.open("r+b") as file:
                file.write(other)
                file.truncate(len(other))

    with pytest.raises(InputError, match="must not change while it is worked on"):
        run_video(video_pipeline(), source, tmp_path / "o.mp4", progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


class SeesOutput(ColourDetector):
    """Finds black boxes in what was written, which the source does not have, or a mosaic's colours."""

    def __init__(self, answers: Iterator[Any]) -> None:
        super().__init__()
        self.answers = answers
        self.calls = 0

    def detect(self, images: Any, **settings: Any) -> Any:
        if len(images) > 1 or not self.calls:
            self.calls += 1
            return super().detect(images, **settings)
        found = super().detect(images, **settings)
        box = next(self.answers, None)
        if box is None:
            return found
        records = [{"label": BREAST, "score": 0.7, "box": box}]
        return [type(found[0]).from_records(records, found[0].image_size, class_names=self.class_names)]


def test_what_is_found_in_the_output_is_hidden_in_the_next_round(tmp_path: Path) -> None:
    detector = SeesOutput(iter([(2, 2, 22, 22)]))
    report, _, after = censored(clip((), frames=8), tmp_path / "o.mp4", video_pipeline(detector), verify_share=1.0)
    assert report.verified
    assert report.method == "painted"
    assert all(frame[4:20, 4:20].max() < 40 for frame in after)


def test_what_stays_in_the_output_asks_for_a_person(tmp_path: Path) -> None:
    places = [(2 + 40 * (i // 8), 2, 22 + 40 * (i // 8), 22) for i in range(24)]  # another one each round
    detector = SeesOutput(iter(places))
    report, _, _ = censored(clip((), frames=8), tmp_path / "o.mp4", video_pipeline(detector), verify_share=1.0)
    assert not report.verified
    assert report.exit_code == 3
    assert len(report.warnings) == 8
    assert "FEMALE_BREAST_EXPOSED is still found in the output at 0.00 s, at 0.70" in report.warnings[0]


def test_a_mosaic_in_which_a_part_is_found_becomes_a_box(tmp_path: Path) -> None:
    # The mosaic of a part that fills its box keeps its colour, and the detector of colours finds it.
    big = MovingPart((64, 48), (0, 0), 1.0, (60, 48))
    report, _, after = censored(
        clip([big], frames=6), tmp_path / "o.mp4", video_pipeline(style="pixelate", grow=0.0), verify_share=1.0
    )
    assert any("opaque boxes were used" in note for note in report.notes)
    assert exposed(after) == 0
    assert report.verified


@pytest.mark.parametrize(
    ("limits", "rules", "message"),
    [
        (Limits(max_pixels=1000), {}, "at most 1000 pixels"),
        (Limits(max_side=100), {}, "at most 100 pixels"),
        (None, {"max_frames": 5}, "at most 5 frames"),
        (None, {"max_seconds": 0.1}, "must last at most 0.1 s"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits | None, rules: dict[str, Any], message: str) -> None:
    with pytest.raises(LimitError, match=message):
        run_video(video_pipeline(), clip(ONE, frames=8), tmp_path / "o.mp4", limits=limits, rules=VideoRules(**rules))
    assert not list(tmp_path.iterdir())


def test_a_size_that_changes_is_refused(tmp_path: Path) -> None:
    later = [90_000 + i * 3000 for i in range(4)]
    data = clip(ONE, frames=4, container="mpegts") + clip(ONE, pts=later, size=(48, 64), container="mpegts")
    with pytest.raises(InputError, match="must have one size"):
        run_video(video_pipeline(), data, tmp_path / "o.mp4")


def test_other_files_are_never_opened(tmp_path: Path) -> None:
    segment = tmp_path / "segment.ts"
    segment.write_bytes(clip(ONE, frames=4, container="mpegts"))
    lists = [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment.as_uri()}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {segment}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    ]
    for text in lists:
        with pytest.raises(InputError, match="must be readable"):
            run_video(video_pipeline(), text.encode(), tmp_path / "o.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["segment.ts"]


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    sound = io.BytesIO()
    with av.open(sound, "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48_000)
        wave = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        wave.sample_rate = 48_000
        out.mux(stream.encode(wave))
        out.mux(stream.encode())
    half = clip(ONE, frames=8)[:900]
    for data, message in (
        (sound.getvalue(), "moving pictures"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "readable"),
        (half, "readable"),
    ):
        with pytest.raises(InputError, match=message):
            run_video(video_pipeline(), data, tmp_path / "o.mp4")
    with pytest.raises(InputError, match="must be readable; No such file"):
        run_video(video_pipeline(), tmp_path / "none.mp4", tmp_path / "o.mp4")
    with pytest.raises(UsageError, match="name of a video must end in"):
        run_video(video_pipeline(), clip(ONE, frames=4), tmp_path / "o.jpg")
    assert not list(tmp_path.iterdir())


def test_codecs(tmp_path: Path) -> None:
    data = clip(ONE, frames=4)
    with pytest.raises(UsageError, match="got 'h246'; the nearest is"):
        censored(data, tmp_path / "o.mp4", codec="h246")
    with pytest.raises(UsageError, match="must be for video; aac is for audio"):
        censored(data, tmp_path / "o.mp4", codec="aac")
    with pytest.raises(UsageError, match="crf must be given with an encoder that has such a scale"):
        censored(data, tmp_path / "o.mp4", codec="mpeg4", crf=5)
    sizes = []
    for crf in (5, 45):
        report, _, _ = censored(data, tmp_path / "o.mp4", crf=crf)
        assert report.video["output"]["encoder"] == "libx264"
        sizes.append(os.path.getsize(tmp_path / "o.mp4"))
    assert sizes[0] > 1.2 * sizes[1]


def test_hardware_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    try:
        context = av.CodecContext.create("h264_v4l2m2m", "w")
        context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 25)
        context.open()
    except (av.error.FFmpegError, ValueError):
        with pytest.raises((OutputError, UsageError), match=r"must start on this machine|must be an encoder"):
            censored(clip(ONE, frames=4), tmp_path / "o.mp4", codec="h264_v4l2m2m")
    else:
        pytest.skip("this machine has that hardware")


def test_a_fallback_covers_every_frame(tmp_path: Path) -> None:
    class Alarmed:
        def look(self, images: Any) -> Any:
            from detector.opinion import Opinion

            return Opinion(score=0.95)

    pipeline = video_pipeline(opinion=Alarmed(), fallback="none")
    report, _, _ = censored(clip((), frames=4), tmp_path / "o.mp4", pipeline)
    assert report.verdict.verdict == "review"
    assert report.exit_code == 3
    assert "there is no region to hide" in report.warnings[0]
    pipeline = video_pipeline(opinion=Alarmed(), fallback="whole")
    report, _, after = censored(clip((), frames=4), tmp_path / "o.mp4", pipeline)
    assert report.exit_code == 0
    assert all(frame.max() < 20 for frame in after)


def test_the_library_tells_videos_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("censor.api.build_pipeline", lambda policy, **settings: video_pipeline(**settings))
    source = tmp_path / "really a video.jpg"
    source.write_bytes(clip(ONE, frames=5))
    assert censor.censor_file(source, tmp_path / "o.mp4").to_dict()["kind"] == "video"
    report = censor.censor_video(source, tmp_path / "p.mp4", rules=VideoRules(every=2), style="blur")
    assert report.video["looked"] == 3
    assert censor.scan_video(source).target is None
    with pytest.raises(UsageError, match="another file than IN"):
        censor.censor_video(source, source)
    with pytest.raises(UsageError, match="must be for a picture; got a video"):
        censor.api.run_to_file(video_pipeline(), source, tmp_path / "q.mp4", preview=True)
