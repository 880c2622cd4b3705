# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What lies at computed places, and cumulative sums, by rule: as onnxruntime and numpy have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.nets import SEEDS, Draw, Net, assert_right, assert_same, compiled, computed
from tests.targets.nets import one_of as one
from tests.targets.rules.test_networks import sweep

SHAPES = ((7, 5), (37,), (3, 4, 6), (2, 3, 1, 17), (9, 65))


def _start(draw: Draw, opset: int = 17) -> tuple[Net, str, tuple[int, ...]]:
    """A network and its tensor, which may be stored, or lie transposed in memory."""
    net = Net(draw(SEEDS), opset)
    shape = one(draw, *SHAPES)
    x = net.input(*shape, dtype=one(draw, "float32", "float32", "int64", "bool", "float64"))
    if draw(st.booleans()):
        x = net.op("Transpose", x, perm=list(range(len(shape)))[::-1])
        shape = shape[::-1]
    return net, x, shape


def _places(draw: Draw, net: Net, sizes: tuple[int, ...], limit: int) -> str:
    dtype = one(draw, "int64", "int32")
    return net.input(*sizes, values=np.asarray(net.rng.integers(-limit, limit, sizes), dtype))


@st.composite
def gathers(draw: Draw) -> Net:
    """Gather of any axis by places of any rank, from either end."""
    net, x, shape = _start(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes = one(draw, (5,), (2, 3), (1,), (1, 2, 1, 5), (33,))
    net.outputs = [net.op("Gather", x, _places(draw, net, sizes, shape[axis]), axis=axis)]
    return net


@st.composite
def elements(draw: Draw) -> Net:
    """GatherElements of any axis, places fewer than the tensor along others."""
    net, x, shape = _start(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    sizes = [draw(st.integers(1, n)) for n in shape]
    sizes[axis] = one(draw, sizes[axis], 2 * shape[axis] + 1)
    places = _places(draw, net, tuple(sizes), shape[axis])
    net.outputs = [net.op("GatherElements", x, places, axis=axis)]
    return net


@st.composite
def rows(draw: Draw) -> Net:
    """GatherND, with batches too."""
    net, x, shape = _start(draw)
    batch = draw(st.integers(0, len(shape) - 1))
    depth = draw(st.integers(1, len(shape) - batch))
    many = (*shape[:batch], *one(draw, (1,), (5,), (2, 3)))
    named = shape[batch : batch + depth]
    values = np.stack([net.rng.integers(-n, n, many) for n in named], -1)
    places = net.input(*values.shape, values=values)
    net.outputs = [net.op("GatherND", x, places, batch_dims=batch)]
    return net


@sweep(25)
@given(gathers())
def test_gathers_along_an_axis(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(25)
@given(elements())
def test_gathers_of_elements(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(25)
@given(rows())
def test_gathers_of_rows(net: Net) -> None:
    assert not assert_right(net).fallbacks


@st.composite
def running_sums(draw: Draw) -> Net:
    """CumSum of any axis and type, from either end, with the element itself or without."""
    net = Net(draw(SEEDS))
    shape = one(draw, *SHAPES, (5, 1, 33), (1,))
    x = net.input(*shape, dtype=one(draw, "float32", "float32", "int64", "int32", "float64"))
    if draw(st.booleans()):
        x = net.op("Transpose", x, perm=list(range(len(shape)))[::-1])
    axis = np.array(draw(st.integers(-len(shape), len(shape) - 1)))
    attrs = {"exclusive": one(draw, 0, 1), "reverse": one(draw, 0, 1)}
    net.outputs = [net.op("CumSum", x, axis, **attrs)]
    return net


@sweep(40)
@given(running_sums())
def test_running_sums(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("dtype", ["float32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_products_are_numpys(axis: int, dtype: str) -> None:
    net = Net(axis, 26)
    x = net.input(3, 5, 21, dtype=dtype)
    net.outputs = [net.op("CumProd", x, np.array(axis))]
    code = compiled(net.proto())
    assert not code.fallbacks
    want = np.cumprod(net.inputs[x], axis, dtype=dtype)
    assert_same(computed(code, net.proto(), net.inputs), [want])


def test_places_beyond_a_table_are_the_nearest_within() -> None:
    net = Net(0)
    table = net.random(9, 21)
    places = net.input(4, values=np.array([2**40, -(2**40), 8, -9]))
    net.outputs = [net.op("Gather", table, places, axis=0)]
    code = compiled(net.proto())
    assert_same(computed(code, net.proto(), net.inputs), [table[[8, 0, 8, 0]]])
