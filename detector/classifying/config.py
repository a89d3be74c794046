"""The settings of a classifier's training: frozen dataclasses from a TOML file, with overrides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.classifier_config import STAGES, ClassifierConfig
from detector.errors import PolicyError
from detector.nearest import nearest
from detector.training.config import RecipeConfig, check_within, config_table, read_sections

__all__ = ["AugmentConfig", "ClassifierRunConfig", "DataConfig", "TrainConfig", "load_classifier_config"]

_CHOICES = {"class_weights": ("none", "balanced", "explicit"), "best_by": ("balanced_accuracy", "loss")}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training pictures are changed. The source found that more than this did not help."""

    crop: bool = True  # a random square of the input's side, after `model.preprocessing.resize`; else as when judged
    rotation: float = 30.0  # degrees, either way, at most; the corners become black
    flip: float = 0.5  # probability of a mirror image

    def __post_init__(self) -> None:
        check_within("data.augment.rotation", self.rotation, 0, 180)
        check_within("data.augment.flip", self.flip, 0, 1)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What is learned from. The path is relative to the folder that the command runs in."""

    folder: str = "data/classifier"  # holds train/CLASS/ and val/CLASS/, or CLASS/ alone
    val_share: float = 0.1  # of the pictures of each class, where there are no train/ and val/
    split_seed: int = 0  # decides which
    workers: int = 4  # processes that read pictures; 0 reads them in the training process
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not self.folder:
            raise PolicyError("data.folder must name a folder; it is empty")
        if not 0 < self.val_share < 1:
            raise PolicyError(f"data.val_share must lie between 0 and 1; got {self.val_share}")
        check_within("data.workers", self.workers, 0, 256)
        check_within("data.split_seed", self.split_seed, 0, 1 << 31)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RecipeConfig):
    """How it is learned: nsfw-resnet's recipe, but for the batch, which was 512."""

    out: str = "runs/classifier"  # folder of checkpoint, weights and curves
    batch_size: int = 64  # pictures a step over all processes; the source advises the largest that fits
    epochs: float = 120.0
    head_lr_multiplier: float = 5.0  # on the last layer, as open_nsfw was trained
    schedule: str = "steps"
    # Of each phase: 20, 40 and 80 of the first one's 90 epochs.
    milestones: tuple[float, ...] = (20 / 90, 40 / 90, 80 / 90)
    label_smoothing: float = 0.1  # share of each target that is spread over all classes
    class_weights: str = "none"  # none; balanced: each class counts alike, however many pictures it has; or explicit
    weight_by_class: Mapping[str, float] = field(default_factory=dict)  # for `explicit`; 1 where a class is not named
    aux_weight: float = 0.4  # of the loss of inception's auxiliary head
    best_by: str = "balanced_accuracy"  # or loss: which validation figure decides what best.safetensors is

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in _CHOICES.items():
            given = getattr(self, name)
            if given not in known:
                raise PolicyError(
                    f"train.{name} must be one of {', '.join(known)}; got {given!r}{nearest(given, known)}"
                )
        check_within("train.label_smoothing", self.label_smoothing, 0, 0.99)
        check_within("train.aux_weight", self.aux_weight, 0, 10)
        if bool(self.weight_by_class) != (self.class_weights == "explicit"):
            raise PolicyError(
                "train.weight_by_class must be given exactly with train.class_weights = 'explicit'; got "
                f"{dict(self.weight_by_class)} with {self.class_weights!r}"
            )
        for name, weight in self.weight_by_class.items():
            if not 0 < weight < float("inf"):
                raise PolicyError(f"train.weight_by_class must be above 0 and finite; got {weight} for {name}")


@dataclass(frozen=True, kw_only=True)
class ClassifierRunConfig:
    """One config file: [model], [data] and [train]."""

    model: ClassifierConfig = field(default_factory=ClassifierConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        for name in self.train.weight_by_class:
            if name not in self.model.classes:
                raise PolicyError(
                    f"train.weight_by_class must name classes of the model; got {name!r}"
                    f"{nearest(name, self.model.classes)}"
                )
        there = len(STAGES[self.model.arch])
        most = max(phase.stages for phase in self.train.freeze)
        if most > there:
            raise PolicyError(
                f"train.freeze must lock at most the {there} stages of {self.model.arch}; got {most}; "
                "train.freeze=[{}] locks none"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dicts and lists, JSON-ready."""
        return config_table(self)


def load_classifier_config(path: str | Path, overrides: Sequence[str] = ()) -> ClassifierRunConfig:
    """Read a classifier's training config.

    Args:
        path: a TOML file with [model], [data] and [train].
        overrides: `section.key=value`, the value as in TOML; a bare word counts as a string.

    Raises:
        PolicyError: for an unknown section or key (the message names the nearest), or a bad value.
    """
    kinds = {"model": ClassifierConfig, "data": DataConfig, "train": TrainConfig}
    return ClassifierRunConfig(**read_sections(path, overrides, kinds))
