# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Networks that put numbers at computed places, for sweeps over kernels of any processor."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.targets.nets import SEEDS, Draw, Net, one_of

REDUCTIONS = ("none", "add", "mul", "max", "min")
TYPES = ("float32", "float32", "int64", "float64", "int32")

Shapes = tuple[tuple[int, ...], ...]


def _start(draw: Draw, shapes: Shapes) -> tuple[Net, str, str, dict[str, str]]:
    """A network, its tensor and the tensor's type, and how numbers are combined."""
    net = Net(draw(SEEDS), opset=18)
    shape, dtype = one_of(draw, *shapes), one_of(draw, *TYPES)
    return net, net.input(*shape, dtype=dtype), dtype, {"reduction": one_of(draw, *REDUCTIONS)}


@st.composite
def along(draw: Draw, shapes: Shapes) -> Net:
    """ScatterElements; places from either end, several of them equal."""
    net, x, dtype, how = _start(draw, shapes)
    shape = net.shape(x)
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = [one_of(draw, n, draw(st.integers(1, n))) for n in shape]
    places = net.rng.integers(-shape[axis], shape[axis], sizes)
    given_places = net.input(*sizes, values=places.astype(one_of(draw, "int64", "int32")))
    updates = net.input(*sizes, dtype=dtype)
    net.outputs = [net.op("ScatterElements", x, given_places, updates, axis=axis, **how)]
    return net


@st.composite
def rows(draw: Draw, shapes: Shapes) -> Net:
    """ScatterND; places of one number or several, several of them equal."""
    net, x, dtype, how = _start(draw, shapes)
    shape = net.shape(x)
    depth = draw(st.integers(1, len(shape)))
    many = one_of(draw, (1,), (5,), (2, 3))
    places = np.stack([net.rng.integers(-n, n, many) for n in shape[:depth]], -1)
    updates = net.input(*many, *shape[depth:], dtype=dtype)
    net.outputs = [net.op("ScatterND", x, net.input(*places.shape, values=places), updates, **how)]
    return net
