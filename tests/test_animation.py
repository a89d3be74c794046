"""Animations through the whole job: nothing that is to be hidden shows in any frame, and all else stays as it was."""

import io
import json
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from censor.animation.looking import MOST_OPINIONS, asked_frames
from censor.animation.opening import open_source
from censor.animation.report import FramesReport, frame_ranges
from censor.animation.sequence import Animation
from censor.api import run_to_file
from censor.motion.rules import MotionRules
from censor.report import MaskFile
from censor.video.rules import VideoRules
from detector.errors import InputError, OutputError, UsageError
from detector.known import KnownEntry, KnownList
from detector.pdq import pdq_of
from tests.animation_samples import (
    SIZE,
    TIMES,
    Finder,
    Opinions,
    animated,
    by_opencv,
    by_pillow,
    drawn,
    exposed,
    pipeline,
)

KINDS = ("GIF", "PNG", "WEBP", "AVIF")


def run(data: bytes, target: Path, *parts: Any, **options: Any) -> FramesReport:
    job = {name: options.pop(name) for name in ("mask", "preview", "limits") if name in options}
    report = run_to_file(pipeline(*parts, **options), data, target, **job)
    assert isinstance(report, FramesReport)
    assert report.sha256["out"] is not None
    return report


def opened(source: Any) -> Animation:
    animation = open_source(source)
    assert isinstance(animation, Animation)
    return animation


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize(
    ("kind", "to"),
    [*zip(KINDS, KINDS, strict=True), ("GIF", "WEBP"), ("WEBP", "GIF"), ("PNG", "AVIF"), ("AVIF", "PNG")],
)
def test_nothing_shows_in_any_frame_and_times_are_kept(tmp_path: Path, kind: str, to: str, alpha: bool) -> None:
    data, target = animated(kind, drawn(alpha=alpha)), tmp_path / f"out.{to.lower()}"
    assert any(exposed(frame).any() for frame in by_pillow(data))
    report = run(data, target)
    assert (report.kind, report.verified, report.method, report.exit_code) == ("animation", True, "painted", 0)
    written = target.read_bytes()
    before, after = opened(data), opened(written)
    assert after.format == to
    assert after.plays == before.plays
    if "AVIF" not in (kind, to):  # it knows no frame without a duration
        assert after.durations == before.durations
        assert [round(1000 * time) for time in after.durations] == list(TIMES)
    for decode in (by_pillow, by_opencv):
        frames = decode(written)
        assert len(frames) == len(TIMES)
        assert not any(exposed(frame).any() for frame in frames)


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_outside_hidden_regions_every_pixel_stays(tmp_path: Path, kind: str, alpha: bool) -> None:
    data, target = animated(kind, drawn(alpha=alpha)), tmp_path / f"out.{kind.lower()}"
    report = run(data, target, grow=0.0)
    changed = 0
    for record, before, after in zip(report.frames, by_pillow(data), by_pillow(target.read_bytes()), strict=True):
        outside = np.ones(before.shape[:2], bool)
        for region in record["painted"]:
            x1, y1, x2, y2 = region["box"]
            outside[y1:y2, x1:x2] = False
            assert (after[y1:y2, x1:x2] == (0, 0, 0, 255)).all()
        changed += (~outside).sum()
        before[before[..., 3] == 0] = 0
        after[after[..., 3] == 0] = 0
        assert (before[outside] == after[outside]).all()
    assert 0 < changed < before.shape[0] * before.shape[1] * len(TIMES) * 0.6


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize("colours", [120, 245, 255])
def test_a_gif_keeps_the_colours_that_are_not_hidden_exactly(tmp_path: Path, colours: int, alpha: bool) -> None:
    """The mosaic would bring more colours than a palette holds."""
    palette = np.random.default_rng(colours).integers(0, 200, (colours, 3), dtype=np.uint8)
    frames = []
    for image in drawn(4):
        pixels = np.array(image.resize((96, 64), Image.Resampling.NEAREST))
        ground = ~exposed(pixels)
        pixels[ground] = palette[np.arange(ground.sum()) % colours]
        frame = Image.fromarray(pixels)
        if alpha:
            frame.putalpha(Image.new("L", frame.size, 255))
            frame.paste((0, 0, 0, 0), (80, 0, 96, 20))
        frames.append(frame)
    data = animated("GIF", frames)
    report = run(data, tmp_path / "out.gif", style="pixelate", verify=False)
    for record, before, after in zip(
        report.frames, by_pillow(data), by_pillow((tmp_path / "out.gif").read_bytes()), strict=True
    ):
        for region in record["painted"]:
            x1, y1, x2, y2 = region["box"]
            before[y1:y2, x1:x2] = after[y1:y2, x1:x2]
        assert (before[..., 3] == after[..., 3]).all()
        solid = after[..., 3] == 255
        assert (before[solid] == after[solid]).all()


