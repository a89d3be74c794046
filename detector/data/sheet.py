"""A contact sheet: many pictures of a data set at once with their boxes, for a person to judge. Nothing is hidden."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from detector.classes import CLASSES
from detector.data.coco import Coco, picture_path
from detector.errors import RetinaCensorError, UsageError
from detector.limits import Limits
from detector.palette import BLACK, Colour, class_colour
from detector.parallel import map_in_order
from detector.picture import Picture

__all__ = ["SHEET_PICTURES", "choose_images", "contact_sheet"]

PAPER, RED = (238, 238, 238), (214, 0, 0)

# As many as fit a screen or two at a size where a box can be judged.
SHEET_PICTURES = 48
COLUMNS = 6
CELL, CAPTION, GAP, FONT = 280, 20, 8, 13
# Twice a cell: enough for a sharp thumbnail from a reduced JPEG decode.
VIEW_SIDE = 2 * CELL


def choose_images(coco: Coco, bad: Collection[str], most: int) -> list[Mapping[str, Any]]:
    """Return at most `most` image records: those with problems first, then others spread evenly over the file.

    Args:
        coco: the annotations.
        bad: file names with problems.
        most: at least 1.
    """
    first = [image for image in coco.images if str(image.get("file_name")) in bad][:most]
    rest = [image for image in coco.images if str(image.get("file_name")) not in bad]
    room = min(most - len(first), len(rest))
    return first + [rest[i * len(rest) // room] for i in range(room)]


def contact_sheet(
    coco: Coco,
    folder: Path,
    *,
    bad: Collection[str] = (),
    most: int = SHEET_PICTURES,
    limits: Limits | None = None,
    workers: int = 1,
) -> Image.Image:
    """Draw pictures with their boxes in the colours of the classes; boxes to be ignored are dashed.

    A picture with a problem has a red frame; one that cannot be read is an empty cell that says why.

    Args:
        coco: the annotations; may be broken, what cannot be drawn is left out.
        folder: where the pictures are.
        bad: file names with problems; they come first.
        most: most pictures on the sheet.
        limits: bounds on untrusted pictures.
        workers: pictures read in parallel.

    Returns:
        RGB; a legend above, then rows of six.

    Raises:
        UsageError: when there are no images.
    """
    images = choose_images(coco, bad, most)
    if not images:
        raise UsageError("a contact sheet must show at least one picture; the annotation file has none")
    boxes: dict[str, list[Mapping[str, Any]]] = {}
    for annotation in coco.annotations:
        boxes.setdefault(str(annotation.get("image_id")), []).append(annotation)

    def cell(image: Mapping[str, Any]) -> Image.Image:
        return _cell(image, boxes.get(str(image.get("id")), []), folder, limits or Limits())

    font = _font()
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    legend = _legend(columns * (CELL + GAP) + GAP, font)
    width, step = legend.width, CELL + CAPTION + GAP
    sheet = Image.new("RGB", (width, legend.height + rows * step + GAP), PAPER)
    sheet.paste(legend, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for index, (image, result) in enumerate(map_in_order(cell, images, workers)):
        x, y = GAP + index % columns * (CELL + GAP), legend.height + index // columns * step
        if isinstance(result, RetinaCensorError):
            draw.multiline_text((x + GAP, y + GAP), _wrapped(str(result), font, CELL - 2 * GAP), fill=RED, font=font)
        elif isinstance(result, Exception):
            raise result
        else:
            sheet.paste(result, (x + (CELL - result.width) // 2, y + (CELL - result.height) // 2))
        name = str(image.get("file_name"))
        if name in bad or isinstance(result, Exception):
            draw.rectangle((x - 2, y - 2, x + CELL + 1, y + CELL + 1), outline=RED, width=3)
        caption = f"{name}  ({len(boxes.get(str(image.get('id')), []))})"
        draw.text((x, y + CELL + 3), _shortened(caption, font, CELL), fill=BLACK, font=font)
    return sheet


def _cell(
    image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], folder: Path, limits: Limits
) -> Image.Image:
    """Return one picture, fitted into a cell, with its boxes."""
    picture = Picture.open(picture_path(folder, image.get("file_name")), limits=limits)
    view = Image.fromarray(picture.views(VIEW_SIDE)[0])
    scale = CELL / max(view.size)
    view = view.resize([max(1, round(side * scale)) for side in view.size], Image.Resampling.LANCZOS, reducing_gap=2)
    draw = ImageDraw.Draw(view)
    # Boxes are drawn where they say, by the picture's true size: if the file's width and height are wrong it is seen.
    scale = CELL / max(picture.image_size)
    for annotation in annotations:
        category, bbox = annotation.get("category_id"), annotation.get("bbox")
        try:
            x, y, w, h = (float(value) * scale for value in bbox or ())
            # A line far outside is not seen, and would take as long to draw as it is long.
            corners = tuple(min(max(round(value), -9), CELL + 9) for value in (x, y, x + w - 1, y + h - 1))
        except (TypeError, ValueError, OverflowError):
            continue
        known = isinstance(category, int) and 1 <= category <= len(CLASSES)
        colour = class_colour(CLASSES[int(str(category)) - 1]) if known else RED
        _rectangle(draw, corners, colour, annotation.get("iscrowd", 0) == 1)
    return view


def _rectangle(draw: ImageDraw.ImageDraw, corners: tuple[int, ...], colour: Colour, dashed: bool) -> None:
    """Draw a box two pixels wide with a dark rim, so that it is seen on any picture."""
    left, top, right, bottom = corners[0], corners[1], max(corners[0], corners[2]), max(corners[1], corners[3])
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=BLACK, width=1)
    for inset in (0, 1):
        sides = (left + inset, top + inset, max(right - inset, left + inset), max(bottom - inset, top + inset))
        draw.rectangle(sides, outline=colour, width=1)
    if dashed:
        for x in range(left, right + 1, 8):
            draw.rectangle((x, top, x + 3, top + 1), fill=BLACK)
            draw.rectangle((x, bottom - 1, x + 3, bottom), fill=BLACK)
        for y in range(top, bottom + 1, 8):
            draw.rectangle((left, y, left + 1, y + 3), fill=BLACK)
            draw.rectangle((right - 1, y, right, y + 3), fill=BLACK)


def _legend(width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """Return the names of the classes, each beside its colour, in as many lines as the width asks for."""
    entries = [(name.removesuffix("_EXPOSED").replace("_", " ").lower(), class_colour(name)) for name in CLASSES]
    places, x, y = [], GAP, GAP
    for text, colour in entries:
        need = 2 * FONT + int(font.getlength(text)) + 2 * GAP
        if x > GAP and x + need > width:
            x, y = GAP, y + CAPTION
        places.append((x, y, text, colour))
        x += need
    image = Image.new("RGB", (width, y + CAPTION + GAP), PAPER)
    draw = ImageDraw.Draw(image)
    for x, y, text, colour in places:
        draw.rectangle((x, y + 1, x + FONT, y + 1 + FONT), fill=colour, outline=BLACK)
        draw.text((x + FONT + 5, y), text, fill=BLACK, font=font)
    return image


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=FONT)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Cut a text in its front, where the folders are, until it fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Break a text into lines at any character; paths have no spaces."""
    lines = [""]
    for letter in text:
        if font.getlength(lines[-1] + letter) > width:
            lines.append("")
        lines[-1] += letter
    return "\n".join(lines)
