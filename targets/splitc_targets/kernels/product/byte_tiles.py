# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolution of bytes by signed bytes by products of tiles (AMX): `tiles` on words of four.

Sums are whole numbers, exact as those of `dot`, and start from the same constants of the output
channels. What lies beyond the map is filled in as the byte that stands for 0, so that every
tap is inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.kernels.product import dot, tiles
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.product.tile_plan import Plan, plan
from splitc_targets.machine.core import TileProduct
from splitc_targets.machine.machine import Machine


def planned(conv: Conv, offset: int) -> Plan | None:
    """How a convolution in words of four bytes is computed; None where it is not.

    Args:
        conv: The convolution.
        offset: Number less byte, of the input.
    """
    made = plan(conv, rows=offset != 0)
    filled = made.above + made.below + made.left + made.right > 0
    return None if filled and not 0 <= -offset <= 255 else made


def pack(
    weights: np.ndarray[Any, Any], start: np.ndarray[Any, Any], offset: int, made: Plan,
    machine: Machine,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Weights, and what sums start from, as the kernel reads them; arguments as of `dot.pack`."""
    return dot.pack(weights, start, offset, made.conv, machine)


def kernel(
    name: str, made: Plan, machine: Machine, row: TileProduct, packed: int, offset: int
) -> Any:
    """The kernel (x, packed weights, operands…, [copy,] y); arguments as of `tiles.kernel`.

    Args:
        name: The function's.
        made: The convolution.
        machine: As the sums' vectors see it.
        row: The product.
        packed: Words of the weights.
        offset: Number less byte, of the input.
    """
    byte = -offset if made.copied and 0 <= -offset <= 255 else 0
    word = int(np.full(4, byte, np.uint8).view(np.int32)[0])
    return tiles.function(name, made, machine, row, packed, word, _ByteTiles)


class _ByteTiles(dot.WholeSums, tiles.TileWriter):
    """Products of tiles of bytes."""
