"""A keras-retinanet ResNet-50 as an ONNX graph with random weights, written from its definition: for import tests.

Layers, paddings and strides are those of NudeNet v2's published files; TensorFlow's SAME is ONNX's SAME_UPPER, so
that the runtime and not our model says what it means.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

# How much of a residual branch is added: keeps the sums of sixteen blocks near one.
BRANCH_GAIN = 0.3
# The input's numbers are some 60 large; the last layers' outputs are to be a few units.
FIRST_GAIN = 1 / 60
LAST_GAIN = 0.3
EPSILON = 1e-3


class KerasGraph:
    """Collects nodes and weights.

    Args:
        style: `folded`: TensorFlow's names and (H, W, I, O) kernels, batch norm folded; `anonymous`: what tf2onnx
            leaves, numbered kernels as ONNX has them and names only on the nodes; `norms`: batch norms still stand.
        num_classes: K.
        seed: of the weights.
    """

    def __init__(self, style: str = "folded", num_classes: int = 6, seed: int = 0) -> None:
        self.style, self.num_classes = style, num_classes
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}

    def tensor(self, name: str, values: NDArray[np.generic]) -> str:
        if self.style == "anonymous":
            name = f"const_fold_opt__{len(self.tensors)}"
        self.tensors[name] = numpy_helper.from_array(values, name)
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def conv(self, x: str, name: str, shape: tuple[int, int, int, int], *, where: str = "", **options: object) -> str:
        """Add a convolution; `shape` is TensorFlow's (H, W, I, O), `where` the submodel that it stands in."""
        height, width, inputs, outputs = shape
        backbone = name.startswith(("conv1", "res"))
        first = not any(key.startswith(f"{name}/") for key in self.made)
        if first:
            gain = float(options.pop("gain", 1.0))
            scale = np.float32(gain * np.sqrt(2 / (height * width * inputs)))
            kernel = self.rng.standard_normal(shape, dtype=np.float32) * scale
            bias = self.rng.standard_normal(outputs, dtype=np.float32) * np.float32(0.1)
            hwio = self.style == "folded"
            suffix = ("convolution_weights", "convolution_bn_offset") if backbone else ("kernel", "bias")
            self.made[f"{name}/kernel"] = self.tensor(
                f"{name}/{suffix[0]}", kernel if hwio else np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            )
            if self.style != "norms" or not backbone:
                self.made[f"{name}/bias"] = self.tensor(f"{name}/{suffix[1]}", bias)
        options.pop("gain", None)
        prefix = f"retinanet-bbox/{where}{name}" if self.style == "anonymous" else f"{where}{name}"
        kernel_name = self.made[f"{name}/kernel"]
        if self.style == "folded":
            kernel_name = self.node("Transpose", [kernel_name], f"{prefix}/transposed", perm=[3, 2, 0, 1])
        if self.style == "norms" and backbone:
            given = self.node("Conv", [x, kernel_name], f"{prefix}/convolution", **options)
            parts = [self.rng.uniform(0.5, 1.5, outputs), self.rng.normal(0, 0.1, outputs)]
            parts += [self.rng.normal(0, 0.1, outputs), self.rng.uniform(0.5, 1.5, outputs)]
            bn = name.replace("res", "bn") if name.startswith("res") else "bn_conv1"
            names = [self.tensor(f"{bn}/{i}", part.astype(np.float32)) for i, part in enumerate(parts)]
            return self.node("BatchNormalization", [given, *names], f"{bn}/FusedBatchNormV3", epsilon=EPSILON)
        return self.node("Conv", [x, kernel_name, self.made[f"{name}/bias"]], f"{prefix}/BiasAdd", **options)

    def build(self) -> onnx.ModelProto:
        """Return the model: NHWC in; `classification` (N, A, K) before the sigmoid and `regression` (N, A, 4) out."""
        self.made: dict[str, str] = {}
        x = self.node("Transpose", ["input_1"], "nchw", perm=[0, 3, 1, 2])
        # Keras pads the first convolution by 3 on each side, then convolves without padding: the same as pads of 3.
        x = self.relu(self.conv(x, "conv1", (7, 7, 3, 64), gain=FIRST_GAIN, strides=[2, 2], pads=[3] * 4))
        x = self.node("MaxPool", [x], "pool1", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
        stages = {}
        for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=2):
            for block in range(blocks):
                x = self.bottleneck(x, f"res{stage}{'abcdef'[block]}", width, stage, first=block == 0)
            stages[stage] = x
        return self.model(self.heads(self.pyramid(stages[3], stages[4], stages[5])))

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], f"{x}/relu")

    def bottleneck(self, x: str, name: str, width: int, stage: int, *, first: bool) -> str:
        inputs = (64 if stage == 2 else width * 2) if first else width * 4
        strides = [2, 2] if first and stage > 2 else [1, 1]
        y = self.relu(self.conv(x, f"{name}_branch2a", (1, 1, inputs, width), strides=strides))
        y = self.relu(self.conv(y, f"{name}_branch2b", (3, 3, width, width), pads=[1] * 4))
        y = self.conv(y, f"{name}_branch2c", (1, 1, width, width * 4), gain=BRANCH_GAIN)
        if first:
            x = self.conv(x, f"{name}_branch1", (1, 1, inputs, width * 4), strides=strides)
        return self.node("Relu", [self.node("Add", [y, x], f"{name}/add")], f"{name}_relu/Relu")

    def pyramid(self, c3: str, c4: str, c5: str) -> list[str]:
        same = {"auto_pad": "SAME_UPPER"}
        p5 = self.conv(c5, "C5_reduced", (1, 1, 2048, 256))
        p4 = self.merge(self.conv(c4, "C4_reduced", (1, 1, 1024, 256)), p5, "P4")
        p3 = self.merge(self.conv(c3, "C3_reduced", (1, 1, 512, 256)), p4, "P3")
        levels = [self.conv(x, f"P{i}", (3, 3, 256, 256), **same) for i, x in ((3, p3), (4, p4), (5, p5))]
        p6 = self.conv(c5, "P6", (3, 3, 2048, 256), strides=[2, 2], **same)
        p7 = self.conv(self.relu(p6), "P7", (3, 3, 256, 256), strides=[2, 2], **same)
        return [*levels, p6, p7]

    def merge(self, x: str, upper: str, name: str) -> str:
        """Add the upper level, brought to the size of `x` as TensorFlow 1 takes the nearest."""
        size = self.node("Shape", [x], f"{name}/size")
        up = self.node(
            "Resize",
            [upper, "", "", size],
            f"{name}/upsampled",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        return self.node("Add", [up, x], f"{name}_merged/add")

    def heads(self, levels: list[str]) -> dict[str, str]:
        outputs = {}
        for head, size, channels in (("classification", self.num_classes, 9 * self.num_classes), ("regression", 4, 36)):
            shape = self.tensor(f"{head}/shape", np.array([0, -1, size], dtype=np.int64))
            parts = []
            for index, x in enumerate(levels):
                where = f"{head}_submodel{f'_{index}' if index else ''}/"
                for step in range(4):
                    name = f"pyramid_{head}_{step}"
                    x = self.relu(self.conv(x, name, (3, 3, 256, 256), where=where, auto_pad="SAME_UPPER"))
                x = self.conv(
                    x, f"pyramid_{head}", (3, 3, 256, channels), where=where, gain=LAST_GAIN, auto_pad="SAME_UPPER"
                )
                nhwc = self.node("Transpose", [x], f"{where}nhwc", perm=[0, 2, 3, 1])
                parts.append(self.node("Reshape", [nhwc, shape], f"{where}reshaped"))
            outputs[head] = self.node("Concat", parts, head, axis=1)
        return outputs

    def model(self, outputs: dict[str, str]) -> onnx.ModelProto:
        given = [helper.make_tensor_value_info("input_1", onnx.TensorProto.FLOAT, ["N", "H", "W", 3])]
        wanted = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs.values()]
        graph = helper.make_graph(self.nodes, "keras-retinanet", given, wanted, list(self.tensors.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def keras_anchors(image_size: tuple[int, int]) -> NDArray[np.float64]:
    """Return (A, 4) as keras-retinanet places them: around the middle of each cell, ratio by ratio, scale by scale."""
    rows = []
    for level in range(3, 8):
        stride = 2**level
        cells = []
        for ratio in (0.5, 1, 2):
            for scale in (1, 2 ** (1 / 3), 2 ** (2 / 3)):
                side = stride * 4 * scale
                width, height = np.sqrt(side * side / ratio), np.sqrt(side * side * ratio)
                cells.append([-width / 2, -height / 2, width / 2, height / 2])
        for y in range(-(-image_size[0] // stride)):
            for x in range(-(-image_size[1] // stride)):
                middle = np.array([x + 0.5, y + 0.5] * 2) * stride
                rows += list(np.array(cells) + middle)
    return np.array(rows)
