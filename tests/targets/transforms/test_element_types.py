# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What is held as bytes or float16: corners, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from splitc.cost.board import load_board
from splitc_targets.pipeline import plan_module
from splitc_targets.tvm import adapter
from tests.targets.emulated import emulated
from tests.targets.nets import Array, Net, assert_same, compiled, computed, wanted


def f32(value: float) -> Array:
    """A number."""
    return np.array(value, np.float32)


def whole(net: Net, x: str, low: float, high: float) -> str:
    """Whole numbers within bounds."""
    return net.op("Clip", net.op("Round", net.op("Mul", x, f32(20))), f32(low), f32(high))


def weights(net: Net, *shape: int) -> Array:
    """Whole numbers that a byte holds."""
    return net.rng.integers(-100, 101, shape).astype(np.float32)


def dequantised(net: Net, x: str | Array, scale: float, zero: Array) -> str:
    """A tensor as a scale times integers; a name is quantised first."""
    own = [f32(scale), zero]
    return net.op("DequantizeLinear", net.op("QuantizeLinear", x, *own) if isinstance(x, str)
                  else x, *own)  # fmt: skip


def integer_products(net: Net) -> None:
    """Nothing is fused behind products of integers and doubles."""
    for dtype in ("int32", "float64"):
        x = net.input(4, 6, dtype=dtype)
        made = net.op("MatMul", x, np.arange(24).reshape(6, 4).astype(dtype))
        net.outputs.append(net.op("Add", made, made))


def pooled_bytes(net: Net) -> None:
    x = net.input(1, 3, 8, 8, dtype="uint8")
    y = net.op("MaxPool", x, kernel_shape=[2, 2])
    net.outputs = [net.op("Cast", y, to=TensorProto.FLOAT)]


def a_sigmoid_beside(net: Net) -> None:
    """It is computed again for every result where it is taken in, and not with bytes stored."""
    x = dequantised(net, net.input(1, 8, 6, 6), 0.02, np.array(128, np.uint8))
    zero = np.array(0, np.int8)
    w = dequantised(net, weights(net, 8, 8, 1, 1).astype(np.int8), 0.01, zero)
    y = net.op("Add", net.op("Conv", x, w), net.op("Sigmoid", x))
    y = dequantised(net, y, 0.1, np.array(128, np.uint8))
    w = dequantised(net, weights(net, 6, 8, 1, 1).astype(np.int8), 0.01, zero)
    net.outputs = [net.op("Conv", y, w)]


def infinite_bounds(net: Net) -> None:
    x = net.input(5, 6)
    net.outputs = [net.op("Min", x, f32(np.inf)), net.op("Max", x, f32(-np.inf))]


def nested_concatenations(net: Net) -> None:
    """The inner one cannot be held as the outer one is: a part of it is held otherwise."""
    x = net.input(1, 8, 6, 6)
    first, second = whole(net, x, 0, 100), whole(net, net.op("Neg", x), -128, 127)
    third = whole(net, net.op("Mul", x, f32(2)), -128, 127)
    alone = net.op("Conv", first, weights(net, 4, 8, 1, 1))
    both = net.op("Concat", net.op("Concat", first, second, axis=1), third, axis=1)
    net.outputs = [alone, net.op("Conv", both, weights(net, 5, 24, 1, 1))]


def concatenations(net: Net) -> None:
    """Parts of one range, one of them read elsewhere too, and one twice."""
    x = net.input(2, 8, 6, 6)
    first, second = whole(net, x, -128, 127), whole(net, net.op("Neg", x), -128, 100)
    both = net.op("Concat", first, second, first, axis=1)
    made = net.op("Conv", both, weights(net, 5, 24, 3, 3), pads=[1, 1, 1, 1])
    net.outputs = [made, net.op("Softmax", first, axis=1), second]


def a_shift_that_adds_dimensions(net: Net) -> None:
    made = net.op("Add", whole(net, net.input(6, 8), 0, 255), np.full((1, 1, 1), 7, np.float32))
    net.outputs = [net.op("MatMul", made, weights(net, 8, 16))]


