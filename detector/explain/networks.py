"""Our torch networks as explanations need them: one number out, its input, the layer for Grad-CAM, the way back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detector.anchors import anchors_per_level
from detector.classes import NSFW_CLASSES, canonical_class
from detector.classifier import normalise
from detector.classifier_pixels import middle, squares
from detector.classifier_weights import parse_classifier
from detector.errors import ModelError, UsageError
from detector.explain.adapter import with_relu_modules
from detector.explain.targets import OPEN_NSFW_SIDE, OWN_SCORE, class_index
from detector.models import read_bytes
from detector.normalise import Normalisation
from detector.open_nsfw import CROP, preprocess
from detector.picture import Picture
from detector.preprocess import prepare
from detector.resnet_thin import load_resnet_thin
from detector.retinanet import RetinaNet
from detector.scorers import OPEN_NSFW
from detector.torch_device import choose_device
from detector.weight_file import read_file_header
from detector.weights import parse_weights

__all__ = ["Explained", "load_explained"]


@dataclass(frozen=True)
class Explained:
    """A network and a picture, ready for gradients.

    Attributes:
        network: a `LogOdds` or a `BestAnchor` in evaluation mode; what gradients are taken of.
        layer: of it, that Grad-CAM looks at.
        inputs: (1, 3, h, w) float32, of the look that scores highest.
        box: (left, upper, right, lower) in source pixels, fractional: where `content` lies in the picture.
        content: (height, width) of the part of `inputs`, from the top left, that is picture and not padding.
        target: name of what is explained.
        name: of the model.
    """

    network: Any
    layer: nn.Module
    inputs: Tensor
    box: tuple[float, float, float, float]
    content: tuple[int, int]
    target: str
    name: str


class LogOdds(nn.Module):
    """log(p / (1 - p)) of some classes together behind a softmax: what the score is the sigmoid of.

    Not one class's logit: adding a number to all logits changes no score, and must change no map.
    """

    def __init__(self, network: nn.Module, classes: list[int]) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,)."""
        logits = self.network(images)
        others = [index for index in range(logits.shape[1]) if index not in self.classes]
        return logits[:, self.classes].logsumexp(dim=1) - logits[:, others].logsumexp(dim=1)

    def score(self, images: Tensor) -> Tensor:
        """Return (B,) the probability of the classes together."""
        return self(images).sigmoid()


class BestAnchor(nn.Module):
    """The highest logit of some classes over all anchors; with a threshold, the sum of those at or above it."""

    def __init__(self, network: RetinaNet, classes: list[int], min_logit: float | None = None) -> None:
        super().__init__()
        self.network, self.classes, self.min_logit = network, classes, min_logit

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,); the highest one where none reaches the threshold."""
        logits = self._logits(images)
        best = logits.max(dim=1).values
        if self.min_logit is None:
            return best
        above = logits >= self.min_logit
        return torch.where(above.any(dim=1), torch.where(above, logits, 0.0).sum(dim=1), best)

    def score(self, images: Tensor) -> Tensor:
        """Return (B,) the highest score, in [0, 1], whatever is summed."""
        return self._logits(images).max(dim=1).values.sigmoid()

    def _logits(self, images: Tensor) -> Tensor:
        return self.network(images)[0][:, :, self.classes].flatten(1)


def load_explained(
    picture: Picture, model: str, target: str | None, device: str, above: float | None = None
) -> Explained:
    """Load a network and bring a picture to it.

    Args:
        picture: any.
        model: `open-nsfw` or a weight file of ours.
        target: a class; None for all that are not safe for work.
        device: `cpu` or `cuda`.
        above: of a RetinaNet, explain the sum of all anchors that score at least this, in (0, 1); None: the best one.

    Raises:
        UsageError: for a model that torch cannot run here, or an unknown target or device.
        ModelError: when the weights are missing or broken.
        DeviceError: when the device is not there.
    """
    # Gradients are explained in float32 wherever they are computed.
    where, _ = choose_device(device, "float32")
    if above is not None and not 0 < above < 1:
        raise UsageError(f"the lowest score of the anchors to explain must lie in (0, 1); got {above}")
    if model == OPEN_NSFW:
        _refuse(above, model)
        return _open_nsfw(picture, target, where)
    if not model.endswith(".safetensors"):
        raise UsageError(
            f"a method by gradients must have a network in torch: {OPEN_NSFW} or a .safetensors file; got {model!r}; "
            "use --method occlusion or window"
        )
    data = read_bytes(model)
    try:
        read_file_header(data, model, task="classify")
    except ModelError:
        return _retinanet(picture, data, model, target, where, above)
    _refuse(above, model)
    return _classifier(picture, data, model, target, where)


def _refuse(above: float | None, model: str) -> None:
    if above is not None:
        raise UsageError(f"above must be given for a RetinaNet only; {model} has no anchors to sum")


def _open_nsfw(picture: Picture, target: str | None, device: torch.device) -> Explained:
    network = with_relu_modules(load_resnet_thin()).to(device)
    names = ["sfw", OWN_SCORE]
    index = 1 if target is None else class_index(target, names)
    scored = LogOdds(network, [index]).eval()
    inputs = [torch.from_numpy(preprocess(look)).permute(2, 0, 1) for look in picture.images(max(picture.image_size))]
    height, width = picture.image_size
    edge = (OPEN_NSFW_SIDE - CROP) // 2 / OPEN_NSFW_SIDE
    box = (width * edge, height * edge, width * (1 - edge), height * (1 - edge))
    best = _highest(scored, torch.stack(inputs).to(device))
    layer = network.get_submodule("stage3")
    return Explained(scored, layer, best, box, (CROP, CROP), names[index], OPEN_NSFW)


def _classifier(picture: Picture, data: bytes, path: str, target: str | None, device: torch.device) -> Explained:
    model, _ = parse_classifier(data, path)
    network = with_relu_modules(model.eval()).to(device)
    config = network.config
    own = target is None or (target.lower() == OWN_SCORE and OWN_SCORE not in config.classes)
    classes = list(config.nsfw_indices) if own else [class_index(str(target), config.classes)]
    scored = LogOdds(network, classes).eval()
    pixels = torch.from_numpy(np.stack(squares(picture, config))).permute(0, 3, 1, 2).to(device)
    best = _highest(scored, normalise(pixels, config.preprocessing))
    height, width = picture.image_size
    box = (0.0, 0.0, float(width), float(height))
    if config.preprocessing.fit != "squash":
        box = middle((width, height), config.input_size / config.resize)
    named = OWN_SCORE if own else config.classes[classes[0]]
    return Explained(scored, _last_map(network.body), best, box, (config.input_size,) * 2, named, Path(path).stem)


def _last_map(body: nn.Module) -> nn.Module:
    """Return the last part before the pooling that ends a classifier's body."""
    parts = [part for name, part in body.named_children() if "pool" not in name]
    return parts[-1]


