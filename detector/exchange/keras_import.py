"""NudeNet v2's published detectors (keras-retinanet, ResNet-50, as ONNX) into our RetinaNet.

Layers are known by the names that Keras gave them, wherever an exporter kept these: on the kernel, the bias, the
convolution or what it gives. Kernels may lie as TensorFlow has them (H, W, I, O) with a Transpose behind, or as ONNX
has them; batch norms may be folded, or still stand.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.classes import CLASSES
from detector.errors import ModelError, UsageError
from detector.exchange.imported import Imported, check_class_names, count_classes, fill_model, list_some
from detector.retinanet import RetinaNet
from detector.retinanet_config import ModelConfig, keras_retinanet_config

__all__ = ["NUDENET_V2_CLASSES", "import_keras_onnx", "keras_layer_names"]

# Of detector_v2_default_checkpoint.onnx, as its class file lists them.
NUDENET_V2_CLASSES = (
    "ANUS_EXPOSED",
    "ARMPITS_EXPOSED",
    "BELLY_COVERED",
    "BELLY_EXPOSED",
    "BUTTOCKS_COVERED",
    "BUTTOCKS_EXPOSED",
    "FACE_FEMALE",
    "FACE_MALE",
    "FEET_COVERED",
    "FEET_EXPOSED",
    "FEMALE_BREAST_COVERED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_COVERED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
)
_KNOWN_CLASSES = {len(CLASSES): CLASSES, len(NUDENET_V2_CLASSES): NUDENET_V2_CLASSES}

# Floating-point constants of the post-processing are small (the largest are nine cell anchors: 36 numbers); anything
# above belongs to a layer, or is not understood.
MAX_CONSTANT = 64

# protobuf reads no more than 2 GiB; these detectors have some 150 MB.
MAX_BYTES = 1 << 30

_LAYER = re.compile(
    r"conv1|res[2-5][a-f]_branch(?:1|2[abc])|C[3-5]_reduced|P[3-7]|pyramid_(?:classification|regression)(?:_[0-3])?"
)
_BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}


def keras_layer_names() -> dict[str, tuple[str, str | None]]:
    """Return for each convolution of keras-retinanet's ResNet-50: ours, and our norm behind it (None: a bias)."""
    names: dict[str, tuple[str, str | None]] = {"conv1": ("body.conv1", "body.bn1")}
    for stage, blocks in _BLOCKS.items():
        for block in range(blocks):
            theirs, ours = f"res{stage}{'abcdef'[block]}_branch", f"body.layer{stage - 1}.{block}"
            for number, letter in enumerate("abc", start=1):
                names[f"{theirs}2{letter}"] = (f"{ours}.conv{number}", f"{ours}.bn{number}")
            if block == 0:
                names[f"{theirs}1"] = (f"{ours}.downsample.0", f"{ours}.downsample.1")
    for index, level in enumerate((3, 4, 5)):
        names[f"C{level}_reduced"] = (f"fpn.inner_blocks.{index}.0", None)
        names[f"P{level}"] = (f"fpn.layer_blocks.{index}.0", None)
    for level in (6, 7):
        names[f"P{level}"] = (f"fpn.extra_blocks.p{level}", None)
    for theirs, ours, last in (
        ("classification", "classification_head", "cls_logits"),
        ("regression", "regression_head", "bbox_reg"),
    ):
        for index in range(4):
            names[f"pyramid_{theirs}_{index}"] = (f"head.{ours}.conv.{index}.0", None)
        names[f"pyramid_{theirs}"] = (f"head.{ours}.{last}", None)
    return names


@dataclass(frozen=True, eq=False)
class _Layer:
    """One convolution of the file, its batch norm folded in."""

    weight: NDArray[np.float32]  # (O, I, H, W)
    bias: NDArray[np.float32]  # (O,)
    strides: tuple[int, ...]


