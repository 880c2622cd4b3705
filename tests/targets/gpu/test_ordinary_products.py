# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products on a multiprocessor's ordinary units: what a thread has, copies, loads and stores."""

from __future__ import annotations

import re
from ctypes import byref, c_char_p, c_void_p
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from splitc.cost.board import load_board
from splitc.cost.precision import at_precision
from splitc_targets.gpu import cuda
from splitc_targets.gpu.device import device_of
from splitc_targets.gpu.kernels import ordinary_products, products
from splitc_targets.gpu.kernels.ordinary_products import (
    TILES,
    Tile,
    along_depth,
    column_of,
    cycles,
    deep_place,
    first_of,
    tile_of,
)
from splitc_targets.gpu.kernels.product import dense
from tests.targets.gpu.device import assert_right, compiled, needs_opencl, of_pixels
from tests.targets.nets import Net

tiles = pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.columns}")


def _own(tile: Tile, thread: int) -> tuple[list[int], list[int]]:
    """The rows and columns of a thread."""
    row, column = (int(each) for each in first_of(thread, tile))
    runs = range(0, tile.own_columns, tile.run)
    rows = [row + i * tile.tall for i in range(tile.own_rows)]
    return rows, [column + j * tile.wide + n for j in runs for n in range(tile.run)]


@tiles
def test_each_result_of_a_tile_is_one_threads(tile: Tile) -> None:
    owned = [pair for thread in range(tile.threads) for pair in product(*_own(tile, thread))]
    assert sorted(owned) == sorted(product(range(tile.rows), range(tile.columns)))


@tiles
def test_what_threads_load_at_once_lies_in_32_banks_or_is_the_same(tile: Tile) -> None:
    # A load of 16 bytes is served for eight threads at a time, shorter ones for a whole warp.
    for first in range(0, tile.threads, 8):
        eight = [_own(tile, first + n) for n in range(8)]
        left = {rows[0] * tile.depth + n for rows, _ in eight for n in range(4)}
        right = {columns[n] for _, columns in eight for n in range(tile.run)}
        for words in (left, right):
            assert len({word % 32 for word in words}) == len(words)


@tiles
def test_a_slice_along_the_depth_has_each_column_once_and_eight_pieces_in_32_banks(
    tile: Tile,
) -> None:
    lines = {int(column_of(line, tile)): line for line in range(tile.columns)}
    assert sorted(lines) == list(range(tile.columns))
    places = {
        (line, k): int(deep_place(line, k, tile)) for line in range(8) for k in range(tile.depth)
    }
    assert sorted(places.values()) == list(range(8 * tile.depth))
    assert all(places[line, k] + n == places[line, k + n] for line, k in places if k % 4 == 0
               for n in range(4))  # fmt: skip
    for first in range(0, tile.threads, 8):
        columns = [_own(tile, first + n)[1] for n in range(8)]
        for number in range(tile.own_columns):
            loaded = [int(deep_place(lines[own[number]], 4, tile)) for own in columns]
            assert len({(word + n) % 32 for word in loaded for n in range(4)}) == 32


@needs_opencl
@pytest.mark.parametrize("tile", [TILES[n] for n in (0, 2, 4, 5, 8)], ids=str)
@pytest.mark.parametrize("depth", [20, 21])
def test_a_transposed_right_side_comes_as_the_left_one_does(
    tile: Tile, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordinary_products, "TILES", (tile,))
    net = Net(0)
    right = net.op("Transpose", net.input(2, 37, depth), perm=[0, 2, 1])
    net.outputs = [net.op("MatMul", net.input(2, 41, depth), right)]
    source = assert_right(net).program.source
    copied = set(re.findall(r"splitc_copy_\d+(?=\(\()", source))
    assert copied == {"splitc_copy_16" if depth % 4 == 0 else "splitc_copy_4"}


@needs_opencl
@pytest.mark.parametrize("tile", [TILES[n] for n in (0, 2, 4, 5, 8)], ids=str)
def test_tiles_that_small_products_do_not_get_are_right_too(
    tile: Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordinary_products, "TILES", (tile,))
    net = Net(0)
    # Channels and zeros behind columns by 16 bytes; a left side of odd rows by 4.
    y = net.op("Conv", net.input(1, 12, 9, 11), net.random(22, 12, 3, 3), pads=[1, 1, 1, 1])
    net.outputs = [net.op("Relu", net.op("Add", y, net.input(1, 22, 9, 11)))]
    net.outputs.append(net.op("MatMul", net.input(2, 37, 21), net.input(2, 21, 36)))
    source = assert_right(net).program.source
    called = set(re.findall(r"splitc_(?:copy|store)_\d+(?=\(\()", source))
    stored = {f"splitc_store_{tile.run}"} if tile.run > 1 else set()
    assert called == {"splitc_copy_16", "splitc_copy_4", *stored}


