# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products by tensor cores: who holds what, how operands are rounded, and the twin's results."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.cost.board import Gpu, load_board
from splitc.cost.precision import at_precision
from splitc.errors import UsageError
from splitc_targets.gpu.kernels import tensor_products
from splitc_targets.gpu.kernels.tensor_products import DEPTH, TILES, Tile
from splitc_targets.gpu.loops import tensor_cores
from tests.targets import nets
from tests.targets.gpu.device import compiled, needs_opencl, run, simulated
from tests.targets.nets import Array, Net, wanted
from tests.targets.rules.test_networks import sweep

LANES, WORDS = range(32), range(8)
PRECISIONS = ["tf32", "float16"]
HALF_STEP = 2.0**-11
"""Of a number: tf32 and float16 both keep 10 bits behind the first."""


def rounded(values: Array, precision: str) -> Array:
    """Numbers that the precision has."""
    if precision == "tf32":
        return tensor_products.rounded(values).view(np.float32).reshape(values.shape)
    return values.astype(np.float16).astype(np.float32)


def test_each_word_and_sum_is_held_once_where_the_isa_says() -> None:
    # PTX ISA, "Matrix Fragments for mma.m16n8k8" with .tf32: groupID = lane >> 2,
    # threadID_in_group = lane % 4; row = groupID for a0, a2, c0, c1, else groupID + 8;
    # column of a = threadID_in_group for a0, a1, else + 4; of c = threadID_in_group * 2 + (i & 1).
    left = {(tensor_cores.left_held(lane, i)): (lane, i) for lane, i in product(LANES, range(4))}
    right = {(tensor_cores.right_held(lane, i)): (lane, i) for lane, i in product(LANES, range(2))}
    sums = {(tensor_cores.sum_held(lane, i)): (lane, i) for lane, i in product(LANES, range(4))}
    assert set(left) == set(product(range(16), WORDS))
    assert set(right) == set(product(range(8), WORDS))
    assert set(sums) == set(product(range(16), range(8)))
    for (row, word), (lane, i) in left.items():
        assert row == (lane >> 2) + (0 if i in (0, 2) else 8)
        assert word == lane % 4 + (0 if i in (0, 1) else 4)
        assert tensor_cores.left_holder(row, word) == (lane, i)
    for (column, word), (lane, i) in right.items():
        assert (word, column) == (lane % 4 + (4 if i else 0), lane >> 2)
        assert tensor_cores.right_holder(column, word) == (lane, i)
    for (row, column), (lane, i) in sums.items():
        assert row == (lane >> 2) + (0 if i < 2 else 8)
        assert column == lane % 4 * 2 + (i & 1)


