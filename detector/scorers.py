"""Whole-picture scores under one face: classifiers, baselines, a detector taken as a classifier, and combinations."""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from detector.classes import NSFW_CLASSES
from detector.errors import ModelError, UsageError
from detector.models import ONNX_SUFFIX, WEIGHTS_SUFFIX, Predictor, find_model, list_models, load, read_bytes
from detector.nearest import nearest
from detector.policy import load_policy

__all__ = ["CombinedScorer", "DetectorScorer", "Scorer", "default_thresh", "load_scorer", "scorer_names"]

# From here up a part counts as seen at all. Scores of whole pictures need the low ones too: what lies under the
# policy's threshold still tells pictures apart.
LOWEST_SCORE = 0.01

# Of everything whose maker states no other.
HALF = 0.5

JOIN = "+"
POLICY_SUFFIX = ".toml"
OPEN_NSFW = "open-nsfw"


class Scorer(Protocol):
    """Says how likely a picture is not safe for work; safe to call from several threads, holds no thresholds."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    @property
    def sha256(self) -> str | None:
        """Of the weights; None where there are none."""
        ...

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        ...

    def score(self, images: Any) -> Any:
        """Return a number in [0, 1] for a picture, or a list of them for a list."""
        ...


class DetectorScorer:
    """A detector taken as a classifier: the highest score of an exposed class that flags a picture, or 0.

    `detector.classes.NSFW_CLASSES` says which classes flag one; a belly or a man's chest does not.

    Args:
        model: any detector.

    Raises:
        UsageError: when it knows none of these classes.

    Source:
        NudeNet v1 was evaluated so by its author: nude when BUTTOCKS, F_BREAST or a GENITALIA is found.
    """

    def __init__(self, model: Predictor) -> None:
        self.model = model
        self.name, self.device = model.name, model.device
        self.sha256: str | None = model.sha256
        self._classes = tuple(name for name in NSFW_CLASSES if name in model.class_names)
        if not self._classes:
            raise UsageError(
                f"a detector taken as a classifier must know one of {', '.join(NSFW_CLASSES)}; "
                f"{model.name} knows {', '.join(model.class_names)}"
            )

    def score(self, images: Any) -> Any:
        """Return the score of a picture, or a list of them; arguments and errors as for `Predictor.detect`."""
        found = self.model.detect(images, classes=self._classes, score_thresh=LOWEST_SCORE)
        if not isinstance(images, list | tuple):
            return _highest(found)
        return [_highest(each) for each in found]


class CombinedScorer:
    """Several scorers as one: whatever one of them flags is flagged.

    Scores of different systems mean different things: 0.3 is much for a detector and little for open_nsfw. So each
    member's score is first stretched so that its own operating threshold comes to lie at one half, in two straight
    pieces, [0, t] to [0, 0.5] and [t, 1] to [0.5, 1]; then the highest counts. At one half the combination flags
    exactly what one of its members flags at its own threshold: with a detector and open_nsfw these are the pictures
    that the rule table of `detector.verdict` does not call safe (by its default policy, which takes an unsure second
    opinion for safe).

    The highest, and not 1 - (1 - a)(1 - b): that takes the scores for independent probabilities, which they are not,
    and would flag pictures that no member flags.

    Args:
        members: at least two, of different names.
        thresh: the operating threshold of each, in (0, 1).

    Raises:
        UsageError: when there are fewer, or a threshold lies outside.
    """

    def __init__(self, members: Sequence[Scorer], thresh: Sequence[float]) -> None:
        self.name = JOIN.join(member.name for member in members)
        if len(members) < 2 or len({member.name for member in members}) != len(members):
            raise UsageError(f"a combination must have at least two members, each once; got {self.name!r}")
        if len(thresh) != len(members) or not all(0 < value < 1 for value in thresh):
            raise UsageError(f"each of {self.name} must have a threshold in (0, 1); got {list(thresh)}")
        self.members, self.thresh = tuple(members), tuple(thresh)
        self.sha256: str | None = None
        self.device = next((member.device for member in members if member.device != "cpu"), "cpu")

    def score(self, images: Any) -> Any:
        """Return the score of a picture, or a list of them for a list."""
        many = list(images) if isinstance(images, list | tuple) else [images]
        stretched = [
            np.interp(member.score(many), [0.0, thresh, 1.0], [0.0, HALF, 1.0])
            for member, thresh in zip(self.members, self.thresh, strict=True)
        ]
        scores = [float(score) for score in np.max(stretched, axis=0)] if many else []
        return scores if isinstance(images, list | tuple) else scores[0]


def default_thresh(scorer: Scorer) -> float:
    """Return the operating threshold that goes with a scorer: flag what is at or above it.

    For a detector the default policy's; for open_nsfw the same policy's `nsfw_above`, which is Yahoo's 0.8; for a
    policy's fusion its own `nsfw_above`; one half for everything else, where it is what the baselines' own rules, a
    two-class softmax and a combination mean by it.
    """
    if isinstance(scorer, DetectorScorer):
        return load_policy().detect.score_thresh
    fusion = getattr(getattr(scorer, "policy", None), "fusion", None)
    if fusion is not None:
        return float(fusion.nsfw_above)
    return load_policy().verdict.nsfw_above if scorer.name == OPEN_NSFW else HALF


def scorer_names() -> list[str]:
    """Return every name that `load_scorer` knows, installed or not; files and combinations come on top."""
    return [*(entry.name for entry in list_models()), *_baselines()]


def load_scorer(name: str, *, device: str = "cpu", threads: int | None = None) -> Scorer:
    """Load what gives whole pictures a score.

    Args:
        name: a model of `detector models` (a detector is taken as a classifier), a baseline, the path of a weight
            file of ours (`.safetensors`, `.onnx`) or of a policy with a `[fusion]` (`.toml`), or several of these
            joined by `+`.
        device: `cpu` or `cuda`; baselines always run on the CPU.
        threads: threads for one picture; None takes what is fastest for one picture at a time.

    Raises:
        UsageError: for an unknown name (the message names the nearest) or a bad combination.
        ModelError: when the weights are missing or altered.
        DeviceError: when the device is not there.

    Example:
        >>> from detector.scorers import load_scorer
        >>> 0 <= load_scorer("open-nsfw").score("examples/in.jpg") <= 1
        True
    """
    if JOIN in name and not Path(name).is_file():  # a file's name may have a + in it
        members = [load_scorer(part.strip(), device=device, threads=threads) for part in name.split(JOIN)]
        return CombinedScorer(members, [default_thresh(member) for member in members])
    if name.endswith((WEIGHTS_SUFFIX, ONNX_SUFFIX)):
        return _from_file(name, device, threads)
    if name.endswith(POLICY_SUFFIX):
        from detector.fusing.scorer import FusionScorer

        return FusionScorer(name, device=device, threads=threads)
    if name in _baselines():
        baseline: Scorer = importlib.import_module("detector.baselines").load_baseline(name)
        return baseline
    tasks = {entry.name: entry.task for entry in list_models()}
    if name not in tasks:
        known = scorer_names()
        raise UsageError(
            f"what gives a score must be one of {', '.join(known)}, a {WEIGHTS_SUFFIX} or {ONNX_SUFFIX} file, a policy "
            f"with a [fusion] ({POLICY_SUFFIX}), or several joined by {JOIN}; got {name!r}{nearest(name, known)}"
        )
    if tasks[name] == "detect":
        return DetectorScorer(load(name, device=device, threads=threads))
    entry = find_model(name, task="classify")
    if entry.name == OPEN_NSFW:
        from detector.open_nsfw import load_open_nsfw

        return load_open_nsfw(device=device, threads=threads)
    raise UsageError(f"{name} must be a model that gives whole pictures a score; it is of the engine {entry.engine}")


def _from_file(path: str, device: str, threads: int | None) -> Scorer:
    if path.endswith(WEIGHTS_SUFFIX) and _holds_classifier(path):
        from detector.classifier_predictor import ClassifierPredictor

        return ClassifierPredictor.from_file(path, device=device, threads=threads)
    return DetectorScorer(load(path, device=device, threads=threads))


def _holds_classifier(path: str) -> bool:
    """Whether the file says so itself; where it cannot be read the detector's loader says what is wrong."""
    try:
        from detector.weight_file import read_file_header
    except ImportError:  # no torch: the loader says what to install
        return False
    try:
        read_file_header(read_bytes(path), path, task="classify")
    except ModelError:
        return False
    return True


def _baselines() -> tuple[str, ...]:
    if importlib.util.find_spec("detector.baselines") is None:
        return ()
    names: tuple[str, ...] = importlib.import_module("detector.baselines").BASELINES
    return names


def _highest(found: Any) -> float:
    return float(found.scores.max()) if len(found) else 0.0
