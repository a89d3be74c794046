# ruff: noqa: E402 — torch and Captum may not be there: without them these tests are skipped.
"""Explanations by gradients against plain autograd and hand-made networks; the adapter; the three networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="gradients need the extra [explain]")
pytest.importorskip("captum", reason="gradients need the extra [explain]")

import torchvision
from captum.attr import Occlusion
from test_retinanet_predictor import lively, picture
from torch import nn

from detector.classifier import build_classifier
from detector.classifier_config import ClassifierConfig, ClassifierPreprocessing
from detector.classifier_weights import save_classifier
from detector.errors import UsageError
from detector.explain.adapter import with_relu_modules
from detector.explain.api import explain
from detector.explain.gradients import attribute
from detector.explain.networks import BestAnchor, Explained, LogOdds, load_explained
from detector.explain.occlusion import GREY, occlusion_map
from detector.picture import Picture
from detector.weights import save_weights

METHODS = ("grad-cam", "guided-backprop", "deconvolution")


class Tiny(nn.Module):
    """Two convolutions whose one ReLU module is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(inplace=True)
        self.head = nn.Linear(5, 1)

    def forward(self, images: Any) -> Any:
        return self.head(self.relu(self.b(self.relu(self.a(images)))).mean(dim=(2, 3)))[:, 0]


class Rule(torch.autograd.Function):
    """ReLU whose gradient is a rule of the two papers."""

    @staticmethod
    def forward(ctx: Any, x: Any, guided: bool) -> Any:
        ctx.save_for_backward(x)
        ctx.guided = guided
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad.clamp(min=0) * ((x > 0) if ctx.guided else 1), None


def tiny() -> tuple[Tiny, Explained]:
    network = with_relu_modules(Tiny().eval())
    inputs = torch.randn(1, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    return network, Explained(network, network.b, inputs, (0, 0, 7, 9), (9, 7), "nsfw", "tiny")


@pytest.mark.parametrize("method", ["guided-backprop", "deconvolution"])
def test_changed_gradients_are_the_papers_rules(method: str) -> None:
    network, explained = tiny()
    x = explained.inputs.clone().requires_grad_()
    guided = method == "guided-backprop"
    inner = Rule.apply(network.b(Rule.apply(network.a(x), guided)), guided)
    network.head(inner.mean(dim=(2, 3))).sum().backward()
    plain = explained.inputs.clone().requires_grad_()
    network(plain).sum().backward()
    expected = x.grad[0].abs().amax(dim=0).numpy()
    np.testing.assert_allclose(attribute(explained, method), expected, rtol=1e-5, atol=1e-8)
    assert not np.allclose(expected, plain.grad[0].abs().amax(dim=0).numpy())


def test_grad_cam_is_the_papers_formula() -> None:
    network, explained = tiny()
    maps = network.b(network.relu(network.a(explained.inputs))).detach().requires_grad_()
    network.head(network.relu(maps).mean(dim=(2, 3))).sum().backward()
    expected = (maps.grad.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1)[0].clamp(min=0).detach().numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(attribute(explained, "grad-cam"), expected, rtol=1e-4, atol=1e-7)


def test_padding_is_cut_off() -> None:
    _, whole = tiny()
    part = Explained(whole.network, whole.layer, whole.inputs, whole.box, (5, 6), "nsfw", "tiny")
    for method in METHODS:
        np.testing.assert_array_equal(attribute(part, method), attribute(whole, method)[:5, :6])


def functional_relus(network: nn.Module, inputs: Any) -> int:
    """Count ReLUs of the forward pass that no nn.ReLU module made."""
    inside, outside = [0], [0]

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is nn.functional.relu and not inside[0]:
                outside[0] += 1
            return func(*args, **(kwargs or {}))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            hooks.append(module.register_forward_pre_hook(lambda *_: inside.__setitem__(0, inside[0] + 1)))
            hooks.append(module.register_forward_hook(lambda *_: inside.__setitem__(0, inside[0] - 1)))
    with Mode(), torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return outside[0]


def networks() -> list[tuple[nn.Module, Any]]:
    torch.manual_seed(0)
    five = ClassifierConfig(arch="cnn", input_size=64)
    block = torchvision.models.inception.InceptionA(8, 4)
    small = torch.rand(1, 3, 64, 64)
    return [
        (lively(), torch.rand(1, 3, 128, 128)),
        (build_classifier(five), small),
        (block, torch.rand(1, 8, 12, 12) - 0.5),
    ]


def test_the_adapter_changes_no_output_and_leaves_no_functional_relu() -> None:
    counts = []
    for network, inputs in networks():
        network.eval()
        adapted = with_relu_modules(network)
        with torch.no_grad():
            before, after = network(inputs.clone()), adapted(inputs.clone())
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one, other)
        counts.append((functional_relus(network, inputs) > 0, functional_relus(adapted, inputs)))
        assert not any(module.inplace for module in adapted.modules() if isinstance(module, nn.ReLU))
    assert counts == [(True, 0), (False, 0), (True, 0)]


