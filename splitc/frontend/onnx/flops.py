# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of ONNX nodes, by rules a reader can check by hand.

A multiply-add counts two; a bias starts the accumulator and counts nothing.
Moving data counts nothing. Elementwise operators count one per output element
and reductions one per input element. The table below holds what lies between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
from onnx import NodeProto

from splitc.ir.graph import Tensor
from splitc.ir.kinds import kind_of as kind_of_operator

PER_OUTPUT: dict[str, int] = {
    # scale and shift; the constants of inference fold into one of each
    "BatchNormalization": 2,
    # sum, subtract, square and sum, divide, scale and shift
    "LayerNormalization": 7, "InstanceNormalization": 7, "GroupNormalization": 7,
    "MeanVarianceNormalization": 6, "RMSNormalization": 5, "LpNormalization": 3,
    # maximum, subtract, exponential, sum, divide
    "Softmax": 5, "LogSoftmax": 5,
    "Sigmoid": 3, "HardSigmoid": 3, "HardSwish": 4, "Gelu": 5, "Mish": 4, "Softplus": 3,
    "LeakyRelu": 2, "PRelu": 2, "Elu": 3, "Clip": 2,
    "QuantizeLinear": 3, "DequantizeLinear": 2,
}  # fmt: skip
"""Operations per element of the result."""

_CONVS = ("Conv", "ConvInteger", "QLinearConv", "DeformConv")
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
               "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
               "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "ArgMax", "ArgMin",
               "CumSum")  # fmt: skip
"""They take one operation per element that they read."""


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def flops(node: NodeProto, tensors: Mapping[str, Tensor]) -> int:
    """Floating-point operations of one run of a node.

    Args:
        node: The node.
        tensors: Shapes of what it reads and makes; missing or unknown ones count 0.
    """
    shapes = _Shapes(node, tensors)
    if node.domain not in ("", "ai.onnx"):  # it may be called Conv and be something else
        return shapes.made
    rule = _RULES.get(node.op_type)
    if rule is not None:
        return rule(node, shapes)
    made = shapes.elements(node.output[0])
    if node.op_type in PER_OUTPUT:
        return PER_OUTPUT[node.op_type] * made
    if node.op_type in REDUCTIONS:
        return shapes.elements(node.input[0])
    kind = kind_of_operator(node.op_type.lower())
    if kind in ("view", "move"):
        return 0
    if kind == "control":
        return _body_flops(node, tensors)
    if node.op_type in ("Sum", "Max", "Min", "Mean"):
        return made * (len(node.input) - (node.op_type != "Mean"))
    return made if kind == "elementwise" else 0


class _Shapes:
    def __init__(self, node: NodeProto, tensors: Mapping[str, Tensor]) -> None:
        self.node = node
        self.tensors = tensors

    def of(self, name: str) -> Sequence[int]:
        tensor = self.tensors.get(name)
        if tensor is None or tensor.elements is None:
            return (0,)
        return tensor.static_shape

    def input(self, k: int) -> Sequence[int]:
        return self.of(self.node.input[k]) if k < len(self.node.input) else (0,)

    def elements(self, name: str) -> int:
        return math.prod(self.of(name))

    @property
    def made(self) -> int:
        return self.elements(self.node.output[0])


def _conv(node: NodeProto, shapes: _Shapes) -> int:
    weight = shapes.input(3 if node.op_type == "QLinearConv" else 1)
    return 2 * shapes.made * math.prod(weight[1:])


def _conv_transpose(node: NodeProto, shapes: _Shapes) -> int:
    return 2 * math.prod(shapes.input(0)) * math.prod(shapes.input(1)[1:])


def _gemm(node: NodeProto, shapes: _Shapes) -> int:
    left = shapes.input(0)
    depth = left[0] if attributes(node).get("transA", 0) else left[-1]
    return 2 * shapes.made * depth


def _matmul(node: NodeProto, shapes: _Shapes) -> int:
    left = shapes.input(0)
    return 2 * shapes.made * (left[-1] if left else 1)


def _einsum(node: NodeProto, shapes: _Shapes) -> int:
    """Per point of the index space: the multiplications, and one addition where any is summed."""
    equation = attributes(node).get("equation", b"").replace(b" ", b"").decode(errors="replace")
    left, arrow, right = equation.partition("->")
    extents: dict[str, int] = {}
    terms = left.split(",")
    for k, term in enumerate(terms):
        shape = shapes.input(k)
        dots = len(shape) - len(term.replace("...", ""))
        # Digits stand for the axes under an ellipsis, counted from the right: they broadcast.
        hidden = "".join(chr(ord("0") + i) for i in reversed(range(dots)))
        for index, extent in zip(term.replace("...", hidden), shape, strict=False):
            extents[index] = max(extent, extents.get(index, 0))
    letters = {index for index in extents if index.isalpha()}
    if not arrow:  # the result keeps the indices that stand once
        right = "".join(index for index in letters if left.count(index) == 1)
    summed = bool(letters - set(right))
    return math.prod(extents.values()) * (len(terms) - 1 + summed)


