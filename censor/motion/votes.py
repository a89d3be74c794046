"""A verdict for many looks over time: single false alarms must not make every video unsafe.

A detector that is wrong in 6 % of all frames finds something in almost every video. So the looks vote. In windows of
half a second, two and eight seconds, sliding over the video, the looks that found something are counted. A window is
an alarm where so many would be found by chance, with independent errors in `CHANCE` of the looks, less than once in a
hundred videos of this length. The rules, in this order:

| looks | verdict |
|---|---|
| an alarm in which at least half of the looks found something | nsfw |
| any other alarm | review |
| something found, and too few looks for any alarm (a video of a few frames) | review |
| all else | safe |

Errors are not independent in truth: what misleads a detector in one frame does so in the next. An alarm therefore
says that something is there for a while, not that it is what the detector takes it for. And what is seen in too few
looks to be told from chance (a tenth of a second at 30 looks a second) is hidden, but does not decide.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Votes", "count_votes"]

# False alarms a look, as measured for detectors on everyday pictures.
CHANCE = 0.06
# Expected alarms by chance in one video, at most.
ALARMS_BY_CHANCE = 0.01
# Lengths of the windows, seconds: from a flash to a scene.
WINDOWS = (0.5, 2.0, 8.0)
# From this share of the looks on, a window says nsfw.
HALF = 0.5


@dataclass(frozen=True)
class Votes:
    """What the looks say together.

    Attributes:
        verdict: `safe`, `review` or `nsfw`.
        looks, found: how many there were, and how many found something.
        start, end: the window that decided, seconds; None where none did.
        in_window: (found, looks) in that window.
    """

    verdict: str
    looks: int
    found: int
    start: float | None = None
    end: float | None = None
    in_window: tuple[int, int] = (0, 0)

    @property
    def reason(self) -> str:
        """One sentence for the report."""
        if self.start is None or self.end is None:
            few = ", too few looks to tell it from chance" if self.verdict == "review" else ""
            return f"something was found in {self.found} of {self.looks} looks{few}"
        found, looks = self.in_window
        return (
            f"something was found in {found} of {looks} looks from {self.start:.2f} s to {self.end:.2f} s, "
            f"{self.found} of {self.looks} in all"
        )


def count_votes(times: Sequence[float], found: Sequence[int]) -> Votes:
    """Count the votes of looks.

    Args:
        times: seconds, rising.
        found: for each whether something was found, 0 or 1.
    """
    looks, total = len(times), sum(found)
    if not total:
        return Votes("safe", looks, 0)
    length = times[-1] - times[0]
    # Windows that slide overlap; so many of each length are as good as independent.
    tests = sum(max(1.0, 2 * length / window) for window in WINDOWS)
    best: tuple[bool, float] = (False, math.inf)
    where = (0, 0, 0)
    for window in WINDOWS:
        first = inside = 0
        for last, time in enumerate(times):
            inside += found[last]
            while time - times[first] > window:
                inside -= found[first]
                first += 1
            count = last - first + 1
            chance = tests * _at_least(inside, count) if found[last] else math.inf
            # An alarm of half of the looks goes before any other.
            key = (chance >= ALARMS_BY_CHANCE or inside < HALF * count, chance)
            if where == (0, 0, 0) or key < best:
                best, where = key, (first, last, inside)
    if best[1] >= ALARMS_BY_CHANCE:
        short = tests * _at_least(looks, looks) >= ALARMS_BY_CHANCE
        return Votes("review" if short else "safe", looks, total)
    first, last, inside = where
    verdict = "review" if best[0] else "nsfw"
    return Votes(verdict, looks, total, times[first], times[last], (inside, last - first + 1))


@functools.lru_cache(maxsize=65536)
def _at_least(found: int, looks: int) -> float:
    """Return the chance that at least so many of the looks are false alarms, were they independent."""
    log_chance, log_rest = math.log(CHANCE), math.log1p(-CHANCE)
    terms = (
        math.lgamma(looks + 1)
        - math.lgamma(k + 1)
        - math.lgamma(looks - k + 1)
        + k * log_chance
        + (looks - k) * log_rest
        for k in range(found, looks + 1)
    )
    return min(1.0, sum(map(math.exp, terms)))
