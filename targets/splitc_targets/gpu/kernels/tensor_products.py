# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products by tensor cores: a block's warps multiply slices that its threads bring.

Shared memory has several slices of each operand. While the warps multiply one, the next are on
their way: copied, where memory has the very words (`cp.async`, sm_80 and later), as many at a time
as lie side by side; and where not, the one after in registers, rounded and stored when the warps
are done. One barrier a slice is enough: what is stored into was read before it.

What a warp has few products of in a slice, as small tiles do, takes two slices at a time: one
barrier for both, all loads before the products, and sums of their own for every second word group,
so that fewer products wait for the one before.

A slice has 16 words of each row or column. They lie together, in four pieces of four, which change
places from every second row to the next: so the pieces of one number of eight rows, which a warp
loads at once, lie in 32 banks, and so do those of two rows, which it stores at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc_targets.gpu.device import BLOCK_SHARED_BYTES, Device
from splitc_targets.gpu.kernels.product import BRINGING, BUSY, Block, Product, arguments
from splitc_targets.gpu.loops import copies
from splitc_targets.gpu.loops.shares import Share, by_lines
from splitc_targets.gpu.loops.tensor_cores import (
    COLUMNS,
    LANES,
    NUMBERS,
    ROWS,
    WORDS,
    Operands,
    Side,
    Warp,
    as_halves,
    sum_held,
)
from splitc_targets.gpu.loops.threads import Halves, Kernel, Threads, kernel, where
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

DEPTH = 16
"""Words of a slice."""

_PIECE = 4
"""Words that a matrix of `ldmatrix` has of a row, and the widest copy has: 16 bytes."""

_MOST_STAGES = 4
"""Steps whose slices shared memory has: three copied while one is multiplied."""

_FEW_PAIRS = 2
"""Tiles of 16 by 8 of a warp, up to which it waits for its products rather than they for it."""


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

    @property
    def slice_bytes(self) -> int:
        """Shared memory that a slice of both operands takes."""
        return 4 * DEPTH * (self.rows + self.columns)


TILES = (
    Tile(128, 128, 64, 64), Tile(128, 128, 64, 32), Tile(128, 64, 32, 32), Tile(64, 128, 32, 32),
    Tile(64, 64, 32, 32), Tile(64, 32, 32, 16), Tile(32, 64, 16, 32), Tile(32, 32, 16, 16),
    Tile(16, 64, 16, 16), Tile(16, 32, 16, 8),
)  # fmt: skip


def tile_of(product: Product, device: Device) -> Tile:
    """The tile that is predicted to be quickest."""
    return min(TILES, key=lambda tile: _cycles(product, tile, device))