def _pool(node: NodeProto, shapes: _Shapes) -> int:
    return shapes.made * math.prod(attributes(node).get("kernel_shape", [1]))


def _lrn(node: NodeProto, shapes: _Shapes) -> int:
    # square and sum over the window, scale, add, power, divide
    return shapes.made * (2 * int(attributes(node).get("size", 1)) + 4)


def _recurrent(node: NodeProto, shapes: _Shapes) -> int:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[node.op_type]
    steps, batch, width = (*shapes.input(0), 0, 0, 0)[:3]
    directions, rows = (*shapes.input(1), 0, 0)[:2]
    hidden = rows // gates
    return 2 * steps * batch * directions * gates * hidden * (width + hidden)


def _attention(node: NodeProto, shapes: _Shapes) -> int:
    """Queries by keys, a softmax over the scores, scores by values."""
    query, key, value = (_heads(node, shapes, k) for k in range(3))
    past = (*shapes.input(4), 0, 0, 0)[2]  # batch, heads, length, width; cached keys
    scores = query[0] * query[1] * query[2] * (key[2] + past)
    return scores * (2 * query[3] + 2 * value[3] + 5)


def _heads(node: NodeProto, shapes: _Shapes, k: int) -> Sequence[int]:
    """Batch, heads, length and width of an operand; three axes hold heads and width in one."""
    shape = shapes.input(k)
    if len(shape) == 3:
        name = "q_num_heads" if k == 0 else "kv_num_heads"
        heads = max(int(attributes(node).get(name, 1)), 1)
        return shape[0], heads, shape[1], shape[2] // heads
    return shape if len(shape) == 4 else (0, 0, 0, 0)


def _resize(node: NodeProto, shapes: _Shapes) -> int:
    mode = attributes(node).get("mode", b"nearest")
    moved = sum(a != b for a, b in zip(shapes.input(0), shapes.of(node.output[0]), strict=False))
    taps = {b"linear": 2, b"cubic": 4}.get(mode, 0)
    return 2 * shapes.made * int(taps**moved) if taps else 0


def _body_flops(node: NodeProto, tensors: Mapping[str, Tensor]) -> int:
    """One pass through the dearest body: trip counts depend on data."""
    bodies = [a.g for a in node.attribute if a.HasField("g")]
    totals: list[int] = []
    for body in bodies:
        known = dict(tensors)
        for value in (*body.input, *body.value_info, *body.output):
            if value.type.HasField("tensor_type"):
                dims = value.type.tensor_type.shape.dim
                known[value.name] = Tensor(value.name, tuple(d.dim_value or None for d in dims))
        for tensor in body.initializer:
            known[tensor.name] = Tensor(tensor.name, tuple(tensor.dims))
        totals.append(sum(flops(inner, known) for inner in body.node if inner.output))
    return max(totals, default=0)


_RULES: dict[str, Callable[[NodeProto, _Shapes], int]] = {
    **dict.fromkeys(_CONVS, _conv),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    **dict.fromkeys(("MatMul", "MatMulInteger", "QLinearMatMul"), _matmul),
    "Einsum": _einsum,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    "LRN": _lrn,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    "Attention": _attention,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
}


def kind_of(node: NodeProto, tensors: Mapping[str, Tensor]) -> str:
    """The cost kind of a node: convolutions are told apart by their form."""
    kind = kind_of_operator(node.op_type.lower())
    if node.op_type not in _CONVS or node.domain not in ("", "ai.onnx"):
        return kind
    weight = tensors.get(node.input[3 if node.op_type == "QLinearConv" else 1])
    if weight is None or weight.elements is None or len(weight.static_shape) < 3:
        return kind
    values = attributes(node)
    steps = (*values.get("strides", []), *values.get("dilations", []))
    return conv_kind(weight.static_shape, values.get("group", 1), steps)


def conv_kind(weight: Sequence[int], groups: int, steps: Sequence[int]) -> str:
    """The cost kind of a convolution.

    Args:
        weight: Shape of its weight: [results, channels of a group, *window].
        groups: How many groups.
        steps: Its strides and dilations.
    """
    if groups > 1 and weight[1] == 1:
        return "depthwise"
    if all(k == 1 for k in weight[2:]):
        return "conv1x1"
    plain = groups == 1 and all(step == 1 for step in steps)
    return "conv3x3" if tuple(weight[2:]) == (3, 3) and plain else "conv"
