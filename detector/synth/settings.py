"""What scenes are drawn, in which shares: settings that need no renderer to be read."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from detector.config import from_table, read_toml
from detector.errors import UsageError
from detector.synth.withheld import kinds_shown

__all__ = ["SceneSettings", "read_settings"]

# Pixels of a side. A picture of 2048 x 2048 takes 2 GB in each worker.
_LEAST, _MOST = 32, 4096


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What scenes there are, in which shares. Shares of one kind need not sum to 1; only their ratio counts.

    Attributes:
        image_size: (height, width) in pixels.
        shots: pictures in a row of the same people and objects, each from elsewhere, in another light, before
            another background; more are faster, and less varied.
        empty: share of pictures without a person: backgrounds, textures in the colours of skin, objects.
        people: shares of pictures with one, two and three adults, of those with any.
        dress: shares of persons who are nude, partly dressed and dressed, in the order of `DRESS`.
        views: shares of the whole of all persons, half of one, a torso, and one part from near, in that order.
        occluded: share of pictures of people with an object between them and the camera.
        turned: share of pictures that are turned by any angle, as from a phone held askew.
        kinds: which poses, backgrounds and lights are drawn: see `detector.synth.withheld`.
    """

    image_size: tuple[int, int] = (384, 384)
    shots: int = 1
    empty: float = 0.20
    people: tuple[float, float, float] = (0.75, 0.18, 0.07)
    dress: tuple[float, float, float] = (0.31, 0.25, 0.44)
    views: tuple[float, float, float, float] = (0.34, 0.30, 0.24, 0.12)
    occluded: float = 0.08
    turned: float = 0.04
    kinds: str = "all"

    def __post_init__(self) -> None:
        """Refuse shares that are none.

        Raises:
            UsageError: for a share below 0, shares of one kind that are all 0 or have no finite sum, or pictures that
                are not from 32 to 4096 pixels either way.
        """
        for name in ("people", "dress", "views"):
            shares = getattr(self, name)
            if not all(share >= 0 for share in shares) or not 0 < sum(shares) < math.inf:
                raise UsageError(f"{name} must be shares, finite, not negative and not all 0; got {shares}")
        for name in ("empty", "occluded", "turned"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be a share from 0 to 1; got {getattr(self, name)}")
        kinds_shown((), self.kinds)
        if self.shots < 1:
            raise UsageError(f"shots must be at least 1; got {self.shots}")
        if not all(_LEAST <= side <= _MOST for side in self.image_size):
            raise UsageError(f"image_size must be from {_LEAST} to {_MOST} pixels either way; got {self.image_size}")


def read_settings(path: Path | None, *, size: int | None = None) -> SceneSettings:
    """Return the settings of a file, or the defaults.

    Args:
        path: a TOML file whose keys are the fields of `SceneSettings`; None takes the defaults.
        size: side of square pictures; None keeps what the file says.

    Raises:
        PolicyError: for a file that cannot be read, an unknown key or a value of another type.
        UsageError: for shares that are none.
    """
    settings = SceneSettings() if path is None else from_table(SceneSettings, read_toml(path), str(path))
    return settings if size is None else dataclasses.replace(settings, image_size=(size, size))
