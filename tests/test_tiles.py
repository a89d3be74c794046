import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detector.classes import CLASSES
from detector.detections import Detections
from detector.models import Predictor, find_model, load
from detector.postprocess import Candidates
from detector.tiles import (
    LEVELS,
    MAX_TILES,
    MIN_TILE,
    Window,
    is_cut,
    keep_best_of_tiles,
    longest_side_needed,
    plan_windows,
    uniform_border,
)


@pytest.fixture(scope="module")
def model() -> Predictor:
    entry = find_model("nudenet-320n", task="detect")
    if not entry.installed:
        pytest.skip(entry.install)
    return load()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


SIZES = [(480, 640), (1000, 300), (200, 2000), (1, 1), (10, 20_000), (1080, 1920), (90, 90), (3000, 120)]


@pytest.mark.parametrize("size", SIZES)
def test_windows_lie_inside_and_every_pixel_is_in_a_tile_of_each_level(size: tuple[int, int]) -> None:
    height, width = size
    inner, windows = plan_windows(noise(height, width))
    assert (inner, windows[0]) == (Window(0, 0, height, width), Window(0, 0, height, width))
    assert len(windows) <= 1 + len(LEVELS) * MAX_TILES
    for window in windows:
        assert 0 <= window.top < window.bottom <= height
        assert 0 <= window.left < window.right <= width
    for side in {max(window.size) for window in windows[1:]}:
        covered = np.zeros(size, dtype=bool)
        for window in windows[1:]:
            if max(window.size) == side:
                covered[window.top : window.bottom, window.left : window.right] = True
        assert covered.all()


def test_levels() -> None:
    sides = sorted({window.size for window in plan_windows(noise(960, 960))[1]}, reverse=True)
    assert sides == [(960, 960), (549, 549), (296, 296), (154, 154)]
    assert len(plan_windows(noise(960, 960))[1]) == 1 + 4 + 16 + 64
    assert all(min(window.size) >= MIN_TILE for window in plan_windows(noise(300, 300))[1])
    assert len(plan_windows(noise(90, 90))[1]) == 1


def test_neighbouring_tiles_share_a_quarter() -> None:
    tiles = [window for window in plan_windows(noise(960, 960))[1] if window.size == (154, 154)]
    columns = sorted({(tile.left, tile.right) for tile in tiles})
    for (_, right), (left, _) in itertools.pairwise(columns):
        assert right - left >= 0.24 * 154


def test_strips_are_cut_into_squares_and_thin_ones_at_a_bounded_cost() -> None:
    _, windows = plan_windows(noise(300, 3000))
    assert len([window for window in windows if window.size == (300, 300)]) == 13
    _, thin = plan_windows(noise(10, 20_000))
    assert 100 < len(thin) <= 1 + MAX_TILES


def test_border() -> None:
    view = np.full((300, 400, 3), 250, dtype=np.uint8)
    view[50:250, 100:380] = noise(200, 280)
    assert uniform_border(view) == Window(50, 100, 250, 380)
    inner, windows = plan_windows(view)
    assert inner == windows[1] == Window(50, 100, 250, 380)
    plain = np.full((30, 40, 3), 7, dtype=np.uint8)
    assert uniform_border(plain) == Window(0, 0, 30, 40)
    # JPEG noise in the border, and a speck, are no picture.
    view[10, 7] = 0
    view[:40] -= np.random.default_rng(1).integers(0, 6, (40, 400, 3), dtype=np.uint8)
    assert uniform_border(view) == Window(50, 100, 250, 380)


