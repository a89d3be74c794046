"""Weight files of our networks: safetensors, with everything that the numbers need to mean something in the header."""

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from detector.classes import CLASSES, canonical_class
from detector.errors import ModelError, OutputError, UsageError
from detector.quantise import dequantise, quantise
from detector.retinanet import RetinaNet, build_retinanet
from detector.retinanet_config import ModelConfig, model_config_from_dict, model_config_to_dict

__all__ = ["WeightsInfo", "load_weights", "parse_weights", "read_weights_info", "save_weights"]

# The header's `format` and `version`: what this code writes, and the only thing it reads.
FORMAT = "retina-censor"
VERSION = "1"

# The bound that safetensors itself sets for a header, bytes.
MAX_HEADER = 100_000_000

# A counter that batch norm keeps while it trains; nothing is computed from it.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What a weight file says of itself.

    Attributes:
        config: of the network, its preprocessing in it.
        classes: what the labels mean, in canonical spelling.
        storage: `float32`, `float16` or `int8`.
        metadata: whatever else was given when it was saved: recipe, metrics, provenance.
        sha256: of the whole file.
    """

    config: ModelConfig
    classes: tuple[str, ...]
    storage: str
    metadata: Mapping[str, Any]
    sha256: str


def _class_names(given: Any, config: ModelConfig) -> tuple[str, ...]:
    """Return canonical names, one for each of the network's outputs."""
    if given is None and config.num_classes == len(CLASSES):
        return CLASSES
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise UsageError(f"metadata must name the {config.num_classes} classes under `classes`; got {given!r}")
    names = tuple(canonical_class(name) for name in given)
    if len(names) != config.num_classes or len(set(names)) != len(names):
        raise UsageError(f"`classes` must hold {config.num_classes} different names; got {list(given)}")
    return names


def save_weights(
    path: str | os.PathLike[str],
    model: RetinaNet,
    *,
    config: ModelConfig | None = None,
    metadata: Mapping[str, Any] | None = None,
    storage: str = "float32",
) -> str:
    """Write a model's weights; the file is there whole, or not at all.

    Args:
        path: of the file, best with the suffix `.safetensors`; replaced if it is there.
        model: any `RetinaNet` that was not folded.
        config: what it was built from; None takes `model.config`.
        metadata: JSON-ready. `classes` says what the labels mean, in any spelling; the six if it is missing and there
            are six. The rest is kept as it is, for reports.
        storage: `float32`, `float16` or `int8`.

    Returns:
        The file's SHA-256.

    Raises:
        UsageError: when the config is not the model's, or the classes do not fit it.
        ModelError: when the weights are not finite, or were folded.
        OutputError: when the file cannot be written.
    """
    config = model.config if config is None else config
    if config != model.config:
        raise UsageError("config must be what the model was built from (model.config); got another")
    extra = dict(metadata or {})
    classes = _class_names(extra.pop("classes", None), config)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(COUNTER)}
    _check_names(state, config, "the model")
    header = {
        "format": FORMAT,
        "version": VERSION,
        "storage": storage,
        "config": json.dumps(model_config_to_dict(config)),
        "classes": json.dumps(classes),
        "metadata": json.dumps(extra),
    }
    data = safetensors.torch.save(quantise(state, storage), metadata=header)
    _write(Path(path), data)
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write beside the target and rename, so that a reader, or a crash, never meets half a file."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"the weights must be writable to {path}; they are not ({error.strerror or error})"
        ) from error


def _header(data: bytes, name: str) -> dict[str, str]:
    """Return the strings of a safetensors header."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(MAX_HEADER, len(data) - 8):
            raise ValueError(f"its header claims {length} bytes of {len(data)}")
        table = json.loads(data[8 : 8 + length])
        found = table.get("__metadata__", {})
    except (struct.error, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"weights must be a safetensors file; {name} is not ({error})") from error
    if found.get("format") != FORMAT or found.get("version") != VERSION:
        raise ModelError(
            f"{name} must say format {FORMAT!r}, version {VERSION}, in its header; it says {found.get('format')!r}, "
            f"{found.get('version')!r}; convert foreign weights with: detector import-weights"
        )
    return dict(found)


def _info(data: bytes, name: str) -> WeightsInfo:
    """Read and check what the header says."""
    header = _header(data, name)
    try:
        values = {key: json.loads(header[key]) for key in ("config", "classes", "metadata")}
        config = model_config_from_dict(values["config"], "config")
        classes = _class_names(values["classes"], config)
        if not isinstance(values["metadata"], dict):
            raise ValueError("`metadata` is no table")
        storage = header["storage"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} must say `config`, `classes`, `storage` and `metadata` in its header; what it says is not "
            f"understood ({error}); upgrade retina-censor, or take another file"
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    return WeightsInfo(config=config, classes=classes, storage=storage, metadata=values["metadata"], sha256=sha256)


def _empty(config: ModelConfig) -> RetinaNet:
    """Return the network without memory for its numbers."""
    with torch.device("meta"):
        return build_retinanet(config)


def _check_names(state: Mapping[str, Any], config: ModelConfig, whose: str) -> RetinaNet:
    """Refuse a state that is not, name by name and shape by shape, the config's; return the network for it."""
    model = _empty(config)
    wanted = {key: tuple(t.shape) for key, t in model.state_dict().items() if not key.endswith(COUNTER)}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    missing, unknown = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    other = sorted(key for key in wanted.keys() & given.keys() if wanted[key] != given[key])
    if missing or unknown or other:
        raise ModelError(
            f"{whose} must have exactly the tensors of its config; {len(missing)} are missing {missing[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(other)} of another shape {other[:3]}"
        )
    return model


def parse_weights(data: bytes, name: str = "<weights>") -> tuple[RetinaNet, WeightsInfo]:
    """Build the network that a file's bytes describe, in evaluation mode, float32 on the CPU.

    Args:
        data: the whole file.
        name: names it in messages.

    Raises:
        ModelError: when it is no weight file of ours, a tensor is missing, unknown, of another shape or not finite,
            or the header is not understood.
    """
    info = _info(data, name)
    try:
        stored = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"weights must be a whole safetensors file; {name} is not ({error})") from error
    state = dequantise(stored)
    model = _check_names(state, info.config, name)
    for key in model.state_dict():
        if key.endswith(COUNTER):
            state[key] = torch.zeros((), dtype=torch.int64)
    model.load_state_dict(state, assign=True)
    return model.eval(), info


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelError(f"the weights must be readable; {path} is not ({error.strerror or error})") from error


def load_weights(path: str | os.PathLike[str]) -> RetinaNet:
    """Build the network of a weight file: evaluation mode, float32, on the CPU; its `config` is the file's.

    Raises:
        ModelError: as `parse_weights`, or when the file cannot be read.
    """
    return parse_weights(_read(path), os.fspath(path))[0]


def read_weights_info(path: str | os.PathLike[str]) -> WeightsInfo:
    """Return what a weight file says of itself; the numbers are not looked at.

    Raises:
        ModelError: as `load_weights`.
    """
    return _info(_read(path), os.fspath(path))
