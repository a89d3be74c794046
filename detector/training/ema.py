"""The exponential moving average of the weights: what is evaluated and saved."""

import copy

import torch
from torch import nn

__all__ = ["Ema", "ema_decay"]

# Early on the average reaches back only a share of the steps that were made: the random start would linger otherwise.
# TensorFlow's ExponentialMovingAverage, `num_updates`.
RAMP = 10


def ema_decay(updates: int, decay: float) -> float:
    """Return the decay after so many updates: rising to `decay`."""
    return min(decay, (1 + updates) / (RAMP + updates))


class Ema:
    """A copy of a model whose floating tensors trail the original's.

    Args:
        model: the one that is trained.
        decay: in [0, 1); how much of the average stays in an update.

    Attributes:
        model: the copy, in evaluation mode.
        updates: how many were made.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`; whole numbers (batches seen) are copied."""
        weight = 1 - ema_decay(self.updates, self.decay)
        ours, theirs = self.model.state_dict(), model.state_dict()
        names = [name for name, tensor in ours.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in names], [theirs[name] for name in names], weight)
        for name, tensor in ours.items():
            if not tensor.is_floating_point():
                tensor.copy_(theirs[name])
        self.updates += 1
