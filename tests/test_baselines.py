"""The baselines by share and by regions: each bound of each rule, against plain loops, and how they are called."""

import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from detector.baselines import BASELINES, load_baseline, skin_regions, skin_share
from detector.baselines.baseline import MAX_SIDE, reduced
from detector.baselines.skin_regions import Regions, find_regions, is_nude
from detector.baselines.ycbcr import chroma
from detector.errors import InputError, UsageError

SKIN = (224, 172, 140)
BLUE = (30, 60, 110)

pictures = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


def flat(colour: tuple[int, ...], size: tuple[int, int] = (20, 30)) -> NDArray[np.uint8]:
    return np.full((*size, len(colour)), colour, np.uint8)


def partly_skin(pixels: int, total: int = 100) -> NDArray[np.uint8]:
    picture = flat(BLUE, (1, total))
    picture[:, :pixels] = SKIN
    return picture


def file_of(pixels: NDArray[np.uint8], format: str = "PNG") -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, format=format)
        return file.getvalue()


class TestNames:
    def test_the_three_are_there(self) -> None:
        assert BASELINES == ("skin-limbs", "skin-regions", "skin-share")
        for name in BASELINES:
            scorer = load_baseline(name)
            assert (scorer.name, scorer.sha256, scorer.device) == (name, None, "cpu")
            assert repr(scorer) == f"<Baseline {name}>"

    def test_an_unknown_one_is_refused_with_the_nearest(self) -> None:
        message = (
            "a baseline must be one of skin-limbs, skin-regions, skin-share; got 'skin-region'; "
            "the nearest is skin-regions"
        )
        with pytest.raises(UsageError, match=re.escape(message)):
            load_baseline("skin-region")

    @pytest.mark.slow
    def test_asking_for_the_names_loads_no_engine(self) -> None:
        code = "import sys, detector.baselines; print(*{'cv2', 'numpy', 'torch'} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == []


@pytest.mark.parametrize("name", BASELINES)
class TestEveryBaseline:
    @pytest.mark.parametrize(
        "picture",
        [
            flat(BLUE, (1, 1)),
            flat(SKIN, (1, 1)),
            flat((0, 0, 0)),
            flat((255, 255, 255)),
            np.full((25, 31), 128, np.uint8),
            flat((*SKIN, 0)),
            flat(SKIN, (1, 500)),
            np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8),
        ],
        ids=["one pixel", "one of skin", "black", "white", "grey", "transparent", "a line", "noise"],
    )
    def test_odd_pictures_have_a_score(self, name: str, picture: NDArray[np.uint8]) -> None:
        assert 0 <= load_baseline(name).score(picture) <= 1

    def test_no_colour_is_no_skin(self, name: str) -> None:
        ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
        assert load_baseline(name).score(ramp) == 0
        assert load_baseline(name).score(flat(BLUE)) == 0

    def test_a_very_wide_picture_is_reduced_first(self, name: str) -> None:
        wide = np.zeros((10, 20_000, 3), np.uint8)
        assert reduced(wide).shape == (1, MAX_SIDE, 3)
        assert load_baseline(name).score(wide) == 0

    def test_a_list_gives_a_list(self, name: str) -> None:
        scorer = load_baseline(name)
        many = [partly_skin(90), flat(BLUE), file_of(partly_skin(40))]
        assert scorer.score(many) == [scorer.score(each) for each in many]
        assert scorer.score(tuple(many)) == scorer.score(many)
        assert scorer.score([]) == []

    def test_one_bad_picture_fails_the_call(self, name: str) -> None:
        with pytest.raises(InputError):
            load_baseline(name).score([flat(BLUE), b"no picture"])

    @given(picture=pictures)
    @settings(max_examples=25, deadline=None)
    def test_the_score_is_in_range_and_the_same_again(self, name: str, picture: NDArray[np.uint8]) -> None:
        score = load_baseline(name).score(picture)
        assert 0 <= score <= 1
        assert load_baseline(name).score(picture.copy()) == score

    def test_threads_do_not_disturb_each_other(self, name: str) -> None:
        scorer = load_baseline(name)
        many = [partly_skin(share, 100).repeat(50, axis=0) for share in (0, 20, 40, 60, 80)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(scorer.score, many)) == scorer.score(many)


def test_the_highest_of_the_views_of_a_transparent_picture_counts() -> None:
    share = load_baseline("skin-share")
    vivid = (200, 60, 10)  # over white or black it is the colour of skin, without its alpha it is none
    assert share.score(flat(vivid)) == 0
    assert share.score(flat((*vivid, 128))) == 1
    assert share.score(Image.fromarray(flat((*vivid, 128)))) == 1
    assert share.score(flat((255, 100, 40, 128))) == 0


def test_reducing_keeps_what_is_small_and_the_proportions() -> None:
    small = flat(SKIN, (MAX_SIDE, 3))
    assert reduced(small) is small
    assert reduced(flat(SKIN, (1000, 600))).shape == (400, 240, 3)
    assert (reduced(flat(SKIN, (1000, 600))) == SKIN).all()


