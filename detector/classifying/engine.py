"""The loss of one step of a classifier, and one look at the validation pictures."""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from detector.classifier import Classifier, normalise
from detector.classifying.config import ClassifierRunConfig, TrainConfig
from detector.classifying.dataset import LabelBatch
from detector.training.distributed import Group
from detector.training.learner import Learner

__all__ = ["ClassifierEngine", "class_weights", "figures_of", "validate"]


def class_weights(config: TrainConfig, classes: Sequence[str], labels: Iterable[int]) -> list[float]:
    """Return what each class's loss is multiplied with; over the training pictures the mean of `balanced` is 1.

    Args:
        config: of the run.
        classes: of the model.
        labels: of all training pictures; every class is among them.
    """
    if config.class_weights == "explicit":
        return [config.weight_by_class.get(name, 1.0) for name in classes]
    if config.class_weights == "none":
        return [1.0] * len(classes)
    counts = Counter(labels)
    return [counts.total() / (len(classes) * counts[label]) for label in range(len(classes))]


class ClassifierEngine(Learner[Classifier, LabelBatch]):
    """A classifier that is being trained.

    Args:
        model: on the CPU or already on the group's device.
        config: of the run.
        weights: of the classes, see `class_weights`.
        group: this process among those that train together.
        total: steps of the run.
        dtype: what autocast computes in; float32 for none.
    """

    def __init__(
        self,
        *,
        model: Classifier,
        config: ClassifierRunConfig,
        weights: Sequence[float],
        group: Group,
        total: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(model=model, recipe=config.train, group=group, total=total, dtype=dtype)
        self.config = config
        self.weights = torch.tensor(weights, device=group.device)

    def losses(self, network: nn.Module, batch: LabelBatch) -> dict[str, Tensor]:
        """Return `loss`, and the share of this batch, as it is shown to the network, that is judged right.

        Each picture's loss is multiplied with its class's weight and the mean is over pictures, not over weights: so
        several processes learn exactly what one does.
        """
        train = self.config.train
        batch = batch.to(self.group.device)
        images = normalise(batch.images, self.config.model.preprocessing).contiguous(memory_format=self.layout)
        with self.autocast():
            found = network(images)
        logits = found[0] if isinstance(found, tuple) else found
        loss = self._loss(logits, batch.labels)
        if isinstance(found, tuple):
            loss = loss + train.aux_weight * self._loss(found[1], batch.labels)
        right = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return {"loss": loss, "train_accuracy": right}

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        smoothing = self.config.train.label_smoothing
        each = cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        return (each * self.weights[labels]).mean()


@torch.no_grad()
def validate(
    model: Classifier, batches: Iterable[LabelBatch], *, group: Group, dtype: torch.dtype = torch.float32
) -> dict[str, float]:
    """Return the figures of `figures_of` on the validation pictures; the same in every process.

    Args:
        model: what is evaluated; left in the mode that it was in.
        batches: this process's share of `ValidationPictures`.
        group: this process among those that train together.
        dtype: what autocast computes in.

    Raises:
        InputError: when a picture cannot be read.
    """
    modes = [(module, module.training) for module in model.modules()]  # locked norms are not in training mode
    model.eval()
    classes = len(model.config.classes)
    rows = [torch.zeros(0, 1 + classes)]
    for batch in batches:
        moved = batch.to(group.device)
        images = normalise(moved.images, model.config.preprocessing)
        with torch.autocast(group.device.type, dtype=dtype, enabled=dtype != torch.float32):
            logits = model(images)
        rows.append(torch.cat([moved.labels[:, None].float(), logits.float()], dim=1).cpu())
    for module, mode in modes:
        module.training = mode
    table = group.gather_rows(torch.cat(rows)).cpu()
    return figures_of(table[:, 1:], table[:, 0].long(), model.config.classes, model.config.nsfw_indices)


def figures_of(logits: Tensor, labels: Tensor, classes: Sequence[str], nsfw: Sequence[int]) -> dict[str, float]:
    """Return how good a classifier is.

    Args:
        logits: (N, K) float32.
        labels: (N,) int64, each of the K at least once.
        classes: their K names.
        nsfw: the labels that are not safe for work.

    Returns:
        `val_loss`, the cross entropy without smoothing or weights; `accuracy`; `balanced_accuracy`, the mean of the
        classes' recalls; `nsfw_accuracy`, of safe or not at an nsfw probability of one half; and `recall_CLASS`.
    """
    right = logits.argmax(dim=1) == labels
    recalls = [right[labels == label].float().mean().item() for label in range(len(classes))]
    said = logits.softmax(dim=1)[:, list(nsfw)].sum(dim=1) > 0.5
    truth = torch.isin(labels, torch.tensor(list(nsfw)))
    return {
        "val_loss": cross_entropy(logits, labels).item(),
        "accuracy": right.float().mean().item(),
        "balanced_accuracy": sum(recalls) / len(recalls),
        "nsfw_accuracy": (said == truth).float().mean().item(),
        **{f"recall_{name}": recall for name, recall in zip(classes, recalls, strict=True)},
    }
