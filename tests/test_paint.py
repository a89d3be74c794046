"""Painting: everything that was to be hidden is, nothing else changes, and the answer says what happened."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image
from sticker_samples import grey_sticker

from censor import paint as paint_module
from censor.canvas import ArrayCanvas, ImageCanvas
from censor.masks import Footprint, area
from censor.paint import Painted, Region, needs_colour, paint, paint_image, whole
from censor.stickers import Sticker
from censor.styles import OPAQUE_STYLES, SHAPES, STYLES, Style
from detector.errors import OutputError, UsageError

HEIGHT, WIDTH = 120, 150
MODES = {"L": (), "RGB": (3,), "RGBA": (4,)}
STICKER = grey_sticker()
CLEAR_STICKER = Sticker.of("clear", Image.new("LA", (5, 3), (0, 0)))


def checkerboard(mode="RGB", height=HEIGHT, width=WIDTH):
    """Black and white pixels in turn: no mean, and no grey, equals any of them."""
    plane = (np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)
    picture = np.broadcast_to(plane.reshape(height, width, *(1,) * len(MODES[mode])), (height, width, *MODES[mode]))
    picture = picture.copy()
    if mode == "RGBA":
        picture[:, :, 3] = 40 + np.arange(width) % 200
    return picture


def noise(mode="RGB", height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, *MODES[mode]), dtype=np.uint8)


def weights_of(region, image_size=(HEIGHT, WIDTH)):
    height, width = image_size
    return Footprint.of(region.box, region.style, image_size).weights((0, 0, width, height))


def differs(before, after):
    changed = before != after
    return changed.any(axis=2) if changed.ndim == 3 else changed


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("style", STYLES)
def test_every_style_changes_every_hidden_pixel_and_nothing_outside_the_fade(style, mode):
    for shape, feather, pillow in itertools.product(SHAPES, (0.0, 0.3), (False, True)):
        assert_hidden_and_nothing_else(style, mode, shape, feather, pillow)


def assert_hidden_and_nothing_else(style, mode, shape, feather, pillow):
    picture = checkerboard(mode)
    look = Style(style=style, shape=shape, feather=feather, colour="grey", sticker=STICKER)
    region = Region((30.5, 20, 100, 71.2), look, "it")
    canvas = Image.fromarray(picture) if pillow else picture.copy()
    [painted] = paint(canvas, [region])
    after = np.asarray(canvas)
    weights = weights_of(region)
    changed = differs(picture, after)
    assert changed[weights == 255].all()
    assert not changed[weights == 0].any()
    if style != "inpaint":  # where that fades, it shows what can be seen anyway
        assert changed[weights > 50].all()
    assert painted == Painted(
        label="it", style=style, shape=shape, box=(30, 20, 100, 72), painted=True,
        pixels=int((weights == 255).sum()), changed=1.0, flat=False,
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_an_array_and_a_pillow_picture_get_the_same_pixels(mode):
    picture = noise(mode)
    for seed in range(12):
        regions = some_regions(seed, grey=True)
        array, image = picture.copy(), Image.fromarray(picture)
        assert paint(array, regions) == paint(image, regions)
        np.testing.assert_array_equal(array, np.asarray(image))


def some_regions(seed, count=5, grey=False, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    regions = []
    for i in range(count):
        x1, y1 = rng.uniform(-20, width), rng.uniform(-20, height)
        w, h = rng.uniform(0, 70, 2)
        style = Style(
            style=str(rng.choice(STYLES)),
            shape=str(rng.choice(SHAPES)),
            grow=float(rng.choice([0.0, 0.3])),
            feather=float(rng.choice([0.0, 0.0, 0.2])),
            colour=(90, 90, 90) if grey else tuple(int(part) for part in rng.integers(0, 256, 3)),
            cells=int(rng.integers(1, 9)),
            sticker=STICKER,
        )
        regions.append(Region((x1, y1, x1 + w, y1 + h), style, str(i)))
    return regions


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_the_regions_does_not_matter(seed):
    picture = noise("RGBA")
    regions = some_regions(seed, count=7)
    straight, turned = picture.copy(), picture.copy()
    first, second = paint(straight, regions), paint(turned, regions[::-1])
    np.testing.assert_array_equal(straight, turned)
    assert first == second[::-1]
    assert [item.label for item in first] == [region.label for region in regions]


def test_bands_change_no_byte(monkeypatch):
    picture = noise("RGBA")
    regions = some_regions(3, count=6)
    once, banded = picture.copy(), picture.copy()
    first = paint(once, regions)
    monkeypatch.setattr(paint_module, "BAND_PIXELS", 700)
    assert paint(banded, regions) == first
    np.testing.assert_array_equal(once, banded)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("box", "hidden"),
    [
        ((-25, 30, 20, 60), (0, 30, 20, 60)),  # NudeNet 3.0.8 painted an empty slice for a negative x
        ((120, 30, 150, 60), (120, 30, 150, 60)),  # deface never covers the last column
        ((30, 90, 60, 120), (30, 90, 60, 120)),  # nor the last row
        ((140, 110, 400, 300), (140, 110, 150, 120)),
        ((-9, -9, 5, 4), (0, 0, 5, 4)),
        ((-1000, -1000, 1000, 1000), (0, 0, 150, 120)),
    ],
)
def test_boxes_at_and_over_each_edge_are_painted(style, shape, box, hidden):
    picture = checkerboard()
    canvas = picture.copy()
    [painted] = paint(canvas, [Region(box, Style(style=style, shape=shape, colour="grey"))])
    x1, y1, x2, y2 = hidden
    assert differs(picture, canvas)[y1:y2, x1:x2].all()
    assert painted.painted
    assert painted.box == hidden
    assert painted.changed == 1


@pytest.mark.parametrize("box", [(-50, 10, 0, 20), (150, 10, 170, 20), (10, -9, 20, -1), (10, 120, 20, 150)])
@pytest.mark.parametrize("style", STYLES)
def test_a_box_wholly_outside_paints_nothing_and_says_so(style, box):
    picture = noise()
    canvas = picture.copy()
    [painted] = paint(canvas, [Region(box, Style(style=style, shape="ellipse", feather=1), "gone")])
    np.testing.assert_array_equal(canvas, picture)
    assert painted == Painted(label="gone", style=style, shape="ellipse", box=(0, 0, 0, 0), painted=False)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (3, 2), (1, 9), (6, 6), (4, 4)])
def test_tiny_regions_are_hidden_too(style, size):
    picture = checkerboard()
    canvas = picture.copy()
    [painted] = paint(canvas, [Region((70, 50, 70 + size[0], 50 + size[1]), Style(style=style, colour="grey"))])
    assert painted.pixels == max(size[0], 1) * max(size[1], 1)
    assert painted.changed == 1
    assert differs(picture, canvas).sum() == painted.pixels


def test_a_picture_of_one_pixel_is_hidden():
    for style in STYLES:
        canvas = np.array([[[200, 10, 30]]], dtype=np.uint8)
        paint(canvas, [whole((1, 1), Style(style=style, colour="white", sticker=CLEAR_STICKER))])
        assert canvas.tolist() == [[[255, 255, 255] if style in OPAQUE_STYLES else [128, 128, 128]]]


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_hides_every_pixel(shape):
    style = Style(style="pixelate", shape=shape, grow=1, feather=0.5, cells=3)
    region = whole((HEIGHT, WIDTH), style, "all")
    assert region == Region((0, 0, WIDTH, HEIGHT), Style(style="pixelate", cells=3), "all")
    canvas = checkerboard()
    [painted] = paint(canvas, [region])
    assert painted.pixels == HEIGHT * WIDTH
    assert len(np.unique(canvas.reshape(-1, 3), axis=0)) <= 9


@pytest.mark.parametrize("style", ["pixelate", "box", "match"])
def test_the_work_grows_with_the_regions_and_not_with_their_pairs(style, monkeypatch):
    calls = []

    def counted(box):
        calls.append(box)
        return area(box)

    for module in ("paint", "fills", "filters"):
        monkeypatch.setattr(f"censor.{module}.area", counted, raising=False)
    counts = []
    for side in (6, 12):
        corners = [(x * 20, y * 20) for x in range(side) for y in range(side)]
        regions = [Region((x, y, x + 8, y + 8), Style(style=style)) for x, y in corners]
        paint(np.full((side * 20, side * 20, 3), 200, np.uint8), regions)
        counts.append(len(calls))
        calls.clear()
    assert counts[1] <= 4 * counts[0] + 100, "four times the regions"


def test_a_box_ends_as_its_colour_whatever_overlaps_it():
    box = Region((40, 30, 80, 70), Style(style="box", colour=(9, 200, 30)))
    others = [
        Region((30, 20, 60, 60), Style(style="blur", feather=1)),
        Region((60, 50, 120, 90), Style(style="pixelate", shape="ellipse", feather=0.5)),
    ]
    canvas = noise()
    painted = paint(canvas, [box, *others])
    assert (canvas[30:70, 40:80] == (9, 200, 30)).all()
    assert min(item.changed for item in painted) > 0.95  # against the untouched picture, also where another covers


@pytest.mark.parametrize("style", ["blur", "box"])
def test_a_nested_region_counts_what_changed_since_the_untouched_picture(style):
    canvas = checkerboard()
    inner = Region((40, 40, 60, 60), Style(style=style, colour="red"), "inner")
    outer = Region((20, 20, 90, 90), Style(style="box", colour="red"), "outer")
    assert [(item.changed, item.flat) for item in paint(canvas, [inner, outer])] == [(1, False), (1, False)]


@pytest.mark.parametrize(
    "styles",
    [
        (Style(style="box", shape="ellipse", colour="red"), Style(style="box", shape="ellipse", colour="blue")),
        (Style(style="box", shape="ellipse", colour="blue"), Style(style="box", shape="ellipse", colour="red")),
        (Style(style="pixelate", shape="ellipse"), Style(style="pixelate", shape="ellipse")),
    ],
)
def test_equally_large_regions_have_an_order_too(styles):
    boxes = [(20, 20, 60, 60), (62, 30, 102, 70)]  # the ellipses around them overlap
    regions = [Region(box, style) for box, style in zip(boxes, styles, strict=True)]
    straight, turned = noise(), noise()
    paint(straight, regions)
    paint(turned, regions[::-1])
    np.testing.assert_array_equal(straight, turned)


@pytest.mark.parametrize("right", [70, 149])
def test_a_fade_never_reaches_into_another_region_and_fades_from_hidden_pixels_only(right):
    fading = Region((20, 20, 60, 60), Style(style="box", colour="red", feather=0.5))
    solid = Region((65, 20, right, 60), Style(style="box", colour="blue"))  # smaller, and larger, than the other
    canvas = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
    paint(canvas, [fading, solid])
    assert (canvas[20:60, 20:60] == (255, 0, 0)).all()
    assert (canvas[20:60, 65:right] == (0, 0, 255)).all()
    weights = weights_of(fading).astype(int)
    for y, x in [(30, 62), (30, 10), (10, 30), (70, 70), (12, 12)]:
        assert 0 < weights[y, x] < 255
        expected = [(weights[y, x] * top + (255 - weights[y, x]) * 100) / 255 for top in (255, 0, 0)]
        assert np.abs(canvas[y, x] - expected).max() <= 0.5


def test_the_fade_blends_as_exactly_as_sixteen_bits_allow():
    weight = np.arange(256, dtype=np.uint8).reshape(256, 1, 1)
    for top, under in itertools.product([0, 1, 100, 254, 255], [0, 3, 127, 255]):
        mixed = paint_module._over(weight, np.full_like(weight, top), np.full_like(weight, under))
        exact = (weight.astype(int) * top + (255 - weight.astype(int)) * under) / 255
        assert np.abs(mixed - exact).max() <= 0.5


def test_alpha_becomes_opaque_when_hidden_and_at_least_the_weight_in_the_fade():
    picture = noise("RGBA")
    picture[:, :, 3] = np.random.default_rng(1).choice([0, 1, 100, 255], (HEIGHT, WIDTH))
    for style in STYLES:
        region = Region((40, 30, 90, 80), Style(style=style, shape="rounded", feather=0.4, colour="green"))
        canvas = picture.copy()
        paint(canvas, [region])
        weights = weights_of(region)
        assert (canvas[weights == 255, 3] == 255).all()
        assert (canvas[..., 3] >= weights).all()
        cover = weights + picture[..., 3] * (1 - weights / 255)
        assert np.abs(canvas[..., 3] - cover).max() <= 0.5
        np.testing.assert_array_equal(canvas[weights == 0], picture[weights == 0])
        clear = (picture[..., 3] == 0) & (weights > 0) & (weights < 255)
        if style == "box":  # over a fully transparent pixel only the region's own colour shows
            assert clear.any()
            assert (canvas[clear][:, :3] == (0, 128, 0)).all()
        opaque = (picture[..., 3] == 255) & (weights > 0)
        rgb = picture[..., :3].copy()
        if style == "box":
            paint(rgb, [region])
            np.testing.assert_array_equal(canvas[opaque][:, :3], rgb[opaque])


def test_what_was_flat_is_reported_flat():
    canvas = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    flat, dotted = (Region((x, 10, x + 40, 50), Style(style="blur", shape="ellipse")) for x in (10, 80))
    canvas[30, 100] = 0
    first, second = paint(canvas, [flat, dotted])
    assert (first.flat, first.changed) == (True, 0.0)
    assert not second.flat
    assert 0 < second.changed < 1


@pytest.mark.parametrize("mode", MODES)
def test_a_canvas_reads_copies_and_writes_what_it_is_given(mode):
    picture = noise(mode)
    for canvas in (ArrayCanvas(picture.copy()), ImageCanvas(Image.fromarray(picture))):
        assert canvas.image_size == (HEIGHT, WIDTH)
        box = (3, 0, WIDTH, 9)
        pixels = canvas.read(box)
        assert pixels.shape == (9, WIDTH - 3, canvas.channels)
        assert pixels.flags.c_contiguous
        np.testing.assert_array_equal(pixels.reshape(picture[0:9, 3:].shape), picture[0:9, 3:])
        canvas.write(box, 255 - pixels)
        np.testing.assert_array_equal(canvas.read(box), 255 - pixels)  # still what was read before


def test_no_regions_paint_nothing():
    canvas = noise()
    before = canvas.copy()
    assert paint(canvas, []) == []
    np.testing.assert_array_equal(canvas, before)


def test_views_of_larger_arrays_are_painted_in_place():
    large = noise(height=240, width=300)
    before = large.copy()
    paint(large[::2, ::-2], [Region((0, 0, 30, 20), Style(style="box"))])
    assert (large[0:40:2, 299:240:-2] == 0).all()
    assert differs(before, large).sum() <= 30 * 20
    np.testing.assert_array_equal(large[1::2], before[1::2])


def test_a_grey_canvas_refuses_a_colour_and_keeps_every_byte():
    coloured = Region((10, 10, 50, 50), Style(style="box", colour="red"))
    grey = Region((60, 60, 90, 90), Style(style="box", colour=(7, 7, 7)))
    soft = Region((60, 60, 90, 90), Style(style="blur", colour="red"))
    assert needs_colour([soft, coloured])
    assert not needs_colour([soft, grey])
    canvas = noise("L")
    before = canvas.copy()
    with pytest.raises(UsageError, match="convert it to RGB first"):
        paint(canvas, [soft, coloured])
    np.testing.assert_array_equal(canvas, before)
    image = Image.fromarray(before)
    result, [painted] = paint_image(image, [coloured])
    assert result.mode == "RGB"
    assert result.getpixel((10, 10)) == (255, 0, 0)
    assert painted.painted
    same, _ = paint_image(image, [grey])
    assert same is image
    assert image.getpixel((60, 60)) == 7


@pytest.mark.parametrize(
    "box", [(math.nan, 0, 1, 1), (0, 0, 1, math.inf), (3, 0, 1, 1), (0, 0, 1), ("a", 0, 1, 1), None]
)
def test_a_region_without_a_proper_box_is_refused(box):
    with pytest.raises(UsageError, match="four finite numbers with x1 <= x2 and y1 <= y2; got"):
        Region(box, Style())


@pytest.mark.parametrize(
    ("canvas", "text"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"uint8 of shape .*; got uint8 \(4, 4, 2\)"),
        (np.zeros((4, 4, 3), np.float32), "got float32"),
        (np.zeros((0, 4, 3), np.uint8), "not empty"),
        (np.broadcast_to(np.zeros(3, np.uint8), (4, 4, 3)), "must be writeable"),
        (Image.new("P", (4, 4)), "mode L, RGB, RGBA; got P; convert it"),
        (Image.new("RGB", (0, 4)), "must have pixels"),
        ("picture.jpg", "a uint8 array or a Pillow picture; got str"),
    ],
)
def test_other_canvases_are_refused(canvas, text):
    with pytest.raises(UsageError, match=text):
        paint(canvas, [Region((0, 0, 2, 2), Style())])


@pytest.mark.parametrize("adapter", [ArrayCanvas, ImageCanvas])
def test_pixels_that_did_not_arrive_are_an_error(adapter, monkeypatch):
    monkeypatch.setattr(adapter, "write", lambda self, box, pixels: None)
    canvas = noise() if adapter is ArrayCanvas else Image.fromarray(noise())
    with pytest.raises(OutputError, match="must be those that were painted"):
        paint(canvas, [Region((10, 10, 50, 50), Style(style="box"))])


def test_a_hidden_box_that_was_not_covered_is_an_error(monkeypatch):
    pieces = Footprint.pieces

    def forgetful(self, box):
        return ((piece, part) for piece, part in pieces(self, box) if part is not None)

    monkeypatch.setattr(Footprint, "pieces", forgetful)
    with pytest.raises(
        OutputError, match=r"all 1600 pixels of the hidden box \(10, 10, 50, 50\) must be painted; only 0"
    ):
        paint(noise(), [Region((10, 10, 50, 50), Style(style="box"))])
