"""What SAFETY promises, end to end: each with a number."""

import base64
import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import censor
import detector
from censor.pipeline import Pipeline
from censor.policy import load_censor_policy
from censor.styles import OPAQUE_STYLES, STYLES
from detector.boxes import box_ios
from detector.classes import ALL_CLASSES, NSFW_CLASSES
from detector.detections import Detections
from detector.picture import Picture

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")


class Chosen:
    """A detector that finds one box, wherever the test wants it."""

    name, device, sha256, class_names = "chosen", "cpu", "0" * 64, ALL_CLASSES

    def __init__(self, box: Sequence[float]) -> None:
        self.box = box

    def detect(self, images: Picture, **_: Any) -> Detections:
        record = {"label": "BUTTOCKS_EXPOSED", "score": 0.9, "box": list(self.box)}
        return Detections.from_records([record], images.image_size, class_names=ALL_CLASSES)


def as_file(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def outputs(pixels: np.ndarray, box: Sequence[float], format: str, style: str) -> bytes:
    policy = load_censor_policy("default", style=style, grow=0.0, caption="hidden")
    job = Pipeline(model=Chosen(box), opinion=None, policy=policy, verify=False)
    return job.run(Picture.open(as_file(pixels)), "o", format).data


def same_bytes_whatever_is_hidden(count: int, seed: int) -> None:
    """Two pictures that differ only inside the box, through the whole job, for every encoder."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        height, width = (int(side) for side in rng.integers(9, 90, 2))
        channels = [(), (3,), (4,)][number % 3]
        first = rng.integers(0, 256, (height, width, *channels), dtype=np.uint8)
        x1, x2 = np.sort(rng.uniform(-5, width + 5, 2))
        y1, y2 = np.sort(rng.uniform(-5, height + 5, 2))
        inside = np.s_[max(int(y1), 0) : max(int(np.ceil(y2)), 0), max(int(x1), 0) : max(int(np.ceil(x2)), 0)]
        second = first.copy()
        second[inside] = rng.integers(0, 256, second[inside].shape, dtype=np.uint8)
        format = FORMATS[number % len(FORMATS)]
        box = (float(x1), float(y1), float(x2), float(y2))
        style = OPAQUE_STYLES[number % len(OPAQUE_STYLES)]
        assert outputs(first, box, format, style) == outputs(second, box, format, style), (seed, number, format, box)
        if second[inside].size > 30:
            assert as_file(first) != as_file(second)


def test_nothing_of_the_region_survives() -> None:
    same_bytes_whatever_is_hidden(84, seed=1)  # each style in each mode and format


@pytest.mark.slow
def test_nothing_of_the_region_survives_over_many_regions() -> None:
    same_bytes_whatever_is_hidden(200 * len(FORMATS), seed=2)


@pytest.mark.parametrize("style", OPAQUE_STYLES)
def test_nothing_survives_in_a_picture_that_is_encoded_in_strips(style: str) -> None:
    rng = np.random.default_rng(3)
    first = np.repeat(np.repeat(rng.integers(0, 256, (210, 160, 3), dtype=np.uint8), 8, 0), 8, 1)
    second = first.copy()
    second[300:1200, 200:900] = rng.integers(0, 256, (900, 700, 3), dtype=np.uint8)
    box = (200.0, 300.0, 900.0, 1200.0)
    assert outputs(first, box, "JPEG", style) == outputs(second, box, "JPEG", style)


def stays_undetected(paths: Sequence[Path], style: str) -> None:
    model = detector.load()
    pipeline = censor.build_pipeline(model=model, style=style, second_opinion=False)
    for path in paths:
        outcome = pipeline.run(Picture.open(path), "o.jpg", None)
        assert outcome.report.verified, outcome.report.warnings
        hidden = np.array([item["box"] for item in outcome.report.painted], dtype=np.float32).reshape(-1, 4)
        again = model.detect(outcome.data, classes=NSFW_CLASSES, score_thresh=0.125)
        assert (box_ios(again.boxes, hidden) == 0).all(), path


@pytest.mark.parametrize("style", STYLES)
def test_what_was_censored_stays_undetected(style: str, mannequins: list[Path], example: Path) -> None:
    """The example in each style, and of the mannequins two in each: every one of them comes in a slow test."""
    number = 2 * STYLES.index(style)
    stays_undetected([example, *mannequins[number : number + 2]], style)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_what_was_censored_stays_undetected_on_every_mannequin(style: str, mannequins: list[Path]) -> None:
    stays_undetected(mannequins, style)


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_with_one_and_two_threads(example: Path) -> None:
    results = set()
    for threads in (1, 2, 2):
        pipeline = censor.build_pipeline(model=detector.load(threads=threads), threads=threads, ahead=threads == 2)
        results.add(pipeline.run(Picture.open(example), "o.jpg", None).data)
    assert len(results) == 1


def test_every_orientation_is_found_in_the_same_place(mannequins: list[Path]) -> None:
    turn_back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    model = detector.load()
    with Image.open(mannequins[5]) as image:
        upright = image.convert("RGB")
    expected = model.detect(np.asarray(upright))
    assert len(expected) >= 2
    for orientation, method in turn_back.items():
        stored = upright if method is None else upright.transpose(method)
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        stored.save(buffer, "PNG", exif=exif, compress_level=1)
        found = model.detect(buffer.getvalue())
        assert found.image_size == expected.image_size
        assert np.array_equal(found.boxes, expected.boxes)
        assert np.abs(found.scores - expected.scores).max() <= 1e-6


@pytest.mark.slow
def test_a_change_that_nobody_sees_changes_little(mannequins: list[Path]) -> None:
    model = detector.load()
    with Image.open(mannequins[5]) as image:
        upright = image.convert("RGB")
    best = float(model.detect(upright, classes=NSFW_CLASSES).scores[0])

    def score(changed: Image.Image, format: str = "PNG", **options: Any) -> float:
        buffer = io.BytesIO()
        changed.save(buffer, format, **options)
        found = model.detect(buffer.getvalue(), classes=NSFW_CLASSES)
        return float(found.scores[0]) if len(found) else 0.0

    assert score(upright, "JPEG", quality=30) == pytest.approx(best, abs=0.05)
    transparent = upright.copy()
    transparent.putalpha(254)
    assert score(transparent) == pytest.approx(best, abs=0.05)
    # A scaling attack: every pixel that a resizer without anti-aliasing would read is grey. Enlarged eight times,
    # that is 1 pixel in 64, and nobody sees it.
    large = np.repeat(np.repeat(np.asarray(upright.resize((320, 320))), 8, axis=0), 8, axis=1)
    attacked = large.copy()
    attacked[4::8, 4::8] = 128
    plain = score(Image.fromarray(large), "PNG", compress_level=1)
    assert score(Image.fromarray(attacked), "PNG", compress_level=1) == pytest.approx(plain, abs=0.05)


def test_nothing_rides_along_behind_the_coded_picture(mannequins: list[Path], example: Path) -> None:
    """Bytes between the last block and the end marker are seen by no decoder, and by no look at the pixels."""
    pipeline = censor.build_pipeline(second_opinion=False, verify=False)
    clean = mannequins[8].read_bytes()
    plain = pipeline.run(Picture.open(clean), "o.jpg", None)
    assert plain.report.method == "lossless"
    passenger = base64.b64encode(example.read_bytes())
    for extra in (passenger[:40], passenger):
        outcome = pipeline.run(Picture.open(clean[:-2] + extra + clean[-2:]), "o.jpg", None)
        assert outcome.report.method == "reencoded"
        assert extra[:40] not in outcome.data
    # Several scans and restart intervals have such places inside: they are encoded afresh.
    with Image.open(io.BytesIO(clean)) as image:
        for options in ({"progressive": True}, {"restart_marker_rows": 1}):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", **options)
            assert pipeline.run(Picture.open(buffer.getvalue()), "o.jpg", None).report.method == "reencoded"


def test_nothing_hides_under_a_low_alpha(example: Path) -> None:
    """Nearly transparent colours are invisible over any ground, and whole in the output's bytes."""
    model = detector.load()
    pipeline = censor.build_pipeline(model=model, second_opinion=False)
    with Image.open(example) as image:
        picture = image.convert("RGBA").resize((450, 600))
    for alpha in (1, 8, 15):
        picture.putalpha(alpha)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        outcome = pipeline.run(Picture.open(buffer.getvalue()), "o.png", None)
        assert outcome.report.verdict is not None
        assert outcome.report.verdict.verdict == "nsfw"
        with Image.open(io.BytesIO(outcome.data)) as after:
            again = model.detect(np.asarray(after.convert("RGB")), classes=NSFW_CLASSES, score_thresh=0.25)
        assert len(again) == 0


@pytest.mark.slow
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_accepted_picture_of_50_megapixels_peaks_under_a_gigabyte(format: str, tmp_path: Path, root: Path) -> None:
    path = tmp_path / f"large.{format.lower()}"
    rows = np.linspace(0, 255, 7000, dtype=np.uint8)[:, None, None]
    pixels = np.broadcast_to(rows, (7000, 7100, 3)).copy()
    pixels[::7, ::5] = 90
    Image.fromarray(pixels).save(path, **({"compression": "tiff_deflate"} if format == "TIFF" else {}))
    code = (
        "import sys; from censor.api import build_pipeline, run_to_file\n"
        "sys.path.insert(0, 'tests'); from test_promises import Chosen\n"
        "pipeline = build_pipeline(model=Chosen((1000, 1000, 3000, 3000)))\n"
        "run_to_file(pipeline, sys.argv[1], sys.argv[2])\n"
        "print(open('/proc/self/status').read())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / f"out.{format.lower()}")],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        timeout=300,
    )
    peak = next(int(line.split()[1]) / 1024 for line in done.stdout.splitlines() if line.startswith("VmHWM"))
    assert peak < 1000
