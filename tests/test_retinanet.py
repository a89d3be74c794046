# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""Our RetinaNet against torchvision's on the same weights, and against TensorFlow's rules where those are asked for."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the RetinaNet needs the extra [torch]")

from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detector.anchors import anchors_for, anchors_per_level, decode_boxes, encode_boxes, level_sizes
from detector.errors import UsageError
from detector.retinanet import SameConv2d, SameMaxPool2d, build_retinanet, fold_batch_norm, from_torchvision_state
from detector.retinanet_config import (
    ModelConfig,
    keras_retinanet_config,
    model_config_from_dict,
    model_config_to_dict,
    read_model_config,
    torchvision_config,
)
from detector.retinanet_postprocess import postprocess


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms and heads numbers that matter, as training does; activations stay of order one."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Any, low: float, high: float) -> None:
        tensor.data.uniform_(low, high, generator=generator)

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            last = name.endswith(("bn3", "downsample.1")) or (name.endswith("bn2") and "layer" in name)
            uniform(module.weight, 0.2, 0.5 if last else 1.2)
            uniform(module.bias, -0.2, 0.2)
            uniform(module.running_mean, -0.3, 0.3)
            uniform(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d) and "head" in name:
            module.weight.data.normal_(0, 0.01 if "bbox_reg" in name else 0.04, generator=generator)
    return model.eval()


def torchvision_model(build: Any = resnet18, *, norm: Any = FrozenBatchNorm2d, c5: int = 256, **options: Any) -> Any:
    """Build torchvision's model as written, with random weights; it takes pictures of one size as they are."""
    backbone = _resnet_fpn_extractor(
        build(norm_layer=norm), 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(c5, 256)
    )
    options = {"min_size": 1, "max_size": 4096, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], **options}
    return randomise(TorchvisionRetinaNet(backbone, num_classes=6, **options))


def ours(peer: Any, **changes: Any) -> Any:
    config = torchvision_config(**{"backbone": "resnet18", "num_classes": 6, **changes})
    model = build_retinanet(config)
    model.load_state_dict(from_torchvision_state(peer.state_dict()))
    return model.eval()


def peer_outputs(peer: Any, images: Any) -> tuple[Any, Any, Any]:
    features = list(peer.backbone(images).values())
    heads = peer.head(features)
    return (
        heads["cls_logits"],
        heads["bbox_regression"],
        peer.anchor_generator(ImageList(images, [(1, 1)]), features)[0],
    )


@pytest.mark.parametrize(
    ("build", "norm", "changes", "c5"),
    [
        (resnet18, FrozenBatchNorm2d, {}, 256),
        pytest.param(
            resnet50,
            nn.BatchNorm2d,
            {"backbone": "resnet50", "norm": "batch", "p6_from": "c5"},
            2048,
            marks=pytest.mark.slow,
        ),
    ],
)
@torch.inference_mode()
def test_same_logits_deltas_and_anchors(build: Any, norm: Any, changes: Any, c5: int) -> None:
    peer = torchvision_model(build, norm=norm, c5=c5)
    model = ours(peer, **changes)
    for size in ((128, 192), (100, 75)):
        images = torch.randn(2, 3, *size)
        logits, deltas = model(images)
        logits_peer, deltas_peer, anchors_peer = peer_outputs(peer, images)
        assert logits_peer.std() > 0.05
        assert deltas_peer.std() > 0.05
        torch.testing.assert_close(logits, logits_peer, atol=1e-4, rtol=0)
        torch.testing.assert_close(deltas, deltas_peer, atol=1e-4, rtol=0)
        torch.testing.assert_close(anchors_for(model.config, size), anchors_peer, atol=0, rtol=0)
        assert sum(anchors_per_level(model.config, size)) == logits.shape[1]


@torch.inference_mode()
def test_same_detections_box_for_box() -> None:
    peer = torchvision_model(**SAME_OPTIONS, detections_per_img=100_000)
    model = ours(peer)
    for size in ((128, 192), (160, 96)):
        assert_same_detections(peer, model, size)


SAME_OPTIONS = {"score_thresh": 0.012, "nms_thresh": 0.4, "topk_candidates": 300}


