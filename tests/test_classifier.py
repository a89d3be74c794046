# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""The classifiers, their settings, their weight files, and the predictor: small networks, drawn pictures."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the classifiers need the extra [torch]")

from drawn_classes import drawn
from PIL import Image
from safetensors.torch import save_file

from detector.classifier import build_classifier, from_torchvision_classifier, normalise
from detector.classifier_config import (
    STAGES,
    ClassifierConfig,
    ClassifierPreprocessing,
    classifier_config_from_dict,
    classifier_config_to_dict,
)
from detector.classifier_pixels import middle, squares
from detector.classifier_predictor import ClassifierPredictor
from detector.classifier_weights import load_classifier, parse_classifier, read_start, save_classifier, start_from
from detector.errors import DeviceError, InputError, ModelError, UsageError
from detector.picture import Picture
from detector.training.schedule import set_frozen, set_train_mode
from detector.weight_file import pack
from detector.weights import load_weights

TINY = ClassifierConfig(arch="cnn", input_size=32)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return build_classifier(TINY).eval()


@pytest.fixture(scope="module")
def weights(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_classifier(path, model, metadata={"step": 3})
    return path


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"arch": "resnet100"}, "the nearest is resnet101"),
        ({"nsfw_classes": ["pornn"]}, "the nearest is porn"),
        ({"nsfw_classes": []}, "at least one class"),
        ({"nsfw_classes": ["drawings", "hentai", "neutral", "porn", "sexy"]}, "leave one that is safe"),
        ({"nsfw_classes": ["porn", "porn"]}, "each class once"),
        ({"classes": ["a", "a"]}, "two different names"),
        ({"arch": "inception_v3", "input_size": 64}, r"inception_v3 must lie in \[299, 2048\]"),
        ({"preprocessing": {"resize": 200}}, "at least model.input_size"),
        ({"preprocessing": {"fit": "sqash"}}, "the nearest is squash"),
        ({"preprocessing": {"std": [1.0, 1.0, 0.0]}}, "three positive numbers"),
        ({"preprocessing": {"std": [1.0, 1.0, float("inf")]}}, "three positive numbers"),
        ({"preprocessing": {"mean": [1.0, 1.0, float("nan")]}}, "three finite ones"),
        ({"inputsize": 3}, "the nearest is input_size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        classifier_config_from_dict(table)


def test_sizes_follow_the_network() -> None:
    sizes = [(c.input_size, c.resize) for c in (ClassifierConfig(), ClassifierConfig(arch="inception_v3"))]
    assert sizes == [(224, 256), (299, 342)]
    assert ClassifierConfig().nsfw_indices == (1, 3)
    assert classifier_config_from_dict(classifier_config_to_dict(TINY)) == TINY


@pytest.mark.parametrize("arch", list(STAGES))
def test_every_network_has_its_stages_and_as_many_logits_as_classes(arch: str) -> None:
    with torch.device("meta"):
        model = build_classifier(ClassifierConfig(arch=arch))
        side = model.config.input_size
        assert model.eval()(torch.empty(2, 3, side, side)).shape == (2, 5)
    for number in range(len(STAGES[arch]) + 1):
        set_frozen(model, number)
        body = [p.requires_grad for p in model.body.parameters()]
        assert any(body) == (number < len(STAGES[arch])), "the last stage is the end of the body"
    set_train_mode(model, stages=1, freeze_bn=False)
    assert not any(m.training for name in STAGES[arch][0] for m in model.body.get_submodule(name).modules())
    assert model.head.training


def test_inception_has_an_auxiliary_head_in_training_only() -> None:
    with torch.device("meta"):
        model = build_classifier(ClassifierConfig(arch="inception_v3"))
        images = torch.empty(2, 3, 299, 299)
        assert model.eval()(images).shape == (2, 5)
        logits, early = model.train()(images)
    assert logits.shape == early.shape == (2, 5)


def test_torchvisions_weights_give_torchvisions_numbers() -> None:
    import torchvision

    theirs = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    ours = build_classifier(ClassifierConfig(arch="resnet18", input_size=64)).eval()
    ours.load_state_dict(from_torchvision_classifier({f"module.{k}": v for k, v in theirs.state_dict().items()}))
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def test_normalise_is_imagenets() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8)[None, :, None, None]
    wanted = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalise(images, ClassifierPreprocessing()).flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_weights_come_back(model: Any, tmp_path: Path, storage: str) -> None:
    sha256 = save_classifier(tmp_path / "c", model, metadata={"a": 1}, storage=storage)
    again, info = parse_classifier((tmp_path / "c").read_bytes())
    assert (info.config, info.storage, info.metadata, info.sha256) == (TINY, storage, {"a": 1}, sha256)
    assert not again.training
    images = torch.randn(2, 3, 32, 32)
    limit = {"float32": 0, "float16": 1e-2, "int8": 0.1}[storage]
    assert (again(images) - model(images)).abs().max() <= limit


