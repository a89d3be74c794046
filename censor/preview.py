"""Draw what a detector found, for a person to judge. Nothing is hidden here: a preview shows the parts themselves."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from censor.masks import Box
from detector.detections import Detections
from detector.errors import UsageError
from detector.palette import BLACK, WHITE, Colour, class_colour, ink_on

__all__ = ["draw_boxes"]

# Sizes as shares of the picture's longer side, so that a preview reads alike at any size on the same screen.
LINE_SHARE = 1 / 320
FONT_SHARE = 1 / 48
# Smaller text cannot be read.
MIN_FONT = 9


def draw_boxes(picture: Image.Image | NDArray[np.uint8], detections: Detections) -> Image.Image:
    """Return an RGB copy of a picture with a labelled box around each detection.

    Lines have a dark rim and labels a filled background, so both can be read on any picture. Labels stay inside the
    picture and, where there is room, off each other; the highest score is drawn last, on top.

    Args:
        picture: Pillow picture of any mode, or uint8 array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; not changed.
            What is transparent is shown on white.
        detections: of this very picture.

    Raises:
        UsageError: when the detections were made on a picture of another size.
    """
    image = _as_rgb(picture if isinstance(picture, Image.Image) else Image.fromarray(picture))
    if detections.image_size != (image.height, image.width):
        raise UsageError(
            f"detections must be of the picture they are drawn on; they are of {detections.image_size}, "
            f"the picture is {(image.height, image.width)} (height, width)"
        )
    draw = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) * LINE_SHARE))
    taken: list[Box] = []
    order = range(len(detections) - 1, -1, -1)
    for i in order:
        _draw_box(draw, _whole_pixels(detections.boxes[i], image), class_colour(detections.names[i]), line)
    for i in order:
        text = f"{_words(detections.names[i])} {detections.scores[i]:.2f}"
        tag = _Tag.fit(text, image.size)
        place = tag.place(_whole_pixels(detections.boxes[i], image), image.size, taken)
        tag.draw(draw, place, class_colour(detections.names[i]))
        taken.append(place)
    return image


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return a fresh RGB copy, transparent parts on white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*WHITE, 255))
        return Image.alpha_composite(below, over).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _words(name: str) -> str:
    """Spell a class for a label: `female breast`; `exposed` goes without saying, `covered` does not."""
    return name.removesuffix("_EXPOSED").replace("_", " ").lower()


def _whole_pixels(box: NDArray[np.float32], image: Image.Image) -> Box:
    """Return the inclusive corners of a box, inside the picture, so that all four sides are seen."""
    limit = np.array([image.width, image.height, image.width, image.height]) - 1
    x1, y1, x2, y2 = np.clip(np.round(box.astype(np.float64)) - (0, 0, 1, 1), 0, limit).astype(int).tolist()
    return x1, y1, max(x1, x2), max(y1, y2)


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, line: int) -> None:
    """Draw a coloured line just inside the box, with a thin black one inside and outside of it."""
    rim = max(1, line // 3)
    inset = 0
    for width, shade in ((rim, BLACK), (line, colour), (rim, BLACK)):
        x1, y1, x2, y2 = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
        if x1 > x2 or y1 > y2:
            return
        draw.rectangle((x1, y1, x2, y2), outline=shade, width=width)
        inset += width


@dataclass(frozen=True)
class _Tag:
    """A label's text and font, its size with the margin around it, and where in it the text starts."""

    text: str
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    width: int
    height: int
    start: tuple[int, int]

    @classmethod
    def fit(cls, text: str, size: tuple[int, int]) -> "_Tag":
        """Choose the font for a picture of (width, height): smaller, down to the readable, where the text is wide."""
        pixels = max(MIN_FONT, round(max(size) * FONT_SHARE))
        tag = cls._of(text, pixels)
        if tag.width > size[0] and pixels > MIN_FONT:
            tag = cls._of(text, max(MIN_FONT, pixels * size[0] // tag.width))
        return tag if tag.width <= size[0] else cls._of(text.split()[-1], MIN_FONT)  # the score alone

    @classmethod
    def _of(cls, text: str, pixels: int) -> "_Tag":
        font = ImageFont.load_default(size=pixels)
        _, top, _, bottom = font.getbbox("bp0")  # the same for every text, so that all labels are equally high
        right = font.getbbox(text)[2]
        margin = max(2, pixels // 4)
        start = (margin, margin - math.floor(top))
        return cls(text, font, math.ceil(right) + 2 * margin, math.ceil(bottom - top) + 2 * margin, start)

    def place(self, box: Box, size: tuple[int, int], taken: list[Box]) -> Box:
        """Return where the label goes: above its box, below, or inside, and off the labels that are there already."""
        left = max(0, min(box[0], size[0] - self.width))
        right = max(0, min(box[2] + 1 - self.width, size[0] - self.width))
        tops = (box[1] - self.height, box[3] + 1, box[1], box[3] + 1 - self.height)
        places = [(x, y, x + self.width, y + self.height) for y in tops for x in (left, right)]
        inside = [place for place in places if place[1] >= 0 and place[3] <= size[1]]
        for place in inside:
            if not any(_touch(place, other) for other in taken):
                return place
        top = max(0, min(box[1], size[1] - self.height))
        return inside[0] if inside else (left, top, left + self.width, top + self.height)

    def draw(self, draw: ImageDraw.ImageDraw, place: Box, colour: Colour) -> None:
        """Draw black or white text, whichever stands out more, on the class's colour."""
        x1, y1, x2, y2 = place
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=colour, outline=BLACK)
        draw.text((x1 + self.start[0], y1 + self.start[1]), self.text, fill=ink_on(colour), font=self.font)


def _touch(box1: Box, box2: Box) -> bool:
    return box1[0] < box2[2] and box2[0] < box1[2] and box1[1] < box2[3] and box2[1] < box1[3]
