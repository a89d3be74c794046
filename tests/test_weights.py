# ruff: noqa: E402 — torch may not be there: without it these tests are skipped.
"""Weight files: what goes in comes out, smaller where asked for, and nothing that is not understood is loaded."""

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the RetinaNet needs the extra [torch]")

from detector.classes import CLASSES
from detector.errors import ModelError, OutputError, UsageError
from detector.quantise import dequantise, quantise
from detector.retinanet import build_retinanet, fold_batch_norm
from detector.retinanet_config import ModelConfig, Preprocessing, keras_retinanet_config
from detector.weights import load_weights, parse_weights, read_weights_info, save_weights

STORAGES = {"float32": 4, "float16": 2, "int8": 1}  # bytes of a number
SMALL = ModelConfig(backbone="resnet18", fpn_channels=32, preprocessing=Preprocessing(long_side=256))


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    model = build_retinanet(SMALL).eval()
    for name, tensor in model.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.uniform_(0.3, 0.7)
    return model


@pytest.fixture(scope="module")
def stored(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in a file of each kind of storage."""
    folder = tmp_path_factory.mktemp("weights")
    for storage in STORAGES:
        save_weights(folder / storage, model, config=SMALL, storage=storage)
    return {storage: folder / storage for storage in STORAGES}


@pytest.fixture(scope="module")
def saved(stored: dict[str, Path]) -> Path:
    return stored["float16"]  # half the bytes to read, hash and write


def rewritten(path: Path, change: Any) -> bytes:
    """Return the file with another header."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def test_float32_comes_back_bit_for_bit(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    sha256 = save_weights(path, model, metadata={"recipe": "by hand", "metrics": {"AP": None}})
    again, info = parse_weights(path.read_bytes())
    assert (info.config, info.classes, info.storage) == (SMALL, CLASSES, "float32")
    assert info.metadata == {"recipe": "by hand", "metrics": {"AP": None}}
    assert info.sha256 == sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_weights_info(path) == info
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor) or name.endswith("num_batches_tracked"), name
    again.train()(torch.randn(2, 3, 64, 64))[0].sum().backward()  # it can be trained further
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_the_file_holds_no_more_than_its_numbers_and_a_header(model: Any, stored: dict[str, Path]) -> None:
    count = sum(tensor.numel() for name, tensor in model.state_dict().items() if tensor.is_floating_point())
    for storage, each in STORAGES.items():
        assert count * each < stored[storage].stat().st_size < count * each * 1.03
        assert read_weights_info(stored[storage]).storage == storage


@pytest.mark.parametrize(("storage", "limit"), [("float16", 2e-3), ("int8", 5e-2)])
def test_smaller_storage_changes_outputs_little(
    model: Any, stored: dict[str, Path], storage: str, limit: float
) -> None:
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(load_weights(stored[storage])(images), model(images), strict=True):
            error = (ours - theirs).std() / theirs.std()
            assert 0 < error < limit