def numbers_far_from_zero(net: Net) -> None:
    """Bytes and a large offset: int32 does not hold the sums."""
    x = net.op("Mul", net.input(1, 512, 4, 4), f32(500))
    far = net.op("Clip", net.op("Round", x), f32(30000), f32(30200))
    net.outputs = [net.op("Conv", far, np.abs(weights(net, 8, 512, 3, 3)))]
    near = net.op("Add", whole(net, net.input(1, 64, 4, 4), 0, 255), f32(1e6))
    net.outputs.append(net.op("Conv", near, np.abs(weights(net, 8, 64, 3, 3))))


def not_a_number(net: Net) -> None:
    x = net.input(values=np.array([1, 2, np.nan, 4, np.inf, -1], np.float32))
    net.outputs = [net.op("Add", net.op("Clip", net.op("Floor", x), f32(0), f32(10)),
                          net.input(2, 6))]  # fmt: skip


def biases_of_rows(net: Net) -> None:
    """A bias for each row, of as many as there are columns, is none for each column."""
    for rows, shape in ((5, (5, 1)), (4, (4, 1)), (4, (4, 5)), (4, (5,)), (4, (1, 5)), (4, ())):
        x = dequantised(net, net.input(rows, 8), 0.02, np.array(128, np.uint8))
        w = dequantised(net, weights(net, 8, 5).astype(np.int8), 0.01, np.array(0, np.int8))
        c = net.rng.integers(-9000, 9000, shape).astype(np.int32)
        scale = np.array(np.float32(0.02) * np.float32(0.01))
        c = net.op("DequantizeLinear", c, scale, np.array(0, np.int32))
        net.outputs.append(net.op("Gemm", x, w, c))


CORNERS: list[Callable[[Net], None]] = [
    integer_products, pooled_bytes, a_sigmoid_beside, infinite_bounds, nested_concatenations,
    concatenations, a_shift_that_adds_dimensions, numbers_far_from_zero, not_a_number,
    biases_of_rows,
]  # fmt: skip


@pytest.mark.parametrize("board", ["host", "x86-64-v2"])
@pytest.mark.parametrize("corner", CORNERS, ids=lambda corner: corner.__name__)
def test_a_corner_is_as_onnxruntime_has_it(corner: Callable[[Net], None], board: str) -> None:
    net = Net(0)
    corner(net)
    proto = net.proto()
    got = computed(compiled(proto, board), proto, net.inputs)
    assert_same(got, wanted(proto, net.inputs))


def test_long_chains_are_looked_at_one_by_one() -> None:
    net = Net(0)
    x = net.input(1, 4, 4, 4)
    shared = net.name("w")
    net.weights[shared] = net.random(4, 4, 3, 3) / 6
    y = x
    for _ in range(250):
        y = net.op("Add", y, net.op("Conv", net.op("Relu", y), shared, pads=[1, 1, 1, 1]))
    net.outputs = [net.op("Sigmoid", net.op("Relu", y)), y]
    assert plan_module(adapter.lower(net.proto()), load_board("host")).steps


@pytest.mark.slow
def test_what_is_float32_in_a_mixed_network_stays_so(tmp_path: Path, qemu: None) -> None:
    """Beside it one product is of float16, one of bytes, and one reads what bytes are made of."""
    net = Net(0)
    x = net.input(1, 32, 6, 6)
    large = net.op("Conv", net.op("Mul", x, f32(1e5)), net.random(16, 32, 1, 1) / 6)
    half = net.op("Cast", x, to=TensorProto.FLOAT16)
    made = net.op("Conv", half, (net.random(16, 32, 1, 1) / 6).astype(np.float16))
    numbers = whole(net, x, 0, 255)
    bytes_ = net.op("Conv", numbers, weights(net, 16, 32, 1, 1))
    both = net.op("Conv", numbers, net.random(16, 32, 1, 1) / 6)
    made = net.op("Cast", made, to=TensorProto.FLOAT)
    net.outputs = [large, bytes_, both, made]
    found, rules = emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)
    assert rules >= {"conv", "dot", "half"}
    want = wanted(net.proto(), net.inputs)
    assert_same(found[:3], want[:3])
    np.testing.assert_allclose(found[3], want[3], atol=2**-8 * float(np.abs(want[3]).max()))
