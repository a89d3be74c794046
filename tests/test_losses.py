# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""The losses against torchvision's RetinaNet, and by hand where it has nothing to compare with."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the RetinaNet needs the extra [torch]")

from torchvision.models.detection.retinanet import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import generalized_box_iou

from detector.anchors import anchors_for, decode_boxes, encode_boxes
from detector.errors import UsageError
from detector.losses import LossConfig, match_anchors, retinanet_losses
from detector.retinanet_config import ModelConfig, keras_retinanet_config

CONFIG = ModelConfig()
SIZE = (128, 192)
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


def target(*boxes: list[float], labels: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels if labels is not None else range(len(boxes))),
        **more,
    }


# The third box is far smaller than any anchor: it is matched for being the nearest.
TARGETS = [target([10, 20, 60, 90], [70, 30, 150, 120], [3, 3, 8, 9]), NOTHING, target([0, 0, 192, 128], labels=[5])]


def outputs(batch: int = 3) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(0)
    anchors = anchors_for(CONFIG, SIZE)
    logits = torch.randn(batch, len(anchors), 6, generator=generator) - 2
    deltas = torch.randn(batch, len(anchors), 4, generator=generator) * 0.3
    return logits.requires_grad_(), deltas.requires_grad_(), anchors


def peer_losses(kind: str, targets: list[Any], logits: Any, deltas: Any, anchors: Any) -> tuple[Any, Any]:
    """Let torchvision compute them, on the same outputs."""
    backbone = torch.nn.Identity()
    backbone.out_channels = 8
    peer = TorchvisionRetinaNet(backbone, 6, head=RetinaNetHead(8, 9, 6))
    peer.head.regression_head._loss_type = kind
    found = peer.compute_loss(
        targets, {"cls_logits": logits, "bbox_regression": deltas}, [anchors for _ in range(len(targets))]
    )
    return found["classification"], found["bbox_regression"]


@pytest.mark.parametrize("kind", ["l1", "smooth_l1", "giou"])
def test_same_losses_and_gradients_as_torchvision(kind: str) -> None:
    logits, deltas, anchors = outputs()
    loss = LossConfig(box_loss=kind, smooth_l1_beta=1.0)  # torchvision's beta
    ours = retinanet_losses(logits, deltas, anchors, TARGETS, CONFIG, loss)
    assert set(ours) == {"loss_cls", "loss_box"}
    gradients = torch.autograd.grad(ours["loss_cls"] + ours["loss_box"], (logits, deltas))
    cls, box = peer_losses(kind, TARGETS, logits, deltas, anchors)
    torch.testing.assert_close(ours["loss_cls"], cls, rtol=1e-5, atol=0)
    torch.testing.assert_close(ours["loss_box"], box, rtol=1e-5, atol=0)
    for mine, theirs in zip(gradients, torch.autograd.grad(cls + box, (logits, deltas)), strict=True):
        assert theirs.abs().max() > 1e-4
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-7)


def test_nothing_to_find_leaves_only_negatives() -> None:
    logits, deltas, anchors = outputs(1)
    losses = retinanet_losses(logits, deltas, anchors, [NOTHING], CONFIG)
    probability = logits.detach().sigmoid().double()
    by_hand = (0.75 * probability**2 * -(1 - probability).log()).sum()
    assert losses["loss_cls"].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert losses["loss_box"].item() == 0
    losses["loss_box"].backward()  # a batch without boxes must not break the step


def test_perfect_outputs_cost_nothing() -> None:
    anchors = anchors_for(CONFIG, SIZE)
    given = TARGETS[0]
    matched = match_anchors(anchors, given["boxes"], None, LossConfig())
    assert (matched >= 0).sum() > 10
    logits = torch.full((1, len(anchors), 6), -20.0)
    logits[0, matched >= 0, matched[matched >= 0]] = 20.0  # box i has label i
    deltas = encode_boxes(given["boxes"][matched.clamp(min=0)], anchors, CONFIG)[None]
    for kind in ("l1", "smooth_l1", "giou"):
        losses = retinanet_losses(logits, deltas, anchors, [given], CONFIG, LossConfig(box_loss=kind))
        assert losses["loss_cls"].item() == pytest.approx(0, abs=1e-5)
        assert losses["loss_box"].item() == pytest.approx(0, abs=1e-5)


