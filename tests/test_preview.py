"""Previews: every box is drawn and named, at any size, and the picture given is left as it was."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from censor import preview
from censor.preview import draw_boxes
from detector.classes import ALL_CLASSES, CLASSES
from detector.detections import Detections
from detector.errors import UsageError
from detector.palette import PALETTE, class_colour


def detections(boxes, labels, image_size, scores=None, class_names=ALL_CLASSES):
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else scores
    return Detections(boxes=boxes, scores=scores, labels=labels, image_size=image_size, class_names=class_names)


def has_colour(image, box, colour):
    x1, y1, x2, y2 = box
    return (np.asarray(image)[y1:y2, x1:x2] == colour).all(axis=-1).any()


def test_each_of_the_six_classes_has_its_own_colour():
    assert len({class_colour(name) for name in CLASSES}) == 6
    assert class_colour("FEET_EXPOSED") == class_colour("SOMETHING_NEW") == PALETTE[-1]


@pytest.mark.parametrize("background", [0, 90, 255])
def test_all_four_sides_are_drawn_in_the_class_colour_with_a_dark_rim(background):
    image = Image.new("RGB", (640, 640), (background,) * 3)
    result = draw_boxes(image, detections([[200, 300, 400, 500]], [2], (640, 640)))
    pixels = np.asarray(result)
    colour = class_colour(CLASSES[2])
    assert colour == PALETTE[2]
    for y, x in [(301, 300), (498, 300), (400, 201), (400, 398)]:
        assert tuple(pixels[y, x]) == colour
    for y, x in [(300, 300), (499, 300), (400, 200), (400, 399), (303, 300), (400, 203)]:
        assert tuple(pixels[y, x]) == (0, 0, 0)
    assert (pixels[310:490, 210:390] == background).all()  # what is inside stays to be seen
    assert np.asarray(image).max() == background == np.asarray(image).min()


def test_a_label_stands_above_its_box_and_says_class_and_score(monkeypatch):
    texts = []
    draw = preview._Tag.draw
    monkeypatch.setattr(preview._Tag, "draw", lambda self, *rest: (texts.append(self.text), draw(self, *rest)))
    found = detections([[200, 300, 400, 500], [50, 50, 90, 90]], [2, ALL_CLASSES.index("FEET_COVERED")], (640, 640))
    result = draw_boxes(Image.new("RGB", (640, 640)), found)
    assert texts == ["feet covered 0.50", "female breast 0.90"]  # the highest score last, on top
    assert has_colour(result, (201, 285, 400, 299), PALETTE[2])
    assert not has_colour(result, (0, 0, 640, 20), PALETTE[2])


def test_labels_keep_off_each_other(monkeypatch):
    places = []
    monkeypatch.setattr(preview._Tag, "draw", lambda self, draw, place, colour: places.append(place))
    boxes = [[100, 200, 300, 400], [102, 202, 302, 402], [98, 198, 298, 398]]
    draw_boxes(Image.new("RGB", (640, 640)), detections(boxes, [2, 2, 2], (640, 640)))
    assert len(places) == 3
    assert not any(preview._touch(first, second) for first, second in combinations(places, 2))


@pytest.mark.parametrize("size", [(1, 1), (20, 9), (64, 48), (30, 900), (700, 30)])
def test_labels_stay_inside_pictures_of_any_size(size, monkeypatch):
    places = []
    draw = preview._Tag.draw
    monkeypatch.setattr(preview._Tag, "draw", lambda self, d, place, c: (places.append(place), draw(self, d, place, c)))
    width, height = size
    boxes = [[-5, -5, 3, 3], [width - 1, height - 1, width + 9, height + 9], [0, 0, width, height]]
    image = draw_boxes(Image.new("RGB", size, "white"), detections(boxes, [0, 1, 2], (height, width)))
    assert image.size == size
    assert len(places) == 3
    assert all(place[0] >= 0 and place[1] >= 0 for place in places)
    if width >= 64 and height >= 30:
        assert all(place[2] <= width and place[3] <= height for place in places)


def test_lines_and_letters_grow_with_the_picture():
    small, large = (preview._Tag.fit("belly 0.90", (side, side)) for side in (600, 3000))
    assert 4 < large.height / small.height < 6
    pixels = np.asarray(
        draw_boxes(Image.new("RGB", (3000, 3000)), detections([[1000, 1000, 2000, 2000]], [0], (3000, 3000)))
    )
    assert (pixels[1500, 1000:1100] == PALETTE[0]).all(-1).sum() == 9


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA"])
def test_any_mode_becomes_a_fresh_rgb_picture(mode):
    image = Image.new(mode, (60, 40))
    before = image.tobytes()
    result = draw_boxes(image, detections([], [], (40, 60)))
    assert result is not image
    assert result.mode == "RGB"
    assert result.size == (60, 40)
    draw_boxes(image, detections([[5, 5, 50, 30]], [0], (40, 60)))
    assert image.tobytes() == before
    shown = (255, 255, 255) if mode in ("RGBA", "LA") else (0, 0, 0)  # fully transparent is shown on white
    assert result.getpixel((30, 20)) == shown


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (40, 60, 4)])
def test_arrays_are_taken_too(shape):
    array = np.full(shape, 255, dtype=np.uint8)
    result = draw_boxes(array, detections([[5, 5, 50, 30]], [0], (40, 60)))
    assert result.size == (60, 40)
    assert has_colour(result, (5, 5, 50, 30), PALETTE[0])
    assert (array == 255).all()


def test_detections_of_another_size_are_refused():
    with pytest.raises(UsageError, match=r"they are of \(60, 40\), the picture is \(40, 60\)"):
        draw_boxes(Image.new("RGB", (60, 40)), detections([], [], (60, 40)))
