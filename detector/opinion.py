"""`Opinion`: what a whole-picture classifier says of one picture, and which view of it decided."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from detector.errors import UsageError

__all__ = ["WHOLE_VIEW", "Opinion"]

# The picture as it is, squashed to the network's square.
WHOLE_VIEW = "whole"


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One picture's score, and the scores of the views that it was chosen from.

    Attributes:
        score: how likely the picture is not safe for work, in [0, 1].
        decided_by: the view whose score this is: `whole`, `without border`, `crop 1 of 3`, ….
        views: every view's score by name, in the order in which they were looked at.

    Raises:
        UsageError: when a score is not a number in [0, 1], or the deciding view is not among the views.
    """

    score: float
    decided_by: str = WHOLE_VIEW
    views: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.views:
            object.__setattr__(self, "views", {self.decided_by: self.score})
        for score in (self.score, *self.views.values()):
            if not (math.isfinite(score) and 0 <= score <= 1):
                raise UsageError(f"a second opinion must be a number in [0, 1]; got {score}")
        if self.views.get(self.decided_by) != self.score:
            raise UsageError(
                f"an opinion's score must be its deciding view's; {self.decided_by!r} has "
                f"{self.views.get(self.decided_by)}, the opinion {self.score}"
            )