def _ptx(source: str) -> str:
    """What NVIDIA's compiler hands to its assembler."""
    compiler, program = cuda._compiler(), c_void_p()
    text = (cuda._PRELUDE + source[cuda._start(source) :]).encode()
    assert not compiler.nvrtcCreateProgram(byref(program), text, b"k.cu", 0, None, None)
    options = (c_char_p * 2)(b"--gpu-architecture=compute_90", b"--std=c++17")
    assert not compiler.nvrtcCompileProgram(program, 2, options)
    found = cuda._text(compiler.nvrtcGetPTXSize, compiler.nvrtcGetPTX, program)
    compiler.nvrtcDestroyProgram(byref(program))
    return found


def test_nvidias_compiler_loads_16_bytes_of_a_transposed_side_too() -> None:
    net = Net(0)
    right = net.op("Transpose", net.input(4, 512, 256), perm=[0, 2, 1])
    net.outputs = [net.op("MatMul", net.input(4, 512, 256), right)]
    source = compiled(net.proto(), "cuda-sm90").program.source
    (body,) = (body for body in _ptx(source).split(".entry ")[1:] if "fma.rn.f32" in body)
    assert set(re.findall(r"ld\.shared[\w.:]*", body)) == {"ld.shared.v4.f32"}
    assert set(re.findall(r"cp\.async\.c[ag][\w.]+", body)) == {"cp.async.cg.shared.global"}
    usage = cuda.compile_source(source, "sm_90").usage
    assert all(used.spill_bytes == 0 for used in usage.values())


def test_nvidias_compiler_copies_loads_and_stores_16_bytes() -> None:
    net = Net(0)
    x = net.input(1, 64, 56, 56)
    # 127 results of a pixel are not stored so, but weights are copied with what stands behind.
    net.outputs = [net.op("Conv", x, net.random(n, 64, 3, 3), pads=[1] * 4) for n in (128, 127)]
    ptx = _ptx(compiled(net.proto(), "cuda-sm90").program.source)
    bodies = [body for body in ptx.split(".entry ")[1:] if "fma.rn.f32" in body]
    assert len(bodies) == 2
    for body in bodies:
        loads = set(re.findall(r"ld\.shared[\w.:]*", body))
        assert loads == {"ld.shared.v4.f32"}
        assert set(re.findall(r"cp\.async\.c[ag][\w.]+", body)) == {"cp.async.cg.shared.global"}
        assert ".local" not in body
    assert sum("st.global.v4.f32" in body for body in bodies) == 1


def test_the_prediction_knows_how_wide_copies_are_and_how_many_blocks_there_are() -> None:
    device = device_of(load_board("cuda-sm90"))
    narrow = dense(of_pixels(65536, 512, 512))
    wide = replace(narrow, x_aligned=4)
    assert (narrow.x_run, wide.x_run, wide.w_beside) == (1, 4, 8)
    assert cycles(wide, device) < cycles(narrow, device)
    assert tile_of(wide, device) == TILES[0]
    few = tile_of(dense(of_pixels(196, 512, 64)), device)
    assert few.rows * few.columns < 64 * 64


@pytest.mark.parametrize("precision", ["tf32", "float16"])
@pytest.mark.parametrize("board", ["cuda-sm80", "cuda-sm86", "cuda-sm89", "cuda-sm90"])
@pytest.mark.parametrize(
    "size", [(3136, 64, 128), (784, 128, 128), (196, 512, 128), (49, 512, 512)]
)
def test_layers_of_real_networks_are_multiplied_by_tensor_cores_where_that_is_asked(
    size: tuple[int, int, int], board: str, precision: str
) -> None:
    device = device_of(at_precision({"server": load_board(board)}, precision)["server"])
    conv = of_pixels(*size)
    weights = np.zeros((conv.out_channels, conv.channels, 1, 1), np.float32)
    assert products.packed(weights, conv, device, aligned=8)[0].words == precision


def test_the_prediction_knows_that_a_transposed_right_side_comes_as_widely() -> None:
    device = device_of(load_board("cuda-sm90"))
    beside = replace(dense(of_pixels(4096, 512, 512)), x_aligned=4, w_columns=0)
    deep = replace(beside, w_depth=1, w_column=512)
    apart = replace(beside, w_depth=2, w_column=1024)
    assert [along_depth(each) for each in (beside, deep, apart)] == [False, True, False]
    assert cycles(deep, device) < cycles(apart, device)


def test_weights_have_zeros_behind_their_columns_where_these_are_no_multiple_of_four() -> None:
    odd, even = dense(of_pixels(100, 8, 37)), dense(of_pixels(100, 8, 36))
    assert (odd.w_depth, odd.w_beside, even.w_depth) == (40, 8, 36)
    assert dense(of_pixels(1, 8, 37)).w_depth == 37, "all of a vector's weights are read"
