# SPDX-License-Identifier: Apache-2.0
"""Batched matrix products of two tensors: the right one is packed, then it is a convolution.

Attention's products are of this kind: neither side is known when compiling. Packing lays
blocks of columns side by side as convolution's kernel reads its weights, whichever way the
right side lies, so a transposed operand costs no copy of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    conv, lanes = product.conv, machine.lanes
    wide = geometry.tile_of(conv, machine).vectors
    whole, used = divmod(conv.out_channels, lanes)
    blocks, rest = divmod(whole, wide)
    shared = conv.batch > 1 and machine.shares(conv.flops)
    with code.loop("pair", conv.batch, parallel=shared) as pair:

        def columns(block: Index, vectors: int, j: Index, used: int) -> None:
            """A vector of columns, the one with that number of a block of so many."""
            at = pair * product.b_batch + (block * wide + j) * (lanes * product.b_column)
            where = pair * conv.w_image + block * (wide * lanes * conv.channels) + j * lanes
            place = _Place(code.bind(at), code.bind(where), vectors * lanes, used)
            _columns(code, product, lanes, (source, packed), place)

        with code.loop("block", blocks) as block, code.loop("j", wide) as j:
            columns(block, wide, j, lanes)
        vectors = rest + bool(used)
        with code.loop("j", rest) as j:
            columns(blocks, vectors, j, lanes)
        if used:
            columns(blocks, vectors, rest, used)


@dataclass(frozen=True)
class _Place:
    """A vector of columns of a right matrix.

    Args:
        source: Its first element there.
        packed: Its first element where it is packed.
        step: Distance between its rows there.
        used: Columns; the vector's others are anything, what they give is never stored.
    """

    source: Index
    packed: Index
    step: int
    used: int


def _columns(
    code: Code, product: Matmul, lanes: int, arrays: tuple[Array, Array], place: _Place
) -> None:
    """Pack a vector of columns: squares are turned in registers where rows lie side by side."""
    source, packed = arrays
    depth, step = product.conv.channels, product.b_column
    turned = depth // lanes if product.b_row == 1 and step != 1 else 0
    reach = [min(c, place.used - 1) * step for c in range(lanes)]
    with code.loop("k", turned) as k:
        at = code.bind(place.source + k * lanes)
        square = [code.bind(source.at(at + each, lanes), "column") for each in reach]
        for u, row in enumerate(emit.transposed(code, square)):
            code.store(packed, place.packed + (k * lanes + u) * place.step, row, lanes)
    with code.loop("k", depth - turned * lanes, start=turned * lanes) as k:
        at = place.source + k * product.b_row
        if step == 1:
            row = source.at(at, lanes, place.used)
        else:
            row = emit.shuffle([source.at(at + each) for each in reach], range(lanes))
        code.store(packed, place.packed + k * place.step, row, lanes)
