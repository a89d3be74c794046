"""`censor --demo-styles OUT`: one sheet of every style, shape and strength, each with the options that give it.

What is hidden is drawn here: a lay figure with a target on its chest, which shows best how much a style lets through.
"""

import math
import os
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from censor.atomic import write_atomic
from censor.imagefile import encode, format_for
from censor.paint import Region, paint, whole
from censor.policy import load_censor_policy
from censor.stickers import STICKERS
from censor.styles import MAX_CELLS, OPAQUE_STYLES, SHAPES, SOFT_STYLES
from detector.errors import UsageError
from detector.palette import BLACK
from detector.picture import Picture

__all__ = ["DEMOS", "demo_picture", "demo_region", "demo_sheet", "write_demo"]

Changes = Mapping[str, Any]

SIDE, OVERSAMPLING = 220, 4
COLUMNS = 5
GAP, LINE, TITLE, FONT = 14, 17, 34, 13
PAPER, GREY = (250, 250, 250), (110, 110, 110)
# Of the drawing's side.
TARGET = (0.36, 0.40, 0.66, 0.70)

# Title of a row of the sheet, and what each of its pictures asks for, as `load_censor_policy` takes it.
DEMOS: Mapping[str, tuple[Changes, ...]] = {
    "Styles": (*({"style": style} for style in (*SOFT_STYLES, *OPAQUE_STYLES) if style != "sticker"),),
    "Stickers": (
        *({"sticker": name} for name in STICKERS),
        *({"sticker": STICKERS[0], "colour": colour} for colour in ("white", "#ffd9e0")),
    ),
    "Colours and captions": (
        {"style": "box", "colour": "white"},
        {"style": "box", "colour": "teal"},
        {"style": "box", "caption": "hidden"},
        {"style": "match", "caption": "hidden"},
        {"style": "box", "caption": "hidden", "colour": "orange", "shape": "rounded"},
    ),
    "Shapes: each covers the whole box": (
        *({"style": "box", "shape": shape} for shape in SHAPES),
        {"style": "pixelate", "shape": "ellipse"},
        {"style": "blur", "shape": "rounded"},
    ),
    "Strength: more than 8 cells could be recognised": tuple(
        {"style": style, "cells": cells} for style in SOFT_STYLES for cells in (MAX_CELLS, 6, 4, 2, 1)
    ),
    "Size and edge": (
        *({"style": "box", "grow": grow} for grow in (0, 0.2, 0.6)),
        {"style": "box", "feather": 0.2},
        {"style": "blur", "shape": "ellipse", "feather": 0.3},
    ),
    "The whole picture, whatever was found": (
        *({"style": style, "whole": True} for style in (*SOFT_STYLES, "box")),
        {"style": "box", "whole": True, "caption": "not shown"},
        {"sticker": STICKERS[-1], "whole": True, "colour": "navy"},
    ),
}


def demo_picture() -> Image.Image:
    """Draw the figure: RGB, `SIDE` pixels square, the same each time."""
    side = SIDE * OVERSAMPLING
    image = Image.linear_gradient("L").resize((side, side))
    image = Image.merge("RGB", [image.point([low + value * more // 255 for value in range(256)]) for low, more in (
        (150, 60), (175, 40), (195, 20))])  # fmt: skip
    draw = ImageDraw.Draw(image)

    def at(*shares: float) -> tuple[float, ...]:
        return tuple(share * side for share in shares)

    wood, dark = (214, 170, 120), (160, 118, 76)
    draw.rectangle(at(0, 0.86, 1, 1), fill=(126, 104, 92))
    for x, elbow in ((0.31, 0.16), (0.71, 0.86)):
        limb = [at(x, 0.41), at(elbow, 0.62), at(elbow + (0.03 if x > 0.5 else -0.03), 0.88)]
        draw.line([part for joint in limb for part in joint], fill=wood, width=round(0.07 * side), joint="curve")
        for left, top in limb:
            radius = 0.045 * side
            draw.ellipse((left - radius, top - radius, left + radius, top + radius), fill=dark)
    draw.rounded_rectangle(at(0.30, 0.34, 0.72, 1.1), radius=0.12 * side, fill=wood)
    draw.rectangle(at(0.47, 0.27, 0.55, 0.36), fill=dark)
    draw.ellipse(at(0.41, 0.06, 0.61, 0.30), fill=wood)
    x1, y1, x2, y2 = TARGET
    for ring, colour in enumerate(((214, 0, 0), (255, 255, 255), (0, 90, 180), (255, 255, 255), (214, 0, 0))):
        inset = ring * (x2 - x1) / 10
        draw.ellipse(at(x1 + inset, y1 + inset, x2 - inset, y2 - inset), fill=colour)
    draw.pieslice(at(x1, y1, x2, y2), 180, 270, fill=(240, 200, 0))  # so that no two cells are alike
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)).astype(np.int16)
    grain = np.random.default_rng(0).integers(-6, 7, (SIDE, SIDE, 1), dtype=np.int16)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def demo_region(changes: Changes) -> Region:
    """Return what is hidden in one picture of the sheet: the target, or everything where the changes ask for it."""
    rules = load_censor_policy("default", **changes).hide
    if rules.whole:
        return whole((SIDE, SIDE), rules.style_of(""))
    x1, y1, x2, y2 = (share * SIDE for share in TARGET)
    return Region((x1, y1, x2, y2), rules.style_of(""))


def demo_sheet() -> Image.Image:
    """Return the whole sheet: RGB, a title above each row, the options below each picture."""
    font, bold = ImageFont.load_default(size=FONT), ImageFont.load_default(size=FONT + 5)
    step = SIDE + 2 * LINE + GAP
    rows = [math.ceil(len(demos) / COLUMNS) for demos in DEMOS.values()]
    size = (COLUMNS * (SIDE + GAP) + GAP, GAP + TITLE * (len(DEMOS) + 1) + step * sum(rows))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), "censor OPTIONS IN OUT, and what the options below a picture give", fill=GREY, font=bold)
    top = GAP + TITLE
    for (title, demos), count in zip(DEMOS.items(), rows, strict=True):
        draw.text((GAP, top + 6), title, fill=BLACK, font=bold)
        for index, changes in enumerate(demos):
            x, y = GAP + index % COLUMNS * (SIDE + GAP), top + TITLE + index // COLUMNS * step
            picture = demo_picture()
            paint(picture, [demo_region(changes)])
            sheet.paste(picture, (x, y))
            draw.multiline_text((x, y + SIDE + 3), _broken(_options(changes), font), fill=BLACK, font=font, spacing=2)
        top += TITLE + step * count
    return sheet


def write_demo(target: str | os.PathLike[str]) -> None:
    """Write the sheet to a picture file; its suffix chooses the format.

    Raises:
        UsageError: for a name without a suffix of a picture format.
        OutputError: when it cannot be written.
    """
    format = format_for(target)
    if format is None:
        raise UsageError(f"the sheet must have a picture's name, such as styles.png; got {os.fspath(target)!r}")
    sheet = demo_sheet()
    write_atomic(target, encode(sheet, Picture.open(np.asarray(sheet)), format))


def _options(changes: Changes) -> list[str]:
    """Return the options of the command line that ask for the same, one a string."""
    return [f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}" for name, value in changes.items()]


def _broken(options: list[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Put as many options on a line as fit under a picture."""
    lines = [""]
    for option in options:
        longer = f"{lines[-1]} {option}".strip()
        if font.getlength(longer) <= SIDE:
            lines[-1] = longer
        else:
            lines.append(option)
    return "\n".join(lines)
