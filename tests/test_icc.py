"""Colour profiles: what is rebuilt means the same, carries nothing else, and what is not understood is None."""

import io
import random
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from samples import (
    ADOBE,
    D50,
    DISPLAY_P3,
    P3,
    SECRET,
    SRGB_CURVE,
    TABLE,
    curv,
    grey,
    para,
    profile,
    rgb,
    srgb_of_lcms,
    words,
    xyz,
)

from detector.icc import _parametric, colour_space, is_srgb, rebuild_profile

GOOD = {
    "sRGB of lcms": srgb_of_lcms(),
    "Display P3": DISPLAY_P3,
    "Adobe RGB": rgb(ADOBE, curv(563)),
    "linear": rgb(ADOBE, curv()),
    "table": rgb(P3, TABLE),
    "grey gamma": grey(curv(563)),
    "grey table": grey(TABLE),
    "grey parametric": grey(para(0, 1.8), version=4),
    "types 1, 2, 4": profile(
        words()
        | {b"wtpt": xyz(*D50), b"rXYZ": xyz(*P3[0]), b"gXYZ": xyz(*P3[1]), b"bXYZ": xyz(*P3[2])}
        | {b"rTRC": para(1, 2.0, 0.9, 0.1), b"gTRC": para(2, 2.0, 0.9, 0.05, 0.03)}
        | {b"bTRC": para(4, 2.4, 0.9, 0.06, 0.08, 0.05, 0.01, 0.0)},
        version=4,
    ),
}


def converted(data: bytes) -> np.ndarray:
    """Return what lcms makes of an even grid of colours."""
    space = colour_space(data)
    if space == "GRAY":
        image = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    else:
        levels = np.linspace(0, 255, 17).astype(np.uint8)
        image = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(17, -1, 3))
    source = ImageCms.ImageCmsProfile(io.BytesIO(data))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB")
    return np.asarray(transform.apply(image)).astype(int)


@pytest.mark.parametrize("name", GOOD)
def test_rebuilt_profile_converts_as_the_original(name: str) -> None:
    rebuilt = rebuild_profile(GOOD[name])
    assert rebuilt is not None
    assert np.abs(converted(GOOD[name]) - converted(rebuilt)).max() <= 1


@pytest.mark.parametrize("name", GOOD)
def test_rebuilt_profile_carries_nothing_else(name: str) -> None:
    rebuilt = rebuild_profile(GOOD[name])
    assert rebuilt is not None
    for trace in (SECRET, SECRET.decode().encode("utf-16-be"), b"JANE", b"DOE ", b"SECR", b"APPL"):
        assert trace not in rebuilt
    assert rebuilt[24:36] == bytes(12)  # the date
    assert rebuilt[80:128] == bytes(48)  # creator and id
    assert struct.unpack_from(">I", rebuilt) == (len(rebuilt),)
    assert rebuild_profile(rebuilt) == rebuilt


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB", "grey gamma"])
def test_the_same_colours_give_the_same_bytes_whatever_else_is_in_it(name: str) -> None:
    other = GOOD[name].replace(SECRET, b"x" * len(SECRET)).replace(b"JANE", b"ABCD")
    assert other != GOOD[name]
    assert rebuild_profile(other) == rebuild_profile(GOOD[name])


def test_both_versions_have_a_readable_name() -> None:
    for name in ("Display P3", "Adobe RGB"):
        opened = ImageCms.ImageCmsProfile(io.BytesIO(rebuild_profile(GOOD[name]) or b""))
        assert opened.profile.profile_description == "retina-censor rebuilt colour profile"
        assert (b"mluc" in (rebuild_profile(GOOD[name]) or b"")) == (name == "Display P3")
        assert opened.profile.copyright == "No copyright, use freely"


def good_tags() -> dict[bytes, bytes]:
    tags = words() | {b"wtpt": xyz(*D50), b"rXYZ": xyz(*P3[0]), b"gXYZ": xyz(*P3[1]), b"bXYZ": xyz(*P3[2])}
    return tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curv(563))


def with_tag(tag: bytes, body: bytes, **options: Any) -> bytes:
    return profile(good_tags() | {tag: body}, **options)


