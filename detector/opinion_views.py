"""Which views of a picture a whole-picture classifier looks at: all of it, without borders and gutters, crops, tiles.

Yahoo's open_nsfw squashes whatever it gets to a square. A border makes what it shows smaller, a grid smaller still, and
a wide or tall picture is distorted. So parts of the picture are looked at as well, where there is a reason to:

| what is found | views besides `whole` | decides |
|---|---|---|
| nothing: an ordinary picture | none | `whole` |
| flat lines around it that look drawn, one border inside another | `without border` | the highest score |
| flat lines around what it shows: its own plain background | `without margin` | the highest score |
| flat lines through it that look drawn: gutters | `without gutters`, pushed together | the highest score |
| several pictures between flat lines, or meeting at straight seams | `tile 1 of n` … | the highest score |
| a long side of more than twice the short one | `crop 1 of n` … | the highest score |

**Why `whole` is never left out.** The highest score of all decides, so `look` never says less than `score`, whoever
made the picture. Letting the parts replace the whole would let anybody lower the verdict with a few straight lines: of
a rendered nude cut into 2 x 2 by white gutters, which scored .81 uncut, the highest tile had .07. `without gutters` is
there for the same reason: pushed together, the parts are that picture again. The price: a grid or a border that raises
the score wrongly still does (`Opinion.views` shows it), and the highest of many scores is above each of them.
Measured, grids of harmless photographs did not score high (whole .00 to .06), while one rendered nude among eight of
them went unseen in the whole (.00 to .06) and not in its tile (.99).

**What is not found** is judged as before: borders of noise, patterns, slopes or writing; gutters that are not
straight; a border in the colour of the picture's own background, but for `without margin`; pictures pasted beside
others where the whole is not over twice as wide as tall and no straight seam shows; tiles beyond the largest 25.

Only a sample of each line is looked at to find the views (`opinion_lines.py`), which takes a fraction of the time of
preparing one for the network, so an ordinary picture costs what it did before or little more. That a sample can be
fooled does no harm: views are only ever added.
"""

import math
from dataclasses import dataclass, replace

from PIL import Image

from detector.opinion import WHOLE_VIEW
from detector.opinion_lines import AXES, Area, LineCopy, Span, between_gutters, pieces, trimmed, without_border

__all__ = ["View", "views"]

# What is left out is worth a view of its own when it takes this share of a side.
MIN_LEFT_OUT = 0.02

# Nothing smaller is looked at by itself: the network would see a few blurred pixels.
MIN_SIDE = 24
# Of the picture within its border: smaller pieces are lines of writing, icons and the like.
MIN_TILE = 1 / 12
MAX_TILES = 25

MAX_ASPECT = 2.0
# Crops overlap by a third, so that what one cuts in two lies well inside of the next.
CROP_STEP = 2 / 3
MAX_CROPS = 16


@dataclass(frozen=True, kw_only=True)
class View:
    """A part of a picture: the rows and columns that are kept, pushed together where something between is left out.

    Attributes:
        name: `whole`, `without border`, `without gutters`, `tile 1 of 9`, `crop 1 of 3`, ….
        rows: (first, after the last) of each kept run of rows, in order.
        columns: the same for columns.
    """

    name: str
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The smallest xyxy box, in pixels of the picture, that holds the view."""
        return self.columns[0][0], self.rows[0][0], self.columns[-1][1], self.rows[-1][1]

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the view's pixels."""
        return sum(end - start for start, end in self.rows), sum(end - start for start, end in self.columns)

    def of(self, image: Image.Image) -> Image.Image:
        """Return the view's pixels; the picture itself, not a copy, where the view is all of it."""
        if self.box == (0, 0, *image.size) and len(self.rows) == len(self.columns) == 1:
            return image
        if len(self.rows) == len(self.columns) == 1:
            return image.crop(self.box)
        joined = Image.new(image.mode, self.sides[::-1])
        y = 0
        for top, bottom in self.rows:
            x = 0
            for left, right in self.columns:
                joined.paste(image.crop((left, top, right, bottom)), (x, y))
                x += right - left
            y += bottom - top
        return joined


