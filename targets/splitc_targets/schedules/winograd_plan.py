# SPDX-License-Identifier: Apache-2.0
"""How Winograd's convolution is cut into chunks, and the model that says where it pays."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from splitc_targets.schedules import conv as direct
from splitc_targets.schedules import tiles
from splitc_targets.schedules.conv import Conv
from splitc_targets.schedules.machine import Machine

@dataclass(frozen=True)
class Plan:
    """How a convolution's tiles are cut into chunks and who computes them.

    Args:
        m: Rows and columns of a tile of results.
        down, across: Tiles of one image.
        tiles: Tiles of all images.
        chunks: Chunks of about equally many tiles.
        fused: Whether a core takes a chunk through all stages.
        workers: Cores that share the chunks, or the blocks and chunks.
        rows: Tiles that a product's register block holds.
        vectors: Vectors of each block of output channels.
        depth: Input channels, up to whole vectors.
        width: Output channels of the widest block.
        line: Elements between positions, beyond their rows, so that not all fall on a few
            cache sets.
    """

    m: int
    down: int
    across: int
    tiles: int
    chunks: int
    fused: bool
    workers: int
    rows: int
    vectors: tuple[int, ...]
    depth: int
    width: int
    line: int = 16

    @property
    def size(self) -> int:
        """Tiles of the largest chunk."""
        return -(-self.tiles // self.chunks)

    @property
    def positions(self) -> int:
        """Products per tile and pair of channels."""
        return (self.m + 2) ** 2

    @property
    def v_step(self) -> int:
        """Elements of a position of a chunk's transformed input."""
        return self.size * self.depth + self.line

    @property
    def p_step(self) -> int:
        """Elements of a position of a chunk's products."""
        return self.size * self.width + self.line

    @property
    def v_count(self) -> int:
        """Elements of all transformed input that is kept at a time."""
        return (self.workers if self.fused else self.chunks) * self.positions * self.v_step

    @property
    def workspace(self) -> int:
        """Elements of scratch."""
        return self.v_count + self.workers * self.positions * self.p_step


def supported(conv: Conv) -> bool:
    """Whether the algorithm computes this convolution at all."""
    return (
        conv.kernel == (3, 3) and conv.stride == (1, 1) and conv.dilation == (1, 1)
        and conv.groups == 1 and conv.x_channel == 1
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def plan(conv: Conv, machine: Machine, m: int) -> Plan:
    """The chunks, and fused or phased, with the fewest predicted cycles."""
    lanes = machine.lanes
    down, across = -(-conv.out_height // m), -(-conv.out_width // m)
    total = conv.batch * down * across
    depth = -(-conv.channels // lanes) * lanes
    shared = conv.flops > _WORTH_SHARING
    best: tuple[float, Plan] | None = None
    for chunks in sorted({-(-total // size) for size in range(1, min(total, _LARGEST) + 1)}):
        size = -(-total // chunks)
        if size < min(total, 4):
            continue
        tile = tiles.choose(machine, size, conv.out_channels, 4 * depth)
        vectors = tuple(tiles.split(-(-conv.out_channels // lanes), tile.vectors))
        for fused in (True, False):
            items = chunks if fused else chunks * len(vectors)
            workers = min(machine.cores, items) if shared else 1
            made = Plan(
                m, down, across, total, chunks, fused, workers, tile.rows, vectors, depth,
                max(vectors) * lanes,
            )  # fmt: skip
            cost = cycles(conv, machine, made)
            if best is None or cost < best[0]:
                best = cost, made
    assert best is not None
    return best[1]


def cycles(conv: Conv, machine: Machine, plan: Plan) -> float:
    """Predicted cycles: the arithmetic of a core's share, and what passes beyond its L2."""
    lanes, positions, workers = machine.lanes, plan.positions, plan.workers
    pieces = tiles.even(plan.size, plan.rows)
    step = sum(tiles.cycles(machine, tiles.Tile(r, v)) for v in plan.vectors for r in pieces)
    product = positions * conv.channels * step  # of a chunk, all blocks
    turns = 1.0 / machine.fma_per_cycle * (1.0 if machine.fma else 1.5)
    into, out = (144.0, 100.0) if plan.m == 4 else (32.0, 24.0)
    memory = (2.0 * positions + plan.m**2) / machine.loads_per_cycle
    into_cycles = plan.tiles * plan.depth / lanes * (into * turns + memory)
    out_cycles = plan.tiles * sum(plan.vectors) * (out * turns + memory)
    u_block = 4 * positions * conv.channels * plan.width
    u = u_block * len(plan.vectors)
    v = 4 * positions * plan.v_step
    p = 4 * positions * plan.p_step
    if plan.fused:
        turns_each = -(-plan.chunks // workers)
        share = turns_each * (product + (into_cycles + out_cycles) / plan.chunks)
        stays = u + (v + p) / 2 <= machine.l2_bytes
        beyond = u if stays else u * turns_each
        if v + p > 0.6 * machine.l2_bytes:
            beyond += turns_each * (v * len(plan.vectors) + p)
    else:
        turns_each = -(-plan.chunks * len(plan.vectors) // workers)
        share = turns_each * product / len(plan.vectors) + (into_cycles + out_cycles) / workers
        beyond = u_block * (turns_each if u_block > machine.l2_bytes / 2 else -(-turns_each // plan.chunks))
        beyond += v * (turns_each + plan.chunks / workers)
        if p > 0.5 * machine.l2_bytes:
            beyond += 2 * p * turns_each
        share += _BARRIER
    return share + beyond / (_NEXT_LEVEL_ARM if machine.lane_fma else _NEXT_LEVEL)


def direct_cycles(conv: Conv, machine: Machine) -> float:
    """Predicted cycles of the direct convolution, on all cores."""
    tile = direct.tile_of(conv, machine)
    step = sum(
        tiles.cycles(machine, tiles.Tile(rows, vectors))
        for vectors in direct.blocks(conv, tile, machine.lanes)
        for rows in tiles.split(conv.out_width, tile.rows)
    )
    lines = conv.batch * conv.out_height
    shared = conv.flops > _WORTH_SHARING
    return 9 * conv.channels * lines * step / (min(machine.cores, lines) if shared else 1)


def fits(conv: Conv, machine: Machine) -> int | None:
    """The size of tiles (4 or 2) at which the model says it pays, else None."""
    if not supported(conv):
        return None
    rate = _MEMORY_ARM if machine.lane_fma else _MEMORY
    numbers = 4 * conv.channels * conv.out_channels / rate  # cycles to bring one from memory
    best, choice = direct_cycles(conv, machine) + 9 * numbers, None
    for m in (2, 4):
        made = plan(conv, machine, m)
        cost = _MARGIN * (cycles(conv, machine, made) + made.positions * numbers)
        if cost < best:
            best, choice = cost, m
    return choice


_WORTH_SHARING = 200_000
"""Operations below which waking the other cores costs more than it saves."""

_LARGEST = 64
"""Tiles of the largest chunk that is considered."""

_BARRIER = 10_000
"""Cycles until all cores have begun another stage."""

_NEXT_LEVEL, _NEXT_LEVEL_ARM = 8.0, 1.0
"""Bytes per cycle that a core gets from beyond its L2: L3, or memory where there is none."""

_MEMORY, _MEMORY_ARM = 6.0, 2.5
"""Bytes per cycle that all cores together get from memory."""

_MARGIN = 1.1
"""How much faster the model must call it: it is less exact, and needs scratch."""