@dataclass(eq=False)
class _Graph:
    """An ONNX graph, its constants at hand."""

    nodes: Sequence[Any]
    constants: dict[str, Any]
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.makers = {output: node for node in self.nodes for output in node.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the constant behind a name, through what exporters put between; None when it is none."""
        from onnx import numpy_helper

        if name in self.constants:
            self.used.add(name)
            return np.asarray(numpy_helper.to_array(self.constants[name]))
        node = self.makers.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(_attribute(node, "value")))
        if node.op_type not in ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast"):
            return None
        inner = self.constant(node.input[0])
        if inner is None:
            return None
        if node.op_type == "Transpose":
            return inner.transpose(_attribute(node, "perm"))
        if node.op_type == "Reshape":
            shape = self.constant(node.input[1])
            return None if shape is None else inner.reshape([int(side) for side in shape])
        # The others change no number's place in memory; a bias is flattened where it is used.
        return inner


def _attribute(node: Any, name: str, default: Any = None) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(part) for part in node.attribute if part.name == name), default)


def import_keras_onnx(path: Path, class_names: Sequence[str] | None = None) -> Imported:
    """Read `detector_v2_base_checkpoint.onnx`, `detector_v2_default_checkpoint.onnx`, or another of their kind.

    Args:
        path: the ONNX file; one with external data is refused.
        class_names: in the order of the labels; None takes NudeNet v2's for 6 and for 16 classes.

    Raises:
        ModelError: when the file cannot be read, or is not a keras-retinanet ResNet-50 with nine anchors: the message
            names the layers that are unknown, missing, or of another shape or stride.
        UsageError: when `onnx` is not installed, or the class names do not fit.
    """
    what = path.name
    graph = _read(path)
    layers = _layers(graph, what)
    _check_rest(graph, what)
    names = keras_layer_names()
    missing = [name for name in names if name not in layers]
    if missing:
        raise ModelError(f"{what}: a keras-retinanet ResNet-50 must be complete; {list_some(missing)} are missing")
    channels = len(layers["pyramid_classification"].bias)
    config = keras_retinanet_config(num_classes=count_classes(channels, what))
    state: dict[str, Tensor] = {}
    for name, (conv, norm) in names.items():
        state |= _to_state(layers[name], conv, norm, config)
    model = fill_model(config, state, what)
    _check_strides(model, layers, what)
    classes = check_class_names(class_names, config.num_classes, _KNOWN_CLASSES.get(config.num_classes), what)
    return Imported(model=model, class_names=classes, origin="keras-retinanet")


def _read(path: Path) -> _Graph:
    """Parse the file; nothing else is opened, whatever it says."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise UsageError("reading ONNX weights needs onnx; it is not installed; type: pip install onnx") from error
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(f"{path} must have at most {MAX_BYTES} bytes; it has {size}")
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"the weights must be readable; {path} is not ({error.strerror or error})") from error
    except ModelError:
        raise
    except Exception as error:  # protobuf's DecodeError has no public home that stays
        raise ModelError(f"{path} must be an ONNX file; it cannot be parsed: {error}") from error
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    tensors = [
        *constants.values(),
        *(part.t for node in model.graph.node for part in node.attribute if part.HasField("t")),
    ]
    outside = [
        tensor.name for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data
    ]
    if outside:
        raise ModelError(
            f"{path} must hold all its weights itself; {list_some(outside)} lie in other files; "
            "save it again with onnx.save(..., save_as_external_data=False)"
        )
    if not model.graph.node:
        raise ModelError(f"{path} must be an ONNX file with a graph; it has no nodes")
    return _Graph(list(model.graph.node), constants)


def _known_name(texts: Iterator[str]) -> str | None:
    """Return the first layer that one of the names speaks of: any part between slashes, or the batch norm behind it."""
    for text in texts:
        for part in reversed(re.split(r"[/:;]", text)):
            name = re.sub(r"^bn_?(?=conv1$)", "", part)
            name = re.sub(r"^bn(?=[2-5][a-f]_branch)", "res", name)
            if _LAYER.fullmatch(name):
                return name
    return None


