"""State dicts of torchvision's RetinaNet (ResNet-18, -50 or -101 with a feature pyramid) into ours."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from detector.errors import ModelError
from detector.exchange.imported import Imported, check_class_names, count_classes, fill_model
from detector.exchange.state_dicts import file_digest, read_state
from detector.retinanet import from_torchvision_state
from detector.retinanet_config import ModelConfig, torchvision_config

__all__ = ["import_torchvision", "is_torchvision_state"]

# Blocks of layer3 tell the depth.
_BACKBONES = {2: "resnet18", 6: "resnet50", 23: "resnet101"}

# torchvision's published retinanet_resnet50_fpn (COCO_V1) is the one file whose batch norms have no epsilon: its
# builder sets it to zero after loading. Published files carry the start of their sha256 in their name.
COCO_V1_DIGEST = "eeacb38b"

# FrozenBatchNorm2d's and BatchNorm2d's own.
DEFAULT_EPS = 1e-5


def is_torchvision_state(state: Mapping[str, Tensor]) -> bool:
    """Tell whether the names are torchvision's."""
    return "backbone.body.conv1.weight" in state and any(name.startswith("head.") for name in state)


def import_torchvision(
    path: Path, class_names: Sequence[str] | None = None, *, norm_eps: float | None = None
) -> Imported:
    """Read a `.pth` or `.safetensors` of `torchvision.models.detection.RetinaNet`.

    Args:
        path: the file.
        class_names: in the order of the labels; it must be given.
        norm_eps: the epsilon that the batch norms were used with; 0 is possible. None takes 0 for torchvision's
            published COCO_V1 file and 1e-5 for any other.

    Raises:
        ModelError: when the file cannot be read or a tensor is unknown, missing or misshapen.
        UsageError: when the class names do not fit.
    """
    state = read_state(path)
    if norm_eps is None:
        norm_eps = 0.0 if file_digest(path).startswith(COCO_V1_DIGEST) else DEFAULT_EPS
    mapped = from_torchvision_state(_rename_old_heads(state))
    config = _config(mapped, path.name)
    classes = check_class_names(class_names, config.num_classes, None, path.name)
    if norm_eps != config.norm_eps:
        _change_epsilon(mapped, norm_eps, config.norm_eps)
    return Imported(model=fill_model(config, mapped, path.name), class_names=classes, origin="torchvision")


def _rename_old_heads(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state with the names that heads have since torchvision 0.14; before, ReLUs were counted in."""
    if "head.classification_head.conv.0.weight" not in state:
        return dict(state)

    def renamed(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) // 2}.0.{match[3]}"

    pattern = re.compile(r"(head\.\w+_head\.conv\.)(\d+)\.(weight|bias)")
    return {pattern.sub(renamed, name): tensor for name, tensor in state.items()}


def _config(state: Mapping[str, Tensor], what: str) -> ModelConfig:
    """Read from names and shapes what the model is made of."""
    blocks = {match[1] for name in state if (match := re.match(r"body\.layer3\.(\d+)\.", name))}
    backbone = _BACKBONES.get(len(blocks))
    try:
        logits, p6 = state["head.classification_head.cls_logits.bias"], state["fpn.extra_blocks.p6.weight"]
        channels = state["fpn.layer_blocks.0.0.weight"].shape[0]
    except KeyError as error:
        raise ModelError(f"{what}: a torchvision RetinaNet must be complete; {error.args[0]} is missing") from error
    if backbone is None:
        raise ModelError(f"{what}: layer3 must have 2, 6 or 23 blocks (ResNet-18, -50, -101); got {len(blocks)}")
    return torchvision_config(
        backbone=backbone,
        num_classes=count_classes(len(logits), what),
        norm="batch" if any(name.endswith("num_batches_tracked") for name in state) else "frozen",
        head_norm="group" if "head.classification_head.conv.0.1.weight" in state else "none",
        p6_from="p5" if p6.shape[1] == channels else "c5",
        fpn_channels=int(channels),
    )


def _change_epsilon(state: dict[str, Tensor], old: float, new: float) -> None:
    """Scale the gain of every batch norm so that it does with the epsilon `new` what it did with `old`."""
    for name in [name for name in state if name.endswith("running_var")]:
        gain = name.replace("running_var", "weight")
        variance = state[name].double()
        if not (variance + old > 0).all():
            raise ModelError(f"{name} must be positive where the epsilon is {old}; give --norm-eps 1e-5")
        factor = torch.sqrt((variance + new) / (variance + old))
        state[gain] = (state[gain].double() * factor).float()
