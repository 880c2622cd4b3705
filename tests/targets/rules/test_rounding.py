# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Elementwise arithmetic rounds as the network has it: the very floats that onnxruntime gives.

A sum or product of floats that is computed in another order, or with one rounding for two, is a
step off where a Ceil, Round or Cast follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from splitc.cost.board import load_board
from splitc_targets.graph.expression import text
from splitc_targets.pipeline import plan_module
from splitc_targets.tvm import adapter
from tests.targets.nets import Array, Net, compiled, computed, wanted


def f32(value: float) -> Array:
    return np.array(value, np.float32)


def assert_identical(net: Net) -> None:
    """Every result's very bits, but for the bits of not-a-number."""
    proto = net.proto()
    for got, want in zip(
        computed(compiled(proto), proto, net.inputs), wanted(proto, net.inputs), strict=True
    ):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_array_equal(got, want)
        if want.dtype.kind == "f":
            known = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])


BYTES = np.arange(256, dtype=np.uint8).reshape(1, 256)
EXTREMES = np.array(
    [0, -0.0, 1, -1, 0.5, 2.5, 1e-3, 1e-20, 1e-40, 1e20, 3e38, -3e38, np.inf, -np.inf, np.nan],
    np.float32,
)


@pytest.mark.parametrize("op", ["Ceil", "Floor", "Round", "Identity"])
def test_dequantised_bytes_are_rounded_once(op: str) -> None:
    """(x - zero) scale: 0 where x is zero, and whole where the product is."""
    net = Net(0)
    x = net.input(1, 256, values=BYTES)
    net.outputs = [net.op(op, net.op("DequantizeLinear", x, f32(0.05), np.array(125, np.uint8)))]
    assert_identical(net)


CHAINS: dict[str, Callable[[Net, str, str], str]] = {
    "x a + b": lambda n, x, y: n.op("Add", n.op("Mul", x, f32(0.3)), f32(1.7)),
    "x a b": lambda n, x, y: n.op("Mul", n.op("Mul", x, f32(1e-30)), f32(1e30)),
    "x + a + b": lambda n, x, y: n.op("Add", n.op("Add", x, f32(1e7)), f32(0.3)),
    "(x + a) b": lambda n, x, y: n.op("Mul", n.op("Add", x, f32(-0.7)), f32(0.3)),
    "x y - x y": lambda n, x, y: n.op("Sub", n.op("Mul", x, y), n.op("Mul", x, y)),
    "x y + x": lambda n, x, y: n.op("Add", n.op("Mul", x, y), x),
    "x - y z": lambda n, x, y: n.op("Sub", x, n.op("Mul", y, n.op("Neg", x))),
    "x + y - y": lambda n, x, y: n.op("Sub", n.op("Add", x, y), y),
    "x - (x + y)": lambda n, x, y: n.op("Sub", x, n.op("Add", x, y)),
    "x - x": lambda n, x, y: n.op("Sub", x, x),
    "(x + y) - (x + y)": lambda n, x, y: n.op("Sub", n.op("Add", x, y), n.op("Add", x, y)),
    "x / a": lambda n, x, y: n.op("Div", x, f32(255)),
    "x 0": lambda n, x, y: n.op("Mul", x, f32(0)),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_every_operation_rounds_by_itself(chain: str) -> None:
    net = Net(0)
    values = np.concatenate([BYTES[0].astype(np.float32), net.random(300), EXTREMES])
    x = net.input(len(values), values=values)
    y = net.input(len(values), values=np.roll(values, 31))
    net.outputs = [CHAINS[chain](net, x, y)]
    assert_identical(net)


def test_behind_a_convolution_factors_go_into_the_weights() -> None:
    net = Net(0)
    y = net.op("Conv", net.input(1, 4, 5, 5), net.random(6, 4, 1, 1), net.random(6))
    y = net.op("Add", net.op("Mul", y, net.random(6, 1, 1)), net.random(6, 1, 1))
    net.outputs = [net.op("Mul", y, f32(0.1))]
    plan = plan_module(adapter.lower(net.proto()), load_board("host"))
    (key,) = [cast("Any", step.key) for step in plan.steps if step.rule == "conv"]
    assert text(key[1].expression) == "add(x0, x1)"


def test_behind_whole_weights_they_do_not() -> None:
    """Sums of a quantised layer are exact: what follows rounds as the network has it."""
    net = Net(0)
    whole = net.rng.integers(-9, 9, (6, 4, 1, 1)).astype(np.float32)
    x = net.input(1, 4, 5, 5, values=net.rng.integers(0, 9, (1, 4, 5, 5)).astype(np.float32))
    y = net.op("Conv", x, whole, net.rng.integers(-9, 9, 6).astype(np.float32))
    net.outputs = [net.op("Round", net.op("Mul", y, f32(0.05)))]
    assert_identical(net)
