"""Weight files of whole-picture classifiers, in the container of all our weights; and foreign ones to start from."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from detector.atomic import write_atomic
from detector.classifier import Classifier, build_classifier, from_torchvision_classifier
from detector.classifier_config import ClassifierConfig, classifier_config_from_dict, classifier_config_to_dict
from detector.errors import ModelError, UsageError
from detector.exchange.state_dicts import read_state
from detector.models import read_bytes
from detector.weight_file import check_tensors, float_state, pack, read_file_header, unpack

__all__ = ["ClassifierInfo", "load_classifier", "parse_classifier", "read_start", "save_classifier", "start_from"]

TASK = "classify"


@dataclass(frozen=True, kw_only=True)
class ClassifierInfo:
    """What a classifier's weight file says of itself.

    Attributes:
        config: of the network: classes, preprocessing and which classes are not safe for work are in it.
        storage: `float32`, `float16` or `int8`.
        metadata: whatever else was given when it was saved: recipe, metrics, provenance.
        sha256: of the whole file.
    """

    config: ClassifierConfig
    storage: str
    metadata: Mapping[str, Any]
    sha256: str


def save_classifier(
    path: str | os.PathLike[str],
    model: Classifier,
    *,
    metadata: Mapping[str, Any] | None = None,
    storage: str = "float32",
) -> str:
    """Write a classifier's weights; the file is there whole, or not at all.

    Args:
        path: of the file, best with the suffix `.safetensors`; replaced if it is there.
        model: its `config` goes with it.
        metadata: JSON-ready, kept as it is, for reports.
        storage: `float32`, `float16` or `int8`.

    Returns:
        The file's SHA-256.

    Raises:
        UsageError: for an unknown storage.
        ModelError: when the weights are not finite, or not those of the config.
        OutputError: when the file cannot be written.
    """
    state = float_state(model)
    check_tensors(state, _empty(model.config), "the model")
    data = pack(
        state,
        task=TASK,
        storage=storage,
        config=classifier_config_to_dict(model.config),
        classes=model.config.classes,
        metadata=dict(metadata or {}),
    )
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def parse_classifier(data: bytes, name: str = "<weights>") -> tuple[Classifier, ClassifierInfo]:
    """Build the network that a file's bytes describe, in evaluation mode, float32 on the CPU.

    Args:
        data: the whole file.
        name: names it in messages.

    Raises:
        ModelError: when it is no classifier's file of ours, a tensor is missing, unknown, of another shape or not
            finite, or the header is not understood.
    """
    header = read_file_header(data, name, task=TASK)
    try:
        config = classifier_config_from_dict(header.config, "config")
        if tuple(header.classes) != config.classes:
            raise ValueError(f"`classes` are {header.classes}, those of `config` {list(config.classes)}")
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name} must say `config` and `classes` in its header; what it says is not understood ({error}); upgrade "
            "retina-censor, or take another file"
        ) from error
    model = _empty(config)
    unpack(data, name, model)
    info = ClassifierInfo(config=config, storage=header.storage, metadata=header.metadata, sha256=header.sha256)
    return model, info


def load_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Build the network of a weight file: evaluation mode, float32, on the CPU; its `config` is the file's.

    Raises:
        ModelError: as `parse_classifier`, or when the file cannot be read.
    """
    return parse_classifier(read_bytes(path), os.fspath(path))[0]


def read_start(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return tensors to start a training from, named as ours are.

    Args:
        path: a classifier's file of ours; a state dict in safetensors; or one that torch saved (`.pth`, `.pt`, `.bin`),
            alone or under `state_dict`, `model` or `model_state_dict`. torchvision's names are understood. Nothing in
            the file is executed.

    Raises:
        ModelError: when it cannot be read, or holds anything but tensors by name.
    """
    if Path(path).suffix in (".pth", ".pt", ".bin"):
        return from_torchvision_classifier(read_state(Path(path)))
    name, data = os.fspath(path), read_bytes(path)
    try:
        state = safetensors.torch.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"weights to start from must be safetensors, or a state dict in .pth, .pt or .bin; {name} is not ({error})"
        ) from error
    if any(tensor.dtype == torch.int8 for tensor in state.values()):
        return dict(parse_classifier(data, name)[0].state_dict())
    return from_torchvision_classifier(state)


def start_from(model: Classifier, path: str | os.PathLike[str]) -> str:
    """Copy the tensors of a file that have this model's names and shapes into it; return what to say about it.

    The last layer of a network with other classes does not fit, and stays random.

    Raises:
        ModelError: see `read_start`.
        UsageError: when nothing of the backbone fits.
    """
    theirs, ours = read_start(path), model.state_dict()
    fits = {name: tensor for name, tensor in theirs.items() if name in ours and ours[name].shape == tensor.shape}
    if not any(name.startswith("body.") for name in fits):
        raise UsageError(f"train.init must hold weights for {model.config.arch}; none of {path} fit")
    broken = [name for name, tensor in fits.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"weights to start from must be finite; {broken[0]} of {path} is not")
    model.load_state_dict({**ours, **fits})
    left = [name for name in ours if name not in fits]
    text = f"; random: {', '.join(left[:6])}{' …' if len(left) > 6 else ''}" if left else ""
    return f"init: {len(fits)} of {len(ours)} tensors from {path}{text}"


def _empty(config: ClassifierConfig) -> Classifier:
    """Return the network without memory for its numbers."""
    with torch.device("meta"):
        return build_classifier(config)
