"""Augmentation of one training picture with albumentations: the only file that imports it."""

import functools
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.training.config import AugmentConfig

__all__ = ["Sample", "augment", "letterboxed"]

# A box that shows less than this after a crop is no thing that anybody could find: it is ignored.
MIN_SIDE_PIXELS = 2.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture and what is in it, in one frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32 xyxy, pixels of `image`.
        labels: (N,) int64.
        ignore: (M, 4) float32 xyxy: neither targets nor background.
        content: (H, W) bool, False where `image` is padding; None where it has none.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.float32]
    content: NDArray[np.bool_] | None = None


def augment(sample: Sample, config: AugmentConfig, image_size: tuple[int, int], seed: int) -> Sample:
    """Change a picture at random, and fit it into the network's input.

    The same arguments give the same result in any process: nothing else is drawn from.

    Args:
        sample: the picture as it was read, boxes inside it.
        config: kinds and strengths.
        image_size: (height, width) of the network's input.
        seed: of this picture in this epoch.

    Returns:
        A sample of `image_size`. Boxes are clipped to it; those that show less than `min_visibility` of themselves,
        because of the crop or a cutout, have moved to `ignore`; those outside are gone.
    """
    flip, crop, place, pixels = _pipelines(config, image_size)
    for number, part in enumerate((flip, crop, place, pixels)):
        part.set_random_seed(seed + number)
    both = np.concatenate([sample.boxes, sample.ignore])  # (N + M, 4)
    flipped = flip(image=sample.image, bboxes=both)
    boxes = np.asarray(flipped["bboxes"], dtype=np.float32).reshape(-1, 4)
    assert len(boxes) == len(both), "a flip loses no box"
    # The boxes are what the crop must keep; where they land, also beyond the edge, is read from their corners.
    cut = crop(image=flipped["image"], bboxes=boxes[: len(sample.boxes)], keypoints=boxes.reshape(-1, 2))
    image, mask = _thickened(cut["image"], min(image_size) * config.scale[0] / 2)
    done = place(image=image, mask=mask, keypoints=cut["keypoints"])
    moved = np.asarray(done["keypoints"], dtype=np.float32).reshape(-1, 4)
    content = np.asarray(done["mask"]) > 0
    drawn = pixels(image=done["image"], mask=np.ones(content.shape, dtype=np.uint8))
    return _sorted_out(
        image=np.ascontiguousarray(drawn["image"]),
        content=content,
        covered=np.asarray(drawn["mask"]) == 0,
        boxes=moved[: len(sample.boxes)],
        labels=sample.labels,
        ignore=moved[len(sample.boxes) :],
        min_visibility=config.min_visibility,
    )


