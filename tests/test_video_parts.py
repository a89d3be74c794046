"""The parts of the video job: telling videos by content, votes, frozen mosaics, sheets, scans, the command line."""

import io
import json
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_parts import BREAST, BUTTOCKS, MovingPart
from PIL import Image

av = pytest.importorskip("av")

from video_clips import SIZE, ColourDetector, clip, frame_of, mask_of, packets_of, read_frames, video_pipeline  # noqa: E402

from censor.cli import main  # noqa: E402
from censor.motion.regions import HeldBox  # noqa: E402
from censor.motion.votes import count_votes  # noqa: E402
from censor.policy import HideRules  # noqa: E402
from censor.video.job import preview_video, run_video, scan_video  # noqa: E402
from censor.video.options import stoppable  # noqa: E402
from censor.video.painting import FramePainter  # noqa: E402
from censor.video.rules import VideoRules  # noqa: E402
from censor.video.sheet import pick_frames  # noqa: E402
from censor.video.sniff import is_video  # noqa: E402
from detector.errors import RetinaCensorError, UsageError  # noqa: E402
from detector.video_files import HEAD_BYTES, may_hold_video  # noqa: E402

PART = MovingPart((64, 48), (40, 25), 3.0, (24, 18))


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("mov", "libx264"), ("matroska", "libx264"), ("mpegts", "libx264"), ("flv", "libx264")],
)
def test_videos_are_told_by_content(tmp_path: Path, container: str, codec: str) -> None:
    data = clip([PART], container=container, codec=codec, frames=2)
    assert may_hold_video(data[:HEAD_BYTES])
    assert is_video(data)
    (tmp_path / "x.jpg").write_bytes(data)
    assert is_video(tmp_path / "x.jpg")
    file = io.BytesIO(data)
    file.seek(3)
    assert not is_video(file)
    assert file.tell() == 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"])
def test_pictures_are_no_videos(format: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (70, 50), (200, 10, 90)).save(buffer, format)
    assert not is_video(buffer.getvalue())
    assert not may_hold_video(b"")
    assert not may_hold_video(b"#EXTM3U\n")
    assert not is_video("/no/such/file.mp4")


def false_alarms(looks: int, seed: int, share: float = 0.06) -> list[int]:
    return (np.random.default_rng(seed).random(looks) < share).astype(int).tolist()


@pytest.mark.parametrize(("rate", "seconds"), [(30, 60), (5, 600)])
def test_false_alarms_do_not_flag_a_video(rate: int, seconds: int) -> None:
    times = [i / rate for i in range(rate * seconds)]
    verdicts = [count_votes(times, false_alarms(len(times), seed)).verdict for seed in range(20)]
    assert all(any(false_alarms(len(times), seed)) for seed in range(20))  # each has some
    assert verdicts.count("safe") >= 19


@pytest.mark.parametrize(("burst", "verdict"), [(0.1, "safe"), (0.5, "nsfw"), (2.0, "nsfw")])
def test_what_lasts_flags_a_video(burst: float, verdict: str) -> None:
    times = [i / 30 for i in range(900)]
    found = [int(3 <= time < 3 + burst) for time in times]
    votes = count_votes(times, found)
    assert votes.verdict == verdict
    if verdict == "nsfw":
        assert votes.start is not None
        assert votes.end is not None
        assert votes.start <= 3.0 + burst
        assert votes.end >= 3.0
        assert f"of {votes.looks} in all" in votes.reason


def test_votes_of_few_looks_and_of_a_share_below_half() -> None:
    assert count_votes([], []).verdict == "safe"
    assert count_votes([0.0], [1]).verdict == "review"
    assert "too few looks" in count_votes([0.0], [1]).reason
    times = [i / 30 for i in range(240)]
    assert count_votes(times, [int(i % 4 == 0) for i in range(240)]).verdict == "review"


def painter(style: str, **changes: Any) -> FramePainter:
    return FramePainter(HideRules(style=style, grow=0.0, **changes), SIZE)


def held(box: tuple[float, float, float, float], track: int = 1) -> list[HeldBox]:
    return [HeldBox(box, BREAST, track, True)]


@pytest.mark.parametrize("style", ["pixelate", "blur"])
def test_a_mosaic_does_not_show_what_moves_below_it(style: str) -> None:
    rng = np.random.default_rng(0)
    shown, boxes = [], [(20 + 3.0 * i, 20, 60 + 3.0 * i, 50) for i in range(8)]
    for seed in (1, 2):
        frames, at_work = np.random.default_rng(seed), painter(style)
        painted = []
        for i, box in enumerate(boxes):
            frame = frame_of((), 0.0)
            x1, y1, x2, y2 = (round(side) for side in box)
            noise = rng if i == 0 else frames
            frame[y1:y2, x1:x2] = noise.integers(0, 256, (y2 - y1, x2 - x1, 3)) if i else 128
            assert at_work.paint(frame, held(box))[0].painted
            painted.append(frame)
        shown.append(painted)
    for first, second in zip(*shown, strict=True):
        assert (first == second).all()


