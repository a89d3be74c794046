"""What a RetinaNet is trained to make small: focal loss on the classes, a box loss on the anchors that have a part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, smooth_l1_loss
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou, generalized_box_iou_loss, sigmoid_focal_loss

from detector.anchors import decode_boxes, encode_boxes
from detector.errors import UsageError
from detector.nearest import nearest
from detector.retinanet_config import ModelConfig

__all__ = ["LossConfig", "match_anchors", "retinanet_losses"]

BOX_LOSSES = ("giou", "l1", "smooth_l1")

# An anchor that lies by more than this share of its own area in a region to ignore is not a negative.
IGNORE_COVER = 0.5


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How anchors are matched, and how far off an output is.

    Attributes:
        focal_alpha: weight of the positives against 1 - alpha of the negatives.
        focal_gamma: how much a well-classified anchor is played down.
        box_loss: `smooth_l1`, `l1` (torchvision's default; smooth_l1 with beta 0) or `giou`.
        smooth_l1_beta: where smooth_l1 goes over from square to line, in units of the deltas.
        box_weight: factor on the box loss.
        fg_iou_thresh: an anchor with at least this IoU with a box belongs to it.
        bg_iou_thresh: an anchor below it is a negative; between the two it counts as neither.
        allow_low_quality: whether every box also gets the anchors nearest to it, however far off.
    """

    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    box_loss: str = "smooth_l1"
    # keras-retinanet's 1 / sigma², sigma 3.
    smooth_l1_beta: float = 1 / 9
    box_weight: float = 1.0
    fg_iou_thresh: float = 0.5
    bg_iou_thresh: float = 0.4
    allow_low_quality: bool = True

    def __post_init__(self) -> None:
        if self.box_loss not in BOX_LOSSES:
            raise UsageError(
                f"box_loss must be one of {', '.join(BOX_LOSSES)}; got {self.box_loss!r}"
                f"{nearest(self.box_loss, BOX_LOSSES)}"
            )
        if not 0 <= self.bg_iou_thresh <= self.fg_iou_thresh <= 1:
            raise UsageError(
                "bg_iou_thresh and fg_iou_thresh must lie in [0, 1], the first not above the second; "
                f"got {self.bg_iou_thresh} and {self.fg_iou_thresh}"
            )
        if not 0 <= self.focal_alpha <= 1 or min(self.focal_gamma, self.smooth_l1_beta, self.box_weight) < 0:
            raise UsageError(
                "focal_alpha must lie in [0, 1]; focal_gamma, smooth_l1_beta and box_weight must not be negative; got "
                f"{self.focal_alpha}, {self.focal_gamma}, {self.smooth_l1_beta} and {self.box_weight}"
            )


def match_anchors(anchors: Tensor, boxes: Tensor, ignore: Tensor | None, loss: LossConfig) -> Tensor:
    """Return (A,) int64: the box that each anchor belongs to, -1 for a negative, -2 for one that counts as neither.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (N, 4) xyxy, the same frame; N may be 0.
        ignore: (M, 4) xyxy regions in which an anchor without a box is no negative (crowds, unsure parts), or None.
        loss: thresholds.
    """
    if len(boxes):
        matcher = Matcher(loss.fg_iou_thresh, loss.bg_iou_thresh, allow_low_quality_matches=loss.allow_low_quality)
        matched = matcher(box_iou(boxes, anchors))
    else:
        matched = torch.full((len(anchors),), Matcher.BELOW_LOW_THRESHOLD, dtype=torch.int64, device=anchors.device)
    if ignore is not None and len(ignore):
        low, high = (
            torch.maximum(anchors[:, None, :2], ignore[:, :2]),
            torch.minimum(anchors[:, None, 2:], ignore[:, 2:]),
        )
        inside = (high - low).clamp(min=0).prod(dim=2)  # (A, M)
        area = (anchors[:, 2:] - anchors[:, :2]).prod(dim=1)
        covered = inside.amax(dim=1) > IGNORE_COVER * area
        matched = torch.where(covered & (matched < 0), Matcher.BETWEEN_THRESHOLDS, matched)
    return matched