def assert_same_detections(peer: Any, model: Any, size: tuple[int, int]) -> None:
    # In [0, 1], and already of the size that torchvision's transform is to make.
    peer.transform.min_size, peer.transform.size_divisible = (min(size),), 1
    images = torch.rand(2, 3, *size)
    wanted = peer(list(images))
    logits, deltas = model(images)
    anchors = anchors_for(model.config, size)
    options = {**SAME_OPTIONS, "detections_per_img": 100, "config": model.config, "network_size": size}
    found = postprocess(logits, deltas, anchors, [size, size], **options)
    for (boxes, scores, labels), theirs in zip(found, wanted, strict=True):
        # torchvision keeps boxes without area, that lie outside the picture; we do not, on purpose.
        area = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
        assert 100 < area.sum() < len(area)
        assert len(boxes) == 100
        torch.testing.assert_close(scores, theirs["scores"][area][:100], atol=1e-5, rtol=0)
        torch.testing.assert_close(boxes, theirs["boxes"][area][:100], atol=1e-2, rtol=0)
        assert torch.equal(labels, theirs["labels"][area][:100])


def test_torchvision_state_with_foreign_names_is_refused() -> None:
    with pytest.raises(UsageError, match=r"only `backbone` and `head`; got 'rpn\.conv'"):
        from_torchvision_state({"backbone.body.x": torch.zeros(1), "rpn.conv": torch.zeros(1)})


def test_default_is_resnet101_with_51_million_parameters_and_the_focal_prior() -> None:
    with torch.device("meta"):
        assert round(sum(p.numel() for p in build_retinanet(ModelConfig()).parameters()) / 1e6) == 51
    model = build_retinanet(ModelConfig(backbone="resnet18")).eval()
    with torch.inference_mode():
        logits, deltas = model(torch.randn(1, 3, 64, 64))
    assert (logits.shape[2], deltas.shape[2]) == (6, 4)
    assert logits.sigmoid().mean() == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("norm", ["batch", "frozen"])
