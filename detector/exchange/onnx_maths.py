"""Anchors and box decoding in NumPy, for an exported RetinaNet where there is no torch."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from detector.retinanet_config import STRIDES, ModelConfig

__all__ = ["anchors_array", "decode_array"]

Floats = NDArray[np.float32]

# Upper bound on dw and dh, as in detector/anchors.py.
MAX_LOG_SCALE = np.float32(math.log(1000 / 16))


@lru_cache(maxsize=16)
def anchors_array(config: ModelConfig, image_size: tuple[int, int]) -> tuple[Floats, tuple[int, ...]]:
    """Return what `detector.anchors.anchors_for` does, as a read-only array (A, 4), and how many each level has."""
    levels = []
    ratios = np.sqrt(np.array(config.anchor_ratios, dtype=np.float32))[:, None]
    for base, stride in zip(config.anchor_sizes, STRIDES, strict=True):
        sides = np.array([base * scale for scale in config.anchor_scales], dtype=np.float64)
        if config.anchor_rounding:
            sides = np.trunc(sides)
        width = ((1 / ratios) * sides.astype(np.float32)).reshape(-1)
        height = (ratios * sides.astype(np.float32)).reshape(-1)
        cell = np.stack([-width, -height, width, height], axis=1) / 2
        if config.anchor_rounding:
            cell = np.round(cell)
        rows, columns = (-(-side // stride) for side in image_size)
        steps = (stride, stride)
        if config.anchor_stride == "floor":
            steps = (image_size[0] // rows, image_size[1] // columns)
        y, x = np.meshgrid(
            (np.arange(rows) + config.anchor_offset) * steps[0],
            (np.arange(columns) + config.anchor_offset) * steps[1],
            indexing="ij",
        )
        corner = np.stack([x, y, x, y], axis=2).astype(np.float32).reshape(-1, 1, 4)
        levels.append((corner + cell).reshape(-1, 4))
    anchors = np.concatenate(levels).astype(np.float32)
    anchors.setflags(write=False)
    return anchors, tuple(len(level) for level in levels)


def decode_array(box_deltas: Floats, anchors: Floats, config: ModelConfig) -> Floats:
    """Return the boxes (N, 4) of deltas (N, 4) and their anchors (N, 4); as `detector.anchors.decode_boxes`."""
    deltas = box_deltas * np.array(config.box_std, dtype=np.float32)
    sides = anchors[:, 2:] - anchors[:, :2]
    if config.box_coding == "xyxy":
        return anchors + deltas * np.tile(sides, 2)
    middle = anchors[:, :2] + sides / 2 + deltas[:, :2] * sides
    half = np.exp(np.minimum(deltas[:, 2:], MAX_LOG_SCALE)) * sides / 2
    return np.concatenate([middle - half, middle + half], axis=1)
