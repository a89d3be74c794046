"""The colours in which classes are drawn: the same in previews, contact sheets and wherever else boxes are shown."""

from typing import TypeAlias

from detector.classes import ALL_CLASSES

__all__ = ["BLACK", "PALETTE", "WHITE", "Colour", "class_colour", "ink_on"]

Colour: TypeAlias = tuple[int, int, int]

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)

# Colours that people with any of the common colour-blindnesses tell apart, in the order of the six classes.
# Source: Okabe and Ito, Color Universal Design (2008), without black.
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),  # sky blue
    (240, 228, 66),  # yellow
    (230, 159, 0),  # orange
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
    (0, 158, 115),  # bluish green
    (0, 114, 178),  # blue, for the other classes
)


def class_colour(name: str) -> Colour:
    """Return the colour of a class: one for each of the six, one for all others."""
    index = ALL_CLASSES.index(name) if name in ALL_CLASSES else len(PALETTE)
    return PALETTE[min(index, len(PALETTE) - 1)]


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever stands out more on a colour."""
    red, green, blue = colour
    return BLACK if 299 * red + 587 * green + 114 * blue > 128_000 else WHITE