def _retinanet(
    picture: Picture, data: bytes, path: str, target: str | None, device: torch.device, above: float | None
) -> Explained:
    model, info = parse_weights(data, path)
    network = with_relu_modules(model.eval()).to(device)
    own = target is None or target.lower() == OWN_SCORE
    wanted = [name for name in NSFW_CLASSES if name in info.classes] if own else [canonical_class(str(target))]
    classes = [class_index(name, info.classes) for name in wanted]
    if not classes:
        raise UsageError(f"a target must be given: one of {', '.join(info.classes)}; none of them flags a picture")
    scored = BestAnchor(network, classes).eval()
    to_input = Normalisation(info.config.preprocessing, device, torch.float32)
    side = 2 * info.config.preprocessing.long_side
    prepared = [prepare(view, info.config.preprocessing) for view in picture.views(side)]
    plan = prepared[0].plan
    (height, width), (full_height, full_width) = plan.content, plan.network_size
    pixels = torch.zeros((len(prepared), full_height, full_width, 3), dtype=torch.uint8)
    for slot, one in enumerate(prepared):
        pixels[slot, :height, :width] = torch.from_numpy(np.require(one.pixels, None, "W"))
    limits = torch.tensor([[width, height, width, height]] * len(prepared), dtype=torch.float32)
    best = _highest(scored, to_input(pixels.to(device), limits.to(device)))
    layer = _level_layer(network, _level_of_best(network, best, classes))
    summed = scored if above is None else BestAnchor(network, classes, math.log(above / (1 - above))).eval()
    box = (0.0, 0.0, float(picture.image_size[1]), float(picture.image_size[0]))
    return Explained(summed, layer, best, box, plan.content, OWN_SCORE if own else wanted[0], Path(path).stem)


@torch.no_grad()
def _level_of_best(network: RetinaNet, inputs: Tensor, classes: list[int]) -> int:
    """Return the pyramid level, 0 for p3, whose anchor scores highest: the others have no gradient."""
    anchor = int(network(inputs)[0][0, :, classes].max(dim=1).values.argmax())
    ends = np.cumsum(anchors_per_level(network.config, (inputs.shape[2], inputs.shape[3])))
    return int(np.searchsorted(ends, anchor, side="right"))


def _level_layer(network: RetinaNet, level: int) -> nn.Module:
    """Return the module whose output is a level of the pyramid."""
    fpn: Any = network.fpn
    if level < len(fpn.layer_blocks):
        block: nn.Module = fpn.layer_blocks[level]
        return block
    top: nn.Module = (fpn.extra_blocks.p6, fpn.extra_blocks.p7)[level - len(fpn.layer_blocks)]
    return top


@torch.no_grad()
def _highest(network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return the (1, 3, h, w) input that scores highest."""
    best = int(network(inputs).argmax()) if len(inputs) > 1 else 0
    return inputs[best : best + 1].contiguous()