def test_log_odds_and_anchors() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]])
    odds = LogOdds(nn.Identity(), [0, 2])(logits)
    assert odds.sigmoid().item() == pytest.approx(logits.softmax(1)[0, [0, 2]].sum().item())
    net: Any = lambda images: (images, None)  # noqa: E731

    class Net(nn.Module):
        def forward(self, images: Any) -> Any:
            return net(images)

    scores = torch.tensor([[[1.0, -5.0], [3.0, 9.0]]])
    assert BestAnchor(Net(), [0])(scores).tolist() == [3]
    assert BestAnchor(Net(), [0], 0.5)(scores).tolist() == [4]
    assert BestAnchor(Net(), [0], 5.0)(scores).tolist() == [3]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_weights(folder / "boxes.safetensors", lively())
    crop = ClassifierPreprocessing(fit="crop", resize=72)
    five = build_classifier(ClassifierConfig(arch="cnn", input_size=64, preprocessing=crop)).eval()
    save_classifier(folder / "five.safetensors", five)
    return {name: str(folder / f"{name}.safetensors") for name in ("boxes", "five")}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["boxes", "five"])
def test_files_of_ours(files: dict[str, str], name: str, method: str) -> None:
    for size in ((96, 128), (1, 1), (5, 300)) if method == "grad-cam" else ((5, 90),):
        found = explain(picture(size), model=files[name], method=method)
        assert found.heat.shape == size
        assert (found.model, found.target) == (name, "nsfw")
        assert found.heat.min() >= 0
    assert method == "grad-cam" or found.heat.max() > 0


def test_the_scores_are_the_predictors(files: dict[str, str]) -> None:
    from detector.scorers import load_scorer

    image = picture((96, 128))
    for name in files:
        expected = load_scorer(files[name]).score(image)
        assert explain(image, model=files[name], method="grad-cam").score == pytest.approx(expected, abs=1e-4)


def test_targets_and_models(files: dict[str, str]) -> None:
    image = Picture.open(picture((96, 128)))
    assert load_explained(image, files["five"], "PORN", "cpu").target == "porn"
    assert load_explained(image, files["boxes"], "F_BREAST_EXPOSED", "cpu").target == "FEMALE_BREAST_EXPOSED"
    with pytest.raises(UsageError, match="porn"):
        load_explained(image, files["five"], "pron", "cpu")
    with pytest.raises(UsageError, match="occlusion"):
        load_explained(image, "nudenet-320n", None, "cpu")
    one, many = (explain(picture((96, 128)), model=files["boxes"], method="grad-cam", above=t) for t in (None, 0.1))
    assert one.score == many.score, "the score is that of the best anchor, whatever is summed"
    assert not np.array_equal(one.heat, many.heat)
    with pytest.raises(UsageError, match=r"\(0, 1\)"):
        load_explained(image, files["boxes"], None, "cpu", 1.0)
    for model, method in (("five", "grad-cam"), ("boxes", "occlusion")):
        with pytest.raises(UsageError, match="anchors to sum"):
            explain(image, model=files[model], method=method, above=0.5)
    with pytest.raises(UsageError, match="device"):
        load_explained(image, files["five"], None, "tpu")


def test_occlusion_agrees_with_captums_where_both_can_be_asked() -> None:
    frame = picture((24, 32))

    def share(images: Any) -> Any:
        return images.float().pow(2).mean(dim=(1, 2, 3)) / 65025

    ours, _ = occlusion_map(
        frame,
        lambda many: share(torch.from_numpy(np.stack(many)).permute(0, 3, 1, 2)).tolist(),
        window=8,
        stride=4,
    )
    inputs = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    theirs = Occlusion(share).attribute(inputs, (3, 8, 8), strides=(3, 4, 4), baselines=GREY)
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_open_nsfw(tmp_path: Path) -> None:
    from detector.open_nsfw import load_open_nsfw

    image = picture((120, 200))
    for method in METHODS:
        found = explain(image, method=method)
        assert found.heat.shape == (120, 200)
        assert found.score == pytest.approx(load_open_nsfw().score(image), abs=1e-4)
        assert found.heat[0].max() == 0, "outside of the crop that the network sees"
