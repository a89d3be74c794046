"""The whole job with a detector whose answers the test chooses; the real one is in test_main_job.py."""

import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import censor
from censor.api import run_to_file
from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from censor.report import MaskFile
from censor.styles import STYLES
from detector.classes import ALL_CLASSES, CLASSES
from detector.detections import Detections
from detector.errors import InputError, OutputError, UsageError
from detector.opinion import Opinion
from detector.picture import Picture

BOX = (10.0, 12.0, 30.0, 40.0)


class FakeDetector:
    """Answers each look with the next list of (class, score, box); the last one for ever."""

    name, device, sha256, class_names = "fake", "cpu", "0" * 64, ALL_CLASSES

    def __init__(self, *answers: Sequence[tuple[str, float, tuple[float, ...]]]) -> None:
        self.answers = list(answers)
        self.seen: list[dict[str, Any]] = []

    def detect(self, images: Picture, *, classes: Sequence[str], score_thresh: Any, tiles: bool) -> Detections:
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        self.seen.append({"picture": images, "classes": tuple(classes), "score_thresh": score_thresh, "tiles": tiles})
        found = Detections.from_records(
            [{"label": label, "score": score, "box": box} for label, score, box in answer],
            images.image_size,
            class_names=ALL_CLASSES,
        )
        limit = score_thresh if isinstance(score_thresh, Mapping) else dict.fromkeys(ALL_CLASSES, score_thresh)
        return found.above({name: limit[name] for name in classes})


class FakeOpinion:
    def __init__(self, score: float) -> None:
        self.value = score

    def look(self, images: Any) -> Opinion:
        return Opinion(score=self.value)


def picture_bytes(format: str = "PNG", size: tuple[int, int] = (64, 96), mode: str = "RGB") -> bytes:
    height, width = size
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, format, quality=95)
    return buffer.getvalue()


def pipeline(detector: FakeDetector, opinion: float | None = None, policy: str = "default", **changes: Any) -> Pipeline:
    verify = changes.pop("verify", True)
    rules = load_censor_policy(policy, **changes)
    return Pipeline(
        model=detector, opinion=None if opinion is None else FakeOpinion(opinion), policy=rules, verify=verify
    )


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


FOUND = [("BUTTOCKS_EXPOSED", 0.8, BOX)]


def test_what_is_found_is_hidden_and_the_rest_is_kept() -> None:
    data = picture_bytes()
    outcome = pipeline(FakeDetector(FOUND, []), style="box", grow=0.0).run(Picture.open(data), "o", None)
    before, after = pixels_of(data), pixels_of(outcome.data)
    assert (after[12:40, 10:30] == 0).all()
    after = after.copy()
    after[12:40, 10:30] = before[12:40, 10:30]
    assert (after == before).all()
    report = outcome.report
    assert (report.method, report.verified, report.exit_code) == ("painted", True, 0)
    assert report.verdict is not None
    assert report.verdict.verdict == "nsfw"
    assert report.boxes[0]["hide"] is True
    assert report.painted == (
        {"label": "BUTTOCKS_EXPOSED", "box": [10, 12, 30, 40], "style": "box", "shape": "rectangle"},
    )


def test_classes_that_are_not_to_be_hidden_stay() -> None:
    data = picture_bytes()
    fake = FakeDetector([("BELLY_EXPOSED", 0.9, BOX)])
    outcome = pipeline(fake).run(Picture.open(data), "o", None)
    assert (pixels_of(outcome.data) == pixels_of(data)).all()
    assert outcome.report.verdict is not None
    assert outcome.report.verdict.verdict == "safe"
    assert "BELLY_EXPOSED" not in fake.seen[0]["classes"]


def test_a_clean_jpeg_keeps_its_coded_pixels() -> None:
    data = picture_bytes("JPEG")
    outcome = pipeline(FakeDetector([])).run(Picture.open(data), "o.jpg", "JPEG")
    assert outcome.report.method == "lossless"
    assert outcome.report.verified
    assert (pixels_of(outcome.data) == pixels_of(data)).all()
    assert pipeline(FakeDetector([])).run(Picture.open(data), "o.png", "PNG").report.method == "reencoded"


@pytest.mark.parametrize(
    ("policy", "opinion", "changes", "method", "code"),
    [
        ("default", 0.9, {}, "lossless", 3),
        ("default", 0.5, {}, "lossless", 0),
        ("default", 0.9, {"fallback": "whole"}, "painted", 0),
        ("strict", 0.9, {}, "painted", 0),
        ("strict", 0.5, {}, "painted", 0),
        ("strict", 0.1, {}, "lossless", 0),
        ("strict", 0.9, {"fallback": "none"}, "lossless", 3),
    ],
)
def test_fallback(policy: str, opinion: float, changes: dict[str, Any], method: str, code: int) -> None:
    data = picture_bytes("JPEG")
    outcome = pipeline(FakeDetector([]), opinion, policy, **changes).run(Picture.open(data), "o.jpg", "JPEG")
    assert (outcome.report.method, outcome.report.exit_code) == (method, code)
    if code == 3:
        assert "there is no region to hide" in outcome.report.warnings[0]
    if method == "painted":
        cells = pixels_of(outcome.data).astype(int)
        assert np.abs(np.diff(cells, axis=1)).mean() < 8, "noise is gone everywhere"