def test_of_an_mpo_only_the_first_picture_is_left(tmp_path: Path) -> None:
    """Phones write their JPEGs so, with a gain map or another view behind; refusing or warning would hit them all."""
    buffer = io.BytesIO()
    first, second = Image.new("RGB", SIZE, (9, 90, 9)), drawn(1)[0]
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    report = run_to_file(pipeline(), buffer.getvalue(), tmp_path / "out.jpg")
    written = (tmp_path / "out.jpg").read_bytes()
    assert buffer.getvalue().count(b"\xff\xd8\xff") == 2
    assert written.count(b"\xff\xd8\xff") == 1
    assert report.exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_is_missed_in_a_frame_is_hidden_there_all_the_same(tmp_path: Path, kind: str) -> None:
    finder = Finder(misses=[0, 3, 4, 7])
    report = run(animated(kind, duration=100), tmp_path / "out", finder, verify=False)
    assert [bool(frame["found"]) for frame in report.frames] == [i not in (0, 3, 4, 7) for i in range(8)]
    assert not any(exposed(frame).any() for frame in by_pillow((tmp_path / "out").read_bytes()))


@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
@pytest.mark.parametrize(("kind", "to"), [("GIF", "GIF"), ("PNG", "GIF"), ("GIF", "PNG"), ("GIF", "WEBP")])
def test_where_nothing_is_found_every_frame_looks_as_before(tmp_path: Path, kind: str, to: str, alpha: bool) -> None:
    """What moves over nothing leaves no trace behind it."""
    frames = [Image.new("RGBA", SIZE, (0, 0, 0, 0) if alpha else (9, 9, 9, 255)) for _ in range(6)]
    for i, frame in enumerate(frames):
        frame.paste((200, 120, 10 * i, 255), (7 * i, 3 * i, 7 * i + 9, 3 * i + 9))
    data = animated(kind, frames if alpha else [frame.convert("RGB") for frame in frames])
    report = run(data, tmp_path / f"out.{to.lower()}", verify=False)
    assert report.method == "reencoded"
    for before, after in zip(by_pillow(data), by_pillow((tmp_path / f"out.{to.lower()}").read_bytes()), strict=True):
        before[before[..., 3] == 0] = 0
        after[after[..., 3] == 0] = 0
        assert (before == after).all()


def test_an_end_runs_into_the_beginning_unless_it_is_shown_once(tmp_path: Path) -> None:
    ground = [Image.new("RGB", SIZE, (40, 90, 140 + i % 2)) for i in range(20)]
    frames = [*ground[:19], drawn(1)[0]]
    for loop, hidden in ((0, True), (None, False)):
        options = {"duration": [100] * 20} | ({} if loop is None else {"loop": loop})
        buffer = io.BytesIO()
        frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], **options)
        report = run(buffer.getvalue(), tmp_path / "out.gif")
        assert bool(report.frames[0]["painted"]) is hidden
        assert report.frames[17]["painted"]
        assert not report.frames[10]["painted"]


def test_another_scene_is_not_covered_for_the_one_before(tmp_path: Path) -> None:
    frames = [*drawn(3), *(Image.new("RGB", SIZE, (250, 250, 240 - i)) for i in range(6))]
    report = run(animated("PNG", frames, duration=100, loop=1), tmp_path / "out.png")
    assert [bool(frame["painted"]) for frame in report.frames] == [True] * 3 + [False] * 6


