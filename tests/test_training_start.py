# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""open_nsfw inside full ResNets: the same features, each twice, and twins that learn apart."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [torch]")
pytest.importorskip("onnx")

from detector.errors import UsageError
from detector.retinanet import build_retinanet
from detector.retinanet_config import ModelConfig, Preprocessing
from detector.thin_body import ThinBody
from detector.training.start import start_from

BGR = Preprocessing(colour="BGR", scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), long_side=64, multiple=64)
CONFIG = ModelConfig(norm="frozen", stride_in_1x1=True, same_padding=True, fpn_channels=32, preprocessing=BGR)


@pytest.mark.parametrize("backbone", ["resnet50", pytest.param("resnet101", marks=pytest.mark.slow)])
def test_a_full_resnet_computes_what_open_nsfw_computes_and_then_learns_more(backbone: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 96) * 50
    model = build_retinanet(dataclasses.replace(CONFIG, backbone=backbone))
    assert start_from(model, "open-nsfw") == "init: the backbone from open-nsfw; random: fpn and head"
    found = model.body(images)
    with torch.no_grad():
        truth = ThinBody.pretrained()(images)
    for level, features in found.items():
        twice = truth[level].repeat(1, 2, 1, 1)
        assert twice.std() > 0.01
        torch.testing.assert_close(features, twice, rtol=1e-3, atol=1e-3 * float(twice.std()))
    (found["c5"].square().sum() + found["c3"].square().sum()).backward()
    for name in ("layer1.0.conv2", "layer4.2.conv3", "conv1"):
        gradient = model.body.get_submodule(name).weight.grad
        assert gradient.abs().max() > 0
        if name == "layer1.0.conv2":  # a twin whose later weights are other shares has another gradient
            half = len(gradient) // 2
            assert not torch.allclose(gradient[:half], gradient[half:], rtol=1e-2)
    if backbone == "resnet101":  # a block that adds nothing yet, but is asked to
        assert model.body.layer3[22].conv3.weight.abs().max() == 0
        assert model.body.layer3[22].conv3.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet18", "stride_in_1x1": False}, "the same blocks; got resnet18"),
        ({"norm": "batch"}, r"model.norm = 'frozen' \(got 'batch'\)"),
        ({"same_padding": False, "stride_in_1x1": False}, "model.stride_in_1x1 = True.*model.same_padding = True"),
        ({"preprocessing": Preprocessing()}, "model.preprocessing.colour = 'BGR'.*model.preprocessing.mean"),
        (
            {"backbone": "resnet50_thin", "same_padding": False, "preprocessing": Preprocessing()},
            "model.preprocessing.colour",
        ),
    ],
)
def test_settings_under_which_its_weights_mean_something_else_are_refused(
    changes: dict[str, object], message: str
) -> None:
    config = dataclasses.replace(CONFIG, **{"backbone": "resnet50", **changes})  # type: ignore[arg-type]
    with torch.device("meta"):
        model = build_retinanet(config)
    with pytest.raises(UsageError, match=message):
        start_from(model, "open-nsfw")