@torch.inference_mode()
def test_folding_changes_nothing(norm: str) -> None:
    config = ModelConfig(backbone="resnet50", norm=norm, fpn_channels=32, stride_in_1x1=True)
    model = randomise(build_retinanet(config))
    images = torch.randn(1, 3, 96, 64)
    before = model(images)
    fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d) for module in model.modules())
    for a, b in zip(model(images), before, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    with torch.device("meta"), pytest.raises(UsageError, match="evaluation mode"):
        fold_batch_norm(build_retinanet(config))


@torch.inference_mode()
def test_group_norms_stay_and_work() -> None:
    config = ModelConfig(backbone="resnet18", norm="group", head_norm="group", fpn_channels=64)
    model = fold_batch_norm(build_retinanet(config).eval())
    assert sum(isinstance(module, nn.GroupNorm) for module in model.modules()) == 20 + 8
    assert torch.isfinite(model(torch.randn(1, 3, 64, 64))[0]).all()


def same_by_hand(rows: list[float], kernel: int = 3, stride: int = 2) -> list[list[float]]:
    """List the windows of TensorFlow's SAME over a row, NaN where it is padding (tf.nn: notes on padding)."""
    out = -(-len(rows) // stride)
    total = max((out - 1) * stride + kernel - len(rows), 0)
    padded = [float("nan")] * (total // 2) + rows + [float("nan")] * (total - total // 2)
    return [padded[i * stride : i * stride + kernel] for i in range(out)]


@pytest.mark.parametrize("side", [1, 2, 5, 6, 7, 8])
@torch.inference_mode()
def test_same_padding_is_tensorflows(side: int) -> None:
    row = [float(-i - 1) for i in range(side)]  # negative: padding with zeros would win the maximum
    images = torch.tensor(row).expand(1, 1, side, side)
    windows = torch.tensor(same_by_hand(row))
    pooled = SameMaxPool2d(kernel_size=3, stride=2)(images)
    assert pooled.shape == (1, 1, len(windows), len(windows))
    assert pooled[0, 0, 0].tolist() == windows.nan_to_num(nan=-99).amax(dim=1).tolist()
    assert SameMaxPool2d(kernel_size=3, stride=2)(images.mT)[0, 0, :, 0].tolist() == pooled[0, 0, 0].tolist()
    conv = SameConv2d(1, 1, 3, stride=2, bias=False)
    conv.weight.data = torch.tensor([[0.0, 0, 0], [1, 10, 100], [0, 0, 0]]).view(1, 1, 3, 3)
    wanted = (windows.nan_to_num(nan=0) * torch.tensor([1.0, 10, 100])).sum(dim=1)
    middle = conv(images)[0, 0, 0]
    assert middle.tolist() == wanted.tolist()


@torch.inference_mode()
def test_kerasretinanet_model_has_its_shapes_and_strides() -> None:
    config = keras_retinanet_config(fpn_channels=32)
    model = randomise(build_retinanet(config))
    assert isinstance(model.body.maxpool, SameMaxPool2d)
    assert isinstance(model.fpn.extra_blocks.p7, SameConv2d)
    assert model.fpn.extra_blocks.p6.in_channels == 2048
    assert [model.body[name][0].conv1.stride[0] for name in ("layer1", "layer2", "layer4")] == [1, 2, 2]
    assert [model.body[name][0].conv2.stride[0] for name in ("layer1", "layer2", "layer4")] == [1, 1, 1]
    size = (75, 117)
    logits, _ = model(torch.randn(1, 3, *size))
    assert logits.shape[1] == len(anchors_for(config, size)) == sum(anchors_per_level(config, size))
    assert level_sizes(size) == [(10, 15), (5, 8), (3, 4), (2, 2), (1, 1)]


def test_kerasretinanet_anchors_by_hand() -> None:
    anchors = anchors_for(keras_retinanet_config(), (64, 64))
    # utils/anchors.py: ratio by ratio, in it scale by scale; (i + 0.5) * stride.
    boxes = []
    for ratio in (0.5, 1, 2):
        for scale in (1, 2 ** (1 / 3), 2 ** (2 / 3)):
            area = (32 * scale) ** 2
            width = (area / ratio) ** 0.5
            height = width * ratio
            boxes.append([12 - width / 2, 4 - height / 2, 12 + width / 2, 4 + height / 2])
    torch.testing.assert_close(anchors[9:18], torch.tensor(boxes), atol=1e-4, rtol=0)


def test_fixed_strides_put_anchors_where_the_features_look() -> None:
    fixed, floor = (anchors_for(ModelConfig(anchor_stride=kind), (320, 320)) for kind in ("fixed", "floor"))
    centre = (fixed[-1, :2] + fixed[-1, 2:]) / 2
    assert centre.tolist() == [256, 256]
    assert ((floor[-1, :2] + floor[-1, 2:]) / 2).tolist() == [2 * (320 // 3)] * 2
    same = [anchors_for(ModelConfig(anchor_stride=kind), (256, 384)) for kind in ("fixed", "floor")]
    assert torch.equal(*same)


@pytest.mark.parametrize("config", [ModelConfig(box_std=(0.1, 0.1, 0.2, 0.2)), keras_retinanet_config()])
def test_decoding_undoes_encoding(config: ModelConfig) -> None:
    anchors = anchors_for(config, (64, 64))[::7]
    boxes = anchors + torch.rand(len(anchors), 4, generator=torch.Generator().manual_seed(0)) * 8
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors, config), anchors, config), boxes)
    empty = torch.zeros(0, 4)
    assert decode_boxes(empty, empty, config).shape == (0, 4)
    with pytest.raises(UsageError, match=r"both be \(N, 4\)"):
        decode_boxes(torch.zeros(3, 4), torch.zeros(1, 4), config)


def test_corner_coding_by_hand() -> None:
    anchor, delta = torch.tensor([[10.0, 20, 30, 60]]), torch.tensor([[1.0, -1, 2, 0.5]])
    # 0.2 of a width of 20 and a height of 40, for each corner.
    assert decode_boxes(delta, anchor, keras_retinanet_config()).tolist() == [[14, 12, 38, 64]]


def test_config_travels_through_json_and_toml(root: Path) -> None:
    for config in (ModelConfig(), keras_retinanet_config(num_classes=16), torchvision_config()):
        assert model_config_from_dict(model_config_to_dict(config)) == config
    for depth in (101, 50, 18):
        config = read_model_config(root / "configs" / f"retinanet_r{depth}.toml")
        assert config == replace(ModelConfig(), backbone=f"resnet{depth}", preprocessing=config.preprocessing)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"backbon": "resnet50"}, "got 'backbon'; the nearest is backbone"),
        ({"backbone": "resnet51"}, "backbone must be one of"),
        ({"preprocessing": {"colour": "RBG"}}, r"colour must be one of RGB, BGR"),
        ({"preprocessing": {"std": [1.0, 0.0, 1.0]}}, "positive stds"),
        ({"preprocessing": {"std": [1.0, math.inf, 1.0]}}, "positive stds"),
        ({"preprocessing": {"mean": [1.0, math.nan, 1.0]}}, "finite means"),
        ({"preprocessing": {"long_side": 10**9}}, "long_side, short_side and multiple must lie in"),
        ({"num_classes": 0}, "num_classes and fpn_channels must lie in"),
        ({"fpn_channels": 2**40}, "num_classes and fpn_channels must lie in"),
        ({"anchor_offset": math.inf}, "anchor_offset finite"),
        ({"anchor_scales": [1.0] * 1000}, "at most 64 anchors"),
        ({"anchor_scales": []}, "none empty"),
        ({"anchor_sizes": [1.0]}, "must hold 5 values"),
        ({"backbone": "resnet18", "stride_in_1x1": True}, "no 1x1 convolution"),
    ],
)
def test_configs_that_are_not_understood_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model_config_from_dict(table)