def test_slides_are_not_covered_for_their_neighbours(tmp_path: Path) -> None:
    slides = [Image.new("RGB", SIZE, colour) for colour in ((250, 250, 250), (9, 9, 9), (0, 250, 0), (90, 90, 250))]
    slides.insert(2, drawn(1)[0])
    report = run(animated("GIF", slides, duration=1000, loop=0), tmp_path / "out.gif")
    assert [bool(frame["painted"]) for frame in report.frames] == [False, False, True, False, False]


def test_all_of_every_frame_is_covered_where_that_is_asked_for(tmp_path: Path) -> None:
    report = run(animated("WEBP"), tmp_path / "out.webp", whole=True)
    assert all(frame["painted"][0]["box"] == [0, 0, *SIZE] for frame in report.frames)
    assert not any(frame[..., :3].any() for frame in by_pillow((tmp_path / "out.webp").read_bytes()))


def test_a_mosaic_stands_still_so_that_frames_do_not_add_up(tmp_path: Path) -> None:
    """Two animations that differ only under the region after its first frame are written alike."""
    results = []
    for shade in (121, 90):
        frames = [drawn(1)[0] for _ in range(6)]
        for i, frame in enumerate(frames[1:]):
            frame.paste((250, 10, shade + i), (6, 12, 12, 18))
        results.append(
            run(animated("PNG", frames, duration=40, loop=1), tmp_path / "out.png", style="pixelate", verify=False)
        )
        results.append((tmp_path / "out.png").read_bytes())
    assert results[0].frames[3]["painted"][0]["style"] == "pixelate"
    assert results[1] == results[3]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_output_depends_on_nothing_under_a_box(tmp_path: Path, kind: str) -> None:
    results = []
    for colour in ((250, 10, 120), (240, 20, 110)):
        frames = drawn()
        for i, frame in enumerate(frames):
            frame.paste(colour, (8 + 4 * i, 13, 11 + 4 * i, 17))
        data = animated(kind, frames, **({"lossless": True} if kind == "WEBP" else {}))
        if kind == "AVIF":
            data = animated("PNG", frames, duration=[max(time, 1) for time in TIMES])
        run_to_file(pipeline(), data, tmp_path / f"out.{kind.lower()}")
        results.append((tmp_path / f"out.{kind.lower()}").read_bytes())
    assert results[0] == results[1]


