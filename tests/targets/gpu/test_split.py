# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products whose depth is shared among blocks, for a device of many multiprocessors."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from splitc.cost.board import load_board
from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels.product import dense
from splitc_targets.gpu.kernels.split import parts_of
from tests.targets.gpu.device import BOARD, compiled, needs_opencl, of_pixels, run, simulated
from tests.targets.nets import SEEDS, Draw, Net, assert_same, one_of, wanted
from tests.targets.rules.test_networks import sweep


@st.composite
def deep(draw: Draw) -> Net:
    """Few results, each of a long sum, and something behind."""
    net = Net(draw(SEEDS))
    depth = one_of(draw, 512, 640, 2048)
    form = one_of(draw, "vector", "rows", "pairs", "1x1", "3x3")
    if form == "vector":
        y = net.op("MatMul", net.input(1, depth), net.random(depth, 37))
    elif form == "rows":
        y = net.op("MatMul", net.input(19, depth), net.random(depth, 37))
    elif form == "pairs":
        rows = one_of(draw, 1, 17)
        y = net.op("MatMul", net.input(3, rows, depth), net.input(3, depth, 9))
    else:
        size = 3 if form == "3x3" else 1
        x = net.input(one_of(draw, 1, 2), depth // 2, 7, 5)
        weights, pad = net.random(11, depth // 2, size, size), size // 2
        y = net.op("Conv", x, weights, net.random(11), pads=[pad] * 4, strides=[2, 2])
    if draw(st.booleans()):
        y = net.op("Add", net.op("Relu", y), net.input(*net.shape(y)))
    net.outputs = [y]
    if draw(st.booleans()):
        next(iter(net.inputs.values())).flat[0] = one_of(draw, np.inf, np.nan)
    return net


@needs_opencl
@sweep(15)
@given(deep())
def test_sums_of_parts_are_the_whole(net: Net) -> None:
    proto = net.proto()
    code = compiled(proto, structs.replace(load_board(BOARD), cores=132))
    order = [net.inputs[value.name] for value in proto.graph.input]
    assert_same(run(code, *order), wanted(proto, net.inputs), 5e-5)
    assert "parts" in [kernel.rule for kernel in code.kernels]


@needs_opencl
def test_parts_stay_floats_where_tensors_between_kernels_are_halves() -> None:
    net = Net(0)
    y = net.op("Relu", net.op("MatMul", net.input(1, 2048), net.random(2048, 64)))
    net.outputs = [net.op("MatMul", y, net.random(64, 5))]
    proto = net.proto()
    code = compiled(proto, structs.replace(simulated("float16"), cores=132))
    assert "parts" in [kernel.rule for kernel in code.kernels]
    assert_same(run(code, *net.inputs.values()), wanted(proto, net.inputs), 2e-3)


def test_what_fills_the_multiprocessors_or_is_short_stays_whole() -> None:
    many, few = Device(132, 128.0), Device(2, 128.0)
    deep, wide, short = (
        of_pixels(49, 4096, 512),
        of_pixels(12544, 4096, 512),
        of_pixels(49, 64, 512),
    )
    assert parts_of(dense(deep), many) > 1
    assert parts_of(dense(of_pixels(1, 4096, 1000)), many) > 1
    assert parts_of(dense(deep), few) == 1
    assert parts_of(dense(wide), many) == 1
    assert parts_of(dense(short), many) == 1
