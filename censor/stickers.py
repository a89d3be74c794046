"""Stickers: pictures that are laid over what is hidden, drawn here or read from a file that nobody has to trust."""

import functools
import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from PIL import Image, ImageDraw

from detector.errors import InputError, PolicyError
from detector.limits import Limits
from detector.nearest import nearest
from detector.picture import Picture

__all__ = ["KEPT_SIDE", "STICKERS", "Sticker", "load_sticker"]

# A sticker is decoded once and kept; nobody needs a larger one.
LIMITS = Limits(max_bytes=20 << 20, max_pixels=16_000_000, max_side=8_000)
# Longest side that is kept: larger pictures are reduced when they are read.
KEPT_SIDE = 1024
# Drawn at four times the size and reduced, which smooths the edges.
DRAWN_SIDE, OVERSAMPLING = 256, 4

CLEAR = (0, 0, 0, 0)
YELLOW, RED, INK = (255, 204, 51, 255), (221, 46, 68, 255), (102, 69, 0, 255)


@dataclass(frozen=True)
class Sticker:
    """A picture to lay over a region. Two are equal when their pixels are.

    Attributes:
        name: as it was asked for: one of `STICKERS`, or a path.
        sha256: of its size and pixels.
        image: mode RGBA; not to be changed.
    """

    name: str = field(compare=False)
    sha256: str
    image: Image.Image = field(compare=False, repr=False)

    @functools.cached_property
    def grey(self) -> bool:
        """Whether no pixel has a colour, so that it can be laid over a grey picture."""
        pixels = np.asarray(self.image)
        return bool((pixels[:, :, :2] == pixels[:, :, 1:3]).all())

    @classmethod
    def of(cls, name: str, image: Image.Image) -> "Sticker":
        """Keep a picture of any mode as a sticker, reduced where it is very large."""
        image = image.convert("RGBA")
        image.thumbnail((KEPT_SIDE, KEPT_SIDE), Image.Resampling.LANCZOS)
        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        return cls(name, digest, image)

    def on(self, colour: tuple[int, int, int]) -> Image.Image:
        """Return it as an opaque RGB picture: transparent parts show the colour and nothing else."""
        ground = Image.new("RGBA", self.image.size, (*colour, 255))
        return Image.alpha_composite(ground, self.image).convert("RGB")


def load_sticker(name: str | os.PathLike[str]) -> Sticker:
    """Return a drawn sticker by its name or emoji, or read one from a picture file.

    Args:
        name: one of `STICKERS` or its emoji; or a path: whatever has a suffix or a folder in it.

    Raises:
        PolicyError: for an unknown name, with the nearest named, and for a file that cannot be read, is no picture
            or is larger than 20 MB, 16 megapixels or 8,000 pixels a side.
    """
    text = os.fsdecode(name) if isinstance(name, str | os.PathLike) else ""
    word = EMOJIS.get(text.strip().removesuffix("\ufe0f"), text.strip().lower())
    if word in _DRAWINGS:
        return _drawn(word)
    path = PurePath(text)
    if not text or (not path.suffix and len(path.parts) < 2):
        raise PolicyError(
            f"a sticker must be one of {', '.join(STICKERS)}, or a picture file such as sticker.png; got {name!r}"
            f"{nearest(word, STICKERS)}"
        )
    try:
        return Sticker.of(text, Picture.open(text, limits=LIMITS).load())
    except InputError as error:
        raise PolicyError(f"a sticker must be a picture file that can be read; {error}") from error


@functools.cache
def _drawn(name: str) -> Sticker:
    side = DRAWN_SIDE * OVERSAMPLING
    image = Image.new("RGBA", (side, side), CLEAR)
    _DRAWINGS[name](ImageDraw.Draw(image), side)
    return Sticker.of(name, image.resize((DRAWN_SIDE, DRAWN_SIDE), Image.Resampling.BOX))


def _heart(draw: ImageDraw.ImageDraw, side: int) -> None:
    """Draw a heart from side to side.

    Source:
        the "heart curve" 16 sin³t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t (Weisstein, MathWorld).
    """
    points = []
    for step in range(720):
        t = math.radians(step / 2)
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((side / 2 + x * side / 33, side * 0.46 - y * side / 33))
    draw.polygon(points, fill=RED)


def _smiley(draw: ImageDraw.ImageDraw, side: int) -> None:
    draw.ellipse((0, 0, side - 1, side - 1), fill=YELLOW)
    for middle in (0.34, 0.66):
        draw.ellipse((side * (middle - 0.06), side * 0.28, side * (middle + 0.06), side * 0.48), fill=INK)
    draw.chord((side * 0.22, side * 0.3, side * 0.78, side * 0.82), 15, 165, fill=INK)


def _star(draw: ImageDraw.ImageDraw, side: int) -> None:
    points = []
    for corner in range(10):
        radius = side * (0.52 if corner % 2 == 0 else 0.22)
        angle = math.radians(36 * corner - 90)
        points.append((side / 2 + radius * math.cos(angle), side * 0.53 + radius * math.sin(angle)))
    draw.polygon(points, fill=YELLOW)


_DRAWINGS: dict[str, Callable[[ImageDraw.ImageDraw, int], None]] = {"heart": _heart, "smiley": _smiley, "star": _star}
STICKERS = tuple(_DRAWINGS)
EMOJIS = {"❤": "heart", "🙂": "smiley", "😀": "smiley", "☺": "smiley", "⭐": "star"}
