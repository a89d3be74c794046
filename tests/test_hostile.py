"""Mutated pictures: each one decodes or raises one of our errors, silently."""

import io
import random
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms

from detector.errors import InputError
from detector.picture import Limits, Picture

EXAMPLE = Path(__file__).parent.parent / "examples" / "in.jpg"
# Small pictures mutate faster, and a flipped bit hits their structure more often.
SIZE = (40, 30)
LIMITS = Limits(max_bytes=1 << 20, max_pixels=1_000_000, max_side=5_000)
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def saved(image: Image.Image, kind: str, *, frames: bool = False, **options: Any) -> bytes:
    if frames:
        options |= {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # of a copy, as settings of the encoder stay behind in a picture
    return file.getvalue()


def seeds() -> list[bytes]:
    with Image.open(EXAMPLE) as example:
        rgb = example.convert("RGB").resize(SIZE)
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words " * 20
    exif[0x011A] = 72.5
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tagged: dict[str, Any] = {"exif": exif, "icc_profile": profile}
    Image.init()  # registers the writer of MPO
    grey, palette = rgb.convert("L"), rgb.quantize(16)
    return [
        saved(rgb, "JPEG"),
        saved(rgb, "JPEG", progressive=True, subsampling=0, **tagged),
        saved(rgb.convert("CMYK"), "JPEG"),
        saved(rgb, "MPO", frames=True),
        saved(rgb, "PNG", **tagged),
        saved(palette, "PNG", transparency=bytes(range(16))),
        saved(grey.convert("I;16"), "PNG"),
        saved(rgb, "PNG", frames=True),
        saved(rgb, "WEBP", **tagged),
        saved(rgba, "WEBP", lossless=True),
        saved(rgb, "WEBP", frames=True),
        saved(rgba, "AVIF", speed=10, **tagged),
        saved(rgb, "AVIF", speed=10, frames=True),
        *(
            saved(rgb, "TIFF", compression=kind, **tagged)
            for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
        ),
        saved(rgb.convert("1"), "TIFF", compression="group4"),
        saved(palette, "TIFF"),
        saved(rgb, "TIFF", frames=True),
        saved(rgb, "BMP"),
        saved(palette, "BMP"),
        saved(palette, "GIF", transparency=3),
        saved(rgb, "GIF", frames=True),
    ]


def with_right_checksums(data: bytes) -> bytes:
    """Correct a PNG's checksums, so that a mutation gets past them."""
    out, at = bytearray(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", out, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(out)


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    data = bytearray(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Headers are where the structure is: half of the mutations go there.
        at = rng.randrange(min(len(data), 400)) if rng.random() < 0.5 else rng.randrange(len(data))
        match rng.choice((0, 0, 0, 1, 1, 2, 3, 4, 5, 6)):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data = data[: max(at, 12)]
            case 3:
                number = rng.choice(INTERESTING)
                data[at : at + 4] = number.to_bytes(4, rng.choice(("big", "little")))
            case 4:
                other = rng.choice(pool)
                start = rng.randrange(len(other))
                data[at : at + rng.randrange(60)] = other[start : start + rng.randrange(200)]
            case 5:
                del data[at : at + rng.randrange(1, 40)]
            case 6:
                data[at:at] = data[at : at + rng.randrange(1, 100)]
        data = data or bytearray(b"\0")
    return with_right_checksums(bytes(data)) if data[:4] == b"\x89PNG" and rng.random() < 0.7 else bytes(data)


def run(pool: list[bytes], count: int, seed: int) -> Counter[str]:
    rng, outcomes = random.Random(seed), Counter[str]()
    for i in range(count):
        error = None
        try:
            picture = Picture.open(mutated(rng, pool), limits=LIMITS)
            image = picture.load()
            views = picture.views(16)
        except InputError as refusal:
            error = refusal
        if error is not None:
            # Warnings are errors here: one that Pillow gave would have become the cause.
            assert not isinstance(error.__cause__, Warning), (seed, i, error.__cause__)
            assert "\n" not in str(error), (seed, i)
            outcomes["refused"] += 1
        else:
            assert (image.height, image.width) == picture.image_size, (seed, i)
            assert image.mode == picture.mode, (seed, i)
            assert all(view.ndim == 3 for view in views), (seed, i)
            outcomes[str(picture.format)] += 1
    return outcomes


def test_whole_seeds_decode_unless_they_have_several_frames() -> None:
    refused = 0
    for data in seeds():
        try:
            Picture.open(data).load()
        except InputError:
            refused += 1
    assert refused == 5  # PNG, WebP, AVIF, TIFF, GIF; of an MPO's pictures only the first one counts


def test_mutated_pictures(capfd: pytest.CaptureFixture[str]) -> None:
    outcomes = run([data for data in seeds() if data[:2] != b"II"], 1_600, seed=1)
    # Both must be common, or the mutations would test the first bytes only, or nothing.
    assert outcomes["refused"] > 400
    assert all(outcomes[kind] >= 10 for kind in ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF")), outcomes
    assert capfd.readouterr() == ("", "")


def test_mutated_tiff(capsys: pytest.CaptureFixture[str]) -> None:
    # libtiff itself writes to file descriptor 2 what it finds wrong, past Python; there is nothing to silence it with.
    outcomes = run([data for data in seeds() if data[:2] == b"II"], 400, seed=1)
    assert outcomes["refused"] > 100
    assert outcomes["TIFF"] > 100
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_many_mutated_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    pool = seeds()
    for seed in range(2, 12):
        run(pool, 2_000, seed)
    assert capsys.readouterr() == ("", "")
