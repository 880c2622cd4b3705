# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Which networks are compiled and run? The zoo's nine and five more, as ONNX with seeded weights.

Nothing is downloaded and torch is not needed: the five are written down here as
their papers and torch's exporter have them, batch norms folded. Kernels are
He-normal for what stands before them, so activations keep a scale near 1.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

import splitc
from splitc import zoo

INPUT = "image"
RESULT = "result"


class Net:
    """Appends nodes one after the other; every method returns the name of what it makes.

    Args:
        size: Height and width of the one input, which has three channels.
        seed: Of numpy's PCG64; the same seed gives the same weights everywhere.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.shape = (1, 3, size, size)
        self.nodes: list[NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels: dict[str, int] = {INPUT: 3}
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def node(self, op: str, *inputs: str, channels: int = 0, **attributes: Any) -> str:
        """A node with one result, which has the channels of its first input unless given."""
        made = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [made], made, **attributes))
        self.channels[made] = channels or self.channels[inputs[0]]
        return made

    def constant(self, values: Any, dtype: type[np.generic] = np.float32) -> str:
        """A stored tensor."""
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def normal(self, *shape: int, std: float) -> str:
        """A stored tensor of normal noise."""
        return self.constant(self._rng.standard_normal(shape, np.float32) * np.float32(std))

    def conv(
        self, x: str, channels: int, kernel: int = 1, *,
        stride: int = 1, groups: int = 1, pad: int | None = None, act: str = "",
    ) -> str:  # fmt: skip
        """A convolution with a bias, then `act`; pads half the kernel unless `pad` is given."""
        depth = self.channels[x] // groups
        pad = kernel // 2 if pad is None else pad
        std = math.sqrt((2 if act else 1) / (depth * kernel * kernel))
        made = self.node(
            "Conv", x, self.normal(channels, depth, kernel, kernel, std=std),
            self.normal(channels, std=0.1), channels=channels, group=groups,
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, dilations=[1, 1],
        )  # fmt: skip
        return self.activate(made, act)

    def up_conv(self, x: str, channels: int) -> str:
        """A transposed convolution that doubles height and width, 2x2 with stride 2."""
        depth = self.channels[x]
        weight = self.normal(depth, channels, 2, 2, std=math.sqrt(1 / depth))
        return self.node(
            "ConvTranspose", x, weight, self.normal(channels, std=0.1),
            channels=channels, kernel_shape=[2, 2], strides=[2, 2],
        )  # fmt: skip

    def activate(self, x: str, act: str) -> str:
        """Relu, relu6, silu, sigmoid, or nothing, as torch exports them."""
        if act == "relu6":
            return self.node("Clip", x, self.constant(0), self.constant(6))
        if act == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node(act.capitalize(), x) if act else x

    def pool(self, x: str, kernel: int = 2, pad: int = 0) -> str:
        """A maximum pool with stride 2."""
        return self.node(
            "MaxPool", x, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[pad] * 4
        )  # fmt: skip

    def classify(self, x: str) -> str:
        """The mean of each channel, then 1000 classes."""
        return self.fc(self.node("Flatten", self.node("GlobalAveragePool", x), axis=1))

    def fc(self, x: str, classes: int = 1000) -> str:
        """A fully connected layer with a bias."""
        depth = self.channels[x]
        weight = self.normal(classes, depth, std=math.sqrt(1 / depth))
        bias = self.normal(classes, std=0.1)
        return self.node("Gemm", x, weight, bias, channels=classes, transB=1)

    def linear(self, x: str, units: int) -> str:
        """A matrix product over the last axis and a bias, as torch exports `nn.Linear` in 3-D."""
        depth = self.channels[x]
        weight = self.normal(depth, units, std=math.sqrt(1 / depth))
        made = self.node("MatMul", x, weight, channels=units)
        return self.node("Add", self.normal(units, std=0.1), made, channels=units)

    def layer_norm(self, x: str) -> str:
        """Layer normalisation over the last axis."""
        width = self.channels[x]
        scale, shift = self.normal(width, std=1), self.normal(width, std=0.1)
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)

    def gelu(self, x: str) -> str:
        """GELU through the error function."""
        erf = self.node("Erf", self.node("Div", x, self.constant(math.sqrt(2))))
        product = self.node("Mul", x, self.node("Add", erf, self.constant(1)))
        return self.node("Mul", product, self.constant(0.5))

    def reshape(self, x: str, *shape: int, channels: int = 0) -> str:
        """A view of another shape."""
        return self.node("Reshape", x, self.constant(shape, np.int64), channels=channels)

    def model(self, result: str, *shape: int) -> ModelProto:
        """Everything appended so far, with one result."""
        self.node("Identity", result)
        self.nodes[-1].output[0] = RESULT
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(INPUT, kind, self.shape)],
            [helper.make_tensor_value_info(RESULT, kind, shape)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mobilenet_v2(seed: int = 0) -> ModelProto:
    """MobileNetV2 1.0 at 224."""
    net = Net(224, seed)
    x = net.conv(INPUT, 32, 3, stride=2, act="relu6")
    for factor, channels, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            grown = factor * net.channels[x]
            inside = net.conv(x, grown, act="relu6") if factor > 1 else x
            stride = 1 if k else first_stride
            inside = net.conv(inside, grown, 3, stride=stride, groups=grown, act="relu6")
            made = net.conv(inside, channels)
            x = net.node("Add", x, made) if k else made
    return net.model(net.classify(net.conv(x, 1280, act="relu6")), 1, 1000)


def resnet18(seed: int = 0) -> ModelProto:
    """ResNet-18 at 224."""
    net = Net(224, seed)
    x = net.pool(net.conv(INPUT, 64, 7, stride=2, act="relu"), 3, pad=1)
    for channels in (64, 128, 256, 512):
        for k in range(2):
            changes = k == 0 and channels > 64
            stride = 2 if changes else 1
            made = net.conv(x, channels, 3, stride=stride, act="relu")
            made = net.conv(made, channels, 3)
            past = net.conv(x, channels, stride=stride) if changes else x
            x = net.node("Relu", net.node("Add", made, past))
    return net.model(net.classify(x), 1, 1000)


def efficientnet_b0(seed: int = 0) -> ModelProto:
    """EfficientNet-B0 at 224, with squeeze-and-excitation by a quarter of each block's input."""
    net = Net(224, seed)
    x = net.conv(INPUT, 32, 3, stride=2, act="silu")
    for factor, kernel, channels, repeats, first_stride in (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            taken = net.channels[x]
            grown = factor * taken
            inside = net.conv(x, grown, act="silu") if factor > 1 else x
            stride = 1 if k else first_stride
            inside = net.conv(inside, grown, kernel, stride=stride, groups=grown, act="silu")
            gate = net.conv(net.node("GlobalAveragePool", inside), taken // 4, act="silu")
            gate = net.conv(gate, grown, act="sigmoid")
            made = net.conv(net.node("Mul", gate, inside), channels)
            x = net.node("Add", made, x) if k else made
    return net.model(net.classify(net.conv(x, 1280, act="silu")), 1, 1000)


def vit_s16(seed: int = 0) -> ModelProto:
    """ViT-S/16 at 224: 12 layers of width 384 with 6 heads, 196 patches and a class token."""
    net = Net(224, seed)
    width, patches = 384, 14 * 14
    x = net.reshape(net.conv(INPUT, width, 16, stride=16, pad=0), 1, width, patches)
    x = net.node("Transpose", x, perm=[0, 2, 1])
    token = net.normal(1, 1, width, std=1)
    x = net.node("Concat", token, x, channels=width, axis=1)
    x = net.node("Add", x, net.normal(1, patches + 1, width, std=0.5))
    for _ in range(12):
        x = net.node("Add", x, _attention(net, net.layer_norm(x), patches + 1, heads=6))
        inside = net.gelu(net.linear(net.layer_norm(x), 4 * width))
        x = net.node("Add", x, net.linear(inside, width))
    first = net.constant(0, np.int64)
    return net.model(net.fc(net.node("Gather", net.layer_norm(x), first, axis=1)), 1, 1000)


def _attention(net: Net, x: str, length: int, heads: int) -> str:
    """Self-attention of several heads: one product makes queries, keys and values."""
    width = net.channels[x]
    each = width // heads
    joint = net.reshape(net.linear(x, 3 * width), 1, length, 3, heads, each, channels=each)
    joint = net.node("Transpose", joint, perm=[2, 0, 3, 1, 4])
    query, key, value = (
        net.node("Gather", joint, net.constant(k, np.int64), axis=0) for k in range(3)
    )
    query = net.node("Mul", query, net.constant(1 / math.sqrt(each)))
    key = net.node("Transpose", key, perm=[0, 1, 3, 2])
    weights = net.node("Softmax", net.node("MatMul", query, key, channels=length), axis=-1)
    mixed = net.node("MatMul", weights, value, channels=each)
    mixed = net.node("Transpose", mixed, perm=[0, 2, 1, 3])
    return net.linear(net.reshape(mixed, 1, length, width, channels=width), width)


def unet(seed: int = 0, size: int = 256, width: int = 32) -> ModelProto:
    """U-Net with padded convolutions and half its paper's width: 32 to 512 channels at 256x256."""
    net = Net(size, seed)
    x = INPUT
    kept: list[str] = []
    for level in range(5):
        x = net.pool(x) if level else x
        for _ in range(2):
            x = net.conv(x, width << level, 3, act="relu")
        kept.append(x)
    for level in reversed(range(4)):
        channels = width << level
        x = net.node("Concat", kept[level], net.up_conv(x, channels), channels=2 * channels, axis=1)
        for _ in range(2):
            x = net.conv(x, channels, 3, act="relu")
    return net.model(net.conv(x, 2), 1, 2, size, size)


OWN: Mapping[str, Callable[[int], ModelProto]] = {
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "efficientnet_b0": efficientnet_b0,
    "vit_s16": vit_s16,
    "unet": unet,
}
NAMES = (*zoo.NAMES, *OWN)
"""Every network in floats that `build` knows."""
IN_INTEGERS = tuple(f"{name}-int8" for name in ("mobilenet_v2", "resnet18", "unet"))
"""The same quantised by onnxruntime: bytes, with a scale for each channel of the weights, as
operators on integers. OpenVINO computes such in floats."""

QDQ = tuple(f"{name}-qdq" for name in ("mobilenet_v2", "resnet18", "resnet50", "squeezenet"))
"""The same as `splitc quantize` makes them: operators on floats between conversions to bytes, the
form that OpenVINO too computes on bytes."""

QUANTISED = (*IN_INTEGERS, *QDQ)

HALVES = tuple(f"{name}-half" for name in ("resnet50", "mobilenet_v2"))
"""The same in float16."""


def build(name: str, seed: int = 0) -> ModelProto:
    """A network by name, with seeded weights.

    Args:
        name: One of `NAMES`, `QUANTISED` or `HALVES`.
        seed: Of numpy's PCG64.
    """
    if name in HALVES:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        made: ModelProto = convert_float_to_float16(build(name.removesuffix("-half"), seed))
        return made
    if name in IN_INTEGERS:
        return in_integers(build(name.removesuffix("-int8"), seed))
    if name in QDQ:
        return between_conversions(build(name.removesuffix("-qdq"), seed))
    return OWN[name](seed) if name in OWN else zoo.build(name, seed=seed)


def between_conversions(proto: ModelProto) -> ModelProto:
    """A network as `splitc quantize` makes it, with ranges from normal numbers."""
    from splitc.bundle.golden import seeded_inputs
    from splitc.quantization import quantize

    network = splitc.load(proto)
    images = [seeded_inputs(network.graph.inputs, seed) for seed in range(4)]
    return quantize(network, images).model.proto


def in_integers(proto: ModelProto) -> ModelProto:
    """A network of one input as onnxruntime quantises it, calibrated on normal numbers."""
    from onnxruntime import quantization

    entry = proto.graph.input[0]
    shape = [d.dim_value for d in entry.type.tensor_type.shape.dim]
    draw = np.random.default_rng(0)
    images = [draw.standard_normal(shape).astype(np.float32) for _ in range(2)]

    class Images(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return {entry.name: images.pop()} if images else None

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
        onnx.save(splitc.load(proto).proto, plain)
        quantization.quantize_static(
            str(plain), str(made), Images(), quant_format=quantization.QuantFormat.QOperator,
            per_channel=True, activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(made)
