# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""How a product is computed: by tiles, on the usual units or on tensor cores, or by vectors.

A block computes a tile of pixels by channels. Step by step it brings a slice of both operands
into shared memory while it multiplies the one before; each thread multiplies its rows and columns
of the slice, with its sums in registers. Where there are a few rows only, their threads share the
depth instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels import tensor_products
from splitc_targets.gpu.kernels.product import Block, Pixel, Product, arguments, dense, store
from splitc_targets.gpu.loops import copies
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, const, tirx


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
    def threads(self) -> int:
        """Threads of a block."""
        return (self.rows // self.own_rows) * (self.columns // self.own_columns)


TILES = (
    Tile(128, 128, 8, 8, 8), Tile(128, 64, 8, 8, 4), Tile(64, 128, 8, 4, 8), Tile(64, 64, 16, 4, 4),
    Tile(64, 32, 16, 4, 2), Tile(32, 64, 16, 2, 4), Tile(32, 32, 16, 2, 2), Tile(16, 64, 16, 2, 2),
    Tile(16, 16, 32, 1, 1),
)  # fmt: skip


def packed(
    weights: np.ndarray[Any, Any], conv: Conv, device: Device
) -> tuple[Product, np.ndarray[Any, Any]]:
    """A product by constant weights, and these as its kernel reads them.

    Args:
        weights: [out channels][channels][rows][columns], or the same without the last two.
        conv: The product.
        device: What computes it.
    """
    product = dense(conv)
    laid = pack(weights, conv.groups)
    if _by_tensor_cores(product, device):
        return tensor_products.packed(product, laid, device.precision)
    if bytes_of_weights(product, device) == 2:
        with np.errstate(over="ignore"):
            laid = laid.astype(np.float16)
    return product, laid


def bytes_of_weights(product: Product, device: Device) -> int:
    """Of each number of a right operand that the usual units read, as memory has it.

    A product of few rows takes as long as its weights are read. Of tensors whose types are still
    to be chosen it is 4.
    """
    return 2 if device.precision == "float16" and product.w_group and few(product) else 4


def pack(weights: np.ndarray[Any, Any], groups: int) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns] as [group][row][column][channel][out]."""
    out, *rest = weights.shape
    laid = weights.reshape(groups, out // groups, *rest).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(laid, dtype=np.float32).ravel()


def tile_of(product: Product, device: Device) -> Tile:
    """The tile that is predicted to be quickest.

    A multiprocessor holds several blocks; waves of them follow each other, and what a thread
    loads from shared memory for each product takes its share of the multiplying.
    """

    return min(TILES, key=lambda tile: _cycles(product, tile, device))


def _cycles(product: Product, tile: Tile, device: Device) -> float:
    blocks = product.shares * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
    beside = max(1, min(device.resident // tile.threads, 8))
    own = tile.own_rows * tile.own_columns
    useful = own / (own + tile.own_rows + tile.own_columns)
    # A unit with few threads cannot hide what each waits for.
    busy = min(1.0, beside * tile.threads / 512, blocks * tile.threads / device.units / 512)
    waves = -(-blocks // (device.units * beside))
    work = tile.rows * tile.columns * product.depth
    return waves * beside * work / (device.multiply_adds * useful * max(busy, 1e-3))


def _by_tensor_cores(product: Product, device: Device) -> bool:
    """Whether tensor cores are predicted to be quicker; what has few rows waits for memory."""
    if not device.tensor or few(product):
        return False
    usual = min(_cycles(product, tile, device) for tile in TILES)
    return tensor_products.cycles(product, device) < usual


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    if few(product):
        return _few_rows(name, product)
    if product.words or (not product.w_group and _by_tensor_cores(product, device)):
        return tensor_products.product_kernel(name, product, device)
    tile = tile_of(product, device)
    across, down = -(-product.columns // tile.columns), -(-product.rows // tile.rows)

    def write(code: Threads, *arrays: Array) -> None:
        _Tiled(code, product, tile, device.slices, arrays).write()

    blocks = across * down * product.shares
    return kernel(name, arguments(product), blocks, tile.threads, write)


_BESIDE = 4
"""Elements behind each row of the left slice: neighbours along the depth lie in other banks."""


class _Tiled:
    """A block whose threads multiply with the usual units.

    Shared memory has several slices of each operand: while one is multiplied, the next are on
    their way. One barrier a slice is enough: what is copied into was read before the barrier.
    """

    def __init__(
        self, code: Threads, product: Product, tile: Tile, slices: int, arrays: tuple[Array, ...]
    ) -> None:
        self.code, self.product, self.tile, self.slices = code, product, tile, slices
        self.block = Block(code, product, arrays, (tile.rows, tile.columns))

    def write(self) -> None:
        code, tile = self.code, self.tile
        wide = tile.columns // tile.own_columns
        self.lane_x = code.bind(emit.mod(code.thread, wide), "tx")
        self.lane_y = code.bind(emit.div(code.thread, wide), "ty")
        self.pitch = tile.rows + _BESIDE
        self.left = code.shared(self.slices * tile.depth * self.pitch, name="left")
        self.right = code.shared(self.slices * tile.depth * tile.columns, name="right")
        sums = code.local(tile.own_rows * tile.own_columns, name="sum")
        for cell in range(tile.own_rows * tile.own_columns):
            code.store(sums, cell, tirx.const(0.0, "float32"))
        self.own = code.bind(emit.div(code.thread, tile.depth), "m")
        self.down = tile.threads // tile.depth
        pixels = [self.block.pixel(self.own + i * self.down) for i in range(tile.rows // self.down)]
        ahead = self.slices - 1
        for step in range(ahead):
            self._bring(step, step, pixels)
        with code.loop("step", -(-self.product.depth // tile.depth)) as step:
            copies.wait(code, ahead - 1)
            code.meet()
            later = code.bind(step + ahead, "later")
            self._bring(later, code.bind(emit.mod(later, self.slices), "slice"), pixels)
            here = code.bind(emit.mod(step, self.slices) * tile.depth, "here")
            with code.loop("k", tile.depth) as k:
                self._multiply(sums, here + k)
        self._store(sums)

    def _bring(self, step: Index, number: Index, pixels: list[Pixel]) -> None:
        """Start copying a step's slices of both operands; zeros beyond the last."""
        code, tile, block = self.code, self.tile, self.block
        start = code.bind(step * tile.depth, "start")
        k = code.bind(emit.mod(code.thread, tile.depth), "k")
        spot = block.spot(code.bind(start + k, "depth"))
        first = code.bind((number * tile.depth + k) * self.pitch + self.own, "first")
        for i, pixel in enumerate(pixels):
            there, place = block.left_at(pixel, spot)
            copies.copy(code, self.left, first + i * self.down, block.x, place, there)
        n = code.bind(emit.mod(code.thread, tile.columns), "n")
        k = code.bind(emit.div(code.thread, tile.columns), "k")
        column = code.bind(block.column0 + n, "column")
        apart = tile.threads // tile.columns
        first = code.bind(number * (tile.depth * tile.columns) + code.thread, "first")
        for i in range(tile.depth // apart):
            depth = code.bind(start + k + i * apart, "depth")
            there, place = block.right_at(depth, column)
            copies.copy(code, self.right, first + i * tile.threads, block.w, place, there)
        copies.commit(code)

    def _multiply(self, sums: Array, k: Index) -> None:
        code, tile, left, right = self.code, self.tile, self.left, self.right
        wide = tile.columns // tile.own_columns
        rows = [
            code.bind(left.at(k * self.pitch + self.lane_y * tile.own_rows + i), "a")
            for i in range(tile.own_rows)
        ]
        columns = [
            code.bind(right.at(k * tile.columns + self.lane_x + j * wide), "b")
            for j in range(tile.own_columns)
        ]
        for i, a in enumerate(rows):
            for j, b in enumerate(columns):
                cell = i * tile.own_columns + j
                code.store(sums, cell, sums.at(cell) + a * b)

    def _store(self, sums: Array) -> None:
        code, tile, product = self.code, self.tile, self.product
        wide = tile.columns // tile.own_columns
        for i in range(tile.own_rows):
            row = code.bind(self.block.row0 + self.lane_y * tile.own_rows + i, "row")
            with code.when(tirx.LT(emit.index(row), const(product.rows))):
                place = self.block.place(row)
                for j in range(tile.own_columns):
                    column = code.bind(self.block.column0 + self.lane_x + j * wide, "column")
                    self.block.end(place, column, sums.at(i * tile.own_columns + j))


_FEW = 8
_SLICES = 8
WIDE = 32


def few(product: Product) -> bool:
    """Whether there are a few rows only, each dense: a product by a vector or nearly."""
    conv = product.conv
    simple = conv.kernel == (1, 1) and conv.stride == (1, 1) and conv.pad == (0, 0)
    return simple and product.rows <= _FEW


def _few_rows(name: str, product: Product) -> Kernel:
    """A block a few columns: threads side by side read neighbours, others share the depth."""
    conv = product.conv
    across = -(-product.columns // WIDE)

    def write(code: Threads, *arrays: Array) -> None:
        x, w, *extra = arrays[:-1]
        column = code.bind(emit.mod(code.thread, WIDE), "lane")
        part = code.bind(emit.div(code.thread, WIDE), "slice")
        n = code.bind(emit.mod(code.block, across) * WIDE + column, "column")
        share = code.bind(emit.div(code.block, across), "share")
        image: Index = emit.div(share, conv.groups) if product.w_image else 0
        group: Index = emit.mod(share, conv.groups)
        inside = tirx.LT(emit.index(n), const(product.columns))
        sums = code.local(product.rows, name="sum")
        places = []
        for row in range(product.rows):
            code.store(sums, row, tirx.const(0.0, "float32"))
            pixel = row % conv.out_width
            line = row // conv.out_width
            own = image if product.w_image or conv.batch == 1 else line // conv.out_height
            places.append((own, line % conv.out_height, pixel))
        base = image * product.w_image + group * product.w_group
        with code.when(inside), code.loop("step", -(-product.depth // _SLICES)) as step:
            k = code.bind(step * _SLICES + part, "k")
            whole = product.depth % _SLICES == 0
            with code.when(tirx.LT(emit.index(k), const(product.depth)) if not whole
                           else tirx.const(1, "bool")):  # fmt: skip
                b = code.bind(w.at(base + k * product.w_depth + n * product.w_column), "b")
                for row, (own, line, pixel) in enumerate(places):
                    at = own * conv.x_image + line * conv.x_row + pixel * conv.x_pixel
                    at = at + (group * conv.channels + k) * conv.x_channel
                    code.store(sums, row, sums.at(row) + x.at(at) * b)
        held = code.shared(_SLICES * WIDE * product.rows, name="held")
        for row in range(product.rows):
            code.store(held, code.thread * product.rows + row, sums.at(row))
        code.meet()
        first = tirx.And(tirx.EQ(emit.index(part), const(0)), inside)
        with code.when(first):
            for row, (own, line, pixel) in enumerate(places):
                total = code.local(1)
                code.store(total, 0, tirx.const(0.0, "float32"))
                for other in range(_SLICES):
                    at = (other * WIDE + column) * product.rows + row
                    code.store(total, 0, total.at(0) + held.at(at))
                place = (own, emit.index(line), emit.index(pixel))
                store(code, product, extra, arrays[-1], place, group, n, total.at(0))

    blocks = across * product.shares
    return kernel(name, arguments(product), blocks, WIDE * _SLICES, write)
