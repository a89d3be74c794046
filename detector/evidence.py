"""`Evidence`: what is known of one picture before a verdict, as named numbers; `Record`: what came of earlier ones.

The names are the features of `detector.fusion`:

| name | value |
|---|---|
| `exposed.score` | best score of all classes that flag a picture, 0 when none was found |
| `exposed.count` | how many such parts were found, at most 5 |
| `exposed.area` | share of the picture that their boxes cover, overlaps counted twice, at most 1 |
| `CLASS.score`, `CLASS.count` | the same for one class that flags a picture; for belly and male breast only the score |
| `second_opinion` | open_nsfw's score; weighed as log-odds |
| `second_opinion.missing` | 1 when it was not asked, else 0 |
| `uploader.flagged_Nd`, `group.flagged_Nd` | share flagged of the pictures of the last N days, see `Record.share` |

Shares of records are weighed as log-odds too.

A score counts from the threshold of its class up, so that it does not matter how far down a caller looked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from detector.classes import canonical_classes
from detector.errors import UsageError
from detector.nearest import nearest

if TYPE_CHECKING:
    from detector.detections import Detections

__all__ = [
    "COUNT_CAP",
    "MISSING",
    "OPINION",
    "RECORD_FEATURES",
    "RECORD_STRENGTH",
    "WINDOWS",
    "Evidence",
    "Record",
    "counted_classes",
    "log_odds",
    "part_features",
    "part_values",
    "probability",
]

# Days that a record reaches back.
WINDOWS = (1, 7, 30, 90)

# A record starts as if so many pictures had been posted and the usual share of them flagged: one flagged picture of
# one is then no certainty, ten of ten weigh as much as the start, and hundreds speak for themselves.
RECORD_STRENGTH = 10.0

# Parts beyond so many say nothing new.
COUNT_CAP = 5

# A probability is kept this far from 0 and 1, so that its log-odds are finite.
_EDGE = 1e-3

OPINION = "second_opinion"
MISSING = "second_opinion.missing"
RECORD_FEATURES: tuple[str, ...] = tuple(
    f"{whose}.flagged_{days}d" for whose in ("uploader", "group") for days in WINDOWS
)

# Parts that do not flag a picture but say something about it.
_SUPPORTING = ("BELLY_EXPOSED", "MALE_BREAST_EXPOSED")


@dataclass(frozen=True, kw_only=True)
class Record:
    """How many pictures an uploader or a group posted before this one, and how many of them were flagged.

    Attributes:
        posted: pictures of the last 1, 7, 30 and 90 days, this one not counted.
        flagged: those of them that a person or a policy found not safe.

    Raises:
        UsageError: when a count is no whole number from 0 up, more were flagged than posted, or a shorter time has
            more than a longer one.

    Example:
        >>> Record(posted=(0, 2, 10, 40), flagged=(0, 0, 1, 3)).posted[3]
        40
    """

    posted: tuple[int, int, int, int]
    flagged: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        for name in ("posted", "flagged"):
            counts = getattr(self, name)
            if not isinstance(counts, tuple | list) or len(counts) != len(WINDOWS):
                raise UsageError(f"a record's {name!r} must be four counts, of 1, 7, 30 and 90 days; got {counts!r}")
            if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
                raise UsageError(f"a record's {name!r} must be whole numbers from 0 up; got {list(counts)}")
            if list(counts) != sorted(counts):
                raise UsageError(f"a record's {name!r} must not fall from 1 to 7, 30 and 90 days; got {list(counts)}")
            object.__setattr__(self, name, tuple(counts))
        if any(bad > all_ for bad, all_ in zip(self.flagged, self.posted, strict=True)):
            raise UsageError(f"a record must not flag more than was posted; got {self.flagged} of {self.posted}")

    @classmethod
    def from_dict(cls, table: Any) -> Self:
        """Build from `{"posted": {"1": 0, "7": 2, "30": 10, "90": 40}, "flagged": {...}}`, as JSON carries it.

        Raises:
            UsageError: when a key is missing or unknown, or a count is not as `Record` wants it.
        """
        days = [str(number) for number in WINDOWS]
        for keys, part in (
            (("posted", "flagged"), table),
            *((days, _get(table, key)) for key in ("posted", "flagged")),
        ):
            if not isinstance(part, Mapping) or sorted(part) != sorted(keys):
                odd = [str(key) for key in part if key not in keys] if isinstance(part, Mapping) else []
                raise UsageError(
                    f"a record must be an object with posted and flagged, each with {', '.join(days)} (days); "
                    f"got {part!r}" + (nearest(odd[0], keys) if odd else "")
                )
        return cls(**{key: tuple(table[key][number] for number in days) for key in ("posted", "flagged")})

    def share(self, window: int, usual: float) -> float | None:
        """Return the share flagged in `WINDOWS[window]`, drawn towards `usual`; None when nothing was posted."""
        posted, flagged = self.posted[window], self.flagged[window]
        return (flagged + RECORD_STRENGTH * usual) / (posted + RECORD_STRENGTH) if posted else None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of one picture.

    Attributes:
        parts: the value of each feature that comes from the detector, by name: see `part_values`.
        second_opinion: score of the whole picture in [0, 1]; None when it was not asked.
        uploader, group: their records; None when unknown, which counts neither for nor against the picture.

    Raises:
        UsageError: when a value is not finite, or the second opinion lies outside [0, 1]: no bound is exceeded by NaN.
    """

    parts: Mapping[str, float]
    second_opinion: float | None = None
    uploader: Record | None = None
    group: Record | None = None

    def __post_init__(self) -> None:
        for name, value in self.parts.items():
            if not math.isfinite(value):
                raise UsageError(f"the evidence must hold finite numbers; {name} is {value}")
        if self.second_opinion is not None and not 0 <= self.second_opinion <= 1:
            raise UsageError(f"a second opinion must be a number in [0, 1]; got {self.second_opinion}")

    def value(self, feature: str, mean: float) -> float | None:
        """Return a feature's value in its own unit; None when it is not known.

        Args:
            feature: its name.
            mean: what it usually is, as it is weighed: for a record the log-odds of the usual share.

        Raises:
            UsageError: when a feature of the detector is not there: nothing found is 0, not missing.
        """
        if feature == OPINION:
            return self.second_opinion
        if feature == MISSING:
            return float(self.second_opinion is None)
        if feature in RECORD_FEATURES:
            whose, window = divmod(RECORD_FEATURES.index(feature), len(WINDOWS))
            record = (self.uploader, self.group)[whose]
            return None if record is None else record.share(window, probability(mean))
        if feature not in self.parts:
            raise UsageError(f"the evidence must hold {feature!r}; it holds {', '.join(self.parts)}")
        return self.parts[feature]


