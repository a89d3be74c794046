"""A RetinaNet as one ONNX file: any batch, any size in whole steps, no NMS; proven equal to torch when written."""

import json
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.atomic import write_atomic
from detector.errors import ModelError, UsageError
from detector.exchange.onnx_format import INPUT, METADATA_KEY, OUTPUT, OnnxHeader
from detector.retinanet import RetinaNet, SameConv2d, SameMaxPool2d, fold_batch_norm

__all__ = ["OPSET", "export_onnx", "quantize_int8"]

# The lowest that torch's exporter writes without converting, and every ONNX Runtime that we support reads.
OPSET = 18

# Largest difference of a logit or delta between torch and the file on random pictures, by how its numbers are kept: in
# float32 it is some 1e-5, in float16 some 1e-2.
PARITY: Mapping[str, float] = {"float32": 1e-3, "float16": 5e-2}

# Smaller tensors stay as they are: halving them saves nothing.
_HALVED_FROM_BYTES = 4096

# Sides are a step times at most so much, pictures in a batch at most so many: bounds that the exporter wants.
MAX_STEPS, MAX_BATCH = 256, 1024

# Where TensorFlow's SAME is asked for, its padding is the same for all sides that are multiples of 128.
STEP, SAME_STEP = 32, 128

# The last layers of the heads stay in float32: their outputs' range is all noise to an 8-bit scale.
LAST_LAYERS = ("cls_logits", "bbox_reg")


class _OneOutput(nn.Module):
    """The network with its two outputs side by side: (B, A, K + 4)."""

    def __init__(self, model: RetinaNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.model(images), dim=2)


class _PaddedEven(nn.Module):
    """A 3x3 step of stride 2 that pads as SAME does for even sides: below and to the right."""

    def __init__(self, inner: nn.Module, value: float) -> None:
        super().__init__()
        self.inner, self.value = inner, value

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(nn.functional.pad(x, [0, 1, 0, 1], value=self.value))


def _static(model: RetinaNet) -> RetinaNet:
    """Return a folded copy whose paddings are constants; equal for sides that are multiples of 128."""
    model = deepcopy(model).cpu().float()
    fold_batch_norm(model.eval())
    for holder in list(model.modules()):
        for name, child in list(holder.named_children()):
            if isinstance(child, SameConv2d):
                plain = nn.Conv2d(child.in_channels, child.out_channels, child.kernel_size, child.stride)
                plain.load_state_dict(child.state_dict())
                setattr(holder, name, _PaddedEven(plain, 0.0))
            elif isinstance(child, SameMaxPool2d):
                setattr(holder, name, _PaddedEven(nn.MaxPool2d(child.kernel_size, child.stride), -torch.inf))
    model.eval()
    return model


def export_onnx(
    model: RetinaNet,
    path: Path,
    *,
    class_names: Sequence[str],
    metadata: Mapping[str, str] | None = None,
    storage: str = "float32",
) -> float:
    """Write a model as ONNX and prove that it gives what torch gives.

    The file's input `images` is (B, 3, H, W) float32, normalised as the config in its metadata says, H and W multiples
    of 32 (of 128 where the config has `same_padding`). Its output `predictions` is (B, A, K + 4): the logits of the K
    classes, then the four deltas of each anchor.

    Args:
        model: any; it is not changed.
        path: where to write to.
        class_names: K of them.
        metadata: further texts that are kept in the file, for example where the weights come from.
        storage: `float32`, or `float16` for a file of half the size: its numbers become float32 when it is loaded.

    Returns:
        The largest difference between the two on random pictures.

    Raises:
        UsageError: when a package is missing, or there are not K class names.
        ModelError: when the two differ by more than `PARITY` allows; nothing is written.
        OutputError: when the file cannot be written.
    """
    header = OnnxHeader(
        config=model.config,
        class_names=tuple(class_names),
        step=SAME_STEP if model.config.same_padding else STEP,
        quantized=False,
        extra=dict(metadata or {}),
    )
    proto = _convert(_OneOutput(_static(model)).eval(), header)
    if storage == "float16":
        _halve(proto.graph)
    data: bytes = proto.SerializeToString()
    difference = _parity(model, data, header.step, PARITY[storage])
    write_atomic(path, data)
    return difference


