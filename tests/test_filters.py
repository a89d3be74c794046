"""Cell means: exact, few, and all that is shown."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from censor.filters import Cells, Patch, cell_edges, grid_size, measure_cells
from censor.masks import Footprint
from censor.styles import Style

FAST = settings(derandomize=True, max_examples=60, deadline=None)


def reader(picture):
    return lambda box: picture[box[1] : box[3], box[0] : box[2]].copy()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(st.integers(1, 3000), st.integers(1, 8))
@FAST
def test_every_pixel_lies_in_exactly_one_cell(side, cells):
    edges = cell_edges(side, min(cells, side))
    assert edges[0] == 0
    assert edges[-1] == side
    assert (np.diff(edges) >= 1).all()
    assert np.ptp(np.diff(edges)) <= 1


@pytest.mark.parametrize("most", range(1, 9))
def test_grids_have_few_cells_and_every_cell_enough_pixels(most):
    for height in [*range(1, 40), 63, 64, 65, 500]:
        for width in [*range(1, 40), 63, 64, 65, 500]:
            rows, columns = grid_size(height, width, most)
            assert 1 <= max(rows, columns) <= most
            assert (rows <= columns) if height < width else (columns <= rows)
            smallest = np.diff(cell_edges(height, rows)).min() * np.diff(cell_edges(width, columns)).min()
            assert smallest >= 16 or (rows, columns) == (1, 1), (height, width)
            assert grid_size(width, height, most) == ((columns, rows) if height != width else (rows, columns))


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(800, 800, (8, 8)), (100, 800, (1, 8)), (200, 800, (2, 8)), (800, 500, (8, 5)), (6, 6, (1, 1)), (8, 8, (2, 2)),
     (31, 31, (7, 7)), (32, 32, (8, 8)), (2, 100, (1, 8)), (1, 100, (1, 6)), (3, 2, (1, 1)), (1, 1, (1, 1))],
)  # fmt: skip
def test_grid_size(height, width, grid):
    assert grid_size(height, width, 8) == grid


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_means_are_exact(channels):
    picture = noise(150, 210, channels)
    cells = measure_cells(reader(picture), [(13, 17, 200, 140)], 8)
    rows, columns = cells.means.shape[:2]
    assert (rows, columns) == (5, 8)
    ys, xs = 17 + np.array(cell_edges(123, rows)), 13 + np.array(cell_edges(187, columns))
    for row in range(rows):
        for column in range(columns):
            cell = picture[ys[row] : ys[row + 1], xs[column] : xs[column + 1]].reshape(-1, channels).astype(int)
            expected = np.floor(cell.sum(0) / len(cell) + 0.5)  # halves round up
            np.testing.assert_array_equal(cells.means[row, column], expected)


def test_a_group_is_measured_once_over_its_bounding_box_and_only_where_it_hides():
    picture = noise(100, 100, 3)
    cores = [(10, 10, 60, 60), (40, 40, 90, 90)]
    first = measure_cells(reader(picture), cores, 8)
    assert first.box == (10, 10, 90, 90)
    assert first.means.shape == (8, 8, 3)
    outside = np.ones((100, 100), dtype=bool)
    for x1, y1, x2, y2 in cores:
        outside[y1:y2, x1:x2] = False
    picture[outside] = 255 - picture[outside]
    np.testing.assert_array_equal(measure_cells(reader(picture), cores, 8).means, first.means)
    np.testing.assert_array_equal(measure_cells(reader(picture), cores[::-1], 8).means, first.means)


@pytest.mark.parametrize("shape", ["rectangle", "ellipse"])
def test_pixels_that_a_box_hides_are_not_counted(shape):
    picture = noise(100, 100, 3)
    box = Footprint.of((45, 30, 95, 70), Style(style="box", shape=shape), (100, 100))
    first = measure_cells(reader(picture), [(10, 10, 70, 90)], 8, [box])
    free = measure_cells(reader(picture), [(10, 10, 70, 90)], 8)
    assert not np.array_equal(free.means, first.means)
    picture[box.weights((0, 0, 100, 100)) == 255] = 0
    np.testing.assert_array_equal(measure_cells(reader(picture), [(10, 10, 70, 90)], 8, [box]).means, first.means)


def test_a_cell_with_too_few_pixels_takes_its_neighbours_mean():
    picture = np.zeros((64, 64, 1), dtype=np.uint8)
    picture[:, 32:] = 200
    picture[:8, :8] = 99  # the cell that will be left with 15 pixels
    box = Footprint.of((3, 0, 8, 8), Style(style="box"), (64, 64))
    picture[:, 3] = picture[:, 8]
    cover = [box, Footprint.of((0, 5, 8, 8), Style(style="box"), (64, 64))]
    means = measure_cells(reader(picture), [(0, 0, 64, 64)], 8, cover).means
    assert means[0, 0, 0] == 0
    assert means[0, 7, 0] == 200
    means = measure_cells(reader(picture), [(0, 0, 64, 64)], 8, [box]).means
    assert means[0, 0, 0] == 99  # 24 pixels are enough


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 3), (15, 1), (3, 5)])
def test_a_region_too_small_for_a_mean_is_grey(size):
    height, width = size
    picture = np.full((40, 40, 3), 10, dtype=np.uint8)
    assert (measure_cells(reader(picture), [(4, 4, 4 + width, 4 + height)], 8).means == 128).all()


def test_a_region_of_sixteen_pixels_shows_one_mean():
    picture = np.full((40, 40, 3), 10, dtype=np.uint8)
    assert (measure_cells(reader(picture), [(4, 4, 8, 8)], 8).means == 10).all()


def test_pixelate_fills_each_cell():
    means = noise(3, 5, 3)
    pixels = Patch(Cells((10, 20, 61, 52), means), "pixelate").read((10, 20, 61, 52))
    assert pixels.shape == (32, 51, 3)
    for row, (top, bottom) in enumerate([(0, 10), (10, 21), (21, 32)]):
        for column, (left, right) in enumerate([(0, 10), (10, 20), (20, 30), (30, 40), (40, 51)]):
            assert (pixels[top:bottom, left:right] == means[row, column]).all()


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3, 4]))
@FAST
def test_blur_stays_within_the_means(rows, columns, height, width, channels):
    means = noise(rows, columns, channels, seed=rows * 8 + columns)
    pixels = Patch(Cells((0, 0, width, height), means), "blur").read((0, 0, width, height))
    assert pixels.shape == (height, width, channels)
    assert (pixels >= means.min((0, 1))).all()
    assert (pixels <= means.max((0, 1))).all()


def test_blur_is_smooth_and_even_handed():
    means = np.zeros((8, 8, 1), dtype=np.uint8)
    means[:, 4:] = 240
    pixels = Patch(Cells((0, 0, 160, 160), means), "blur").read((0, 0, 160, 160))[:, :, 0].astype(int)
    step = np.diff(pixels, axis=1)
    assert step.min() >= 0
    assert step.max() <= 12  # one cell of 20 pixels takes 240 levels: no edge, no crease
    assert (pixels[:, 0] == 0).all()
    assert (pixels[:, -1] == 240).all()
    np.testing.assert_allclose(pixels + pixels[:, ::-1], 240, atol=1)


@pytest.mark.parametrize("style", ["blur", "pixelate"])
def test_equal_means_stay_flat(style):
    means = np.full((7, 5, 3), (3, 128, 254), dtype=np.uint8)
    assert (Patch(Cells((0, 0, 33, 47), means), style).read((0, 0, 33, 47)) == (3, 128, 254)).all()


@pytest.mark.parametrize("style", ["blur", "pixelate"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_beyond_its_box_a_patch_continues_its_edge(style, channels):
    patch = Patch(Cells((10, 10, 50, 40), noise(3, 4, channels)), style)
    whole = patch.read((10, 10, 50, 40))
    wide = np.pad(whole, ((10, 12), (10, 9), (0, 0)), mode="edge")  # rows 0..52, columns 0..59
    for x1, y1, x2, y2 in [
        (0, 0, 59, 52),
        (0, 12, 8, 30),
        (51, 12, 59, 52),
        (45, 41, 55, 50),
        (9, 0, 12, 5),
        (58, 51, 59, 52),
    ]:
        got = patch.read((x1, y1, x2, y2))
        np.testing.assert_array_equal(got, wide[y1:y2, x1:x2])


@pytest.mark.parametrize("style", ["blur", "pixelate"])
def test_threads_change_no_byte(style, two_thread_counts):
    picture = noise(1200, 1000, 3)
    results = []
    for threads in two_thread_counts:
        cv2.setNumThreads(threads)
        cells = measure_cells(reader(picture), [(7, 5, 990, 1193)], 8)
        results.append(Patch(cells, style).read(cells.box))
    np.testing.assert_array_equal(*results)


@pytest.fixture
def two_thread_counts():
    before = cv2.getNumThreads()
    yield 1, 2
    cv2.setNumThreads(before)