def test_a_frozen_mosaic_keeps_what_is_not_hidden() -> None:
    for style, shape, feather in (("pixelate", "ellipse", 0.0), ("blur", "rounded", 0.2), ("box", "rectangle", 0.0)):
        at_work = painter(style, shape=shape, feather=feather)
        for i in range(3):
            frame = before = frame_of([PART], i / 30)
            before = frame.copy()
            at_work.paint(frame, held((40 + i, 30, 80 + i, 60)))
            changed = (frame != before).any(axis=2)
            assert changed[32:58, 44:76].mean() > 0.8
            rows, columns = np.nonzero(changed)
            assert rows.min() >= 15
            assert rows.max() < 75
            assert columns.min() >= 24
            assert columns.max() < 100
    assert not painter("box").has_work([])
    assert FramePainter(HideRules(), SIZE, cover_all=True).has_work([])


def test_frames_for_a_sheet() -> None:
    assert pick_frames(5, [], 12) == [0, 1, 2, 3, 4]
    picks = pick_frames(1000, list(range(400, 420)), 8)
    assert len(picks) == 8
    assert sum(400 <= index < 420 for index in picks) >= 4
    assert min(picks) < 200
    assert max(picks) > 800


def test_a_scan_says_when_and_writes_no_video(tmp_path: Path) -> None:
    parts = [
        MovingPart((40, 48), (0, 0), 3.0, (24, 18), 0.2, 0.8),
        MovingPart((90, 48), (0, 0), 3.0, (20, 20), 0.5, label=BUTTOCKS),
    ]
    source = tmp_path / "in.mp4"
    source.write_bytes(clip(parts, frames=30))
    report = scan_video(video_pipeline(style="pixelate"), source, tmp_path / "sheet.png")
    assert report.verdict is not None
    assert report.verdict.verdict == "nsfw"
    assert [(item["label"], item["start"], item["end"], item["looks"]) for item in report.ranges] == [
        (BREAST, 0.2, 0.767, 18),
        (BUTTOCKS, 0.5, 0.967, 15),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "sheet.png"}
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    bare = np.concatenate([frame_of(parts, i / 10) for i in range(9)])
    assert mask_of(bare, BREAST).mean() > 20 * mask_of(sheet, BREAST).mean()  # a cell of a mosaic may keep the colour
    assert "2 in" not in report.summary()
    assert len(report.summary().splitlines()) == 3


def test_a_scan_may_stop_at_the_first_hit(tmp_path: Path) -> None:
    detector = ColourDetector()
    data = clip([MovingPart((40, 48), (0, 0), 3.0, (24, 18), 0.3)], frames=60)
    report = scan_video(video_pipeline(detector), data, first=True)
    assert detector.looks < 25
    assert report.verdict is not None
    assert report.verdict.verdict in ("review", "nsfw")
    assert "stopped at the first hit" in " ".join(report.verdict.reasons)
    quiet = scan_video(video_pipeline(), clip((), frames=10), first=True)
    assert quiet.verdict is not None
    assert quiet.verdict.verdict == "safe"


def test_false_alarms_in_a_video_are_hidden_and_do_not_decide() -> None:
    detector = ColourDetector(false_alarms=0.06, seed=5)
    report = scan_video(video_pipeline(detector), clip((), frames=90))
    assert report.votes["found"] > 0
    assert report.verdict is not None
    assert report.verdict.verdict == "safe"


def test_a_preview_is_a_sheet_of_so_many_frames(tmp_path: Path) -> None:
    report = preview_video(video_pipeline(), clip([PART], frames=20), tmp_path / "sheet.jpg", 6)
    assert report.video["thumbnails"] == 6
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 3 * SIZE[1]
        assert mask_of(np.asarray(sheet.convert("RGB")), BREAST).sum() == 0
    with pytest.raises(UsageError, match="a sheet must be a picture"):
        preview_video(video_pipeline(), clip([PART], frames=2), tmp_path / "sheet", 6)


def with_subtitles() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        words = out.add_mux_stream("srt")
        words.metadata["language"] = "eng"
        words.metadata["title"] = "taken by Jane Doe"
        for i in range(6):
            picture = av.VideoFrame.from_ndarray(frame_of([PART], i / 30), "rgb24").reformat(format="yuv420p")
            picture.pts = i
            out.mux(stream.encode(picture))
        packet = av.Packet(b"hello there")
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts = packet.dts = 40
        packet.duration = 100
        out.mux(packet)
        out.mux(stream.encode())
    return file.getvalue()