def test_what_flags_a_picture_and_stays_visible_is_a_warning() -> None:
    answer = [("FACE_FEMALE", 0.9, BOX), ("BUTTOCKS_EXPOSED", 0.9, (50.0, 5.0, 60.0, 20.0))]
    data = picture_bytes()
    outcome = pipeline(FakeDetector(answer), classes=["FACE_FEMALE"], verify=False).run(Picture.open(data), "o", None)
    assert [item["label"] for item in outcome.report.painted] == ["FACE_FEMALE"]
    assert outcome.report.exit_code == 3
    assert "BUTTOCKS_EXPOSED is not among the classes to hide" in outcome.report.warnings[0]


def test_found_again_is_covered_harder() -> None:
    # The second look, at half the threshold, finds the part again beside the hidden box.
    again = [("BUTTOCKS_EXPOSED", 0.15, (25.0, 12.0, 40.0, 40.0))]
    fake = FakeDetector(FOUND, again, [])
    outcome = pipeline(fake, grow=0.0, style="blur").run(Picture.open(picture_bytes()), "o", None)
    assert fake.seen[1]["score_thresh"]["BUTTOCKS_EXPOSED"] == pytest.approx(0.125)
    assert outcome.report.verified
    assert outcome.report.exit_code == 0
    harder = outcome.report.painted[1]
    assert harder["style"] == "blur"
    x1, y1, x2, y2 = harder["box"]
    assert x1 <= 10
    assert y1 <= 12
    assert x2 >= 40
    assert y2 >= 40
    step = np.abs(np.diff(pixels_of(outcome.data)[y1:y2, x1:x2].astype(int), axis=1))
    assert step.max() < 8, "noise is gone in all of it"


def test_a_weak_find_away_from_every_hidden_region_is_left() -> None:
    away = [("BUTTOCKS_EXPOSED", 0.15, (60.0, 12.0, 80.0, 40.0))]
    outcome = pipeline(FakeDetector(FOUND, away)).run(Picture.open(picture_bytes()), "o", None)
    assert len(outcome.report.painted) == 1
    assert outcome.report.verified


def test_a_new_find_in_the_output_is_hidden_too() -> None:
    away = [("FEMALE_BREAST_EXPOSED", 0.5, (60.0, 12.0, 80.0, 40.0))]
    outcome = pipeline(FakeDetector(FOUND, away, [])).run(Picture.open(picture_bytes()), "o", None)
    assert [item["label"] for item in outcome.report.painted] == ["BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED"]
    assert outcome.report.verified


def test_what_stays_found_asks_for_a_person() -> None:
    outcome = pipeline(FakeDetector(FOUND)).run(Picture.open(picture_bytes()), "o", None)
    assert not outcome.report.verified
    assert outcome.report.exit_code == 3
    assert "BUTTOCKS_EXPOSED is still found in the output at 0.80" in outcome.report.warnings[0]
    assert [item["style"] for item in outcome.report.painted] == ["pixelate", "pixelate", "pixelate", "box"]
    quiet = pipeline(FakeDetector(FOUND), verify=False).run(Picture.open(picture_bytes()), "o", None)
    assert (quiet.report.exit_code, quiet.report.verified) == (0, False)


@pytest.mark.parametrize("style", ["match", "sticker", "inpaint"])
def test_what_shows_a_part_itself_ends_under_a_box(style: str) -> None:
    """A sticker may be of what is to be hidden, and inpainting may make it up."""
    outcome = pipeline(FakeDetector(FOUND), style=style).run(Picture.open(picture_bytes()), "o", None)
    assert [item["style"] for item in outcome.report.painted] == [style, style, style, "box"]
    x1, y1, x2, y2 = outcome.report.painted[-1]["box"]
    assert (pixels_of(outcome.data)[y1:y2, x1:x2] == 0).all()
    assert (x1, y1, x2, y2) > (0, 0, 0, 0)


