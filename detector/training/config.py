"""The settings of a training run: frozen dataclasses from a TOML file, with overrides from the command line."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.classes import CLASSES, canonical_classes
from detector.config import from_table, read_toml
from detector.errors import PolicyError
from detector.losses import LossConfig
from detector.nearest import nearest
from detector.retinanet_config import ModelConfig
from detector.synth.settings import SceneSettings

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "FreezePhase",
    "RecipeConfig",
    "RunConfig",
    "SynthConfig",
    "TrainConfig",
    "check_within",
    "config_differences",
    "config_table",
    "load_config",
    "parse_override",
    "read_sections",
]

# The stem and the four groups of residual blocks: what `FreezePhase.stages` counts.
BACKBONE_STAGES = 5

_CHOICES = {
    "device": ("auto", "cpu", "cuda"),
    "precision": ("auto", "float32", "bf16"),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("cosine", "steps", "constant"),
}

# What may differ between a run and its continuation: none of it changes the weights that come out.
RESUME_MAY_CHANGE = frozenset(
    {"data.workers", "train.resume", "train.log_every", "train.evaluate_every", "train.checkpoint_every", "train.out"}
)


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raise a `PolicyError` unless a setting lies in [low, high]."""
    if not low <= value <= high:
        raise PolicyError(f"{name} must lie in [{low}, {high}]; got {value}")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training pictures are changed. Each kind has a probability; 0 turns it off."""

    flip: float = 0.5
    crop: float = 0.5  # of a crop that keeps every box, before the scale is chosen
    crop_erosion: float = 0.0  # how far such a crop may cut into the hull of all boxes: 0 not at all, 1 to a point
    scale: tuple[float, float] = (0.7, 1.4)  # relative to the size that just fits; beyond 1 the picture is cut
    min_visibility: float = 0.4  # a box with a smaller visible share is neither a target nor background: ignored
    blur: float = 0.1
    blur_sigma: tuple[float, float] = (0.3, 2.0)  # pixels of the network's input
    jpeg: float = 0.3
    jpeg_quality: tuple[int, int] = (30, 95)
    colour: float = 0.8
    brightness: float = 0.3  # each factor lies in [1 - x, 1 + x]
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03  # of the colour circle, either way
    noise: float = 0.1
    noise_std: tuple[float, float] = (0.01, 0.06)  # of the full range
    cutout: float = 0.2
    cutout_holes: tuple[int, int] = (1, 3)
    cutout_size: tuple[float, float] = (0.05, 0.2)  # of the side of the network's input
    grayscale: float = 0.05

    def __post_init__(self) -> None:
        for name in ("flip", "crop", "crop_erosion", "min_visibility", "blur", "jpeg", "colour", "noise", "cutout"):
            check_within(f"data.augment.{name}", getattr(self, name), 0, 1)
        for name in ("brightness", "contrast", "saturation", "grayscale", "hue"):
            check_within(f"data.augment.{name}", getattr(self, name), 0, 0.5 if name == "hue" else 1)
        for name in ("scale", "blur_sigma", "jpeg_quality", "noise_std", "cutout_holes", "cutout_size"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise PolicyError(f"data.augment.{name} must be [low, high] with 0 < low <= high; got {[low, high]}")
        check_within("data.augment.scale", self.scale[1], 0.05, 20)
        check_within("data.augment.jpeg_quality", self.jpeg_quality[1], 1, 100)
        check_within("data.augment.noise_std", self.noise_std[1], 0, 1)
        check_within("data.augment.cutout_size", self.cutout_size[1], 0, 0.9)


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """Mannequins that are rendered while the network learns, instead of pictures from a folder."""

    pictures: int = 0  # that count as an epoch; 0 turns it off. No picture comes twice, in whatever epoch
    seed: int = 0  # with the place in the stream it decides every picture
    split: str = "train"  # shares no picture with other splits of the seed
    render_size: int = 0  # side of the rendered picture; 0: the longer side of the network's input
    scenes: SceneSettings = field(default_factory=SceneSettings)  # `image_size` there is not used

    def __post_init__(self) -> None:
        check_within("data.synth.pictures", self.pictures, 0, 1 << 31)
        check_within("data.synth.seed", self.seed, 0, 1 << 31)
        if self.render_size:
            check_within("data.synth.render_size", self.render_size, 32, 4096)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is learned from. Paths are relative to the folder that the command runs in."""

    annotations: str = "data/train.json"  # COCO format; categories in any known spelling
    images: str = "data/images"  # the folder that `file_name` is relative to
    val_annotations: str = ""  # without it nothing is evaluated while training
    val_images: str = ""  # empty: the same folder as `images`
    classes: tuple[str, ...] = CLASSES  # the network's labels, in order
    image_size: tuple[int, int] = (512, 512)  # (height, width) of the network's input, multiples of 32
    workers: int = 4  # processes that read pictures; 0 reads them in the training process
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    synth: SynthConfig = field(default_factory=SynthConfig)  # pictures above 0: `annotations` and `images` are not read

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.image_size):
            raise PolicyError(
                f"data.image_size must be (height, width) in multiples of 32, the deepest backbone stride; "
                f"got {list(self.image_size)}"
            )
        if not self.annotations or not self.images:
            raise PolicyError("data.annotations and data.images must name a file and a folder; one is empty")
        check_within("data.workers", self.workers, 0, 256)
        object.__setattr__(self, "classes", canonical_classes(self.classes))


