# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolution of float16 by float16: the direct kernel (direct.py) on vectors twice as long.

Products are summed in float16 over a stretch of input channels, and the stretches' sums in
float32: what a long sum in float16 would round off stays small beside what storing rounds off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from splitc_targets.kernels.product import direct, geometry
from splitc_targets.kernels.product.direct import InstructionWriter, Spot
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index
from splitc_targets.machine import tiles
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine

PIXELS = 8
STRETCH = 128
"""Input channels that are summed in float16."""


def tiled(conv: Conv, machine: Machine) -> Conv:
    """The convolution with a tile whose pixels stay in the registers that lanes are taken from.

    Of float16 those are the first 16, where pixels of the current channels and of the next lie.
    """
    flat = geometry.flattened(conv)
    step = 4 * conv.x_pixel * conv.stride[1]
    per_group = conv.out_channels // conv.groups
    found = tiles.ranked(machine, flat.out_width, per_group, step)
    tile = next((tile for _, tile in found if tile.rows <= PIXELS), tiles.Tile(1, 1))
    return replace(conv, tile=tile)


def pack(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns] in the order the kernel reads them."""
    return direct.pack(weights, conv, machine).astype(np.float16)


def kernel(name: str, conv: Conv, machine: Machine, row: MultiplyAdd, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR."""
    flat = geometry.flattened(conv)
    arguments = [
        Argument("x", (geometry.input_size(flat),), "float16"),
        Argument("w", (packed,), "float16"),
        *direct.operand_arguments(flat),
        Argument("y", (geometry.result_size(flat),), flat.y_dtype),
    ]

    def write(code: Code, *arrays: Array) -> None:
        _Half(code, flat, machine, arrays, row).tasks()

    return emit.function(name, arguments, write)


class _Half(InstructionWriter):
    def _reduce(
        self, spot: Spot, inside: tuple[int, int], sums: Array, at: Index, taps: Index
    ) -> None:
        """Multiply-adds over the input channels of one kernel tap, a stretch at a time."""
        conv, code = self.conv, self.code
        whole, rest = divmod(conv.channels, STRETCH)
        wide = spot.vectors * self.machine.lanes
        with code.loop("stretch", whole) as n:
            self._stretch(
                spot, inside, sums, at + n * STRETCH, taps + n * (STRETCH * wide), STRETCH
            )
        if rest:
            first = whole * STRETCH
            self._stretch(spot, inside, sums, at + first, taps + first * wide, rest)

    def _stretch(
        self, spot: Spot, inside: tuple[int, int], sums: Array, at: Index, taps: Index, count: int
    ) -> None:
        code, lanes = self.code, self.machine.lanes
        cells = [
            (i * spot.vectors + j) * lanes for i in range(*inside) for j in range(spot.vectors)
        ]
        with code.scope():
            part = code.local(inside[1] * spot.vectors * lanes, "float16", "part")
            for cell in cells:
                code.store(part, cell, emit.number(0.0, lanes, "float16"), lanes)
            at, taps = code.bind(at), code.bind(taps)
            with code.loop("c", count // lanes) as c:
                self._step(spot, inside, part, at, taps, c * lanes, lanes)
            for c in range(count - count % lanes, count):
                self._step(spot, inside, part, at, taps, c, 1)
            for cell in cells:
                total = sums.at(cell, lanes) + part.number(cell, lanes)
                code.store(sums, cell, total, lanes)
