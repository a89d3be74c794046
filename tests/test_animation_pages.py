"""TIFF files of several pages: every page is censored as a picture of its own."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from censor.animation.opening import open_source
from censor.animation.report import FramesReport
from censor.animation.tiff_pages import Pages
from censor.api import run_to_file
from censor.report import MaskFile
from detector.errors import InputError, LimitError, UsageError
from detector.limits import Limits
from detector.picture import Picture
from tests.animation_samples import SECRET, Finder, drawn, exposed, pipeline


def page_images() -> list[Image.Image]:
    """Pages of several sizes and modes; the secret shows on the first, the third and the fifth."""
    colour = drawn(2, size=(64, 40))
    turned = drawn(1, size=(30, 50))[0]
    clear = drawn(1, alpha=True, size=(40, 40))[0]
    palette = colour[1].quantize(32)
    return [colour[0], Image.new("L", (20, 10), 90), turned, Image.new("1", (16, 16), 1), clear, palette]


def tiff(pages: list[Image.Image] | None = None, **options: Any) -> bytes:
    pages = pages or page_images()
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], **options)
    return buffer.getvalue()


def shown(data: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(data)) as image:
        frames = []
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.array(image.convert("RGBA")))
    return frames


def run(data: bytes, target: Path, finder: Finder | None = None, **options: Any) -> FramesReport:
    job = {name: options.pop(name) for name in ("mask", "preview", "limits") if name in options}
    report = run_to_file(pipeline(finder, **options), data, target, **job)
    assert isinstance(report, FramesReport)
    return report


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"big_tiff": True}], ids=str)
def test_every_page_is_censored_and_the_rest_stays(tmp_path: Path, options: dict[str, Any]) -> None:
    data, target = tiff(**options), tmp_path / "out.tif"
    report = run(data, target, grow=0.0)
    assert (report.kind, report.verified, report.method, report.plays) == ("pages", True, "painted", None)
    pages = shown(target.read_bytes())
    assert [page.shape[:2] for page in pages] == [image.size[::-1] for image in page_images()]
    for before, after, record in zip(shown(data), pages, report.frames, strict=True):
        assert not exposed(after).any()
        assert record["image_size"] == list(before.shape[:2])
        for region in record["painted"]:
            x1, y1, x2, y2 = region["box"]
            before[y1:y2, x1:x2] = (0, 0, 0, 255)
        before[before[..., 3] == 0] = 0
        assert (before == after).all()
    assert [bool(record["painted"]) for record in report.frames] == [True, False, True, False, True, True]
    assert report.worst == 0
    assert report.verdict is not None
    assert report.verdict.verdict == "nsfw"
    assert [record["pdq"] is not None for record in report.frames] == [True] * 6
    assert report.pdq is not None
    assert report.to_dict()["pdq"] == report.frames[0]["pdq"]


def test_pages_are_not_moments_nothing_is_held(tmp_path: Path) -> None:
    report = run(tiff(drawn(3)), tmp_path / "out.tif", Finder(misses=[1]), verify=False)
    assert [len(record["painted"]) for record in report.frames] == [1, 0, 1]


def test_a_report_with_pages_is_a_mask(tmp_path: Path) -> None:
    data = tiff()
    record = json.loads(run(data, tmp_path / "out.tif").to_json())
    again = run(data, tmp_path / "again.tif", Finder(misses=range(99)), mask=MaskFile((record,)))
    assert (tmp_path / "again.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()
    assert again.verdict is None
    record["frames"][0]["boxes"] = []
    run(data, tmp_path / "again.tif", mask=MaskFile((record,)))
    assert exposed(shown((tmp_path / "again.tif").read_bytes())[0]).any()


def test_a_preview_and_other_formats(tmp_path: Path) -> None:
    assert run(tiff(), tmp_path / "out.tif", preview=True).method == "preview"
    assert exposed(shown((tmp_path / "out.tif").read_bytes())[0]).any()
    for name in ("out.gif", "out.png", "out.jpg"):
        with pytest.raises(UsageError, match="several pages must be written as TIFF"):
            run(tiff(), tmp_path / name)
        assert not (tmp_path / name).exists()


def test_words_and_previews_of_pages_do_not_survive(tmp_path: Path) -> None:
    secret = b"taken by Jane Doe"
    data = tiff(tiffinfo={270: secret.decode(), 315: secret.decode()}) + secret
    assert data.count(secret) > 2
    run(data, tmp_path / "out.tif")
    assert secret not in (tmp_path / "out.tif").read_bytes()
    assert bytes(SECRET) * 3 not in (tmp_path / "out.tif").read_bytes()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_broken_page_is_an_error_and_nothing_is_written(tmp_path: Path, share: float) -> None:
    data = tiff()
    with pytest.raises(InputError):
        run_to_file(pipeline(), data[: int(len(data) * share)], tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


def test_pages_in_a_circle_and_too_many_pages_are_refused() -> None:
    data = bytearray(tiff(drawn(2)))
    pages = open_source(bytes(data))
    assert isinstance(pages, Pages)
    first, second = pages._starts
    (count,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    with pytest.raises(InputError, match="not in a circle"):
        open_source(bytes(data))
    with pytest.raises(LimitError, match="at most 2 frames or pages; got 3"):
        open_source(tiff(drawn(3)), limits=Limits(max_frames=2))
    with pytest.raises(LimitError, match="pixels together"):
        run_to_file(pipeline(), tiff(drawn(3)), "never.tif", limits=Limits(max_total_pixels=4000))


def test_one_page_is_a_picture() -> None:
    assert isinstance(open_source(tiff(drawn(1))), Picture)
