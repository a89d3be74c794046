"""From logits and deltas to the boxes that stay, for a whole batch on the device: thresholds and top-k first.

Shapes are fixed until the suppression, so that all before it can be captured into a CUDA graph.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from detector.anchors import anchors_per_level, decode_boxes
from detector.errors import UsageError
from detector.retinanet_config import ModelConfig

__all__ = ["Found", "Survivors", "logit_thresholds", "postprocess", "suppress", "survivors"]

# From here on a float32 sigmoid is 1: a threshold of 1 keeps what scores 1.
LOGIT_OF_ONE = 17.33

# Boxes that are compared with each other in one call. Its cost and, on a GPU, its memory (an N x N bit mask) grow with
# the square: pictures are taken together up to so many boxes. On a CPU each picture is alone.
MAX_NMS_BOXES = 40_000


class Survivors(NamedTuple):
    """The best anchors of each picture; M is the same for all, so some did not pass the threshold.

    Attributes:
        boxes: (B, M, 4) float32 xyxy in pixels of the network's input, clipped to each picture.
        logits: (B, M) float32; -inf where the anchor did not pass, or its box has no area.
        labels: (B, M) int64.
    """

    boxes: Tensor
    logits: Tensor
    labels: Tensor


class Found(NamedTuple):
    """What stays of a batch, by picture and falling score; on the device.

    Attributes:
        image: (N,) int64 index of the picture.
        boxes: (N, 4) float32 xyxy in pixels of the network's input.
        scores: (N,) float32.
        labels: (N,) int64.
    """

    image: Tensor
    boxes: Tensor
    scores: Tensor
    labels: Tensor


def logit_thresholds(score_thresh: float | Sequence[float] | Tensor, num_classes: int, device: torch.device) -> Tensor:
    """Return (K,) float32: the logit that each class must reach; infinite above 1, so that the class is left out.

    Args:
        score_thresh: one for all classes, or one for each.
        num_classes: K.
        device: where the result lies.

    Raises:
        UsageError: when there are not K of them, or one is not a number of at least 0.
    """
    values = score_thresh.tolist() if isinstance(score_thresh, Tensor) else score_thresh
    listed = [float(values)] * num_classes if isinstance(values, int | float) else [float(value) for value in values]
    if len(listed) != num_classes or not all(value >= 0 for value in listed):
        raise UsageError(f"score_thresh must be one number or {num_classes}, each at least 0; got {score_thresh}")

    def logit(value: float) -> float:
        if value <= 0 or value > 1:
            return math.copysign(math.inf, value - 0.5)
        return LOGIT_OF_ONE if value == 1 else min(math.log(value / (1 - value)), LOGIT_OF_ONE)

    return torch.tensor([logit(value) for value in listed], dtype=torch.float32, device=device)


def survivors(
    cls_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    limits: Tensor,
    thresholds: Tensor,
    levels: Sequence[int],
    *,
    topk_candidates: int,
    config: ModelConfig,
) -> Survivors:
    """Pick the best anchors and decode only these. Fixed shapes, no wait for the device.

    Args:
        cls_logits: (B, A, K).
        box_deltas: (B, A, 4).
        anchors: (A, 4) xyxy.
        limits: (B, 4) float32: width, height, width, height of each picture in the network's input.
        thresholds: (K,) from `logit_thresholds`.
        levels: anchors of each level, sum A: each level sends at most `topk_candidates`.
        topk_candidates: see there.
        config: of the model.
    """
    batch, _, classes = cls_logits.shape
    values, rows, labels, start = [], [], [], 0
    for count in levels:
        logits = cls_logits[:, start : start + count].float()
        passed = torch.where(logits >= thresholds, logits, -torch.inf).flatten(1)  # (B, count * K)
        best, index = passed.topk(min(topk_candidates, count * classes), dim=1)
        values.append(best)
        rows.append(start + index // classes)
        labels.append(index % classes)
        start += count
    value, row = torch.cat(values, dim=1), torch.cat(rows, dim=1)  # (B, M)
    deltas = box_deltas.gather(1, row[:, :, None].expand(-1, -1, 4))
    boxes = decode_boxes(deltas.flatten(0, 1), anchors[row.flatten()], config).view(batch, -1, 4)
    boxes = torch.minimum(boxes.clamp(min=0), limits[:, None, :])
    has_area = (boxes[..., 2:] > boxes[..., :2]).all(dim=2)
    return Survivors(boxes, torch.where(has_area, value, -torch.inf), torch.cat(labels, dim=1))


def suppress(kept: Survivors, *, nms_thresh: float, detections_per_img: int) -> Found:
    """Suppress within each picture and class.

    Args:
        kept: from `survivors`.
        nms_thresh: highest IoU that two boxes of one class may have.
        detections_per_img: at most so many stay of a picture.
    """
    image, slot = torch.nonzero(kept.logits > -torch.inf, as_tuple=True)
    boxes, logits, labels = kept.boxes[image, slot], kept.logits[image, slot], kept.labels[image, slot]
    if boxes.is_cuda and len(boxes) <= MAX_NMS_BOXES:
        sizes = [len(boxes)]  # and the device need not say how many boxes each picture has
    else:
        counts = torch.bincount(image, minlength=len(kept.logits)).tolist()
        sizes = _chunks(counts, MAX_NMS_BOXES if boxes.is_cuda else 1)
    parts, start = [torch.zeros(0, dtype=torch.int64, device=boxes.device)], 0
    for size in sizes:
        part = slice(start, start + size)
        parts.append(start + _nms_by_class(boxes[part], logits[part], labels[part], image[part], nms_thresh))
        start += size
    keep = torch.cat(parts)
    # By picture, in it by falling score: the suppression's order inside each picture is kept by a stable sort.
    keep = keep[torch.argsort(image[keep], stable=True)]
    picture = image[keep]
    number = torch.bincount(picture, minlength=len(kept.logits))
    rank = torch.arange(len(keep), device=keep.device) - (number.cumsum(0) - number)[picture]
    keep = keep[rank < detections_per_img]
    return Found(image[keep], boxes[keep], logits[keep].sigmoid(), labels[keep])


def _chunks(counts: Sequence[int], limit: int) -> list[int]:
    """Return the sizes of runs of whole pictures, each of at most `limit` boxes, or of one picture."""
    sizes: list[int] = []
    for count in counts:
        if sizes and sizes[-1] + count <= limit:
            sizes[-1] += count
        else:
            sizes.append(count)
    return sizes


def _nms_by_class(boxes: Tensor, logits: Tensor, labels: Tensor, image: Tensor, nms_thresh: float) -> Tensor:
    """Return the kept indices by falling logit; boxes of different pictures or classes never meet.

    They are moved apart, each kind to a place of its own. In float64: in float32 the move would round away parts of a
    pixel.
    """
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    kind = (image * (labels.max() + 1) + labels).double()
    apart = boxes.double() + (kind * (boxes.max().double() + 1))[:, None]
    return nms(apart, logits.double(), nms_thresh)


def postprocess(
    cls_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    image_sizes: Sequence[tuple[int, int]],
    *,
    score_thresh: float | Sequence[float] | Tensor,
    nms_thresh: float,
    topk_candidates: int,
    detections_per_img: int,
    config: ModelConfig,
    network_size: tuple[int, int] | None = None,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Turn the outputs for a batch into boxes.

    Agrees box for box with torchvision's RetinaNet, but for boxes without area (they lay in the padding), which go
    before the suppression, and a score exactly at the threshold, which counts.

    Args:
        cls_logits: (B, A, K) from the model.
        box_deltas: (B, A, 4) from the model.
        anchors: (A, 4) xyxy.
        image_sizes: (height, width) of each picture in the network's input, without its padding.
        score_thresh: lowest score that counts; one for all classes or one for each.
        nms_thresh: highest IoU that two boxes of one class may have.
        topk_candidates: at most so many boxes of a level go into the suppression.
        detections_per_img: at most so many are returned for a picture.
        config: of the model.
        network_size: (height, width) of the network's input, padding included: says where a level ends. None takes
            all levels together as one.

    Returns:
        For each picture boxes (N, 4) float32 xyxy in pixels of the network's input, clipped; scores (N,) float32,
        falling; labels (N,) int64; all on the outputs' device.

    Raises:
        UsageError: when shapes do not belong together.
    """
    batch, count, classes = cls_logits.shape
    levels = [count] if network_size is None else anchors_per_level(config, network_size)
    if sum(levels) != count or anchors.shape != (count, 4) or box_deltas.shape != (batch, count, 4):
        raise UsageError(
            "cls_logits, box_deltas and anchors must be (B, A, K), (B, A, 4) and (A, 4), with the A of network_size; "
            f"got {tuple(cls_logits.shape)}, {tuple(box_deltas.shape)}, {tuple(anchors.shape)} and {network_size}"
        )
    if len(image_sizes) != batch or topk_candidates < 1 or detections_per_img < 1:
        raise UsageError(
            f"image_sizes must hold one size for each of {batch} pictures, topk_candidates and detections_per_img be "
            f"at least 1; got {len(image_sizes)}, {topk_candidates} and {detections_per_img}"
        )
    limits = torch.tensor([[w, h, w, h] for h, w in image_sizes], dtype=torch.float32, device=cls_logits.device)
    thresholds = logit_thresholds(score_thresh, classes, cls_logits.device)
    kept = survivors(
        cls_logits, box_deltas, anchors, limits, thresholds, levels, topk_candidates=topk_candidates, config=config
    )
    found = suppress(kept, nms_thresh=nms_thresh, detections_per_img=detections_per_img)
    counts = torch.bincount(found.image, minlength=batch).tolist()
    split = (part.split(counts) for part in (found.boxes, found.scores, found.labels))
    return list(zip(*split, strict=True))
