"""From linear light to a file's pixels: what a camera, a file format and a screen do to a picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import UsageError
from detector.synth.drawing import COLOURLESS, DRAWINGS, LUMINANCE, draw
from detector.synth.frames import Placement, framed, rescaled
from detector.synth.render import Rendered

__all__ = ["Development", "develop", "sample_development"]

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# A picture's middle lies here after exposure, by its brightness as shown; low light stays recognisable.
_MIDDLE = (0.38, 0.68)
# Where a subject's median may come to lie, linear: neither a black shape nor burnt out. Dark skin stays dark.
_SUBJECT = (0.03, 0.5)
_SEPIA = np.array([1.07, 0.88, 0.66], np.float32)


@dataclass(frozen=True, kw_only=True)
class Development:
    """What is done to one picture; the defaults give it a plain tone curve and no more.

    Attributes:
        middle: what a middle brightness of the picture becomes, as shown, in (0, 1); None keeps the exposure.
        stops: exposure on top, in powers of two.
        white: (3,) factors of red, green and blue.
        contrast: 1 leaves it; more steepens the middle.
        saturation: 0 is grey, 1 leaves it.
        sepia: tint a grey picture brown.
        vignette: how much darker the corners are, 0 to 1.
        defocus: radius of the blur, in shares of the long side.
        motion: length of the blur, in shares of the long side, and its angle in radians.
        noise: standard deviation of the sensor's noise at a middle tone, in [0, 1].
        sharpen: strength of the unsharp mask.
        shrink: the picture is made this many times smaller and large again.
        jpeg: quality of a round trip, 1 to 100; None leaves it out.
        drawing: one of `DRAWINGS`, or None for a photograph.
        frame: one of `FRAMES` in frames.py, or None.
    """

    middle: float | None = None
    stops: float = 0.0
    white: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    saturation: float = 1.0
    sepia: bool = False
    vignette: float = 0.0
    defocus: float = 0.0
    motion: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0
    sharpen: float = 0.0
    shrink: float = 1.0
    jpeg: int | None = None
    drawing: str | None = None
    frame: str | None = None

    @property
    def colourless(self) -> bool:
        """Whether nothing but brightness is left of the colours."""
        return self.saturation == 0 or self.drawing in COLOURLESS


def sample_development(rng: np.random.Generator) -> Development:
    """Draw one: most are ordinary photographs, some grey, blurred, noisy, framed or drawn."""

    def sometimes(share: float, low: float, high: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < share else 0.0

    grey = rng.random() < 0.08
    cast = np.exp(rng.normal(0, 0.06, 3) if rng.random() < 0.85 else rng.normal(0, 0.2, 3))
    drawing = str(rng.choice(DRAWINGS)) if rng.random() < 0.06 else None
    frame = str(rng.choice(["border", "letterbox", "screenshot", "caption"])) if rng.random() < 0.12 else None
    low_light = rng.random() < 0.08
    return Development(
        middle=float(rng.uniform(*_MIDDLE)) * (0.65 if low_light else 1.0),
        stops=float(rng.normal(0, 0.15)),
        white=(float(cast[0]), float(cast[1]), float(cast[2])),
        contrast=float(np.exp(rng.normal(0, 0.18))),
        saturation=0.0 if grey else float(np.clip(rng.normal(1.0, 0.22), 0.2, 1.8)),
        sepia=bool(grey and rng.random() < 0.3),
        vignette=sometimes(0.3, 0.05, 0.5),
        defocus=sometimes(0.2, 0.001, 0.007),
        motion=(sometimes(0.1, 0.004, 0.025), float(rng.uniform(0, np.pi))),
        noise=sometimes(0.5, 0.003, 0.03) + (float(rng.uniform(0.01, 0.06)) if low_light else 0.0),
        sharpen=sometimes(0.3, 0.2, 1.5),
        shrink=1.0 + sometimes(0.15, 0.2, 1.8),
        jpeg=int(rng.integers(25, 98)) if rng.random() < 0.8 else None,
        drawing=drawing,
        frame=frame,
    )


def develop(
    image_linear: Floats,
    rng: np.random.Generator,
    options: Development | None = None,
    *,
    rendered: Rendered | None = None,
    subject: NDArray[np.bool_] | None = None,
) -> tuple[Bytes, Placement]:
    """Return the finished picture (H, W, 3) uint8 RGB of the same size, and where its content now lies.

    Args:
        image_linear: (H, W, 3) linear RGB, finite, not negative.
        rng: noise, frames and pencil strokes; also the options where none are given.
        options: None draws them with `sample_development`.
        rendered: gives drawings their outlines; without it they come from the picture's own edges.
        subject: (H, W) what the light meter keeps visible, such as the bodies without the floor; None is all that
            was rendered, or the whole picture where `rendered` is not given either.

    Returns:
        The picture, and the affine that a box of the rendered picture follows; the identity when nothing moved it.

    Raises:
        UsageError: for a picture of another shape, or values that are not finite.
    """
    if image_linear.ndim != 3 or image_linear.shape[2] != 3 or not np.isfinite(image_linear).all():
        raise UsageError(f"develop needs a finite (H, W, 3) picture; got {image_linear.shape}")
    how = sample_development(rng) if options is None else options
    if subject is None and rendered is not None:
        subject = rendered.mesh >= 0
    light = _expose(image_linear.astype(np.float32), how, subject)
    light = _blur(light, how)
    if how.vignette:
        light = light * _corners(light.shape[0], light.shape[1], how.vignette)
    shown = _tone(light, how)
    if how.drawing is not None:
        shown = draw(shown, how.drawing, rng, rendered)
    shown = _colours(shown, how)
    if how.noise:
        shown = _noisy(shown, how.noise, rng)
    if how.sharpen:
        soft = _blurred(shown, 1.2)
        shown = shown + np.float32(how.sharpen) * (shown - soft)
    if how.shrink > 1:
        shown = rescaled(shown, how.shrink)
    placement = Placement()
    if how.frame is not None:
        shown, placement = framed(shown, how.frame, rng)
    picture = np.rint(shown.clip(0, 1) * 255).astype(np.uint8)
    return (picture if how.jpeg is None else _jpeg(picture, how.jpeg)), placement


def _expose(image: Floats, how: Development, subject: NDArray[np.bool_] | None) -> Floats:
    factor = 2.0**how.stops
    if how.middle is not None:
        bright = image @ LUMINANCE
        low, high = 1 / 32, 32.0
        # The brighter half counts: a small body before a black wall must not be blown out.
        level = float(np.percentile(bright, 60))
        if subject is not None and subject.any():
            # Cameras meter on people too, so neither they nor the rest is lost.
            middle = max(float(np.median(bright[subject])), 1e-4)
            level = math.sqrt(level * middle)
            low, high = (min(max(bound / middle / factor, low), high) for bound in _SUBJECT)
        factor *= float(np.clip(how.middle**2.2 / max(level, 1e-4), low, high))
    return image * (np.asarray(how.white, np.float32) * np.float32(factor))


def _blur(light: Floats, how: Development) -> Floats:
    """Blur in linear light, as lenses do."""
    side = max(light.shape[:2])
    if how.defocus * side > 0.3:
        light = _blurred(light, how.defocus * side)
    length, angle = how.motion
    reach = int(np.ceil(length * side))
    if reach > 1:
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        step = np.array([np.cos(angle), np.sin(angle)]) * length * side / 2
        start, end = (tuple(int(v) for v in np.rint(reach + sign * step)) for sign in (-1, 1))
        cv2.line(kernel, start, end, 1.0, 1)
        light = np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum()), np.float32)
    return light


def _tone(light: Floats, how: Development) -> Floats:
    """Roll highlights off above 0.8, encode as sRGB does to a good approximation, and bend the middle."""
    rolled = np.where(light > 0.8, 1 - 0.2 * np.exp(-(light - 0.8) / 0.2), light)
    shown = np.maximum(rolled, 0) ** np.float32(1 / 2.2)
    if how.contrast != 1:
        shown = np.clip(0.5 + (shown - 0.5) * how.contrast, 0, 1)
    return np.asarray(shown, dtype=np.float32)


def _colours(shown: Floats, how: Development) -> Floats:
    if how.saturation != 1:
        grey = (shown @ LUMINANCE)[:, :, None]
        shown = np.asarray(grey + np.float32(how.saturation) * (shown - grey), np.float32)
    return np.minimum(shown * _SEPIA, 1) if how.sepia else shown


def _corners(height: int, width: int, strength: float) -> Floats:
    y, x = np.indices((height, width), dtype=np.float32)
    square = ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2
    return np.asarray(1 - np.float32(strength) * square[:, :, None] / 2, np.float32)


def _noisy(shown: Floats, strength: float, rng: np.random.Generator) -> Floats:
    """Add noise that grows in the dark, part of it alike in all channels, and a little coarser than a pixel."""
    height, width = shown.shape[:2]
    grain = rng.standard_normal((height, width, 4), dtype=np.float32)
    if rng.random() < 0.5:
        grain = _blurred(grain, 0.6) * 1.6
    weight = np.float32(strength) * (1.4 - 0.8 * (shown @ LUMINANCE))[:, :, None]
    return np.asarray(shown + weight * (0.8 * grain[:, :, 3:] + 0.6 * grain[:, :, :3]), np.float32)


def _jpeg(picture: Bytes, quality: int) -> Bytes:
    _, packed = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert unpacked is not None  # it was packed on the line before
    return np.ascontiguousarray(unpacked[:, :, ::-1]).astype(np.uint8)


def _blurred(picture: Floats, spread: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), spread), dtype=np.float32)
