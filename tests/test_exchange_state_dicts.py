"""State dicts of torchvision and detectron2: the imported model gives what theirs gives."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.anchors import anchors_for, decode_boxes
from detector.classes import CLASSES
from detector.errors import ModelError, UsageError
from detector.exchange.detectron2_import import import_detectron2
from detector.exchange.state_dicts import read_state
from detector.exchange.torchvision_import import import_torchvision

IMAGE_SIZE = (64, 96)


@pytest.fixture(scope="module")
def theirs() -> RetinaNet:
    """torchvision's model on a ResNet-18, its batch norms given numbers as training gives them."""
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    model = RetinaNet(backbone, num_classes=6).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(1e-5, 1e-3)  # small: the epsilon matters
        elif name.endswith("running_mean"):
            buffer.normal_(0, 0.01)
        elif name.endswith(".weight"):
            buffer.fill_(0.02)  # about the root of the variance: numbers stay near one from layer to layer
    return model


def outputs_of(model: RetinaNet, images: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        given = model.head(list(model.backbone(images).values()))
    return given["cls_logits"], given["bbox_regression"]


def set_epsilon(model: RetinaNet, epsilon: float) -> None:
    for module in model.modules():
        if hasattr(module, "running_var"):
            module.eps = epsilon


@pytest.mark.parametrize("epsilon", [None, 0.0])
def test_torchvision_gives_the_same(theirs: RetinaNet, tmp_path: Path, epsilon: float | None) -> None:
    path = tmp_path / "model.pth"
    torch.save(theirs.state_dict(), path)
    images = torch.randn(1, 3, *IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    set_epsilon(theirs, 1e-5 if epsilon is None else epsilon)
    logits, deltas = outputs_of(theirs, images)
    imported = import_torchvision(path, CLASSES, norm_eps=epsilon)
    with torch.inference_mode():
        ours = imported.model(images)
    assert imported.origin == "torchvision"
    assert imported.config.norm_eps == 1e-5
    assert 1e-3 < deltas.std() < 100
    torch.testing.assert_close(ours[0], logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours[1], deltas, rtol=1e-4, atol=1e-4)


def test_older_torchvision_and_wrapped_names_are_understood(theirs: RetinaNet, tmp_path: Path) -> None:
    def older(name: str) -> str:
        return re.sub(r"conv\.(\d)\.0\.", lambda match: f"conv.{int(match[1]) * 2}.", name)

    state = {f"module.{older(name)}": tensor for name, tensor in theirs.state_dict().items()}
    assert "module.head.regression_head.conv.6.bias" in state
    torch.save({"model": state, "epoch": 3}, tmp_path / "old.pth")
    imported = import_torchvision(tmp_path / "old.pth", CLASSES)
    mine = imported.model.state_dict()["head.regression_head.conv.3.0.weight"]
    assert torch.equal(mine, theirs.state_dict()["head.regression_head.conv.3.0.weight"])


@pytest.mark.slow
def test_torchvision_states_that_do_not_fit_are_named(theirs: RetinaNet, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    state = theirs.state_dict()
    torch.save(state, path)
    with pytest.raises(UsageError, match="does not say what its 6 classes are"):
        import_torchvision(path)
    torch.save({name: part for name, part in state.items() if "layer3.1.bn2" not in name}, path)
    with pytest.raises(ModelError, match=r"body\.layer3\.1\.bn2\.bias, .* are missing"):
        import_torchvision(path, CLASSES)
    torch.save({**state, "backbone.body.extra": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match=r"body\.extra do not"):
        import_torchvision(path, CLASSES)


class Detectron2:
    """detectron2's RetinaNet on a ResNet-50, written as functions on its state dict (stride in the 1x1 or the 3x3)."""

    def __init__(self, num_classes: int = 6, *, stride_in_1x1: bool = True) -> None:
        self.random = torch.Generator().manual_seed(2)
        self.stride_in_1x1 = stride_in_1x1
        self.state: dict[str, Tensor] = {}
        bottom = "backbone.bottom_up."
        self.add_norm_conv(f"{bottom}stem.conv1", 3, 64, 7)
        inputs = 64
        for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=2):
            for block in range(blocks):
                prefix = f"{bottom}res{stage}.{block}."
                self.add_norm_conv(f"{prefix}conv1", inputs, width, 1)
                self.add_norm_conv(f"{prefix}conv2", width, width, 3)
                self.add_norm_conv(f"{prefix}conv3", width, width * 4, 1, gain=0.3)
                if block == 0:
                    self.add_norm_conv(f"{prefix}shortcut", inputs, width * 4, 1)
                inputs = width * 4
        for level, channels in ((3, 512), (4, 1024), (5, 2048)):
            self.add_conv(f"backbone.fpn_lateral{level}", channels, 256, 1)
            self.add_conv(f"backbone.fpn_output{level}", 256, 256, 3)
        self.add_conv("backbone.top_block.p6", 2048, 256, 3)
        self.add_conv("backbone.top_block.p7", 256, 256, 3)
        for index in (0, 2, 4, 6):
            self.add_conv(f"head.cls_subnet.{index}", 256, 256, 3)
            self.add_conv(f"head.bbox_subnet.{index}", 256, 256, 3)
        self.add_conv("head.cls_score", 256, 9 * num_classes, 3, gain=0.3)
        self.add_conv("head.bbox_pred", 256, 36, 3, gain=0.1)
        for level, cells in enumerate(self.cells()):
            self.state[f"anchor_generator.cell_anchors.{level}"] = cells

    def add_conv(self, name: str, inputs: int, outputs: int, side: int, gain: float = 1.0, bias: bool = True) -> None:
        scale = gain * (2 / (inputs * side * side)) ** 0.5
        self.state[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=self.random) * scale
        if bias:
            self.state[f"{name}.bias"] = torch.randn(outputs, generator=self.random) * 0.1

    def add_norm_conv(self, name: str, inputs: int, outputs: int, side: int, gain: float = 1.0) -> None:
        self.add_conv(name, inputs, outputs, side, gain, bias=False)
        for part, low, high in (("weight", 0.8, 1.2), ("bias", -0.1, 0.1), ("running_mean", -0.1, 0.1)):
            self.state[f"{name}.norm.{part}"] = torch.empty(outputs).uniform_(low, high, generator=self.random)
        self.state[f"{name}.norm.running_var"] = torch.empty(outputs).uniform_(0.8, 1.2, generator=self.random)

    def cells(self) -> list[Tensor]:
        levels = []
        for base in (32, 64, 128, 256, 512):
            rows = []
            for size in (base, base * 2 ** (1 / 3), base * 2 ** (2 / 3)):
                for ratio in (0.5, 1.0, 2.0):
                    width = (size**2 / ratio) ** 0.5
                    rows.append([-width / 2, -width * ratio / 2, width / 2, width * ratio / 2])
            levels.append(torch.tensor(rows))
        return levels

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        x = functional.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)
        if f"{name}.norm.weight" not in self.state:
            return x
        parts = [self.state[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, eps=1e-5)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.max_pool2d(self.conv(images, "backbone.bottom_up.stem.conv1", 2).relu(), 3, 2, 1)
        stages = {}
        for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
            for block in range(blocks):
                prefix = f"backbone.bottom_up.res{stage}.{block}."
                stride = 2 if stage > 2 and block == 0 else 1
                steps = (stride, 1) if self.stride_in_1x1 else (1, stride)
                y = self.conv(x, f"{prefix}conv1", steps[0]).relu()
                y = self.conv(self.conv(y, f"{prefix}conv2", steps[1]).relu(), f"{prefix}conv3")
                x = (y + (self.conv(x, f"{prefix}shortcut", stride) if block == 0 else x)).relu()
            stages[stage] = x
        upper, features = None, []
        for level in (5, 4, 3):
            lateral = self.conv(stages[level], f"backbone.fpn_lateral{level}")
            upper = lateral if upper is None else lateral + functional.interpolate(upper, scale_factor=2.0)
            features.insert(0, self.conv(upper, f"backbone.fpn_output{level}"))
        p6 = self.conv(stages[5], "backbone.top_block.p6", 2)
        features += [p6, self.conv(p6.relu(), "backbone.top_block.p7", 2)]
        outputs = []
        for branch, last in (("cls", "cls_score"), ("bbox", "bbox_pred")):
            parts = []
            for x in features:
                for index in (0, 2, 4, 6):
                    x = self.conv(x, f"head.{branch}_subnet.{index}").relu()
                x = self.conv(x, f"head.{last}")
                parts.append(x.permute(0, 2, 3, 1).reshape(len(x), -1, x.shape[1] // 9))
            outputs.append(torch.cat(parts, dim=1))
        return outputs[0], outputs[1]

    def boxes(self, deltas: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Return (A, 4) boxes of one picture: detectron2's anchors and its Box2BoxTransform."""
        anchors = []
        for level, cells in enumerate(self.cells()):
            stride = 8 << level
            for y in range(0, image_size[0], stride):
                anchors += [cells + torch.tensor([x, y, x, y]) for x in range(0, image_size[1], stride)]
        anchor = torch.cat(anchors)
        side = anchor[:, 2:] - anchor[:, :2]
        middle = anchor[:, :2] + side / 2 + deltas[:, :2] * side
        half = deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp() * side / 2
        return torch.cat([middle - half, middle + half], dim=1)


def in_our_order(rows: Tensor) -> Tensor:
    """Return (A, ...) with the nine of each cell by ratio first and not by size."""
    return rows.unflatten(0, (-1, 3, 3)).transpose(1, 2).flatten(0, 2)


@pytest.mark.parametrize("stride_in_1x1", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_detectron2_gives_the_same(tmp_path: Path, stride_in_1x1: bool) -> None:
    theirs = Detectron2(stride_in_1x1=stride_in_1x1)
    # As detectron2's converted checkpoints hold them: NumPy arrays among other things, under `model`.
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in theirs.state.items()}
    torch.save({"model": arrays, "iteration": 7}, tmp_path / "model.pth")
    imported = import_detectron2(tmp_path / "model.pth", CLASSES, stride_in_1x1=stride_in_1x1)
    images = torch.randn(1, 3, *IMAGE_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, deltas = theirs(images)
        our_logits, our_deltas = imported.model(images)
        ours = decode_boxes(our_deltas[0], anchors_for(imported.config, IMAGE_SIZE), imported.config)
    assert 0.1 < logits.std() < 50
    torch.testing.assert_close(our_logits[0], in_our_order(logits[0]), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours, in_our_order(theirs.boxes(deltas[0], IMAGE_SIZE)), rtol=1e-3, atol=1e-3)
    assert imported.config.preprocessing.colour == "BGR"


def test_detectron2_states_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    state = {"backbone.bottom_up.stem.conv1.weight": torch.zeros(64, 3, 7, 7)}
    torch.save({"model": state}, path)
    with pytest.raises(ModelError, match=r"backbone\.top_block\.p6\.weight, head\.bbox_pred\.bias.* are missing"):
        import_detectron2(path, CLASSES)
    state["anchor_generator.cell_anchors.0"] = torch.ones(9, 4)
    torch.save({"model": state}, path)
    with pytest.raises(ModelError, match="the anchors of p3 must be RetinaNet's nine"):
        import_detectron2(path, CLASSES)


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    torch.save({"model": {"a": Evil(target)}}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="must be a checkpoint of tensors alone"):
        read_state(tmp_path / "evil.pth")
    assert not target.exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert target.exists(), "the test's own file does what it should"


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="reading a pickle runs what is in it"):
        read_state(tmp_path / "model_final_5bd44e.pkl")
    with pytest.raises(ModelError, match="must be readable"):
        read_state(tmp_path / "absent.pth")
    for name, content in (("a.pth", b"no zip"), ("a.safetensors", b"no header, but long enough to be one")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=r"it (is not|cannot be read)"):
            read_state(tmp_path / name)
    torch.save({"model": {"a": torch.zeros(1), "b": "text"}}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match="b is something else"):
        read_state(tmp_path / "b.pth")
    torch.save({"model": {"a": np.zeros(2, np.float64)}}, tmp_path / "c.pth")
    assert read_state(tmp_path / "c.pth")["a"].dtype == torch.float32
