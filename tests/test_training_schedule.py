# ruff: noqa: E402 — without the extra [train] these tests are skipped.
import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from detector.retinanet import build_retinanet
from detector.retinanet_config import ModelConfig
from detector.training.config import FreezePhase, TrainConfig
from detector.training.ema import Ema, ema_decay
from detector.training.schedule import (
    build_optimizer,
    frozen_stages,
    lr_factor,
    set_lr,
    set_train_mode,
    total_steps,
)

SMALL = ModelConfig(backbone="resnet18", fpn_channels=32)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return build_retinanet(SMALL)


def test_warm_up_then_cosine() -> None:
    config = TrainConfig(schedule="cosine", warmup_steps=10, warmup_factor=0.1, final_factor=0.02)
    assert lr_factor(0, 101, config) == pytest.approx(0.1)
    assert lr_factor(5, 101, config) == pytest.approx(0.55 * (0.02 + 0.98 * (1 + math.cos(math.pi * 0.05)) / 2))
    assert lr_factor(50, 101, config) == pytest.approx(0.51)
    assert lr_factor(100, 101, config) == pytest.approx(0.02)


def test_steps_and_constant() -> None:
    config = TrainConfig(schedule="steps", warmup_steps=0, milestones=(0.5, 0.75), gamma=0.1)
    assert [lr_factor(step, 100, config) for step in (0, 49, 50, 74, 75, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert lr_factor(99, 100, replace(config, schedule="constant")) == 1


def test_steps_count_epochs_unless_given() -> None:
    assert total_steps(TrainConfig(epochs=3, batch_size=4), 10) == 8
    assert total_steps(TrainConfig(epochs=3, batch_size=4, steps=5), 10) == 5


def test_groups_of_the_optimiser(model: nn.Module) -> None:
    optimizer = build_optimizer(model, TrainConfig(head_lr_multiplier=5, weight_decay=0.3))
    set_lr(optimizer, 0.1)
    by_name = {name: group for group in optimizer.param_groups for name in group["names"]}
    assert by_name.keys() == dict(model.named_parameters()).keys()
    assert by_name["body.conv1.weight"]["lr"] == pytest.approx(0.1)
    assert by_name["fpn.inner_blocks.0.0.weight"]["lr"] == pytest.approx(0.5)
    assert by_name["body.conv1.weight"]["weight_decay"] == 0.3
    assert by_name["body.bn1.weight"]["weight_decay"] == 0
    assert by_name["head.classification_head.cls_logits.bias"]["weight_decay"] == 0


def test_phases() -> None:
    phases = (FreezePhase(), FreezePhase(at=0.5, stages=3), FreezePhase(at=0.9, stages=1))
    assert [frozen_stages(step, 10, phases) for step in (0, 4, 5, 8, 9)] == [0, 0, 3, 3, 1]


def test_locked_stages_do_not_change(model: nn.Module) -> None:
    set_train_mode(model, stages=2, freeze_bn=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = build_optimizer(model, TrainConfig(weight_decay=0.1))
    cls_logits, box_deltas = model(torch.randn(2, 3, 64, 64))
    (cls_logits.square().mean() + box_deltas.square().mean()).backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not [name for name in changed if name.startswith(("body.conv1", "body.bn1", "body.layer1"))]
    assert {"body.layer2.0.conv1.weight", "body.layer2.0.bn1.running_mean"} <= changed
    set_train_mode(model, stages=0, freeze_bn=False)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())


def test_locked_norms(model: nn.Module) -> None:
    set_train_mode(model, stages=0, freeze_bn=True)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert model.body["conv1"].weight.requires_grad
    set_train_mode(model, stages=0, freeze_bn=False)
    assert all(norm.training and norm.weight.requires_grad for norm in norms)


def test_the_average_trails() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(model[0].weight, 0.0)
    ema = Ema(model, 0.9)
    model[0].weight.data.fill_(1.0)
    model[1].num_batches_tracked.fill_(5)
    ema.update(model)
    assert ema.model[0].weight.item() == pytest.approx(0.9), "the first update: decay 1 / 10"
    ema.update(model)
    assert ema.model[0].weight.item() == pytest.approx(1 - 0.1 * 2 / 11)
    assert ema.model[1].num_batches_tracked.item() == 5
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert [ema_decay(updates, 0.9) for updates in (0, 10, 1000)] == pytest.approx([0.1, 0.55, 0.9])
