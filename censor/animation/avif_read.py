"""Read AVIF image sequences; libavif decodes."""

from collections.abc import Iterator
from fractions import Fraction

from PIL import Image

from censor.animation.avif_boxes import AvifTiming, avif_timing
from censor.animation.sequence import Animation, as_seen, profile_of
from detector.containers import exif_orientation
from detector.decode import decoding
from detector.errors import InputError
from detector.formats import open_decoder
from detector.limits import Limits

__all__ = ["AvifAnimation", "open_avif"]


def open_avif(name: str, data: bytes, limits: Limits) -> "AvifAnimation | None":
    """Return the sequence in an AVIF file; None for a picture that is none.

    Raises:
        InputError: when its boxes are broken.
        LimitError: when it is larger or longer than the limits allow.
    """
    with decoding(name, "AVIF"):
        image = open_decoder(data, "AVIF", name, limits)
        count = getattr(image, "n_frames", 1)
    if count < 2:
        return None
    width, height = image.size
    limits.check_size(width, height, name)
    limits.check_frames(count, count * width * height, name)
    timing = avif_timing(data, name)
    if len(timing.ticks) != count:
        raise InputError(
            f"{name}: an AVIF sequence must say how long each of its {count} frames is shown; it does so for "
            f"{len(timing.ticks)}; it is corrupt; export it again"
        )
    exif = image.info.get("exif")
    orientation = exif_orientation(exif if isinstance(exif, bytes) else b"")
    return AvifAnimation(name, data, image.size, timing, orientation, limits)


class AvifAnimation(Animation):
    """An AVIF image sequence."""

    format = "AVIF"

    def __init__(
        self, name: str, data: bytes, size: tuple[int, int], timing: AvifTiming, orientation: int, limits: Limits
    ) -> None:
        super().__init__(
            name,
            data,
            size=size,
            orientation=orientation,
            durations=tuple(Fraction(ticks, timing.timescale) for ticks in timing.ticks),
            plays=timing.plays,
            limits=limits,
            lossless=False,
            timescale=timing.timescale,
        )

    def frames(self) -> Iterator[Image.Image]:
        """Decode each frame; see `Animation.frames`."""
        with decoding(self.name, self.format):
            image = open_decoder(self.data, "AVIF", self.name, self.limits)
            profile = profile_of("AVIF", image)
        for i in range(self.count):
            with decoding(self.name, self.format):
                image.seek(i)
                image.load()
                frame = as_seen(image.copy(), profile, self.orientation)
            yield frame
