"""The RetinaNet: normalised pictures in, logits and deltas of every anchor out. No thresholds, no NMS, no files.

Built from torchvision's parts. All shapes follow from the input's: it compiles, exports, and is captured into graphs.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.anchors import anchors_for
from detector.errors import UsageError
from detector.retinanet_config import ModelConfig
from detector.thin_body import ThinBody

__all__ = ["ModelConfig", "RetinaNet", "anchors_for", "build_retinanet", "fold_batch_norm", "from_torchvision_state"]

# Groups of a GroupNorm, as in its paper (arXiv:1803.08494) and in torchvision's heads.
GROUPS = 32


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME: what cannot be split evenly goes below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ceil(H / stride), ceil(W / stride))."""
        return super().forward(nn.functional.pad(x, _same(x, self.kernel_size[0], self.stride[0])))


class SameMaxPool2d(nn.MaxPool2d):
    """A max pool that pads as TensorFlow's SAME; the padding never is the maximum."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, ceil(H / stride), ceil(W / stride))."""
        padded = nn.functional.pad(x, _same(x, self.kernel_size, self.stride), value=-torch.inf)
        return super().forward(padded)


def _same(x: Tensor, kernel: int, stride: int) -> list[int]:
    """Return the padding left, right, above, below that makes each side of the output ceil(side / stride)."""
    sides = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        sides += [total // 2, total - total // 2]
    return sides


class RetinaNet(nn.Module):
    """ResNet, feature pyramid p3 to p7, and two heads that are shared by all levels. Build with `build_retinanet`.

    Args:
        config: what it was built from; kept as `config`.
        body: gives c3, c4 and c5 as a dict. Its children are conv1, bn1, relu, maxpool, layer1 to layer4.
        fpn: gives p3 to p7 from them.
        head: gives logits and deltas from these.
    """

    def __init__(self, *, config: ModelConfig, body: nn.Module, fpn: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.body = body
        self.fpn = fpn
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look at a batch.

        Args:
            images: (B, 3, H, W), normalised as `config.preprocessing` says. The sides may be any; where they are
                multiples of 128, no level ends in half a cell.

        Returns:
            cls_logits (B, A, K), before the sigmoid, and box_deltas (B, A, 4); row i belongs to row i of
            `anchors_for(config, (H, W))`.
        """
        outputs = self.head(list(self.fpn(self.body(images)).values()))
        return outputs["cls_logits"], outputs["bbox_regression"]


def _norm_layer(config: ModelConfig) -> Callable[[int], nn.Module]:
    if config.norm == "group":
        return lambda channels: nn.GroupNorm(GROUPS, channels, eps=config.norm_eps)
    return partial(nn.BatchNorm2d if config.norm == "batch" else FrozenBatchNorm2d, eps=config.norm_eps)


def _body(config: ModelConfig) -> tuple[nn.Module, list[int]]:
    """Return the ResNet up to c5, and the channels of c3, c4 and c5."""
    if config.backbone == "resnet50_thin":
        return ThinBody(), list(ThinBody.channels)
    build = getattr(torchvision.models, config.backbone)
    # A residual branch starts at zero where the norm has a weight to learn: 101 layers from scratch start as few.
    resnet = build(weights=None, norm_layer=_norm_layer(config), zero_init_residual=config.norm != "frozen")
    if config.stride_in_1x1:
        for layer in (resnet.layer2, resnet.layer3, resnet.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    if config.same_padding:
        resnet.maxpool = SameMaxPool2d(kernel_size=3, stride=2)
    width = resnet.inplanes
    body = IntermediateLayerGetter(resnet, {"layer2": "c3", "layer3": "c4", "layer4": "c5"})
    return body, [width // 4, width // 2, width]


def _top(config: ModelConfig, c5_channels: int) -> LastLevelP6P7:
    """Return the block that makes p6 and p7."""
    channels = config.fpn_channels
    top = LastLevelP6P7(channels if config.p6_from == "p5" else c5_channels, channels)
    # torchvision guesses this from the channels alone.
    top.use_P5 = config.p6_from == "p5"
    if config.same_padding:
        for name in ("p6", "p7"):
            old = getattr(top, name)
            new = SameConv2d(old.in_channels, old.out_channels, 3, stride=2)
            new.load_state_dict(old.state_dict())
            setattr(top, name, new)
    return top


def build_retinanet(config: ModelConfig) -> RetinaNet:
    """Build the network with random weights, in training mode; every score starts at about 0.01 (the focal prior).

    On `torch.device("meta")` nothing is allocated: for weights that are assigned afterwards.
    """
    body, channels = _body(config)
    fpn = FeaturePyramidNetwork(channels, config.fpn_channels, extra_blocks=_top(config, channels[-1]))
    head_norm = partial(nn.GroupNorm, GROUPS) if config.head_norm == "group" else None
    head = RetinaNetHead(config.fpn_channels, config.num_anchors, config.num_classes, norm_layer=head_norm)
    return RetinaNet(config=config, body=body, fpn=fpn, head=head)


def from_torchvision_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the state dict of a `torchvision.models.detection.RetinaNet` on a ResNet-FPN into ours.

    The state dicts of releases before the heads were made of `Conv2dNormActivation` are not read: load them into
    torchvision's model first.

    Raises:
        UsageError: when a name belongs to neither backbone nor head.
    """
    mapped: dict[str, Tensor] = {}
    for name, tensor in state.items():
        ours = name.removeprefix("backbone.")
        if ours.split(".")[0] not in ("body", "fpn", "head"):
            raise UsageError(f"a torchvision RetinaNet must have only `backbone` and `head`; got {name!r}")
        mapped[ours] = tensor
    return mapped


def _conv_norm_pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Conv2d, nn.Module]]:
    """Yield each norm whose input is the convolution that stands before it: holder, the norm's name, both modules."""
    for holder in module.modules():
        children = list(holder.named_children())
        named = dict(children)
        for name, child in children:
            if not isinstance(child, nn.BatchNorm2d | FrozenBatchNorm2d):
                continue
            if isinstance(holder, nn.Sequential):
                before = named.get(str(int(name) - 1))
            else:
                before = named.get(name.replace("bn", "conv"))
            if isinstance(before, nn.Conv2d):
                yield holder, name, before, child


@torch.no_grad()
def fold_batch_norm(model: RetinaNet) -> RetinaNet:
    """Fold every batch norm of the backbone into the convolution before it, in place; exact up to rounding.

    Args:
        model: in evaluation mode; it cannot be trained further after this.

    Returns:
        The same model. Group norms stay: what they do depends on the picture.

    Raises:
        UsageError: when the model is in training mode: its batch norms would still have changed.
    """
    if model.training:
        raise UsageError("a model must be in evaluation mode to be folded; call model.eval() first")
    for holder, name, conv, norm in list(_conv_norm_pairs(model.body)):
        # In float64, so that folding adds one rounding and not four.
        parts = [part.double() for part in (norm.running_mean, norm.running_var)]
        weight, bias = fuse_conv_bn_weights(
            conv.weight.double(), None, parts[0], parts[1], norm.eps, norm.weight.double(), norm.bias.double()
        )
        conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
        setattr(holder, name, nn.Identity())
    left = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d)]
    assert not left, f"not folded: {left}"
    return model