def test_subtitles_are_copied(tmp_path: Path) -> None:
    data = with_subtitles()
    run_video(video_pipeline(), data, tmp_path / "o.mkv")
    assert packets_of(tmp_path / "o.mkv", "subtitle") == packets_of(data, "subtitle") == [b"hello there"]
    assert b"Jane Doe" not in (tmp_path / "o.mkv").read_bytes()
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert container.streams.subtitles[0].language == "eng"
    with pytest.raises(Exception, match="drop=subtitles"):
        run_video(video_pipeline(), data, tmp_path / "o.mp4")
    report = run_video(video_pipeline(), data, tmp_path / "o.mp4", rules=VideoRules(drop=("subtitles",)))
    assert "left out on request: subtitles" in report.notes


def test_rules_are_checked() -> None:
    for wrong, message in (
        ({"every": 0}, "every must be"),
        ({"rate": 0.0}, "rate must be"),
        ({"rate": 2.0, "every": 3}, "must not be given together"),
        ({"crf": 99}, "crf must lie"),
        ({"drop": ("subtitle",)}, "nearest is subtitles"),
        ({"verify_share": 1.5}, "verify_share must lie"),
        ({"max_seconds": 0.0}, "max_seconds must be"),
    ):
        with pytest.raises(UsageError, match=message):
            VideoRules(**wrong)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def build(policy: Any, **settings: Any) -> Any:
        return video_pipeline(verify=settings["verify"])

    monkeypatch.setattr("censor.api.build_pipeline", build)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def test_the_command_writes_videos(tmp_path: Path, run: Any) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(clip([PART], frames=8))
    code, out, _ = run("--json", "--every", 2, "--hold", 0.5, "--crf", 30, source, tmp_path / "o.mkv")
    report = json.loads(out)
    assert code == 0
    assert (report["kind"], report["video"]["looked"], report["video"]["hold"]) == ("video", 5, 0.5)
    assert len(read_frames(tmp_path / "o.mkv")[0]) == 8
    code, _, err = run(source, tmp_path / "o.jpg")
    assert code == 1
    assert "the name of a video must end in" in err
    code, _, err = run("--boxes", source, tmp_path / "o.mp4")
    assert code == 1
    assert "see --preview N" in err


def test_the_command_scans_and_previews(tmp_path: Path, run: Any) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(clip([PART], frames=8))
    code, out, _ = run("--scan", "--first", source)
    assert code == 0
    assert "BREAST" in out
    code, out, _ = run("--preview", 4, source, tmp_path / "s.png")
    assert code == 0
    assert "contact sheet of 4 frames" in out
    for arguments, message in (
        (("--first", source, tmp_path / "x.mp4"), "--first must be given with --scan"),
        (("--scan", "--preview", 2, source), "must not be given together"),
        (("--scan", "--boxes", source), "--boxes must not be given"),
        (("--preview", 2, source), "must be given IN"),
        (("--scan", source, source), "another file than IN"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert message in err
    (tmp_path / "no.mp4").write_bytes(b"no video")
    code, _, err = run("--scan", tmp_path / "no.mp4")
    assert code == 1
    assert "must be given a video" in err


def test_sigterm_stops_like_ctrl_c(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Peaks of two processes that differ in the number of frames only."""
    import subprocess
    import sys

    code = (
        "import sys, resource; sys.path.insert(0, 'tests')\n"
        "from video_clips import *; from censor.video.job import run_video\n"
        "run_video(video_pipeline(), open(sys.argv[1], 'rb'), sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for frames in (90, 360):
        (tmp_path / "in.mp4").write_bytes(clip([PART], frames=frames, size=(360, 640)))
        root = Path(__file__).parent.parent
        run = [sys.executable, "-c", code, str(tmp_path / "in.mp4"), str(tmp_path / "o.mp4")]
        peaks.append(int(subprocess.run(run, capture_output=True, text=True, check=True, cwd=root).stdout))
    print("peak KiB:", peaks)
    # 270 more frames have 187 MB of pixels; the encoder's own window is not full at 90 frames.
    assert peaks[1] - peaks[0] < 60_000


@pytest.mark.slow
@pytest.mark.parametrize(("container", "suffix"), [("mp4", ".mp4"), ("matroska", ".mkv"), ("mpegts", ".ts")])
def test_damaged_videos_are_refused_or_read_and_never_crash(tmp_path: Path, container: str, suffix: str) -> None:
    rng = np.random.default_rng(0)
    data = clip([PART], container=container, frames=10, sound="aac")
    outcomes = set()
    for i in range(25):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 12)):
            damaged[place] = rng.integers(256)
        target = tmp_path / f"{i}{suffix}"
        try:
            run_video(video_pipeline(), bytes(damaged[: rng.integers(len(data))] if i % 5 == 0 else damaged), target)
            outcomes.add("written")
        except RetinaCensorError:
            assert not target.exists()
            outcomes.add("refused")
    assert outcomes == {"written", "refused"}
