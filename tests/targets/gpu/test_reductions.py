# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Reductions of whole numbers and of doubles by kernels of threads, as onnxruntime has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.gpu.device import assert_right, needs_opencl
from tests.targets.nets import SEEDS, Draw, Net, one_of
from tests.targets.rules.test_networks import sweep

pytestmark = needs_opencl

TYPES: dict[str, tuple[str, ...]] = {
    "ReduceSum": ("int32", "int64", "float64"),
    "ReduceMean": ("float64",),
    "ReduceProd": ("int32", "int64"),
    "ReduceMax": ("int32", "int64", "float64", "int8", "uint8"),
    "ReduceMin": ("int32", "int64", "float64", "int8", "uint8"),
}
"""Element types that onnxruntime reduces, other than float32."""


@st.composite
def reductions(draw: Draw) -> Net:
    """A reduction over some axes, of few elements by a thread and of many by a block."""
    net = Net(draw(SEEDS), opset=18)
    kind = draw(st.sampled_from(sorted(TYPES)))
    shape = one_of(draw, (3, 70), (2, 5, 7), (300,), (4, 1, 129), (65, 3))
    x = net.input(*shape, dtype=draw(st.sampled_from(TYPES[kind])))
    array = net.inputs[x]
    if array.dtype.kind != "f":
        bounds = np.iinfo(array.dtype)
        small = kind in ("ReduceSum", "ReduceProd")  # onnxruntime does not wrap around.
        low, high = (-100, 100) if small else (bounds.min, bounds.max)
        array[...] = net.rng.integers(low, high, shape, array.dtype, endpoint=True)
        if kind == "ReduceProd":
            array[...] = np.where(net.rng.random(shape) < 0.03, 3, np.sign(array) | 1)
    if draw(st.booleans()):
        x = net.op("Transpose", x, perm=list(range(len(shape)))[::-1])
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    net.outputs = [net.op(kind, x, np.array(sorted(axes)), keepdims=one_of(draw, 0, 1))]
    return net


@sweep(25)
@given(reductions())
def test_reductions_of_other_types_are_by_rule(net: Net) -> None:
    code = assert_right(net)
    assert not code.fallbacks
    assert "reduce" in [kernel.rule for kernel in code.kernels]
