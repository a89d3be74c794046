"""What lies behind the bodies: drawn patterns, rooms, textures that resemble skin, and photographs without people."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.errors import UsageError
from detector.nearest import nearest
from detector.synth.photographs import photographs, read_photograph

__all__ = ["BACKGROUNDS", "background", "noise_field"]

Floats = NDArray[np.float32]
Size = tuple[int, int]
# Linear RGB of human skin from dark to light, for things that only look like it.
_SKIN = np.array([[0.05, 0.025, 0.015], [0.25, 0.12, 0.07], [0.50, 0.28, 0.19], [0.80, 0.55, 0.43]])


def background(image_size: Size, rng: np.random.Generator, kind: str | None = None, *, kinds: str = "all") -> Floats:
    """Return a background (H, W, 3), finite linear RGB in [0, 1].

    Args:
        image_size: (height, width).
        rng: draws the kind, when it is not given, and all else.
        kind: one of `BACKGROUNDS`; "photograph" is a "bokeh" where no such file is installed.
        kinds: which of the photographs: see `detector.synth.withheld`.

    Raises:
        UsageError: for an unknown kind.
    """
    if kind is None:
        names = list(BACKGROUNDS)
        weights = np.array([4.0 if name == "photograph" else 2.0 if name == "room" else 1.0 for name in names])
        kind = str(rng.choice(names, p=weights / weights.sum()))
    if kind not in BACKGROUNDS:
        raise UsageError(
            f"background must be one of {', '.join(BACKGROUNDS)}; got {kind!r}{nearest(kind, BACKGROUNDS)}"
        )
    picture = _photograph(image_size, rng, kinds) if kind == "photograph" else BACKGROUNDS[kind](image_size, rng)
    if rng.random() < 0.3:
        # Out of focus, as behind a near subject.
        picture = _blurred(picture, max(image_size) * rng.uniform(0.003, 0.03))
    return np.asarray(picture.reshape(*image_size, 3).clip(0, 1), dtype=np.float32)


def noise_field(
    image_size: Size, rng: np.random.Generator, *, cells: float, octaves: int = 4, stretch: float = 1.0
) -> Floats:
    """Return smooth noise (H, W) in [0, 1]: `octaves` layers, each twice as fine and half as strong.

    Args:
        image_size: (height, width).
        rng: draws the grids.
        cells: of the coarsest layer along the long side.
        octaves: at least 1.
        stretch: how many times longer a cell is across than down: grain of wood, weave, fur.
    """
    height, width = image_size
    total, share = np.zeros(image_size, np.float32), 0.0
    for octave in range(octaves):
        fine = cells * 2**octave / max(image_size)
        grid = (int(np.ceil(height * fine * stretch)) + 2, int(np.ceil(width * fine / stretch)) + 2)
        grid = (min(grid[0], height + 2), min(grid[1], width + 2))
        layer = cv2.resize(rng.random(grid, dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        total += layer.reshape(image_size) * np.float32(0.5**octave)
        share += 0.5**octave
    return np.asarray((total / share).clip(0, 1), dtype=np.float32)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a colour; muted ones are as likely as in photographs of rooms and streets."""
    grey = rng.uniform(0.02, 0.9)
    colour = grey + (rng.random(3) - 0.5) * rng.choice([0.05, 0.2, 0.9])
    return np.asarray(colour.clip(0, 1), dtype=np.float64)


def _skin_tone(rng: np.random.Generator) -> NDArray[np.float64]:
    place = rng.uniform(0, len(_SKIN) - 1)
    steps = np.arange(len(_SKIN))
    return np.array([np.interp(place, steps, channel) for channel in _SKIN.T])


def _blend(share: Floats, first: ArrayLike, second: ArrayLike) -> Floats:
    return np.asarray(np.asarray(first) + share[:, :, None] * np.subtract(second, first), dtype=np.float32)


def _blurred(picture: Floats, spread: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), spread), dtype=np.float32)


def _gradient(size: Size, rng: np.random.Generator) -> Floats:
    y, x = np.indices(size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x / size[1] - 0.5) * np.cos(angle) + (y / size[0] - 0.5) * np.sin(angle) + 0.5
    if rng.random() < 0.4:
        ramp = np.hypot(x / size[1] - rng.random(), y / size[0] - rng.random())
    return _blend(ramp.astype(np.float32).clip(0, 1), _colour(rng), _colour(rng))


def _clouds(size: Size, rng: np.random.Generator) -> Floats:
    share = noise_field(size, rng, cells=rng.uniform(2, 20), octaves=5)
    return _blend(((share - 0.5) * rng.uniform(1, 4) + 0.5).clip(0, 1), _colour(rng), _colour(rng))


