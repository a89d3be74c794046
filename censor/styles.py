"""`Style`: how one region is hidden. Checked words and numbers; nothing here touches a pixel of the picture."""

from dataclasses import dataclass

from censor.captions import unwritable
from censor.stickers import Sticker, load_sticker
from detector.errors import PolicyError
from detector.nearest import nearest

__all__ = [
    "COLOURS",
    "DEFAULT_STICKER",
    "MAX_CELLS",
    "OPAQUE_STYLES",
    "SHAPES",
    "SOFT_STYLES",
    "STYLES",
    "Colour",
    "Style",
    "parse_colour",
]

Colour = tuple[int, int, int]

# These show a few means of what they hide ...
SOFT_STYLES = ("blur", "pixelate")
# ... and these show nothing of it at all.
OPAQUE_STYLES = ("box", "match", "sticker", "inpaint")
STYLES = SOFT_STYLES + OPAQUE_STYLES
SHAPES = ("rectangle", "ellipse", "rounded")

# Most cells along a region's long side. With 24 a face was still found in the mosaic, with 16 or fewer it was not; 8
# leaves a margin of two for detectors that are better than today's.
MAX_CELLS = 8

# Shown by the style `sticker` when none is named.
DEFAULT_STICKER = "smiley"

# A share of the box's size: 4 makes it five times as wide. More is somebody who wrote 20 and meant 20 %.
MAX_GROW = 4.0
# A share of the shorter side; a wider fade would look like a second region.
MAX_FEATHER = 1.0
# Longer ones could not be read on a region.
MAX_CAPTION = 60

COLOURS: dict[str, Colour] = {
    "aqua": (0, 255, 255),
    "beige": (245, 245, 220),
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "brown": (165, 42, 42),
    "cyan": (0, 255, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "grey": (128, 128, 128),
    "lime": (0, 255, 0),
    "magenta": (255, 0, 255),
    "maroon": (128, 0, 0),
    "navy": (0, 0, 128),
    "orange": (255, 165, 0),
    "pink": (255, 192, 203),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "silver": (192, 192, 192),
    "teal": (0, 128, 128),
    "violet": (238, 130, 238),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}


def parse_colour(value: object) -> Colour:
    """Return (red, green, blue), each 0..255, from a name, `#rrggbb`, `#rgb`, or three whole numbers.

    Raises:
        PolicyError: for anything else; an unknown name is answered with the nearest known one.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in COLOURS:
            return COLOURS[word]
        digits = word.removeprefix("#")
        if word.startswith("#") and len(digits) in (3, 6) and all(digit in "0123456789abcdef" for digit in digits):
            step = len(digits) // 3
            red, green, blue = (int((digits[i * step : (i + 1) * step] * 2)[:2], 16) for i in range(3))
            return red, green, blue
        close = "" if word.startswith("#") else nearest(word, COLOURS)
        raise PolicyError(f"a colour must be #rrggbb or a name such as black, white or grey; got {value!r}{close}")
    if (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255 for part in value)
    ):
        return value[0], value[1], value[2]
    raise PolicyError(f"a colour must be #rrggbb, a name, or three whole numbers from 0 to 255; got {value!r}")


def _check_word(what: str, word: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(word, str) or word not in allowed:
        raise PolicyError(f"{what} must be one of {', '.join(allowed)}; got {word!r}{nearest(str(word), allowed)}")


def _check_share(what: str, value: object, most: float, hint: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:  # NaN is not either
        raise PolicyError(f"{what} must be a number from 0 to {most:g}; got {value!r}; {hint}")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one region is hidden; checked when made.

    Attributes:
        style: `blur` and `pixelate` show a few cell means (see `censor.filters`). The others show nothing of what
            they hide (see `censor.fills`): `box` paints one colour; `match` the mean colour of a ring around the
            region; `sticker` lays a picture over it; `inpaint` continues the surroundings, which is cosmetic: it
            makes no secret of where the region is, and what it paints was never there.
        shape: what is hidden around the grown box: all of these contain every pixel of it. The `ellipse` goes
            through the box's four corners, and so do the arcs of the `rounded` rectangle.
        grow: share of the box's size that is added around the same centre: 0.2 makes the hidden box 20 % wider and
            20 % taller, 10 % on each side.
        feather: width of the fade outside the shape, as a share of the grown box's shorter side. Inside the shape
            nothing fades.
        colour: (red, green, blue) of `box`, under the transparent parts of `sticker`, and of `match` and `inpaint`
            where nothing around the region can be seen; also accepts what `parse_colour` does.
        cells: most cells along the long side for `blur` and `pixelate`, 1..8; fewer hide more.
        sticker: what `sticker` lays over the region; also accepts what `load_sticker` does. None for other styles.
        caption: one line of text, written inside the region where it fits; not for `blur` and `pixelate`.

    Raises:
        PolicyError: for a word or a number that is not allowed; the message names the nearest word.
    """

    style: str = "blur"
    shape: str = "rectangle"
    grow: float = 0.0
    feather: float = 0.0
    colour: Colour = (0, 0, 0)
    cells: int = MAX_CELLS
    sticker: Sticker | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        _check_word("style", self.style, STYLES)
        _check_word("shape", self.shape, SHAPES)
        grow = _check_share("grow", self.grow, MAX_GROW, "0.2 makes the hidden box 20 % wider and taller")
        feather = _check_share("feather", self.feather, MAX_FEATHER, "0.1 fades over a tenth of the shorter side")
        if isinstance(self.cells, bool) or not isinstance(self.cells, int) or not 1 <= self.cells <= MAX_CELLS:
            raise PolicyError(
                f"cells must be a whole number from 1 to {MAX_CELLS}; got {self.cells!r}; with more, what is hidden "
                "can be recognised"
            )
        object.__setattr__(self, "grow", grow)
        object.__setattr__(self, "feather", feather)
        object.__setattr__(self, "colour", parse_colour(self.colour))
        self._check_sticker()
        self._check_caption()

    def _check_sticker(self) -> None:
        """Load the sticker where one is shown; other styles carry none, so that equal looks are equal styles."""
        given = self.sticker
        if self.style != "sticker":
            given = None
        elif not isinstance(given, Sticker):
            given = load_sticker(DEFAULT_STICKER if given is None else given)
        object.__setattr__(self, "sticker", given)

    def _check_caption(self) -> None:
        text = self.caption
        if not isinstance(text, str) or len(text) > MAX_CAPTION or not text.isprintable():
            raise PolicyError(f"a caption must be one line of at most {MAX_CAPTION} printable characters; got {text!r}")
        if unknown := unwritable(text):
            raise PolicyError(f"a caption must be of letters that the font has, ASCII and a few signs; got {unknown!r}")
        if text and self.style in SOFT_STYLES:
            raise PolicyError(
                f"a caption needs one of the styles {', '.join(OPAQUE_STYLES)}; got {text!r} with {self.style}; "
                "add --style box"
            )
