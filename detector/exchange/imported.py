"""What every import gives, and the checks that they share: names, shapes, class names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from detector.classes import canonical_class
from detector.errors import ModelError, UsageError
from detector.retinanet import RetinaNet, build_retinanet
from detector.retinanet_config import ModelConfig

__all__ = ["Imported", "check_class_names", "count_classes", "fill_model", "list_some"]

# A message names so many; the rest are counted.
MAX_LISTED = 8


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A model from elsewhere, ready to be saved in our format.

    Attributes:
        model: in evaluation mode, on the CPU, float32.
        class_names: what its labels mean, in order; canonical.
        origin: `keras-retinanet`, `torchvision` or `detectron2`.
    """

    model: RetinaNet
    class_names: tuple[str, ...]
    origin: str

    @property
    def config(self) -> ModelConfig:
        """What the model was built from."""
        return self.model.config


def list_some(names: Iterable[str]) -> str:
    """Return the first few names, sorted, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - MAX_LISTED} more" if len(ordered) > MAX_LISTED else ""
    return ", ".join(ordered[:MAX_LISTED]) + more


def check_class_names(
    given: Iterable[str] | None, count: int, known: tuple[str, ...] | None, what: str
) -> tuple[str, ...]:
    """Return the canonical class names of an imported model.

    Args:
        given: by the caller, in any spelling and in the order of the model's labels; None takes `known`.
        count: of the model's classes.
        known: names that the kind of file fixes; None where it fixes none.
        what: the file, for messages.

    Raises:
        UsageError: when they are neither given nor known, too few or too many, unknown or named twice. A label that
            means something else than its name says would hide the wrong part.
    """
    names = tuple(canonical_class(name) for name in given) if given is not None else known
    if names is None:
        raise UsageError(f"{what} does not say what its {count} classes are; give --classes A,B,... in their order")
    if len(names) != count or len(set(names)) != count:
        raise UsageError(f"{what} has {count} classes; --classes must name each of them once; got {', '.join(names)}")
    return names


def fill_model(config: ModelConfig, state: Mapping[str, Any], what: str) -> RetinaNet:
    """Build a model and give it every tensor of `state`; nothing may be left over, missing, or of another shape.

    Args:
        config: of the model.
        state: our names to tensors; `num_batches_tracked` may be left out.
        what: the file, for messages.

    Raises:
        ModelError: naming the tensors that are unknown, missing, misshapen, or not finite.
    """
    with torch.device("meta"):
        model: RetinaNet = build_retinanet(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    unknown = [name for name in state if name not in wanted]
    if unknown:
        raise ModelError(
            f"{what}: every tensor must belong to a RetinaNet ({config.backbone}); {list_some(unknown)} do not"
        )
    counters = {name: torch.tensor(0) for name in wanted if name.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in state and name not in counters]
    if missing:
        raise ModelError(f"{what}: a RetinaNet ({config.backbone}) must be complete; {list_some(missing)} are missing")
    for name, tensor in state.items():
        if tuple(tensor.shape) != wanted[name]:
            raise ModelError(f"{what}: {name} must have the shape {wanted[name]}; got {tuple(tensor.shape)}")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{what}: {name} must hold finite numbers; it holds NaN or infinite ones")
    model.load_state_dict({**counters, **state}, assign=True)
    model.eval()
    return model


def count_classes(channels: int, what: str) -> int:
    """Return K from the channels of the last layer of a classification head with nine anchors a location.

    Raises:
        ModelError: when they are not a multiple of nine.
    """
    anchors = ModelConfig().num_anchors
    if channels < anchors or channels % anchors:
        raise ModelError(
            f"{what}: the class head must give K numbers for each of {anchors} anchors; it gives {channels}"
        )
    return channels // anchors
