"""Make a network fit for changed ReLU gradients: every ReLU a module, none in place, no output changed."""

from collections import OrderedDict
from copy import deepcopy
from typing import TypeVar

from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

__all__ = ["with_relu_modules"]

Network = TypeVar("Network", bound=nn.Module)


class _TopWithModule(nn.Module):
    """torchvision's `LastLevelP6P7` with its functional ReLU as a module."""

    def __init__(self, top: LastLevelP6P7) -> None:
        super().__init__()
        self.p6, self.p7, self.use_P5 = top.p6, top.p7, top.use_P5
        self.relu = nn.ReLU()

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Return the maps and names with p6 and p7 added."""
        p6 = self.p6(p[-1] if self.use_P5 else c[-1])
        return [*p, p6, self.p7(self.relu(p6))], [*names, "p6", "p7"]


def with_relu_modules(network: Network) -> Network:
    """Return a copy whose ReLUs are all `nn.ReLU` modules that write into new memory; it gives the same outputs.

    Captum hooks `nn.ReLU` modules: a functional one keeps its plain gradient without a word, and one in place may not
    be hooked. Two places of torchvision call it as a function: the top of RetinaNet's pyramid, and each convolution
    of inception. A module used several times (the three of a ResNet block, the heads on five levels) may stay one:
    torch calls a full backward hook once for each use.

    Args:
        network: a RetinaNet, a classifier, open_nsfw, or any whose other ReLUs are modules; left as it is.
    """
    copy = deepcopy(network)
    for module in list(copy.modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = False
        for name, child in list(module.named_children()):
            if isinstance(child, BasicConv2d):
                parts = OrderedDict(conv=child.conv, bn=child.bn, relu=nn.ReLU())
                setattr(module, name, nn.Sequential(parts).train(child.training))
            elif isinstance(child, LastLevelP6P7):
                setattr(module, name, _TopWithModule(child).train(child.training))
    return copy