def _stripes(size: Size, rng: np.random.Generator) -> Floats:
    y, x = np.indices(size, dtype=np.float32)
    angle, pitch = rng.uniform(0, np.pi), max(size) / rng.uniform(3, 40)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / pitch + rng.uniform(0, 6))
    if rng.random() < 0.4:
        wave *= np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / pitch)  # a check
    return _blend((wave * rng.uniform(0.5, 20) + 0.5).clip(0, 1).astype(np.float32), _colour(rng), _colour(rng))


def _wood(size: Size, rng: np.random.Generator) -> Floats:
    grain = noise_field(size, rng, cells=rng.uniform(2, 6), octaves=5, stretch=rng.uniform(3, 8))
    rings = np.abs(np.sin(grain * rng.uniform(10, 40)))
    picture = _blend(rings.astype(np.float32), _skin_tone(rng), np.array([0.22, 0.10, 0.04]) * rng.uniform(0.3, 1.5))
    plank = max(4, int(size[0] / rng.uniform(2, 7)))
    picture[::plank] *= 0.4
    return np.asarray(np.rot90(picture).copy() if size[0] == size[1] and rng.random() < 0.5 else picture)


def _sand(size: Size, rng: np.random.Generator) -> Floats:
    dunes = noise_field(size, rng, cells=3, octaves=3, stretch=2.5)
    grains = rng.random(size, dtype=np.float32)
    share = (0.7 * dunes + 0.3 * grains).astype(np.float32)
    return _blend(share, np.array([0.35, 0.24, 0.14]) * rng.uniform(0.7, 1.2), np.array([0.80, 0.65, 0.45]))


def _skin_like(size: Size, rng: np.random.Generator) -> Floats:
    """Rounded folds in the colours of skin: leather, dough, animals' bellies, and no body."""
    share = noise_field(size, rng, cells=rng.uniform(1.5, 6), octaves=2)
    even = _blurred(share, max(size) / 60)
    slope_y, slope_x = cv2.Sobel(even, -1, 0, 1, scale=1 / 8), cv2.Sobel(even, -1, 1, 0, scale=1 / 8)
    light = 0.75 + np.clip(slope_x * rng.normal() + slope_y * rng.normal(), -0.02, 0.02) * max(size) * 0.1
    tone = _skin_tone(rng)
    mottled = _blend(noise_field(size, rng, cells=30, octaves=3), tone * 0.85, np.minimum(tone * 1.15, 1))
    return np.asarray(mottled * light[:, :, None], dtype=np.float32)