@dataclass(frozen=True, kw_only=True)
class FreezePhase:
    """From which point of the run how much of the backbone is locked."""

    at: float = 0.0  # share of all steps, in [0, 1)
    stages: int = 0  # 0 trains everything; 1 locks the stem, 2 also layer1, ... 5 the whole ResNet

    def __post_init__(self) -> None:
        check_within("train.freeze: at", self.at, 0, 1)
        check_within("train.freeze: stages", self.stages, 0, BACKBONE_STAGES)


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """How a network is learned, whatever it is: what detectors and classifiers have in common."""

    out: str = "runs/train"  # folder of checkpoint, weights and curves
    resume: bool = False  # go on from the checkpoint in `out`; the settings must be those of the run
    init: str = ""  # weights to start from: a .safetensors of this package, or open-nsfw for ResNets of bottlenecks
    seed: int = 0
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # auto, float32 or bf16: autocast; weights and updates stay float32
    deterministic: bool = False  # only deterministic kernels on CUDA too; slower. The CPU always is
    compile: bool = False  # torch.compile the network
    batch_size: int = 16  # pictures a step over all processes; must divide by their number
    epochs: float = 24.0
    steps: int = 0  # above 0: this many steps, whatever `epochs` says
    optimizer: str = "sgd"  # sgd or adamw
    lr: float = 0.01  # of the FPN and head before `head_lr_multiplier`, and of the backbone
    head_lr_multiplier: float = 1.0  # on everything but the ResNet (open_nsfw trained its last layer at 5)
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4  # not on biases and norms
    schedule: str = "cosine"  # cosine, steps or constant
    milestones: tuple[float, ...] = (0.67, 0.92)  # shares of all steps, for `steps`: lr is multiplied by `gamma`
    gamma: float = 0.1
    final_factor: float = 0.01  # what `cosine` ends at
    warmup_steps: int = 500
    warmup_factor: float = 0.001  # what the warm-up starts at
    clip_grad_norm: float = 10.0  # 0 turns it off
    ema_decay: float = 0.9998  # 0 turns it off
    freeze: tuple[FreezePhase, ...] = (FreezePhase(),)
    restart: bool = False  # warm-up and schedule begin anew with each phase of `freeze`: it is fine-tuned again
    freeze_bn: bool = False  # running statistics and affine parameters of batch norms stay as they are
    sync_bn: bool = False  # batch statistics over all processes; CUDA only
    log_every: int = 20  # steps between lines, and rows of curves.csv
    evaluate_every: int = 0  # steps; 0: once an epoch
    checkpoint_every: int = 0  # steps; 0: once an epoch

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise PolicyError(
                    f"train.{name} must be one of {', '.join(known)}; got {given!r}{nearest(given, known)}"
                )
        for name in ("batch_size", "log_every"):
            check_within(f"train.{name}", getattr(self, name), 1, 1 << 31)
        for name in ("seed", "steps", "warmup_steps", "evaluate_every", "checkpoint_every"):
            check_within(f"train.{name}", getattr(self, name), 0, 1 << 31)
        for name in ("lr", "head_lr_multiplier", "epochs", "gamma"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PolicyError(f"train.{name} must be above 0 and finite; got {getattr(self, name)}")
        for name in ("momentum", "final_factor", "warmup_factor", "ema_decay"):
            check_within(f"train.{name}", getattr(self, name), 0, 1)
        for name in ("weight_decay", "clip_grad_norm"):
            check_within(f"train.{name}", getattr(self, name), 0, 1e6)
        ats = [phase.at for phase in self.freeze]
        if not ats or ats[0] != 0 or ats != sorted(set(ats)):
            raise PolicyError(f"train.freeze must hold phases with rising `at`, the first at 0; got {ats}")
        if self.freeze_bn and self.sync_bn:
            raise PolicyError(
                "train.freeze_bn and train.sync_bn must not both be true: frozen norms have no statistics"
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RecipeConfig):
    """How a detector is learned."""

    loss: LossConfig = field(default_factory=LossConfig)  # focal alpha 0.25 and gamma 2; smooth_l1, l1 or giou


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One config file: [model], [data] and [train]."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        if self.model.num_classes != len(self.data.classes):
            raise PolicyError(
                f"model.num_classes must be the number of data.classes; got {self.model.num_classes} and "
                f"{len(self.data.classes)}"
            )
        # The weight file carries the model's preprocessing: at another size than it learned at it would find little.
        seen = self.model.preprocessing
        if seen.short_side is None and seen.long_side != max(self.data.image_size):
            raise PolicyError(
                f"model.preprocessing.long_side must be the longer side of data.image_size; got {seen.long_side} and "
                f"{list(self.data.image_size)}"
            )
        # A group norm averages over the padding too: padded otherwise, the same picture scores otherwise.
        if "group" in (self.model.norm, self.model.head_norm) and self.data.image_size != (seen.multiple,) * 2:
            raise PolicyError(
                "with group norm, pictures must be padded in use as in training: data.image_size must be square and "
                f"model.preprocessing.multiple its side; got {list(self.data.image_size)} and {seen.multiple}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dicts and lists, JSON-ready."""
        return config_table(self)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a training config.

    Args:
        path: a TOML file with [model], [data] and [train].
        overrides: `section.key=value`, the value as in TOML; a bare word counts as a string.

    Raises:
        PolicyError: for an unknown section or key (the message names the nearest), or a bad value.
    """
    kinds = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig}
    return RunConfig(**read_sections(path, overrides, kinds))


def read_sections(path: str | Path, overrides: Sequence[str], kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Read the sections of a config file, each as its dataclass; a section that is not there takes its defaults.

    Args:
        path: a TOML file.
        overrides: see `load_config`.
        kinds: the dataclass of each section.

    Raises:
        PolicyError: see `load_config`.
    """
    table = read_toml(Path(path))
    for text in overrides:
        keys, value = parse_override(text)
        place = table
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise PolicyError(f"{text!r}: {key!r} must be a table to hold a key; it is a value in {path}")
        place[keys[-1]] = value
    for section in table:
        if section not in kinds:
            known = ", ".join(kinds)
            raise PolicyError(f"{path}: a section must be one of {known}; got {section!r}{nearest(section, kinds)}")
    parts: dict[str, Any] = {}
    for section, kind in kinds.items():
        values = table.get(section, {})
        if not isinstance(values, Mapping):
            raise PolicyError(f"{path}: {section} must be a table; got {values!r}")
        parts[section] = from_table(kind, values, f"{path} [{section}]")
    return parts


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `section.key=value` into its keys and the value.

    >>> parse_override("train.lr=0.02")
    (['train', 'lr'], 0.02)
    >>> parse_override("train.optimizer=adamw")
    (['train', 'optimizer'], 'adamw')

    Raises:
        PolicyError: when there is no `=`, or no section.
    """
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise PolicyError(f"an override must be section.key=value, for example train.lr=0.02; got {text!r}")
    try:
        return keys, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, value.strip()


def config_table(config: Any) -> dict[str, Any]:
    """Return a dataclass of settings as nested dicts and lists, JSON-ready."""
    table: dict[str, Any] = _plain(dataclasses.asdict(config))
    return table


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys in which two `RunConfig.to_dict()` differ and that change what training gives."""
    before, after = _flat(old), _flat(new)
    keys = sorted(before.keys() | after.keys())
    return [key for key in keys if key not in RESUME_MAY_CHANGE and before.get(key) != after.get(key)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
