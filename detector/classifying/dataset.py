"""Pictures and labels for training and validation; what is done to a picture depends on the seed and its position."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector.classifier_config import ClassifierConfig
from detector.classifier_pixels import looks, squares
from detector.classifying.config import AugmentConfig
from detector.classifying.folders import Labelled
from detector.errors import InputError, RetinaCensorError
from detector.picture import Picture
from detector.training.dataset import stream_index

__all__ = ["LabelBatch", "TrainingPictures", "ValidationPictures", "augmented", "label_loader"]

# A picture longer than this many times its shorter side is cut at random before anything else: brought to a shorter
# side of 256 it would be a strip of any length, of which a crop sees next to nothing.
MAX_ASPECT = 4.0


@dataclass(frozen=True)
class LabelBatch:
    """What goes to the device.

    Attributes:
        images: (B, 3, S, S) uint8 RGB.
        labels: (B,) int64.
        indices: (B,) int64, of the pictures in their set.
        failure: why a picture could not be read; then nothing else is there.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    failure: str = ""

    def pin_memory(self) -> "LabelBatch":
        """Copy to page-locked memory; called by the loader."""
        images, labels, indices = (part.pin_memory() for part in (self.images, self.labels, self.indices))
        return LabelBatch(images, labels, indices, self.failure)

    def to(self, device: torch.device) -> "LabelBatch":
        """Copy to the device, beside what it is doing.

        Raises:
            InputError: when a picture could not be read.
        """
        if self.failure:
            raise InputError(f"{self.failure}; repair it or take it out of the data")
        moved = [part.to(device, non_blocking=True) for part in (self.images, self.labels, self.indices)]
        return LabelBatch(moved[0], moved[1], moved[2])


# (S, S, 3) uint8, label, index; or why there is none.
Item = tuple[NDArray[np.uint8], int, int] | str


class TrainingPictures(Dataset[Item]):
    """Changed pictures, by position in the endless stream of shuffled epochs."""

    def __init__(
        self, pictures: Sequence[Labelled], *, model: ClassifierConfig, config: AugmentConfig, seed: int
    ) -> None:
        self.pictures, self.model, self.config, self.seed = pictures, model, config, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, position: int) -> Item:
        """Return one picture, its label and index; or why it cannot be read."""
        index = stream_index(position, len(self.pictures), self.seed)
        picture = self.pictures[index]
        try:
            opened = Picture.open(picture.path)
            # What shows over white; a batch cannot hold three looks of some pictures and one of others.
            image = looks(opened, self.model.resize)[0]
        except RetinaCensorError as error:
            return str(error)
        pixels = augmented(image, self.model, self.config, np.random.default_rng([self.seed, position]))
        return pixels, picture.label, index


class ValidationPictures(Dataset[Item]):
    """Pictures as the predictor looks at them, by index."""

    def __init__(self, pictures: Sequence[Labelled], *, model: ClassifierConfig) -> None:
        self.pictures, self.model = pictures, model

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Item:
        """Return one picture, its label and index; or why it cannot be read."""
        picture = self.pictures[index]
        try:
            return squares(Picture.open(picture.path), self.model)[0], picture.label, index
        except RetinaCensorError as error:
            return str(error)


def augmented(
    image: Image.Image, model: ClassifierConfig, config: AugmentConfig, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Change one training picture.

    The shorter side becomes `model.resize`, the whole is turned, and a square is cut from it: the source cuts first,
    which leaves more black corners in what is seen. Without a crop the picture is only brought into the square as
    when it is judged, then turned.

    Args:
        image: RGB, any size.
        model: says the sizes.
        config: how it is changed.
        generator: decides.

    Returns:
        (S, S, 3) uint8.
    """
    side = model.input_size
    if config.crop:
        box = _shortened(image.size, generator)
        width, height = box[2] - box[0], box[3] - box[1]
        scale = model.resize / min(width, height)
        size = (max(model.resize, round(width * scale)), max(model.resize, round(height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    else:
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if config.rotation:
        image = image.rotate(generator.uniform(-config.rotation, config.rotation), Image.Resampling.BILINEAR)
    left, upper = (int(generator.integers(0, length - side + 1)) for length in image.size)
    image = image.crop((left, upper, left + side, upper + side))
    if generator.random() < config.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(image)


def _shortened(size: tuple[int, int], generator: np.random.Generator) -> tuple[float, float, float, float]:
    """Return the part (left, upper, right, lower) of a picture that is no longer than `MAX_ASPECT` allows."""
    lengths = [min(float(length), min(size) * MAX_ASPECT) for length in size]
    starts = [
        generator.uniform(0, whole - kept) if whole > kept else 0.0 for whole, kept in zip(size, lengths, strict=True)
    ]
    return starts[0], starts[1], starts[0] + lengths[0], starts[1] + lengths[1]


def _collate(items: Sequence[Item]) -> LabelBatch:
    whole = [item for item in items if not isinstance(item, str)]
    if len(whole) < len(items):
        # Said by the training process: an error that crosses from a reading process arrives as a page of text.
        nothing = torch.zeros(0, dtype=torch.int64)
        return LabelBatch(nothing, nothing, nothing, next(item for item in items if isinstance(item, str)))
    pixels, labels, indices = zip(*whole, strict=True)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)  # (B, 3, S, S), channels_last without a copy
    return LabelBatch(images, torch.tensor(labels), torch.tensor(indices))


def label_loader(dataset: Dataset[Any], batches: Iterable[list[int]], *, workers: int, pin: bool) -> Any:
    """Return what iterates over `LabelBatch` of the given positions, in order, read by `workers` processes."""
    return DataLoader(
        dataset,
        batch_sampler=list(batches),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=pin,
        # Else it draws from the global state, and a run that was interrupted would differ from one that was not.
        generator=torch.Generator().manual_seed(0),
    )
