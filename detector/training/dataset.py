"""Pictures and boxes for training and validation, in an order that depends on nothing but the seed."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from detector.data.coco import picture_path
from detector.errors import InputError
from detector.picture import Limits, Picture
from detector.retinanet_config import Preprocessing
from detector.training.annotations import Annotations
from detector.training.augment import Sample, augment, letterboxed
from detector.training.config import AugmentConfig

__all__ = [
    "Batch",
    "Target",
    "TrainingSet",
    "ValidationSet",
    "batch_positions",
    "loader",
    "normalise",
    "packed",
    "stream_index",
    "training_item",
]

# A crop is enlarged to the network's input: pictures are read at up to so many times its size.
READ_SCALE = 2

Target: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """What goes to the device.

    Attributes:
        images: (B, 4, H, W) uint8: RGB, and 1 where there is picture, 0 where there is padding.
        targets: one a picture: `boxes` (N, 4) float32 xyxy in pixels of the network's input, `labels` (N,) int64,
            `ignore` (M, 4); for validation `index`, a scalar, and `content` (2,): height and width in the input.
    """

    images: Tensor
    targets: list[Target]

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory; called by the loader."""
        return Batch(self.images.pin_memory(), [{k: v.pin_memory() for k, v in t.items()} for t in self.targets])

    def to(self, device: torch.device) -> "Batch":
        """Copy to the device, beside what it is doing."""
        targets = [{k: v.to(device, non_blocking=True) for k, v in target.items()} for target in self.targets]
        return Batch(self.images.to(device, non_blocking=True), targets)


def stream_index(position: int, count: int, seed: int) -> int:
    """Return which of `count` pictures stands at `position` of the endless stream of shuffled epochs."""
    epoch, place = divmod(position, count)
    return int(_order(count, seed, epoch)[place])


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_positions(
    start: int, stop: int, batch_size: int, *, rank: int = 0, world_size: int = 1
) -> Iterator[list[int]]:
    """Yield the stream positions of this process's share of each step's batch.

    All processes together see what one would see with the whole batch, in the same step.

    Args:
        start: first step.
        stop: the step after the last.
        batch_size: pictures a step over all processes; a multiple of `world_size`.
        rank: of this process.
        world_size: number of processes.
    """
    share = batch_size // world_size
    for step in range(start, stop):
        first = step * batch_size + rank * share
        yield list(range(first, first + share))


class TrainingSet(Dataset[tuple[Tensor, Target]]):
    """Augmented pictures, by position in the endless stream.

    Args:
        annotations: what is in the pictures.
        folder: of the pictures.
        image_size: (height, width) of the network's input.
        config: how pictures are changed.
        seed: with the position it decides everything.
        limits: on the pictures; None takes the defaults.
    """

    def __init__(
        self,
        *,
        annotations: Annotations,
        folder: Path,
        image_size: tuple[int, int],
        config: AugmentConfig,
        seed: int,
        limits: Limits | None = None,
    ) -> None:
        self.folder, self.image_size, self.config, self.seed, self.limits = folder, image_size, config, seed, limits
        self.images = annotations.dataset["images"]
        self.by_image = annotations.by_image

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, Target]:
        """Return one picture (4, H, W) uint8, and its target."""
        image = self.images[stream_index(position, len(self.images), self.seed)]
        # Enough for a crop and the largest jitter; the decoder reduces a larger JPEG for free.
        wanted = int(max(self.image_size) * READ_SCALE * max(1.0, self.config.scale[1]))
        sample = _read(image, self.by_image[image["id"]], self.folder, wanted, self.limits)
        return training_item(sample, self.config, self.image_size, seed=self.seed, position=position)


