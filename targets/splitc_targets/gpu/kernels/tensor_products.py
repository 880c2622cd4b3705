# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products by tensor cores: a block's warps multiply slices that its threads bring and round.

Shared memory has two slices of each operand. While the warps multiply one, every thread loads its
share of the next into registers; it is rounded and stored when they are done. One barrier a slice
is enough: what is stored into was read before the barrier before. Words lie in rows of 16 and 4
more (the left operand), or of the columns and 8 more (the right), so that the 32 that a warp
loads at once lie in 32 banks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels.product import Block, Pixel, Product, arguments
from splitc_targets.gpu.loops.tensor_cores import (
    COLUMNS,
    LANES,
    NUMBERS,
    ROWS,
    WORDS,
    Warp,
    as_halves,
    as_tf32,
    sum_held,
)
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

DEPTH = 16
"""Words of a slice."""

_LEFT_ROW = DEPTH + 4
_BESIDE = 8
"""Words from one row of the left slice to the next, and what rows of the right have behind them."""


@dataclass(frozen=True)
class Tile:
    """What a block computes, `rows` by `columns`, and each of its warps."""

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return LANES * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    @property
    def pairs(self) -> int:
        """Tiles of 16 by 8 that a warp sums."""
        return (self.warp_rows // ROWS) * (self.warp_columns // COLUMNS)


TILES = (
    Tile(128, 128, 64, 32), Tile(128, 64, 32, 32), Tile(64, 128, 32, 32), Tile(64, 64, 32, 32),
    Tile(64, 32, 32, 16), Tile(32, 64, 16, 32), Tile(32, 32, 16, 16), Tile(16, 64, 16, 16),
    Tile(16, 32, 16, 8),
)  # fmt: skip

_BRINGING = 12.0 / 128
"""Cycles of a multiprocessor for bringing a number: instructions over those it starts a cycle."""


def tile_of(product: Product, device: Device) -> Tile:
    """The tile that is predicted to be quickest."""
    return min(TILES, key=lambda tile: _cycles(product, tile, device))


def cycles(product: Product, device: Device) -> float:
    """What the quickest tile is predicted to take."""
    return min(_cycles(product, tile, device) for tile in TILES)


def _cycles(product: Product, tile: Tile, device: Device) -> float:
    """The most that a multiprocessor does: its blocks multiply, and bring slices beside it."""
    blocks = product.shares * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
    beside = max(1, min(device.resident // tile.threads, 4))
    numbers = DEPTH * NUMBERS[device.precision]
    depth = -(-product.depth // numbers) * numbers
    # Eight cycles of four warps for each pair, one for each word that it loads.
    loads = 4 * (tile.warp_rows // ROWS) + 2 * (tile.warp_columns // COLUMNS)
    useful = min(1.0, 2 * tile.pairs / loads)
    multiplying = tile.rows * tile.columns * depth / (device.tensor * useful)
    bringing = (tile.rows + tile.columns) * depth * _BRINGING
    mine = -(-blocks // device.units)
    # A unit with few threads cannot hide what each waits for.
    busy = min(1.0, min(beside, mine) * tile.threads / 512)
    return mine * (multiplying + bringing) / busy


def packed(
    product: Product, laid: np.ndarray[Any, Any], precision: str
) -> tuple[Product, np.ndarray[Any, Any]]:
    """A product by constants, and these as words: [group][words of depth][columns].

    Args:
        product: As `dense` describes it.
        laid: float32 [group][depth][columns], flat.
        precision: Of the words.
    """
    groups, columns = product.conv.groups, product.columns
    values = laid.reshape(groups, product.depth, columns)
    if precision == "tf32":
        words = rounded(values)
    else:
        even = np.zeros((groups, -(-product.depth // 2) * 2, columns), np.float16)
        with np.errstate(over="ignore"):
            even[:, : product.depth] = values.astype(np.float16)
        halves = even.view(np.uint16).astype(np.uint32)
        words = (halves[:, 0::2] | halves[:, 1::2] << 16).view(np.int32)
    made = replace(product, w_group=words.shape[1] * columns, words=precision)
    return made, np.ascontiguousarray(words).ravel()


def rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bits of floats, rounded to tf32: see `splitc_targets.gpu.loops.tensor_cores.as_tf32`."""
    bits = np.ascontiguousarray(values).view(np.int32)
    rounded = ((bits.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.int32)
    return np.where(bits & 0x7FFFFFFF > 0x7F800000, bits, rounded)


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    tile = tile_of(product, device)
    across, down = -(-product.columns // tile.columns), -(-product.rows // tile.rows)
    depth = product.depth
    if product.words:
        depth = -(-depth // NUMBERS[product.words])

    def write(code: Threads, *arrays: Array) -> None:
        _Tiled(code, product, tile, device, arrays).write()

    blocks = across * down * product.shares
    return kernel(name, arguments(product, depth), blocks, tile.threads, write)


class _Tiled:
    """A block whose warps multiply by tensor cores."""

    def __init__(
        self, code: Threads, product: Product, tile: Tile, device: Device,
        arrays: tuple[Array, ...],
    ) -> None:  # fmt: skip
        self.code, self.product, self.tile = code, product, tile
        self.precision, self.numbers = device.precision, NUMBERS[device.precision]
        self.block = Block(code, product, arrays, (tile.rows, tile.columns))
        lane = code.bind(emit.mod(code.thread, LANES), "lane")
        number = code.bind(emit.div(code.thread, LANES), "warp")
        self.warp = Warp(code, device.precision, lane, twin=device.twin)
        wide = tile.columns // tile.warp_columns
        self.row = code.bind(emit.div(number, wide) * tile.warp_rows, "row")
        self.column = code.bind(emit.mod(number, wide) * tile.warp_columns, "column")
        # What a thread brings: a word of the depth for some pixels, a column for some words.
        self.own_word = code.bind(emit.mod(code.thread, DEPTH), "word")
        self.own_row = code.bind(emit.div(code.thread, DEPTH), "m")
        self.own_column = code.bind(emit.mod(code.thread, tile.columns), "n")
        self.own_depth = code.bind(emit.div(code.thread, tile.columns), "k")

    def write(self) -> None:
        code, tile = self.code, self.tile
        self.left = code.shared(2 * tile.rows * _LEFT_ROW, "int32", "left")
        self.right = code.shared(2 * DEPTH * (tile.columns + _BESIDE), "int32", "right")
        sums = code.local(4 * tile.pairs, name="sum")
        for cell in range(4 * tile.pairs):
            code.store(sums, cell, tirx.const(0.0, "float32"))
        down = tile.threads // DEPTH
        pixels = [self.block.pixel(self.own_row + i * down) for i in range(tile.rows // down)]
        words = DEPTH * tile.columns // tile.threads
        brought = code.local(self.numbers * len(pixels), name="x")
        packed = bool(self.product.words)
        beside = code.local(
            words if packed else words * self.numbers, "int32" if packed else "float32", "w"
        )
        self._bring(0, pixels, brought, beside)
        self._keep(0, brought, beside)
        code.meet()
        with code.loop("step", -(-self.product.depth // (DEPTH * self.numbers))) as step:
            self._bring(code.bind(step + 1, "next"), pixels, brought, beside)
            self._multiply(code.bind(emit.mod(step, 2), "slice"), sums)
            self._keep(code.bind(emit.mod(step + 1, 2), "other"), brought, beside)
            code.meet()
        self._store(sums)

    def _bring(self, step: Index, pixels: list[Pixel], brought: Array, beside: Array) -> None:
        """Load a thread's share of a slice into its registers; zeros beyond the last."""
        code, block = self.code, self.block
        start = code.bind(step * DEPTH, "start")
        word = code.bind(start + self.own_word, "word")
        for number in range(self.numbers):
            spot = block.spot(code.bind(word * self.numbers + number, "depth"))
            for i, pixel in enumerate(pixels):
                code.store(brought, i * self.numbers + number, block.left(pixel, spot))
        column = code.bind(block.column0 + self.own_column, "column")
        each = 1 if self.product.words else self.numbers
        rows = self.product.depth
        if self.product.words:
            rows = -(-rows // self.numbers)
        for i in range(DEPTH * self.tile.columns // self.tile.threads):
            word = code.bind(start + self.own_depth + i * self._words_apart, "word")
            for number in range(each):
                value = block.right(code.bind(word * each + number, "depth"), rows, column)
                code.store(beside, i * each + number, value)

    @property
    def _words_apart(self) -> int:
        """Words of depth between those of the right operand that a thread brings."""
        return self.tile.threads // self.tile.columns

    def _keep(self, number: Index, brought: Array, beside: Array) -> None:
        """Round what a thread has brought, and store it into a slice."""
        code, tile = self.code, self.tile
        down = tile.threads // DEPTH
        for i in range(tile.rows // down):
            at = self._left_at(number, self.own_row + i * down, self.own_word)
            code.store(self.left, at, self._word(brought, i))
        for i in range(DEPTH * tile.columns // tile.threads):
            word = self.own_depth + i * self._words_apart
            value = beside.at(i) if self.product.words else self._word(beside, i)
            code.store(self.right, self._right_at(number, self.own_column, word), value)

    def _word(self, values: Array, i: int) -> Value:
        if self.numbers == 1:
            return as_tf32(values.at(i))
        return as_halves(values.at(2 * i), values.at(2 * i + 1))

    def _left_at(self, number: Index, row: Index, word: Index) -> Index:
        return number * (self.tile.rows * _LEFT_ROW) + row * _LEFT_ROW + word

    def _right_at(self, number: Index, column: Index, word: Index) -> Index:
        wide = self.tile.columns + _BESIDE
        return number * (DEPTH * wide) + word * wide + column

    def _multiply(self, number: Index, sums: Array) -> None:
        tile = self.tile
        rows = [self.row + i * ROWS for i in range(tile.warp_rows // ROWS)]
        columns = [self.column + j * COLUMNS for j in range(tile.warp_columns // COLUMNS)]
        for words in range(0, DEPTH, WORDS):
            self.warp.multiply(
                self.left, self.right, rows, columns, words,
                lambda row, word: self._left_at(number, row, word),
                lambda column, word: self._right_at(number, column, word), sums,
            )  # fmt: skip

    def _store(self, sums: Array) -> None:
        code, tile, block = self.code, self.tile, self.block
        across = tile.warp_columns // COLUMNS
        for i in range(tile.warp_rows // ROWS):
            for half in range(2):
                inner, _ = sum_held(self.warp.lane, 2 * half)
                row = code.bind(block.row0 + self.row + i * ROWS + inner, "row")
                with code.when(tirx.LT(emit.index(row), const(self.product.rows))):
                    place = block.place(row)
                    for j in range(across):
                        for k in range(2):
                            _, inner = sum_held(self.warp.lane, k)
                            column = block.column0 + self.column + j * COLUMNS + inner
                            cell = 4 * (i * across + j) + 2 * half + k
                            block.end(place, code.bind(column, "column"), sums.at(cell))
