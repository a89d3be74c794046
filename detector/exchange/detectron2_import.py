"""State dicts of detectron2's RetinaNet (ResNet-50 or -101 with a feature pyramid) into ours."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from detector.errors import ModelError
from detector.exchange.imported import Imported, check_class_names, count_classes, fill_model, list_some
from detector.exchange.state_dicts import read_state
from detector.retinanet_config import ModelConfig, Preprocessing

__all__ = ["import_detectron2", "is_detectron2_state"]

_BACKBONES = {6: "resnet50", 23: "resnet101"}

# detectron2's defaults, BGR: pixels as they are, minus the mean of ImageNet (MODEL.PIXEL_MEAN, MODEL.PIXEL_STD).
PIXEL_MEAN, PIXEL_STD = (103.53, 116.28, 123.675), (1.0, 1.0, 1.0)

_NORM = {"weight", "bias", "running_mean", "running_var"}
_ANCHORS = re.compile(r"anchor_generator\.cell_anchors\.(\d)")


def is_detectron2_state(state: Mapping[str, Tensor]) -> bool:
    """Tell whether the names are detectron2's."""
    return "backbone.bottom_up.stem.conv1.weight" in state


def import_detectron2(path: Path, class_names: Sequence[str] | None = None, *, stride_in_1x1: bool = True) -> Imported:
    """Read a `.pth` of detectron2's RetinaNet; a `.pkl` of its model zoo is refused.

    Args:
        path: the file.
        class_names: in the order of the labels; it must be given.
        stride_in_1x1: the MODEL.RESNETS.STRIDE_IN_1X1 that it was trained with; the weights do not tell. True is
            detectron2's default; models that started from torchvision's or PyTorch's ResNets have False.

    Raises:
        ModelError: when the file cannot be read or a tensor is unknown, missing or misshapen.
        UsageError: when the class names do not fit.

    Source:
        facebookresearch/detectron2: modeling/anchor_generator.py (size by size, in it ratio by ratio; no rounding, no
        offset), modeling/box_regression.py (weights 1, bound log(1000 / 16)), modeling/backbone/fpn.py (p6 from
        res5), config/defaults.py.
    """
    what = path.name
    state = read_state(path)
    _check_anchors(state, what)
    config = _config(state, stride_in_1x1, what)
    mapped: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        if name in ("pixel_mean", "pixel_std") or _ANCHORS.fullmatch(name):
            continue
        ours = _our_name(name)
        if ours is None:
            unknown.append(name)
        else:
            mapped[ours] = tensor
    if unknown:
        raise ModelError(f"{what}: every tensor must belong to detectron2's RetinaNet; {list_some(unknown)} do not")
    for name in ("head.classification_head.cls_logits", "head.regression_head.bbox_reg"):
        for part in ("weight", "bias"):
            mapped[f"{name}.{part}"] = _reorder(mapped[f"{name}.{part}"], config)
    classes = check_class_names(class_names, config.num_classes, None, what)
    return Imported(model=fill_model(config, mapped, what), class_names=classes, origin="detectron2")


def _our_name(name: str) -> str | None:
    """Return our name of one of detectron2's tensors; None when it is not one of a RetinaNet."""
    for pattern, ours in (
        (r"backbone\.bottom_up\.stem\.conv1\.norm\.(\w+)", r"body.bn1.\1"),
        (r"backbone\.bottom_up\.stem\.conv1\.(weight)", r"body.conv1.\1"),
        (r"backbone\.bottom_up\.res([2-5])\.(\d+)\.(conv[123]|shortcut)\.(norm\.)?(\w+)", None),
        (r"backbone\.top_block\.(p[67])\.(weight|bias)", r"fpn.extra_blocks.\1.\2"),
        (r"backbone\.fpn_(lateral|output)([345])\.(weight|bias)", None),
        (r"head\.cls_score\.(weight|bias)", r"head.classification_head.cls_logits.\1"),
        (r"head\.bbox_pred\.(weight|bias)", r"head.regression_head.bbox_reg.\1"),
        (r"head\.(cls|bbox)_subnet\.([0246])\.(weight|bias)", None),
    ):
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(ours) if ours else _our_numbered_name(match)
    return None


