# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Conversions between element types and rounding, against onnxruntime and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from splitc.cost.board import load_board
from splitc_targets.pipeline import plan_module
from splitc_targets.tvm import adapter
from tests.targets.kernels.alone import BOARDS
from tests.targets.nets import Net, assert_right, assert_same, compiled, computed, wanted


def values(dtype: str, shape: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return (rng.random(shape) * 120).astype(dtype)
    return rng.integers(0, 120, shape).astype(dtype)


WHOLE = ("uint8", "int8", "uint16", "int16", "int32", "int64")
CASTS: dict[str, tuple[str, ...]] = {
    "float32": ("float64", "uint8", "uint16"),
    "float64": ("float32",),
    **{each: ("float32", "float64", *(t for t in WHOLE if t != each)) for each in WHOLE},
}


@pytest.mark.parametrize("source", CASTS)
def test_types_are_converted_without_slow_loops(source: str) -> None:
    net = Net(0)
    x = net.input(values=values(source, (2, 3, 5, 7)))
    for target in CASTS[source]:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(target))
        net.outputs.append(net.op("Cast", x, to=kind))
    assert assert_right(net).fallbacks == ()


@pytest.mark.parametrize("target", ["int8", "int32", "int64"])
def test_what_floats_become_in_more_operations_is_right_too(target: str) -> None:
    net = Net(0)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    net.outputs = [net.op("Cast", net.input(values=values("float32", (3, 7)) - 60), to=kind)]
    assert_right(net)


def test_a_float_that_is_made_a_byte_and_back_stays_in_the_order_it_lies_in() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 3, 6, 6), net.random(5, 3, 3, 3))
    unit = net.op("Mul", net.op("Sigmoid", y), np.array(255, np.float32))
    byte = net.op("Cast", unit, to=TensorProto.UINT8)
    back = net.op("Cast", byte, to=TensorProto.FLOAT)
    net.outputs = [net.op("Conv", back, net.random(4, 5, 1, 1))]
    plan = plan_module(adapter.lower(net.proto()), load_board("rpi4"))
    assert [step.op for step in plan.steps if step.rule == "map"][:2] == ["cast", "cast"]
    assert plan.fallbacks == []
    assert_right(net)


@pytest.mark.parametrize("board", BOARDS)
def test_the_last_bytes_of_a_row_leave_the_next_row_alone(board: str) -> None:
    net = Net(0)
    for size in range(17, 33):
        x = net.input(values=values("float32", (size, 5)))
        row = net.op("Cast", net.op("Transpose", x, perm=[1, 0]), to=TensorProto.UINT8)
        back = net.op("Cast", net.input(values=values("uint8", (5, size))), to=TensorProto.FLOAT)
        net.outputs += [row, back]
    code = compiled(net.proto(), board)
    assert_same(computed(code, net.proto(), net.inputs), wanted(net.proto(), net.inputs))


def test_halves_are_rounded_to_even() -> None:
    net = Net(0)
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.5000002, 254.5, 0.49999997, 8388609.0], np.float32)
    net.outputs = [net.op("Round", net.input(values=np.tile(x, 5)))]
    assert assert_right(net).fallbacks == ()