def test_neither_loader_takes_the_others_file(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"task 'detect'; it says 'classify'; load it with .*ClassifierPredictor"):
        load_weights(weights)
    shared = {"storage": "float32", "config": {}, "classes": (), "metadata": {}}
    (tmp_path / "d").write_bytes(pack({}, task="detect", **shared))
    with pytest.raises(ModelError, match=r"task 'classify'; it says 'detect'; load it with detector.weights"):
        load_classifier(tmp_path / "d")
    (tmp_path / "e").write_bytes(pack({}, task="segment", **shared))
    with pytest.raises(ModelError, match=r"it says 'segment'; upgrade retina-censor"):
        load_classifier(tmp_path / "e")


def test_broken_files_are_refused(weights: Path) -> None:
    data = weights.read_bytes()
    with pytest.raises(ModelError, match="safetensors file"):
        parse_classifier(data[:-5])
    with pytest.raises(ModelError, match=r"not understood .*the nearest is cnn"):
        parse_classifier(data.replace(b'\\"cnn\\"', b'\\"cnm\\"'))
    with pytest.raises(ModelError, match="`classes` are"):
        parse_classifier(data.replace(b'"classes":"[\\"drawings', b'"classes":"[\\"drawingx'))


def test_a_start_may_come_from_many_files(model: Any, weights: Path, tmp_path: Path) -> None:
    state = model.state_dict()
    foreign = {
        "fc.weight": torch.zeros(7, 3),
        "conv1.weight": state["body.conv1.weight"],
        "conv1.bias": state["body.conv1.bias"],
    }
    torch.save({"state_dict": foreign, "epoch": 3}, tmp_path / "a.pth")
    save_file(foreign, tmp_path / "a.safetensors")
    save_classifier(tmp_path / "int8", model, storage="int8")
    for path, count in ((tmp_path / "a.pth", 2), (tmp_path / "a.safetensors", 2), (weights, 4), (tmp_path / "int8", 4)):
        other = build_classifier(TINY)
        said = start_from(other, path)
        assert f"init: {count} of 4 tensors" in said
        assert ("random: head.weight" in said) == (count == 2)
        assert torch.allclose(other.body.conv1.weight, model.body.conv1.weight, atol=0.01)
    with pytest.raises(UsageError, match="must hold weights for resnet18; none of"):
        start_from(build_classifier(ClassifierConfig(arch="resnet18")), weights)
    save_file({"conv1.bias": torch.full((32,), float("nan"))}, tmp_path / "nan")
    with pytest.raises(ModelError, match=r"must be finite; body\.conv1\.bias"):
        start_from(build_classifier(TINY), tmp_path / "nan")


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("it ran",))


def test_nothing_in_a_state_dict_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match=r"tensors alone.*it asks for code to be run") as refused:
        read_start(tmp_path / "evil.pth")
    assert "trust" not in str(refused.value), "how to run it all the same"
    assert not capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="it holds a list"):
        read_start(tmp_path / "list.pth")
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="must be safetensors, or"):
        read_start(tmp_path / "x.safetensors")


