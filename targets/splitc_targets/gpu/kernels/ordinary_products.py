# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products by tiles on a multiprocessor's ordinary units.

Shared memory has several slices of both operands: while one is multiplied, the next are on their
way, 16 bytes at a time where so many lie side by side. One barrier a slice is enough: what is
copied into was read before it. The left slice has a row's elements along the depth side by side,
the right slice those of a place of the depth, as memory has both; so a thread loads either four at
a time, keeps its rows' for four places of the depth, and for each of these its columns'.

Where memory has the right operand's elements along the depth side by side, as a transposed matrix
does, so has the right slice; a thread then loads four places of the depth of each of its columns.

A warp's threads are eight across and four down: what eight of them load at once of either slice
lies in 32 banks or is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from splitc_targets.gpu.device import REGISTERS, Device
from splitc_targets.gpu.kernels.product import BRINGING, BUSY, Block, Product, arguments
from splitc_targets.gpu.loops import copies, vectors
from splitc_targets.gpu.loops.shares import by_lines
from splitc_targets.gpu.loops.threads import Halves, Kernel, Threads, kernel, where
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, const, tirx

VECTOR = 4
"""Floats of the widest copy, load and store: 16 bytes."""

_ACROSS, _DOWN = 8, 4
"""Threads of a warp along the columns and along the rows."""


@dataclass(frozen=True)
class Tile:
    """What a block computes, `rows` by `columns`, a slice of `depth` at a time.

    Args:
        own_rows, own_columns: What each of its threads computes.
    """

    rows: int
    columns: int
    depth: int
    own_rows: int
    own_columns: int

    @property
    def wide(self) -> int:
        """Threads along the columns."""
        return self.columns // self.own_columns

    @property
    def tall(self) -> int:
        """Threads along the rows."""
        return self.rows // self.own_rows

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.wide * self.tall

    @property
    def run(self) -> int:
        """Columns of a thread that lie side by side."""
        return min(VECTOR, self.own_columns)

    @property
    def slice_elements(self) -> int:
        """Of a slice of both operands."""
        return self.depth * (self.rows + self.columns)


TILES = (
    Tile(128, 128, 8, 8, 8), Tile(128, 64, 8, 4, 8), Tile(64, 128, 8, 4, 8), Tile(64, 64, 16, 4, 4),
    Tile(64, 32, 16, 4, 2), Tile(32, 64, 16, 2, 4), Tile(32, 32, 16, 2, 2), Tile(16, 64, 16, 2, 2),
    Tile(16, 16, 32, 1, 1),
)  # fmt: skip

_OTHERS = 32
"""Registers of a thread beside its sums and what it multiplies: places, the loop's."""


def tile_of(product: Product, device: Device) -> Tile:
    """The tile that is predicted to be quickest."""
    return min(TILES, key=lambda tile: _cycles(product, tile, device))


def cycles(product: Product, device: Device) -> float:
    """What the quickest tile is predicted to take."""
    return min(_cycles(product, tile, device) for tile in TILES)


def blocks_of(product: Product, tile: Tile) -> int:
    """Blocks of the product's kernel."""
    return product.shares * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)


