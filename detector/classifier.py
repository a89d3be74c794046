"""The whole-picture classifiers: normalised pictures in, one logit a class out. No files, no download, no thresholds.

Built from torchvision's networks, always with random weights: those of somebody else come from a file that the user
names.
"""

from collections import OrderedDict
from collections.abc import Mapping

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.inception import InceptionAux

from detector.classifier_config import STAGES, ClassifierConfig, ClassifierPreprocessing

__all__ = ["Classifier", "build_classifier", "from_torchvision_classifier", "normalise"]

# The one-layer network: kernel and stride as in AlexNet's first layer, and a pooling that leaves 7 x 7 of 224.
CNN_CHANNELS, CNN_KERNEL, CNN_STRIDE, CNN_POOL = 32, 11, 4, 8

# Where inception's second, auxiliary head looks, and the channels there; 0.4 is its loss's weight in torchvision's
# reference training, 0.5 its dropout.
AUX_AFTER, AUX_CHANNELS, INCEPTION_DROPOUT = "Mixed_6e", 768, 0.5

# What torchvision names the last layers that are not a backbone's, and what they are here.
_HEADS = {"fc.": "head.", "AuxLogits.": "aux."}


class Classifier(nn.Module):
    """A backbone, and one linear layer that is new. Build with `build_classifier`.

    Args:
        config: what it was built from; kept as `config`.
        body: its parts in order, by their torchvision names; gives features.
        head: gives logits from the features, flattened.
        dropout: of the features, in training.
        aux: inception's auxiliary head; None for others.

    Attributes:
        stages: names of the body's parts, in the order in which they are locked.
    """

    def __init__(
        self,
        *,
        config: ClassifierConfig,
        body: nn.Sequential,
        head: nn.Linear,
        dropout: float = 0.0,
        aux: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.stages = STAGES[config.arch]
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = head
        self.aux = aux

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Look at a batch.

        Args:
            images: (B, 3, S, S) with S the config's `input_size`, as `normalise` gives them.

        Returns:
            (B, K) logits before the softmax, in the order of `config.classes`; in training mode, where there is an
            auxiliary head, these and its own.
        """
        features, early = images, None
        for name, part in self.body.named_children():
            features = part(features)
            if name == AUX_AFTER and self.aux is not None and self.training:
                early = self.aux(features)
        logits: Tensor = self.head(self.dropout(torch.flatten(features, 1)))
        return logits if early is None else (logits, early)


def build_classifier(config: ClassifierConfig) -> Classifier:
    """Build the network with random weights, in training mode.

    On `torch.device("meta")` nothing is allocated: for weights that are assigned afterwards.
    """
    count = len(config.classes)
    if config.arch == "cnn":
        side = (config.input_size + 2 * (CNN_KERNEL // 2) - CNN_KERNEL) // CNN_STRIDE + 1
        parts = OrderedDict(
            conv1=nn.Conv2d(3, CNN_CHANNELS, CNN_KERNEL, stride=CNN_STRIDE, padding=CNN_KERNEL // 2),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(min(CNN_POOL, side)),
        )
        cells = side // min(CNN_POOL, side)
        return Classifier(config=config, body=nn.Sequential(parts), head=nn.Linear(CNN_CHANNELS * cells**2, count))
    if config.arch == "inception_v3":
        whole = torchvision.models.inception_v3(weights=None, aux_logits=False, init_weights=True)
        parts = OrderedDict((name, part) for name, part in whole.named_children() if name not in ("dropout", "fc"))
        return Classifier(
            config=config,
            body=nn.Sequential(parts),
            head=nn.Linear(whole.fc.in_features, count),
            dropout=INCEPTION_DROPOUT,
            aux=InceptionAux(AUX_CHANNELS, count),
        )
    # A residual branch starts at zero: 101 layers from scratch start as few.
    whole = getattr(torchvision.models, config.arch)(weights=None, zero_init_residual=True)
    parts = OrderedDict((name, part) for name, part in whole.named_children() if name != "fc")
    return Classifier(config=config, body=nn.Sequential(parts), head=nn.Linear(whole.fc.in_features, count))


def from_torchvision_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors of a torchvision classifier's state dict as ours are; names that are ours stay.

    A leading `module.`, from weights that were saved while they were trained on several GPUs, is dropped.
    """
    renamed: dict[str, Tensor] = {}
    for given, tensor in state.items():
        name = given.removeprefix("module.")
        old = next((old for old in _HEADS if name.startswith(old)), None)
        if old is not None:
            name = _HEADS[old] + name.removeprefix(old)
        elif not name.startswith(("body.", "head.", "aux.")):
            name = f"body.{name}"
        renamed[name] = tensor
    return renamed


def normalise(images: Tensor, preprocessing: ClassifierPreprocessing) -> Tensor:
    """Turn pictures into the network's input, on the device that they are on.

    Args:
        images: (B, 3, S, S) uint8 RGB.
        preprocessing: the model's.

    Returns:
        (B, 3, S, S) float32.
    """
    mean = torch.tensor(preprocessing.mean, device=images.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=images.device)[:, None, None]
    return (images.float() / 255 - mean) / std