@given(pixels=pictures)
@settings(max_examples=50, deadline=None)
def test_chroma_is_that_of_jpeg(pixels: NDArray[np.uint8]) -> None:
    theirs = np.asarray(Image.fromarray(pixels).convert("YCbCr"), dtype=np.float64)
    cb, cr = chroma(pixels)
    assert np.abs(cb - theirs[..., 1]).max() <= 1
    assert np.abs(cr - theirs[..., 2]).max() <= 1


class TestShare:
    @pytest.mark.parametrize(
        ("cb", "cr", "expected"),
        [
            (86, 150, True),
            (85, 150, False),
            (117, 150, True),
            (118, 150, False),
            (100, 140, True),
            (100, 139, False),
            (100, 168, True),
            (100, 169, False),
        ],
    )
    def test_the_ends_of_the_bounds_are_skin(
        self, cb: int, cr: int, expected: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = (np.full((1, 1), float(cb)), np.full((1, 1), float(cr)))
        monkeypatch.setattr(skin_share, "chroma", lambda pixels: one)
        assert skin_share.skin_mask(flat(SKIN, (1, 1))).item() is expected

    @given(picture=pictures)
    @settings(max_examples=50, deadline=None)
    def test_the_mask_is_that_of_a_plain_loop(self, picture: NDArray[np.uint8]) -> None:
        mask = skin_share.skin_mask(picture)
        for place in np.ndindex(mask.shape):
            red, green, blue = (float(value) for value in picture[place])
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            cb, cr = round((blue - luma) / 1.772 + 128), round((red - luma) / 1.402 + 128)
            assert mask[place] == (86 <= cb <= 117 and 140 <= cr <= 168)

    @pytest.mark.parametrize(
        ("colour", "expected"),
        [((139, 98, 27), True), ((189, 154, 80), False), ((252, 177, 141), True), ((254, 178, 147), False)],
        ids=["Cb 85.5 to 86", "Cb 85 to 85.5", "Cr 168 to 168.5", "Cr 168.5 to 169"],
    )
    def test_chroma_is_rounded_first(self, colour: tuple[int, int, int], expected: bool) -> None:
        assert skin_share.skin_mask(flat(colour, (1, 1))).item() is expected

    @pytest.mark.parametrize(("skin", "expected"), [(0, 0), (15, 0.25), (30, 0.5), (65, 0.75), (100, 1)])
    def test_the_score_stretches_the_share(self, skin: int, expected: float) -> None:
        assert load_baseline("skin-share").score(partly_skin(skin)) == expected

    @pytest.mark.parametrize("total", [10, 70, 100, 330, 390])
    def test_above_one_half_is_the_rule(self, total: int) -> None:
        scores = load_baseline("skin-share").score([partly_skin(skin, total) for skin in range(total + 1)])
        assert all(low < high for low, high in pairwise(scores))
        assert [score > 0.5 for score in scores] == [10 * skin > 3 * total for skin in range(total + 1)]
        assert scores[3 * total // 10] == 0.5


def nude_py_says_skin(red: int, green: int, blue: int) -> bool:
    """Say what the rules say, one pixel at a time and with the fractions as they are written."""
    top, low, total = max(red, green, blue), min(red, green, blue), red + green + blue
    by_rgb = red > 95 and 40 < green < 100 and blue > 20 and top - low > 15 and abs(red - green) > 15
    by_rgb = by_rgb and red > green and red > blue
    by_share = green > 0 and red / green > 1.185
    by_share = by_share and red * blue / total**2 > 0.107 and red * green / total**2 > 0.112
    hue = 60 * (green - blue) / (top - low) if top > low and top == red else 360
    saturation = 1 - 3 * low / total if total else 0
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    by_chroma = 97.5 <= cb <= 142.5 and 134 <= cr <= 176
    return by_rgb or by_share or (0 < hue < 35 and 0.23 < saturation < 0.68) or by_chroma


def squares(*sides: int, size: tuple[int, int] = (100, 100)) -> NDArray[np.bool_]:
    """Draw squares of the given sides in one row, one pixel apart."""
    mask, x = np.zeros(size, bool), 0
    for side in sides:
        mask[:side, x : x + side] = True
        x += side + 1
    return mask


class TestRegions:
    def test_the_mask_is_that_of_a_plain_loop(self) -> None:
        picture = np.random.default_rng(7).integers(0, 256, (100, 100, 3), dtype=np.uint8)
        picture[50:] = picture[50:] // 16 * 16  # ties between channels
        picture[90:, :, 1:] = picture[90:, :, :1]
        picture[95:] = 0
        bounds = [0, 1, 15, 16, 20, 21, 22, 40, 41, 95, 96, 97, 99, 100, 101, 111, 116, 200, 237, 254, 255]
        edges = np.stack(np.meshgrid(bounds, bounds, bounds), axis=-1).reshape(-1, 3).astype(np.uint8)
        picture = np.concatenate([picture.reshape(1, -1, 3), edges[None]], axis=1)
        mask = skin_regions.skin_mask(picture)
        assert 0.1 < mask.mean() < 0.9  # both answers are well tried
        assert mask.ravel().tolist() == [nude_py_says_skin(*map(int, pixel)) for pixel in picture[0]]

    # Pairs lie on either side of one bound of the rule on RGB, where no other rule says skin.
    @pytest.mark.parametrize(
        ("colour", "expected"),
        [
            ((96, 41, 89), True),
            ((95, 41, 89), False),
            ((97, 41, 89), True),
            ((97, 40, 89), False),
            ((118, 99, 21), True),
            ((118, 100, 21), False),
            ((118, 63, 21), True),
            ((118, 63, 20), False),
            ((118, 41, 117), True),
            ((118, 41, 118), False),
            ((97, 81, 21), True),
            ((97, 82, 21), False),
            ((0, 0, 0), False),
            ((255, 255, 255), False),
            ((255, 0, 0), False),
        ],
    )
    def test_single_colours(self, colour: tuple[int, int, int], expected: bool) -> None:
        assert nude_py_says_skin(*colour) is expected
        assert skin_regions.skin_mask(flat(colour, (1, 1))).item() is expected

    # Where one of the other three rules decides alone: at its bound, or so near that one hundredth more would miss.
    @pytest.mark.parametrize(
        ("colour", "expected"),
        [
            ((19, 15, 12), True),  # RB / S^2 just above 0.107
            ((9, 5, 6), True),  # RG / S^2 just above 0.112
            ((10, 7, 8), False),  # 0.112
            ((24, 16, 5), True),  # hue just below 35
            ((15, 10, 3), False),  # 35
            ((16, 13, 10), True),  # saturation just above 0.23
            ((242, 204, 154), False),  # 0.23
            ((16, 9, 3), True),  # just below 0.68
            ((115, 19, 16), False),  # 0.68
            ((62, 59, 0), True),  # Cb on either side of 97.5
            ((63, 60, 0), False),
            ((18, 0, 35), True),  # of 142.5
            ((19, 0, 36), False),
            ((12, 0, 0), True),  # Cr of 134
            ((12, 0, 1), False),
            ((96, 0, 0), True),  # of 176
            ((97, 0, 4), False),
        ],
    )
    def test_colours_at_a_bound(self, colour: tuple[int, int, int], expected: bool) -> None:
        assert skin_regions.skin_mask(flat(colour, (1, 1))).item() is expected

    def test_specks_do_not_count_and_corners_touch(self) -> None:
        mask = np.zeros((20, 40), bool)
        mask[:5, :6] = True  # 30 pixels
        mask[10:15, :6] = True
        mask[15, 6] = True  # 31, the last by a corner
        assert find_regions(mask) == Regions(count=1, skin=31, largest=31, total=800)
        assert find_regions(np.zeros((2, 2), bool)) == Regions(count=0, skin=0, largest=0, total=4)

    def test_regions_do_not_run_over_from_row_to_row(self) -> None:
        mask = np.zeros((20, 40), bool)
        mask[:10, 30:] = mask[:11, :10] = True
        assert find_regions(mask).count == 2

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, True),
            ({"count": 3}, True),
            ({"count": 2}, False),
            ({"count": 60}, True),
            ({"count": 61}, False),
            ({"total": 10_000}, True),
            ({"total": 10_001}, False),
            ({"largest": 675}, True),
            ({"largest": 674}, False),
        ],
    )
    def test_each_bound_of_the_rules(self, changes: dict[str, int], expected: bool) -> None:
        values: dict[str, Any] = {"count": 10, "skin": 1500, "largest": 1000, "total": 5000} | changes
        assert is_nude(Regions(**values)) is expected

    @pytest.mark.parametrize(
        ("sides", "expected"),
        [((50, 20, 20), True), ((60, 30), False), ((30, 10, 10), False), ((30, 30, 30), False)],
        ids=["three regions", "two regions", "little skin", "no large region"],
    )
    def test_drawn_pictures(self, sides: tuple[int, ...], expected: bool) -> None:
        picture = np.where(squares(*sides)[..., None], np.array(SKIN), np.array(BLUE)).astype(np.uint8)
        score = load_baseline("skin-regions").score(picture)
        share = sum(side**2 for side in sides) / 10_000
        assert score == pytest.approx(0.5 + share / 2 if expected else 0.49 * share)
        assert (score > 0.5) is expected

    def test_all_skin_in_one_region_is_not_nude(self) -> None:
        assert load_baseline("skin-regions").score(flat(SKIN)) == 0.49

    @given(picture=arrays(np.bool_, st.tuples(st.integers(10, 30), st.integers(10, 30))))
    @settings(max_examples=25, deadline=None)
    def test_above_one_half_is_the_rule(self, picture: NDArray[np.bool_]) -> None:
        drawn = np.where(picture[..., None], np.array(SKIN), np.array(BLUE)).astype(np.uint8)
        assert (skin_regions.score(drawn) > 0.5) is is_nude(find_regions(picture))