def test_view_is_large_enough_for_the_smallest_tile() -> None:
    assert longest_side_needed((600, 800), 320) == 800
    side = longest_side_needed((6000, 8000), 320)
    assert min(max(window.size) for window in plan_windows(noise(side * 3 // 4, side))[1]) in (319, 320, 321)


def test_only_edges_inside_the_picture_cut() -> None:
    whole, window = Window(0, 0, 300, 300), Window(0, 100, 100, 200)
    boxes = np.array(
        [[110, 0, 150, 50], [100, 20, 150, 50], [150, 20, 200, 50], [120, 60, 150, 100], [120, 20, 150, 50]],
        dtype=np.float32,
    )
    assert is_cut(boxes, window, whole).tolist() == [False, True, True, True, False]
    everywhere = np.array([[0, 0, 300, 300]], dtype=np.float32)
    assert is_cut(everywhere, whole, whole).tolist() == [False]
    for edge in ("top", "left", "bottom", "right"):
        inner = replace(whole, **{edge: {"top": 9, "left": 9, "bottom": 291, "right": 291}[edge]})
        assert is_cut(everywhere, inner, whole).tolist() == [True], edge


def merge(*items: tuple[list[float], float, int, bool]) -> list[list[float]]:
    boxes, scores, labels, cut = zip(*items, strict=True)
    found = Candidates(
        np.array(boxes, dtype=np.float32), np.array(scores, dtype=np.float32), np.array(labels, dtype=np.int64)
    )
    best = keep_best_of_tiles(found, np.array(cut), nms_thresh=0.5, detections_per_img=100)
    return best.boxes.tolist()


def test_a_piece_goes_where_a_whole_covers_it_and_stays_where_none_does() -> None:
    whole, piece, alone = [0, 0, 100, 100], [60, 10, 100, 90], [200, 0, 240, 100]
    assert merge((whole, 0.5, 0, False), (piece, 0.9, 0, True), (alone, 0.4, 0, True)) == [whole, alone]
    assert merge((whole, 0.5, 1, False), (piece, 0.9, 0, True)) == [piece, whole]


def test_two_right_boxes_inside_a_wrong_large_one_stay() -> None:
    large, left, right = [0, 0, 100, 100], [5, 5, 40, 40], [55, 5, 95, 45]
    assert merge((large, 0.9, 0, False), (left, 0.8, 0, False), (right, 0.7, 0, False)) == [large, left, right]


def test_pieces_of_one_part_that_no_tile_holds_whole_cover_it_together() -> None:
    left, right = [0, 0, 60, 100], [55, 0, 120, 100]
    assert merge((left, 0.9, 0, True), (right, 0.8, 0, True)) == [left, right]
    assert merge((left, 0.9, 0, True), (left, 0.8, 0, True)) == [left]


def test_a_whole_beats_the_same_box_from_a_window_that_cut_it() -> None:
    whole, same = [0, 0, 100, 100], [1, 1, 103, 100]
    assert merge((whole, 0.4, 0, False), (same, 0.8, 0, True)) == [whole]


def scaled(path: Path, cell: int) -> tuple[Image.Image, float]:
    with Image.open(path) as image:
        factor = cell / max(image.size)
        size = (round(image.width * factor), round(image.height * factor))
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS), factor


def hits(found: Detections, notes: list[dict[str, Any]], factor: float, offset: tuple[int, int]) -> int:
    """Count the annotated parts that some box of their class covers with its centre."""
    count = 0
    for note in notes:
        x, y, w, h = (side * factor for side in note["bbox"])
        cx, cy = x + w / 2 + offset[0], y + h / 2 + offset[1]
        boxes = found.of_classes([CLASSES[note["category_id"] - 1]]).boxes
        size = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
        near = (boxes[:, 0] < cx) & (cx < boxes[:, 2]) & (boxes[:, 1] < cy) & (cy < boxes[:, 3])
        count += bool((near & (size < 3 * max(w, h))).any())
    return count


def collage(
    model: Predictor,
    paths: list[Path],
    annotations: dict[str, Any],
    shape: tuple[int, int],
    cell: int,
    chosen: list[int] | None = None,
) -> tuple[int, int, int, int]:
    """Return hits with one pass, with tiles and cell by cell, and the number of parts."""
    rows, columns = shape
    canvas = Image.new("RGB", (columns * cell, rows * cell), (90, 90, 90))
    chosen = chosen or random.Random(0).choices(range(len(paths)), k=rows * columns)
    alone = total = 0
    placed = []
    for place, index in enumerate(chosen):
        picture, factor = scaled(paths[index], cell)
        offset = (place % columns * cell, place // columns * cell)
        canvas.paste(picture, offset)
        notes = [n for n in annotations["annotations"] if n["image_id"] == index and not n["iscrowd"]]
        alone += hits(model.detect(picture), notes, factor, (0, 0))
        total += len(notes)
        placed.append((notes, factor, offset))
    once, tiled = model.detect(canvas), model.detect(canvas, tiles=True)
    return sum(hits(once, *p) for p in placed), sum(hits(tiled, *p) for p in placed), alone, total


def test_tiles_find_what_one_pass_misses(model: Predictor, mannequins: list[Path], annotations: dict[str, Any]) -> None:
    once, tiled, alone, _ = collage(model, mannequins, annotations, (3, 3), 160, [0, 2, 3, 5, 9, 14, 15, 17, 21])
    assert alone > 10
    assert once < alone / 2
    assert tiled >= alone - 1


def test_a_wide_border_hides_nothing(model: Predictor, example: Path) -> None:
    picture, _ = scaled(example, 240)
    framed = Image.new("RGB", (picture.width * 4, picture.height * 4), "white")
    framed.paste(picture, (picture.width, picture.height * 2))
    expected = model.detect(picture)
    found = model.detect(framed, tiles=True)
    shifted = expected.boxes + np.array([picture.width, picture.height * 2] * 2, dtype=np.float32)
    assert len(expected) == 4
    for name, box in zip(expected.names, shifted, strict=True):
        same = found.of_classes([name]).boxes
        assert (np.abs(same - box).max(axis=1) < 6).any()


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "cell"), [((6, 6), 320), ((1, 10), 320), ((10, 1), 320), ((4, 4), 320)])
def test_recall_within_five_points_of_full_size(
    model: Predictor, mannequins: list[Path], annotations: dict[str, Any], shape: tuple[int, int], cell: int
) -> None:
    _, tiled, alone, total = collage(model, mannequins, annotations, shape, cell)
    assert tiled / total >= alone / total - 0.05
