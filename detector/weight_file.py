"""The container of all our weight files: safetensors whose header says what network the numbers are for."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from detector.errors import ModelError
from detector.quantise import dequantise, quantise

__all__ = [
    "FORMAT",
    "VERSION",
    "FileHeader",
    "check_tensors",
    "float_state",
    "pack",
    "read_file_header",
    "unpack",
]

# The header's `format` and `version`: what this code writes, and the only thing it reads.
FORMAT = "retina-censor"
VERSION = "1"

# What a network is for, and how a file of it is loaded. Files from before there were classifiers name no task.
TASKS = {
    "detect": "detector.weights.load_weights or `--model FILE`",
    "classify": "detector.classifier_predictor.ClassifierPredictor.from_file",
}
DEFAULT_TASK = "detect"

# The bound that safetensors itself sets for a header, bytes.
MAX_HEADER = 100_000_000

# A counter that batch norm keeps while it trains; nothing is computed from it.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class FileHeader:
    """What every weight file of ours says, not yet understood by its kind of network.

    Attributes:
        config: of the network, a JSON table.
        classes: what the labels mean, JSON.
        storage: `float32`, `float16` or `int8`.
        metadata: whatever else was given when it was saved.
        sha256: of the whole file.
    """

    config: Any
    classes: Any
    storage: str
    metadata: Mapping[str, Any]
    sha256: str


def float_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a model that a file holds: all but the counters of its batch norms."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}


def pack(
    state: Mapping[str, Tensor],
    *,
    task: str,
    storage: str,
    config: Mapping[str, Any],
    classes: tuple[str, ...],
    metadata: Mapping[str, Any],
) -> bytes:
    """Return a whole weight file.

    Raises:
        UsageError: for an unknown storage.
        ModelError: when a number is not finite, or too large for the storage.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "task": task,
        "storage": storage,
        "config": json.dumps(config),
        "classes": json.dumps(classes),
        "metadata": json.dumps(metadata),
    }
    data: bytes = safetensors.torch.save(quantise(state, storage), metadata=header)
    return data


def _strings(data: bytes, name: str) -> dict[str, str]:
    """Return the strings of a safetensors header."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(MAX_HEADER, len(data) - 8):
            raise ValueError(f"its header claims {length} bytes of {len(data)}")
        table = json.loads(data[8 : 8 + length])
        found = table.get("__metadata__", {})
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise ValueError("its `__metadata__` is no table of texts")
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"weights must be a safetensors file; {name} is not ({error})") from error
    if found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ModelError(
            f"{name} must say format {FORMAT!r}, version {VERSION}, in its header; it says {found.get('format')!r}, "
            f"{found.get('version')!r}; convert foreign weights with: detector import-weights"
        )
    return found


def read_file_header(data: bytes, name: str, *, task: str) -> FileHeader:
    """Read what a file says of itself.

    Args:
        data: the whole file.
        name: names it in messages.
        task: what its network must be for, `detect` or `classify`.

    Raises:
        ModelError: when it is no weight file of ours, one of another task, or its header lacks something.
    """
    header = _strings(data, name)
    said = header.get("task", DEFAULT_TASK)
    if said != task:
        way = f"; load it with {TASKS[said]}" if said in TASKS else "; upgrade retina-censor"
        raise ModelError(f"{name} must hold a network of the task {task!r}; it says {said!r}{way}")
    try:
        values = {key: json.loads(header[key]) for key in ("config", "classes", "metadata")}
        if not isinstance(values["metadata"], dict):
            raise ValueError("`metadata` is no table")
        return FileHeader(storage=header["storage"], sha256=hashlib.sha256(data).hexdigest(), **values)
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{name} must say `config`, `classes`, `storage` and `metadata` in its header; what it says is not "
            f"understood ({error}); upgrade retina-censor, or take another file"
        ) from error


def check_tensors(state: Mapping[str, Any], model: nn.Module, whose: str) -> None:
    """Refuse a state that is not, name by name and shape by shape, the model's.

    Raises:
        ModelError: when a tensor is missing, unknown, or of another shape.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in float_state(model).items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    other = sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key])
    if missing or unknown or other:
        raise ModelError(
            f"{whose} must have exactly the tensors of its config; {len(missing)} are missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(other)} of another shape {other[:3]}"
        )


def unpack(data: bytes, name: str, model: nn.Module) -> None:
    """Put a file's numbers, as float32 on the CPU, into a model that may have been made on the meta device.

    Raises:
        ModelError: when the file is cut, a number is not finite, or the tensors are not the model's.
    """
    try:
        stored = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"weights must be a whole safetensors file; {name} is not ({error})") from error
    state = dequantise(stored)
    check_tensors(state, model, name)
    for key in model.state_dict():
        if key.endswith(COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
    model.load_state_dict(state, assign=True)
    model.eval()
