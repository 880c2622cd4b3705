# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A scale that sums are divided by is in what they are multiplied with, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from splitc.cost.board import load_board
from splitc_targets.graph.expression import Arg, Do, Num, relu
from splitc_targets.graph.graph import Graph, Node, Value, constant
from splitc_targets.machine.machine import machine_of
from splitc_targets.pipeline import prepared
from splitc_targets.transforms.requantise import requantise
from splitc_targets.tvm import adapter
from tests.targets.kernels.test_dot import Quantised
from tests.targets.nets import compiled, computed

SUM, SCALES, BESIDE = Arg(0), Arg(1), Arg(2)


def rewritten(expression: object, *extras: Value) -> Node:
    """A product with such an end, rewritten."""
    made = Value((4, 3), "float32", None, None)
    node = Node("matmul", [made, made, list(extras)],
                {"expression": expression, "extras": len(extras)}, [made])  # fmt: skip
    requantise(Graph([], [node], [made]))
    return node


def test_scales_are_divided_when_compiling() -> None:
    scales, beside = constant(np.array([0.5, 2.0, 3.0], np.float32)), Value((4, 3), "float32")
    quotient = Do("divide", (relu(Do("multiply", (SUM, SCALES))), Num(0.25)))
    node = rewritten(Do("add", (Do("round", (quotient,)), BESIDE)), scales, beside)
    wanted = Do("round", (relu(Do("multiply", (SUM, Arg(2)))),))
    assert node.attrs["expression"] == Do("add", (wanted, Arg(1)))
    assert node.args[-1][0] is beside
    np.testing.assert_array_equal(node.args[-1][1].data, np.array([2, 8, 12], np.float32))


def test_bounds_that_float32_has_not_are_left() -> None:
    bounded = Do("minimum", (Do("multiply", (SUM, SCALES)), Num(3e38)))
    scales = constant(np.array([0.5, 2.0, 3.0], np.float32))
    node = rewritten(Do("round", (Do("divide", (bounded, Num(0.25))),)), scales)
    assert node.attrs["expression"] == Do("round", (Do("multiply", (bounded, Num(4.0))),))


@pytest.mark.parametrize(
    "kept",
    [
        Do("divide", (SUM, Num(0.3))),
        Do("round", (Do("divide", (SUM, Num(-0.3))),)),
        Do("round", (Do("divide", (SUM, Num(1e-39))),)),
        Do("round", (Do("divide", (Num(0.3), SUM)),)),
        Do("round", (Do("divide", (SUM, SCALES)),)),
    ],
)
def test_other_quotients_stay(kept: Do) -> None:
    node = rewritten(kept, constant(np.array([0.5, 2.0, 3.0], np.float32)))
    assert node.attrs["expression"] == kept


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    out=st.sampled_from([1, 13, 16, 24, 32, 48, 64, 70, 130]),
    dtype=st.sampled_from([np.uint8, np.int8]),
    zero=st.integers(-128, 127),
    high=st.sampled_from([3.0, 50.0, 1e5, 3e38]),
    scale=st.sampled_from([0.003, 0.5, 4.0]),
    depthwise=st.booleans(),
    relu=st.booleans(),
)
def test_what_is_rounded_to_bytes_is_onnxruntimes_but_half_way(
    seed: int, out: int, dtype: type, zero: int, high: float, scale: float, depthwise: bool,
    relu: bool,
) -> None:  # fmt: skip
    """Sums far beyond a byte, bounds at its ends and within, zero points, signed or not."""
    net = Quantised(seed)
    channels = out if depthwise else 8
    x = net.op("DequantizeLinear", net.input(1, channels, 5, 7), net.keep(1.0, np.float32),
               net.keep(9, np.uint8))  # fmt: skip
    shape = (out, 1 if depthwise else channels, 3, 3)
    scales = net.keep(net.rng.uniform(0.005, 0.02, out), np.float32)
    w = net.op("DequantizeLinear", net.keep(net.rng.integers(-127, 128, shape), np.int8), scales,
               net.keep(np.zeros(out), np.int8), axis=0)  # fmt: skip
    y = net.op("Conv", x, w, pads=[1, 1, 1, 1], group=out if depthwise else 1)
    y = net.op("Relu", y) if relu else y
    y = net.op("Clip", y, net.keep(-400.0, np.float32), net.keep(high, np.float32))
    zero += 128 * (dtype is np.uint8)
    y = net.op("QuantizeLinear", y, net.keep(scale, np.float32), net.keep(zero, dtype))
    net.result(y, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    proto = net.proto()
    (got,) = computed(compiled(proto), proto, net.inputs)
    far = np.abs(got.astype(int) - net.wanted()[0].astype(int))
    assert far.max() <= 1
    assert far.mean() < 0.01


def test_what_is_only_converted_is_divided_as_it_is_written() -> None:
    net = Quantised(0)
    net.inputs["x"] = net.rng.standard_normal((3, 40)).astype(np.float32)
    y = net.op("QuantizeLinear", "x", net.keep(0.0173, np.float32), net.keep(7, np.uint8))
    net.result(y, TensorProto.UINT8)
    graph = prepared(adapter.lower(net.proto()), machine_of(load_board("host")))
    assert any("divide" in str(node.attrs.get("expression")) for node in graph.nodes)
