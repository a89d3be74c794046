"""One step of training any network: schedule, autocast, gradients, average; the losses are the heir's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detector.errors import ModelError, UsageError
from detector.training.config import RecipeConfig
from detector.training.distributed import Group
from detector.training.ema import Ema
from detector.training.schedule import (
    build_optimizer,
    frozen_stages,
    lr_factor,
    set_frozen,
    set_lr,
    set_train_mode,
)

__all__ = ["Learner"]

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")


class Learner(ABC, Generic[M, B]):
    """A network that is being trained: itself, its average, its optimiser.

    Args:
        model: on the CPU or already on the group's device; its backbone is `body`.
        recipe: how it learns.
        group: this process among those that train together.
        total: steps of the run.
        dtype: what autocast computes in; float32 for none.

    Attributes:
        model: the plain network, whatever wraps it.
        ema: its average; None with a decay of 0.
        optimizer: over all of its parameters.
    """

    # Where a user looks when a loss is not finite.
    look_at = "look at the data"

    def __init__(
        self, *, model: M, recipe: RecipeConfig, group: Group, total: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.recipe, self.group, self.total, self.dtype = recipe, group, total, dtype
        if recipe.sync_bn and group.world_size > 1:
            if group.device.type != "cuda":
                raise UsageError("train.sync_bn needs CUDA; give train.freeze_bn=true or model.norm=group on the CPU")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        layout = torch.channels_last if group.device.type == "cuda" else torch.contiguous_format
        self.model: M = model.to(device=group.device, memory_format=layout)
        self.layout = layout
        self.ema = Ema(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.optimizer = build_optimizer(self.model, recipe)
        self._network: nn.Module | None = None
        self._stages = -1

    @abstractmethod
    def losses(self, network: nn.Module, batch: B) -> dict[str, Tensor]:
        """Return the scalar losses of this process's share by name; their sum, or `loss` where it is one, is learned.

        Args:
            network: `model` in training mode, perhaps wrapped.
            batch: this process's share, wherever it lies.
        """

    @property
    def judged(self) -> M:
        """The weights that are evaluated and saved: the average where there is one."""
        model: M = self.model if self.ema is None else self.ema.model
        return model

    def step(self, step: int, batch: B) -> dict[str, float]:
        """Learn from one batch.

        Args:
            step: its number, from 0; decides learning rate and frozen stages.
            batch: this process's share.

        Returns:
            The losses and `loss`, of this process's share; `grad_norm` before clipping, of all; `lr`.

        Raises:
            ModelError: when the loss or its gradient is not finite; the weights are those of the step before.
        """
        network = self._prepared(step)
        lr = self.recipe.lr * lr_factor(step, self.total, self.recipe)
        set_lr(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.losses(network, batch)
        loss = losses["loss"] if "loss" in losses else torch.stack(list(losses.values())).sum()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad_norm or torch.inf)
        # One copy to the host for all that is shown and checked.
        table = {**losses, "loss": loss, "grad_norm": norm}
        values = torch.stack([value.detach() for value in table.values()]).tolist()
        shown = dict(zip(table, values, strict=True))
        self._check_finite(shown, step, lr)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return {**shown, "lr": lr}

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that the network runs in."""
        if self.dtype == torch.float32:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.group.device.type, dtype=self.dtype)
        return context

    def _prepared(self, step: int) -> nn.Module:
        """Return the network in training mode, wrapped; anew where other stages are locked than before."""
        stages = frozen_stages(step, self.total, self.recipe.freeze)
        if self._network is None or stages != self._stages:
            # Gradients of what is locked must go: an optimiser updates whatever has one.
            self.optimizer.zero_grad(set_to_none=True)
            set_frozen(self.model, stages)
            set_train_mode(self.model, stages=stages, freeze_bn=self.recipe.freeze_bn)
            network: nn.Module = torch.compile(self.model) if self.recipe.compile else self.model
            if self.group.world_size > 1:
                # It counts the gradients to wait for when it is made: with others locked it would wait for ever.
                ids = [self.group.device.index] if self.group.device.type == "cuda" else None
                network = DistributedDataParallel(network, device_ids=ids)
            self._network, self._stages = network, stages
        return self._network

    def _check_finite(self, shown: Mapping[str, float], step: int, lr: float) -> None:
        if not torch.isfinite(torch.tensor(list(shown.values()))).all():
            values = ", ".join(f"{name} {value:g}" for name, value in shown.items())
            raise ModelError(
                f"losses and gradients must be finite; step {step} at learning rate {lr:g} gave {values}; "
                f"lower train.lr, lengthen train.warmup_steps, or {self.look_at}"
            )