def test_an_apngs_own_picture_for_others_is_censored_too_and_stays_apart(tmp_path: Path) -> None:
    frames = [*drawn(1, size=SIZE), *drawn(4)]
    frames[0] = frames[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = animated("PNG", frames, default_image=True, duration=[100] * 4)
    source = opened(data)
    assert (source.default_image, source.count, len(source.durations)) == (True, 5, 4)
    report = run(data, tmp_path / "out.png")
    output = opened(tmp_path / "out.png")
    assert (output.default_image, output.count) == (True, 5)
    assert report.frames[0]["default_image"] is True
    assert report.frames[0]["time"] is None
    assert not any(exposed(frame).any() for frame in by_pillow((tmp_path / "out.png").read_bytes()))
    run(data, tmp_path / "out.gif")
    assert len(by_pillow((tmp_path / "out.gif").read_bytes())) == 4


def test_the_verdict_is_the_worst_frames_and_the_report_lists_all(tmp_path: Path) -> None:
    ground = [Image.new("RGB", SIZE, (40, 90, 140 + i)) for i in range(12)]
    frames = [*ground, drawn(1)[0]]
    report = run(animated("GIF", frames, duration=200), tmp_path / "out.gif")
    assert report.verdict is not None
    assert (report.verdict.verdict, report.worst) == ("nsfw", 12)
    assert "nsfw (frame 12)" in report.summary()
    said = json.loads(report.to_json())
    assert [frame["verdict"] for frame in said["frames"]] == ["safe"] * 12 + ["nsfw"]
    assert [frame["time"] for frame in said["frames"]][:3] == [0, 0.2, 0.4]
    assert said["frames"][12]["duration"] == 0.2
    assert (said["kind"], said["plays"], said["worst_frame"]) == ("animation", 4, 12)


def test_the_second_opinion_is_asked_of_some_frames_and_the_graver_neighbour_counts(tmp_path: Path) -> None:
    assert asked_frames(5) == set(range(5))
    many = asked_frames(1000)
    assert len(many) == MOST_OPINIONS
    assert {0, 999} <= many
    frames = [Image.new("RGB", (8, 8), (5 * i, 90, 140)) for i in range(31)]
    opinions = Opinions(*[0.0] * 3, 0.99, *[0.0] * 20)
    report = run(animated("GIF", frames, duration=100), tmp_path / "out.gif", Finder(), opinions)
    assert opinions.looks == MOST_OPINIONS
    assert [i for i, frame in enumerate(report.frames) if frame["verdict"] == "review"] == [5, 6, 7]
    assert report.warnings[0].startswith("in frames 5-7 the verdict is review and there is no region to hide")
    assert report.exit_code == 3
    whole = run(
        animated("GIF", frames, duration=100),
        tmp_path / "w.gif",
        Finder(),
        Opinions(*opinions.scores),
        fallback="whole",
    )
    assert whole.frames[6]["painted"][0]["box"] == [0, 0, 8, 8]
    assert whole.exit_code == 0


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_a_report_with_frames_is_a_mask(tmp_path: Path, kind: str) -> None:
    data, target = animated(kind), tmp_path / f"out.{kind.lower()}"
    report = run(data, target, style="pixelate", verify=False)
    (tmp_path / "mask.json").write_text(report.to_json())
    again = tmp_path / f"again.{kind.lower()}"
    repeated = run(data, again, Finder(misses=range(100)), style="pixelate", mask=MaskFile.read(tmp_path / "mask.json"))
    assert repeated.verdict is None
    assert repeated.model == {"name": "person"}
    assert again.read_bytes() == target.read_bytes()
    edited = json.loads(report.to_json())
    for frame in edited["frames"][1:]:
        for box in frame["boxes"]:
            box["hide"] = False
    edited["frames"][0]["boxes"].append({"label": "BUTTOCKS_EXPOSED", "box": [40, 25, 48, 32]})
    mask = MaskFile((edited,))
    shown = run(data, again, mask=mask)
    frames = by_pillow(again.read_bytes())
    assert not exposed(frames[0]).any()
    assert (frames[0][26:32, 41:48, :3] == 0).all()
    assert all(exposed(frame).any() for frame in frames[1:])
    assert shown.exit_code == 0


def test_a_mask_for_something_else_is_refused(tmp_path: Path) -> None:
    data = animated("GIF")
    report = json.loads(run(data, tmp_path / "out.gif").to_json())
    for change, message in (
        ({"frames": report["frames"][:-1]}, "8 objects in `frames`; got 7"),
        ({"frames": None}, "8 objects in `frames`; got none"),
        ({"image_size": [9, 9]}, "a mask must be for a picture of"),
        ({"sha256": {"in": "0" * 64}}, "one record for <bytes>"),
    ):
        with pytest.raises(InputError, match=message):
            run(data, tmp_path / "no.gif", mask=MaskFile(({**report, **change},)))
    assert not (tmp_path / "no.gif").exists()


def test_a_preview_draws_on_every_frame_and_hides_nothing(tmp_path: Path) -> None:
    frames = drawn(size=(160, 120))
    report = run(animated("PNG", frames), tmp_path / "out.png", preview=True)
    assert report.method == "preview"
    assert report.summary().endswith("preview of 8 frames, nothing hidden")
    for before, after in zip(frames, by_pillow((tmp_path / "out.png").read_bytes()), strict=True):
        assert exposed(after).any()
        assert (after[..., :3] != np.asarray(before)).any()


@pytest.mark.parametrize(("name", "kind"), [("out.jpg", "JPEG"), ("out.bmp", "BMP"), ("out.tif", "TIFF")])
def test_a_still_format_is_a_clear_error(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(UsageError, match=f"written as GIF, PNG, WebP or AVIF; got {kind}"):
        run(animated("GIF"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_still_found_in_the_file_is_covered_harder(tmp_path: Path, kind: str) -> None:
    """The first look misses everything, and so does every look at what was written, but one."""
    finder = Finder(misses=range(8))
    report = run(animated(kind), tmp_path / "out", finder)
    assert report.verified
    assert finder.looks > 16
    assert not any(exposed(frame).any() for frame in by_pillow((tmp_path / "out").read_bytes()))


def test_what_cannot_be_hidden_is_said(tmp_path: Path) -> None:
    class Stubborn(Finder):
        def detect(self, images: Any, **options: Any) -> Any:
            found = super().detect(images, **options)
            box = {"label": "BUTTOCKS_EXPOSED", "score": 0.8, "box": [1, 1, 9, 9]}
            return type(found).from_records([box], found.image_size, class_names=found.class_names)

    report = run(animated("GIF"), tmp_path / "out.gif", Stubborn())
    assert not report.verified
    assert report.exit_code == 3
    assert "in frames 0-7 BUTTOCKS_EXPOSED is still found" in report.warnings[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
def test_a_broken_end_is_an_error_and_nothing_is_written(tmp_path: Path, kind: str, share: float) -> None:
    data = animated(kind, drawn(alpha=False, size=(64, 64)))
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(InputError) as caught:
        run_to_file(pipeline(), data[: int(len(data) * share)], target)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("x")])
def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    class Failing(Finder):
        def detect(self, images: Any, **options: Any) -> Any:
            if self.looks == 12:
                raise error
            return super().detect(images, **options)

    with pytest.raises(type(error)):
        run(animated("PNG"), tmp_path / "out.png", Failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_words_of_the_source_survive(tmp_path: Path, kind: str) -> None:
    secret = b"taken by Jane Doe"
    options: dict[str, Any] = {
        "GIF": {"comment": secret},
        "WEBP": {"xmp": secret, "exif": b"Exif\0\0II*\0" + secret},
        "AVIF": {"xmp": secret},
        "PNG": {},
    }[kind]
    data = animated(kind, **options)
    if kind == "PNG":
        chunk = struct.pack(">I", len(secret) + 8) + b"tEXtComment\0" + secret
        import zlib

        data = data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]
    assert secret in data
    data += secret
    run_to_file(pipeline(), data, tmp_path / "out")
    assert secret not in (tmp_path / "out").read_bytes()


def test_odd_times_of_an_avif_stay_exact(tmp_path: Path) -> None:
    from censor.animation.avif_boxes import AvifTiming, with_timing

    data = with_timing(animated("AVIF", duration=[1, 2, 1, 1, 3, 1, 1, 1]), AvifTiming(30, (1, 2, 1, 1, 3, 1, 1, 1), 5))
    assert opened(data).durations[1] == Fraction(2, 30)
    run_to_file(pipeline(), data, tmp_path / "out.avif")
    output = opened(tmp_path / "out.avif")
    assert output.durations == opened(data).durations
    assert output.plays == 5


def test_bytes_in_bytes_out_and_the_same_again() -> None:
    from unittest import mock

    import censor

    with mock.patch("censor.api.build_pipeline", lambda policy, **settings: pipeline(**settings)):
        first, report = censor.censor_bytes(animated("GIF"))
        second, _ = censor.censor_bytes(io.BytesIO(animated("GIF")))
    assert first == second
    assert isinstance(report, FramesReport)
    assert not any(exposed(frame).any() for frame in by_opencv(first))


def test_frame_numbers_in_few_words() -> None:
    assert frame_ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def test_an_encoder_that_fails_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from censor.animation import writing

    def fail(*_: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setitem(writing._WRITERS, "GIF", fail)
    with pytest.raises(OutputError, match="its encoder failed"):
        run(animated("GIF"), tmp_path / "out.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frames, plan: (frames[::-1], plan), "must show what was painted"),
        (lambda frames, plan: (frames, replace(plan, plays=9)), "played as was asked"),
        (lambda frames, plan: (frames[:-1], replace(plan, durations=plan.durations[:-1])), "played as was asked"),
    ],
    ids=["order", "plays", "count"],
)
def test_a_file_that_is_not_what_was_painted_is_never_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, message: str
) -> None:
    from censor.animation import writing

    honest = writing._WRITERS["PNG"]

    def spoilt(file: Any, frames: Any, plan: Any) -> None:
        pictures, other = spoil(list(frames), plan)
        honest(file, iter(pictures), other)

    monkeypatch.setitem(writing._WRITERS, "PNG", spoilt)
    with pytest.raises(OutputError, match=message):
        run(animated("PNG"), tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_a_persons_decision_about_a_near_copy_of_a_frame_is_taken_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    cells = [Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).convert("RGB") for _ in range(6)]
    frames = [image.resize((128, 128), Image.Resampling.BICUBIC) for image in cells]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=300, loop=0)
    boxes = (("BUTTOCKS_EXPOSED", (0.25, 0.25, 0.5, 0.5)),)
    decided = [
        KnownEntry(pdq_of(np.asarray(frames[3])), "nsfw", boxes),
        KnownEntry(pdq_of(np.asarray(frames[0])), "safe"),
    ]
    parts = replace(pipeline(grow=0.0), known=KnownList(decided))
    report = run_to_file(parts, buffer.getvalue(), tmp_path / "out.png")
    assert isinstance(report, FramesReport)
    assert [record["verdict"] for record in report.frames] == ["safe"] * 3 + ["nsfw"] + ["safe"] * 2
    assert [len(record["painted"]) for record in report.frames] == [0, 0, 1, 1, 1, 0]  # 0.4 s before and after
    assert report.worst == 3
    assert report.verdict is not None
    assert "a person said nsfw of a near copy" in report.verdict.reasons[-1]
    said = report.to_dict()
    assert (said["pdq"], said["known"]["line"]) == (decided[0].pdq.to_dict(), 1)
    assert said["frames"][0]["known"]["decision"] == "safe"
    shown = by_pillow((tmp_path / "out.png").read_bytes())[3]
    assert (shown[32:64, 32:64, :3] == 0).all()
    bare = KnownList([KnownEntry(decided[0].pdq, "nsfw")])
    for fallback, painted in (("none", [0] * 6), ("whole", [0, 0, 1, 1, 1, 0])):
        parts = replace(pipeline(fallback=fallback), known=bare)
        other = run_to_file(parts, buffer.getvalue(), tmp_path / "other.png")
        assert isinstance(other, FramesReport)
        assert [len(record["painted"]) for record in other.frames] == painted
        assert (other.verdict.verdict if other.verdict else None) == "nsfw"
        assert other.exit_code == (3 if fallback == "none" else 0)
    mask = MaskFile((json.loads(report.to_json()),))
    again = run_to_file(pipeline(grow=0.0), buffer.getvalue(), tmp_path / "again.png", mask=mask)
    assert (again.pdq, again.known) == (KnownEntry(pdq_of(np.asarray(frames[0])), "safe").pdq, None)


def test_what_is_hidden_is_held_as_long_as_one_asks_for(tmp_path: Path) -> None:
    """The disc is there in frames 6 to 9 of 16, a tenth of a second each."""
    frames = drawn(16)
    for i, frame in enumerate(frames):
        if not 6 <= i <= 9:
            shown = np.array(frame)
            shown[exposed(shown)] = (40, 90, 140)
            frame.paste(Image.fromarray(shown))
        frame.putpixel((0, 0), (i, i, i))  # Pillow makes one frame of equal ones
    data = animated("PNG", frames, duration=100, loop=1)
    hidden = {}
    for hold in (0.0, 0.2, 0.4):
        rules = VideoRules(motion=MotionRules(hold=hold, hold_looks=1))
        report = run_to_file(pipeline(), data, tmp_path / "out.png", video=rules)
        assert isinstance(report, FramesReport)
        hidden[hold] = [record["frame"] for record in report.frames if record["painted"]]
    assert hidden[0.2] == list(range(4, 12))
    assert hidden[0.4] == list(range(2, 14))
    assert set(hidden[0.0]) < set(hidden[0.2])
    report = run_to_file(pipeline(), data, tmp_path / "out.png")
    assert [record["frame"] for record in report.frames if record["painted"]] == hidden[0.4]


def test_progress_is_told_of_every_frame_and_may_stop(tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    run_to_file(pipeline(), animated("GIF"), tmp_path / "out.gif", progress=lambda *what: told.append(what))
    count = len(TIMES)
    assert told == [(stage, i + 1, count) for stage in ("looking", "writing", "checking") for i in range(count)]

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_file(pipeline(), animated("GIF"), tmp_path / "other.gif", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out.gif"]
