# SPDX-License-Identifier: Apache-2.0
"""Which kernels ask for weights before they reach them, and that they ask for all of them."""

from __future__ import annotations

from typing import Any

import pytest

from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.kernels.product import direct, geometry
from splitc_targets.loops import emit
from splitc_targets.machine.machine import machine_of
from splitc_targets.tvm import adapter
from tests.targets.nets import Net

ROWS, DEPTH, COLUMNS = 50, 64, 512


def assembly(board: str, *, constant: bool) -> str:
    """The code of a product, by a constant or of two tensors."""
    net = Net(0)
    right = net.random(DEPTH, COLUMNS) if constant else net.input(DEPTH, COLUMNS)
    net.outputs = [net.op("MatMul", net.input(ROWS, DEPTH), right)]
    code = pipeline.compile_module(adapter.lower(net.proto()), load_board(board))
    assert not code.fallbacks
    return adapter.assembly(code.library)


@pytest.mark.parametrize("board", ["x86-64-v3", "x86-64-v4"])
def test_a_product_by_a_constant_asks_for_the_next_weights_on_x86(board: str) -> None:
    assert "prefetcht1" in assembly(board, constant=True)


def test_a_product_of_two_tensors_asks_for_nothing() -> None:
    assert "prefetch" not in assembly("x86-64-v4", constant=False)


def test_a_core_that_is_not_said_to_prefetch_asks_for_nothing() -> None:
    assert "prfm" not in assembly("rpi4", constant=True)


@pytest.mark.parametrize(
    ("x", "y", "kernel", "stride"),
    [
        ((1, 64, 1, 50), (1, 512, 1, 50), (1, 1), (1, 1)),
        ((1, 64, 14, 14), (1, 256, 7, 7), (3, 3), (2, 2)),
        ((2, 32, 5, 7), (2, 200, 5, 7), (1, 1), (1, 1)),
    ],
)
def test_tiles_together_ask_for_the_whole_next_block(
    x: tuple[int, ...], y: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    """Each tile's share begins where the one before ends, and the last ends behind the block."""
    machine = machine_of(load_board("x86-64-v4"))
    conv = geometry.flattened(
        geometry.of_maps(x, y, 1, kernel, stride, (kernel[0] // 2, kernel[0] // 2))
    )
    nowhere = emit.Array(None, "float32")
    writer = direct.Writer(emit.Code(), conv, machine, (nowhere, nowhere, nowhere))
    taps = kernel[0] * kernel[1] * conv.channels
    wide = writer.tile.vectors * machine.lanes
    starts: list[int] = []
    for place in range(conv.batch * conv.out_height):
        image, row = divmod(place, conv.out_height)
        spot: Any = direct.Spot(0, 0, 0, writer.tile.vectors, wide, image, row)
        for column in range(0, conv.out_width, writer.tile.rows):
            ahead = writer.ahead(spot, column)
            assert ahead is not None
            starts.append(int(ahead))
    share = taps * writer.each_step
    assert starts == [taps * wide + k * share for k in range(len(starts))]
    assert starts[-1] + share >= 2 * taps * wide
