"""Anchors of the pyramid, and boxes as moves of anchors: pure functions on tensors."""

import math

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator

from detector.errors import UsageError
from detector.retinanet_config import STRIDES, ModelConfig

__all__ = ["anchors_for", "anchors_per_level", "decode_boxes", "encode_boxes", "level_sizes"]

# Upper bound on dw and dh, so that one wild number cannot overflow exp(); torchvision's and detectron2's.
MAX_LOG_SCALE = math.log(1000 / 16)


def level_sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the (height, width) of p3 to p7 in cells, for a network input of `image_size` = (height, width)."""
    height, width = image_size
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


def anchors_per_level(config: ModelConfig, image_size: tuple[int, int]) -> list[int]:
    """Return how many anchors p3 to p7 have; their sum is A."""
    return [height * width * config.num_anchors for height, width in level_sizes(image_size)]


def _generator(config: ModelConfig) -> AnchorGenerator:
    """Return torchvision's generator with our cell anchors: ratio by ratio, in it scale by scale."""
    sizes = [[size * scale for scale in config.anchor_scales] for size in config.anchor_sizes]
    if config.anchor_rounding:
        sizes = [[int(size) for size in level] for level in sizes]
    generator = AnchorGenerator(tuple(map(tuple, sizes)), (config.anchor_ratios,) * len(sizes))
    if not config.anchor_rounding:
        roots = torch.tensor(config.anchor_ratios, dtype=torch.float64).sqrt()
        cells = []
        for level in sizes:
            side = torch.tensor(level, dtype=torch.float64)
            width, height = (side[None, :] / roots[:, None]).flatten(), (side[None, :] * roots[:, None]).flatten()
            cells.append((torch.stack([-width, -height, width, height], dim=1) / 2).float())
        generator.cell_anchors = cells
    return generator


def anchors_for(config: ModelConfig, image_size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Return all anchors of a network input: p3 first; row by row, cell by cell, ratio by ratio, scale by scale.

    Args:
        config: of the model.
        image_size: (height, width) of the network's input, padding included.
        device: where the result lies.

    Returns:
        (A, 4) float32 xyxy in pixels of the network's input; they reach over its edges.

    Raises:
        UsageError: when a side is below 1.
    """
    if min(image_size) < 1:
        raise UsageError(f"image_size must be (height, width), both at least 1; got {image_size}")
    grids = level_sizes(image_size)
    if config.anchor_stride == "fixed":
        steps = [(stride, stride) for stride in STRIDES]
    else:
        steps = [(image_size[0] // height, image_size[1] // width) for height, width in grids]
    levels = _generator(config).grid_anchors(
        [list(grid) for grid in grids], [[torch.tensor(step) for step in pair] for pair in steps]
    )
    moved = [
        level + torch.tensor([x, y, x, y], dtype=torch.float32) * config.anchor_offset
        for level, (y, x) in zip(levels, steps, strict=True)
    ]
    return torch.cat(moved).to(device=device, dtype=torch.float32)


def _check_pairs(first: Tensor, second: Tensor, names: str) -> None:
    if first.ndim != 2 or first.shape != second.shape or first.shape[1] != 4:
        raise UsageError(f"{names} must both be (N, 4); got {tuple(first.shape)} and {tuple(second.shape)}")


def decode_boxes(box_deltas: Tensor, anchors: Tensor, config: ModelConfig) -> Tensor:
    """Turn predicted deltas into boxes; the inverse of `encode_boxes`.

    Args:
        box_deltas: (N, 4), unitless, straight from the head.
        anchors: (N, 4) xyxy in pixels of the network's input; row i belongs to delta i.
        config: says which coding.

    Returns:
        (N, 4) float32 xyxy, same frame as `anchors`, not clipped; (0, 4) when N is 0.

    Raises:
        UsageError: if the shapes are not both (N, 4): broadcasting would place every box in the wrong spot.

    Source:
        `cxcywh`: Girshick et al., R-CNN (arXiv:1311.2524), appendix C; bound log(1000 / 16) as in torchvision.
        `xyxy`: keras-retinanet, backend/common.py: bbox_transform_inv.
    """
    _check_pairs(box_deltas, anchors, "box_deltas and anchors")
    # Written out, with numbers for constants: torchvision's BoxCoder copies one to the device in each call, which a
    # CUDA graph cannot capture.
    x1, y1, x2, y2 = anchors.unbind(1)
    width, height = x2 - x1, y2 - y1
    first, second, third, fourth = (
        delta * std for delta, std in zip(box_deltas.float().unbind(1), config.box_std, strict=True)
    )
    if config.box_coding == "xyxy":
        corners = [x1 + first * width, y1 + second * height, x2 + third * width, y2 + fourth * height]
        return torch.stack(corners, dim=1)
    x, y = x1 + 0.5 * width + first * width, y1 + 0.5 * height + second * height
    half_width = 0.5 * width * third.clamp(max=MAX_LOG_SCALE).exp()
    half_height = 0.5 * height * fourth.clamp(max=MAX_LOG_SCALE).exp()
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=1)


def encode_boxes(boxes: Tensor, anchors: Tensor, config: ModelConfig) -> Tensor:
    """Return the (N, 4) deltas that turn each anchor (N, 4) into the box (N, 4) beside it.

    Raises:
        UsageError: if the shapes are not both (N, 4).
    """
    _check_pairs(boxes, anchors, "boxes and anchors")
    if config.box_coding == "xyxy":
        sides = (anchors[:, 2:] - anchors[:, :2]).repeat(1, 2)  # (N, 4): width, height, width, height
        return (boxes - anchors) / sides / torch.tensor(config.box_std, device=boxes.device)
    return BoxCoder(weights=tuple(1 / std for std in config.box_std)).encode_single(boxes, anchors)
