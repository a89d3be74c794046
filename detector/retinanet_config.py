"""What a RetinaNet is made of: frozen settings that travel with its weights, read from TOML or a weight file's header.

The defaults are ours. `torchvision_config` and `keras_retinanet_config` give what those two need, so that their
weights mean the same here. No torch in this file.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from detector.config import from_table, read_toml
from detector.errors import UsageError
from detector.nearest import nearest

__all__ = [
    "LEVELS",
    "STRIDES",
    "ModelConfig",
    "Preprocessing",
    "keras_retinanet_config",
    "model_config_from_dict",
    "model_config_to_dict",
    "read_model_config",
    "torchvision_config",
]

# The pyramid: features p3 to p7, each half the size of the one before.
LEVELS = (3, 4, 5, 6, 7)
STRIDES = tuple(2**level for level in LEVELS)

# Far beyond any use, and small enough that a weight file from a stranger cannot ask for more memory than there is.
_MOST_SIDE, _MOST_CHANNELS, _MOST_ANCHORS = 8192, 4096, 64

_CHOICES = {
    "backbone": ("resnet18", "resnet50", "resnet50_thin", "resnet101"),
    "norm": ("batch", "frozen", "group"),
    "head_norm": ("none", "group"),
    "p6_from": ("c5", "p5"),
    "anchor_stride": ("fixed", "floor"),
    "box_coding": ("cxcywh", "xyxy"),
}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} must be one of {', '.join(choices)}; got {value!r}{nearest(value, choices)}")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pixels become the network's input: `(pixel * scale - mean) / std`, then zeros as padding.

    Attributes:
        colour: `RGB` or `BGR`, the order of the network's three channels.
        scale: what a pixel in [0, 255] is multiplied with.
        mean: one a channel, in the order of `colour`, after `scale`.
        std: as `mean`.
        long_side: upper bound for the longer side of the picture in the network's input, pixels.
        short_side: upper bound for the shorter side; None bounds only the longer one. The picture is as large as both
            bounds allow, its aspect kept.
        multiple: the padded sides are multiples of this, so that all pictures share a few input sizes. Every stride
            divides 128: with it, no level ends in half a cell.
    """

    colour: str = "RGB"
    scale: float = 1 / 255
    # ImageNet's, as torchvision's backbones were trained with.
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    long_side: int = 512
    short_side: int | None = None
    multiple: int = 128

    def __post_init__(self) -> None:
        _check_choice("preprocessing.colour", self.colour, ("RGB", "BGR"))
        # Infinity would do for a std: every picture would be the same grey, and nothing ever found.
        positive = all(0 < value < math.inf for value in (*self.std, self.scale))
        if len(self.mean) != 3 or len(self.std) != 3 or not positive or not all(map(math.isfinite, self.mean)):
            raise UsageError(
                "preprocessing must have three finite means, three positive stds and a positive scale; "
                f"got {self.mean}, {self.std} and {self.scale}"
            )
        sides = [self.long_side, self.multiple, *([] if self.short_side is None else [self.short_side])]
        if not all(1 <= side <= _MOST_SIDE for side in sides):
            raise UsageError(f"long_side, short_side and multiple must lie in [1, {_MOST_SIDE}]; got {sides}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: everything that decides what a weight file's numbers mean.

    Attributes:
        backbone: `resnet18`, `resnet50` or `resnet101`; or `resnet50_thin`, open_nsfw's (half the filters, the stride
            in the first 1x1 convolution, batch norms folded away: norm `frozen`).
        num_classes: K; no background class.
        norm: of the backbone: `batch`, `frozen` (batch norm with constants) or `group` (32 groups).
        norm_eps: the epsilon of that norm.
        head_norm: `none`, or `group` (32 groups; torchvision's v2 heads).
        fpn_channels: of p3 to p7 and of the heads.
        p6_from: `p5` or `c5`: what p6 is computed from. p7 is computed from relu(p6) in all known RetinaNets.
        stride_in_1x1: whether a bottleneck halves the size in its first 1x1 convolution (the original ResNet, caffe,
            keras-resnet) and not in its 3x3 (torchvision).
        same_padding: whether the 3x3 steps of stride 2 outside the bottlenecks (max pool, p6, p7) pad as TensorFlow's
            SAME: for an even side only below and to the right.
        anchor_sizes: base side of the anchors of p3 to p7, pixels of the network's input.
        anchor_ratios: height over width.
        anchor_scales: factors on the base side.
        anchor_offset: where the anchors of cell i stand: at (i + offset) * stride.
        anchor_rounding: whether scaled sides are cut, and corners rounded, to whole pixels, as in torchvision.
        anchor_stride: `fixed` (8 to 128), or `floor`: input side // cells, as in torchvision; the same where the
            side is a multiple of 128.
        box_coding: `cxcywh`: (dx, dy) in anchor sides, (dw, dh) logarithmic (R-CNN); or `xyxy`: the corners' moves in
            anchor sides (keras-retinanet).
        box_std: what the four deltas are multiplied with before they are applied.
        preprocessing: how the input is made.
    """

    backbone: str = "resnet101"
    num_classes: int = 6
    norm: str = "batch"
    norm_eps: float = 1e-5
    head_norm: str = "none"
    fpn_channels: int = 256
    p6_from: str = "p5"
    stride_in_1x1: bool = False
    same_padding: bool = False
    anchor_sizes: tuple[float, float, float, float, float] = (32.0, 64.0, 128.0, 256.0, 512.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_scales: tuple[float, ...] = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    anchor_offset: float = 0.0
    anchor_rounding: bool = True
    anchor_stride: str = "fixed"
    box_coding: str = "cxcywh"
    box_std: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        widths = (self.num_classes, self.fpn_channels)
        if not all(1 <= width <= _MOST_CHANNELS for width in widths) or not 0 < self.norm_eps < math.inf:
            raise UsageError(
                f"num_classes and fpn_channels must lie in [1, {_MOST_CHANNELS}] and norm_eps be positive; "
                f"got {self.num_classes}, {self.fpn_channels} and {self.norm_eps}"
            )
        if self.head_norm == "group" and self.fpn_channels % 32:
            raise UsageError(f"fpn_channels must be a multiple of 32 with head_norm group; got {self.fpn_channels}")
        if self.stride_in_1x1 and self.backbone == "resnet18":
            raise UsageError("stride_in_1x1 must be false for resnet18: its blocks have no 1x1 convolution")
        if self.backbone == "resnet50_thin":
            self._check_thin()
        if len(self.anchor_sizes) != len(LEVELS) or len(self.box_std) != 4:
            raise UsageError(
                f"anchor_sizes must hold {len(LEVELS)} values and box_std 4; got {self.anchor_sizes}, {self.box_std}"
            )
        positive = (*self.anchor_sizes, *self.anchor_ratios, *self.anchor_scales, *self.box_std)
        finite = all(0 < value < math.inf for value in positive) and math.isfinite(self.anchor_offset)
        if not 1 <= self.num_anchors <= _MOST_ANCHORS or not finite:
            raise UsageError(
                "anchor_sizes, anchor_ratios, anchor_scales and box_std must be positive, none empty, anchor_offset "
                f"finite, and a location have at most {_MOST_ANCHORS} anchors; "
                f"got {self.anchor_sizes}, {self.anchor_ratios}, {self.anchor_scales} and {self.box_std}"
            )

    def _check_thin(self) -> None:
        if self.norm != "frozen" or not self.stride_in_1x1 or self.same_padding or self.preprocessing.multiple % 32:
            raise UsageError(
                "resnet50_thin must have norm frozen, stride_in_1x1 true, same_padding false, and a "
                "preprocessing.multiple that 32 divides (its pooling drops the last column of an odd side); got "
                f"{self.norm}, {self.stride_in_1x1}, {self.same_padding} and {self.preprocessing.multiple}"
            )

    @property
    def num_anchors(self) -> int:
        """Anchors at one location."""
        return len(self.anchor_ratios) * len(self.anchor_scales)


def torchvision_config(**changes: Any) -> ModelConfig:
    """Return what weights of `torchvision.models.detection.retinanet_resnet50_fpn` need.

    Its v2 needs `p6_from="c5"`, `norm="batch"` and `head_norm="group"` besides.

    Args:
        **changes: fields of `ModelConfig`. COCO weights have 91 classes.
    """
    base = ModelConfig(
        backbone="resnet50",
        norm="frozen",
        anchor_stride="floor",
        preprocessing=Preprocessing(long_side=1333, short_side=800),
    )
    return replace(base, **changes)


def keras_retinanet_config(**changes: Any) -> ModelConfig:
    """Return what weights of keras-retinanet (ResNet-50) need: NudeNet v2's detectors are such.

    Source:
        fizyr/keras-retinanet: utils/anchors.py (sizes 32 to 512, shifts (i + 0.5) * stride, no rounding), layers and
        backend (std 0.2, corners), models/retinanet.py (p6 from c5, SAME padding), utils/image.py (caffe mean, BGR,
        short side 800, long side 1333); broadinstitute/keras-resnet (stride in the first 1x1, epsilon 1e-5).

    Args:
        **changes: fields of `ModelConfig`. NudeNet v2's default detector has 16 classes.
    """
    base = ModelConfig(
        backbone="resnet50",
        norm="frozen",
        p6_from="c5",
        stride_in_1x1=True,
        same_padding=True,
        anchor_offset=0.5,
        anchor_rounding=False,
        box_coding="xyxy",
        box_std=(0.2, 0.2, 0.2, 0.2),
        preprocessing=Preprocessing(
            colour="BGR",
            scale=1.0,
            mean=(103.939, 116.779, 123.68),
            std=(1.0, 1.0, 1.0),
            long_side=1333,
            short_side=800,
        ),
    )
    return replace(base, **changes)


def model_config_from_dict(table: Mapping[str, Any], where: str = "[model]") -> ModelConfig:
    """Build from a TOML or JSON table, `preprocessing` being a table in it.

    Raises:
        UsageError: for an unknown key (the message names the nearest) or a value that is not allowed.
    """
    given = {key: value for key, value in table.items() if value is not None}
    if isinstance(given.get("preprocessing"), Mapping):
        # JSON writes None as null; TOML has no such thing, and leaves the key out.
        given["preprocessing"] = {key: value for key, value in given["preprocessing"].items() if value is not None}
    return from_table(ModelConfig, given, where)


def model_config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Return the JSON-ready table that `model_config_from_dict` reads."""
    return asdict(config)


def read_model_config(path: Path) -> ModelConfig:
    """Read the `[model]` table of a config file, for example `configs/retinanet_r101.toml`.

    Raises:
        UsageError: when the file cannot be read, has no such table, or says something that is not understood.
    """
    table = read_toml(path)
    if not isinstance(table.get("model"), Mapping):
        raise UsageError(f"{path} must hold a table [model]; it does not")
    return model_config_from_dict(table["model"], f"{path.name} [model]")
