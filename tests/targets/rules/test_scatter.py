# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Numbers put at computed places, by rule: as onnxruntime has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.nets import SEEDS, Draw, Net, assert_right, assert_same, compiled, computed
from tests.targets.nets import one_of as one
from tests.targets.rules.test_networks import sweep

REDUCTIONS = ("none", "add", "mul", "max", "min")


def _start(draw: Draw) -> tuple[Net, str, str, dict[str, str]]:
    """A network, its tensor and the tensor's type, and how numbers are combined."""
    net = Net(draw(SEEDS), opset=18)
    shape = one(draw, (7, 5), (3, 4, 6), (300,), (2, 3, 1, 17), (5, 200, 33))
    how = one(draw, *REDUCTIONS)
    dtype = one(draw, "float32", "float32", "int64", "float64", "int32")
    x = net.input(*shape, dtype=dtype)
    return net, x, dtype, {"reduction": how}


@st.composite
def along(draw: Draw) -> Net:
    """ScatterElements; places from either end, several of them equal."""
    net, x, dtype, how = _start(draw)
    shape = net.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = [one(draw, n, 1, max(1, n - 1)) for n in shape]
    places = net.rng.integers(-shape[axis], shape[axis], sizes)
    given_places = net.input(*sizes, values=places.astype(one(draw, "int64", "int32")))
    updates = net.input(*sizes, dtype=dtype)
    net.outputs = [net.op("ScatterElements", x, given_places, updates, axis=axis, **how)]
    return net


@st.composite
def rows(draw: Draw) -> Net:
    """ScatterND; places of one number or several, several of them equal."""
    net, x, dtype, how = _start(draw)
    shape = net.shape(x)
    depth = draw(st.integers(1, len(shape)))
    many = one(draw, (1,), (5,), (2, 3))
    places = np.stack([net.rng.integers(-n, n, many) for n in shape[:depth]], -1)
    updates = net.input(*many, *shape[depth:], dtype=dtype)
    net.outputs = [net.op("ScatterND", x, net.input(*places.shape, values=places), updates, **how)]
    return net


@sweep(30)
@given(along())
def test_numbers_put_along_an_axis(net: Net) -> None:
    assert not assert_right(net).fallbacks


@sweep(30)
@given(rows())
def test_numbers_put_into_rows(net: Net) -> None:
    assert not assert_right(net).fallbacks


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_truth_values_are_put(op: str) -> None:
    net = Net(0, 18)
    x, places = net.input(9, 21, dtype="bool"), np.array([[5], [0], [5]])
    given_places = net.input(3, 1, values=places)
    updates = net.input(3, *((21,) if op == "ScatterND" else (1,)), dtype="bool")
    net.outputs = [net.op(op, x, given_places, updates)]
    assert not assert_right(net).fallbacks


def test_of_numbers_put_into_one_element_the_last_stays() -> None:
    net = Net(0, 18)
    x, many = net.input(1000, 64), 3000
    places = net.rng.integers(0, 1000, (many, 64))
    updates = net.input(many, 64)
    net.outputs = [net.op("ScatterElements", x, net.input(many, 64, values=places), updates)]
    code = compiled(net.proto())
    want = net.inputs[x].copy()
    for row, to in zip(net.inputs[updates], places, strict=True):
        want[to, np.arange(64)] = row
    assert_same(computed(code, net.proto(), net.inputs), [want], rtol=0)
