"""One step of training, and one look at the validation pictures."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from detector.anchors import anchors_for
from detector.evaluation.coco_metrics import evaluate_boxes
from detector.losses import retinanet_losses
from detector.retinanet import RetinaNet
from detector.retinanet_postprocess import postprocess
from detector.training.config import RunConfig
from detector.training.dataset import Batch, normalise
from detector.training.distributed import Group
from detector.training.learner import Learner

__all__ = ["Engine", "validate"]

# What COCO's AP looks at: everything down to almost nothing, and 100 boxes a picture.
_AP_SETTINGS: Mapping[str, Any] = {
    "score_thresh": 0.01,
    "nms_thresh": 0.5,
    "topk_candidates": 1000,
    "detections_per_img": 100,
}


class Engine(Learner[RetinaNet, Batch]):
    """A RetinaNet that is being trained.

    Args:
        model: on the CPU or already on the group's device.
        config: of the run.
        group: this process among those that train together.
        total: steps of the run.
        dtype: what autocast computes in; float32 for none.
    """

    look_at = "look at the data with: detector data check"

    def __init__(
        self, *, model: RetinaNet, config: RunConfig, group: Group, total: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__(model=model, recipe=config.train, group=group, total=total, dtype=dtype)
        self.config = config
        self.anchors = anchors_for(config.model, config.data.image_size, group.device)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return `loss_cls` and `loss_box`."""
        config = self.config
        batch = batch.to(self.group.device)
        images = normalise(batch.images, config.model.preprocessing).contiguous(memory_format=self.layout)
        with self.autocast():
            cls_logits, box_deltas = network(images)
        return retinanet_losses(
            cls_logits, box_deltas, self.anchors, batch.targets, config.model, loss=config.train.loss
        )


@torch.no_grad()
def validate(
    model: RetinaNet,
    batches: Iterable[Batch],
    dataset: Mapping[str, Any],
    *,
    config: RunConfig,
    group: Group,
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Return AP, AP50 and AP75 on the validation pictures, by pycocotools; the same in every process.

    Args:
        model: what is evaluated; left in the mode that it was in.
        batches: this process's share of `ValidationSet`.
        dataset: COCO, of all shares; label i is category i + 1.
        config: of the run.
        group: this process among those that train together.
        dtype: what autocast computes in.
    """
    modes = [(module, module.training) for module in model.modules()]  # locked norms are not in training mode
    model.eval()
    anchors = anchors_for(config.model, config.data.image_size, group.device)
    rows = [torch.zeros(0, 7)]
    for batch in batches:
        images = normalise(batch.to(group.device).images, config.model.preprocessing)
        with torch.autocast(group.device.type, dtype=dtype) if dtype != torch.float32 else nullcontext():
            cls_logits, box_deltas = model(images)
        contents = [tuple(target["content"].tolist()) for target in batch.targets]
        found = postprocess(
            cls_logits.float(),
            box_deltas.float(),
            anchors,
            contents,
            config=config.model,
            network_size=config.data.image_size,
            **_AP_SETTINGS,
        )
        for target, content, one in zip(batch.targets, contents, found, strict=True):
            rows.append(_rows(int(target["index"]), content, dataset, one))
    for module, mode in modes:
        module.training = mode
    found_rows = group.gather_rows(torch.cat(rows)).tolist()
    records = [
        {
            "image_id": dataset["images"][int(index)]["id"],
            "category_id": int(label) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for index, label, score, x1, y1, x2, y2 in found_rows
    ]
    figures = evaluate_boxes(dataset, records).figures
    return {name: float(value) for name in ("AP", "AP50", "AP75") if (value := figures[name]) is not None}


def _rows(
    index: int, content: tuple[int, ...], dataset: Mapping[str, Any], found: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Return (N, 7) float32 on the CPU: index, label, score, xyxy in pixels of the source picture."""
    boxes, scores, labels = (part.cpu() for part in found)
    image = dataset["images"][index]
    scale = torch.tensor([image["width"] / content[1], image["height"] / content[0]] * 2)
    first = torch.full((len(boxes), 1), float(index))  # exact up to 16 million pictures
    return torch.cat([first, labels[:, None].float(), scores[:, None], boxes * scale], dim=1)