def views(image: Image.Image) -> list[View]:
    """Return the views to look at, `whole` first.

    Args:
        image: mode RGB, at any size.

    Returns:
        One view of an ordinary picture; at most 4, 16 crops and 25 tiles of others. Names are unique.
    """
    copy = LineCopy(image)
    whole = _view(WHOLE_VIEW, copy, copy.whole)
    closest = trimmed(copy, copy.whole)
    if closest is None:
        return [whole]  # nothing but one colour, or next to nothing: no part says more than the whole
    found = [whole]
    area, inner = copy.whole, whole
    unframed = without_border(copy, copy.whole)
    if _worth_it(_view("without border", copy, unframed), whole):
        area, inner = unframed, _view("without border", copy, unframed)
        found.append(inner)
    margin = _view("without margin", copy, closest)
    if _worth_it(margin, inner):
        found.append(margin)
    rows, columns = (copy.spans(between_gutters(copy, area, axis), axis) for axis in AXES)
    joined = View(name="without gutters", rows=rows, columns=columns)
    cut_apart = len(rows) > 1 or len(columns) > 1
    if cut_apart:
        found.append(joined)
    return found + _crops(joined if cut_apart else inner) + _tiles(copy, area, inner)


def _view(name: str, copy: LineCopy, area: Area) -> View:
    return View(name=name, rows=copy.spans((area.rows,), 0), columns=copy.spans((area.columns,), 1))


def _worth_it(inner: View, whole: View) -> bool:
    """Whether what is left out is enough to matter, and what is left is enough to look at."""
    pairs = list(zip(inner.sides, whole.sides, strict=True))
    return min(inner.sides) >= MIN_SIDE and any(left < given * (1 - MIN_LEFT_OUT) for left, given in pairs)


def _tiles(copy: LineCopy, area: Area, inner: View) -> list[View]:
    """Return the pictures that an area is put together from; none where it is one picture."""
    least = [max(MIN_SIDE, MIN_TILE * side) for side in inner.sides]
    tiles = [_view("tile", copy, piece) for piece in pieces(copy, area)]
    tiles = [tile for tile in tiles if tile.sides[0] >= least[0] and tile.sides[1] >= least[1]]
    if len(tiles) < 2:
        return []
    kept = sorted(tiles, key=lambda tile: math.prod(tile.sides), reverse=True)[:MAX_TILES]
    tiles = [tile for tile in tiles if tile in kept]
    return [replace(tile, name=f"tile {i} of {len(tiles)}") for i, tile in enumerate(tiles, 1)]


def _crops(base: View) -> list[View]:
    """Return overlapping square crops along the long side, where it is more than twice the short one.

    Of more than 16 squares, all crops get longer instead.
    """
    long, short = max(base.sides), min(base.sides)
    if long <= MAX_ASPECT * short or short < MIN_SIDE:
        return []
    wide = base.sides[1] == long
    side = max(short, math.ceil(long / (1 + (MAX_CROPS - 1) * CROP_STEP)))
    count = math.ceil((long - side) / (side * CROP_STEP)) + 1
    crops = []
    for index in range(count):
        first = round((long - side) * index / (count - 1))
        part = _part(base.columns if wide else base.rows, first, first + side)
        name = f"crop {index + 1} of {count}"
        crops.append(replace(base, name=name, columns=part) if wide else replace(base, name=name, rows=part))
    return crops


def _part(spans: tuple[Span, ...], first: int, last: int) -> tuple[Span, ...]:
    """Return what lies between two places counted along the spans pushed together."""
    part, passed = [], 0
    for start, end in spans:
        a, b = max(start, start + first - passed), min(end, start + last - passed)
        if a < b:
            part.append((a, b))
        passed += end - start
    return tuple(part)
