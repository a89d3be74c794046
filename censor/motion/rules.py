"""`MotionRules`: how long and how widely a part that moves is hidden around what was found."""

import math
from dataclasses import dataclass, fields

from detector.errors import UsageError

__all__ = ["MotionRules"]

# Longer than this is somebody who wrote milliseconds; frames and boxes wait this long in memory.
MAX_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class MotionRules:
    """How long and how widely a part that moves is hidden. Times in seconds.

    Attributes:
        hold: a part is hidden this long before it is first found and after it was last found, and at least over
            `hold_looks` looks.
        hold_looks: looks before the first and after the last that found it, for which it is hidden too: a part may
            have come or gone at any time between two looks, and a detector misses some.
        bridge: a part that is found again at the same place within this time is hidden all the time between.
        bridge_looks: the same as a number of looks, for those who look rarely; the longer of the two holds.
        spread: at every moment a part's way within this time before and after is hidden, which covers a shaking box
            and enlarges a moving one along its way.
        drift: a box grows on each side by this share of its side for every second to the nearest look that found it.

    Raises:
        UsageError: for a value that is not a number, negative, or over a minute.
    """

    hold: float = 0.4
    hold_looks: int = 2
    bridge: float = 1.0
    bridge_looks: int = 5
    spread: float = 0.1
    drift: float = 0.25

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise UsageError(f"{item.name} must be a finite number; got {value!r}")
            if not 0 <= value <= MAX_SECONDS:
                raise UsageError(f"{item.name} must lie in 0..{MAX_SECONDS:g}; got {value!r}")
        if self.hold_looks < 1 or self.bridge_looks < self.hold_looks:
            raise UsageError(
                "hold_looks must be at least 1 and bridge_looks at least hold_looks; "
                f"got {self.hold_looks} and {self.bridge_looks}"
            )

    @property
    def look_ahead(self) -> float:
        """How far ahead one must have looked before it is known what is hidden now."""
        return max(self.hold, self.bridge, self.spread)
