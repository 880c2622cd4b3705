# SPDX-License-Identifier: Apache-2.0
"""Kernels for ARM boards under emulation: many in one part, so that qemu starts once a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper

import splitc
from splitc.arrays import Array
from splitc.bundle.golden import seeded_inputs
from tests.helpers import model_of
from tests.targets.emulated import emulated


class Cases:
    """Kernels under construction: each reads an input, and its result is an output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.weights: dict[str, Array] = {}
        self.outputs: list[str] = []
        self._rng = np.random.default_rng(0)

    def input(self, *shape: int) -> str:
        """An input of that shape, the same one for every case."""
        name = "x_" + "x".join(map(str, shape))
        self.inputs[name] = shape
        return name

    def weight(self, *shape: int) -> str:
        """A stored tensor that keeps a sum's scale near 1."""
        name = f"w{len(self.weights)}"
        scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        self.weights[name] = (self._rng.standard_normal(shape) / scale).astype(np.float32)
        return name

    def scalar(self, value: float) -> str:
        """A stored number."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(value, np.float32)
        return name

    def number(self, value: int) -> str:
        """A stored integer."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(value)
        return name

    def byte(self, value: int) -> str:
        """A stored byte."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(value, np.uint8)
        return name

    def axes(self, *axes: int) -> str:
        """Stored axes."""
        name = f"w{len(self.weights)}"
        self.weights[name] = np.array(axes)
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node within a case."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def case(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """A node whose result is compared."""
        self.outputs.append(self.op(kind, *inputs, **attributes))

    def conv(self, x: str, out: int, kernel: tuple[int, int], **attributes: Any) -> str:
        """A convolution with a bias."""
        depth = self.inputs[x][1] // attributes.get("group", 1)
        weight, bias = self.weight(out, depth, *kernel), self.weight(out)
        return self.op("Conv", x, weight, bias, **attributes)

    def model(self) -> ModelProto:
        """All of them."""
        return model_of(self.nodes, {**self.inputs}, self.outputs, self.weights, opset=18)


def add_convolutions(to: Cases) -> None:
    """Direct, Winograd's and depthwise, with what is fused behind them."""
    x, ragged = to.input(1, 24, 9, 13), to.input(2, 7, 11, 8)
    for one in (
        to.conv(x, 40, (1, 1)),
        to.conv(x, 18, (3, 3), strides=[2, 2], pads=[1, 0, 2, 1]),
        to.conv(x, 30, (3, 2), dilations=[2, 1], pads=[2, 1, 2, 0]),
        to.conv(x, 36, (5, 5), group=3, pads=[2, 2, 2, 2]),
        to.conv(ragged, 13, (7, 3), strides=[2, 1], pads=[3, 1, 3, 1]),
        to.conv(to.input(1, 3, 17, 19), 33, (3, 3), strides=[2, 2], pads=[0, 0, 1, 1]),
        to.conv(x, 24, (3, 3), group=24, pads=[1, 1, 1, 1]),
        to.conv(x, 24, (5, 5), group=24, strides=[2, 2], pads=[2, 1, 2, 3]),
        to.conv(ragged, 7, (3, 3), group=7, dilations=[2, 2], pads=[2, 2, 2, 2]),
        to.conv(to.input(1, 30, 16, 10), 35, (3, 3), pads=[1, 1, 1, 1]),
        to.conv(to.input(1, 32, 28, 27), 22, (3, 3), pads=[1, 1, 1, 1]),
        to.conv(to.input(1, 32, 29, 26), 24, (3, 3), pads=[0, 2, 1, 0]),
        to.conv(to.input(1, 192, 33, 31), 192, (1, 1)),
        to.conv(to.input(1, 24, 97, 88), 24, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    ):
        to.case("Relu", one)
    same = to.conv(x, 24, (1, 1))
    to.case("Clip", to.op("Add", same, x), to.scalar(0.0), to.scalar(1.5))
    gate = to.conv(x, 24, (3, 3), pads=[1, 1, 1, 1])
    added = to.op("Add", to.conv(x, 24, (1, 1)), x)
    narrow = to.conv(to.input(1, 8, 5, 3), 30, (3, 3), strides=[2, 2])
    windows = [
        to.conv(x, 24, (k, k), group=24, strides=[s, s], pads=[k // 2] * 4)
        for k, s in ((3, 1), (3, 2), (5, 1), (5, 2))
    ]
    for one in (gate, added, narrow, *windows):
        to.case("Mul", one, to.op("Sigmoid", one))
    for k in (1, 3):
        one = to.conv(ragged, 9, (k, k), pads=[k // 2] * 4)
        to.case("Mul", one, to.op("Add", to.op("Erf", one), to.op("Tanh", one)))
    to.case("ConvTranspose", x, to.weight(24, 10, 2, 2), to.weight(10), strides=[2, 2])


def add_others(to: Cases) -> None:
    """Windows, rows, products, elementwise maps and copies."""
    x, ragged = to.input(1, 24, 9, 13), to.input(2, 7, 11, 8)
    to.case("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    to.case("MaxPool", ragged, kernel_shape=[2, 3], strides=[1, 2])
    to.case("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0)
    to.case("GlobalAveragePool", x)
    to.case("GlobalAveragePool", ragged)
    to.case("LRN", x, size=5, alpha=0.1, beta=0.75, bias=1.0)
    tokens, odd = to.input(2, 5, 36), to.input(3, 37)
    for rows, width in ((tokens, 36), (odd, 37)):
        to.case("Softmax", rows, axis=-1)
        to.case("LogSoftmax", rows, axis=-1)
        to.case("LayerNormalization", rows, to.weight(width), to.weight(width), axis=-1)
    to.case("Gemm", odd, to.weight(37, 50), to.weight(50))
    to.case("MatMul", tokens, to.weight(36, 21))
    to.case("MatMul", tokens, to.op("Transpose", tokens, perm=[0, 2, 1]))
    to.case("MatMul", to.input(1, 64), to.weight(64, 45))
    to.case("Add", to.op("Transpose", ragged, perm=[0, 2, 3, 1]), to.weight(8, 7))
    to.case("Transpose", ragged, perm=[2, 0, 3, 1])
    to.case("Concat", to.op("Tanh", x), to.op("Exp", x), axis=1)
    to.case("Erf", odd)
    to.case("Max", to.op("Sqrt", to.op("Abs", odd)), to.op("Min", odd, to.scalar(0.5)))
    steps = to.input(6, 3, 10)
    for kind, gates, more in (
        ("LSTM", 4, {}), ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {}),
    ):  # fmt: skip
        for hidden in (8, 21):
            rows = gates * hidden
            weights = (to.weight(1, rows, 10), to.weight(1, rows, hidden), to.weight(1, 2 * rows))
            to.case(kind, steps, *weights, hidden_size=hidden, direction="reverse", **more)


def add_attention(to: Cases) -> None:
    """One kernel of products and a softmax, for rows and keys that no tile divides."""
    for rows, keys, depth, width in ((33, 21, 16, 24), (9, 40, 7, 5)):
        q, k, v = to.input(3, rows, depth), to.input(3, keys, depth), to.input(3, keys, width)
        scores = to.op("MatMul", q, to.op("Transpose", k, perm=[0, 2, 1]))
        scores = to.op("Mul", scores, to.scalar(depth**-0.5))
        to.case("MatMul", to.op("Softmax", scores, axis=-1), v)
        scores = to.op("Add", to.op("MatMul", q, to.input(3, depth, keys)), to.input(rows, keys))
        to.case("MatMul", to.op("Softmax", scores, axis=-1), v)


def add_choices(to: Cases) -> None:
    """Truth values, whole numbers, running sums and what lies at computed places."""
    x = to.input(3, 5, 37)
    high, low = (
        to.op(kind, x, to.scalar(limit)) for kind, limit in (("Greater", 0.5), ("Less", 0))
    )
    mask = to.op("Or", high, to.op("Not", low))
    to.case("Where", mask, x, to.scalar(-1.5))
    to.case("Cast", to.op("Xor", mask, to.op("IsNaN", to.op("Log", x))), to=1)
    whole = to.op("Cast", to.op("Mul", x, to.scalar(20.0)), to=7)
    for modulo in (0, 1):
        to.case("Cast", to.op("Mod", whole, to.number(-7), fmod=modulo), to=1)
    to.case("Cast", to.op("CumSum", whole, to.number(2), reverse=1), to=1)
    for axis, exclusive in ((0, 1), (1, 0), (2, 1)):
        to.case("CumSum", x, to.number(axis), exclusive=exclusive)
    to.case("GatherElements", x, whole_below(to, whole, 5), axis=1)
    to.case("Gather", to.weight(5, 37), whole_below(to, whole, 5), axis=0)


def add_operators(to: Cases) -> None:
    """Functions of angles, remainders, bits, triangles and reductions of whole numbers."""
    x, tokens = to.input(3, 5, 37), to.input(2, 5, 36)
    within = to.op("Tanh", x)
    for kind in ("Asin", "Acos", "Atanh"):
        to.case(kind, within)
    for kind in ("Tan", "Atan", "Sinh", "Cosh", "Asinh"):
        to.case(kind, x)
    to.case("Acosh", to.op("Exp", to.op("Abs", x)))
    to.case("Mod", x, within, fmod=1)
    to.case("Pow", to.op("Abs", x), within)
    for upper in (0, 1):
        to.case("Trilu", tokens, to.number(2), upper=upper)
    whole = to.op("Cast", to.op("Mul", x, to.scalar(20.0)), to=7)
    bits = to.op("BitwiseXor", whole, to.op("BitwiseNot", to.op("BitwiseAnd", whole, to.number(9))))
    to.case("Cast", to.op("BitwiseOr", bits, to.number(64)), to=1)
    byte = to.op("Cast", to.op("Mul", to.op("Abs", x), to.scalar(40.0)), to=2)
    for direction in ("LEFT", "RIGHT"):
        moved = to.op("BitShift", byte, to.byte(3), direction=direction)
        to.case("Cast", moved, to=1)
    for kind in ("ReduceSum", "ReduceMax", "ReduceMin"):
        to.case("Cast", to.op(kind, whole, to.axes(1)), to=1)
        to.case("Cast", to.op(kind, whole, to.axes(2)), to=1)


def whole_below(to: Cases, whole: str, end: int) -> str:
    """Whole numbers from 0 to below an end."""
    return to.op("Mod", whole, to.number(end))


@pytest.mark.slow
def test_every_rule_s_kernels_give_onnxruntime_s_results_on_arm(tmp_path: Path, qemu: None) -> None:
    cases = Cases()
    add_convolutions(cases)
    add_others(cases)
    add_attention(cases)
    add_choices(cases)
    add_operators(cases)
    assert_onnxruntimes_results(cases, "rpi4", {
        "attention", "conv", "depthwise", "winograd2", "winograd4", "strassen", "pool", "softmax",
        "recurrent", "map", "gather", "scan",
    }, tmp_path)  # fmt: skip


@pytest.mark.slow
def test_kernels_that_choose_by_the_core_give_them_on_a_smaller_one(
    tmp_path: Path, qemu: None
) -> None:
    """The others have the same loops there: vectors are as long."""
    cases = Cases()
    add_convolutions(cases)
    add_attention(cases)
    assert_onnxruntimes_results(
        cases, "rpi3", {"attention", "conv", "depthwise", "winograd2", "strassen"}, tmp_path
    )


def assert_onnxruntimes_results(cases: Cases, board: str, expected: set[str], folder: Path) -> None:
    """On that board, by kernels of those rules among others."""
    proto = cases.model()
    model = splitc.load(proto)
    feed = seeded_inputs(model.graph.inputs, 1)
    wanted = model.run(feed)
    found, rules = emulated(proto, board, list(feed.values()), folder)
    assert rules >= expected
    kinds = {node.output[0]: node.op_type for node in proto.graph.node}
    for got, (output, want) in zip(found, wanted.items(), strict=True):
        np.testing.assert_allclose(
            got, want, rtol=2e-5, atol=2e-5 * float(np.abs(want).max()), err_msg=kinds[output]
        )