def stages_of(product: Product, tile: Tile, device: Device) -> int:
    """Steps whose slices of both operands are in shared memory."""
    copied = _copied(product, device)
    if not device.copies or max(copied) == 0:
        return 2
    each = tile.slice_bytes * together(product, tile, device.precision, copied=min(copied) > 0)
    return min(_MOST_STAGES, BLOCK_SHARED_BYTES // each)


def together(product: Product, tile: Tile, precision: str, *, copied: bool) -> int:
    """Slices of a step.

    Args:
        product: What is computed.
        tile: What a block has of it.
        precision: Of the words.
        copied: Whether both operands are.
    """
    even = _slices(product, precision) % 2 == 0
    return 2 if copied and even and tile.pairs <= _FEW_PAIRS else 1


def _slices(product: Product, precision: str) -> int:
    """Slices of the depth."""
    return -(-product.depth // (DEPTH * NUMBERS[precision]))


def cycles(product: Product, device: Device) -> float:
    """What the quickest tile is predicted to take."""
    return min(_cycles(product, tile, device) for tile in TILES)


def _cycles(product: Product, tile: Tile, device: Device) -> float:
    """The most that a multiprocessor does: its blocks multiply, and bring slices beside it."""
    blocks = product.shares * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
    copied = _copied(product, device)
    both = together(product, tile, device.precision, copied=min(copied) > 0)
    stages = stages_of(product, tile, device)
    held = device.shared_bytes // (stages * both * tile.slice_bytes + 1024)
    beside = max(1, min(device.resident // tile.threads, held, 4))
    numbers = NUMBERS[device.precision]
    words = _slices(product, device.precision) * DEPTH
    # For each word of depth, its share of the warps' products and of what they load for them: a
    # matrix is a cycle.
    warps = tile.threads // LANES
    multiplying = warps * tile.pairs * ROWS * COLUMNS * numbers / device.tensor
    loading = warps * (4 * (tile.warp_rows // ROWS) + 2 * (tile.warp_columns // COLUMNS)) / WORDS
    left, right = (max(1, each) for each in copied)
    bringing = (tile.rows / left + tile.columns / right) * BRINGING
    moving = 4 * (tile.rows + tile.columns) / device.near
    mine = -(-blocks // device.units)
    # What is on its way while others compute: where it is little, each waits for it.
    # Where it is not copied it is in registers, and what a thread holds of it counts as a piece.
    pieces = tile.slice_bytes / (4 * _PIECE) if device.copies else tile.threads
    ready = min(beside, mine) * (stages - 1) * both * pieces
    return mine * words * (max(multiplying, loading, moving) + bringing) / min(1.0, ready / BUSY)


def _copied(product: Product, device: Device) -> tuple[int, int]:
    """Words of the left and right operand that a copy brings; 0 where they are brought otherwise.

    In float16 the left operand is taken to be in memory in halves.
    """
    if not device.copies:
        return 0, 0
    right = _PIECE if product.words else _words_of(product.w_run, device.precision, halves=False)
    return _words_of(product.x_run, device.precision, halves=True), right


def _words_of(run: int, precision: str, *, halves: bool) -> int:
    """Words that so many elements side by side are, at most a piece; 0 where they are none.

    Args:
        run: Elements.
        precision: Of the words.
        halves: Whether memory has float16 where the precision is that.
    """
    if precision == "float16" and not halves:
        return 0
    return min(_PIECE, run // NUMBERS[precision])


def packed(
    product: Product, laid: np.ndarray[Any, Any], precision: str
) -> tuple[Product, np.ndarray[Any, Any]]:
    """A product by constants, and these as words: [group][slice of depth][column][16 words].

    Args:
        product: As `dense` describes it.
        laid: float32 [group][depth][columns].
        precision: Of the words.
    """
    groups, columns, numbers = product.conv.groups, product.columns, NUMBERS[precision]
    slices = -(-product.depth // (DEPTH * numbers))
    whole = np.zeros((groups, slices * DEPTH * numbers, columns), np.float32)
    whole[:, : product.depth] = laid
    if precision == "tf32":
        words = rounded(whole)
    else:
        with np.errstate(over="ignore"):
            halves = whole.astype(np.float16).view(np.uint16).astype(np.uint32)
        words = (halves[:, 0::2] | halves[:, 1::2] << 16).view(np.int32)
    made = replace(product, w_group=slices * columns * DEPTH, words=precision)
    tiles = words.reshape(groups, slices, DEPTH, columns).transpose(0, 1, 3, 2)
    return made, np.ascontiguousarray(tiles).ravel()


def rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Bits of floats, rounded to tf32: see `splitc_targets.gpu.loops.tensor_cores.as_tf32`."""
    bits = np.ascontiguousarray(values).view(np.int32)
    rounded = ((bits.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.int32)
    return np.where(bits & 0x7FFFFFFF > 0x7F800000, bits, rounded)


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    tile = tile_of(product, device)
    across, down = -(-product.columns // tile.columns), -(-product.rows // tile.rows)

    def write(code: Threads, *arrays: Array) -> None:
        _Tiled(code, product, tile, device, arrays).write()

    blocks = across * down * product.shares
    return kernel(name, arguments(product), blocks, tile.threads, write)


def place_of(line: Index, word: Index) -> Index:
    """Where a slice has a word of a row or a column."""
    turned = tirx.bitwise_and(emit.index(line), const(6)) * 2
    return line * DEPTH + tirx.bitwise_xor(emit.index(word), turned)


def _by_columns(code: Threads, threads: int, columns: int) -> Share:
    """Eight threads side by side bring the same word of neighbouring columns: memory is read and
    shared memory written without a bank that is asked twice."""
    line = emit.mod(code.thread, 8) + 8 * emit.div(code.thread, 8 * DEPTH)
    word = emit.mod(emit.div(code.thread, 8), DEPTH)
    return Share(
        code.bind(line, "line"), code.bind(word, "word"), threads // DEPTH,
        columns * DEPTH // threads, 1,
    )  # fmt: skip


Read = Callable[[int, int], tuple[Any, Index]]
"""(which of a share's lines, which of a step's slices where they are copied, which number of a word
where it is made) -> whether it is there, and where in memory."""


@dataclass(frozen=True)
class _Operand:
    """An operand, and what a thread brings of each slice.

    Args:
        code: Gets the statements.
        share: What the thread brings.
        source: Memory.
        reading: Says where numbers of a step's slices are.
        to: Shared memory, slices of so many lines.
        lines: Of a slice.
        each: Elements of memory in a word.
        both: Slices of a step.
    """

    code: Threads
    share: Share
    source: Array
    reading: Callable[[Index], Read]
    to: Array
    lines: int
    each: int
    both: int

    def place(self, number: Index, line: Index) -> Index:
        """Where a slice has the first word that the thread brings of a line."""
        return number * (self.lines * DEPTH) + place_of(line, self.share.within)


@dataclass(frozen=True)
class _Copied(_Operand):
    """One that memory has as it is wanted."""

    copied = True

    def bring(self, step: Index, number: Index) -> None:
        """Start copying a step's slices to the step's place of that number."""
        share = self.share
        with where(self.code, share.mine):
            read = self.reading(step)
            for i, line in enumerate(share.lines):
                for n in range(self.both):
                    there, place = read(i, n)
                    at = self.place(number * self.both + n, line)
                    copies.copy(
                        self.code, self.to, at, self.source, place, there, share.run * self.each
                    )

    def keep(self, number: Index) -> None:
        """Nothing: it is on its way."""


@dataclass(frozen=True)
class _Made(_Operand):
    """One whose words, one of each line, are made of what a thread loads into registers.

    Args:
        held: The registers, `each` of a word.
    """

    held: Array
    copied = False

    def bring(self, step: Index, number: Index) -> None:
        """Load what the slice is made of."""
        del number
        read, none = self.reading(step), tirx.const(0, self.source.dtype)
        for i in range(self.share.count):
            for part in range(self.each):
                there, place = read(i, part)
                value = tirx.if_then_else(there, self.source.at(place), none)
                self.code.store(self.held, i * self.each + part, value)

    def keep(self, number: Index) -> None:
        """Store the slice's words."""
        for i, line in enumerate(self.share.lines):
            self.code.store(self.to, self.place(number, line), self._word(i))

    def _word(self, i: int) -> Value:
        if self.each == 2:
            return as_halves(self.held.at(2 * i), self.held.at(2 * i + 1))
        value = self.held.at(i)
        return value if self.held.dtype == "int32" else tirx.reinterpret("int32", value)


class _Tiled:
    """A block whose warps multiply by tensor cores."""

    def __init__(
        self, code: Threads, product: Product, tile: Tile, device: Device,
        arrays: tuple[Array, ...],
    ) -> None:  # fmt: skip
        self.code, self.product, self.tile = code, product, tile
        self.precision, self.numbers = device.precision, NUMBERS[device.precision]
        self.stages = stages_of(product, tile, device)
        self.block = Block(code, product, arrays, (tile.rows, tile.columns))
        lane = code.bind(emit.mod(code.thread, LANES), "lane")
        number = code.bind(emit.div(code.thread, LANES), "warp")
        self.warp = Warp(code, device.precision, lane, twin=device.twin)
        wide = tile.columns // tile.warp_columns
        self.row = code.bind(emit.div(number, wide) * tile.warp_rows, "row")
        self.column = code.bind(emit.mod(number, wide) * tile.warp_columns, "column")
        self.left_run, self.right_run = 0, 0
        if device.copies:
            self.left_run = self._run(self.block.x, product.x_run)
            self.right_run = _PIECE if product.words else self._run(self.block.w, product.w_run)
        copied = self.left_run > 0 and self.right_run > 0
        self.both = together(product, tile, device.precision, copied=copied)
        self.stages = min(self.stages, BLOCK_SHARED_BYTES // (self.both * tile.slice_bytes))

    def _run(self, array: Array, run: int) -> int:
        """Words that a copy brings; 0 where memory has others than are wanted."""
        halves = isinstance(array, Halves)
        if halves != (self.precision == "float16"):
            return 0
        return _words_of(run, self.precision, halves=halves)

    def write(self) -> None:
        code, tile = self.code, self.tile
        both = self.both
        left = code.shared(self.stages * both * tile.rows * DEPTH, "int32", "left")
        right = code.shared(self.stages * both * tile.columns * DEPTH, "int32", "right")
        sums = code.local(both * 4 * tile.pairs, name="sum")
        for cell in range(both * 4 * tile.pairs):
            code.store(sums, cell, tirx.const(0.0, "float32"))
        sides = [self._left(left), self._right(right)]
        steps = _slices(self.product, self.precision) // both
        ahead = self.stages - 1
        copied = any(side.copied for side in sides)
        for step in range(ahead):
            if step < steps:
                for side in sides:
                    side.bring(step, step)
                    side.keep(step)
            if copied:
                copies.commit(code)
        with code.loop("step", steps) as step:
            if copied:
                copies.wait(code, ahead - 1)
            code.meet()
            later = code.bind(step + ahead, "later")
            other = code.bind(emit.mod(later, self.stages), "other")
            with code.when(tirx.LT(later, const(steps))):
                for side in sides:
                    side.bring(later, other)
            if copied:
                copies.commit(code)
            self._multiply(left, right, code.bind(emit.mod(step, self.stages), "slice"), sums)
            for side in sides:
                side.keep(other)
        for cell in range(4 * tile.pairs if both > 1 else 0):
            code.store(sums, cell, sums.at(cell) + sums.at(4 * tile.pairs + cell))
        self._store(sums)

    def _left(self, to: Array) -> _Copied | _Made:
        """How the left operand is brought."""
        code, tile, block, run = self.code, self.tile, self.block, self.left_run
        share = by_lines(code, tile.threads, tile.rows, DEPTH, max(1, run))
        pixels = [block.pixel(line) for line in share.lines]

        def reading(step: Index) -> Read:
            if self.both > 1:
                size, within = DEPTH * self.numbers, share.within * self.numbers
                beside = [within + n * size for n in range(self.both)]
                spots = block.spots(step * (self.both * size), beside, self.both * size)
            else:
                first = code.bind((step * DEPTH + share.within) * self.numbers, "depth")
                spots = [block.spot(first + n) for n in range(1 if run else self.numbers)]
            return lambda i, n: block.left_at(pixels[i], spots[n])

        return self._side(share, block.x, reading, to, tile.rows, copied=run > 0)

    def _right(self, to: Array) -> _Copied | _Made:
        """How the right operand is brought."""
        code, tile, block, run = self.code, self.tile, self.block, self.right_run
        product, packed = self.product, bool(self.product.words)
        if packed or run > 1:
            share = by_lines(code, tile.threads, tile.columns, DEPTH, max(1, run))
        else:
            share = _by_columns(code, tile.threads, tile.columns)
        columns = [code.bind(block.column0 + line, "column") for line in share.lines]

        def of_words(step: Index) -> Read:
            size = product.columns * DEPTH
            first = block.group * product.w_group + step * (self.both * size) + share.within

            def read(i: int, n: int) -> tuple[Any, Index]:
                there = tirx.LT(emit.index(columns[i]), const(product.columns))
                return there, first + n * size + columns[i] * DEPTH

            return read

        def of_numbers(step: Index) -> Read:
            slices = step * (self.both * DEPTH)
            first = code.bind((slices + share.within) * self.numbers, "depth")
            apart = DEPTH * self.numbers if self.both > 1 else 1
            return lambda i, n: block.right_at(first + n * apart, columns[i])

        reading = of_words if packed else of_numbers
        return self._side(share, block.w, reading, to, tile.columns, copied=run > 0, packed=packed)

    def _side(
        self, share: Share, source: Array, reading: Callable[[Index], Read], to: Array,
        lines: int, *, copied: bool, packed: bool = False,
    ) -> _Copied | _Made:  # fmt: skip
        each = 1 if packed else self.numbers
        if copied:
            return _Copied(self.code, share, source, reading, to, lines, each, self.both)
        held = self.code.local(share.count * each, source.dtype, "held")
        return _Made(self.code, share, source, reading, to, lines, each, 1, held)

    def _multiply(self, left: Array, right: Array, step: Index, sums: Array) -> None:
        """Add the products of a step's slices."""
        places = [
            (step * self.both + n, words)
            for n in range(self.both)
            for words in range(0, DEPTH, WORDS)
        ]
        if self.both == 1:
            for place in places:
                self.warp.multiply(self._load(left, right, *place), sums)
            return
        for n, loaded in enumerate([self._load(left, right, *place) for place in places]):
            self.warp.multiply(loaded, sums, n % 2 * 4 * self.tile.pairs)

    def _load(self, left: Array, right: Array, number: Index, words: Index) -> Operands:
        """Load so many words of the tiles of a slice."""
        tile, tf32 = self.tile, self.precision == "tf32"
        rows = [self.row + i * ROWS for i in range(tile.warp_rows // ROWS)]
        columns = [self.column + j * COLUMNS for j in range(tile.warp_columns // COLUMNS)]

        def side(array: Array, lines: int, *, raw: bool) -> Side:
            first = number * (lines * DEPTH)
            return Side(array, lambda line, word: first + place_of(line, word), raw)

        sides = (
            side(left, tile.rows, raw=tf32),
            side(right, tile.columns, raw=tf32 and not self.product.words),
        )
        return self.warp.load(*sides, rows, columns, words)

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
                        _, inner = sum_held(self.warp.lane, 0)
                        column = block.column0 + self.column + j * COLUMNS + inner
                        cell = 4 * (i * across + j) + 2 * half
                        totals = [sums.at(cell), sums.at(cell + 1)]
                        block.end(place, code.bind(column, "column"), totals)
