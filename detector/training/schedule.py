"""What changes during a run: the learning rate of each parameter, and how much of the network learns at all."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from detector.training.config import FreezePhase, RecipeConfig

__all__ = ["build_optimizer", "frozen_stages", "lr_factor", "set_frozen", "set_lr", "set_train_mode", "total_steps"]

# A ResNet in the order that `FreezePhase.stages` counts; the stem is the first. Others say theirs as `model.stages`.
STAGES: tuple[tuple[str, ...], ...] = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


def total_steps(config: RecipeConfig, pictures: int) -> int:
    """Return the number of steps of a run on so many pictures."""
    return config.steps or max(1, round(config.epochs * pictures / config.batch_size))


def lr_factor(step: int, total: int, config: RecipeConfig) -> float:
    """Return what `config.lr` is multiplied with in a step.

    The warm-up is a line from `warmup_factor` to 1, on top of the schedule. With `restart` both begin anew with each
    phase of `freeze`, and shares of the steps are shares of the phase.

    Args:
        step: from 0.
        total: steps of the run.
        config: of the run.
    """
    if config.restart:
        # The first step of a phase is the first that `frozen_stages` counts to it.
        starts = [math.ceil(phase.at * total) for phase in config.freeze]
        begin = max(start for start in starts if start <= step)
        step, total = step - begin, min((start for start in [*starts, total] if start > begin), default=total) - begin
    warm = 1.0
    if step < config.warmup_steps:
        warm = config.warmup_factor + (1 - config.warmup_factor) * step / config.warmup_steps
    if config.schedule == "constant":
        return warm
    if config.schedule == "steps":
        passed = sum(step >= milestone * total for milestone in config.milestones)
        return warm * config.gamma**passed
    done = min(step / max(total - 1, 1), 1.0)
    return warm * (config.final_factor + (1 - config.final_factor) * (1 + math.cos(math.pi * done)) / 2)


def build_optimizer(model: nn.Module, config: RecipeConfig) -> torch.optim.Optimizer:
    """Build the optimiser over all parameters, frozen ones too: those get no gradient, and then no update.

    Biases and norms have no weight decay. Each group carries `names` and `lr_scale`.

    Args:
        model: with the backbone as `body`; all else learns at `head_lr_multiplier`.
        config: of the run.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()}
    groups: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        plain = id(parameter) in norms or name.endswith(".bias")
        groups.setdefault((name.startswith("body."), plain), []).append((name, parameter))
    tables = [
        {
            "params": [parameter for _, parameter in members],
            "names": [name for name, _ in members],
            "lr_scale": 1.0 if in_body else config.head_lr_multiplier,
            "weight_decay": 0.0 if plain else config.weight_decay,
        }
        for (in_body, plain), members in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(tables, lr=config.lr, betas=config.betas)
    return torch.optim.SGD(tables, lr=config.lr, momentum=config.momentum)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's learning rate to `lr` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def frozen_stages(step: int, total: int, phases: Sequence[FreezePhase]) -> int:
    """Return how many stages of the backbone are locked in a step."""
    return [phase.stages for phase in phases if step >= phase.at * total][-1]


def set_frozen(model: nn.Module, stages: int) -> None:
    """Lock the first `stages` stages of the backbone, and open the others."""
    for number, names in enumerate(_stages(model)):
        for name in names:
            _body(model).get_submodule(name).requires_grad_(number >= stages)


def _stages(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    stages: tuple[tuple[str, ...], ...] = getattr(model, "stages", STAGES)
    return stages


def _body(model: nn.Module) -> nn.Module:
    return model.get_submodule("body")


def set_train_mode(model: nn.Module, *, stages: int, freeze_bn: bool) -> None:
    """Put the model in training mode; norms that are locked keep their running statistics and parameters.

    Args:
        model: the network.
        stages: locked ones; see `set_frozen`, which is called.
        freeze_bn: whether the backbone's other batch norms are locked too.
    """
    model.train()
    set_frozen(model, stages)
    for names in _stages(model)[:stages]:
        for name in names:
            _body(model).get_submodule(name).eval()
    if freeze_bn:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
                module.requires_grad_(False)
