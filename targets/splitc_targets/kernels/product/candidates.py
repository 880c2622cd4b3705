# SPDX-License-Identifier: Apache-2.0
"""Register tiles and loop orders near what the analytic model prefers, and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine


def near(conv: Conv, machine: Machine) -> Iterator[Conv]:
    """A (flattened) convolution with tile and order decided: the model's first, then others."""
    order = geometry.blocks_outermost(conv, machine)
    best = geometry.tile_of(conv, machine)
    yield replace(conv, tile=best, blocks_outer=order)
    if -(-conv.out_channels // conv.groups // machine.lanes) > best.vectors:
        yield replace(conv, tile=best, blocks_outer=not order)
    for tile in _tiles(conv, machine):
        yield replace(conv, tile=tile, blocks_outer=order)


def _tiles(conv: Conv, machine: Machine) -> list[tiles.Tile]:
    """The tiles that the model likes best, a few of each width."""
    per_group = conv.out_channels // conv.groups
    step = 4 * conv.x_pixel * conv.stride[1]
    ranked = tiles.ranked(machine, conv.out_width, per_group, step)
    widths: Counter[int] = Counter()
    found: list[tiles.Tile] = []
    for cycles, tile in ranked:
        if cycles > _WORSE * ranked[0][0] or len(found) == _TILES:
            break
        widths[tile.vectors] += 1
        if widths[tile.vectors] <= _OF_EACH_WIDTH:
            found.append(tile)
    return found


def direct_cycles(conv: Conv, machine: Machine) -> float:
    """Predicted cycles of the direct convolution, rows of the result shared by all cores."""
    tile = geometry.tile_of(conv, machine)
    blocks = Counter(geometry.blocks(conv, tile, machine.lanes))
    pieces = Counter(tiles.split(conv.out_width, tile.rows))
    step = sum(
        many * often * tiles.cycles(machine, tiles.Tile(rows, vectors))
        for vectors, many in blocks.items()
        for rows, often in pieces.items()
    )
    lines = conv.groups * conv.batch * conv.out_height
    taps = conv.kernel[0] * conv.kernel[1] * conv.channels
    return taps * lines * step / (min(machine.cores, lines) if machine.shares(conv.flops) else 1)


def beside_memory(weight_bytes: float, work: float, machine: Machine) -> float:
    """Cycles of some work with weights arriving from memory meanwhile.

    A network's other layers have driven them out of the caches. Of the shorter of the two a core
    that reads far ahead hides most, a small one next to nothing.
    """
    memory = weight_bytes / machine.memory
    return max(work, memory) + machine.exposed * min(work, memory)


_TILES = 5
"""Register tiles that are measured."""

_OF_EACH_WIDTH = 2
"""Of them, with the same number of vectors."""

_WORSE = 1.4
"""How many times the best tile's predicted cycles a tile may take to be measured."""
