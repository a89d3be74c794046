import numpy as np
import pytest

from detector.letterbox import FLOAT_VALUES, MAX_STRETCH, fit, resize

# At (449, 640) and (117, 1000) float32 rounds the mapped edge to beyond the picture's.
SIZES = [
    (449, 640),
    (117, 1000),
    (1, 1),
    (3, 2),
    (320, 320),
    (640, 480),
    (480, 640),
    (1080, 1920),
    (333, 777),
    (20_000, 10),
    (10, 20_000),
]


@pytest.mark.parametrize("size", SIZES)
def test_input_is_near_the_long_side_and_made_of_whole_strides(size: tuple[int, int]) -> None:
    plan = fit(size, long_side=320, stride=32)
    assert max(plan.network_size) == 320
    assert all(side % 32 == 0 and side >= 32 for side in plan.network_size)
    scale = 320 / max(size)
    for inner, whole, source in zip(plan.content, plan.network_size, size, strict=True):
        assert 1 <= inner <= whole
        assert inner <= max(1, round(source * scale * MAX_STRETCH))


def test_usual_shapes_fill_the_input() -> None:
    for size, expected in [((640, 480), (320, 256)), ((1080, 1920), (192, 320)), ((500, 500), (320, 320))]:
        plan = fit(size, long_side=320, stride=32)
        assert plan.content == plan.network_size == expected


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size: tuple[int, int]) -> None:
    height, width = size
    plan = fit(size, long_side=320, stride=32)
    share = np.random.default_rng(1).random((50, 4)).astype(np.float32)
    low, high = np.minimum(share[:, :2], share[:, 2:]), np.maximum(share[:, :2], share[:, 2:])
    boxes = np.concatenate([low, high], axis=1) * np.array([width, height, width, height], dtype=np.float32)
    back = plan.to_source(plan.to_network(boxes, size), size)
    np.testing.assert_allclose(back, boxes, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_boxes_end_at_the_edge_of_the_picture_and_not_beyond(size: tuple[int, int]) -> None:
    plan = fit(size, long_side=320, stride=32)
    around = np.array([[-50, -50, 999, 999]], dtype=np.float32)
    assert plan.to_source(around, size).tolist() == [[0, 0, size[1], size[0]]]


def test_a_box_in_the_padding_has_no_area() -> None:
    plan = fit((100, 970), long_side=320, stride=32)
    inner = plan.content[0]
    assert inner < plan.network_size[0]
    box = np.array([[10, inner + 2, 50, inner + 9]], dtype=np.float32)
    mapped = plan.to_source(box, (100, 970))[0]
    assert mapped[1] == mapped[3] == 100


def test_padding_repeats_the_edge() -> None:
    view = np.random.default_rng(0).integers(0, 256, (100, 970, 3), dtype=np.uint8)
    plan = fit(view.shape[:2], long_side=320, stride=32)
    pixels = plan.apply(view)
    inner = plan.content[0]
    assert pixels.shape == (*plan.network_size, 3)
    assert inner < len(pixels)
    assert (pixels[inner:] == pixels[inner - 1]).all()
    np.testing.assert_array_equal(pixels[:inner], resize(view, plan.content))


def test_content_stands_where_the_boxes_say() -> None:
    view = np.zeros((600, 400, 3), dtype=np.uint8)
    view[150:300, 100:300] = 255
    plan = fit((600, 400), long_side=320, stride=32)
    rows, columns = np.nonzero(plan.apply(view)[..., 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=np.float32)
    np.testing.assert_allclose(plan.to_source(box, (600, 400)), [[100, 150, 300, 300]], atol=2)


@pytest.mark.parametrize("size", [(40, 40), (40, 500), (500, 40)])
def test_shrinking_is_anti_aliased_even_where_the_other_axis_grows(size: tuple[int, int]) -> None:
    # The scaling attack: lit are the pixels in the middle of each 8 x 8, the only ones that plain bilinear looks at.
    lit = np.isin(np.arange(320) % 8, (3, 4))
    view = np.zeros((320, 320, 3), dtype=np.uint8)
    rows, columns = (lit if side == 40 else np.ones(320, dtype=bool) for side in size)
    view[np.ix_(rows, columns)] = 255
    small = resize(view, size)
    assert small.shape == (*size, 3)
    np.testing.assert_allclose(small, 255 * rows.mean() * columns.mean(), atol=1)


def test_a_large_view_is_averaged_like_a_small_one() -> None:
    small = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    large = np.repeat(np.repeat(small, 5, axis=0), 5, axis=1)
    assert small.size < FLOAT_VALUES < large.size
    np.testing.assert_allclose(resize(large, (60, 40)), resize(small, (60, 40)), atol=1)
