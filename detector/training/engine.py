"""One step of training, and one look at the validation pictures."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detector.anchors import anchors_for
from detector.errors import ModelError, UsageError
from detector.evaluation.coco_metrics import evaluate_boxes
from detector.losses import retinanet_losses
from detector.retinanet import RetinaNet
from detector.retinanet_postprocess import postprocess
from detector.training.config import RunConfig
from detector.training.dataset import Batch, normalise
from detector.training.distributed import Group
from detector.training.ema import Ema
from detector.training.schedule import (
    build_optimizer,
    frozen_stages,
    lr_factor,
    set_frozen,
    set_lr,
    set_train_mode,
)

__all__ = ["Engine", "validate"]

# What COCO's AP looks at: everything down to almost nothing, and 100 boxes a picture.
_AP_SETTINGS: Mapping[str, Any] = {
    "score_thresh": 0.01,
    "nms_thresh": 0.5,
    "topk_candidates": 1000,
    "detections_per_img": 100,
}


class Engine:
    """A model that is being trained: itself, its average, its optimiser.

    Args:
        model: on the CPU or already on the group's device.
        config: of the run.
        group: this process among those that train together.
        total: steps of the run.
        dtype: what autocast computes in; float32 for none.

    Attributes:
        model: the plain network, whatever wraps it.
        ema: its average; None with a decay of 0.
        optimizer: over all of its parameters.
    """

    def __init__(
        self, *, model: RetinaNet, config: RunConfig, group: Group, total: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.config, self.group, self.total, self.dtype = config, group, total, dtype
        train = config.train
        if train.sync_bn and group.world_size > 1:
            if group.device.type != "cuda":
                raise UsageError("train.sync_bn needs CUDA; give train.freeze_bn=true or model.norm=group on the CPU")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        layout = torch.channels_last if group.device.type == "cuda" else torch.contiguous_format
        self.model: RetinaNet = model.to(group.device, memory_format=layout)
        self.layout = layout
        self.ema = Ema(self.model, train.ema_decay) if train.ema_decay else None
        self.optimizer = build_optimizer(self.model, train)
        self.anchors = anchors_for(config.model, config.data.image_size, group.device)
        self._network: nn.Module | None = None
        self._stages = -1

    @property
    def judged(self) -> RetinaNet:
        """The weights that are evaluated and saved: the average where there is one."""
        model: RetinaNet = self.model if self.ema is None else self.ema.model
        return model

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Learn from one batch.

        Args:
            step: its number, from 0; decides learning rate and frozen stages.
            batch: this process's share.

        Returns:
            `loss_cls`, `loss_box`, `loss`, of this process's share; `grad_norm` before clipping, of all; `lr`.

        Raises:
            ModelError: when the loss or its gradient is not finite; the weights are those of the step before.
        """
        train = self.config.train
        network = self._prepared(step)
        lr = train.lr * lr_factor(step, self.total, train)
        set_lr(self.optimizer, lr)
        batch = batch.to(self.group.device)
        images = normalise(batch.images, self.config.model.preprocessing).contiguous(memory_format=self.layout)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            cls_logits, box_deltas = network(images)
        losses = retinanet_losses(
            cls_logits, box_deltas, self.anchors, batch.targets, self.config.model, loss=train.loss
        )
        loss = sum(losses.values())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), train.clip_grad_norm or torch.inf)
        # One copy to the host for all that is shown and checked.
        names = [*losses, "loss", "grad_norm"]
        values = torch.stack([*(value.detach() for value in losses.values()), loss.detach(), norm.detach()]).tolist()
        shown = dict(zip(names, values, strict=True))
        _check_finite(shown, step, lr)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model)
        return {**shown, "lr": lr}

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.group.device.type, dtype=self.dtype)
        return context

    def _prepared(self, step: int) -> nn.Module:
        """Return the network in training mode, wrapped; anew where other stages are locked than before."""
        stages = frozen_stages(step, self.total, self.config.train.freeze)
        if self._network is None or stages != self._stages:
            # Gradients of what is locked must go: an optimiser updates whatever has one.
            self.optimizer.zero_grad(set_to_none=True)
            set_frozen(self.model, stages)
            set_train_mode(self.model, stages=stages, freeze_bn=self.config.train.freeze_bn)
            network: nn.Module = torch.compile(self.model) if self.config.train.compile else self.model
            if self.group.world_size > 1:
                # It counts the gradients to wait for when it is made: with others locked it would wait for ever.
                ids = [self.group.device.index] if self.group.device.type == "cuda" else None
                network = DistributedDataParallel(network, device_ids=ids)
            self._network, self._stages = network, stages
        return self._network


def _check_finite(shown: Mapping[str, float], step: int, lr: float) -> None:
    if not torch.isfinite(torch.tensor(list(shown.values()))).all():
        values = ", ".join(f"{name} {value:g}" for name, value in shown.items())
        raise ModelError(
            f"losses and gradients must be finite; step {step} at learning rate {lr:g} gave {values}; "
            "lower train.lr, lengthen train.warmup_steps, or look at the data with: detector data check"
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
