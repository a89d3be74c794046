"""What a person decided about frames of a video, and sheets of what nobody can say where to hide."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving_parts import BREAST, MovingPart
from PIL import Image

pytest.importorskip("av")

from video_clips import COLOURS, SIZE, ColourDetector, clip, mask_of, read_frames, video_pipeline

from censor.motion.rules import MotionRules
from censor.video.job import preview_video, run_video, scan_video
from censor.video.recalling import MOST_SAMPLES, Samples
from censor.video.rules import VideoRules
from detector.detections import Detections
from detector.known import KnownEntry, KnownList, entries_of
from detector.opinion import Opinion
from detector.pdq import Pdq, pdq_of

BOX = (("BUTTOCKS_EXPOSED", (0.25, 0.25, 0.5, 0.5)),)
RULES = VideoRules(motion=MotionRules(hold=0.2), verify_share=0.0)


def scene(number: int) -> np.ndarray:
    """Return one of several textured pictures, with enough in it to be told from others."""
    cells = np.random.default_rng(number).integers(60, 200, (8, 8), np.uint8)
    picture = Image.fromarray(cells).resize(SIZE[::-1], Image.Resampling.BICUBIC).convert("RGB")
    return np.asarray(picture)


def scenes(time: float) -> np.ndarray:
    """Show another picture every second."""
    return scene(int(time + 1e-6))


@pytest.fixture(scope="module")
def data() -> bytes:
    return clip(draw=scenes, frames=40, pts=[i * 9000 for i in range(40)])  # 10 a second, 4 s


def decided(number: int, decision: str, boxes: Any = ()) -> KnownEntry:
    return KnownEntry(pdq_of(scene(number)), decision, boxes)


def censored(data: bytes, target: Path, *entries: KnownEntry, **changes: Any) -> tuple[Any, list[np.ndarray]]:
    pipeline = replace(video_pipeline(**{"grow": 0.0, **changes}), known=KnownList(entries))
    report = run_video(pipeline, data, target, rules=RULES)
    return report, read_frames(target)[1]


def black(frames: list[np.ndarray]) -> list[float]:
    """Return which share of each frame is black; the scenes hold nothing so dark."""
    return [float((frame.max(axis=2) < 40).mean()) for frame in frames]


def test_what_a_person_hid_in_a_near_copy_of_a_frame_is_hidden_around_it(tmp_path: Path, data: bytes) -> None:
    report, frames = censored(data, tmp_path / "o.mp4", decided(2, "nsfw", BOX), decided(0, "safe"))
    assert report.verdict.verdict == "nsfw"
    assert report.exit_code == 0
    assert any("a person said nsfw of a near copy (line 1" in reason for reason in report.verdict.reasons)
    hidden = [i for i, share in enumerate(black(frames)) if share > 0.04]
    assert hidden == list(range(18, 32))  # 2 s to 2.9 s, and 0.2 s before and after
    said = report.to_dict()
    assert [(item["decision"], item["start"], item["end"]) for item in said["recalled"]] == [
        ("safe", 0.0, 0.9),
        ("nsfw", 2.0, 2.9),
    ]
    assert said["known"]["decision"] == "nsfw"
    assert [item["time"] for item in said["samples"]] == [0.0, 1.0, 2.0, 3.0]


def test_a_safe_decision_clears_nothing(tmp_path: Path) -> None:
    part = MovingPart((64, 48), (0, 0), 1.0, (30, 24))

    def draw(time: float) -> np.ndarray:
        pixels = scene(0).copy()
        x1, y1, x2, y2 = (round(side) for side in part.box(0.0) or ())
        pixels[y1:y2, x1:x2] = COLOURS[BREAST]
        return pixels

    data = clip(draw=draw, frames=20)
    entry = KnownEntry(pdq_of(draw(0.0)), "safe")
    for trust in ("note", "trust"):
        pipeline = replace(video_pipeline(), known=KnownList([entry]))
        rules = pipeline.policy.policy
        pipeline = replace(
            pipeline,
            policy=replace(pipeline.policy, policy=replace(rules, verdict=replace(rules.verdict, known=trust))),
        )
        report = run_video(pipeline, data, tmp_path / "o.mp4", rules=RULES)
        assert report.known.entry.decision == "safe"
        assert report.verdict.verdict == "nsfw"
        assert not any(mask_of(frame, BREAST).any() for frame in read_frames(tmp_path / "o.mp4")[1])


def test_a_decision_without_boxes_asks_for_a_person_or_covers_the_frames(tmp_path: Path, data: bytes) -> None:
    report, frames = censored(data, tmp_path / "o.mp4", decided(2, "nsfw"))
    assert report.verdict.verdict == "nsfw"
    assert report.exit_code == 3
    assert "--fallback whole" in report.warnings[0]
    assert max(black(frames)) == 0
    # Something is hidden elsewhere, which does not say what is wrong with the frame that a person called nsfw.
    both = (decided(2, "nsfw"), decided(0, "nsfw", BOX))
    report, frames = censored(data, tmp_path / "o.mp4", *both)
    assert report.exit_code == 3
    assert "nobody said what is to be hidden" in report.warnings[0]
    report, frames = censored(data, tmp_path / "o.mp4", *both, fallback="whole")
    assert report.exit_code == 0
    assert [i for i, share in enumerate(black(frames)) if share > 0.99] == list(range(18, 32))
    assert 0 < black(frames)[3] < 0.1
    report, frames = censored(data, tmp_path / "o.mp4", decided(2, "nsfw"), fallback="whole")
    assert min(black(frames)) > 0.99


def test_reports_of_videos_become_decisions(data: bytes) -> None:
    report = scan_video(video_pipeline(), data, rules=RULES)
    assert report.to_dict()["known"] is None
    assert [entry.decision for entry in entries_of([report.to_dict()], "safe")] == ["safe"]
    record = json.loads(report.to_json())
    record["samples"][2]["boxes"] = [{"label": BREAST, "box": [32, 24, 64, 48], "hide": True}]
    (entry,) = entries_of([record], "nsfw")
    assert (entry.pdq.hash, entry.boxes) == (record["samples"][2]["pdq"]["hash"], ((BREAST, (0.25, 0.25, 0.5, 0.5)),))


def test_samples_stay_few() -> None:
    samples = Samples()
    for i in range(50_000):
        if samples.is_due(i / 25):
            samples.add(i, i / 25, Pdq("0" * 64, 100), Detections(image_size=SIZE), ())
    assert MOST_SAMPLES / 2 <= len(samples.records) <= MOST_SAMPLES
    assert len({b["time"] - a["time"] for a, b in zip(samples.records[:-2], samples.records[1:-1], strict=True)}) == 1


class Objects:
    """A second opinion that objects to the last scene, and is unsure about the first."""

    def look(self, picture: Any) -> Opinion:
        pixels = np.asarray(picture.load()).astype(int)
        away = [np.abs(pixels - scene(number)).mean() for number in range(4)]
        return Opinion(score={3: 0.95, 0: 0.5}.get(int(np.argmin(away)), 0.05))


@pytest.mark.parametrize("how", ["scan", "preview"])
def test_a_sheet_never_shows_what_only_the_second_opinion_objects_to(tmp_path: Path, data: bytes, how: str) -> None:
    pipeline = video_pipeline(ColourDetector(), opinion=Objects())
    if how == "scan":
        report = scan_video(pipeline, data, tmp_path / "s.png")
    else:
        report = preview_video(pipeline, data, tmp_path / "s.png", 12)
    assert report.video["thumbnails"] == 12
    sheet = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
    tiles = [
        sheet[4 + row * 118 + 5 : 4 + row * 118 + 90, 4 + column * 132 + 5 : 4 + column * 132 + 120]
        for row in range(3)
        for column in range(4)
    ]
    # From the last look before the scene to which it objects; it is asked once a second.
    assert [bool(tile.max() < 5) for tile in tiles] == [False] * 6 + [True] * 6


def test_what_a_strict_policy_says_of_an_unsure_opinion_holds_for_videos(data: bytes) -> None:
    opinions = Objects()
    assert scan_video(video_pipeline(opinion=opinions), data).verdict.verdict != "nsfw"
    votes = []
    for unsure in ("safe", "review"):
        pipeline = video_pipeline(opinion=opinions)
        rules = pipeline.policy.policy
        changed = replace(rules, verdict=replace(rules.verdict, unsure=unsure))
        report = scan_video(replace(pipeline, policy=replace(pipeline.policy, policy=changed)), data)
        votes.append(next(reason for reason in report.verdict.reasons if reason.startswith("second opinion:")))
    assert ["1 of 4" in votes[0], "2 of 4" in votes[1]] == [True, True]