def _layers(graph: _Graph, what: str) -> dict[str, _Layer]:
    """Return every convolution by its Keras name; the heads' stand five times in the graph, once for each level."""
    layers: dict[str, _Layer] = {}
    unknown = []
    for node in graph.nodes:
        if node.op_type != "Conv":
            continue
        name = _known_name(text for text in (*node.input[1:], node.name, *node.output) if text)
        kernel = graph.constant(node.input[1])
        if name is None or kernel is None or kernel.ndim != 4:
            unknown.append(f"{node.name or node.output[0]} (weights {node.input[1]})")
            continue
        layer = _fold(graph, node, kernel, name, what)
        known = layers.setdefault(name, layer)
        if known is not layer and not all(
            np.array_equal(getattr(known, part), getattr(layer, part)) for part in ("weight", "bias", "strides")
        ):
            raise ModelError(f"{what}: {name} must have the same weights wherever it is used; it has not")
    if unknown:
        raise ModelError(
            f"{what}: every convolution must be one of keras-retinanet's ResNet-50; unknown: {list_some(unknown)}"
        )
    return layers


def _fold(graph: _Graph, node: Any, weight: NDArray[Any], name: str, what: str) -> _Layer:
    """Return a convolution with its bias: its own, that of an Add behind it, or what a batch norm behind it makes."""
    group, dilations = _attribute(node, "group", 1), _attribute(node, "dilations", [1, 1])
    if group != 1 or any(step != 1 for step in dilations):
        raise ModelError(
            f"{what}: {name} must be a plain convolution; it has group {group} and dilations {list(dilations)}"
        )
    bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    behind = graph.readers.get(node.output[0], [])
    if len(behind) == 1 and behind[0].op_type == "BatchNormalization":
        parts = [graph.constant(part) for part in behind[0].input[1:5]]
        if any(part is None for part in parts):
            raise ModelError(f"{what}: the batch norm behind {name} must hold constants; it does not")
        gain, offset, mean, variance = (np.asarray(part, dtype=np.float64) for part in parts)
        factor = gain / np.sqrt(variance + _attribute(behind[0], "epsilon", 1e-5))
        weight = weight.astype(np.float64) * factor[:, None, None, None]
        bias = offset + ((0 if bias is None else bias.astype(np.float64)) - mean) * factor
    elif bias is None and len(behind) == 1 and behind[0].op_type == "Add":
        found = [graph.constant(part) for part in behind[0].input if part != node.output[0]]
        bias = found[0] if found else None
    if bias is None:
        raise ModelError(f"{what}: {name} must have a bias or a batch norm behind it; it has neither")
    strides = tuple(int(step) for step in _attribute(node, "strides", [1, 1]))
    # Copies: torch wants arrays that it may write to, and the file's are read-only.
    return _Layer(np.array(weight, np.float32, order="C"), np.array(bias, np.float32).reshape(-1), strides)


def _check_rest(graph: _Graph, what: str) -> None:
    """Raise when the file holds weights that no layer used."""
    import onnx

    floating = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
    left = [
        name
        for name, tensor in graph.constants.items()
        if name not in graph.used and tensor.data_type in floating and int(np.prod(tensor.dims)) > MAX_CONSTANT
    ]
    if left:
        raise ModelError(f"{what}: every tensor must belong to a keras-retinanet ResNet-50; unknown: {list_some(left)}")


def _to_state(layer: _Layer, conv: str, norm: str | None, config: ModelConfig) -> dict[str, Tensor]:
    """Return one layer's tensors by our names; a norm is made to add the bias and to change nothing else."""
    weight, bias = torch.from_numpy(layer.weight), torch.from_numpy(layer.bias)
    if norm is None:
        return {f"{conv}.weight": weight, f"{conv}.bias": bias}
    one = torch.ones_like(bias)
    return {
        f"{conv}.weight": weight,
        f"{norm}.weight": one,
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": one - config.norm_eps,  # the norm adds epsilon to it
    }


def _check_strides(model: RetinaNet, layers: dict[str, _Layer], what: str) -> None:
    modules = dict(model.named_modules())
    for name, (conv, _) in keras_layer_names().items():
        module = modules[conv]
        assert isinstance(module, nn.Conv2d)
        if tuple(module.stride) != layers[name].strides:
            raise ModelError(f"{what}: {name} must have the stride {tuple(module.stride)}; got {layers[name].strides}")
