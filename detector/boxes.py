"""Pure functions on boxes: (N, 4) xyxy in continuous pixels, pixel i spanning [i, i + 1)."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_area", "box_cxcywh_to_xyxy", "box_ios", "box_iou", "clip_boxes", "nms", "round_outward"]

Floats = NDArray[np.float32]


def box_area(boxes: Floats) -> Floats:
    """Return the areas (N,) of boxes (N, 4), in square pixels."""
    area: Floats = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def box_cxcywh_to_xyxy(boxes_cxcywh: Floats) -> Floats:
    """Turn (N, 4) centre, width, height into (N, 4) corners."""
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _intersection(boxes1: Floats, boxes2: Floats) -> Floats:
    low = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])  # (N, M, 2)
    high = np.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])  # (N, M, 2)
    side: Floats = np.clip(high - low, 0, None)
    inter: Floats = side[..., 0] * side[..., 1]  # (N, M)
    return inter


def box_iou(boxes1: Floats, boxes2: Floats) -> Floats:
    """Return the (N, M) intersection over union of every pair; 0 where both areas are 0."""
    inter = _intersection(boxes1, boxes2)
    union = box_area(boxes1)[:, None] + box_area(boxes2)[None, :] - inter
    return np.asarray(np.divide(inter, union, out=np.zeros_like(inter), where=union > 0))


def box_ios(boxes1: Floats, boxes2: Floats) -> Floats:
    """Return the (N, M) intersection over the smaller area of every pair; 0 where that area is 0.

    Unlike the IoU this is 1 when one box lies inside the other, as the pieces of a part cut by a tile's edge do.
    """
    inter = _intersection(boxes1, boxes2)
    smaller = np.minimum(box_area(boxes1)[:, None], box_area(boxes2)[None, :])
    return np.asarray(np.divide(inter, smaller, out=np.zeros_like(inter), where=smaller > 0))


def clip_boxes(boxes: Floats, image_size: tuple[int, int]) -> Floats:
    """Return (N, 4) boxes clipped to a picture of `image_size` = (height, width)."""
    height, width = image_size
    limit = np.array([width, height, width, height], dtype=np.float32)
    return np.clip(boxes, 0, limit)


def round_outward(boxes: Floats, image_size: tuple[int, int]) -> NDArray[np.int64]:
    """Return the (N, 4) whole-pixel boxes that cover `boxes` and lie inside the picture.

    Never empty for a box that touches the picture: a box of no width still covers the pixel that it lies in. A box
    entirely outside covers nothing, and comes back with no area.
    """
    height, width = image_size
    limit = np.array([width, height], dtype=np.int64)
    low = np.floor(boxes[:, :2]).astype(np.int64)
    high = np.maximum(np.ceil(boxes[:, 2:]).astype(np.int64), low + 1)
    return np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)], axis=1)


def nms(boxes: Floats, scores: Floats, labels: NDArray[np.int64], nms_thresh: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: (N, 4) xyxy, any frame.
        scores: (N,) finite.
        labels: (N,); boxes of different labels never suppress each other.
        nms_thresh: a box whose IoU with a kept, higher-scored box of its class is above this is dropped.

    Returns:
        Indices of the kept boxes, by falling score (ties keep the input's order); (0,) when N is 0.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels = boxes[order], labels[order]
    suppresses = (box_iou(boxes, boxes) > nms_thresh) & (labels[:, None] == labels[None, :])
    keep = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~suppresses[i, i + 1 :]
    return order[keep]
