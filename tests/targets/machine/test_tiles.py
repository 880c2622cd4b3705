# SPDX-License-Identifier: Apache-2.0
"""A tile that leaves no register for a row's number reads it again for every vector."""

from __future__ import annotations

import pytest

from splitc.cost.board import load_board
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import machine_of
from splitc_targets.machine.tiles import Tile


@pytest.mark.parametrize("channels", [96, 150, 256, 384, 768, 3072])
@pytest.mark.parametrize("name", ["x86-64-v3", "x86-64-v4"])
def test_the_chosen_tile_reads_no_number_twice(name: str, channels: int) -> None:
    machine = machine_of(load_board(name))
    tile = tiles.choose(machine, 196, channels, 4 * 384)
    assert tile.vectors == 1 or tile.vectors * (tile.rows + 1) + 1 <= machine.registers


def test_a_tile_that_fills_the_registers_is_bound_by_its_loads() -> None:
    machine = machine_of(load_board("x86-64-v4"))
    crowded, roomy = (tiles.cycles(machine, Tile(rows, 4)) / rows for rows in (7, 6))
    assert crowded >= 32 / machine.loads_per_cycle / 7
    assert roomy < crowded