def test_giou_reads_deltas_as_the_config_codes_them() -> None:
    config = keras_retinanet_config()
    anchors = anchors_for(config, SIZE)
    deltas = torch.randn(1, len(anchors), 4, generator=torch.Generator().manual_seed(0)) * 0.3
    given = TARGETS[2]
    losses = retinanet_losses(
        torch.zeros(1, len(anchors), 6), deltas, anchors, [given], config, LossConfig(box_loss="giou", box_weight=2.0)
    )
    positive = match_anchors(anchors, given["boxes"], None, LossConfig()) >= 0
    boxes = decode_boxes(deltas[0, positive], anchors[positive], config)
    by_hand = (1 - generalized_box_iou(boxes, given["boxes"])).mean() * 2
    assert losses["loss_box"].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_smooth_l1_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0, 32, 32]])
    given = target([0, 0, 32, 32], labels=[0])
    deltas = torch.tensor([[[0.05, -0.5, 0, 0]]])
    losses = retinanet_losses(
        torch.zeros(1, 1, 6), deltas, anchors, [given], CONFIG, LossConfig(smooth_l1_beta=0.1, box_weight=3)
    )
    assert losses["loss_box"].item() == pytest.approx(3 * (0.5 * 0.05**2 / 0.1 + 0.5 - 0.05))
    # One positive at a probability of a half, five negatives.
    cls = 0.25 * 0.25 * math.log(2) + 5 * 0.75 * 0.25 * math.log(2)
    assert losses["loss_cls"].item() == pytest.approx(cls)


def test_anchors_in_a_region_to_ignore_are_no_negatives() -> None:
    logits, deltas, anchors = outputs(1)
    region = torch.tensor([[96.0, 0, 192, 128]])
    plain, ignoring = target([10, 20, 60, 90]), target([10, 20, 60, 90], ignore=region)
    inside = (anchors[:, 0] >= 96) & (anchors[:, 1] >= 0) & (anchors[:, 2] <= 192) & (anchors[:, 3] <= 128)
    grads = [
        torch.autograd.grad(retinanet_losses(logits, deltas, anchors, [given], CONFIG)["loss_cls"], logits)[0][0]
        for given in (plain, ignoring)
    ]
    assert inside.sum() > 100
    assert (grads[0][inside] != 0).all()
    assert (grads[1][inside] == 0).all()
    left = anchors[:, 2] <= 96
    assert torch.equal(grads[0][left], grads[1][left])
    # What is matched to a box stays positive, whatever lies over it.
    loss = LossConfig()
    everywhere = torch.tensor([[-600.0, -600, 800, 800]])
    matched = match_anchors(anchors, plain["boxes"], everywhere, loss)
    assert torch.equal(matched >= 0, match_anchors(anchors, plain["boxes"], None, loss) >= 0)
    assert not (matched == -1).any()


def test_losses_are_float32_for_outputs_of_half_precision() -> None:
    logits, deltas, anchors = outputs()
    full = retinanet_losses(logits, deltas, anchors, TARGETS, CONFIG)
    half = retinanet_losses(logits.bfloat16(), deltas.bfloat16(), anchors, TARGETS, CONFIG)
    for name, value in half.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[name], rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([target([0, 0, 9, 9], labels=[6])], r"lie in \[0, 6\)"),
        ([target([0, 0, 9, 9], labels=[-1])], r"lie in \[0, 6\)"),
        ([target([5, 0, 5, 9])], "x1 < x2"),
        ([target([0, 0, 9, 9], labels=[0, 1])], r"\(N, 4\) and \(N,\)"),
        ([NOTHING, NOTHING], r"must be \(B, A, K\)"),
    ],
)
def test_targets_that_would_train_something_else_are_refused(given: list[Any], message: str) -> None:
    logits, deltas, anchors = outputs(1)
    with pytest.raises(UsageError, match=message):
        retinanet_losses(logits, deltas, anchors, given, CONFIG)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_loss": "smoth_l1"}, "the nearest is smooth_l1"),
        ({"bg_iou_thresh": 0.6}, "the first not above the second"),
        ({"focal_alpha": 1.5}, "focal_alpha must lie in"),
        ({"focal_gamma": -1.0}, "must not be negative"),
    ],
)
def test_loss_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LossConfig(**changes)
