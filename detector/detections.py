"""`Detections`: what a detector found in one picture, and the only thing that crosses from `detector` to `censor`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detector.classes import CLASSES, canonical_class, canonical_classes
from detector.errors import UsageError

__all__ = ["Detections"]

# A person's box may reach this far over the picture's edge; farther makes no difference, and float32 holds it.
_FARTHEST = 1e6


@dataclass(frozen=True, eq=False, kw_only=True)
class Detections:
    """Boxes, scores and labels of one picture; checked when made, sorted by falling score, read-only after.

    Attributes:
        boxes: (N, 4) float32 xyxy, absolute pixels of the source picture as a viewer sees it (EXIF orientation
            applied), continuous: pixel i spans [i, i + 1). May reach over the picture's edge.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, index into `class_names`; there is no background class.
        image_size: (height, width) of the source picture.
        class_names: what the labels mean.
        model: name of the model that looked, for reports.
        device: where it ran, for reports.

    Raises:
        UsageError: when a shape, a range or a value does not hold. NaN and Inf are refused: a box that is not a
            number would hide nothing.
    """

    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), dtype=np.float32))
    scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    image_size: tuple[int, int]
    class_names: tuple[str, ...] = CLASSES
    model: str = "none"
    device: str = "cpu"

    def __post_init__(self) -> None:
        boxes = _as_array("boxes", self.boxes, np.float32, (None, 4))
        scores = _as_array("scores", self.scores, np.float32, (len(boxes),))
        labels = _as_array("labels", self.labels, np.int64, (len(boxes),))
        height, width = (int(side) for side in self.image_size)
        if height < 1 or width < 1:
            raise UsageError(f"image_size must be (height, width), both at least 1; got {self.image_size}")
        if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
            raise UsageError(f"boxes must be finite xyxy with x1 <= x2 and y1 <= y2; got {boxes.tolist()}")
        if not ((scores >= 0) & (scores <= 1)).all():
            raise UsageError(f"scores must lie in [0, 1]; got {scores.tolist()}")
        if not ((labels >= 0) & (labels < len(self.class_names))).all():
            raise UsageError(f"labels must lie in [0, {len(self.class_names)}); got {labels.tolist()}")
        order = np.argsort(-scores, kind="stable")
        for name, array in (("boxes", boxes[order]), ("scores", scores[order]), ("labels", labels[order])):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "image_size", (height, width))
        object.__setattr__(self, "class_names", tuple(self.class_names))

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The class name of each detection, in order."""
        return [self.class_names[label] for label in self.labels]

    def select(self, keep: ArrayLike) -> Self:
        """Return those that `keep` picks: (N,) booleans, or indices. Bookkeeping fields stay."""
        index = np.asarray(keep)
        if index.size == 0:
            index = index.astype(np.int64)
        return replace(self, boxes=self.boxes[index], scores=self.scores[index], labels=self.labels[index])

    def of_classes(self, names: Iterable[str]) -> Self:
        """Return those of the named classes, in any spelling; a name that the model does not have is an error."""
        wanted = canonical_classes(names, self.class_names)
        return self.select(np.array([name in wanted for name in self.names], dtype=bool))

    def above(self, score_thresh: float | Mapping[str, float]) -> Self:
        """Return those at or above a threshold, one for all or one a class; a class without one is dropped."""
        if not isinstance(score_thresh, Mapping):
            return self.select(self.scores >= score_thresh)
        limits = [score_thresh.get(name, np.inf) for name in self.class_names]
        return self.select(self.scores >= np.array(limits, dtype=np.float32)[self.labels])

    def to_records(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict a detection: `label`, `score`, `box` as [x1, y1, x2, y2]."""
        return [
            {"label": name, "score": round(float(score), 6), "box": [round(float(x), 3) for x in box]}
            for name, score, box in zip(self.names, self.scores, self.boxes, strict=True)
        ]

    @classmethod
    def from_records(
        cls,
        records: Sequence[Mapping[str, Any]],
        image_size: tuple[int, int],
        *,
        class_names: tuple[str, ...] = CLASSES,
        model: str = "none",
    ) -> Self:
        """Build from dicts as `to_records` makes them; a missing score counts as 1 (a person drew the box).

        Raises:
            UsageError: when a record lacks `label` or `box`, or holds something that is not a number.
        """
        try:
            labels = [class_names.index(canonical_class(str(record["label"]), class_names)) for record in records]
            boxes = np.array([record["box"] for record in records], dtype=np.float64).reshape(len(records), 4)
            boxes = np.clip(boxes, -_FARTHEST, _FARTHEST)
            # Clipped to what is out of range all the same: float32 could not hold 1e308.
            scores = np.clip([float(record.get("score", 1.0)) for record in records], -1.0, 2.0)
        except UsageError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UsageError(
                "each detection must be an object with `label` and `box` = [x1, y1, x2, y2]; "
                f"got something else ({type(error).__name__}: {error})"
            ) from error
        return cls(
            boxes=boxes.astype(np.float32),
            scores=scores.astype(np.float32),
            labels=np.array(labels, dtype=np.int64),
            image_size=image_size,
            class_names=class_names,
            model=model,
        )


def _as_array(name: str, value: ArrayLike, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Copy into an array of the stated shape, or say which shape was expected and which was given."""
    array = np.array(value, dtype=dtype)
    if array.size == 0 and shape[0] in (None, 0):
        array = array.reshape(tuple(0 if side is None else side for side in shape))
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        expected = "(" + ", ".join("N" if side is None else str(side) for side in shape) + ")"
        raise UsageError(f"{name} must have shape {expected}; got {array.shape}")
    return array
