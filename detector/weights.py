"""Weight files of our networks: safetensors, with everything that the numbers need to mean something in the header."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from detector.atomic import write_atomic
from detector.classes import CLASSES, canonical_class
from detector.errors import ModelError, UsageError
from detector.models import read_bytes
from detector.retinanet import RetinaNet, build_retinanet
from detector.retinanet_config import ModelConfig, model_config_from_dict, model_config_to_dict
from detector.weight_file import check_tensors, float_state, pack, read_file_header, unpack

__all__ = ["WeightsInfo", "load_weights", "parse_weights", "read_weights_info", "save_weights"]

TASK = "detect"


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
    state = float_state(model)
    check_tensors(state, _empty(config), "the model")
    data = pack(
        state,
        task=TASK,
        storage=storage,
        config=model_config_to_dict(config),
        classes=classes,
        metadata=extra,
    )
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def _info(data: bytes, name: str) -> WeightsInfo:
    """Read and check what the header says."""
    header = read_file_header(data, name, task=TASK)
    try:
        config = model_config_from_dict(header.config, "config")
        classes = _class_names(header.classes, config)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} must say `config` and `classes` in its header; what it says is not understood ({error}); upgrade "
            "retina-censor, or take another file"
        ) from error
    return WeightsInfo(
        config=config, classes=classes, storage=header.storage, metadata=header.metadata, sha256=header.sha256
    )


def _empty(config: ModelConfig) -> RetinaNet:
    """Return the network without memory for its numbers."""
    with torch.device("meta"):
        return build_retinanet(config)


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
    model = _empty(info.config)
    unpack(data, name, model)
    return model, info


def load_weights(path: str | os.PathLike[str]) -> RetinaNet:
    """Build the network of a weight file: evaluation mode, float32, on the CPU; its `config` is the file's.

    Raises:
        ModelError: as `parse_weights`, or when the file cannot be read.
    """
    return parse_weights(read_bytes(path), os.fspath(path))[0]


def read_weights_info(path: str | os.PathLike[str]) -> WeightsInfo:
    """Return what a weight file says of itself; the numbers are not looked at.

    Raises:
        ModelError: as `load_weights`.
    """
    return _info(read_bytes(path), os.fspath(path))