def test_words_of_halves_are_held_as_the_isa_says_of_their_numbers() -> None:
    # PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": of a0 to a7, row =
    # groupID for i in 0, 1, 4, 5, else + 8; column = threadID_in_group * 2 + (i & 1), + 8 for
    # i >= 4. Of b0 to b3, row = threadID_in_group * 2 + (i & 1), + 8 for i >= 2; column = groupID.
    for lane, i in product(LANES, range(8)):
        row, word = tensor_cores.left_held(lane, i // 2)
        assert row == (lane >> 2) + (0 if i % 4 < 2 else 8)
        assert 2 * word + i % 2 == lane % 4 * 2 + (i & 1) + (8 if i >= 4 else 0)
    for lane, i in product(LANES, range(4)):
        column, word = tensor_cores.right_held(lane, i // 2)
        assert column == lane >> 2
        assert 2 * word + i % 2 == lane % 4 * 2 + (i & 1) + (8 if i >= 2 else 0)


def test_a_matrix_of_shared_memory_gives_lanes_the_words_that_they_hold() -> None:
    # PTX ISA, "ldmatrix": threads 8n to 8n + 7 give the addresses of rows 0 to 7 of matrix n. Of
    # each, a row is 16 bytes, and lane l gets of row l / 4 the bytes from 4 * (l % 4) on, as its
    # register n.
    for lane, number in product(LANES, range(4)):
        assert tensor_cores.supplier(lane, number) == 8 * number + lane // 4
        row, word = tensor_cores.left_supplied(8 * number + lane // 4)
        assert (row, word + lane % 4) == tensor_cores.left_held(lane, number)
        column, word = tensor_cores.right_supplied(8 * number + lane // 4)
        held = tensor_cores.right_held(lane, number % 2)
        assert (column - 8 * (number // 2), word + lane % 4) == held


def _place(line: int, word: int) -> int:
    return int(tensor_products.place_of(line, word))


def test_every_word_of_a_slice_has_a_place_and_pieces_stay_whole() -> None:
    lines, words = range(128), range(tensor_products.DEPTH)
    places = {(line, word): _place(line, word) for line, word in product(lines, words)}
    assert sorted(places.values()) == list(range(128 * tensor_products.DEPTH))
    for line, piece in product(lines, range(0, 16, 4)):
        assert places[line, piece] % 4 == 0
        assert [places[line, piece + i] - places[line, piece] for i in range(4)] == [0, 1, 2, 3]


def test_rows_that_a_warp_loads_or_words_that_it_stores_at_once_lie_in_32_banks() -> None:
    # `ldmatrix` reads the eight rows of a matrix at once.
    for first, word in product((0, 8, 64), (0, 8)):
        for supplied in (tensor_cores.left_supplied, tensor_cores.right_supplied):
            for number in range(4):
                rows = [supplied(8 * number + row) for row in range(8)]
                places = [_place(first + row, word + at) for row, at in rows]
                assert len({(place + i) % 32 for place in places for i in range(4)}) == 32
    for first in range(0, 32, 2):  # Two lines at once, or a word of eight columns four times.
        assert len({_place(first + lane // 16, lane % 16) % 32 for lane in LANES}) == 32
    for word in range(0, 16, 4):
        assert len({_place(lane % 8, word + lane // 8) % 32 for lane in LANES}) == 32


def test_weights_are_rounded_as_cvt_rna_does() -> None:
    # To nearest of 10 bits, halves away from 0; infinities and what is no number stay.
    given = np.array([1 + 2**-11, -1 - 2**-11, 1 + 2**-12, np.inf, -np.inf, np.nan, 3.4e38, 1e-40],
                     np.float32)  # fmt: skip
    made = tensor_products.rounded(given).view(np.float32)
    assert list(made[:5]) == [1 + 2**-10, -1 - 2**-10, 1.0, np.inf, -np.inf]
    assert np.isnan(made[5])
    assert made[6] == np.inf or abs(made[6] / 3.4e38 - 1) <= HALF_STEP
    assert abs(made[7] - 1e-40) <= 2.0**-137


def _run(net: Net, precision: str) -> tuple[list[Array], list[Array]]:
    """What the twin gives, and onnxruntime."""
    proto = net.proto()
    order = [net.inputs[value.name] for value in proto.graph.input]
    return run(compiled(proto, simulated(precision)), *order), wanted(proto, net.inputs)


def _conv(net: Net, precision: str, x: tuple[int, ...], w: tuple[int, ...], **attrs: Any) -> str:
    given = net.input(values=rounded(net.random(*x), precision))
    return net.op("Conv", given, rounded(net.random(*w), precision), net.random(w[0]), **attrs)


def _matmul(net: Net, precision: str, a: tuple[int, ...], b: tuple[int, ...]) -> str:
    left, right = (net.input(values=rounded(net.random(*shape), precision)) for shape in (a, b))
    return net.op("MatMul", left, right)


EXACT: dict[str, Callable[[Net, str], str]] = {
    "3x3, a border, strides, an epilogue": lambda n, p: n.op(
        "Relu", _conv(n, p, (2, 24, 13, 11), (40, 24, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    ),
    "1x1, wide and deep": lambda n, p: _conv(n, p, (1, 70, 12, 12), (136, 70, 1, 1)),
    "the first layer": lambda n, p: _conv(
        n, p, (1, 3, 30, 30), (16, 3, 7, 7), pads=[3, 3, 3, 3], strides=[2, 2]
    ),
    "groups of odd channels": lambda n, p: _conv(n, p, (2, 27, 7, 7), (33, 9, 3, 3), group=3),
    "dilated": lambda n, p: _conv(n, p, (1, 17, 12, 9), (9, 17, 3, 3), dilations=[2, 2]),
    "batched products": lambda n, p: _matmul(n, p, (3, 70, 37), (3, 37, 45)),
    "a product of tensors": lambda n, p: _matmul(n, p, (130, 33), (33, 129)),
}  # fmt: skip


@needs_opencl
@pytest.mark.parametrize("precision", PRECISIONS)
def test_operands_that_the_precision_has_are_multiplied_exactly(precision: str) -> None:
    # Such products are exact in float32: what is left is the order of sums, as in float32, and
    # with float16 that a result is in memory once before it is laid as the network has it.
    net = Net(0)
    net.outputs = [build(net, precision) for build in EXACT.values()]
    for got, want in zip(*_run(net, precision), strict=True):
        kept = HALF_STEP * np.abs(want) if precision == "float16" else 0
        assert np.all(np.abs(got - want) <= kept + 4e-5 * np.abs(want).max())
    code = compiled(net.proto(), simulated(precision))
    assert code.program.source.count("__local int left") == len(EXACT)
    told = [kernel.op for kernel in code.kernels if kernel.op.endswith(f" in {precision}")]
    assert len(told) == sum("product" not in name for name in EXACT)


@needs_opencl
@pytest.mark.parametrize("precision", PRECISIONS)
def test_both_sides_come_by_16_bytes_where_the_right_one_is_transposed(precision: str) -> None:
    net = Net(0)
    # Of no sign, and made by the part: in float16 they are in memory in halves.
    left, right = (net.op("Softmax", net.input(2, n, 72), axis=-1) for n in (45, 53))
    net.outputs = [net.op("MatMul", left, net.op("Transpose", right, perm=[0, 2, 1]))]
    (got,), (want,) = _run(net, precision)
    assert np.all(np.abs(got - want) <= 4 * HALF_STEP * want)
    code = compiled(net.proto(), simulated(precision))
    copied = re.findall(r"splitc_copy_(\d+)\(\(", code.program.source)
    assert copied and set(copied) == {"16"}


@needs_opencl
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tile", [TILES[-3], TILES[-1]], ids=str)
def test_small_tiles_take_two_slices_at_a_time(
    precision: str, tile: Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensor_products, "TILES", (tile,))
    net = Net(0)
    for channels in (64, 56):  # Two slices lie under one place of the window, or they do not.
        x = net.input(values=rounded(net.random(1, channels, 10, 8), precision))
        pooled = net.op("MaxPool", x, kernel_shape=[2, 2])  # In memory in halves with float16.
        weights = rounded(net.random(40, channels, 3, 3), precision)
        net.outputs.append(net.op("Conv", pooled, weights, pads=[1, 1, 1, 1]))
    for got, want in zip(*_run(net, precision), strict=True):
        kept = HALF_STEP * np.abs(want) if precision == "float16" else 0
        assert np.all(np.abs(got - want) <= kept + 4e-5 * np.abs(want).max())
    source = compiled(net.proto(), simulated(precision)).program.source
    words = re.findall(r"__local int left\w*\[(\d+)\]", source)
    assert words == [str(4 * 2 * tile.rows * DEPTH)] * 2


@needs_opencl
@pytest.mark.parametrize("precision", PRECISIONS)
@sweep(4)
@given(st.one_of(nets.convolutions(), nets.products(), nets.transposed_convolutions()))
def test_results_are_off_by_what_rounding_of_operands_makes(precision: str, net: Net) -> None:
    # A product is off by two half steps of itself. Sums of random signs are smaller than those
    # of sizes, which is what errors hang on: by less than 8 for the few hundred terms here; and
    # two layers follow each other.
    for got, want in zip(*_run(net, precision), strict=True):
        assert got.shape == want.shape
        if want.size:
            most = 2 * (2 * HALF_STEP) * 8 * max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, rtol=0, atol=most)


@needs_opencl
@pytest.mark.parametrize("precision", PRECISIONS)
def test_infinities_and_not_a_numbers_come_out(precision: str) -> None:
    net = Net(0)
    values = net.random(20, 24)
    values[3, 5], values[7, 2], values[9, 1] = np.inf, np.nan, -np.inf
    net.outputs = [net.op("MatMul", net.input(values=values), np.abs(net.random(24, 19)) + 0.1)]
    (got,), (want,) = _run(net, precision)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    np.testing.assert_array_equal(got[~np.isfinite(want)], want[~np.isfinite(want)])


def test_a_precision_that_a_board_lacks_is_refused() -> None:
    boards = {"device": load_board("rpi4"), "server": load_board("cuda-sm75")}
    with pytest.raises(UsageError, match="cuda-sm75 does not multiply in tf32") as raised:
        at_precision(boards, "tf32")
    assert "--precision float16" in raised.value.hint
    unit = at_precision(boards, "float16")["server"].unit
    assert isinstance(unit, Gpu) and unit.precision == "float16"
    with pytest.raises(UsageError, match="--precision tf32 does nothing"):
        at_precision({"device": load_board("rpi4")}, "tf32")


@needs_opencl
def test_every_float16_is_read_and_every_kind_of_float_rounded_as_ieee_says() -> None:
    import pyopencl

    device = pyopencl.get_platforms()[0].get_devices()[0]
    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    source = tensor_cores.OPENCL + (
        "__kernel void f(__global const uint* h, __global float* x, __global const float* y,"
        " __global uint* z) { int i = get_global_id(0); x[i] = splitc_float(h[i]);"
        " z[i] = splitc_half(y[i]); }"
    )
    halves = np.arange(65536, dtype=np.uint32)
    rng = np.random.default_rng(0)
    floats = np.ldexp(rng.standard_normal(65536), rng.integers(-30, 20, 65536)).astype(np.float32)
    want = halves.astype(np.uint16).view(np.float16).astype(np.float32)
    # The halfway points between neighbours of float16 too, which go to the even one.
    floats[:31744:2] = want[:31744:2] + (want[1:31744:2] - want[:31744:2]) / 2
    read, made = np.zeros_like(want), np.zeros_like(halves)
    flags = pyopencl.mem_flags.READ_WRITE | pyopencl.mem_flags.COPY_HOST_PTR
    buffers = [pyopencl.Buffer(context, flags, hostbuf=a) for a in (halves, read, floats, made)]
    pyopencl.Program(context, source).build().f(queue, (65536,), None, *buffers)
    pyopencl.enqueue_copy(queue, read, buffers[1])
    pyopencl.enqueue_copy(queue, made, buffers[3])
    np.testing.assert_array_equal(read, want)
    with np.errstate(over="ignore"):
        rounded_by_numpy = floats.astype(np.float16)
    np.testing.assert_array_equal(made.astype(np.uint16).view(np.float16), rounded_by_numpy)
