"""The baseline by limbs: its skin filter, its ribbons and its groups, on drawn shapes with known answers."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detector.baselines import load_baseline, skin_limbs
from detector.baselines.limb_groups import find_groups, is_girdle, is_limb, is_spine_thigh
from detector.baselines.ribbons import MAX_POINTS, Ribbon, edge_points, find_ribbons, symmetries
from detector.baselines.skin_filter import intensity_and_opponents, ranges, scale_of, skin_mask

SKIN = (224, 172, 140)
BLUE = (30, 60, 110)

Bar = tuple[tuple[float, float], tuple[float, float], float]

LEGS: list[Bar] = [((115, 40), (80, 290), 58), ((185, 40), (220, 290), 58)]
TRUNK_AND_LEGS: list[Bar] = [((150, 16), (150, 182), 104), ((124, 178), (107, 294), 48), ((176, 178), (193, 294), 48)]
FAR_BARS: list[Bar] = [((26, 20), (26, 290), 48), ((274, 20), (274, 290), 48), ((150, 20), (150, 60), 48)]


def scene(*bars: Bar, side: int = 300) -> NDArray[np.uint8]:
    """Draw bars of skin on blue, below a black strip: the filter takes the darkest value for black."""
    picture = np.full((side, side, 3), BLUE, np.uint8)
    picture[:14] = 0
    for start, end, width in bars:
        axis = np.subtract(end, start) / math.dist(start, end)
        across = np.array([-axis[1], axis[0]]) * width / 2
        corners = [start + across, end + across, end - across, start - across]
        cv2.fillPoly(picture, [np.rint(corners).astype(np.int32)], SKIN)
    return picture


def ribbons_of(*bars: Bar) -> list[Ribbon]:
    picture = scene(*bars)
    return find_ribbons(skin_mask(picture), intensity_and_opponents(picture)[0])


def bar(x: float, y: float, degrees: float, length: float, width: float) -> Ribbon:
    """Make a ribbon from one end; 0 degrees is to the right, 90 down."""
    angle = math.radians(degrees)
    return Ribbon(start=(x, y), end=(x + length * math.cos(angle), y + length * math.sin(angle)), width=width)


class TestSkinFilter:
    @pytest.mark.parametrize(("size", "scale"), [((1, 1), 1), ((160, 160), 1), ((240, 240), 2), ((300, 400), 2)])
    def test_the_scale_goes_with_the_size(self, size: tuple[int, int], scale: int) -> None:
        assert scale_of(*size) == scale

    def test_the_opponent_colours_are_those_of_a_plain_loop(self) -> None:
        picture = np.random.default_rng(3).integers(7, 256, (40, 50, 3), dtype=np.uint8)
        picture[9, 20] = picture[20, 40] = 0  # within 10 pixels of the edge, where it does not count
        picture[12, 12, 1] = 6
        intensity, red_green, blue_yellow = intensity_and_opponents(picture)
        for place in np.ndindex(40, 50):
            red, green, blue = (105 * math.log10(max(int(value) - 6, 0) + 1) for value in picture[place])
            assert intensity[place] == pytest.approx((red + green + blue) / 3, abs=1e-3)
            assert red_green[place] == pytest.approx(red - green, abs=1e-3)
            assert blue_yellow[place] == pytest.approx(blue - (green + red) / 2, abs=1e-3)

    @pytest.mark.parametrize(
        ("hue", "saturation", "texture", "begins", "grows"),
        [
            (140, 30, 0, True, True),
            (140, 30, 4.4, True, True),
            (140, 30, 4.5, False, True),
            (121, 30, 0, True, True),
            (120, 30, 0, False, True),
            (110, 30, 0, False, False),
            (111, 30, 0, False, True),
            (140, 11, 0, True, True),
            (140, 10, 0, False, True),
            (140, 60, 0, False, True),
            (170, 60, 0, True, True),
            (170, 20, 0, False, True),
            (170, 80, 0, False, True),
            (170, 129, 0, False, True),
            (170, 130, 0, False, False),
            (180, 50, 0, False, False),
        ],
    )
    def test_each_bound(self, hue: float, saturation: float, texture: float, begins: bool, grows: bool) -> None:
        one = [np.full((1, 1), value, np.float32) for value in (hue, saturation, texture)]
        assert tuple(mask.item() for mask in ranges(*one)) == (begins, grows)

    def test_flat_skin_is_skin_and_a_rough_weave_of_its_colour_is_not(self) -> None:
        picture = scene(((150, 40), (150, 280), 200))
        assert skin_mask(picture)[60:260, 70:230].all()
        assert not skin_mask(picture)[:, :40].any()
        shades = np.random.default_rng(2).uniform(0.5, 1, (300, 300, 1))
        woven = (picture * shades).astype(np.uint8)
        assert not skin_mask(woven)[60:260, 70:230].any()

    def test_the_mask_grows_a_little_into_paler_skin(self) -> None:
        picture = scene(((150, 40), (150, 280), 200))
        picture[100:200, 150:250] = (224, 212, 204)  # of the relaxed range only
        row = skin_mask(picture)[150, 100:245]
        assert 53 <= row.sum() <= 55  # 50 without growing
        assert row[: row.sum()].all()


class TestRibbons:
    @pytest.mark.parametrize("degrees", [0, 20, 45, 90, 135])
    def test_one_bar_is_one_ribbon(self, degrees: float) -> None:
        across = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]) * 90
        start, end = np.array([150, 155]) - across, np.array([150, 155]) + across
        (found,) = ribbons_of(((start[0], start[1]), (end[0], end[1]), 40))
        assert found.width == pytest.approx(40, abs=3)
        assert found.length == pytest.approx(180, abs=14)
        turn = math.degrees(math.atan2(found.end[1] - found.start[1], found.end[0] - found.start[0])) - degrees
        assert min(turn % 180, 180 - turn % 180) < 3
        assert np.add(found.start, found.end) / 2 == pytest.approx([150, 155], abs=5)

    @pytest.mark.parametrize("side", [1, 3, 60])
    def test_no_ribbon_in_a_square_or_a_disc_or_nothing(self, side: int) -> None:
        mask = np.zeros((80, 80), bool)
        grey = np.full((80, 80), 128, np.float32)
        assert find_ribbons(mask, grey) == []
        mask[:side, :side] = True
        assert find_ribbons(mask, grey) == []
        disc = cv2.circle(np.zeros((80, 80), np.uint8), (40, 40), max(side // 2, 1), 1, -1).astype(bool)
        assert find_ribbons(disc, grey) == []

    def test_a_crease_parts_two_limbs_that_touch(self) -> None:
        mask = np.zeros((200, 200), bool)
        mask[20:180, 50:110] = True
        grey = np.full((200, 200), 128, np.float32)
        (whole,) = find_ribbons(mask, grey)
        assert whole.width == pytest.approx(60, abs=2)
        grey[:, 80:] = 40
        assert sorted(round(found.width / 10) for found in find_ribbons(mask, grey)) == [3, 3]

    def test_the_edge_of_the_picture_is_one_of_the_skin(self) -> None:
        (found,) = find_ribbons(np.ones((40, 160), bool), np.full((40, 160), 128, np.float32))
        assert found.width == pytest.approx(40, abs=1)
        assert found.length == pytest.approx(150, abs=10)

    def test_a_gap_ends_a_ribbon(self) -> None:
        mask = np.zeros((60, 240), bool)
        mask[15:45, 20:100] = mask[15:45, 130:210] = True
        found = find_ribbons(mask, np.full((60, 240), 128, np.float32))
        assert [round(each.width / 10) for each in found] == [3, 3]
        assert all(60 <= each.length <= 80 for each in found)

    def test_a_ribbon_is_full_of_skin(self) -> None:
        mask = np.zeros((60, 240), bool)
        mask[15:45, np.arange(240) % 20 < 8] = True  # a ladder, whose rungs alone are ribbons
        found = find_ribbons(mask, np.full((60, 240), 128, np.float32))
        assert found
        assert all(each.width < 12 for each in found)

    def test_symmetries_lie_midway_across_skin(self) -> None:
        mask = np.zeros((60, 60), bool)
        mask[10:50, 20:31] = True
        points = np.array([[20, 30], [30, 30], [55, 30]], np.float32)
        normals = np.array([[-1, 0], [-1, 0], [1, 0]], np.float32)  # of either sign, as those of creases are
        middles, axes, widths = symmetries(mask, points, normals)
        assert middles.tolist() == [[25, 30], [25, 30]]  # the third point lies across what is not skin
        assert np.abs(axes).tolist() == [[0, 1], [0, 1]]
        assert widths.tolist() == [11, 11]

    def test_the_work_is_bounded(self) -> None:
        noise = np.random.default_rng(5).random((400, 400)) < 0.5
        points, normals = edge_points(noise, np.zeros((400, 400), np.float32))
        assert 0 < len(points) <= MAX_POINTS
        assert np.linalg.norm(normals, axis=1) == pytest.approx(1)


class TestGroups:
    UPPER = bar(100, 100, 90, 90, 30)

    @pytest.mark.parametrize(
        ("lower", "expected"),
        [
            (bar(100, 200, 90, 90, 26), True),
            (bar(100, 195, 0, 90, 26), True),
            (bar(100, 240, 90, 90, 26), False),
            (bar(100, 195, -80, 90, 26), False),
            (bar(100, 200, 90, 90, 16), False),
            (bar(100, 200, 90, 250, 30), False),
            (bar(100, 200, 90, 40, 26), False),
        ],
        ids=["straight", "bent", "apart", "folded", "too thin", "too long", "too short"],
    )
    def test_limbs(self, lower: Ribbon, expected: bool) -> None:
        assert is_limb(self.UPPER, lower) is is_limb(lower, self.UPPER) is expected

    @pytest.mark.parametrize(
        ("other", "expected"),
        [
            (bar(150, 100, 80, 90, 30), True),
            (bar(150, 100, 20, 90, 30), True),
            (bar(230, 100, 90, 90, 30), False),
            (bar(150, 100, 80, 90, 15), False),
            (bar(150, 100, 80, 200, 30), False),
            (bar(150, 100, -70, 90, 30), False),
            (bar(85, 130, 20, 90, 30), False),
        ],
        ids=["parallel", "spread", "far", "too thin", "too long", "the other way", "across"],
    )
    def test_girdles(self, other: Ribbon, expected: bool) -> None:
        assert is_girdle(self.UPPER, other) is is_girdle(other, self.UPPER) is expected

    @pytest.mark.parametrize(
        ("thigh", "expected"),
        [
            (bar(80, 210, 100, 110, 40), True),
            (bar(80, 210, 180, 110, 40), True),
            (bar(80, 290, 100, 110, 40), False),
            (bar(80, 210, 100, 180, 75), False),
            (bar(80, 210, 100, 110, 20), False),
            (bar(80, 200, -90, 80, 40), False),
            (bar(80, 210, 100, 40, 26), False),
        ],
        ids=["standing", "sitting", "far", "too wide", "too thin", "up the back", "too short"],
    )
    def test_spine_and_thigh(self, thigh: Ribbon, expected: bool) -> None:
        trunk = bar(100, 40, 90, 160, 80)
        assert is_spine_thigh(trunk, thigh) is expected
        assert not is_spine_thigh(thigh, trunk)

    def test_groups_name_their_kind(self) -> None:
        assert find_groups([]) == find_groups([self.UPPER]) == []
        trunk, left, right = bar(100, 40, 90, 160, 80), bar(80, 210, 100, 110, 40), bar(120, 210, 80, 110, 40)
        kinds = sorted(group.kind for group in find_groups([trunk, left, right]))
        assert kinds == ["limb-limb girdle", "spine-thigh", "spine-thigh"]

    def test_a_bent_limb_is_no_girdle(self) -> None:
        lower = bar(125, 195, 0, 90, 26)
        assert is_girdle(self.UPPER, lower)
        assert is_limb(self.UPPER, lower)
        assert find_groups([self.UPPER, lower]) == []

    @given(degrees=st.floats(0, 360), stretch=st.floats(0.2, 5), x=st.floats(-100, 100))
    @settings(max_examples=50, deadline=None)
    def test_turning_and_scaling_change_nothing(self, degrees: float, stretch: float, x: float) -> None:
        def moved(one: Ribbon) -> Ribbon:
            angle = math.radians(degrees)
            turn = stretch * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            start, end = ((float(p[0]) + x, float(p[1])) for p in (turn @ one.start, turn @ one.end))
            return Ribbon(start=start, end=end, width=stretch * one.width)

        body = [bar(100, 40, 90, 160, 80), bar(80, 210, 100, 110, 40), bar(120, 210, 80, 110, 40)]
        kinds = [group.kind for group in find_groups(body)]
        assert [group.kind for group in find_groups([moved(part) for part in body])] == kinds


class TestScore:
    @pytest.mark.parametrize(
        ("bars", "kinds"),
        [(LEGS, {"limb-limb girdle"}), (TRUNK_AND_LEGS, {"limb-limb girdle", "spine-thigh"})],
        ids=["legs", "trunk and legs"],
    )
    def test_skin_in_the_shape_of_limbs(self, bars: list[Bar], kinds: set[str]) -> None:
        found = skin_limbs.look(scene(*bars))
        assert found.mask.mean() >= 0.3
        assert {group.kind for group in found.groups} == kinds
        assert load_baseline("skin-limbs").score(scene(*bars)) == 1 - 0.5 / (1 + len(found.groups)) >= 0.75

    @pytest.mark.parametrize(
        ("bars", "ribbons"),
        [(FAR_BARS, 2), ([((150, 20), (150, 290), 110)], 1), ([((150, 50), (150, 250), 200)], 0)],
        ids=["far", "one", "square"],
    )
    def test_skin_in_other_shapes(self, bars: list[Bar], ribbons: int) -> None:
        found = skin_limbs.look(scene(*bars))
        assert found.mask.mean() >= 0.3
        assert len(found.ribbons) == ribbons
        assert found.groups == ()
        assert 0.25 <= skin_limbs.score(scene(*bars)) < 0.5

    def test_limbs_with_too_little_skin(self) -> None:
        thin: list[Bar] = [((120, 80), (95, 280), 30), ((180, 80), (205, 280), 30)]
        picture = scene(*thin)
        share = skin_mask(picture).mean()
        assert find_groups(ribbons_of(*thin)) != []
        assert skin_limbs.look(picture).ribbons == ()
        assert skin_limbs.score(picture) == pytest.approx(0.25 * share / 0.3)

    @pytest.mark.parametrize(("skin", "expected"), [(29, 0.25 * 29 / 30), (30, 0.25), (65, 0.37), (100, 0.49)])
    def test_the_share_of_skin_at_its_bound(self, skin: int, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
        mask = np.zeros((10, 10), bool)
        mask.ravel()[:skin] = True
        monkeypatch.setattr(skin_limbs, "skin_mask", lambda pixels: mask)
        monkeypatch.setattr(skin_limbs, "find_ribbons", lambda mask, intensity: [])
        assert skin_limbs.score(np.zeros((10, 10, 3), np.uint8)) == pytest.approx(expected)
        pair = [bar(100, 100, 90, 90, 30), bar(150, 100, 80, 90, 30)]
        monkeypatch.setattr(skin_limbs, "find_ribbons", lambda mask, intensity: pair)
        assert (skin_limbs.score(np.zeros((10, 10, 3), np.uint8)) > 0.5) is (skin >= 30)
