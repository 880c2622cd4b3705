# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolution of bytes by signed bytes: the direct kernel (direct.py) on elements of four channels.

One instruction multiplies four bytes of a pixel by four of the weights in every lane and adds
the products to an int32, so sums are exact. A tensor of bytes stands for numbers by an offset:
number = byte + offset. What the offset adds to a sum over all taps is a constant of the output
channel, which sums start from; taps outside of the map, whose number is 0, take their part of
it off again.

A block of the packed weights is [taps][channel], then [channel] that sums start from, then
[taps][channel] of what taps outside add, where there are any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.direct import (
    InstructionWriter,
    Spot,
    Writer,
    operand_arguments,
)
from splitc_targets.kernels.product.geometry import Conv, Segment
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, Words
from splitc_targets.loops.narrowing import MOVED, MovedSums
from splitc_targets.machine import tiles
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine

FOUR = 4
"""Bytes of an element."""


def pads(conv: Conv) -> bool:
    """Whether some tap of some result lies outside of the map."""
    for axis, (size, out) in enumerate(
        ((conv.height, conv.out_height), (conv.width, conv.out_width))
    ):
        reach = (conv.kernel[axis] - 1) * conv.dilation[axis] - conv.pad[axis]
        if conv.pad[axis] or (out - 1) * conv.stride[axis] + reach >= size:
            return True
    return False


def tiled(conv: Conv, machine: Machine) -> Conv:
    """The convolution with a tile that leaves no vector alone where two are narrowed to bytes."""
    flat = geometry.flattened(conv)
    per_group = conv.out_channels // conv.groups
    vectors = -(-per_group // machine.lanes)
    if not machine.lane_fma or conv.tile is not None or vectors % 2:
        return conv
    found = tiles.ranked(machine, flat.out_width, per_group, 4 * flat.x_pixel * flat.stride[1])
    return replace(conv, tile=next((tile for _, tile in found if tile.vectors % 2 == 0), None))


def pack(
    weights: np.ndarray[Any, Any], start: np.ndarray[Any, Any], offset: int, conv: Conv,
    machine: Machine,
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Weights, and what sums start from, in the order the kernel reads them, as int32.

    Args:
        weights: Whole numbers within int8 [out channels][channels][rows][columns].
        start: Whole numbers that are added to the sums [out channels].
        offset: Number less byte, of the input.
        conv: Its channels are elements of four.
        machine: As the instruction's tiles see it.
    """
    whole = weights.astype(np.int64)
    begin = start.astype(np.int64) + offset * whole.sum((1, 2, 3)) + MOVED * conv.near_sums
    beyond = -offset * whole.sum(1)
    count = conv.channels * FOUR - weights.shape[1]
    fours = np.pad(weights.astype(np.int8), ((0, 0), (0, count), (0, 0), (0, 0)))
    fours = fours.reshape(len(fours), conv.channels, FOUR, *conv.kernel)
    fours = np.ascontiguousarray(fours.transpose(0, 1, 3, 4, 2)).view(np.int32)[..., 0]
    flat = geometry.flattened(conv)
    tile, lanes = geometry.tile_of(flat, machine), machine.lanes
    per_group = conv.out_channels // conv.groups
    outside = pads(flat) and offset != 0
    pieces: list[np.ndarray[Any, Any]] = []
    for group in range(conv.groups):
        first = group * per_group
        for vectors in geometry.blocks(flat, tile, lanes):
            last = min(first + vectors * lanes, (group + 1) * per_group)
            parts = [fours[first:last].transpose(2, 3, 1, 0), begin[first:last]]
            parts += [beyond[first:last].transpose(1, 2, 0)] if outside else []
            for part in parts:
                room = [(0, 0)] * (part.ndim - 1) + [(0, vectors * lanes - (last - first))]
                pieces.append(np.pad(part, room).ravel())
            first = last
    return np.concatenate(pieces).astype(np.int32)


def kernel(
    name: str, conv: Conv, machine: Machine, row: MultiplyAdd, packed: int, offset: int
) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR."""
    flat = geometry.flattened(conv)
    arguments = [
        Argument("x", (geometry.input_size(flat) * FOUR,), row.reads),
        Argument("w", (packed,), "int32"),
        *operand_arguments(flat),
        Argument("y", (geometry.result_size(flat),), flat.y_dtype),
    ]
    writer = _Padded if offset and pads(flat) else _Dot

    def write(code: Code, x: Array, *arrays: Array) -> None:
        writer(code, flat, machine, (Words(x, FOUR), *arrays), row).tasks()

    return emit.function(name, arguments, write)


class WholeSums(Writer):
    """Sums that are whole numbers, and start from what follows the weights of a block."""

    summed = "int32"

    @property
    def depth(self) -> int:
        """Elements of the weights for each output channel, and what its sums start from."""
        return self.taps + 1

    def first(self, spot: Spot, j: int) -> Value:
        """What a vector of channels' sums begin with."""
        lanes = self.machine.lanes
        at = spot.weights + (self.taps * spot.vectors + j) * lanes
        return self.code.bind(self.w.at(at, lanes), "start")

    def _store(self, spot: Spot, run: Segment, sums: Array, column: Index) -> None:
        super()._store(spot, run, MovedSums(sums) if self.conv.near_sums else sums, column)


class _Dot(WholeSums, InstructionWriter):
    """Four channels a step; what lies outside of the map adds nothing."""


class _Padded(_Dot):
    """Taps outside of the map add what their zeros stand for."""

    @property
    def depth(self) -> int:
        rows, columns = self.conv.kernel
        return self.taps + 1 + rows * columns

    def beyond(self, spot: Spot, run: Segment, sums: Array, low: Index, high: Index) -> None:
        code, (rows, columns) = self.code, self.conv.kernel
        left_out = [(kc, (0, run.size)) for kc in range(columns)]
        with code.loop("above", low) as kr:
            self._add(spot, sums, kr, left_out)
        with code.loop("below", rows - high, start=high) as kr:
            self._add(spot, sums, kr, left_out)
        sides = [
            (kc, part)
            for kc, (first, last) in enumerate(run.inside)
            for part in ((0, first), (last, run.size))
            if part[0] < part[1]
        ]
        if sides:
            with code.loop("beside", high - low, start=low) as kr:
                self._add(spot, sums, kr, sides)

    def _add(
        self, spot: Spot, sums: Array, row: Index, places: list[tuple[int, tuple[int, int]]]
    ) -> None:
        """Add what a kernel row's taps give outside: at each its column, and the tile's columns."""
        code, lanes = self.code, self.machine.lanes
        wide = spot.vectors * lanes
        base = code.bind(spot.weights + (self.taps + 1) * wide + row * (self.conv.kernel[1] * wide))
        for kc, columns in places:
            for j in range(spot.vectors):
                value = code.bind(self.w.at(base + kc * wide + j * lanes, lanes), "beyond")
                for i in range(*columns):
                    cell = (i * spot.vectors + j) * lanes
                    code.store(sums, cell, sums.at(cell, lanes) + value, lanes)
