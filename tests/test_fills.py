"""What opaque regions are painted with: the surroundings' colour, stickers, inpainting, captions."""

import numpy as np
import pytest
from PIL import Image
from sticker_samples import grey_sticker

from censor import fills
from censor.canvas import ArrayCanvas
from censor.captions import plate_of
from censor.fills import Surroundings, fill_of
from censor.masks import Footprint, mask_of
from censor.paint import Region, needs_colour, paint, paint_image, whole
from censor.stickers import Sticker
from censor.styles import OPAQUE_STYLES, Style
from detector.errors import UsageError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def surroundings(picture, *regions):
    canvas = ArrayCanvas(picture)
    return Surroundings(canvas, [Footprint.of(region.box, region.style, canvas.image_size) for region in regions])


@pytest.mark.parametrize("shape", ["rectangle", "ellipse", "rounded"])
def test_match_paints_the_rounded_mean_of_a_ring_and_of_nothing_else(shape):
    picture = noise(120, 140, 3)
    region = Region((40, 30, 90, 70), Style(style="match", shape=shape))
    other = Region((88, 20, 110, 60), Style(style="box"))  # lies in the ring: its pixels do not count
    hidden = mask_of(region.box, region.style, (120, 140)) | mask_of(other.box, other.style, (120, 140))
    window = Footprint.of(region.box, region.style, (120, 140)).window
    ring = 4  # a tenth of 40
    x1, y1, x2, y2 = window[0] - ring, window[1] - ring, window[2] + ring, window[3] + ring
    around = np.zeros((120, 140), dtype=bool)
    around[y1:y2, x1:x2] = True
    around &= ~hidden
    expected = np.floor(picture[around].mean(axis=0) + 0.5).astype(np.uint8)
    canvas = picture.copy()
    paint(canvas, [region, other])
    assert (canvas[30:70, 40:88] == expected).all()
    np.testing.assert_array_equal(canvas[~hidden], picture[~hidden])


@pytest.mark.parametrize("style", ["match", "inpaint"])
def test_a_flat_surrounding_is_continued_as_it_is(style):
    for box in [(30, 20, 70, 60), (0, 0, 40, 40), (60, 50, 100, 80), (0, 30, 100, 50), (50, 40, 51, 41)]:
        for colour in [(200, 100, 50), (0, 0, 0), (255, 255, 255)]:
            canvas = np.full((80, 100, 3), colour, dtype=np.uint8)
            x1, y1, x2, y2 = box
            canvas[y1:y2, x1:x2] = 255 - canvas[y1:y2, x1:x2]
            paint(canvas, [Region(box, Style(style=style))])
            # OpenCV's Telea drifts by a level every few pixels from the edge.
            off = np.abs(canvas.astype(int) - colour).max()
            assert off <= (10 if style == "inpaint" else 0), (box, colour)


def test_a_region_that_is_worked_on_reduced_has_no_dark_edge():
    canvas = np.full((700, 900, 3), 255, dtype=np.uint8)
    canvas[101:607, 203:805] = 0
    paint(canvas, [Region((203, 101, 805, 607), Style(style="inpaint"))])
    assert canvas.min() == 255


def test_inpainting_continues_what_lies_beside_it():
    canvas = np.zeros((60, 100, 3), dtype=np.uint8)
    canvas[:, 50:] = 200
    canvas[20:40, 30:70] = (255, 0, 0)
    paint(canvas, [Region((30, 20, 70, 40), Style(style="inpaint"))])
    assert canvas[20:40, 30:40].max() < 60
    assert canvas[20:40, 60:70].min() > 140
    assert (np.ptp(canvas[20:40, 30:70], axis=2) <= 1).all()  # nothing of the red


@pytest.mark.parametrize("shape", [(1, 60), (60, 1), (2, 50), (40, 3), (1, 1), (300, 5)])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_inpainting_gives_the_same_bytes_each_time_also_in_thin_pictures(shape, channels):
    """In pictures of one row cv2.inpaint alone reads memory beside them."""
    picture = noise(*shape, *channels)
    if channels == (4,):
        picture[..., 3] |= 128
    region = Region((0, 0, shape[1] / 2, shape[0]), Style(style="inpaint"))
    results = []
    for fill in range(6):
        [np.full(size, 40 * fill, dtype=np.uint8) for size in (64, 500, 2000, 30_000)]  # what memory held before
        results.append(picture.copy())
        paint(results[-1], [region])
    assert all((result == results[0]).all() for result in results)


