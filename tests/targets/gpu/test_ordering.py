# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Extremes, rows in order and cumulative sums by kernels of threads, as onnxruntime has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.gpu.device import assert_right, compiled, needs_opencl, run
from tests.targets.nets import SEEDS, Draw, Net, one_of
from tests.targets.rules.test_networks import sweep

pytestmark = needs_opencl


def _rows(draw: Draw, net: Net) -> tuple[str, int]:
    """An input of odd sizes with equal elements among it, and an axis."""
    long = one_of(draw, 5, 1, 70, 300, 513)
    shape = one_of(draw, (long,), (3, long), (2, long, 3), (long, 7))
    name = net.input(*shape, dtype=one_of(draw, "float32", "float32", "int64", "float64"))
    array = net.inputs[name]
    array[...] = np.round(array * one_of(draw, 1e6, 2.0))
    if array.dtype.kind == "f":
        for extreme in (np.inf, -np.inf, -0.0):
            array[net.rng.random(shape) < 0.1] = extreme
    if draw(st.booleans()):
        name = net.op("Transpose", name, perm=list(range(len(shape)))[::-1])
        shape = shape[::-1]
    return name, shape.index(long) - one_of(draw, 0, len(shape))


@st.composite
def extremes(draw: Draw) -> Net:
    """ArgMax and ArgMin; the first of equals."""
    net = Net(draw(SEEDS))
    x, axis = _rows(draw, net)
    form = one_of(draw, "ArgMax", "ArgMin")
    net.outputs = [net.op(form, x, axis=axis, keepdims=one_of(draw, 0, 1))]
    return net


@st.composite
def orders(draw: Draw) -> Net:
    """The first few, or all, of rows."""
    net = Net(draw(SEEDS))
    x, axis = _rows(draw, net)
    length = net.shape(x)[axis]
    kept = draw(st.integers(1, length))
    count = np.array([kept], np.int64)
    net.outputs = net.ops("TopK", x, count, results=2, axis=axis, largest=one_of(draw, 1, 0))
    return net


@st.composite
def scans(draw: Draw) -> Net:
    """Cumulative sums, either way."""
    net = Net(draw(SEEDS))
    shape = one_of(draw, (3, 70), (5,), (2, 300, 3), (513,), (1, 1))
    x = net.input(*shape, dtype=one_of(draw, "float32", "int64"))
    if net.inputs[x].dtype.kind == "f" and draw(st.booleans()):
        net.inputs[x].flat[shape[-1] // 2] = one_of(draw, np.inf, np.nan)
    axis = np.array(draw(st.integers(-len(shape), len(shape) - 1)), np.int64)
    ways = {"exclusive": one_of(draw, 0, 1), "reverse": one_of(draw, 0, 1)}
    net.outputs = [net.op("CumSum", x, axis, **ways)]
    return net


@sweep(12)
@given(scans())
def test_cumulative_sums(net: Net) -> None:
    assert "scan" in [kernel.rule for kernel in assert_right(net).kernels]


@sweep(15)
@given(extremes())
def test_places_of_extremes(net: Net) -> None:
    assert [kernel.rule for kernel in assert_right(net).kernels].count("extremes") == 1


@sweep(15)
@given(orders())
def test_rows_in_order(net: Net) -> None:
    assert "sort" in [kernel.rule for kernel in assert_right(net).kernels]


def test_what_is_not_a_number_comes_before_every_number_and_is_no_extreme() -> None:
    net = Net(0)
    x = net.input(1, 5, values=np.array([[1, np.nan, 3, -np.nan, np.inf]], np.float32))
    net.outputs = [*net.ops("TopK", x, np.array([4]), results=2), net.op("ArgMin", x, axis=1)]
    values, places, least = run(compiled(net.proto()), *net.inputs.values())
    assert places.tolist() == [[1, 3, 4, 2]]
    np.testing.assert_array_equal(values, [[np.nan, np.nan, np.inf, 3]])
    assert least.tolist() == [[0]]
