# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Every kernel that is planned is given elements of the types that it reads and writes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from splitc.cost.board import load_board
from splitc_targets.graph.graph import Graph
from splitc_targets.graph.views import Buffer, View, packed
from splitc_targets.machine.machine import machine_of
from splitc_targets.pipeline import plan_module
from splitc_targets.plan.planner import Planner
from splitc_targets.tvm import adapter
from tests.targets.nets import Array, Net, assert_right

MULTIPLIES_BYTES = "rpi5"
"""A board whose core multiplies bytes, whatever this machine does."""


def f32(value: float) -> Array:
    return np.array(value, np.float32)


def quantised_conv(
    net: Net, x: str, out: int, kernel: int, signed: bool = True, zero: int = 0, stride: int = 1,
    groups: int = 1,
) -> str:  # fmt: skip
    """A QLinearConv of bytes, its sums within a byte's range."""
    channels = net.shape(x)[1]
    dtype = np.int8 if signed else np.uint8
    limits = np.iinfo(dtype)
    shape = (out, channels // groups, kernel, kernel)
    weights = net.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    scale = 1.0 / (74 * np.sqrt(kernel * kernel * channels / groups))
    return net.op(
        "QLinearConv", x, f32(1), np.array(128, np.uint8), weights, f32(scale),
        np.array(zero, dtype), f32(1.9), np.array(120, np.uint8),
        net.rng.integers(-900, 900, out).astype(np.int32),
        pads=[kernel // 2] * 4, strides=[stride] * 2, group=groups,
    )  # fmt: skip


def dequantised(net: Net, x: str) -> str:
    """Bytes as floats."""
    return net.op("DequantizeLinear", x, f32(0.1), np.array(120, np.uint8))


def planned(net: Net, board: str = MULTIPLIES_BYTES) -> list[str]:
    """The rules that plan a network; nothing is compiled."""
    plan = plan_module(adapter.lower(net.proto()), load_board(board))
    return [step.rule for step in plan.steps]


NEXT: dict[str, Any] = {
    "nothing": lambda net, y: y,
    "signed": lambda net, y: quantised_conv(net, y, 8, 1),
    "unsigned": lambda net, y: quantised_conv(net, y, 8, 3, signed=False, zero=100),
    "depthwise": lambda net, y: quantised_conv(net, y, net.shape(y)[1], 3, groups=net.shape(y)[1]),
    "pool": lambda net, y: net.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]),
    "floats": dequantised,
    "matrix": lambda net, y: net.op(
        "QLinearMatMul", net.op("Flatten", y), f32(1), np.array(128, np.uint8),
        net.rng.integers(-99, 99, (int(np.prod(net.shape(y))), 5)).astype(np.int8), f32(0.001),
        np.array(0, np.int8), f32(1), np.array(5, np.uint8)),
}  # fmt: skip
WEIGHTS = {"signed": (True, 3), "unsigned": (False, 100), "centred": (False, 128)}
FORMS = {"plain": (3, 1, 1), "pointwise": (1, 1, 1), "strided": (3, 2, 1), "grouped": (3, 1, 4),
         "depthwise": (3, 1, 64)}  # fmt: skip


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_no_kernel_is_given_bytes_that_it_does_not_read(weights: str, following: str) -> None:
    signed, zero = WEIGHTS[weights]
    for form, residual in itertools.product(FORMS, (False, True)):
        kernel, stride, groups = FORMS[form]
        net = Net(0)
        x = net.input(1, 64, 28, 28, dtype="uint8")
        y = quantised_conv(net, x, 64, kernel, signed, zero, stride, groups)
        if residual and stride == 1:
            both = [dequantised(net, each) for each in (x, y)]
            total = net.op("Relu", net.op("Add", *both))
            y = net.op("QuantizeLinear", total, f32(0.2), np.array(120, np.uint8))
        net.outputs = [NEXT[following](net, y)]
        assert planned(net), form


def test_bytes_that_the_next_layer_multiplies_are_exact() -> None:
    """Those of a layer whose weights are no signed bytes: by no algorithm that rounds sums."""
    net = Net(0)
    x = net.input(1, 64, 28, 28, dtype="uint8")
    y = quantised_conv(net, x, 64, 3, signed=False, zero=100)
    net.outputs = [quantised_conv(net, y, 64, 3)]
    assert {"conv", "dot"} <= set(planned(net))
    assert_right(net)


def test_a_kernel_given_another_type_than_it_reads_is_found_when_planning() -> None:
    planner = Planner(Graph([], [], []), machine_of(load_board("host")))
    view = View(Buffer(4, "int8"), 0, (4,), packed((4,)))
    with pytest.raises(TypeError, match=r"arguments of \['int8'\], the kernel takes \['float32'\]"):
        planner.step("key", str, [view], "conv", "conv2d", "4")


def test_what_is_filled_when_it_runs_meets_products_of_bytes() -> None:
    """Zeros and ones of a shape, whose first argument is no tensor."""
    net = Net(0)
    x = net.input(1, 4, 6, 6)
    ones = net.op("ConstantOfShape", np.array([1, 4, 4, 4]), value=numpy_helper.from_array(
        np.ones(1, np.float32)))  # fmt: skip
    net.outputs = [net.op("Add", net.op("Conv", x, net.random(4, 4, 3, 3)), ones)]
    assert planned(net)