@pytest.mark.parametrize("style", ["match", "inpaint"])
def test_without_visible_surroundings_the_colour_is_painted(style):
    look = Style(style=style, colour=(10, 20, 30))
    for picture in (noise(30, 40, 3), noise(30, 40, 4)):
        canvas = picture.copy()
        paint(canvas, [whole((30, 40), look)])
        assert (canvas[..., :3] == (10, 20, 30)).all()
    clear = noise(30, 40, 4)
    clear[..., 3] = 127  # too transparent for its colours to be seen
    paint(clear, [Region((10, 10, 20, 20), look)])
    assert (clear[10:20, 10:20] == (10, 20, 30, 255)).all()
    canvas = noise(30, 40, 3)
    paint(canvas, [Region((10, 10, 20, 20), look), Region((0, 0, 40, 30), Style(style="blur"))])
    assert (canvas[10:20, 10:20] == (10, 20, 30)).all()


def test_only_visible_pixels_are_read():
    picture = noise(50, 60, 4)
    region = Region((10, 10, 40, 30), Style(shape="ellipse", feather=0.2))
    hidden = mask_of(region.box, region.style, (50, 60))
    visible, seen = surroundings(picture, region).read((0, 0, 60, 50))
    np.testing.assert_array_equal(seen == 255, ~hidden & (picture[..., 3] >= 128))
    assert (visible[seen == 0] == 0).all()
    np.testing.assert_array_equal(visible[seen == 255], picture[seen == 255])


@pytest.mark.parametrize("side", [255, 256, 257, 1000])
def test_large_regions_are_read_in_bands_with_the_same_result(side, monkeypatch):
    picture = np.repeat(np.repeat(noise(40, 50, 3), 30, 0), 30, 1)[: side + 20, : side + 60]
    region = Region((9, 3, side, side), Style(style="inpaint"))
    once, banded = picture.copy(), picture.copy()
    paint(once, [region])
    monkeypatch.setattr(fills, "BAND_PIXELS", 3000)
    paint(banded, [region])
    np.testing.assert_array_equal(once, banded)


