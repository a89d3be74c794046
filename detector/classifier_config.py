"""What a whole-picture classifier is made of: frozen settings that travel with its weights. No torch in this file."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from detector.config import from_table
from detector.errors import UsageError
from detector.nearest import nearest

__all__ = [
    "ARCHS",
    "FIVE_CLASSES",
    "STAGES",
    "ClassifierConfig",
    "ClassifierPreprocessing",
    "classifier_config_from_dict",
    "classifier_config_to_dict",
]

# nsfw-resnet's, and of most models since.
FIVE_CLASSES = ("drawings", "hentai", "neutral", "porn", "sexy")

_RESNET = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
_INCEPTION = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    ("Mixed_5b", "Mixed_5c", "Mixed_5d"),
    ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)

# The parts of each backbone in the order in which they are locked.
STAGES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "resnet101": _RESNET,
    "resnet50": _RESNET,
    "resnet18": _RESNET,
    "inception_v3": _INCEPTION,
    "cnn": (("conv1",),),
}
ARCHS = tuple(STAGES)

# The side that each network was designed for, and by how much more is read than is cut out: 256 for 224.
_INPUT_SIZES = {"inception_v3": 299}
_INPUT_SIZE = 224
_RESIZE_SHARE = 256 / 224

# Inception's auxiliary head needs a map of 17 cells, which takes 299 pixels; a ResNet's last map is one cell at 32.
_SMALLEST = {"inception_v3": 299}
_SMALLEST_INPUT = 32


@dataclass(frozen=True, kw_only=True)
class ClassifierPreprocessing:
    """How a picture becomes the network's input, when it is judged: `(pixel / 255 - mean) / std` of a square.

    Attributes:
        fit: `squash`: the whole picture, whatever its sides, as nsfw-resnet does and Yahoo; or `crop`: the middle of
            it, in its own shape, after the shorter side was brought to `resize`: what lies beyond is not seen.
        resize: shorter side in pixels, before `crop`, and before the random crop of training; 0 takes 8/7 of the input
            (256 for 224).
        mean: of the three channels RGB, in [0, 1].
        std: as `mean`.
    """

    fit: str = "squash"
    resize: int = 0
    # ImageNet's, as torchvision's networks were trained with.
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        fits = ("squash", "crop")
        if self.fit not in fits:
            raise UsageError(
                f"preprocessing.fit must be one of {', '.join(fits)}; got {self.fit!r}{nearest(self.fit, fits)}"
            )
        # Infinity would do for a std: every picture would be the same grey.
        if not all(0 < value < math.inf for value in self.std) or not all(map(math.isfinite, self.mean)):
            raise UsageError(
                "preprocessing.std must be three positive numbers, preprocessing.mean three finite ones; "
                f"got {list(self.std)} and {list(self.mean)}"
            )
        if not 0 <= self.resize <= 4096:
            raise UsageError(f"preprocessing.resize must lie in [0, 4096]; got {self.resize}")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The network, its classes, and which of them are not safe for work.

    Attributes:
        arch: `resnet101`, `resnet50`, `resnet18`, `inception_v3`, or `cnn`, one layer of convolutions for comparison.
        classes: what the labels mean, in order; the names of the folders.
        nsfw_classes: those whose probabilities add up to the score.
        input_size: side of the network's square input, pixels; 0 takes what the network was designed for (299 for
            inception_v3, else 224).
        preprocessing: how a picture is brought into that square.
    """

    arch: str = "resnet101"
    classes: tuple[str, ...] = FIVE_CLASSES
    nsfw_classes: tuple[str, ...] = ("hentai", "porn")
    input_size: int = 0
    preprocessing: ClassifierPreprocessing = field(default_factory=ClassifierPreprocessing)

    def __post_init__(self) -> None:
        if self.arch not in ARCHS:
            raise UsageError(
                f"model.arch must be one of {', '.join(ARCHS)}; got {self.arch!r}{nearest(self.arch, ARCHS)}"
            )
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes) or not all(self.classes):
            raise UsageError(f"model.classes must be at least two different names; got {list(self.classes)}")
        for name in self.nsfw_classes:
            if name not in self.classes:
                raise UsageError(
                    f"model.nsfw_classes must be among model.classes; got {name!r}{nearest(name, self.classes)}"
                )
        if not 0 < len(set(self.nsfw_classes)) < len(self.classes):
            raise UsageError(
                "model.nsfw_classes must name at least one class and leave one that is safe; "
                f"got {list(self.nsfw_classes)} of {list(self.classes)}"
            )
        if len(set(self.nsfw_classes)) != len(self.nsfw_classes):
            raise UsageError(f"model.nsfw_classes must name each class once; got {list(self.nsfw_classes)}")
        if not self.input_size:
            object.__setattr__(self, "input_size", _INPUT_SIZES.get(self.arch, _INPUT_SIZE))
        smallest = _SMALLEST.get(self.arch, _SMALLEST_INPUT)
        if not smallest <= self.input_size <= 2048:
            raise UsageError(f"model.input_size of {self.arch} must lie in [{smallest}, 2048]; got {self.input_size}")
        if self.preprocessing.resize and self.preprocessing.resize < self.input_size:
            raise UsageError(
                f"model.preprocessing.resize must be at least model.input_size, or 0; got {self.preprocessing.resize} "
                f"and {self.input_size}"
            )

    @property
    def resize(self) -> int:
        """The shorter side from which the square is cut, pixels."""
        return self.preprocessing.resize or round(self.input_size * _RESIZE_SHARE)

    @property
    def nsfw_indices(self) -> tuple[int, ...]:
        """The labels of `nsfw_classes`."""
        return tuple(self.classes.index(name) for name in self.nsfw_classes)


def classifier_config_from_dict(table: Mapping[str, Any], where: str = "[model]") -> ClassifierConfig:
    """Build from a TOML or JSON table, `preprocessing` being a table in it.

    Raises:
        UsageError: for an unknown key (the message names the nearest) or a value that is not allowed.
    """
    return from_table(ClassifierConfig, table, where)


def classifier_config_to_dict(config: ClassifierConfig) -> dict[str, Any]:
    """Return the JSON-ready table that `classifier_config_from_dict` reads."""
    return asdict(config)
