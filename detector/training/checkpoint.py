"""A run's whole state in one safetensors file: named tensors, and JSON in the header. No pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from detector.atomic import write_atomic
from detector.errors import ModelError
from detector.training.ema import Ema

__all__ = ["CHECKPOINT", "load_checkpoint", "optimizer_tensors", "read_state", "save_checkpoint", "set_optimizer_state"]

CHECKPOINT = "checkpoint.safetensors"

# The layout that this code writes and reads.
VERSION = 2
_HEADER = "retina-censor-run"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as tensors named `parameter/key`.

    Args:
        optimizer: whose groups carry `names`, see `build_optimizer`.
    """
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                # SGD keeps None until the second step with momentum; what is a number becomes one in a tensor.
                if value is not None:
                    tensors[f"{name}/{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return tensors


def set_optimizer_state(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        ModelError: when a name belongs to no parameter.
    """
    places = {
        name: index for index, name in enumerate(name for group in optimizer.param_groups for name in group["names"])
    }
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        if name not in places:
            raise ModelError(f"the optimiser's state must be of this model's parameters; it has {name!r}")
        state.setdefault(places[name], {})[key] = tensor
    table = optimizer.state_dict()
    # Its loading moves each tensor to its parameter's device, and leaves step counters where the optimiser wants them.
    optimizer.load_state_dict({"state": state, "param_groups": table["param_groups"]})


def save_checkpoint(
    path: Path, *, model: nn.Module, ema: Ema | None, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Write everything that a continuation needs, in one step: there is always one whole checkpoint.

    Args:
        path: the file.
        model: as it is trained.
        ema: its average, if any.
        optimizer: of the model.
        state: JSON-ready: step, best figure, config.

    Raises:
        OutputError: when it cannot be written; the old one is still there.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema/{name}": tensor for name, tensor in ema.model.state_dict().items()}
        state = {**state, "ema_updates": ema.updates}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()}
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {_HEADER: json.dumps({"version": VERSION, **state})}
    write_atomic(path, save(plain, metadata=header))


def read_state(path: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint; no tensor is read.

    Raises:
        ModelError: when it is no checkpoint of this version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})[_HEADER])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} must be a checkpoint of a training run; it is not ({error})") from error
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise ModelError(f"{path} must be a checkpoint of version {VERSION}; it is not; train anew")
    return state


def load_checkpoint(
    path: Path, *, model: nn.Module, ema: Ema | None, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Put a run's state back, and return its JSON part.

    Raises:
        ModelError: when it is no checkpoint, or one of another model.
    """
    state = read_state(path)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}, "rng": {}}
    with safe_open(path, framework="pt") as file:
        for full_name in file.keys():  # noqa: SIM118 - not a dict
            part, _, name = full_name.partition("/")
            parts.setdefault(part, {})[name] = file.get_tensor(full_name)
    if (ema is None) == bool(parts["ema"]):
        raise ModelError(f"{path} must hold an average of the weights exactly when train.ema_decay is above 0")
    try:
        model.load_state_dict(parts["model"])
        if ema is not None:
            ema.model.load_state_dict(parts["ema"])
            ema.updates = int(state["ema_updates"])
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"{path} must be of this model; it is not: {error}") from error
    set_optimizer_state(optimizer, parts["optimizer"])
    torch.set_rng_state(parts["rng"]["cpu"])
    if "cuda" in parts["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(parts["rng"]["cuda"])
    return state
