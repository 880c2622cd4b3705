# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Numbers put at places that are computed, by kernels of threads: as onnxruntime has it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import SEEDS, Draw, Net, one_of
from tests.targets.rules.test_networks import sweep

pytestmark = needs_opencl

REDUCTIONS = ("none", "add", "mul", "max", "min")


def _start(draw: Draw) -> tuple[Net, str, str, dict[str, str]]:
    """A network, its tensor and the tensor's type, and how numbers are combined."""
    net = Net(draw(SEEDS), opset=18)
    shape = one_of(draw, (7, 5), (3, 4, 6), (300,), (2, 3, 1, 5))
    dtype = one_of(draw, "float32", "float32", "int64", "float64")
    return net, net.input(*shape, dtype=dtype), dtype, {"reduction": one_of(draw, *REDUCTIONS)}


@st.composite
def along(draw: Draw) -> Net:
    """ScatterElements; places from either end, several of them equal."""
    net, x, dtype, how = _start(draw)
    shape = net.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = [draw(st.integers(1, n)) for n in shape]
    places = net.rng.integers(-shape[axis], shape[axis], sizes)
    given_places = net.input(*sizes, values=places)
    updates = net.input(*sizes, dtype=dtype)
    net.outputs = [net.op("ScatterElements", x, given_places, updates, axis=axis, **how)]
    return net


@st.composite
def rows(draw: Draw) -> Net:
    """ScatterND; places of one number or several, several of them equal."""
    net, x, dtype, how = _start(draw)
    shape = net.shape(x)
    depth = draw(st.integers(1, len(shape)))
    many = one_of(draw, (1,), (5,), (2, 3))
    places = np.stack([net.rng.integers(-n, n, many) for n in shape[:depth]], -1)
    updates = net.input(*many, *shape[depth:], dtype=dtype)
    net.outputs = [net.op("ScatterND", x, net.input(*places.shape, values=places), updates, **how)]
    return net


@sweep(12)
@given(along())
def test_numbers_put_along_an_axis(net: Net) -> None:
    assert "scatter" in [kernel.rule for kernel in assert_right(net).kernels]


@sweep(12)
@given(rows())
def test_numbers_put_into_rows(net: Net) -> None:
    assert "scatter" in [kernel.rule for kernel in assert_right(net).kernels]