def counted_classes(nsfw_classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return every class whose parts are counted: those that flag a picture, and belly and male breast."""
    return tuple(dict.fromkeys((*nsfw_classes, *_SUPPORTING)))


def part_features(nsfw_classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the features that come from the detector, in order."""
    names = ["exposed.score", "exposed.count", "exposed.area"]
    for label in counted_classes(nsfw_classes):
        names += [f"{label}.score", f"{label}.count"] if label in nsfw_classes else [f"{label}.score"]
    return tuple(names)


def part_values(
    found: "Detections", nsfw_classes: tuple[str, ...], counted_from: Mapping[str, float]
) -> dict[str, float]:
    """Return the features of what a detector found.

    Args:
        found: of one picture; what is under `counted_from` is passed over.
        nsfw_classes: the classes that flag a picture.
        counted_from: lowest score that counts, of each of `counted_classes`.

    Raises:
        UsageError: when the detector does not know one of the classes: not finding it would mean nothing.
    """
    counted = canonical_classes(counted_classes(nsfw_classes), found.class_names)
    hits = found.above({label: counted_from[label] for label in counted})
    exposed = hits.select([name in nsfw_classes for name in hits.names])
    height, width = found.image_size
    x1, y1, x2, y2 = exposed.boxes.astype(float).clip(0, (width, height, width, height)).T
    values = {
        "exposed.score": float(exposed.scores[0]) if len(exposed) else 0.0,
        "exposed.count": float(min(len(exposed), COUNT_CAP)),
        "exposed.area": min(1.0, float(((x2 - x1) * (y2 - y1)).sum()) / (height * width)),
    }
    for label in counted:
        scores = [float(score) for name, score in zip(hits.names, hits.scores, strict=True) if name == label]
        values[f"{label}.score"] = max(scores, default=0.0)
        if label in nsfw_classes:
            values[f"{label}.count"] = float(min(len(scores), COUNT_CAP))
    return values


def log_odds(share: float) -> float:
    """Return log(share / (1 - share)), of a share kept in [0.001, 0.999] so that it is finite."""
    share = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(share / (1 - share))


def probability(odds: float) -> float:
    """Return the probability of these log-odds."""
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    return math.exp(odds) / (1 + math.exp(odds))


def _get(table: Any, key: str) -> Any:
    return table.get(key) if isinstance(table, Mapping) else None