def _cycles(product: Product, tile: Tile, device: Device) -> float:
    """The most that a multiprocessor does: its blocks multiply, load, or wait for the cache.

    All but the multiplying follows from the tile: what a thread loads from shared memory for each
    product, and in how many pieces slices are brought.
    """
    warps = tile.threads / (_ACROSS * _DOWN)
    run = VECTOR if along_depth(product) else tile.run
    loads = tile.own_rows / VECTOR, tile.own_columns / run
    # Of each place of the depth. A load of 16 bytes takes two cycles: half a warp's are 128 bytes.
    multiplying = tile.rows * tile.columns / device.multiply_adds
    loading = warps * (2 * loads[0] + max(1, run / 2) * loads[1])
    moving = 4 * (tile.rows + tile.columns) / device.near
    left = _run(product.x_run)
    right = _run(product.w_run if along_depth(product) else product.w_beside)
    bringing = (tile.rows / left + tile.columns / right) * BRINGING
    started = warps * sum(loads) / 4  # Four schedulers start one each a cycle.
    depth = -(-product.depth // tile.depth) * tile.depth
    mine = -(-blocks_of(product, tile) // device.units)
    ready = min(_beside(tile, device), mine) * tile.threads * (device.slices - 1)
    each = max(multiplying, loading, moving) + bringing + started
    return mine * depth * each / min(1.0, ready / BUSY)


def _beside(tile: Tile, device: Device) -> int:
    """Blocks that a multiprocessor holds at a time."""
    own = tile.own_rows * tile.own_columns + 2 * tile.own_rows + tile.own_columns + _OTHERS
    shared = 4 * device.slices * tile.slice_elements + 1024
    by = device.resident // tile.threads, device.shared_bytes // shared
    return max(1, min(*by, REGISTERS // (own * tile.threads)))


def _run(run: int) -> int:
    return min(VECTOR, run)


def along_depth(product: Product) -> bool:
    """Whether the right operand's elements lie side by side along the depth."""
    return product.w_depth == 1 and product.w_column != 1


def column_of(line: Index, tile: Tile) -> Index:
    """The column that a line of a right slice along the depth has.

    What eight threads load at once are their first columns, or their second ones, and so on, which
    are a run apart: eight lines side by side.
    """
    eight = _ACROSS * tile.run
    group, within = emit.div(line, eight) * eight, emit.mod(line, eight)
    return group + emit.mod(within, _ACROSS) * tile.run + emit.div(within, _ACROSS)


def deep_place(line: Index, k: Index, tile: Tile) -> Index:
    """Where such a slice has a line's place of the depth: pieces of 16 bytes, which change places
    from line to line so that one of each of eight lines lie in 32 banks."""
    pieces = tile.depth // VECTOR
    turn = emit.mod(emit.div(line, _ACROSS // pieces), pieces)
    piece = tirx.bitwise_xor(emit.index(emit.div(k, VECTOR)), emit.index(turn))
    return line * tile.depth + piece * VECTOR + emit.mod(k, VECTOR)


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    tile = tile_of(product, device)

    def write(code: Threads, *arrays: Array) -> None:
        _Tiled(code, product, tile, device.slices, arrays).write()

    return kernel(name, arguments(product), blocks_of(product, tile), tile.threads, write)


def first_of(thread: Index, tile: Tile) -> tuple[Index, Index]:
    """A thread's first row and column of its block's tile.

    Its others are `tall` rows apart, and its runs of columns `wide` runs.
    """
    across = tile.wide // _ACROSS
    warp, lane = emit.div(thread, _ACROSS * _DOWN), emit.mod(thread, _ACROSS * _DOWN)
    row = emit.div(warp, across) * _DOWN + emit.div(lane, _ACROSS)
    column = emit.mod(warp, across) * _ACROSS + emit.mod(lane, _ACROSS)
    return row, column * tile.run


class _Tiled:
    """A block whose threads multiply with the ordinary units."""

    def __init__(
        self, code: Threads, product: Product, tile: Tile, slices: int, arrays: tuple[Array, ...]
    ) -> None:
        self.code, self.product, self.tile, self.slices = code, product, tile, slices
        self.block = Block(code, product, arrays, (tile.rows, tile.columns))
        self.deep = along_depth(product)

    def write(self) -> None:
        code, tile = self.code, self.tile
        row, column = first_of(code.thread, tile)
        self.row, self.column = code.bind(row, "row"), code.bind(column, "column")
        if self.deep:
            # The line of its first column; its others' are eight lines apart, as `column_of` says.
            lane = emit.mod(emit.div(self.column, tile.run), _ACROSS)
            across = emit.div(self.column, _ACROSS * tile.run)
            self.line = code.bind(across * (_ACROSS * tile.run) + lane, "line")
        self.left = code.shared(self.slices * tile.rows * tile.depth, name="left")
        self.right = code.shared(self.slices * tile.depth * tile.columns, name="right")
        sums = code.local(tile.own_rows * tile.own_columns, name="sum")
        for cell in range(tile.own_rows * tile.own_columns):
            code.store(sums, cell, tirx.const(0.0, "float32"))
        self._divide()
        steps = -(-self.product.depth // tile.depth)
        ahead = self.slices - 1
        for step in range(ahead):
            if step < steps:
                self._bring(step, step)
            copies.commit(code)
        with code.loop("step", steps) as step:
            copies.wait(code, ahead - 1)
            code.meet()
            later = code.bind(step + ahead, "later")
            with code.when(tirx.LT(emit.index(later), const(steps))):
                self._bring(later, code.bind(emit.mod(later, self.slices), "slice"))
            copies.commit(code)
            here = code.bind(emit.mod(step, self.slices), "here")
            with code.loop("k", tile.depth // VECTOR) as k:
                self._multiply(sums, here, k * VECTOR)
        self._store(sums)

    def _divide(self) -> None:
        """What the thread brings of each slice."""
        code, tile, product, block = self.code, self.tile, self.product, self.block

        def run(array: Array, known: int) -> int:
            return 1 if isinstance(array, Halves) else _run(known)

        left = run(block.x, product.x_run)
        self.of_left = by_lines(code, tile.threads, tile.rows, tile.depth, left)
        if self.deep:
            right = run(block.w, product.w_run)
            self.of_right = by_lines(code, tile.threads, tile.columns, tile.depth, right)
            columns = [block.column0 + column_of(line, tile) for line in self.of_right.lines]
            self.columns = [code.bind(column, "column") for column in columns]
        else:
            right = run(block.w, product.w_beside)
            self.of_right = by_lines(code, tile.threads, tile.depth, tile.columns, right)
        self.pixels = [block.pixel(line) for line in self.of_left.lines]

    def _bring(self, step: Index, number: Index) -> None:
        """Start copying a step's slices of both operands; zeros beyond the last place."""
        start = self.code.bind(step * self.tile.depth, "start")
        self._bring_left(start, number)
        if self.deep:
            self._bring_right_along_depth(start, number)
        else:
            self._bring_right(start, number)

    def _bring_left(self, start: Index, number: Index) -> None:
        code, tile, block, share = self.code, self.tile, self.block, self.of_left
        first = number * (tile.rows * tile.depth) + share.within
        with where(code, share.mine):
            spot = block.spot(code.bind(start + share.within, "depth"))
            for line, pixel in zip(share.lines, self.pixels, strict=True):
                there, place = block.left_at(pixel, spot)
                at = first + line * tile.depth
                copies.copy(code, self.left, at, block.x, place, there, share.run)

    def _bring_right(self, start: Index, number: Index) -> None:
        code, tile, block, share = self.code, self.tile, self.block, self.of_right
        first = number * (tile.depth * tile.columns) + share.within
        with where(code, share.mine):
            column = code.bind(block.column0 + share.within, "column")
            for line in share.lines:
                there, place = block.right_at(code.bind(start + line, "depth"), column)
                at = first + line * tile.columns
                copies.copy(code, self.right, at, block.w, place, there, share.run)

    def _bring_right_along_depth(self, start: Index, number: Index) -> None:
        code, tile, block, share = self.code, self.tile, self.block, self.of_right
        first = number * (tile.depth * tile.columns)
        with where(code, share.mine):
            depth = code.bind(start + share.within, "depth")
            for line, column in zip(share.lines, self.columns, strict=True):
                there, place = block.right_at(depth, column)
                at = first + deep_place(line, share.within, tile)
                copies.copy(code, self.right, at, block.w, place, there, share.run)

    def _multiply(self, sums: Array, number: Index, k: Index) -> None:
        """Add the products of four places of a slice's depth."""
        code, tile = self.code, self.tile
        held = code.local(VECTOR * tile.own_rows, name="a")
        for i in range(tile.own_rows):
            line = number * tile.rows + self.row + i * tile.tall
            vectors.load(code, held, VECTOR * i, self.left, line * tile.depth + k, VECTOR)
        if self.deep:
            self._multiply_columns(sums, held, number, k)
            return
        for deep in range(VECTOR):
            beside = code.local(tile.own_columns, name="b")
            first = (number * tile.depth + k + deep) * tile.columns + self.column
            for j in range(0, tile.own_columns, tile.run):
                vectors.load(code, beside, j, self.right, first + j * tile.wide, tile.run)
            for i in range(tile.own_rows):
                for j in range(tile.own_columns):
                    cell = i * tile.own_columns + j
                    product = held.at(VECTOR * i + deep) * beside.at(j)
                    code.store(sums, cell, sums.at(cell) + product)

    def _multiply_columns(self, sums: Array, held: Array, number: Index, k: Index) -> None:
        """The same, column by column, of a right slice along the depth.

        Args:
            sums: Get the products.
            held: Four places of each of the thread's rows.
            number: Of the slice.
            k: The first place.
        """
        code, tile = self.code, self.tile
        first = number * (tile.depth * tile.columns)
        for j in range(0, tile.own_columns, tile.run):
            for n in range(tile.run):
                line = self.line + j * tile.wide + n * _ACROSS
                beside = code.local(VECTOR, name="b")
                at = first + deep_place(line, k, tile)
                vectors.load(code, beside, 0, self.right, at, VECTOR)
                for deep in range(VECTOR):
                    for i in range(tile.own_rows):
                        cell = i * tile.own_columns + j + n
                        product = held.at(VECTOR * i + deep) * beside.at(deep)
                        code.store(sums, cell, sums.at(cell) + product)

    def _store(self, sums: Array) -> None:
        code, tile, block = self.code, self.tile, self.block
        for i in range(tile.own_rows):
            row = code.bind(block.row0 + self.row + i * tile.tall, "row")
            with code.when(tirx.LT(emit.index(row), const(self.product.rows))):
                place = block.place(row)
                for j in range(0, tile.own_columns, tile.run):
                    first = block.column0 + self.column + j * tile.wide
                    cell = i * tile.own_columns + j
                    totals = [sums.at(cell + n) for n in range(tile.run)]
                    block.end(place, code.bind(first, "column"), totals)
