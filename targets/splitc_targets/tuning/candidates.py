# SPDX-License-Identifier: Apache-2.0
"""The choices worth measuring for a kernel: those near what the analytic model prefers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from splitc_targets.kernels.product import direct, geometry
from splitc_targets.kernels.product import matmul as products
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd import filters
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.kernels.winograd.plan import supported
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine
from splitc_targets.plan.choices import (
    Choice,
    Product,
    analytic,
    conv_of,
    direct_for,
    matmul_for,
    written,
)


def candidates(product: Product, machine: Machine) -> list[Choice]:
    """The model's choice first, then Winograd's tiles, other register tiles and the other order."""
    conv = written(product)
    found = [analytic(product, machine)]
    if isinstance(product, Conv) and supported(product):
        found += [Choice(2), Choice(4)]
    order = geometry.blocks_outermost(conv, machine)
    best = geometry.tile_of(conv, machine)
    found.append(Choice(0, best, order))
    if -(-conv.out_channels // conv.groups // machine.lanes) > best.vectors:
        found.append(Choice(0, best, not order))
    found += [Choice(0, tile, order) for tile in _near(conv, machine)]
    return list(dict.fromkeys(found))


def _near(conv: Conv, machine: Machine) -> list[tiles.Tile]:
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


class Fixed:
    """Makes one choice for everything."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    def best(self, product: Product) -> Choice | None:
        """The choice."""
        return self.choice


def kernel(name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    """The function that computes a kernel by a choice."""
    conv = conv_of(product)
    taps = conv.kernel[0] * conv.kernel[1] * conv.channels
    if choice.winograd:
        size = filters.size(conv, machine, choice.winograd)
        return winograd.kernel(name, conv, machine, choice.winograd, size)
    if isinstance(product, products.Matmul):
        sized = products.sized(matmul_for(Fixed(choice), product), machine)
        return products.kernel(name, sized, machine)
    conv = direct_for(Fixed(choice), conv)
    vectors = sum(geometry.blocks(conv, choice.tile, machine.lanes))
    return direct.kernel(name, conv, machine, conv.groups * taps * vectors * machine.lanes)


_TILES = 5
"""Register tiles that are measured."""

_OF_EACH_WIDTH = 2
"""Of them, with the same number of vectors."""

_WORSE = 1.4
"""How many times the best tile's predicted cycles a tile may take to be measured."""
