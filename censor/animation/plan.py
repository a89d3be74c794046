"""`Plan`: how an animation is to be written, and what a format cannot express of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from PIL import Image, ImageChops

from censor.animation.sequence import FOREVER, Animation
from censor.imagefile import GIF_OPAQUE
from detector.decode import fresh
from detector.errors import OutputError

__all__ = ["ANIMATED", "Plan", "changed_box", "fitted", "hidden_mask", "plan_for", "whole_ticks", "with_hidden"]

# The formats, as Pillow names them, in which animations are written.
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
# Ticks a second in which a format's durations are whole numbers, and the largest number of them: 16, 24, 32 bits. A
# PNG's are fractions of its own choice; milliseconds serve where the source is none.
_TICKS = {"GIF": (100, 0xFFFF), "PNG": (1000, 0xFFFF), "WEBP": (1000, 0xFFFFFF), "AVIF": (1000, 0xFFFFFFFF)}
# The largest number of plays that a format can say; more are as good as without an end.
_PLAYS = {"GIF": 0x10000, "PNG": 0x7FFFFFFF, "WEBP": 0xFFFF, "AVIF": 0x7FFFFFFF}
# Pillow hands a picture's `info` on to what is made of it; no encoder knows this word.
_HIDDEN = "retina-censor hidden"
MAX_SIDE = {"GIF": 0xFFFF, "PNG": 0x7FFFFFFF, "WEBP": 16383, "AVIF": 65535}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an animation is to be written.

    Attributes:
        format: one of `ANIMATED`.
        size: (width, height) of every frame.
        durations: of the shown frames, in seconds, as this format can say them.
        plays: how often it is shown; `FOREVER` without an end.
        transparent: whether some pixel of some frame is not opaque; otherwise frames are RGB.
        default_image: whether the first picture is not part of the animation (PNG only).
        lossless: for WebP, whether the pixels are coded without loss.
        timescale: ticks a second of the durations; None for PNG, whose durations are fractions.
    """

    format: str
    size: tuple[int, int]
    durations: tuple[Fraction, ...]
    plays: int
    transparent: bool
    default_image: bool = False
    lossless: bool = True
    timescale: int | None = None

    @property
    def ticks(self) -> list[int]:
        """The durations in ticks of `timescale`."""
        assert self.timescale is not None
        return [int(duration * self.timescale) for duration in self.durations]


def plan_for(animation: Animation, format: str, *, transparent: bool) -> Plan:
    """Say how an animation is to be written as `format`.

    In its own format every duration stays as it is. Elsewhere durations are rounded so that no frame begins more than
    half a tick too early or too late.

    Raises:
        OutputError: when a format cannot hold the size or a duration.
    """
    height, width = animation.image_size
    if max(width, height) > MAX_SIDE[format]:
        raise OutputError(
            f"a {format} animation must be at most {MAX_SIDE[format]} pixels a side; this one is {width} x {height}; "
            "write it as PNG"
        )
    plays = animation.plays if animation.plays <= _PLAYS[format] else FOREVER
    plan = Plan(
        format=format,
        size=(width, height),
        durations=animation.durations,
        plays=plays,
        transparent=transparent,
        default_image=animation.default_image and format == "PNG",
        lossless=animation.lossless,
    )
    if format == animation.format == "PNG":
        return plan
    timescale, most = _TICKS[format]
    if format == animation.format:
        timescale = animation.timescale or timescale
    ticks = whole_ticks(animation.durations, timescale)
    if format == "AVIF":
        ticks = [max(count, 1) for count in ticks]  # its encoder knows no frame without a duration
    longest = max(ticks)
    if longest > most:
        raise OutputError(
            f"a frame of a {format} animation must be shown for at most {most / timescale:g} s; one is for "
            f"{longest / timescale:g} s; write it as WEBP"
        )
    durations = tuple(Fraction(count, timescale) for count in ticks)
    return replace(plan, durations=durations, timescale=None if format == "PNG" else timescale)


def whole_ticks(durations: tuple[Fraction, ...], timescale: int) -> list[int]:
    """Return durations in whole ticks; what rounding takes from one frame is given to those after it."""
    ticks, said, passed = [], 0, Fraction(0)
    for duration in durations:
        passed += duration
        count = max(round(passed * timescale) - said, 0)
        ticks.append(count)
        said += count
    return ticks


def with_hidden(image: Image.Image, boxes: Sequence[tuple[int, int, int, int]]) -> Image.Image:
    """Note on a frame where regions were painted, for writers that must choose what to keep exactly."""
    image.info[_HIDDEN] = tuple(boxes)
    return image


def hidden_mask(image: Image.Image) -> Image.Image:
    """Return mode L, 255 where a region was painted on a frame."""
    mask = Image.new("L", image.size)
    for box in image.info.get(_HIDDEN, ()):
        mask.paste(255, box)
    return mask


def changed_box(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int] | None:
    """Return the smallest box outside which two pictures of one size and mode are equal; None where they are."""
    return ImageChops.difference(before, after).getbbox(alpha_only=False)


def fitted(image: Image.Image, plan: Plan) -> Image.Image:
    """Return a frame as the plan's format can hold it: RGB where all is opaque, alpha of one bit for GIF."""
    if not plan.transparent:
        return image if image.mode == "RGB" else image.convert("RGB")
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    if plan.format == "GIF":
        image.putalpha(image.getchannel("A").point([255 * (alpha >= GIF_OPAQUE) for alpha in range(256)]))
        image = with_hidden(fresh(image, "RGBA"), image.info.get(_HIDDEN, ()))
    return image
