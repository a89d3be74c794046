"""Mannequins for training, rendered in the loader's workers, by position in the endless stream."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from detector.synth.make import SynthPicture, make_picture
from detector.synth.writer import require_renderer
from detector.training.augment import Sample
from detector.training.config import AugmentConfig, SynthConfig
from detector.training.dataset import Target, training_item

__all__ = ["SynthSet"]


class SynthSet(Dataset[tuple[Tensor, Target]]):
    """Pictures that are made when they are asked for, and never twice.

    What stands at a position depends on the two seeds and the position alone: any number of workers and processes, and
    a run that goes on after a stop, see the same stream.

    Args:
        synth: what is rendered.
        classes: the network's labels, in order; parts of other classes get no box.
        image_size: (height, width) of the network's input.
        config: how pictures are changed after they are rendered.
        seed: of these changes.

    Raises:
        UsageError: when embreex is missing.
    """

    def __init__(
        self,
        *,
        synth: SynthConfig,
        classes: Sequence[str],
        image_size: tuple[int, int],
        config: AugmentConfig,
        seed: int,
    ) -> None:
        require_renderer()
        self.synth, self.image_size, self.config, self.seed = synth, image_size, config, seed
        side = synth.render_size or max(image_size)
        self.scenes = dataclasses.replace(synth.scenes, image_size=(side, side))
        self.labels = {name: label for label, name in enumerate(classes)}

    def __len__(self) -> int:
        return self.synth.pictures

    def __getitem__(self, position: int) -> tuple[Tensor, Target]:
        """Return one picture (4, H, W) uint8, and its target."""
        made = make_picture(self.synth.seed, position, self.scenes, split=self.synth.split)
        return training_item(self._sample(made), self.config, self.image_size, seed=self.seed, position=position)

    def _sample(self, made: SynthPicture) -> Sample:
        known = [label for label in made.labels if label.class_name in self.labels]
        boxes = np.array([label.box for label in known], dtype=np.float32).reshape(-1, 4)
        ignored = np.array([label.ignore for label in known], dtype=np.bool_)
        labels = np.array([self.labels[label.class_name] for label in known], dtype=np.int64)
        area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Sample(
            image=made.image, boxes=boxes[area & ~ignored], labels=labels[area & ~ignored], ignore=boxes[area & ignored]
        )
