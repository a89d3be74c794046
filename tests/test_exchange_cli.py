"""`detector import-weights` and `detector export`, from the command line to a picture looked at."""

import shutil
from pathlib import Path

import pytest
import torch
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import detector
from detector.classes import CLASSES
from detector.cliparts import run_command
from detector.exchange.cli import export, import_weights
from detector.exchange.onnx_predictor import OnnxRetinaNet
from detector.weights import load_weights, read_weights_info

ROOT = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    path = tmp_path_factory.mktemp("cli") / "model.pth"
    torch.save(RetinaNet(backbone, num_classes=6).state_dict(), path)
    return path


def test_an_import_is_saved_with_its_classes(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.safetensors"
    names = ",".join(reversed(CLASSES))
    assert run_command(import_weights, "x", [str(checkpoint), "--out", str(out), "--classes", names]) == 0
    info = read_weights_info(out)
    assert info.classes == tuple(reversed(CLASSES))
    assert info.metadata["origin"] == "torchvision"
    ours, theirs = load_weights(out).state_dict(), torch.load(checkpoint, weights_only=True)
    assert torch.equal(ours["fpn.extra_blocks.p7.weight"], theirs["backbone.fpn.extra_blocks.p7.weight"])


def test_what_is_no_retinanet_or_has_no_names_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert run_command(import_weights, "x", [str(checkpoint), "--out", str(out)]) == 2
    assert "give --classes" in capsys.readouterr().err
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    assert run_command(import_weights, "x", [str(tmp_path / "other.pth"), "--out", str(out)]) == 1
    assert "it holds fc.weight" in capsys.readouterr().err
    assert not out.exists()
    assert run_command(export, "x", [str(checkpoint), str(tmp_path / "a.onnx"), "--int8"]) == 2
    assert "must be given together" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_are_stored_smaller(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, small = tmp_path / "ours.safetensors", tmp_path / "small.safetensors"
    run_command(import_weights, "x", [str(checkpoint), "--out", str(weights), "--classes", ",".join(CLASSES)])
    assert run_command(export, "x", [str(weights), str(small), "--storage", "int8"]) == 0
    assert "int8" in capsys.readouterr().out
    assert small.stat().st_size < 0.27 * weights.stat().st_size
    before, after = read_weights_info(weights), read_weights_info(small)
    assert after.classes == before.classes
    assert after.metadata["origin"] == "torchvision"
    assert after.metadata["stored_from"] == before.sha256
    one, other = load_weights(weights).state_dict(), load_weights(small).state_dict()
    off = max(float((one[name] - other[name]).abs().max() / one[name].abs().max().clamp(min=1e-9)) for name in one)
    assert 0 < off < 0.01
    for wrong in ([str(small), "--int8", "--calibration", "."], [str(weights)], ["a.bin"]):
        assert run_command(export, "x", [str(weights), *wrong]) == 2
    assert run_command(export, "x", [str(weights), "a.onnx", "--storage", "int8"]) == 2


@pytest.mark.slow
def test_an_export_looks_at_pictures(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, out = tmp_path / "ours.safetensors", tmp_path / "ours.onnx"
    run_command(import_weights, "x", [str(checkpoint), "--out", str(weights), "--classes", ",".join(CLASSES)])
    picture = next((ROOT / "data" / "mannequins").glob("*.jpg"))
    (tmp_path / "photos").mkdir()
    shutil.copy(picture, tmp_path / "photos")
    assert run_command(export, "x", [str(weights), str(out)]) == 0
    assert "opset 18, differs from torch by at most" in capsys.readouterr().out
    predictor = detector.load(str(out))
    assert isinstance(predictor, OnnxRetinaNet)
    assert len(predictor.detect(picture, score_thresh=0.005, detections_per_img=5)) <= 5
    assert predictor.config == read_weights_info(weights).config