def test_int8_is_right_to_half_a_step_of_each_channel() -> None:
    kernel = torch.randn(8, 4, 3, 3) * torch.logspace(-3, 3, 8).view(-1, 1, 1, 1)
    kernel[5] = 0
    back = dequantise(quantise({"k": kernel, "b": torch.arange(3.0)}, "int8"))
    step = kernel.flatten(1).abs().amax(dim=1) / 127
    assert ((back["k"] - kernel).flatten(1).abs().amax(dim=1) <= step * 0.5001).all()
    assert back["b"].tolist() == [0, 1, 2]


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ModelError, match="must be finite; k is not"):
        quantise({"k": torch.tensor([[float("nan")]])}, "int8")
    with pytest.raises(ModelError, match="store them as float32"):
        quantise({"k": torch.tensor([[1e6]])}, "float16")
    with pytest.raises(UsageError, match="got 'int4'"):
        quantise({}, "int4")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"k": torch.zeros(2, 2, dtype=torch.int8)}, "a scale for each output channel"),
        ({"k": torch.zeros(2, 2, dtype=torch.int8), "k::scale": torch.ones(1)}, "a scale for each output channel"),
        ({"k::scale": torch.ones(2)}, "must belong to an int8 tensor"),
        ({"k": torch.zeros(2, 2), "k::scale": torch.ones(2)}, "must belong to an int8 tensor"),
        ({"k": torch.zeros(2, dtype=torch.int64)}, "k is torch.int64"),
        ({"k": torch.tensor([float("inf")])}, "must be finite"),
    ],
)
def test_broken_storage_is_refused(stored: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        dequantise(stored)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("__metadata__"), "convert foreign weights with: detector import-weights"),
        (lambda h: h["__metadata__"].update(version="2"), "version 1"),
        (lambda h: h["__metadata__"].pop("config"), "`config`, `classes`"),
        (lambda h: h["__metadata__"].update(config="[1]"), "not understood"),
        (lambda h: h["__metadata__"].update(config='{"backbon": "resnet18"}'), "the nearest is backbone"),
        (lambda h: h["__metadata__"].update(classes='["BELLY"]'), "6 different names"),
        (lambda h: h["__metadata__"].update(classes='["BELLY", "B", "C", "D", "E", "F"]'), "got 'B'"),
        (
            lambda h: h.update(other=h.pop("body.conv1.weight")),
            "1 are missing .'body.conv1.weight'.*1 unknown .'other'",
        ),
        (lambda h: h["body.conv1.weight"].update(shape=[32, 6, 7, 7]), "1 of another shape"),
        (lambda h: h.update(__metadata__=[]), "no table of texts"),
        (lambda h: h.update(__metadata__=None), "no table of texts"),
        (lambda h: h["__metadata__"].update(task=["detect"]), "no table of texts"),
        (lambda h: h["__metadata__"].update(config="[" * 100_000), "`config`, `classes`"),
        (lambda h: h["__metadata__"].update(config='{"fpn_channels": 1099511627776}'), r"lie in \[1, 4096\]"),
    ],
)
def test_files_that_are_not_understood_are_refused(saved: Path, change: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_weights(rewritten(saved, change))


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_files_that_were_cut_or_are_something_else_are_refused(saved: Path, cut: int) -> None:
    with pytest.raises(ModelError, match="safetensors file"):
        parse_weights(saved.read_bytes()[:cut])
    with pytest.raises(ModelError, match="safetensors file"):
        parse_weights(b"\x80\x04pickle, or whatever else a file may hold")


def test_paths_that_cannot_be_read_or_written(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be readable"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(OutputError, match="folder of the output must exist"):
        save_weights(tmp_path / "no" / "folder.safetensors", model)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="must be a file"):
        save_weights(tmp_path / "folder", model)
    assert os.listdir(tmp_path) == ["folder"]


def test_classes_and_config_must_be_the_models(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"what the model was built from"):
        save_weights(tmp_path / "x", model, config=ModelConfig())
    with pytest.raises(UsageError, match="6 different names"):
        save_weights(tmp_path / "x", model, metadata={"classes": ["BELLY"] * 6})
    with pytest.raises(ModelError, match="exactly the tensors of its config"):
        save_weights(tmp_path / "x", fold_batch_norm(load_weights_copy(model)))
    many = keras_retinanet_config(backbone="resnet50", fpn_channels=8, num_classes=16)
    with pytest.raises(UsageError, match="must name the 16 classes"):
        save_weights(tmp_path / "x", build_retinanet(many))
    assert not os.listdir(tmp_path)
    names = [f"EXPOSED_{name.removesuffix('_EXPOSED')}" for name in CLASSES[::-1]]
    save_weights(tmp_path / "y", model, metadata={"classes": names})
    assert read_weights_info(tmp_path / "y").classes == CLASSES[::-1]


def load_weights_copy(model: Any) -> Any:
    copy = build_retinanet(model.config)
    copy.load_state_dict(model.state_dict())
    return copy.eval()
