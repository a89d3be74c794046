"""`FusionScorer`: a policy's fused probability as a score of whole pictures, for evaluation beside classifiers."""

import hashlib
import json
from pathlib import Path
from typing import Any

from detector.errors import PolicyError
from detector.evidence import Evidence
from detector.fusing.look import evidence_of, evidence_of_batch
from detector.models import list_models, load
from detector.open_nsfw import load_open_nsfw
from detector.picture import Picture
from detector.policy import Policy, load_policy
from detector.verdict import opinion_band

__all__ = ["FusionScorer"]

# Pictures opened at a time.
_BATCH = 16


class FusionScorer:
    """Scores whole pictures by detector, second opinion and the policy's fusion, without any record.

    Safe to call from several threads at once.

    Args:
        policy: a policy with a `[fusion]`, or its name or file.
        device: `cpu` or `cuda`.
        threads: threads for one picture; None takes what is fastest for one picture at a time.
        model: the detector, or its name or file; None takes the one that the fusion was fitted for.

    Raises:
        PolicyError: when the policy has no fusion, or one for another detector.
        ModelError: when a model cannot be loaded.
    """

    def __init__(
        self, policy: str | Path | Policy, *, device: str = "cpu", threads: int | None = None, model: Any = None
    ) -> None:
        policy = load_policy(policy)
        if policy.fusion is None:
            raise PolicyError(
                f"a scorer must have a policy with a [fusion]; {policy.label} has none; run `detector fit-fusion`"
            )
        self.policy, self._fusion = policy, policy.fusion
        if model is None:
            known = [entry.name for entry in list_models() if entry.task == "detect"]
            model = self._fusion.detector if self._fusion.detector in known else None
        self._model = load(model, device=device, threads=threads) if isinstance(model, str | None) else model
        if self._fusion.detector not in ("", self._model.name):
            raise PolicyError(
                f"the fusion of {policy.label} must be used with the detector it was fitted for, "
                f"{self._fusion.detector}; got {self._model.name}; name its file as `model`, or fit again"
            )
        asks = policy.verdict.second_opinion
        self._opinion = load_open_nsfw(device, threads) if asks else None
        self.name, self.device = policy.label, device
        table = json.dumps(self._fusion.to_dict(), sort_keys=True)
        self.sha256 = hashlib.sha256(f"{self._model.sha256}\n{table}".encode()).hexdigest()

    def score(self, images: Any) -> Any:
        """Return how likely a picture is not safe for work, in [0, 1].

        Args:
            images: a path, bytes, a file object, a PIL image, a uint8 RGB array or a `Picture`; or a list of these.

        Returns:
            A float; a list of floats, in order, for a list.

        Raises:
            InputError: when a picture cannot be read; with a list, the whole call fails.
        """
        if not isinstance(images, list | tuple):
            return self._probability(evidence_of(_opened(images), self._model, self._opinion, self.policy))
        scores: list[float] = []
        for start in range(0, len(images), _BATCH):
            pictures = [_opened(image) for image in images[start : start + _BATCH]]
            seen = evidence_of_batch(pictures, self._model, self._opinion, self.policy)
            scores += [self._probability(evidence) for evidence in seen]
        return scores

    def _probability(self, evidence: Evidence) -> float:
        alarmed = opinion_band(evidence.second_opinion, self.policy.verdict) == "nsfw"
        return self._fusion.weigh(evidence, alarmed=alarmed)[0]


def _opened(image: Any) -> Picture:
    return image if isinstance(image, Picture) else Picture.open(image)
