"""Put the single looks of several threads together, for a device that looks at many pictures as fast as at one.

On a CPU that gains nothing: there each core has a picture of its own.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from censor.pipeline import Detector, Pipeline, SecondOpinion

__all__ = ["BatchedDetector", "BatchedOpinion", "batched"]

# Looks put together at most; a detector divides further as its memory wants it.
MAX_TOGETHER = 64


def batched(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose models gather the looks of all its threads, where the device gains by it."""
    if not pipeline.model.device.startswith("cuda"):
        return pipeline
    opinion = BatchedOpinion(pipeline.opinion) if pipeline.opinion is not None else None
    return replace(pipeline, model=BatchedDetector(pipeline.model), opinion=opinion)


class BatchedDetector:
    """A detector that answers single looks from many threads with calls on lists; the answers are the same."""

    def __init__(self, model: Detector) -> None:
        self.name, self.class_names = model.name, model.class_names
        self.device, self.sha256 = model.device, model.sha256
        self._model = model
        self._gather = _Gather(model.detect)

    def detect(
        self, images: Any, *, classes: Sequence[str], score_thresh: float | Mapping[str, float], tiles: bool
    ) -> Any:
        """Find parts in one picture; see the model."""
        settings: dict[str, Any] = {"classes": tuple(classes), "score_thresh": score_thresh, "tiles": tiles}
        if tiles or isinstance(images, list | tuple):
            return self._model.detect(images, **settings)
        return self._gather(images, settings)


class BatchedOpinion:
    """The same for a second opinion."""

    def __init__(self, opinion: SecondOpinion) -> None:
        self.name, self.sha256 = getattr(opinion, "name", None), getattr(opinion, "sha256", None)
        self._opinion = opinion
        self._gather = _Gather(opinion.look)

    def look(self, images: Any) -> Any:
        """Return the `Opinion` of one picture."""
        return self._opinion.look(images) if isinstance(images, list | tuple) else self._gather(images, {})


@dataclass(eq=False)
class _Look:
    """One thread's question, and the answer when there is one."""

    image: Any
    settings: dict[str, Any]
    answer: Any = None
    error: Exception | None = None
    answered: bool = field(default=False)


class _Gather:
    """One call at a time; what is asked meanwhile goes into the next. Nobody waits for company."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._waiting: list[_Look] = []
        self._list = threading.Lock()
        self._turn = threading.Lock()

    def __call__(self, image: Any, settings: dict[str, Any]) -> Any:
        look = _Look(image, settings)
        with self._list:
            self._waiting.append(look)
        with self._turn:
            if not look.answered:
                self._answer(self._together(look))
        if look.error is not None:
            raise look.error
        return look.answer

    def _together(self, look: _Look) -> list[_Look]:
        """Take a look, and others that ask the same of other pictures, out of those that wait."""
        with self._list:
            others = [one for one in self._waiting if one is not look and one.settings == look.settings]
            taken = [look, *others[: MAX_TOGETHER - 1]]
            self._waiting = [one for one in self._waiting if one not in taken]
        return taken

    def _answer(self, looks: list[_Look]) -> None:
        """Ask for all at once; where that fails, one by one, so that a bad picture fails alone."""
        try:
            answers = self._call([look.image for look in looks], **looks[0].settings)
            for look, answer in zip(looks, answers, strict=True):
                look.answer, look.answered = answer, True
        except Exception:
            for look in looks:
                try:
                    look.answer = self._call(look.image, **look.settings)
                except Exception as error:
                    look.error = error
                look.answered = True