def _fur(size: Size, rng: np.random.Generator) -> Floats:
    hairs = noise_field(size, rng, cells=max(size) / 10, octaves=3, stretch=rng.uniform(2, 6))
    turn = noise_field(size, rng, cells=3, octaves=2) * np.float32(rng.uniform(10, 60))
    y, x = np.indices(size, dtype=np.float32)
    bent = cv2.remap(hairs, x + turn, y - turn, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    patches = (noise_field(size, rng, cells=4, octaves=2) > rng.uniform(0.35, 0.7)).astype(np.float32)
    patches = _blurred(patches, 3)
    coat = _blend(patches, _skin_tone(rng), _colour(rng))
    return np.asarray(coat * (0.35 + 0.9 * bent[:, :, None]), dtype=np.float32)


def _food(size: Size, rng: np.random.Generator) -> Floats:
    """Round things in warm colours, lit from one side: buns, fruit, eggs."""
    picture = _clouds(size, rng)
    y, x = np.indices(size, dtype=np.float32)
    for _ in range(int(rng.integers(3, 25))):
        radius = max(size) * rng.uniform(0.03, 0.2)
        cx, cy = rng.random() * size[1], rng.random() * size[0]
        across, down = (x - cx) / radius, (y - cy) / (radius * rng.uniform(0.6, 1.0))
        square = across**2 + down**2
        dome = np.sqrt(np.maximum(1 - square, 0))
        light = (0.35 + 0.65 * (dome * 0.8 - 0.4 * across - 0.4 * down)).clip(0.1, 1.2)
        colour = _skin_tone(rng) if rng.random() < 0.6 else np.array([0.7, rng.uniform(0.02, 0.5), 0.03])
        edge = ((1 - square) * radius / 3).clip(0, 1)[:, :, None]
        picture = np.asarray(picture * (1 - edge) + edge * light[:, :, None] * colour, np.float32)
    return picture


def _clutter(size: Size, rng: np.random.Generator) -> Floats:
    """Boxes, discs, lines and letters: shelves, posters, screens."""
    picture: Floats = np.ascontiguousarray(_gradient(size, rng))
    height, width = size
    for _ in range(int(rng.integers(8, 50))):
        colour = tuple(float(c) for c in _colour(rng))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        span = int(max(size) * rng.uniform(0.02, 0.3)) + 2
        shape = rng.integers(0, 4)
        if shape == 0:
            cv2.rectangle(picture, (x, y), (x + span, y + int(span * rng.uniform(0.2, 2))), colour, -1, cv2.LINE_AA)
        elif shape == 1:
            cv2.circle(picture, (x, y), span // 2, colour, -1, cv2.LINE_AA)
        elif shape == 2:
            cv2.line(picture, (x, y), (x + span, y + int(rng.integers(-span, span))), colour, 2, cv2.LINE_AA)
        else:
            text = "".join(chr(int(c)) for c in rng.integers(48, 123, int(rng.integers(3, 12))))
            ink = np.zeros(size, np.uint8)  # OpenCV 5 writes on bytes only
            cv2.putText(ink, text, (x - span, y), cv2.FONT_HERSHEY_SIMPLEX, span / 60 + 0.2, 255, 1, cv2.LINE_AA)
            picture = _blend(np.asarray(ink / 255, np.float32), picture, np.array(colour))
    return picture


def _room(size: Size, rng: np.random.Generator) -> Floats:
    """A wall and a floor, maybe a skirting board and a window or picture; the floor gets darker to the back."""
    height, width = size
    wall = _blend(noise_field(size, rng, cells=rng.uniform(3, 60), octaves=3), _colour(rng), _colour(rng))
    wall = 0.8 * wall.mean(axis=(0, 1)) + 0.2 * wall
    line = int(height * rng.uniform(0.5, 0.95))
    floors = (_wood, _sand, _stripes, _clouds)
    floor = floors[int(rng.integers(len(floors)))]((height, width), rng)
    picture = wall.astype(np.float32)
    if rng.random() < 0.5:
        x, y = int(rng.integers(-width // 4, width)), int(rng.integers(-height // 4, max(line // 2, 1)))
        corner = (x + int(width * rng.uniform(0.15, 0.5)), y + int(height * rng.uniform(0.15, 0.4)))
        cv2.rectangle(picture, (x, y), corner, tuple(float(c) for c in _colour(rng)), -1)
        cv2.rectangle(picture, (x, y), corner, tuple(float(c) for c in _colour(rng) * 0.5), max(1, width // 100))
    fade = np.linspace(0.65, 1.0, height - line, dtype=np.float32)[:, None, None]
    picture[line:] = floor[: height - line] * fade
    if rng.random() < 0.6:
        picture[max(0, line - height // 40) : line] = _colour(rng)
    return np.asarray(picture * _vignette(size, rng), dtype=np.float32)


def _vignette(size: Size, rng: np.random.Generator) -> Floats:
    y, x = np.indices(size, dtype=np.float32)
    far = np.hypot(x / size[1] - rng.uniform(0.2, 0.8), y / size[0] - rng.uniform(0.2, 0.8))
    return np.asarray((1 - rng.uniform(0, 0.7) * far[:, :, None]).clip(0.2, 1), dtype=np.float32)


def _bokeh(size: Size, rng: np.random.Generator) -> Floats:
    picture = np.ascontiguousarray(_gradient(size, rng) * np.float32(rng.uniform(0.2, 0.8)))
    for _ in range(int(rng.integers(10, 60))):
        layer = np.zeros_like(picture)
        at = (int(rng.integers(0, size[1])), int(rng.integers(0, size[0])))
        cv2.circle(
            layer, at, int(max(size) * rng.uniform(0.01, 0.07)) + 1, tuple(map(float, _colour(rng))), -1, cv2.LINE_AA
        )
        picture += layer * np.float32(rng.uniform(0.2, 0.8))
    return _blurred(picture, max(size) * rng.uniform(0.003, 0.012))


def _photograph(size: Size, rng: np.random.Generator, kinds: str = "all") -> Floats:
    found = photographs(kinds)
    picture = read_photograph(found[int(rng.integers(len(found)))]) if found else None
    if picture is None:
        return _bokeh(size, rng)
    height, width = picture.shape[:2]
    # A crop of the wanted aspect, between a third and all of what fits.
    most = min(height / size[0], width / size[1])
    scale = most * rng.uniform(0.35, 1.0)
    crop = (max(1, int(size[0] * scale)), max(1, int(size[1] * scale)))
    top, left = int(rng.integers(0, height - crop[0] + 1)), int(rng.integers(0, width - crop[1] + 1))
    part = picture[top : top + crop[0], left : left + crop[1]]
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    fitted = cv2.resize(part, (size[1], size[0]), interpolation=how)
    if rng.random() < 0.5:
        fitted = fitted[:, ::-1]
    return np.asarray((fitted.astype(np.float32) / 255) ** 2.2 * rng.uniform(0.5, 1.2), dtype=np.float32)


BACKGROUNDS: dict[str, Callable[[Size, np.random.Generator], Floats]] = {
    "bokeh": _bokeh,
    "clouds": _clouds,
    "clutter": _clutter,
    "food": _food,
    "fur": _fur,
    "gradient": _gradient,
    "photograph": _photograph,
    "room": _room,
    "sand": _sand,
    "skin": _skin_like,
    "stripes": _stripes,
    "wood": _wood,
}
