# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""open_nsfw's stages as a backbone: the same features, and a network that trains and stores like the others."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the RetinaNet needs the extra [torch]")
pytest.importorskip("onnx")

from detector.anchors import anchors_for
from detector.errors import UsageError
from detector.resnet_thin import load_resnet_thin
from detector.retinanet import build_retinanet, fold_batch_norm
from detector.retinanet_config import ModelConfig, Preprocessing
from detector.thin_body import ThinBody
from detector.weights import load_weights, save_weights

BGR = Preprocessing(
    colour="BGR", scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), long_side=128, multiple=64
)
CONFIG = ModelConfig(backbone="resnet50_thin", norm="frozen", stride_in_1x1=True, fpn_channels=32, preprocessing=BGR)


@torch.inference_mode()
def test_features_are_open_nsfws() -> None:
    images = torch.randn(1, 3, 224, 224) * 40
    features = ThinBody.pretrained()(images)
    assert [tuple(one.shape[1:]) for one in features.values()] == [(256, 28, 28), (512, 14, 14), (1024, 7, 7)]
    assert torch.equal(features["c5"], load_resnet_thin().features(images))


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 128), (96, 160)])
def test_it_is_a_retinanet_like_the_others(size: tuple[int, int], tmp_path: Path) -> None:
    model = build_retinanet(CONFIG).eval()
    images = torch.randn(2, 3, *size)
    before = model(images)
    assert before[0].shape[1] == len(anchors_for(CONFIG, size))
    save_weights(tmp_path / "thin.safetensors", model)
    again = fold_batch_norm(load_weights(tmp_path / "thin.safetensors").eval())
    for one, other in zip(before, again(images), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "batch"},
        {"stride_in_1x1": False},
        {"same_padding": True},
        {"preprocessing": Preprocessing(multiple=16)},
    ],
)
def test_settings_that_it_does_not_have_are_refused(changes: dict[str, object]) -> None:
    table = {"backbone": "resnet50_thin", "norm": "frozen", "stride_in_1x1": True, **changes}
    with pytest.raises(UsageError, match="resnet50_thin must have"):
        ModelConfig(**table)