BAD = {
    "empty": b"",
    "no profile": b"\0" * 500,
    "CMYK": with_tag(b"gTRC", curv(563), space=b"CMYK"),
    "Lab": with_tag(b"gTRC", curv(563), space=b"Lab "),
    "device link": with_tag(b"gTRC", curv(563), kind=b"link"),
    "version 5": with_tag(b"gTRC", curv(563), version=5),
    "lookup table": with_tag(b"A2B0", b"mft2" + bytes(60)),
    "lookup table back": with_tag(b"B2A1", b"mft2" + bytes(60)),
    "table of version 4.3": with_tag(b"D2B0", b"mpet" + bytes(60)),
    "all white": with_tag(b"gTRC", curv(1)),
    "all black": with_tag(b"gTRC", curv(65535)),
    "no curve": with_tag(b"gTRC", b""),
    "unknown curve": with_tag(b"gTRC", b"xxxx" + bytes(60)),
    "unknown parametric curve": with_tag(b"gTRC", para(5, 1.0, 1.0, 0.0, 0.0, 0.0)),
    "short parametric curve": with_tag(b"gTRC", para(3, 1.0)),
    "falling curve": with_tag(b"gTRC", curv(65535, 30000, 0)),
    "curve that falls once": with_tag(b"gTRC", curv(0, 30000, 29999, 65535)),
    "flat curve": with_tag(b"gTRC", curv(5, 5)),
    "curve above 1": with_tag(b"gTRC", para(1, 1.0, 3.0, 0.0)),
    "curve of too many entries": with_tag(b"gTRC", curv(*range(5000))),
    "curve that is cut off": with_tag(b"gTRC", curv(*range(100))[:-2]),
    "primaries on one line": with_tag(b"gXYZ", xyz(*P3[0])),
    "curve that falls between the levels": with_tag(b"gTRC", curv(0, 64, 0, *range(192, 65536, 64))),
    "adaptation of another type": with_tag(b"chad", b"XYZ " + bytes(40)),
    "too many tags": profile(dict.fromkeys((b"%04d" % i for i in range(101)), b"text" + bytes(8)) | good_tags()),
    "broken adaptation": with_tag(b"chad", b"sf32" + bytes(20)),
    "cut off": GOOD["Display P3"][:400],
    "tag count": GOOD["Display P3"][:128] + b"\xff\xff\xff\xff" + GOOD["Display P3"][132:],
    "grey in Lab": GOOD["grey gamma"][:20] + b"Lab " + GOOD["grey gamma"][24:],
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_not_rebuilt(name: str) -> None:
    assert rebuild_profile(BAD[name]) is None
    assert not is_srgb(BAD[name])


def test_a_tag_twice_is_not_understood() -> None:
    data = GOOD["Adobe RGB"]
    assert rebuild_profile(data.replace(b"SECR", b"cprt", 1)) is None


def test_srgb_is_told_from_others() -> None:
    assert is_srgb(GOOD["sRGB of lcms"])
    assert is_srgb(rebuild_profile(GOOD["sRGB of lcms"]) or b"")
    assert is_srgb(grey(para(3, *SRGB_CURVE), version=4))
    # The table that most sRGB profiles of version 2 hold has 1024 entries.
    linear = [i / 1023 / 12.92 if i / 1023 <= 0.04045 else ((i / 1023 + 0.055) / 1.055) ** 2.4 for i in range(1024)]
    assert is_srgb(grey(curv(*(round(65535 * number) for number in linear))))
    assert not is_srgb(grey(curv(563)))  # gamma 2.2 is up to 7 levels away
    for name in ("Display P3", "Adobe RGB", "linear", "table"):
        assert not is_srgb(GOOD[name])
    assert not is_srgb(rgb(P3, para(3, *SRGB_CURVE)))  # sRGB's curve alone is not sRGB


@pytest.mark.parametrize(
    ("kind", "numbers", "x", "expected"),
    [
        (0, [2.0], 0.5, 0.25),
        (1, [2.0, 2.0, -0.5], 0.5, 0.25),
        (1, [2.0, 2.0, -0.5], 0.2, 0.0),
        (2, [2.0, 2.0, -0.5, 0.1], 0.5, 0.35),
        (2, [2.0, 2.0, -0.5, 0.1], 0.2, 0.1),
        (3, [2.0, 1.0, 0.0, 0.5, 0.3], 0.2, 0.1),
        (3, [2.0, 1.0, 0.0, 0.5, 0.3], 0.5, 0.25),
        (4, [2.0, 1.0, 0.0, 0.5, 0.3, 0.1, 0.02], 0.2, 0.12),
        (4, [2.0, 1.0, 0.0, 0.5, 0.3, 0.1, 0.02], 0.5, 0.35),
    ],
)
def test_parametric_curves(kind: int, numbers: list[float], x: float, expected: float) -> None:
    assert _parametric(kind, numbers, x) == pytest.approx(expected)


def test_colour_space_is_the_header_s() -> None:
    assert colour_space(GOOD["Display P3"]) == "RGB"
    assert colour_space(GOOD["grey gamma"]) == "GRAY"
    assert colour_space(BAD["CMYK"]) == "CMYK"
    assert colour_space(BAD["Lab"]) is None
    assert colour_space(BAD["no profile"]) is None


def test_mutated_profiles_raise_nothing() -> None:
    rng = random.Random(3)
    rebuilt = 0
    for _ in range(1_500):
        data = bytearray(rng.choice([profile for name, profile in GOOD.items() if "table" not in name]))
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(len(data))
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        fresh = rebuild_profile(bytes(data[: rng.randrange(len(data))]) if rng.random() < 0.2 else bytes(data))
        if fresh is not None:
            rebuilt += 1
            assert rebuild_profile(fresh) == fresh
            ImageCms.ImageCmsProfile(io.BytesIO(fresh))
    assert 250 < rebuilt < 1_450
