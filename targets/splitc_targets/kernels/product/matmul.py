# SPDX-License-Identifier: Apache-2.0
"""Batched matrix products of two tensors: the right one is packed, then it is a convolution.

Attention's products are of this kind: neither side is known when compiling. Packing lays
blocks of columns side by side as convolution's kernel reads its weights, whichever way the
right side lies, so a transposed operand costs no copy of its own.
"""

from __future__ import annotations

from typing import Any

from splitc_targets.kernels.product import direct, geometry
from splitc_targets.kernels.product.geometry import Matmul
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index
from splitc_targets.machine.machine import Machine


def kernel(name: str, product: Matmul, machine: Machine) -> Any:
    """The kernel (a, b, operands…, y)."""
    conv = product.conv
    x = (conv.batch - 1) * conv.x_image + (conv.width - 1) * conv.x_pixel
    b = (conv.batch - 1) * product.b_batch + (conv.channels - 1) * product.b_row
    arguments = [
        Argument("a", (x + (conv.channels - 1) * conv.x_channel + 1,)),
        Argument("b", (b + (conv.out_channels - 1) * product.b_column + 1,)),
        *direct.operand_arguments(conv),
        Argument("y", (geometry.result_size(conv),)),
    ]

    def write(code: Code, a: Array, right: Array, *rest: Array) -> None:
        packed = code.scratch(conv.batch * conv.w_image, name="packed")
        pack(code, product, machine, right, packed)
        direct.write(code, conv, machine, (a, packed, *rest))

    return emit.function(name, arguments, write)


def pack(code: Code, product: Matmul, machine: Machine, source: Array, packed: Array) -> None:
    """Lay the right matrices as the product's kernel reads them."""
    conv = product.conv
    tile = geometry.tile_of(conv, machine)
    blocks = geometry.blocks(conv, tile, machine.lanes)
    lanes = machine.lanes
    shared = conv.batch > 1 and machine.shares(conv.flops)
    with code.loop("pair", conv.batch, parallel=shared) as pair:
        column = 0
        for vectors in blocks:
            for j in range(vectors):
                used = min(lanes, conv.out_channels - column - j * lanes)
                with code.loop("k", conv.channels) as k:
                    at = pair * product.b_batch + k * product.b_row
                    at = at + (column + j * lanes) * product.b_column
                    where = pair * conv.w_image + column * conv.channels
                    where = where + (k * vectors + j) * lanes
                    code.store(packed, where, _read(source, product, at, lanes, used), lanes)
            column += vectors * lanes


def _read(source: Array, product: Matmul, at: Index, lanes: int, used: int) -> Any:
    """`used` columns of a row, the rest anything: what they give is never stored."""
    if product.b_column == 1:
        return source.at(at, lanes, used)
    cells = [source.at(at + min(c, used - 1) * product.b_column) for c in range(lanes)]
    return emit.shuffle(cells, range(lanes))
