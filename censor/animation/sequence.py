"""`Animation`: an untrusted moving picture whose structure was checked, and whose frames are decoded in turn."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import accumulate

from PIL import Image

from detector.decode import Colour, fresh, to_srgb, turned
from detector.formats import Header
from detector.limits import Limits

__all__ = ["FOREVER", "SHORTEST", "Animation", "as_seen", "profile_of"]

# From this EXIF orientation on width and height change places.
TURNED_BY_A_QUARTER = 5
# The number of plays of an animation that never ends.
FOREVER = 0
# What a frame counts for when regions are held over time: a viewer shows none for less. Browsers show a delay of less
# than this for 0.1 s; the shorter time is taken, since then more frames fall within the time for which is held.
SHORTEST = Fraction(1, 50)


class Animation(ABC):
    """Frames that follow one another in time; all of the structure is known without decoding.

    Attributes:
        name: the path as given, or `<bytes>`, `<file>`.
        data: the whole file.
        format: Pillow's name, GIF PNG WEBP or AVIF.
        image_size: (height, width) as a viewer sees every frame; made of `size`, (width, height) as stored.
        orientation: 1..8 as in EXIF.
        durations: how long each frame is shown, in seconds, exactly as the file says; 0 where it says so. Those of the
            frames that are shown only.
        plays: how often it is shown; `FOREVER` without an end.
        default_image: whether the first picture that `frames` gives is none of the animation's but what is shown where
            animations are not (APNG).
        lossless: whether the frames are coded without loss.
        timescale: ticks a second in which the durations are whole numbers; None where the format fixes it.
        limits: what it was checked against.
    """

    format: str

    def __init__(
        self,
        name: str,
        data: bytes,
        *,
        size: tuple[int, int],
        durations: tuple[Fraction, ...],
        plays: int,
        limits: Limits,
        orientation: int = 1,
        default_image: bool = False,
        lossless: bool = True,
        timescale: int | None = None,
    ) -> None:
        width, height = size
        self.name = name
        self.data = data
        self.orientation = orientation
        self.image_size = (width, height) if orientation >= TURNED_BY_A_QUARTER else (height, width)
        self.durations = durations
        self.plays = plays
        self.limits = limits
        self.default_image = default_image
        self.lossless = lossless
        self.timescale = timescale

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<Animation {self.name} {self.format} {self.count} x {width} x {height}>"

    @cached_property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def count(self) -> int:
        """How many pictures `frames` gives."""
        return len(self.durations) + self.default_image

    @property
    def times(self) -> list[float]:
        """When each shown frame begins, in seconds; always rising, also where the file says that no time passes."""
        shown = [max(duration, SHORTEST) for duration in self.durations]
        return [float(time) for time in accumulate(shown, initial=Fraction(0))][:-1]

    @abstractmethod
    def frames(self) -> Iterator[Image.Image]:
        """Decode one frame after the other, each as a viewer sees the whole picture at that time.

        Yields:
            New pictures of mode RGB or RGBA in sRGB, of `image_size`; black where alpha is 0.

        Raises:
            InputError: when a frame cannot be decoded, to the last pixel.
        """


def profile_of(kind: str, image: Image.Image) -> bytes | None:
    """Return the colour profile that must be applied to a decoder's pixels to make them sRGB, or None."""
    profile = image.info.get("icc_profile")
    header = Header(
        format=kind,
        size=image.size,
        mode=image.mode,
        transparent="transparency" in image.info,
        icc_profile=profile if isinstance(profile, bytes) else None,
    )
    colour = Colour.of(header)
    return colour.convert or colour.keep


def as_seen(image: Image.Image, profile: bytes | None = None, orientation: int = 1) -> Image.Image:
    """Return RGB or RGBA pixels in sRGB, turned, with nothing left under transparency; a new picture."""
    seen = turned(to_srgb(image, profile), orientation)
    return fresh(seen.copy() if seen is image else seen, seen.mode)
