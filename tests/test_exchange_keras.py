"""NudeNet v2's files: an ONNX graph of the same names, shapes and semantics gives what our imported model gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from keras_graph import KerasGraph, keras_anchors
from onnx import helper, numpy_helper

from detector.anchors import anchors_for, decode_boxes
from detector.classes import ALL_CLASSES, CLASSES
from detector.errors import ModelError, UsageError
from detector.exchange.imported import check_class_names
from detector.exchange.keras_import import NUDENET_V2_CLASSES, import_keras_onnx, keras_layer_names

# Levels of 13 x 9, 7 x 5, 4 x 3, 2 x 2 and 1 x 1 cells: padding falls on even and on odd sides.
IMAGE_SIZE = (104, 72)
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "detector_v2_base_checkpoint.onnx"
    path.write_bytes(KerasGraph("folded").build().SerializeToString())
    return path


def check_agreement(path: Path, class_names: tuple[str, ...]) -> None:
    """Run the file and our import of it on one picture; logits, deltas and boxes must be the same."""
    imported = import_keras_onnx(path)
    assert imported.class_names == class_names
    images = np.random.default_rng(1).normal(0, 60, (2, *IMAGE_SIZE, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    classification, regression = session.run(["classification", "regression"], {"input_1": images})
    with torch.inference_mode():
        logits, deltas = imported.model(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert logits.shape == classification.shape
    # A check of the check: the numbers vary, and are neither tiny nor huge.
    assert 0.2 < classification.std() < 50
    assert 0.2 < regression.std() < 50
    np.testing.assert_allclose(logits.numpy(), classification, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(deltas.numpy(), regression, rtol=TOLERANCE, atol=TOLERANCE)
    anchors = keras_anchors(IMAGE_SIZE)
    sides = np.tile(anchors[:, 2:] - anchors[:, :2], 2)
    boxes = anchors + regression[0] * 0.2 * sides
    ours = decode_boxes(deltas[0], anchors_for(imported.config, IMAGE_SIZE), imported.config)
    np.testing.assert_allclose(ours.numpy(), boxes, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
def test_the_base_detector_gives_the_same(folded: Path) -> None:
    check_agreement(folded, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["anonymous", "norms"])
def test_other_exporters_give_the_same(tmp_path: Path, style: str) -> None:
    path = tmp_path / "default.onnx"
    path.write_bytes(KerasGraph(style, num_classes=16, seed=3).build().SerializeToString())
    check_agreement(path, NUDENET_V2_CLASSES)


def test_class_names_are_canonical_and_can_be_given() -> None:
    assert set(NUDENET_V2_CLASSES) <= set(ALL_CLASSES)
    assert len(set(NUDENET_V2_CLASSES)) == 16
    with pytest.raises(UsageError, match="6 classes; --classes must name each"):
        check_class_names(["FACE_F"], 6, CLASSES, "a.onnx")
    with pytest.raises(UsageError, match="each of them once"):
        check_class_names(["FACE_F", "FACE_FEMALE"], 2, None, "a.onnx")
    with pytest.raises(UsageError, match="does not say what its 3 classes are"):
        check_class_names(None, 3, None, "a.onnx")
    spelled = ["FACE_F", "FACE_M", "F_BREAST", "M_GENETALIA"]
    wanted = ("FACE_FEMALE", "FACE_MALE", "FEMALE_BREAST_EXPOSED", "MALE_GENITALIA_EXPOSED")
    assert check_class_names(spelled, 4, None, "a.onnx") == wanted


def rename(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.name == "res3b_branch2b/BiasAdd":
            node.name, node.input[1], node.input[2] = "stray", "stray/kernel", "stray/bias"
            node.output[0] = "stray/out"


def drop(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Relu", ["input_1"], ["out"]))
    del model.graph.initializer[:]


def add_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((9, 9), np.float32), "extra/kernel"))


def move_stride(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.name == "P6/BiasAdd":
            next(part for part in node.attribute if part.name == "strides").ints[:] = [1, 1]


def put_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"


def no_number(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "P7/bias")
    tensor.CopyFrom(numpy_helper.from_array(np.full(256, np.nan, np.float32), "P7/bias"))


def reshape(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "P7/kernel":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((1, 1, 256, 256), np.float32), "P7/kernel"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(rename, "unknown: stray", marks=pytest.mark.slow),
        pytest.param(drop, "must be complete; C3_reduced", marks=pytest.mark.slow),
        pytest.param(add_weights, "unknown: extra/kernel", marks=pytest.mark.slow),
        pytest.param(move_stride, r"P6 must have the stride \(2, 2\); got \(1, 1\)", marks=pytest.mark.slow),
        pytest.param(put_outside, "hold all its weights itself; .* lie in other files", marks=pytest.mark.slow),
        pytest.param(no_number, "p7.bias must hold finite numbers", marks=pytest.mark.slow),
        pytest.param(
            reshape, r"p7.weight must have the shape \(256, 256, 3, 3\); got \(256, 256, 1, 1\)", marks=pytest.mark.slow
        ),
    ],
)
def test_what_is_not_understood_is_named(
    folded: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    model = onnx.ModelProto.FromString(folded.read_bytes())
    change(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message):
        import_keras_onnx(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"\x93NUMPY not a model at all")
    with pytest.raises(ModelError, match="must be an ONNX file"):
        import_keras_onnx(path)
    with pytest.raises(ModelError, match="must be readable"):
        import_keras_onnx(tmp_path / "absent.onnx")


def test_every_layer_has_a_place_of_its_own() -> None:
    names = keras_layer_names()
    places = [place for pair in names.values() for place in pair if place is not None]
    assert len(set(places)) == len(places)
    # 53 convolutions of the ResNet, 8 of the pyramid, 10 of the heads.
    assert len(names) == 53 + 8 + 10
