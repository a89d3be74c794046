"""Hidden for good (SAFETY, rule 5): what lies under a region has no say in the output, but for a few means.

Each test makes a second picture that differs from the first in everything that must not show, and asserts that the
two come out alike, byte for byte.
"""

import itertools

import cv2
import numpy as np
import pytest
from PIL import Image
from sticker_samples import grey_sticker

from censor.filters import cell_edges, grid_size
from censor.masks import area, bounding_box, intersect, mask_of
from censor.paint import Region, paint, whole
from censor.styles import OPAQUE_STYLES, SHAPES, SOFT_STYLES, STYLES, Style

CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}
SOFT = SOFT_STYLES
STICKER = grey_sticker()


def random_picture(rng, mode):
    height, width = rng.integers(1, 130, 2)
    return rng.integers(0, 256, (height, width, *CHANNELS[mode]), dtype=np.uint8)


def random_region(rng, image_size, styles=STYLES):
    height, width = image_size
    x1, y1 = rng.uniform(-0.3, 1) * width, rng.uniform(-0.3, 1) * height
    box = (x1, y1, x1 + rng.uniform(0, 0.9) * width, y1 + rng.uniform(0, 0.9) * height)
    style = Style(
        style=str(rng.choice(styles)),
        shape=str(rng.choice(SHAPES)),
        grow=float(rng.choice([0.0, 0.1, 0.5])),
        feather=float(rng.choice([0.0, 0.2, 1.0])),
        colour=(int(rng.integers(0, 256)),) * 3,
        cells=int(rng.choice([1, 3, 8, 8, 8])),
        sticker=STICKER,
    )
    return Region(box, style)


def hidden_box(region, image_size):
    """Grow, round outward and clip, worked out here once more."""
    x1, y1, x2, y2 = region.box
    dx, dy = (x2 - x1) * region.style.grow / 2, (y2 - y1) * region.style.grow / 2
    left, top = (int(np.floor(side)) for side in (x1 - dx, y1 - dy))
    right, bottom = (int(np.ceil(side)) for side in (x2 + dx, y2 + dy))
    return intersect((left, top, max(right, left + 1), max(bottom, top + 1)), (0, 0, image_size[1], image_size[0]))


def groups_of(boxes):
    """Return lists of boxes that overlap, directly or through others."""
    groups = []
    for box in boxes:
        touching = [group for group in groups if any(area(intersect(box, other)) for other in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([box, *(other for group in touching for other in group)])
    return groups


def mask_where(regions, image_size):
    mask = np.zeros(image_size, dtype=bool)
    for region in regions:
        mask |= mask_of(region.box, region.style, image_size)
    return mask


def disguise(picture, regions, rng):
    """Return a picture with equal cell means whose hidden pixels differ from the given one's wherever they can.

    Within each cell the pixels that count change places; hidden pixels that count in no mean become random.
    """
    size = picture.shape[:2]
    hidden = mask_where(regions, size)
    opaque = mask_where([region for region in regions if region.style.style in OPAQUE_STYLES], size)
    other = picture.copy()
    other[hidden] = rng.integers(0, 256, picture[hidden].shape)
    soft = {hidden_box(region, size): 8 for region in regions if region.style.style in SOFT}
    for region in regions:
        if region.style.style in SOFT:
            box = hidden_box(region, size)
            soft[box] = min(soft[box], region.style.cells)
    for group in groups_of([box for box in soft if area(box)]):
        counted = np.zeros(size, dtype=bool)
        for x1, y1, x2, y2 in group:
            counted[y1:y2, x1:x2] = True
        counted &= ~opaque
        x1, y1, x2, y2 = bounding_box(group)
        rows, columns = grid_size(y2 - y1, x2 - x1, min(soft[box] for box in group))
        assert max(rows, columns) <= 8
        for top, bottom in itertools.pairwise(cell_edges(y2 - y1, rows)):
            for left, right in itertools.pairwise(cell_edges(x2 - x1, columns)):
                cell = np.zeros(size, dtype=bool)
                cell[y1 + top : y1 + bottom, x1 + left : x1 + right] = True
                cell &= counted
                if cell.sum() >= 16:
                    other[cell] = rng.permutation(picture[cell])
    return other


def assert_alike(seed, mode, make_regions, times):
    rng = np.random.default_rng(seed)
    differed = 0
    for _ in range(times):
        first = random_picture(rng, mode)
        regions = make_regions(rng, first.shape[:2])
        second = disguise(first, regions, rng)
        differed += not np.array_equal(first, second)
        paint(first, regions)
        paint(second, regions)
        np.testing.assert_array_equal(first, second, err_msg=repr(regions))
    assert differed > 0.6 * times  # the others lie outside their picture


FEW_AND_MANY = pytest.mark.parametrize("times", [30, pytest.param(200, marks=pytest.mark.slow)])


@FEW_AND_MANY
@pytest.mark.parametrize("mode", CHANNELS)
@pytest.mark.parametrize("style", OPAQUE_STYLES)
def test_opaque_regions_let_nothing_through(mode, style, times):
    def some(rng, size):
        return [random_region(rng, size, (style,)) for _ in range(rng.integers(1, 4))]

    assert_alike(1, mode, some, times)


@pytest.mark.parametrize("style", ["match", "inpaint"])
@pytest.mark.parametrize("mode", CHANNELS)
def test_what_another_region_hides_beside_it_is_no_surrounding(mode, style):
    """Also where all that lies around a region is hidden by others, soft or opaque."""
    rng = np.random.default_rng(7)
    for other in STYLES:
        first = rng.integers(0, 256, (90, 90, *CHANNELS[mode]), dtype=np.uint8)
        frame = [(20, 20, 70, 35), (20, 55, 70, 70), (20, 20, 35, 70), (55, 20, 70, 70)]
        regions = [Region(box, Style(style=other, colour="grey", sticker=STICKER)) for box in frame]
        regions.append(Region((35, 35, 55, 55), Style(style=style, shape="ellipse", feather=0.2)))
        second = disguise(first, regions, rng)
        paint(first, regions)
        paint(second, regions)
        np.testing.assert_array_equal(first, second, err_msg=other)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["match", "inpaint"])
def test_a_large_region_that_is_worked_on_reduced_lets_nothing_through(style):
    rng = np.random.default_rng(8)
    first = rng.integers(0, 256, (700, 1300, 3), dtype=np.uint8)
    region = Region((101, 53, 1207, 655), Style(style=style, shape="rounded"))
    second = disguise(first, [region], rng)
    paint(first, [region])
    paint(second, [region])
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first[53:655, 101:1207].reshape(-1, 3), axis=0)) > 1 or style == "match"