def _our_numbered_name(match: re.Match[str]) -> str | None:
    """Return our name where a number changes too."""
    parts = match.groups()
    if parts[0] in ("lateral", "output"):
        blocks = "inner_blocks" if parts[0] == "lateral" else "layer_blocks"
        return f"fpn.{blocks}.{int(parts[1]) - 3}.0.{parts[2]}"
    if parts[0] in ("cls", "bbox"):
        head = "classification_head" if parts[0] == "cls" else "regression_head"
        return f"head.{head}.conv.{int(parts[1]) // 2}.0.{parts[2]}"
    stage, block, layer, norm, leaf = parts
    if leaf not in (_NORM if norm else {"weight"}):
        return None
    if layer == "shortcut":
        module = "downsample.1" if norm else "downsample.0"
    else:
        module = layer.replace("conv", "bn") if norm else layer
    return f"body.layer{int(stage) - 1}.{block}.{module}.{leaf}"


def _config(state: Mapping[str, Tensor], stride_in_1x1: bool, what: str) -> ModelConfig:
    """Read from names and shapes what the model is made of."""
    blocks = {match[1] for name in state if (match := re.match(r"backbone\.bottom_up\.res4\.(\d+)\.", name))}
    backbone = _BACKBONES.get(len(blocks))
    needed = ("head.cls_score.weight", "head.cls_score.bias", "head.bbox_pred.weight", "head.bbox_pred.bias")
    missing = [name for name in (*needed, "backbone.top_block.p6.weight") if name not in state]
    if missing:
        raise ModelError(f"{what}: detectron2's RetinaNet must be complete; {list_some(missing)} are missing")
    if backbone is None:
        raise ModelError(f"{what}: res4 must have 6 or 23 blocks (ResNet-50, -101); got {len(blocks)}")
    mean = tuple(state["pixel_mean"].flatten().tolist()) if "pixel_mean" in state else PIXEL_MEAN
    std = tuple(state["pixel_std"].flatten().tolist()) if "pixel_std" in state else PIXEL_STD
    # ImageNet's red is the brightest of the three: that tells the order.
    colour = "BGR" if mean[0] <= mean[-1] else "RGB"
    channels = int(state["head.cls_score.weight"].shape[1])
    return ModelConfig(
        backbone=backbone,
        num_classes=count_classes(len(state["head.cls_score.bias"]), what),
        norm="frozen",
        fpn_channels=channels,
        p6_from="p5" if state["backbone.top_block.p6.weight"].shape[1] == channels else "c5",
        stride_in_1x1=stride_in_1x1,
        anchor_rounding=False,
        preprocessing=Preprocessing(colour=colour, scale=1.0, mean=mean, std=std, long_side=1333, short_side=800),
    )


def _reorder(tensor: Tensor, config: ModelConfig) -> Tensor:
    """Return the rows of a head's last layer in our order of anchors: ratio by ratio, in it scale by scale."""
    ratios, scales = len(config.anchor_ratios), len(config.anchor_scales)
    by_anchor = tensor.unflatten(0, (scales, ratios, -1))
    return by_anchor.transpose(0, 1).flatten(0, 2).contiguous()


def _cell_anchors(config: ModelConfig) -> Iterator[Tensor]:
    """Yield the nine anchors (9, 4) of one cell of p3 to p7 as detectron2 orders them."""
    for size in config.anchor_sizes:
        rows = []
        for scale in config.anchor_scales:
            for ratio in config.anchor_ratios:
                width, height = size * scale / ratio**0.5, size * scale * ratio**0.5
                rows.append([-width / 2, -height / 2, width / 2, height / 2])
        yield torch.tensor(rows)


def _check_anchors(state: Mapping[str, Tensor], what: str) -> None:
    """Raise when the file carries anchors and they are not RetinaNet's."""
    for level, wanted in enumerate(_cell_anchors(ModelConfig())):
        given = state.get(f"anchor_generator.cell_anchors.{level}")
        if given is not None and (given.shape != wanted.shape or not torch.allclose(given, wanted, atol=0.01)):
            raise ModelError(
                f"{what}: the anchors of p{level + 3} must be RetinaNet's nine, of 4 strides and ratios 0.5, 1, 2; "
                f"got {given.tolist()}"
            )
