"""Five classes of drawn pictures, shapes and textures, for the tests of the whole-picture classifier."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circles", "ramps", "stripes", "checks", "noise")
# What a run of these needs to know of them; two of the five stand for what is not safe.
MODEL = (
    'model.classes=["circles", "ramps", "stripes", "checks", "noise"]',
    'model.nsfw_classes=["stripes", "checks"]',
)


def drawn(name: str, seed: int, side: int = 64) -> Image.Image:
    """Draw one picture of a class: colours, places, sizes and angles by chance."""
    chance = np.random.default_rng([CLASSES.index(name), seed])
    ground, colour = (tuple(int(v) for v in chance.integers(low, low + 96, 3)) for low in chance.permutation([10, 150]))
    image = Image.new("RGB", (2 * side, 2 * side), ground)
    draw = ImageDraw.Draw(image)
    pitch = int(chance.integers(side // 4, side // 2))
    if name == "noise":
        return Image.fromarray(np.where(chance.random((side, side, 1)) < 0.5, ground, colour).astype(np.uint8))
    for x in range(0, 2 * side, pitch):
        if name == "stripes":
            draw.rectangle((x, 0, x + pitch // 2, 2 * side), fill=colour)
        elif name == "checks":
            for y in range(0, 2 * side, pitch):
                if (x + y) // pitch % 2:
                    draw.rectangle((x, y, x + pitch - 1, y + pitch - 1), fill=colour)
    if name == "ramps":
        share = np.linspace(0, 1, 2 * side)[None, :, None]
        row = np.asarray(ground) * (1 - share) + np.asarray(colour) * share  # (1, 2 side, 3)
        image = Image.fromarray(np.repeat(row, 2 * side, axis=0).astype(np.uint8))
    if name == "circles":
        for _ in range(int(chance.integers(1, 4))):
            x, y = (int(v) for v in chance.integers(side // 2, side + side // 4, 2))
            size = int(chance.integers(side // 4, side // 2))
            draw.ellipse((x, y, x + size, y + size), fill=colour)
    image = image.rotate(float(chance.uniform(0, 90)), Image.Resampling.BILINEAR, fillcolor=ground)
    return image.crop((side // 2, side // 2, side // 2 + side, side // 2 + side))


def draw_folder(folder: Path, *, train: int, val: int = 0, side: int = 64) -> Path:
    """Write `train` and `val` pictures of each class; without `val`, folders of classes alone."""
    for name in CLASSES:
        for part, start, count in (("train", 0, train), ("val", 1000, val)):
            place = folder / part / name if val else folder / name
            for seed in range(start, start + count):
                place.mkdir(parents=True, exist_ok=True)
                drawn(name, seed, side).save(place / f"{seed:04d}.png")
    return folder