def coloured_sticker(width=40, height=20):
    """Left half red, right half clear, with white under the clear pixels."""
    pixels = np.full((height, width, 4), 255, dtype=np.uint8)
    pixels[:, : width // 2] = (200, 0, 0, 255)
    pixels[:, width // 2 :, 3] = 0
    return Sticker.of("half", Image.fromarray(pixels))


@pytest.mark.parametrize("shape", ["rectangle", "ellipse"])
def test_a_sticker_covers_everything_and_shows_the_colour_where_it_is_clear(shape):
    region = Region((20, 30, 100, 70), Style(style="sticker", sticker=coloured_sticker(), shape=shape, colour="navy"))
    first, second = noise(100, 120, 3, seed=1), noise(100, 120, 3, seed=2)
    hidden = mask_of(region.box, region.style, (100, 120))
    for canvas in (first, second):
        paint(canvas, [region])
    np.testing.assert_array_equal(first[hidden], second[hidden])
    assert (first[35:65, 25:50] == (200, 0, 0)).all()
    assert (first[35:65, 70:95] == (0, 0, 128)).all()


def test_a_sticker_keeps_its_proportions_and_is_cut_evenly():
    pixels = np.zeros((40, 20, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[15:25] = (0, 255, 0, 255)  # the middle quarter
    style = Style(style="sticker", sticker=Sticker.of("flag", Image.fromarray(pixels)))
    canvas = noise(80, 80, 3)
    paint(canvas, [Region((20, 10, 60, 50), style)])  # square: the middle half of the height is shown
    assert (canvas[10:17, 20:60, 1] < 10).all()
    assert (canvas[22:38, 20:60, 1] > 245).all()
    assert (canvas[43:50, 20:60, 1] < 10).all()


def test_a_coloured_sticker_makes_a_grey_picture_coloured():
    region = Region((2, 2, 30, 30), Style(style="sticker", sticker=coloured_sticker()))
    assert needs_colour([region])
    assert not needs_colour([Region((2, 2, 30, 30), Style(style="sticker", sticker=grey_sticker()))])
    with pytest.raises(UsageError, match="a colour needs a picture with colours"):
        paint(noise(40, 40), [region])
    image, _ = paint_image(Image.fromarray(noise(40, 40)), [region])
    assert image.mode == "RGB"
    assert image.getpixel((5, 16)) == (200, 0, 0)


@pytest.mark.parametrize("style", OPAQUE_STYLES)
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_a_caption_is_written_inside_the_hidden_box_only(style, channels):
    results = []
    for caption in ("", "hidden by a person"):
        canvas = noise(100, 150, *channels)
        look = Style(style=style, sticker=grey_sticker(), colour="grey", caption=caption, shape="ellipse", feather=0.2)
        paint(canvas, [Region((20, 30, 120, 70), look)])
        results.append(canvas.reshape(100, 150, -1))
    changed = (results[0] != results[1]).any(axis=2)
    assert changed[30:70, 20:120].any()
    changed[30:70, 20:120] = False
    assert not changed.any()
    if channels == (4,):
        assert (results[1][30:70, 20:120, 3] == 255).all()


def test_equal_boxes_with_other_stickers_and_captions_have_an_order():
    looks = [{"sticker": "star"}, {"sticker": "heart"}, {"sticker": "heart", "caption": "a"}, {"caption": "b"}]
    regions = [Region((10, 10, 60, 40), Style(style="sticker", **look)) for look in looks]
    straight, turned = noise(50, 70, 3), noise(50, 70, 3)
    for count in (2, 3, 4):
        paint(straight, regions[count - 2 : count])
        paint(turned, regions[count - 2 : count][::-1])
        np.testing.assert_array_equal(straight, turned)


def test_a_caption_that_cannot_be_read_is_left_out_and_one_that_is_long_becomes_smaller():
    assert plate_of("hidden", (0, 0, 12, 40), (0, 0, 0), 3) is None
    assert plate_of("hidden", (0, 0, 200, 9), (0, 0, 0), 3) is None
    assert plate_of("x", (0, 0, 1, 1), (0, 0, 0), 3) is None
    short = plate_of("hidden", (50, 50, 250, 150), (255, 255, 255), 3)
    long = plate_of("hidden by the person who is seen here", (50, 50, 250, 150), (255, 255, 255), 3)
    assert short is not None
    assert long is not None
    for plate in (short, long):
        x1, y1, x2, y2 = plate.box
        assert 50 <= x1 < x2 <= 250
        assert 50 <= y1 < y2 <= 150
        assert plate.pixels.shape == (y2 - y1, x2 - x1, 3)
        assert plate.pixels.min() < 60  # dark ink on a light ground
    assert long.pixels.shape[0] < short.pixels.shape[0]


@pytest.mark.parametrize("style", OPAQUE_STYLES)
def test_any_part_of_a_fill_is_the_same_as_of_the_whole(style):
    look = Style(style=style, shape="ellipse", feather=0.3, caption="hidden", sticker=grey_sticker(), colour="grey")
    region = Region((-30, 40, 190, 140), look)
    picture = noise(160, 200, 3)
    footprint = Footprint.of(region.box, region.style, (160, 200))
    surface = fill_of(region.style, footprint, surroundings(picture, region)).surface()
    x1, y1, x2, y2 = footprint.window
    complete = surface.read(footprint.window)
    assert complete.shape == (y2 - y1, x2 - x1, 3)
    for part in [(x1, y1, x1 + 1, y1 + 1), (5, 50, 100, 120), (x2 - 7, y2 - 9, x2, y2)]:
        expected = complete[part[1] - y1 : part[3] - y1, part[0] - x1 : part[2] - x1]
        np.testing.assert_array_equal(surface.read(part), expected)