def test_a_square_is_the_whole_picture_or_its_middle() -> None:
    wide = np.zeros((64, 256, 3), np.uint8)
    wide[:, :64], wide[:, -64:] = 255, 255
    (whole,) = squares(Picture.open(wide), TINY)
    assert whole.shape == (32, 32, 3)
    assert (whole[:, 0] == 255).all()
    cropped = ClassifierConfig(arch="cnn", input_size=32, preprocessing=ClassifierPreprocessing(fit="crop"))
    (inner,) = squares(Picture.open(wide), cropped)
    assert not inner.any()
    assert middle((200, 100), 0.5) == (75, 25, 125, 75)


def test_probabilities_and_score(weights: Path) -> None:
    predictor = ClassifierPredictor.from_file(weights)
    assert (predictor.name, predictor.device) == ("tiny", "cpu")
    assert predictor.class_names == TINY.classes
    assert len(predictor.sha256 or "") == 64
    images = [drawn("circles", 1), np.asarray(drawn("checks", 2)), drawn("noise", 3, 90)] * 5
    rows = predictor.probabilities(images)
    assert len(rows) == 15
    assert all(row.shape == (5,) and row.dtype == np.float32 for row in rows)
    assert [float(row.sum()) for row in rows] == pytest.approx([1] * 15, abs=1e-6)
    assert predictor.score(images) == [pytest.approx(float(row[1] + row[3]), abs=1e-6) for row in rows]
    alone = [predictor.score(image) for image in images[:3]]
    assert alone == pytest.approx(predictor.score(images[:3]), abs=1e-6)
    assert predictor.score([]) == []
    by_hand = load_classifier(weights)(
        normalise(torch.tensor(squares(Picture.open(images[0]), TINY)[0]).permute(2, 0, 1)[None],
                  TINY.preprocessing)
    ).softmax(dim=1)[0]  # fmt: skip
    assert rows[0] == pytest.approx(by_hand.detach().numpy(), abs=1e-6)


def test_of_a_picture_with_alpha_the_higher_look_counts(weights: Path) -> None:
    predictor = ClassifierPredictor.from_file(weights)
    clear = drawn("ramps", 1).convert("RGBA")
    clear.putalpha(drawn("stripes", 2).convert("L"))
    looks = [predictor.score(view) for view in Picture.open(clear).views(64)]
    assert len(set(looks)) == 3
    assert predictor.score(clear) == pytest.approx(max(looks), abs=1e-6)
    batched = predictor.score([Image.new("RGB", (9, 9)), clear, Image.new("RGB", (9, 9))])
    assert batched[1] == pytest.approx(max(looks), abs=1e-6)


def test_several_threads_get_what_one_gets(weights: Path) -> None:
    predictor = ClassifierPredictor.from_file(weights)
    images = [drawn("checks", seed) for seed in range(4)]
    wanted, found = predictor.score(images), {}

    def look(index: int) -> None:
        found[index] = [predictor.score(images) for _ in range(5)]

    threads = [threading.Thread(target=look, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [[wanted] * 5] * 4


def test_what_cannot_be_looked_at_is_an_error(weights: Path, model: Any, tmp_path: Path) -> None:
    predictor = ClassifierPredictor.from_file(weights)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    with pytest.raises(InputError, match=r"broken\.png"):
        predictor.score([drawn("noise", 1), str(tmp_path / "broken.png")])
    nan = load_classifier(weights)
    with torch.no_grad():
        nan.head.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="outputs must be finite"):
        ClassifierPredictor(nan).score(drawn("noise", 1))


def test_bad_arguments_are_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (
        ({"device": "cuba"}, "the nearest is cuda"),
        ({"threads": 0}, "at least 1"),
        ({"precision": "bfloat"}, "the nearest is bfloat16"),
    ):
        with pytest.raises(UsageError, match=message):
            ClassifierPredictor.from_file(weights, **arguments)  # type: ignore[arg-type]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="must be usable by torch"):
        ClassifierPredictor.from_file(weights, device="cuda")


def test_bfloat16_moves_a_score_little(weights: Path) -> None:
    images = [drawn("circles", seed) for seed in range(8)]
    exact = ClassifierPredictor.from_file(weights).score(images)
    rough = ClassifierPredictor.from_file(weights, precision="bfloat16").score(images)
    assert rough != exact
    assert rough == pytest.approx(exact, abs=0.02)
