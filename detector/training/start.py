"""The weights that a run starts from: another model's of this package, or open_nsfw's, taught on photographs.

open_nsfw is a ResNet-50 with half the filters. ResNet-50 and ResNet-101 take it over whole, widened and deepened so
that they compute what it computes before they learn more than it holds.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from detector.errors import UsageError
from detector.resnet_thin import load_resnet_thin
from detector.retinanet import RetinaNet
from detector.thin_body import ThinBody
from detector.weights import load_weights

__all__ = ["OPEN_NSFW", "start_from"]

# In the place of a path in train.init.
OPEN_NSFW = "open-nsfw"

# What a full ResNet must be to compute what open_nsfw does; and what its pixels must look like.
_NEEDED: Mapping[str, object] = {"norm": "frozen", "stride_in_1x1": True, "same_padding": True}
_NEEDED_PIXELS: Mapping[str, object] = {
    "colour": "BGR",
    "scale": 1.0,
    "mean": (104.0, 117.0, 123.0),
    "std": (1.0, 1.0, 1.0),
}

# A thin ResNet-50's parts by torchvision's names. The first block of a stage has the projection too.
_PARTS = (("branch2a", "conv1", "bn1"), ("branch2b", "conv2", "bn2"), ("branch2c", "conv3", "bn3"))
_PROJECTION = ("proj_shortcut", "downsample.0", "downsample.1")


def start_from(model: RetinaNet, init: str) -> str:
    """Give a model the weights that `train.init` names; return what to say about it.

    Args:
        model: changed in place.
        init: a .safetensors file of this package, of which all tensors of the same name and shape are taken; or
            `open-nsfw`, for the backbones resnet50_thin, resnet50 and resnet101.

    Raises:
        UsageError: when nothing of it fits this backbone, or the model's settings are not those of open_nsfw.
        ModelError: when the weights are missing or damaged.
    """
    if init != OPEN_NSFW:
        return _from_file(model, Path(init))
    _check_open_nsfw(model)
    if isinstance(model.body, ThinBody):
        model.body.load_state_dict(ThinBody.pretrained().state_dict())
    else:
        _widen(load_resnet_thin().state_dict(), model.body)
    return f"init: the backbone from {OPEN_NSFW}; random: fpn and head"


def _from_file(model: RetinaNet, path: Path) -> str:
    theirs, ours = load_weights(path).state_dict(), model.state_dict()
    fits = {name: tensor for name, tensor in theirs.items() if name in ours and ours[name].shape == tensor.shape}
    if not any(name.startswith("body.") for name in fits):
        raise UsageError(f"train.init must hold weights for this backbone; none of {path} fit")
    model.load_state_dict({**ours, **fits})
    left = [name for name in ours if name not in fits]
    return f"init: {len(fits)} of {len(ours)} tensors from {path}" + (f"; random: {', '.join(left)}" if left else "")


def _check_open_nsfw(model: RetinaNet) -> None:
    """Refuse a model to which open_nsfw's weights would mean something else."""
    config = model.config
    if config.backbone not in ("resnet50_thin", "resnet50", "resnet101"):
        raise UsageError(
            f'train.init = "{OPEN_NSFW}" needs model.backbone = "resnet50_thin", "resnet50" or "resnet101", '
            f"which are made of the same blocks; got {config.backbone}"
        )
    needed = {} if config.backbone == "resnet50_thin" else {f"model.{name}": value for name, value in _NEEDED.items()}
    given = {f"model.{name}": getattr(config, name) for name in _NEEDED}
    needed |= {f"model.preprocessing.{name}": value for name, value in _NEEDED_PIXELS.items()}
    given |= {f"model.preprocessing.{name}": getattr(config.preprocessing, name) for name in _NEEDED_PIXELS}
    wrong = [f"{name} = {value!r} (got {given[name]!r})" for name, value in needed.items() if given[name] != value]
    if wrong:
        raise UsageError(f'train.init = "{OPEN_NSFW}" needs {", ".join(wrong)}: its weights were taught with that')


def _layers(thin: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str]]:
    """Yield open_nsfw's convolutions: its name, and torchvision's for the convolution and the norm behind it."""
    yield "conv_1", "conv1", "bn1"
    for name in thin:
        stage, _, rest = name.partition(".")
        if not name.endswith("branch2a.conv.weight"):
            continue
        block = rest.partition(".")[0]
        target = f"layer{int(stage.removeprefix('stage')) + 1}.{block}"
        has_projection = f"{stage}.{block}.proj_shortcut.conv.weight" in thin
        for part, conv, norm in (*_PARTS, *([_PROJECTION] if has_projection else [])):
            yield f"{stage}.{block}.{part}", f"{target}.{conv}", f"{target}.{norm}"


@torch.no_grad()
def _widen(thin: Mapping[str, Tensor], body: torch.nn.Module) -> None:
    """Make a ResNet-50 or -101 compute what the thin ResNet-50 computes, each of its channels twice.

    A channel's twins share what it gave to each later channel in random shares that add up to one: the sum is the
    same, and no two twins have the same gradient. A block that the thin network lacks adds nothing, since its last
    convolution is zero.

    Source:
        Chen, Goodfellow and Shlens, Net2Net (arXiv:1511.05641): wider and deeper networks of the same function. They
        tell the twins apart by noise, which changes the function; shares do not.
    """
    state = body.state_dict()
    taken = set()
    for source, conv, norm in _layers(thin):
        weight, bias = thin[f"{source}.conv.weight"], thin[f"{source}.conv.bias"]
        full = state[f"{conv}.weight"]
        copies_out, copies_in = full.shape[0] // weight.shape[0], full.shape[1] // weight.shape[1]
        shares = torch.rand(copies_in, full.shape[0], weight.shape[1], 1, 1) + 0.5
        shares /= shares.sum(0)
        full.copy_(torch.cat([weight.repeat(copies_out, 1, 1, 1) * share for share in shares], dim=1))
        state[f"{norm}.weight"].fill_(1)
        state[f"{norm}.bias"].copy_(bias.repeat(copies_out))
        state[f"{norm}.running_mean"].zero_()
        state[f"{norm}.running_var"].fill_(1 - body.get_submodule(norm).eps)
        taken.add(conv)
    for name, tensor in state.items():
        if name.endswith(".conv3.weight") and name.removesuffix(".weight") not in taken:
            tensor.zero_()
