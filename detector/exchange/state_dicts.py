"""State dicts of other programs: read without running anything they might hold."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detector.errors import ModelError
from detector.exchange.imported import list_some

__all__ = ["file_digest", "read_state"]

# Keys under which checkpoints keep their weights, the rest being optimizer, scheduler and counters.
_NESTED = ("model", "state_dict", "model_state_dict")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict: safetensors, or what `torch.save` wrote, of tensors and NumPy arrays and nothing else.

    Raises:
        ModelError: when it cannot be read, is a plain pickle (`.pkl`), or holds anything but weights.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise ModelError(
            f"{path} must be .pth or .safetensors: reading a pickle runs what is in it; convert it where you trust it: "
            "torch.save({'model': {k: torch.as_tensor(v) for k, v in pickle.load(open(FILE, 'rb'))['model'].items()}}, "
            "'model.pth')"
        )
    try:
        with path.open("rb"):
            pass
        loaded = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise ModelError(f"the weights must be readable; {path} is not ({error.strerror or error})") from error
    nested = next((loaded[key] for key in _NESTED if isinstance(loaded.get(key), Mapping)), loaded)
    state, other = {}, []
    for name, value in nested.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if isinstance(value, Tensor) and isinstance(name, str):
            # DistributedDataParallel puts its own name before all others.
            state[name.removeprefix("module.")] = value.float() if value.is_floating_point() else value
        else:
            other.append(str(name))
    if other or not state:
        raise ModelError(
            f"{path} must hold a state dict, names to tensors; {list_some(other) or 'it'} is something else"
        )
    return state


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: Mapping[str, Any] = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path} must be a safetensors file; it cannot be read: {error}") from error
    return tensors


def _read_torch(path: Path) -> Mapping[str, Any]:
    try:
        with torch.serialization.safe_globals(_numpy_parts()):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a dozen classes, pickle's among them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if reason.startswith("Weights only load failed"):  # torch goes on to say how to run what is in it: not here
            reason = "it asks for code to be run, or is cut or of another kind"
        raise ModelError(
            f"{path} must be a checkpoint of tensors alone, as torch.save writes it; it is not: {reason}"
        ) from error
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path} must hold a state dict; it holds a {type(loaded).__name__}")
    return loaded


def _numpy_parts() -> list[Any]:
    """Return what rebuilds NumPy arrays of numbers, under the names of NumPy 1 and 2; it runs nothing else."""
    rebuild = np.zeros(1).__reduce__()[0]
    names = [f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")]
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1")]
    return [*((rebuild, name) for name in names), np.ndarray, np.dtype, *dtypes]