def _thickened(image: NDArray[np.uint8], max_aspect: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pad a picture thinner than `max_aspect` at right or bottom: scaled, it would have no pixel left. And its mask."""
    height, width = image.shape[:2]
    mask = np.ones((height, width), dtype=np.uint8)
    least = math.ceil(max(height, width) / max(max_aspect, 1.0))
    extra = ((0, max(0, least - height)), (0, max(0, least - width)))
    return np.pad(image, (*extra, (0, 0))), np.pad(mask, extra)


def _sorted_out(
    *,
    image: NDArray[np.uint8],
    content: NDArray[np.bool_],
    covered: NDArray[np.bool_],
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    ignore: NDArray[np.float32],
    min_visibility: float,
) -> Sample:
    """Clip boxes (N, 4) that may stick out, and sort them into targets and ignored by what can be seen of them."""
    # The picture is a rectangle in the input; where a crop cut it, its boxes would reach into the padding.
    rows, columns = (np.flatnonzero(content.any(axis=axis)) for axis in (1, 0))
    if not len(rows):  # a line so thin that nothing is left of it
        rows = columns = np.array([0])
    low = np.array([columns[0], rows[0]] * 2, dtype=np.float32)
    high = np.array([columns[-1] + 1, rows[-1] + 1] * 2, dtype=np.float32)
    clipped, ignore = np.clip(boxes, low, high), np.clip(ignore, low, high)
    sides, full = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    visible = sides.prod(axis=1) / np.maximum(full.prod(axis=1), 1e-6)
    for i, (x1, y1, x2, y2) in enumerate(clipped.round().astype(int)):
        if x2 > x1 and y2 > y1:
            visible[i] *= 1 - covered[y1:y2, x1:x2].mean()
    inside = (sides > 0).all(axis=1)
    keep = inside & (visible >= min_visibility) & (sides >= MIN_SIDE_PIXELS).all(axis=1)
    ignore = np.concatenate([ignore, clipped[inside & ~keep]])
    return Sample(
        image=image,
        boxes=clipped[keep],
        labels=labels[keep],
        ignore=ignore[(ignore[:, 2:] > ignore[:, :2]).all(axis=1)],
        content=content,
    )


@functools.lru_cache(maxsize=8)
def _pipelines(config: AugmentConfig, image_size: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Build what flips, what crops, what places into the network's input, and what changes pixels.

    The flip stands alone: albumentations mirrors points as centres of pixels and scales them as corners, so that both
    together would be a pixel off. The last marks what it covers with 0 in its mask.
    """
    # Set before the import: albumentations asks the network for its newest version otherwise.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2

    height, width = image_size
    low, high = config.scale
    area = {"interpolation": cv2.INTER_LINEAR, "area_for_downscale": "image"}
    flip = A.Compose([A.HorizontalFlip(p=config.flip)], bbox_params=A.BboxParams(format="pascal_voc"))
    points = A.KeypointParams(format="xy", remove_invisible=False)
    crop = A.Compose(
        [A.BBoxSafeRandomCrop(erosion_rate=config.crop_erosion, p=config.crop)],
        bbox_params=A.BboxParams(format="pascal_voc", clip=True),
        keypoint_params=points,
    )
    place = A.Compose(
        [
            A.LongestMaxSize(max_size_hw=(height, width), **area),
            A.RandomScale(scale_limit=(low - 1, high - 1), p=1, **area),
            A.RandomCrop(height, width, pad_if_needed=True, pad_position="random"),
        ],
        keypoint_params=points,
    )
    pixels = A.Compose(
        [
            A.ColorJitter(
                brightness=(1 - config.brightness, 1 + config.brightness),
                contrast=(1 - config.contrast, 1 + config.contrast),
                saturation=(1 - config.saturation, 1 + config.saturation),
                hue=(-config.hue, config.hue),
                p=config.colour,
            ),
            A.ToGray(p=config.grayscale),
            A.GaussianBlur(blur_limit=0, sigma_limit=config.blur_sigma, p=config.blur),
            A.GaussNoise(std_range=config.noise_std, p=config.noise),
            A.ImageCompression(quality_range=config.jpeg_quality, p=config.jpeg),
            A.CoarseDropout(
                num_holes_range=config.cutout_holes,
                hole_height_range=config.cutout_size,
                hole_width_range=config.cutout_size,
                fill="random_uniform",
                fill_mask=0,
                p=config.cutout,
            ),
        ]
    )
    return flip, crop, place, pixels


def letterboxed(image: NDArray[np.uint8], image_size: tuple[int, int]) -> tuple[Sample, tuple[int, int]]:
    """Fit a picture into the network's input without changing it otherwise: top left, padded at right and bottom.

    Args:
        image: (h, w, 3) uint8 RGB.
        image_size: (height, width) of the network's input.

    Returns:
        A sample without boxes, and the (height, width) that the picture has in it.
    """
    import cv2

    scale = min(image_size[0] / image.shape[0], image_size[1] / image.shape[1])
    height, width = (
        max(1, min(whole, round(side * scale))) for side, whole in zip(image.shape[:2], image_size, strict=True)
    )
    canvas = np.zeros((*image_size, 3), dtype=np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=way)
    content = np.zeros(image_size, dtype=bool)
    content[:height, :width] = True
    no_boxes = np.zeros((0, 4), dtype=np.float32)
    empty = Sample(image=canvas, boxes=no_boxes, labels=np.zeros(0, dtype=np.int64), ignore=no_boxes, content=content)
    return empty, (height, width)
