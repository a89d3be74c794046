"""A contact sheet: frames of a video beside each other, with their times, hidden parts hidden."""

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["contact_sheet", "encode_sheet", "pick_frames", "tile"]

# The longer side of a frame on the sheet, pixels.
TILE = 320
MARGIN = 4
CAPTION = 18
GREY, WHITE = (32, 32, 32), (255, 255, 255)


def pick_frames(count: int, hits: Sequence[int], wanted: int) -> list[int]:
    """Choose frames for a sheet: half of them where something was found, the others evenly over the video.

    Args:
        count: of frames in the video.
        hits: frames in which something was found.
        wanted: how many to choose; fewer where there are not so many.
    """
    chosen = set(_evenly(list(hits), (wanted + 1) // 2))
    rest = [index for index in range(count) if index not in chosen] if count <= 10 * wanted else None
    chosen |= set(_evenly(rest or list(range(0, count, max(1, count // (10 * wanted)))), wanted - len(chosen)))
    return sorted(chosen)


def _evenly(items: list[int], wanted: int) -> list[int]:
    if wanted >= len(items):
        return items
    return [items[(2 * i + 1) * len(items) // (2 * wanted)] for i in range(wanted)]


def contact_sheet(pictures: Sequence[tuple[float, Image.Image]]) -> Image.Image:
    """Return one picture of all tiles, (seconds, from `tile`), in rows."""
    wide = max((picture.width for _, picture in pictures), default=TILE) + MARGIN
    high = max((picture.height for _, picture in pictures), default=TILE) + CAPTION + MARGIN
    columns = max(1, math.ceil(math.sqrt(len(pictures))))
    rows = max(1, math.ceil(len(pictures) / columns))
    sheet = Image.new("RGB", (columns * wide + MARGIN, rows * high + MARGIN), GREY)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for i, (time, picture) in enumerate(pictures):
        x, y = MARGIN + i % columns * wide, MARGIN + i // columns * high
        sheet.paste(picture, (x, y))
        draw.text((x, y + picture.height + 2), _clock(time), fill=WHITE, font=font)
    return sheet


def encode_sheet(sheet: Image.Image, format: str) -> bytes:
    """Return the bytes of a sheet in one of Pillow's formats."""
    buffer = io.BytesIO()
    sheet.save(buffer, format)
    return buffer.getvalue()


def tile(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return a frame, (H, W, 3) RGB, at the size that it has on a sheet."""
    picture = Image.fromarray(pixels)
    scale = min(1.0, TILE / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX) if size != picture.size else picture


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0.0, seconds), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:05.2f}"
