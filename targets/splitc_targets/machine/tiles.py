# SPDX-License-Identifier: Apache-2.0
"""The analytic model: how many rows and vectors of results a kernel holds in registers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from splitc_targets.machine.machine import Machine

MOST_ROWS, MOST_VECTORS = 16, 8


@dataclass(frozen=True)
class Tile:
    """A block of results kept in registers.

    Args:
        rows: Pixels (rows of a matrix product's result).
        vectors: Vectors of output channels.
    """

    rows: int
    vectors: int


def fits(machine: Machine, tile: Tile) -> bool:
    """Whether accumulators and operands stay in registers.

    One weight vector at a time is enough where the multiply-add reads its other operand
    from memory; with lanes, a register per row holds four steps of the row.
    """
    accumulators = tile.rows * tile.vectors
    if machine.lane_fma:
        needed = accumulators + tile.rows + tile.vectors
    elif machine.memory_fma:
        needed = accumulators + tile.vectors
    else:
        needed = _with_a_row(tile)
    return needed <= machine.registers - machine.spare


def _with_a_row(tile: Tile) -> int:
    """Registers for the sums, a step's weights, and one row's number at a time."""
    return tile.rows * tile.vectors + tile.vectors + 1


def cycles(machine: Machine, tile: Tile) -> float:
    """Cycles of one step of the reduction over a tile."""
    work = tile.rows * tile.vectors
    latency = machine.fma_latency if machine.fma else machine.fma_latency + 3
    arithmetic = max(work / machine.fma_per_cycle, latency)
    if machine.lane_fma:
        # A row's register serves as many steps as it has lanes.
        loads = tile.vectors + tile.rows / machine.lanes
    elif _with_a_row(tile) > machine.registers - machine.spare:
        # No register is left for a row's number: every multiply-add reads it from memory again.
        loads = tile.vectors + work
    else:
        loads = tile.vectors + tile.rows
    return max(arithmetic, loads / machine.loads_per_cycle) + 0.02 * loads


def conflicts(machine: Machine, rows: int, row_bytes: int) -> float:
    """Slowdown where rows lie so far apart that they fall on the same cache sets."""
    sets = machine.l1_bytes // (64 * machine.l1_ways)
    lines = [(row * row_bytes // 64) % sets for row in range(rows)]
    crowd = max(lines.count(line) for line in set(lines))
    return 1.0 if crowd <= machine.l1_ways else 1.3


def split(total: int, size: int) -> list[int]:
    """`total` in pieces of `size`, the rest last."""
    return [size] * (total // size) + ([total % size] if total % size else [])


def even(total: int, limit: int) -> list[int]:
    """`total` in the fewest pieces of at most `limit`, as equal as can be."""
    count = -(-total // limit)
    small, more = divmod(total, count)
    return [small + 1] * more + [small] * (count - more)


@functools.lru_cache(maxsize=4096)
def ranked(
    machine: Machine, rows: int, channels: int, row_bytes: int
) -> tuple[tuple[float, Tile], ...]:
    """Tiles that fit, and predicted cycles for `rows` x `channels` results; best first."""
    vectors_needed = -(-channels // machine.lanes)
    most = min(rows, MOST_ROWS)
    slower = [1.0, *(conflicts(machine, height, row_bytes) for height in range(1, most + 1))]
    found: list[tuple[float, Tile]] = []
    for vectors in range(1, min(vectors_needed, MOST_VECTORS) + 1):
        for size in range(1, most + 1):
            tile = Tile(size, vectors)
            if not fits(machine, tile):
                continue
            cost = sum(
                wide * high * cycles(machine, Tile(height, width)) * slower[height]
                for width, wide in (
                    (vectors, vectors_needed // vectors),
                    (vectors_needed % vectors, 1),
                )
                for height, high in ((size, rows // size), (rows % size, 1))
                if width and height
            )
            found.append((round(cost, 3), tile))
    found.sort(key=lambda each: (each[0], -each[1].rows * each[1].vectors, each[1].vectors))
    return tuple(found)


def choose(machine: Machine, rows: int, channels: int, row_bytes: int) -> Tile:
    """The tile with the fewest predicted cycles for `rows` x `channels` results."""
    found = ranked(machine, rows, channels, row_bytes)
    return found[0][1] if found else Tile(1, 1)