def _convert(network: nn.Module, header: OnnxHeader) -> Any:
    """Return the ModelProto, its metadata set."""
    try:
        import onnx
        import onnxscript  # noqa: F401  (what torch's exporter needs)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"exporting needs {error.name}; it is not installed; type: pip install onnx onnxscript"
        ) from error
    sides = [torch.export.Dim(name, min=1, max=MAX_STEPS) for name in ("rows", "columns")]
    shapes = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH), 2: header.step * sides[0], 3: header.step * sides[1]}
    # Sizes that differ, and none of them one: an exporter takes ones and equal sides for constants.
    example = torch.zeros(2, 3, 2 * header.step, 3 * header.step)
    with warnings.catch_warnings():
        # The exporter's notes on its own inside say nothing to who exports.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=({**shapes},),
        )
    proto = program.model_proto
    written = {entry.version for entry in proto.opset_import if entry.domain == ""}
    if written != {OPSET}:
        raise ModelError(f"the exporter must write opset {OPSET}; it wrote {written}; upgrade torch and onnxscript")
    _forget_where(proto.graph)
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(header.to_dict())})
    return proto


def _forget_where(graph: Any) -> None:
    """Drop the exporter's stack traces: they tell strangers the paths of the machine that exported."""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""


def _halve(graph: Any) -> None:
    """Keep the larger float32 constants as float16, each behind a Cast that ONNX Runtime works out when it loads."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.raw_data) < _HALVED_FROM_BYTES:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _parity(model: RetinaNet, data: bytes, step: int, limit: float) -> float:
    """Return the largest difference of the file's outputs from torch's, on two batches of random pictures."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    original = deepcopy(model).cpu().float().eval()
    worst = 0.0
    for batch, rows, columns in ((1, 2, 1), (2, 1, 2)):
        images = torch.randn(batch, 3, rows * step, columns * step, generator=random)
        images = images * torch.tensor(_typical_std(model)).view(1, 3, 1, 1)
        with torch.inference_mode():
            wanted = torch.cat(original(images), dim=2).numpy()
        given = session.run([OUTPUT], {INPUT: images.numpy()})[0]
        if given.shape != wanted.shape or not np.isfinite(given).all():
            raise ModelError(f"the exported file must give finite {wanted.shape}; it gives {given.shape}")
        worst = max(worst, float(np.abs(given - wanted).max()))
    if not worst <= limit:
        raise ModelError(
            f"the exported file must agree with torch to {limit}; it differs by {worst:.2g}; nothing was written; "
            "report this with the versions of torch, onnxscript and onnxruntime"
        )
    return worst


def _typical_std(model: RetinaNet) -> list[float]:
    """Return how much pictures vary in each channel of the input: about a quarter of the range of pixels."""
    table = model.config.preprocessing
    return [64 * table.scale / std for std in table.std]


def quantize_int8(source: Path, target: Path, images: Sequence[NDArray[np.float32]]) -> tuple[float, float]:
    """Write an exported file again with 8-bit convolutions, for CPUs; the heads' last layers stay in float32.

    Args:
        source: from `export_onnx`.
        target: where to write to.
        images: (1, 3, H, W) network inputs of pictures like those to come: they fix the ranges of the activations.

    Returns:
        What it changed on these images: the mean and the largest difference of a score (after the sigmoid).

    Raises:
        UsageError: when there are no images.
        OutputError: when the file cannot be written.
    """
    import tempfile

    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not images:
        raise UsageError("int8 needs pictures to measure the ranges on; give --calibration FOLDER with some dozens")

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.rest, None)
            return None if image is None else {INPUT: image}

    original = source.read_bytes()
    proto = onnx.ModelProto.FromString(original)
    header = OnnxHeader.read(original, source.name)
    skip = [
        node.name
        for node in proto.graph.node
        if node.op_type == "Conv" and any(last in name for last in LAST_LAYERS for name in node.input)
    ]
    with tempfile.TemporaryDirectory() as folder:
        written, prepared = Path(folder) / "int8.onnx", Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            written,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Without VNNI two 8-bit products can overflow 16 bits; seven bits cannot.
            reduce_range=True,
            nodes_to_exclude=skip,
        )
        proto = onnx.ModelProto.FromString(written.read_bytes())
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(header.as_quantized().to_dict())})
    data: bytes = proto.SerializeToString()
    sessions = [onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"]) for part in (original, data)]
    changes = []
    for image in images:
        before, after = (
            1 / (1 + np.exp(-session.run([OUTPUT], {INPUT: image})[0][..., : len(header.class_names)]))
            for session in sessions
        )
        changes.append((float(np.abs(after - before).mean()), float(np.abs(after - before).max())))
    write_atomic(target, data)
    return float(np.mean([mean for mean, _ in changes])), max(worst for _, worst in changes)
