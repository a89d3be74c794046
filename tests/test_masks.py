"""Masks: every pixel of the grown box is hidden, whatever the shape, and the fade stays where it belongs."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from censor.masks import Footprint, area, bounding_box, grown_box, intersect, mask_of, stacked, touching
from censor.styles import SHAPES, Style
from detector.errors import UsageError

FAST = settings(derandomize=True, max_examples=120, deadline=None)
COORDINATE = st.floats(-60, 120, allow_nan=False)
SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@st.composite
def boxes(draw):
    x1, x2 = sorted((draw(COORDINATE), draw(COORDINATE)))
    y1, y2 = sorted((draw(COORDINATE), draw(COORDINATE)))
    return x1, y1, x2, y2


STYLES = st.builds(
    Style,
    shape=st.sampled_from(SHAPES),
    grow=st.sampled_from([0.0, 0.2, 1.0]),
    feather=st.sampled_from([0.0, 0.1, 1.0]),
)


@pytest.mark.parametrize(
    ("box", "grow", "expected"),
    [
        ((100, 100, 200, 150), 0.0, (100, 100, 200, 150)),
        ((100, 100, 200, 150), 0.2, (90, 95, 210, 155)),  # 20 % wider and 20 % taller, not 20 % on each side
        ((100, 100, 200, 150), 1.0, (50, 75, 250, 175)),
        ((0.9, 1.1, 2.1, 2.9), 0.0, (0, 1, 3, 3)),  # outward
        ((5, 5, 5, 5), 0.0, (5, 5, 6, 6)),  # no area: the pixel it lies in
        ((5.5, 5.5, 5.5, 9), 0.0, (5, 5, 6, 9)),
        ((-7.5, -3, -0.5, 2), 0.0, (-8, -3, 0, 2)),
    ],
)
def test_grown_box(box, grow, expected):
    assert grown_box(box, grow) == expected


@pytest.mark.parametrize(
    "box", [(math.nan, 0, 1, 1), (0, 0, math.inf, 1), (2, 0, 1, 1), (0, 2, 1, 1), (0, 0, 1), (0, 0, 1, 1, 1)]
)
def test_a_box_that_is_none_is_refused(box):
    with pytest.raises(UsageError, match="four finite numbers with x1 <= x2 and y1 <= y2; got"):
        grown_box(box)


def test_box_arithmetic():
    assert area((2, 3, 5, 7)) == 12
    assert area((5, 3, 2, 1)) == 0
    assert intersect((0, 0, 4, 4), (2, 1, 9, 3)) == (2, 1, 4, 3)
    assert area(intersect((0, 0, 4, 4), (4, 0, 8, 4))) == 0
    assert bounding_box([(2, 3, 4, 5), (0, 4, 3, 9)]) == (0, 3, 4, 9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("box", "hidden"),
    [
        ((-5, 10, 3, 20), (0, 10, 3, 20)),  # NudeNet 3.0.8 painted an empty slice here
        ((90, 10, 100, 20), (90, 10, 100, 20)),  # deface never covers the last column
        ((10, 70, 20, 80), (10, 70, 20, 80)),  # nor the last row
        ((95.5, -4, 130, 4), (95, 0, 100, 4)),
        ((10, 75, 20, 99), (10, 75, 20, 80)),
        ((-1e30, -1e30, 1e30, 1e30), (0, 0, 100, 80)),
        ((99.2, 79.2, 99.2, 79.2), (99, 79, 100, 80)),
    ],
)
def test_boxes_at_and_over_each_edge_are_hidden(shape, box, hidden):
    mask = mask_of(box, Style(shape=shape), (80, 100))
    x1, y1, x2, y2 = hidden
    assert Footprint.of(box, Style(shape=shape), (80, 100)).core == hidden
    assert mask[y1:y2, x1:x2].all()
    if shape == "rectangle":
        assert mask.sum() == area(hidden)


@pytest.mark.parametrize("box", [(-9, 0, 0, 9), (0, -9, 9, 0), (100, 0, 120, 9), (0, 80, 9, 99), (100, 80, 100, 80)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_box_wholly_outside_hides_nothing(shape, box):
    style = Style(shape=shape, feather=1)
    footprint = Footprint.of(box, style, (80, 100))
    assert area(footprint.core) == 0
    assert list(footprint.pieces((0, 0, 100, 80))) == []
    assert not mask_of(box, style, (80, 100)).any()


@FAST
@given(boxes(), STYLES, SIZES)
def test_every_shape_hides_every_pixel_of_the_grown_box(box, style, image_size):
    x1, y1, x2, y2 = intersect(grown_box(box, style.grow), (0, 0, image_size[1], image_size[0]))
    mask = mask_of(box, style, image_size)
    if x1 < x2 and y1 < y2:
        assert mask[y1:y2, x1:x2].all()
    else:
        assert not mask.any()


@FAST
@given(boxes(), STYLES, SIZES)
def test_pieces_are_disjoint_and_make_up_the_weights(box, style, image_size):
    footprint = Footprint.of(box, style, image_size)
    picture = (0, 0, image_size[1], image_size[0])
    seen = np.zeros(image_size, dtype=int)
    weights = np.zeros(image_size, dtype=np.uint8)
    half = image_size[0] // 2
    for band in ((0, 0, image_size[1], half), (0, half, *picture[2:])):
        for (x1, y1, x2, y2), part in footprint.pieces(band):
            seen[y1:y2, x1:x2] += 1
            weights[y1:y2, x1:x2] = 255 if part is None else part
    assert seen.max() <= 1
    np.testing.assert_array_equal(weights, footprint.weights(picture))


def test_touching_is_sharing_a_pixel():
    rng = np.random.default_rng(1)
    boxes = [tuple(int(side) for side in rng.integers(-4, 12, 4)) for _ in range(200)]  # inside out ones too
    rows = stacked(boxes)
    for box in boxes[:40]:
        assert touching(box, rows) == [i for i, other in enumerate(boxes) if area(intersect(box, other))]
    assert touching((0, 0, 5, 5), stacked([])) == []


def test_the_ellipse_goes_through_the_corners():
    mask = mask_of((100, 100, 200, 160), Style(shape="ellipse"), (300, 300))
    y, x = np.mgrid[:300, :300] + 0.5
    inside = ((x - 150) / 50) ** 2 + ((y - 130) / 30) ** 2 <= 2
    np.testing.assert_array_equal(mask, inside)
    assert mask[100, 100]
    assert mask[159, 199]
    assert not mask[99, 99]
    assert not mask[160, 200]
    assert mask[130].sum() == 142  # 100 * sqrt(2), rounded to centres


def test_the_corner_arcs_of_the_rounded_rectangle_go_through_the_corners():
    mask = mask_of((100, 100, 200, 160), Style(shape="rounded"), (300, 300))
    assert mask[100, 100]
    assert mask[159, 199]
    assert not mask[98, 98]
    radius = 0.25 * 60
    more = radius * (1 - math.sqrt(0.5))
    assert mask[130].sum() == 100 + 2 * round(more)  # straight sides stand a little outside the box
    assert not mask[99 - int(more), 99 - int(more)]  # and their corners are cut
    assert mask[100 - int(more), 150]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_fade_falls_from_the_shape_and_ends_at_its_width(shape):
    style = Style(shape=shape, feather=0.2)
    footprint = Footprint.of((60, 70, 160, 120), style, (200, 230))
    assert footprint.feather == pytest.approx(10)  # a fifth of the shorter side
    weights = footprint.weights((0, 0, 230, 200))
    hidden = weights == 255
    np.testing.assert_array_equal(hidden, mask_of((60, 70, 160, 120), Style(shape=shape), (200, 230)))
    distance = cv2.distanceTransform((~hidden).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Between centres; the edge that is measured from lies up to half a pixel, each way, nearer.
    assert not weights[distance > 10 + math.sqrt(0.5)].any()
    row = weights[95, 160:].astype(int)
    assert (np.diff(row) <= 0).all()
    assert ((row > 0) & (row < 255)).sum() == 10
    assert abs(np.diff(row[(row > 0) & (row < 255)]) + 25.5).max() <= 1  # evenly


def test_the_fade_of_a_rectangle_is_its_distance():
    weights = Footprint.of((20, 20, 40, 60), Style(feather=0.4), (90, 70)).weights((0, 0, 70, 90))
    for x, y in [(41, 30), (10, 50), (30, 12), (43, 63), (15, 16), (19, 19)]:
        dx = max(20 - (x + 0.5), x + 0.5 - 40, 0)
        dy = max(20 - (y + 0.5), y + 0.5 - 60, 0)
        assert weights[y, x] == max(0, int(255 * (1 - math.hypot(dx, dy) / 8))), (x, y)
