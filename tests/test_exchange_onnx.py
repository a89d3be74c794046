"""Export to ONNX, and the predictor for it that needs no torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import detector
from detector.anchors import anchors_for, decode_boxes
from detector.classes import CLASSES
from detector.detections import Detections
from detector.errors import ModelError, UsageError
from detector.exchange import onnx_export
from detector.exchange.onnx_export import export_onnx, quantize_int8
from detector.exchange.onnx_format import OnnxHeader
from detector.exchange.onnx_maths import anchors_array, decode_array
from detector.exchange.onnx_predictor import OnnxRetinaNet
from detector.preprocess import network_input, prepare
from detector.retinanet import RetinaNet, build_retinanet
from detector.retinanet_config import ModelConfig, Preprocessing, keras_retinanet_config, torchvision_config
from detector.retinanet_postprocess import postprocess
from detector.weights import save_weights
from tests.manifest_entries import entry_of

SMALL = ModelConfig(backbone="resnet18", fpn_channels=32, preprocessing=Preprocessing(long_side=128, multiple=64))
# Logits differ by some 1e-5 between the two; a score by a quarter of that, a box of 100 px by 1e-3 px.
SCORE_TOLERANCE, BOX_TOLERANCE = 1e-4, 1e-2


@pytest.fixture(scope="module")
def model() -> RetinaNet:
    torch.manual_seed(0)
    net = build_retinanet(SMALL)
    with torch.no_grad():
        images = torch.randn(4, 3, 128, 128)
        net(images)  # batch norms that saw something
        net.eval()
        # Scores that vary around one half, instead of the focal prior's constant 0.01; moved boxes.
        logits, deltas = net(images)
        net.head.classification_head.cls_logits.weight.div_(logits.std())
        net.head.classification_head.cls_logits.bias.zero_()
        net.head.regression_head.bbox_reg.weight.div_(5 * deltas.std())
        net.head.regression_head.bbox_reg.bias.fill_(0.01)
    return net


@pytest.fixture(scope="module")
def exported(model: RetinaNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    assert export_onnx(model, path, class_names=CLASSES, metadata={"origin": "test"}) < 1e-4
    return path


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = [(90, 130), (128, 40), (60, 61), (1, 1)]
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in sizes]


@pytest.mark.slow
def test_detections_are_those_of_torch(model: RetinaNet, exported: Path) -> None:
    predictor = OnnxRetinaNet.from_file(exported)
    found = predictor.detect(pictures(), score_thresh=0.6, nms_thresh=0.5)
    assert sum(map(len, found)) > 20
    for picture, ours in zip(pictures(), found, strict=True):
        prepared = prepare(picture, SMALL.preprocessing, 32)
        plan = prepared.plan
        with torch.inference_mode():
            logits, deltas = model(torch.from_numpy(network_input(prepared, SMALL.preprocessing))[None])
        boxes, scores, labels = postprocess(
            logits,
            deltas,
            anchors_for(SMALL, plan.network_size),
            [plan.content],
            score_thresh=0.6,
            nms_thresh=0.5,
            topk_candidates=1000,
            detections_per_img=300,
            config=SMALL,
            network_size=plan.network_size,
        )[0]
        assert isinstance(ours, Detections)
        assert ours.labels.tolist() == labels.tolist()
        np.testing.assert_allclose(ours.scores, scores.numpy(), atol=SCORE_TOLERANCE)
        source = plan.to_source(boxes.numpy(), picture.shape[:2])
        np.testing.assert_allclose(ours.boxes, source, atol=BOX_TOLERANCE)


@pytest.mark.slow
def test_it_finds_what_the_weights_find_in_torch(model: RetinaNet, exported: Path, tmp_path: Path) -> None:
    weights = tmp_path / "small.safetensors"
    save_weights(weights, model)
    files = [str(file) for file in sorted((Path(__file__).parent / "data" / "mannequins").glob("*.jpg"))[:4]]
    ours = detector.load(str(exported)).detect(files, score_thresh=0.6)
    theirs = detector.load(str(weights)).detect(files, score_thresh=0.6)
    assert sum(map(len, ours)) > 20
    for one, other in zip(ours, theirs, strict=True):
        # Scores that differ in the last digits may change places: each has its own on the other side.
        sure = one.above(0.6 + SCORE_TOLERANCE)
        for name, score, box in zip(sure.names, sure.scores, sure.boxes, strict=True):
            same = [index for index, known in enumerate(other.names) if known == name]
            off = np.abs(other.boxes[same] - box).max(axis=1)
            nearest = same[int(off.argmin())]
            assert off.min() < 5 * BOX_TOLERANCE
            assert abs(other.scores[nearest] - score) < SCORE_TOLERANCE


@pytest.mark.slow
def test_what_is_asked_for_is_what_is_found(exported: Path) -> None:
    predictor = OnnxRetinaNet.from_file(exported)
    picture = pictures()[0]
    assert predictor.class_names == CLASSES
    assert predictor.name == "small"
    unbounded = {"topk_candidates": 10_000, "detections_per_img": 10_000}
    everything = predictor.detect(picture, score_thresh=0.55, **unbounded)
    belly = predictor.detect(picture, classes=["BELLY"], score_thresh={"BELLY_EXPOSED": 0.55}, **unbounded)
    assert set(belly.names) == {"BELLY_EXPOSED"}
    assert belly.scores.tolist() == everything.of_classes(["BELLY"]).scores.tolist()
    assert len(predictor.detect(picture, score_thresh=1.0)) == 0
    assert len(predictor.detect(picture, score_thresh=0.0, detections_per_img=7)) == 7
    assert len(predictor.detect(picture, score_thresh=0.55, tiles=True)) > 0
    assert predictor.detect([], score_thresh=0.5) == []
    for wrong in ({"classes": "BELLY"}, {"score_thresh": 1.5}, {"score_thresh": {"BELLY": 0.5}}, {"nms_thresh": -1}):
        with pytest.raises(UsageError):
            predictor.detect(picture, **wrong)


@pytest.mark.slow
def test_a_file_does_not_say_where_it_was_made(exported: Path) -> None:
    content = exported.read_bytes()
    assert b".py" not in content
    assert str(Path(onnx_export.__file__).parent).encode() not in content


@pytest.mark.slow
def test_half_the_numbers_make_half_the_file(model: RetinaNet, exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    difference = export_onnx(model, path, class_names=CLASSES, storage="float16")
    assert 1e-5 < difference < 5e-2
    assert path.stat().st_size < 0.6 * exported.stat().st_size
    ours, theirs = (detector.load(str(file)).detect(pictures()[0], score_thresh=0.6) for file in (path, exported))
    assert len(theirs) > 5
    for one, other in ((ours, theirs), (theirs, ours)):
        for box in one.boxes[one.scores > 0.62]:
            assert np.abs(other.boxes - box).max(axis=1).min() < 1.0


@pytest.mark.slow
def test_it_loads_from_the_manifest(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_path = detector.load(str(exported))
    entry = entry_of(exported, name="small-onnx", engine="retinanet-onnx")
    assert entry.sha256 == by_path.sha256
    monkeypatch.setattr(
        "detector.models.list_models", lambda: [entry, replace(entry, name="wrong", classes=("BELLY",))]
    )
    monkeypatch.setattr("detector.models.weights_dir", lambda: exported.parent)
    found = detector.load("small-onnx").detect(pictures()[0], score_thresh=0.6)
    assert found.model == "small-onnx"
    assert found.scores.tolist() == by_path.detect(pictures()[0], score_thresh=0.6).scores.tolist()
    with pytest.raises(ModelError, match="must have the classes"):
        detector.load("wrong")


@pytest.mark.slow
def test_no_torch_is_needed(exported: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np\n"
        "from detector.exchange.onnx_predictor import OnnxRetinaNet\n"
        f"print(len(OnnxRetinaNet.from_file({str(exported)!r}).detect(np.zeros((9, 9, 3), np.uint8))))"
    )
    root = Path(__file__).resolve().parent.parent
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("image_size", [(128, 256), (104, 72)])
@pytest.mark.parametrize("config", [SMALL, keras_retinanet_config(), torchvision_config()])
def test_anchors_and_boxes_are_those_of_torch(config: ModelConfig, image_size: tuple[int, int]) -> None:
    anchors, levels = anchors_array(config, image_size)
    wanted = anchors_for(config, image_size)
    assert sum(levels) == len(wanted)
    np.testing.assert_allclose(anchors, wanted.numpy(), atol=1e-3)
    deltas = np.random.default_rng(0).normal(0, 2, anchors.shape).astype(np.float32)
    boxes = decode_boxes(torch.from_numpy(deltas), wanted, config).numpy()
    np.testing.assert_allclose(decode_array(deltas, anchors, config), boxes, rtol=1e-4, atol=1e-2)


def test_padding_is_zero_and_colours_are_in_order() -> None:
    table = keras_retinanet_config().preprocessing
    prepared = prepare(np.full((400, 100, 3), (255, 0, 0), np.uint8), table, 32)
    plan = prepared.plan
    # Short side 800 would make the long one 3200: the bound of 1333 holds.
    assert plan.content == (1333, 333)
    assert plan.network_size == (1408, 384)
    images = network_input(prepared, table)
    np.testing.assert_allclose(images[:, 5, 5], [-103.939, -116.779, 255 - 123.68], atol=1e-3)
    assert not images[:, 1333:].any()
    assert not images[:, :, 333:].any()


@pytest.mark.slow
def test_a_file_that_differs_from_torch_is_not_written(
    model: RetinaNet, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    proto = onnx.load(exported)
    bias = next(t for t in proto.graph.initializer if "bbox_reg.bias" in t.name)
    changed = onnx.numpy_helper.to_array(bias) + np.float32(0.01)
    bias.CopyFrom(onnx.numpy_helper.from_array(changed, bias.name))
    monkeypatch.setattr(onnx_export, "_convert", lambda *_: proto)
    with pytest.raises(ModelError, match=r"must agree with torch to 0.001; it differs by 0.01; nothing was written"):
        export_onnx(model, tmp_path / "out.onnx", class_names=CLASSES)
    assert not (tmp_path / "out.onnx").exists()
    with pytest.raises(UsageError, match="must be 6 different names"):
        export_onnx(model, tmp_path / "out.onnx", class_names=CLASSES[:5])


@pytest.mark.slow
def test_the_metadata_is_read_or_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    header = OnnxHeader.read(exported.read_bytes(), "small")
    assert header.config == SMALL
    assert (header.step, header.quantized, header.extra) == (32, False, {"origin": "test"})
    proto = onnx.load(exported)
    del proto.metadata_props[:]
    for content in (proto.SerializeToString(), b"", b"nothing of the kind", exported.read_bytes()[:100]):
        (tmp_path / "other.onnx").write_bytes(content)
        with pytest.raises(ModelError, match="other must be a RetinaNet written by `detector export`"):
            OnnxRetinaNet.from_file(tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="must be readable"):
        OnnxRetinaNet.from_file(tmp_path / "absent.onnx")


@pytest.mark.slow
def test_int8_says_what_it_changed(exported: Path, tmp_path: Path) -> None:
    table = SMALL.preprocessing
    images = [network_input(prepare(picture, table, 32), table)[None] for picture in pictures()]
    mean, worst = quantize_int8(exported, tmp_path / "int8.onnx", images)
    assert 0 < mean < 0.05
    assert mean < worst < 0.5
    assert (tmp_path / "int8.onnx").stat().st_size < 0.6 * exported.stat().st_size
    assert OnnxHeader.read((tmp_path / "int8.onnx").read_bytes(), "int8").quantized
    predictor = OnnxRetinaNet.from_file(tmp_path / "int8.onnx")
    assert len(predictor.detect(pictures()[0], score_thresh=0.6)) > 0
    with pytest.raises(UsageError, match="needs pictures"):
        quantize_int8(exported, tmp_path / "none.onnx", [])


@pytest.mark.slow
def test_keras_padding_survives_export(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = keras_retinanet_config(fpn_channels=32)
    assert export_onnx(build_retinanet(config), tmp_path / "keras.onnx", class_names=CLASSES) < 1e-3
    assert OnnxHeader.read((tmp_path / "keras.onnx").read_bytes(), "keras").step == 128