@FEW_AND_MANY
@pytest.mark.parametrize("style", SOFT)
@pytest.mark.parametrize("mode", CHANNELS)
def test_a_soft_region_lets_only_its_means_through(mode, style, times):
    assert_alike(2, mode, lambda rng, size: [random_region(rng, size, (style,))], times)


@FEW_AND_MANY
@pytest.mark.parametrize("mode", CHANNELS)
def test_regions_that_overlap_show_nothing_of_each_other(mode, times):
    assert_alike(3, mode, lambda rng, size: [random_region(rng, size) for _ in range(rng.integers(2, 7))], times)


@pytest.mark.parametrize("style", SOFT)
def test_thirty_shifted_regions_show_no_more_than_one_grid_of_means(style):
    rng = np.random.default_rng(4)
    first = rng.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    regions = [
        Region(
            (40 + 3 * i % 17, 30 + 5 * i % 23, 140 + 3 * i % 17, 110 + 5 * i % 23),
            Style(style=style, shape=SHAPES[i % 3]),
        )
        for i in range(30)
    ]
    second = disguise(first, regions, rng)
    hidden = mask_where(regions, (200, 220))
    assert (first[hidden] != second[hidden]).mean() > 0.9
    paint(first, regions)
    paint(second, regions)
    np.testing.assert_array_equal(first, second)
    if style == "pixelate":
        assert len(np.unique(first[hidden], axis=0)) <= 64


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("mode", CHANNELS)
def test_a_whole_picture_shows_at_most_its_means(style, mode):
    rng = np.random.default_rng(5)
    first = rng.integers(0, 256, (97, 61, *CHANNELS[mode]), dtype=np.uint8)
    regions = [whole((97, 61), Style(style=style, sticker=STICKER))]
    second = disguise(first, regions, rng)
    images = [Image.fromarray(first), Image.fromarray(second)]
    assert images[0].tobytes() != images[1].tobytes()
    for image in images:
        paint(image, regions)
    assert images[0].tobytes() == images[1].tobytes()


@pytest.mark.parametrize("style", SOFT)
def test_detail_is_gone_and_cannot_be_sharpened_back(style):
    """Stripes of 5 pixels under a region of 160 come out flat, not faint: nothing is left to amplify."""
    stripes = np.where(np.arange(160) // 5 % 2, 255, 0).astype(np.uint8)
    picture = np.broadcast_to(stripes[None, :, None], (160, 160, 3)).copy()
    paint(picture, [Region((0, 0, 160, 160), Style(style=style))])
    assert np.ptp(picture) == 0


EACH_STYLE_IN_ONE_SHAPE = {(style, SHAPES[number % len(SHAPES)]) for number, style in enumerate(STYLES)}


@pytest.mark.parametrize(
    ("style", "shape"),
    [
        pytest.param(*pair, marks=() if pair in EACH_STYLE_IN_ONE_SHAPE else pytest.mark.slow)
        for pair in itertools.product(STYLES, SHAPES)
    ],
)
def test_one_and_two_threads_give_the_same_bytes(style, shape):
    picture = np.random.default_rng(6).integers(0, 256, (900, 1100, 3), dtype=np.uint8)
    regions = [
        Region((100, 80, 800, 700), Style(style=style, shape=shape, feather=0.1)),
        Region((600, 500, 1090, 880), Style(style="blur", feather=0.2)),
    ]
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            results.append(picture.copy())
            paint(results[-1], regions)
    finally:
        cv2.setNumThreads(before)
    np.testing.assert_array_equal(*results)
