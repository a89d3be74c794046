"""Weights in fewer bytes on disk: half precision, or 8 bits with one scale for each output channel.

Only storage: `dequantise` gives float32 back, and the network computes as it always does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from detector.errors import ModelError, UsageError
from detector.nearest import nearest

__all__ = ["STORAGES", "dequantise", "quantise"]

STORAGES = ("float16", "float32", "int8")

# What stands behind a tensor's name for the scales of its output channels.
SCALE_SUFFIX = "::scale"

# int8 is used symmetrically, without -128, so that zero stays zero and a sign costs nothing.
INT8_MAX = 127


def _is_kernel(tensor: Tensor) -> bool:
    """Whether a tensor holds the weights of a convolution; biases and norms are few, and stay as they are."""
    return bool(tensor.ndim >= 2)


def quantise(state: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    """Return what is written to disk for a state dict.

    Args:
        state: float tensors by name.
        storage: `float32`; `float16` for kernels; or `int8` for kernels, with a float32 scale for each output channel
            under the name with `::scale` behind it. Biases and norms (1 in 500 numbers) stay float32.

    Raises:
        UsageError: for an unknown storage.
        ModelError: when a number is not finite, or too large for float16.
    """
    if storage not in STORAGES:
        raise UsageError(f"storage must be one of {', '.join(STORAGES)}; got {storage!r}{nearest(storage, STORAGES)}")
    stored: dict[str, Tensor] = {}
    for name, given in state.items():
        tensor = given.detach().to(device="cpu", dtype=torch.float32).contiguous().clone()
        if not torch.isfinite(tensor).all():
            raise ModelError(f"weights must be finite; {name} is not; the training has diverged")
        if storage == "float32" or not _is_kernel(tensor):
            stored[name] = tensor
        elif storage == "float16":
            stored[name] = tensor.half()
            if not torch.isfinite(stored[name]).all():
                raise ModelError(f"weights stored as float16 must be below 65504; {name} is not; store them as float32")
        else:
            largest = tensor.flatten(1).abs().amax(dim=1)
            scale = torch.where(largest > 0, largest / INT8_MAX, 1.0)
            each = scale.view(-1, *[1] * (tensor.ndim - 1))
            stored[name] = (tensor / each).round().clamp(-INT8_MAX, INT8_MAX).to(torch.int8)
            stored[name + SCALE_SUFFIX] = scale
    return stored


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the float32 state dict; the inverse of `quantise`, but for what the storage rounded away.

    Raises:
        ModelError: when int8 numbers and scales do not belong together, a type is none that `quantise` writes, or a
            number is not finite.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE_SUFFIX):
            scaled = stored.get(name.removesuffix(SCALE_SUFFIX))
            if scaled is None or scaled.dtype != torch.int8:
                raise ModelError(f"a scale must belong to an int8 tensor; {name} does not; the weight file is broken")
            continue
        if tensor.dtype == torch.int8:
            scale = stored.get(name + SCALE_SUFFIX)
            if scale is None or tensor.ndim < 2 or scale.shape != tensor.shape[:1]:
                raise ModelError(f"int8 weights must have a scale for each output channel; {name} has not")
            state[name] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
        elif tensor.dtype in (torch.float32, torch.float16):
            state[name] = tensor.float().clone()  # memory of its own: the file's bytes may be let go
        else:
            raise ModelError(f"weights must be float32, float16 or int8; {name} is {tensor.dtype}")
        if not torch.isfinite(state[name]).all():
            raise ModelError(f"weights must be finite; {name} is not; the weight file is broken")
    return state