def _check(cls_logits: Tensor, box_deltas: Tensor, anchors: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> None:
    """Refuse what would broadcast, or count from the end, and so train on something else than was meant."""
    batch, count, classes = cls_logits.shape
    if box_deltas.shape != (batch, count, 4) or anchors.shape != (count, 4) or len(targets) != batch:
        raise UsageError(
            "cls_logits, box_deltas, anchors and targets must be (B, A, K), (B, A, 4), (A, 4) and B; got "
            f"{tuple(cls_logits.shape)}, {tuple(box_deltas.shape)}, {tuple(anchors.shape)} and {len(targets)}"
        )
    for target in targets:
        boxes, labels = target["boxes"], target["labels"]
        if boxes.shape != (len(labels), 4) or labels.ndim != 1:
            raise UsageError(
                f"a target's boxes and labels must be (N, 4) and (N,); got {tuple(boxes.shape)}, {tuple(labels.shape)}"
            )
    labels = torch.cat([target["labels"] for target in targets])
    boxes = torch.cat([target["boxes"] for target in targets])
    if bool(((labels < 0) | (labels >= classes)).any()) or bool((boxes[:, 2:] <= boxes[:, :2]).any()):
        raise UsageError(
            f"a target's labels must lie in [0, {classes}) and its boxes have x1 < x2 and y1 < y2; "
            f"got {labels.tolist()} and {boxes.tolist()}"
        )


def _box_losses(deltas: Tensor, anchors: Tensor, boxes: Tensor, config: ModelConfig, loss: LossConfig) -> Tensor:
    """Return (N,) the loss of each positive anchor."""
    if loss.box_loss == "giou":
        return generalized_box_iou_loss(decode_boxes(deltas, anchors, config), boxes, reduction="none")
    wanted = encode_boxes(boxes, anchors, config)
    if loss.box_loss == "l1":
        return l1_loss(deltas, wanted, reduction="none").sum(dim=1)
    return smooth_l1_loss(deltas, wanted, reduction="none", beta=loss.smooth_l1_beta).sum(dim=1)


def retinanet_losses(
    cls_logits: Tensor,
    box_deltas: Tensor,
    anchors: Tensor,
    targets: Sequence[Mapping[str, Tensor]],
    config: ModelConfig,
    loss: LossConfig | None = None,
) -> dict[str, Tensor]:
    """Return what is to be made small, in float32 whatever the outputs' precision.

    Args:
        cls_logits: (B, A, K) from the model.
        box_deltas: (B, A, 4) from the model.
        anchors: (A, 4) xyxy of the same input size.
        targets: one a picture: `boxes` (N, 4) xyxy in pixels of the network's input, `labels` (N,) int64, and if
            there are any `ignore` (M, 4) xyxy. N may be 0: then the picture has only negatives.
        config: of the model.
        loss: defaults of `LossConfig` when None.

    Returns:
        `loss_cls` and `loss_box`, scalars: the sum over a picture's anchors by the number of its positive ones (at
        least 1), averaged over the pictures.

    Raises:
        UsageError: when shapes do not belong together, a label is no class, or a box has no area.

    Source:
        Lin et al., Focal Loss (arXiv:1708.02002), section 4; averaged as in torchvision's RetinaNet, with which it
        agrees for `box_loss="l1"`. Regions to ignore are not in either.
    """
    loss = loss if loss is not None else LossConfig()
    _check(cls_logits, box_deltas, anchors, targets)
    cls_logits, box_deltas = cls_logits.float(), box_deltas.float()
    with torch.no_grad():
        matched = torch.stack(
            [match_anchors(anchors, target["boxes"], target.get("ignore"), loss) for target in targets]
        )  # (B, A)
        image, anchor = torch.nonzero(matched >= 0, as_tuple=True)
        first = torch.tensor([0, *(len(target["boxes"]) for target in targets[:-1])]).cumsum(0).to(matched.device)
        box = first[image] + matched[image, anchor]
        boxes = torch.cat([target["boxes"] for target in targets]).float()
        wanted = torch.zeros_like(cls_logits)
        wanted[image, anchor, torch.cat([target["labels"] for target in targets])[box]] = 1
        positives = (matched >= 0).sum(dim=1).clamp(min=1)  # (B,)
        counts = matched != Matcher.BETWEEN_THRESHOLDS
    focal = sigmoid_focal_loss(cls_logits, wanted, alpha=loss.focal_alpha, gamma=loss.focal_gamma).sum(dim=2)
    loss_cls = ((focal * counts).sum(dim=1) / positives).mean()
    each = _box_losses(box_deltas[image, anchor], anchors[anchor], boxes[box], config, loss)
    loss_box = (each / positives[image]).sum() / len(targets)
    return {"loss_cls": loss_cls, "loss_box": loss.box_weight * loss_box}