@pytest.mark.parametrize("answer", [FOUND, []], ids=["found", "clean"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_the_whole_picture_is_covered_whatever_was_found(style: str, answer: list[Any], format: str) -> None:
    data = picture_bytes(format)
    job = pipeline(FakeDetector(answer, []), style=style, whole=True)
    outcome = job.run(Picture.open(data), "o", None)
    assert (outcome.report.method, outcome.report.exit_code) == ("painted", 0)
    assert outcome.report.painted == (
        {"label": "WHOLE_PICTURE", "box": [0, 0, 96, 64], "style": style, "shape": "rectangle"},
    )
    assert outcome.report.boxes[-1]["label"] == "WHOLE_PICTURE"
    assert outcome.report.verdict is not None
    assert outcome.report.verdict.verdict == ("nsfw" if answer else "safe")
    if style in ("box", "match", "inpaint"):
        assert (pixels_of(outcome.data) == 0).all()


def test_a_policy_that_covers_everything_covers_what_a_person_left(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(picture_bytes())
    first = run_to_file(pipeline(FakeDetector(FOUND), verify=False), source, tmp_path / "b.png")
    mask = tmp_path / "mask.json"
    mask.write_text(first.to_json())
    job = pipeline(FakeDetector([]), style="box", whole=True)
    run_to_file(job, source, tmp_path / "c.png", mask=MaskFile.read(mask))
    assert (pixels_of((tmp_path / "c.png").read_bytes()) == 0).all()


def test_a_coloured_box_on_a_grey_picture_gives_a_colour_picture() -> None:
    data = picture_bytes(mode="L")
    outcome = pipeline(FakeDetector(FOUND, []), style="box", colour="red").run(Picture.open(data), "o", None)
    assert Image.open(io.BytesIO(outcome.data)).mode == "RGB"
    plain = pipeline(FakeDetector(FOUND, [])).run(Picture.open(data), "o", None)
    assert Image.open(io.BytesIO(plain.data)).mode == "L"


def test_a_large_jpeg_is_decoded_ahead_with_the_same_result() -> None:
    data = picture_bytes("JPEG", size=(1100, 1000))
    results = []
    for ahead in (False, True):
        base = pipeline(FakeDetector(FOUND, []), 0.5, verify=False)
        job = Pipeline(model=base.model, opinion=base.opinion, policy=base.policy, verify=False, ahead=ahead)
        results.append(job.run(Picture.open(data), "o", None).data)
    assert results[0] == results[1]


def test_a_truncated_jpeg_is_an_error_on_every_way() -> None:
    data = picture_bytes("JPEG", size=(1100, 1000))
    for answer in (FOUND, []):
        with pytest.raises((InputError, OutputError)):
            pipeline(FakeDetector(answer)).run(Picture.open(data[: len(data) // 2]), "o.jpg", "JPEG")


def test_one_pipeline_serves_many_threads() -> None:
    job = pipeline(FakeDetector(FOUND), verify=False)
    pictures = [picture_bytes(size=(64, 64 + i)) for i in range(8)]
    expected = [job.run(Picture.open(data), "o", None).data for data in pictures]
    results: list[bytes] = [b""] * len(pictures)

    def work(i: int) -> None:
        results[i] = job.run(Picture.open(pictures[i]), "o", None).data

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == expected


def test_preview_hides_nothing_and_says_so() -> None:
    outcome = pipeline(FakeDetector([("BELLY_EXPOSED", 0.9, BOX), *FOUND])).preview(
        Picture.open(picture_bytes()), "o", None
    )
    assert outcome.report.method == "preview"
    assert outcome.report.painted == ()
    assert "nothing hidden" in outcome.report.summary()


def test_censor_image_takes_an_array_and_leaves_it_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    kept = image.copy()
    found = Detections.from_records([{"label": "BUTTOCKS", "score": 0.3, "box": BOX}], (50, 60))
    hidden = censor.censor_image(image, found, style="box", grow=0.0, colour="#102030")
    assert (image == kept).all()
    assert (hidden[12:40, 10:30] == (16, 32, 48)).all()
    assert (censor.censor_image(image, found, score_thresh=0.5) == image).all()
    with pytest.raises(UsageError, match=r"it is about \(50, 60\)"):
        censor.censor_image(image[:40], found)


def test_a_policy_whose_classes_the_model_lacks_is_refused() -> None:
    class SixOnly(FakeDetector):
        class_names = CLASSES

    with pytest.raises(UsageError, match="does not know"):
        censor.build_pipeline(model=SixOnly([]), classes=["FACE_FEMALE"], second_opinion=False)


def test_mask_hides_what_a_person_chose_and_nothing_else(tmp_path: Path) -> None:
    data = picture_bytes()
    source = tmp_path / "in.png"
    source.write_bytes(data)
    answer = [("BUTTOCKS_EXPOSED", 0.8, BOX), ("FEMALE_BREAST_EXPOSED", 0.7, (50.0, 5.0, 60.0, 20.0))]
    first = censor.api.run_to_file(pipeline(FakeDetector(answer), verify=False), source, tmp_path / "a.png")
    record = first.to_dict()
    record["boxes"][1]["hide"] = False
    record["boxes"].append({"label": "face_f", "box": [70, 40, 80, 50]})
    mask = censor.report.MaskFile((record,))
    second = censor.api.run_to_file(
        pipeline(FakeDetector([]), style="box", grow=0.0), source, tmp_path / "b.png", mask=mask
    )
    assert {item["label"] for item in second.painted} == {"BUTTOCKS_EXPOSED", "FACE_FEMALE"}
    after, before = pixels_of((tmp_path / "b.png").read_bytes()), pixels_of(data)
    assert (after[5:20, 50:60] == before[5:20, 50:60]).all()
    assert (after[40:50, 70:80] == 0).all()
    assert second.verdict is None
    assert len(second.boxes) == 3
