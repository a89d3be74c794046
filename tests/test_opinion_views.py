import functools
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from detector.errors import ModelError
from detector.open_nsfw import OpenNSFW
from detector.opinion_lines import MAX_LINES
from detector.opinion_views import MAX_CROPS, MAX_TILES, View, views

rng = np.random.default_rng(7)


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Draw something photo-like: smooth colours, noise, a few shapes; no line of it is flat."""
    return drawn(width, height, seed).copy()


@functools.cache
def drawn(width: int, height: int, seed: int) -> Image.Image:
    own = np.random.default_rng(seed)
    coarse = Image.fromarray(own.integers(30, 226, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return Image.fromarray(np.clip(smooth + own.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def cut(image: Image.Image, rows: int, columns: int, gutter: int, colour: str = "white") -> Image.Image:
    """Cut a picture apart and put gutters between the parts."""
    ys, xs = (np.linspace(0, side, n + 1).astype(int) for side, n in ((image.height, rows), (image.width, columns)))
    result = Image.new("RGB", (image.width + gutter * (columns - 1), image.height + gutter * (rows - 1)), colour)
    for i in range(rows):
        for j in range(columns):
            result.paste(image.crop((xs[j], ys[i], xs[j + 1], ys[i + 1])), (xs[j] + j * gutter, ys[i] + i * gutter))
    return result


def grid(tiles: list[Image.Image], columns: int, gutter: int) -> Image.Image:
    width, height = tiles[0].size
    rows = len(tiles) // columns
    size = (columns * (width + gutter) - gutter, rows * (height + gutter) - gutter)
    result = Image.new("RGB", size, "white")
    for i, tile in enumerate(tiles):
        result.paste(tile, (i % columns * (width + gutter), i // columns * (height + gutter)))
    return result


def by_name(image: Image.Image) -> dict[str, View]:
    found = views(image)
    assert found[0].name == "whole"
    assert found[0].box == (0, 0, *image.size)
    assert found[0].of(image) is image
    named = {view.name: view for view in found}
    assert len(named) == len(found), "names are unique"
    for view in found:
        assert view.of(image).size == view.sides[::-1]
        assert min(view.sides) > 0
    return named


def near(box: tuple[int, ...], expected: tuple[int, ...], by: int) -> bool:
    return all(abs(a - b) <= by for a, b in zip(box, expected, strict=True))


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (300, 300), (1120, 630), (999, 500), (30, 20), (1, 1)])
def test_an_ordinary_picture_has_one_view(size: tuple[int, int]) -> None:
    assert list(by_name(scene(*size))) == ["whole"]
    assert list(by_name(jpeg(scene(*size), 60))) == ["whole"]


@pytest.mark.parametrize("image", [Image.new("RGB", (400, 300), "red"), Image.new("RGB", (900, 30), "white")])
def test_one_colour_has_one_view(image: Image.Image) -> None:
    assert list(by_name(image)) == ["whole"]


@pytest.mark.parametrize("colour", ["white", "black", (90, 20, 160)])
@pytest.mark.parametrize("border", [(40, 40, 40, 40), (0, 60, 0, 60), (70, 0, 0, 0), (30, 90, 33, 20)])
def test_border(colour: str, border: tuple[int, int, int, int]) -> None:
    inner = scene(400, 300)
    framed = ImageOps.expand(inner, border, colour)
    expected = (border[0], border[1], border[0] + 400, border[1] + 300)
    view = by_name(framed)["without border"]
    assert view.box == expected
    assert view.of(framed).tobytes() == inner.tobytes()
    for quality in (90, 75, 50):
        assert near(by_name(jpeg(framed, quality))["without border"].box, expected, 8)


def test_border_inside_a_border_and_specks_of_dust() -> None:
    inner = scene(400, 300)
    framed = ImageOps.expand(ImageOps.expand(ImageOps.expand(inner, 6, "white"), 30, "black"), (9, 80, 60, 20), "white")
    assert by_name(framed)["without border"].of(framed).tobytes() == inner.tobytes()
    pixels = np.array(ImageOps.expand(inner, 60, "white"))
    pixels[rng.integers(0, 60, 40), rng.integers(0, 520, 40)] = 0
    assert near(by_name(Image.fromarray(pixels))["without border"].box, (60, 60, 460, 360), 1)


def test_borders_that_are_no_borders() -> None:
    assert "without border" not in by_name(ImageOps.expand(scene(400, 300), 2, "white")), "too thin to matter"
    noisy = Image.fromarray(rng.integers(0, 256, (420, 520, 3), dtype=np.uint8))
    noisy.paste(scene(400, 300), (60, 60))
    assert list(by_name(noisy)) == ["whole"]


def test_the_picture_s_own_plain_background_is_a_margin_and_no_border() -> None:
    studio = Image.new("RGB", (400, 400), (200, 205, 210))
    ImageDraw.Draw(studio).ellipse((170, 120, 240, 280), fill=(150, 90, 60))
    studio.paste(scene(40, 60), (185, 170))
    named = by_name(studio)
    assert "without border" not in named
    assert near(named["without margin"].box, (170, 120, 241, 281), 25)
    framed = ImageOps.expand(studio, 50, "black")
    assert by_name(framed)["without border"].of(framed).tobytes() == studio.tobytes(), "its background stays with it"


@pytest.mark.parametrize("gutter", [2, 8, 40])
def test_grid(gutter: int) -> None:
    tiles = [scene(160, 120, seed) for seed in range(9)]
    picture = grid(tiles, 3, gutter)
    named = by_name(ImageOps.expand(picture, 30, "white"))
    found = [view.of(ImageOps.expand(picture, 30, "white")) for name, view in named.items() if name.startswith("tile")]
    assert [tile.tobytes() for tile in found] == [tile.tobytes() for tile in tiles], "in the order of reading"
    assert list(named)[:3] == ["whole", "without border", "without gutters"]
    assert list(named)[-1] == "tile 9 of 9"
    assert [name for name in by_name(jpeg(picture, 60)) if name.startswith("tile")][-1] == "tile 9 of 9"


def test_grid_without_gutters_is_cut_at_its_seams() -> None:
    tiles = [
        Image.fromarray(np.clip(np.asarray(scene(160, 120, i)) // 3 + 160 * (i % 2), 0, 255).astype(np.uint8))
        for i in range(9)
    ]
    named = by_name(grid(tiles, 3, 0))
    boxes = [view.box for name, view in named.items() if name.startswith("tile")]
    assert len(boxes) == 9
    for i, box in enumerate(boxes):
        x, y = i % 3 * 160, i // 3 * 120
        assert near(box, (x, y, x + 160, y + 120), 2)


def test_rows_of_different_tiles() -> None:
    page = Image.new("RGB", (420, 420), "white")
    for i, box in enumerate([(0, 0, 420, 200), (0, 220, 130, 420), (150, 220, 420, 420)]):
        page.paste(scene(box[2] - box[0], box[3] - box[1], i), box)
    tiles = [view.box for name, view in by_name(page).items() if name.startswith("tile")]
    assert tiles == [(0, 0, 420, 200), (0, 220, 130, 420), (150, 220, 420, 420)]


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 3), (1, 2), (20, 1), (5, 7)])
@pytest.mark.parametrize("colour", ["white", "black", "lime"])
def test_a_picture_cut_apart_is_put_together_again(rows: int, columns: int, colour: str) -> None:
    whole = scene(420, 400)
    apart = cut(whole, rows, columns, 6, colour)
    assert by_name(apart)["without gutters"].of(apart).tobytes() == whole.tobytes()


def test_the_number_of_views_is_bounded() -> None:
    many = by_name(grid([scene(60, 60, i) for i in range(100)], 10, 4))
    assert sum(name.startswith("tile") for name in many) == MAX_TILES
    long = by_name(scene(100, 9000))
    crops = [view for name, view in long.items() if name.startswith("crop")]
    assert len(crops) == MAX_CROPS
    assert all(view.sides[0] > view.sides[1] for view in crops), "fewer, longer crops"
    assert crops[0].rows[0][0] == 0
    assert crops[-1].rows[0][1] == 9000


@pytest.mark.parametrize(("size", "count"), [((1010, 500), 3), ((500, 2000), 6), ((900, 300), 4)])
def test_wide_and_tall_pictures_are_cropped(size: tuple[int, int], count: int) -> None:
    named = by_name(scene(*size))
    crops = [view.box for name, view in named.items() if name.startswith("crop")]
    assert list(named) == ["whole", *[f"crop {i + 1} of {count}" for i in range(count)]]
    axis = 0 if size[0] > size[1] else 1
    for before, after in itertools.pairwise(crops):
        assert before[2 + axis] - after[axis] >= min(size) / 3 - 1, "a third of it lies in the next as well"
    assert crops[0][:2] == (0, 0)
    assert crops[-1][2:] == size


def test_crops_of_a_strip_within_a_border_or_cut_apart() -> None:
    strip = scene(900, 300)
    squared = ImageOps.expand(strip, (0, 300, 0, 300), "white")
    first = by_name(squared)["crop 1 of 4"]
    assert first.of(squared).tobytes() == strip.crop((0, 0, 300, 300)).tobytes()
    apart = cut(strip, 1, 7, 10)
    assert by_name(apart)["crop 1 of 4"].of(apart).tobytes() == strip.crop((0, 0, 300, 300)).tobytes()


def test_large_pictures_are_searched_in_a_reduced_copy() -> None:
    framed = ImageOps.expand(scene(1200, 750).resize((4800, 3000), Image.Resampling.NEAREST), 200, "white")
    assert max(framed.size) > 4 * MAX_LINES
    assert near(by_name(framed)["without border"].box, (200, 200, 5000, 3200), 12)


# --- with the network ---


@pytest.fixture(scope="module")
def opinion() -> OpenNSFW:
    try:
        return OpenNSFW(threads=1)
    except ModelError as error:
        pytest.skip(str(error))


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def test_whole_is_yahoo_s_score_and_nothing_says_less(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    picture = opened(mannequins[14])
    framed = ImageOps.expand(picture, 128, "white")
    for image in (framed, cut(picture, 2, 2, 12)):
        looked, score = opinion.look(image), opinion.score(image)
        assert looked.views["whole"] == score
        assert looked.score == max(looked.views.values()) >= score


@pytest.mark.parametrize("index", [14, *(pytest.param(i, marks=pytest.mark.slow) for i in (2, 18))])
def test_borders_and_gutters_do_not_hide(index: int, opinion: OpenNSFW, mannequins: list[Path]) -> None:
    picture = opened(mannequins[index])
    score = opinion.score(picture)
    assert score > 0.7
    hidden = {
        "border": ImageOps.expand(picture, 128, "white"),
        "black border": ImageOps.expand(picture, 256, "black"),
        "gutters": cut(picture, 2, 2, 12),
        "blinds": cut(picture, 30, 1, 6),
        "both": ImageOps.expand(cut(picture, 3, 3, 12), 90, "black"),
    }
    for name, image in hidden.items():
        looked = opinion.look(image)
        assert looked.views["whole"] < score or name == "gutters"
        assert looked.score > score - 0.03, name
        assert looked.decided_by != "whole"


@pytest.mark.slow
def test_one_of_nine_and_one_of_a_strip_are_seen(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    nude = opened(mannequins[5])
    tiles = [scene(200, 200, i) for i in range(9)]
    harmless = opinion.look(grid(tiles, 3, 8))
    assert harmless.score < 0.2
    tiles[4] = nude.resize((200, 200))
    looked = opinion.look(grid(tiles, 3, 8))
    assert looked.views["whole"] < 0.2 < 0.9 < looked.score
    assert looked.decided_by == "tile 5 of 9"
    strip = scene(1800, 720)
    strip.paste(nude, (0, 0))
    looked = opinion.look(strip)
    assert looked.views["whole"] < 0.9 < looked.score
    assert looked.decided_by != "whole"


def test_an_ordinary_picture_is_looked_at_once(
    opinion: OpenNSFW, mannequins: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    run = opinion.probabilities
    monkeypatch.setattr(opinion, "probabilities", lambda inputs: runs.append(len(inputs)) or run(inputs))
    looked = opinion.look(opened(mannequins[20]))
    assert runs == [1]
    assert dict(looked.views) == {"whole": looked.score}
    assert opinion.look([scene(64, 48), scene(48, 64, 1)])[1].decided_by == "whole"
    assert opinion.look([]) == []


def test_transparent_borders_are_looked_at_over_every_ground(opinion: OpenNSFW, mannequins: list[Path]) -> None:
    picture = opened(mannequins[2]).convert("RGBA")
    framed = Image.new("RGBA", (900, 800), (255, 255, 255, 0))
    framed.paste(picture, (130, 160))
    looked = opinion.look(framed)
    assert looked.views["whole"] == opinion.score(framed)
    assert looked.score > opinion.score(opened(mannequins[2])) - 0.03
    assert looked.decided_by != "whole"