def training_item(
    sample: Sample, config: AugmentConfig, image_size: tuple[int, int], *, seed: int, position: int
) -> tuple[Tensor, Target]:
    """Augment what stands at `position` of the stream; return it as (4, H, W) uint8, and its target."""
    chance = int(np.random.SeedSequence([seed, position]).generate_state(1)[0])
    changed = augment(sample, config, image_size, chance)
    target = {
        "boxes": torch.from_numpy(changed.boxes),
        "labels": torch.from_numpy(changed.labels),
        "ignore": torch.from_numpy(changed.ignore),
    }
    return packed(changed), target


class ValidationSet(Dataset[tuple[Tensor, Target]]):
    """Pictures as they are, fitted into the network's input; by index."""

    def __init__(
        self, *, annotations: Annotations, folder: Path, image_size: tuple[int, int], limits: Limits | None = None
    ) -> None:
        self.folder, self.image_size, self.limits = folder, image_size, limits
        self.images = annotations.dataset["images"]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """Return one picture (4, H, W) uint8; `index`; and `content`, its (height, width) in the network's input."""
        view = _read(self.images[index], [], self.folder, max(self.image_size), self.limits).image
        sample, content = letterboxed(view, self.image_size)
        return packed(sample), {"index": torch.tensor(index), "content": torch.tensor(content)}


def _read(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    folder: Path,
    min_long_side: int,
    limits: Limits | None,
) -> Sample:
    """Decode one picture and its boxes, both reduced alike."""
    path = picture_path(folder, image["file_name"])
    picture = Picture.open(path, limits=limits)
    height, width = picture.image_size
    if (image["height"], image["width"]) != (height, width):
        raise InputError(
            f"{path}: a picture must have the size that its annotations were drawn on, {image['width']} x "
            f"{image['height']}; it has {width} x {height} as a viewer sees it; type: detector data check"
        )
    view = picture.views(min_long_side)[0]
    scale = np.array([view.shape[1] / width, view.shape[0] / height] * 2, dtype=np.float32)
    edge = np.array([view.shape[1], view.shape[0]] * 2, dtype=np.float32)
    boxes = np.array([annotation["bbox"] for annotation in annotations], dtype=np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes = np.clip(boxes * scale, 0, edge)
    ignored = np.array([annotation["iscrowd"] for annotation in annotations], dtype=bool)
    labels = np.array([annotation["category_id"] - 1 for annotation in annotations], dtype=np.int64)
    area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Sample(
        image=view, boxes=boxes[area & ~ignored], labels=labels[area & ~ignored], ignore=boxes[area & ignored]
    )


def packed(sample: Sample) -> Tensor:
    """Return (4, H, W) uint8: RGB and where there is picture."""
    assert sample.content is not None
    layers = np.concatenate([sample.image, sample.content[..., None].astype(np.uint8)], axis=2)
    return torch.from_numpy(np.ascontiguousarray(layers.transpose(2, 0, 1)))


def normalise(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Turn pictures into the network's input, on the device that they are on.

    Args:
        images: (B, 4, H, W) uint8: RGB, and 1 where there is picture.
        preprocessing: the model's.

    Returns:
        (B, 3, H, W) float32, padding 0.
    """
    mean = torch.tensor(preprocessing.mean, device=images.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=images.device)[:, None, None]
    colours = images[:, :3] if preprocessing.colour == "RGB" else images[:, :3].flip(1)
    return (colours.float() * preprocessing.scale - mean) / std * images[:, 3:]


def _collate(items: Sequence[tuple[Tensor, Target]]) -> Batch:
    return Batch(torch.stack([image for image, _ in items]), [target for _, target in items])


def _start_worker(_: int) -> None:
    """One core a process: OpenCV would start a thread a core in each."""
    import cv2

    cv2.setNumThreads(0)


def loader(
    dataset: Dataset[Any], batches: Sequence[list[int]] | Iterator[list[int]], *, workers: int, pin: bool
) -> Any:
    """Return what iterates over `Batch` of the given positions, in order, read by `workers` processes."""
    return DataLoader(
        dataset,
        batch_sampler=list(batches),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        # Else it draws from the global state, and a run that was interrupted would differ from one that was not.
        generator=torch.Generator().manual_seed(0),
    )
