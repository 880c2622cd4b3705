# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products, convolutions and matrix products alike, as one: rows of pixels by output channels.

A block computes a tile of pixels by channels. Step by step it brings a slice of both operands
into shared memory, gathering the pixels under the window's places (an implicit matrix), and each
thread multiplies its rows and columns of the slice, with its sums in registers. Where there are
a few rows only, their threads share the depth instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.loops import ends
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.direct import operand_arguments
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Index, Value, const, tirx


@dataclass(frozen=True)
class Product:
    """A product and where its right operand lies.

    Args:
        conv: Sizes, and distances in the input and the result.
        w_image: Distance between the right operands of images; 0 where they share one.
        w_group: Between those of groups.
        w_depth: Between rows of it; a row belongs to a channel under a place of the window.
        w_column: Between columns of it, each of an output channel.
    """

    conv: Conv
    w_image: int
    w_group: int
    w_depth: int
    w_column: int

    @property
    def depth(self) -> int:
        """Products that a sum takes."""
        return self.conv.channels * self.conv.kernel[0] * self.conv.kernel[1]

    @property
    def columns(self) -> int:
        """Output channels of a group."""
        return self.conv.out_channels // self.conv.groups

    @property
    def rows(self) -> int:
        """Pixels that share a right operand."""
        images = 1 if self.w_image else self.conv.batch
        return images * self.conv.out_height * self.conv.out_width


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


def dense(conv: Conv) -> Product:
    """A product by constant weights, as `pack` lays them."""
    product = Product(conv, 0, 0, conv.out_channels // conv.groups, 1)
    return Product(conv, 0, product.depth * product.columns, product.columns, 1)


def of_matrices(pairs: Matmul) -> Product:
    """Products of two tensors."""
    return Product(pairs.conv, pairs.b_batch, 0, pairs.b_row, pairs.b_column)


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

    def cycles(tile: Tile) -> float:
        groups = product.conv.groups * (product.conv.batch if product.w_image else 1)
        blocks = groups * -(-product.rows // tile.rows) * -(-product.columns // tile.columns)
        beside = max(1, min(device.resident // tile.threads, 8))
        own = tile.own_rows * tile.own_columns
        useful = own / (own + tile.own_rows + tile.own_columns)
        # A unit with few threads cannot hide what each waits for.
        busy = min(1.0, beside * tile.threads / 512, blocks * tile.threads / device.units / 512)
        waves = -(-blocks // (device.units * beside))
        work = tile.rows * tile.columns * product.depth
        return waves * beside * work / (device.multiply_adds * useful * max(busy, 1e-3))

    return min(TILES, key=cycles)


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    if _few(product):
        return _few_rows(name, product)
    tile = tile_of(product, device)
    across, down = -(-product.columns // tile.columns), -(-product.rows // tile.rows)
    blocks = across * down * _shares(product)

    def write(code: Threads, *arrays: Array) -> None:
        _Tiled(code, product, tile, arrays).write(across, down)

    return kernel(name, _arguments(product), blocks, tile.threads, write)


def _shares(product: Product) -> int:
    """Products that have no operand in common: groups, and images with right operands of theirs."""
    return product.conv.groups * (product.conv.batch if product.w_image else 1)


def _arguments(product: Product) -> list[Argument]:
    conv = product.conv
    w = (product.depth - 1) * product.w_depth + (product.columns - 1) * product.w_column
    w += (conv.groups - 1) * product.w_group + (conv.batch - 1) * product.w_image
    return [
        Argument("x", (geometry.input_size(conv),)),
        Argument("w", (w + 1,)),
        *operand_arguments(conv),
        Argument("y", (geometry.result_size(conv),), conv.y_dtype),
    ]


class _Tiled:
    def __init__(
        self, code: Threads, product: Product, tile: Tile, arrays: tuple[Array, ...]
    ) -> None:
        self.code, self.product, self.conv, self.tile = code, product, product.conv, tile
        self.x, self.w, *self.extra = arrays[:-1]
        self.y = arrays[-1]

    def write(self, across: int, down: int) -> None:
        code, tile, product = self.code, self.tile, self.product
        self.column0 = code.bind(emit.mod(code.block, across) * tile.columns, "column0")
        rest = code.bind(emit.div(code.block, across))
        self.row0 = code.bind(emit.mod(rest, down) * tile.rows, "row0")
        share = code.bind(emit.div(rest, down), "share")
        self.image: Index = share if product.w_image else 0
        self.group: Index = 0 if product.w_image else share
        if product.w_image and self.conv.groups > 1:
            self.image = code.bind(emit.div(share, self.conv.groups))
            self.group = code.bind(emit.mod(share, self.conv.groups))
        wide = tile.columns // tile.own_columns
        self.lane_x = code.bind(emit.mod(code.thread, wide), "tx")
        self.lane_y = code.bind(emit.div(code.thread, wide), "ty")
        left = code.shared(tile.depth * tile.rows, name="left")
        right = code.shared(tile.depth * tile.columns, name="right")
        sums = code.local(tile.own_rows * tile.own_columns, name="sum")
        for cell in range(tile.own_rows * tile.own_columns):
            code.store(sums, cell, tirx.const(0.0, "float32"))
        rows = self._rows()
        with code.loop("step", -(-product.depth // tile.depth)) as step:
            start = code.bind(step * tile.depth, "start")
            self._load_left(left, start, rows)
            self._load_right(right, start)
            code.meet()
            with code.loop("k", tile.depth) as k:
                self._multiply(left, right, sums, k)
            code.meet()
        self._store(sums)

    def _rows(self) -> list[tuple[Index, Any, Index, Index]]:
        """For each pixel that this thread loads: its base, whether it is one, its top and left."""
        code, conv, tile = self.code, self.conv, self.tile
        found = []
        for i in range(-(-tile.rows * tile.depth // tile.threads)):
            inner = code.bind(emit.div(code.thread + i * tile.threads, tile.depth), "m")
            row = code.bind(self.row0 + inner, "pixel")
            image, y, x = self._place(row)
            top = code.bind(y * conv.stride[0] - conv.pad[0], "top")
            left = code.bind(x * conv.stride[1] - conv.pad[1], "left")
            base = image * conv.x_image + self.group * (conv.channels * conv.x_channel)
            inside = tirx.LT(emit.index(row), const(self.product.rows))
            found.append((code.bind(base, "base"), inside, top, left))
        return found

    def _place(self, row: Index) -> tuple[Index, Index, Index]:
        """A pixel's image, row and column."""
        code, conv = self.code, self.conv
        x = code.bind(emit.mod(row, conv.out_width))
        line = code.bind(emit.div(row, conv.out_width))
        if self.product.w_image or conv.batch == 1:
            return self.image, line, x
        image = code.bind(emit.div(line, conv.out_height))
        return image, code.bind(emit.mod(line, conv.out_height)), x

    def _load_left(
        self, left: Array, start: Index, rows: list[tuple[Index, Any, Index, Index]]
    ) -> None:
        code, conv, tile = self.code, self.conv, self.tile
        for i, (base, inside, top, first) in enumerate(rows):
            number = code.bind(code.thread + i * tile.threads)
            k = code.bind(emit.mod(number, tile.depth), "k")
            m = code.bind(emit.div(number, tile.depth), "m")
            depth = code.bind(start + k, "depth")
            channel = code.bind(emit.mod(depth, conv.channels), "channel")
            tap = code.bind(emit.div(depth, conv.channels), "tap")
            y = code.bind(top + emit.div(tap, conv.kernel[1]) * conv.dilation[0], "y")
            x = code.bind(first + emit.mod(tap, conv.kernel[1]) * conv.dilation[1], "x")
            good = tirx.And(inside, tirx.LT(emit.index(depth), const(self.product.depth)))
            for place, size in ((y, conv.height), (x, conv.width)):
                good = tirx.And(good, tirx.GE(emit.index(place), const(0)))
                good = tirx.And(good, tirx.LT(emit.index(place), const(size)))
            at = base + y * conv.x_row + x * conv.x_pixel + channel * conv.x_channel
            value = tirx.if_then_else(good, self.x.at(at), tirx.const(0.0, "float32"))
            spot = k * tile.rows + m
            if tile.rows * tile.depth % tile.threads:
                with code.when(tirx.LT(emit.index(number), const(tile.rows * tile.depth))):
                    code.store(left, spot, value)
            else:
                code.store(left, spot, value)

    def _load_right(self, right: Array, start: Index) -> None:
        code, tile, product = self.code, self.tile, self.product
        cells = tile.depth * tile.columns
        base = self.image * product.w_image + self.group * product.w_group
        for i in range(-(-cells // tile.threads)):
            number = code.bind(code.thread + i * tile.threads)
            n = code.bind(emit.mod(number, tile.columns), "n")
            k = code.bind(emit.div(number, tile.columns), "k")
            depth, column = code.bind(start + k, "depth"), code.bind(self.column0 + n, "column")
            good = tirx.And(
                tirx.LT(emit.index(depth), const(product.depth)),
                tirx.LT(emit.index(column), const(product.columns)),
            )
            at = base + depth * product.w_depth + column * product.w_column
            value = tirx.if_then_else(good, self.w.at(at), tirx.const(0.0, "float32"))
            if cells % tile.threads:
                with code.when(tirx.LT(emit.index(number), const(cells))):
                    code.store(right, number, value)
            else:
                code.store(right, number, value)

    def _multiply(self, left: Array, right: Array, sums: Array, k: Index) -> None:
        code, tile = self.code, self.tile
        wide = tile.columns // tile.own_columns
        rows = [
            code.bind(left.at(k * tile.rows + self.lane_y * tile.own_rows + i), "a")
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
            row = code.bind(self.row0 + self.lane_y * tile.own_rows + i, "row")
            with code.when(tirx.LT(emit.index(row), const(product.rows))):
                place = self._place(row)
                for j in range(tile.own_columns):
                    column = code.bind(self.column0 + self.lane_x + j * wide, "column")
                    with code.when(tirx.LT(emit.index(column), const(product.columns))):
                        _end(
                            code, product, self.extra, self.y, place, self.group, column,
                            sums.at(i * tile.own_columns + j),
                        )  # fmt: skip


def _end(
    code: Threads, product: Product, extra: list[Array], y: Array,
    place: tuple[Index, Index, Index], group: Index, column: Index, total: Value,
) -> None:  # fmt: skip
    conv = product.conv
    channel = code.bind(group * product.columns + column, "out")
    image, row, pixel = place
    out = image * conv.y_image + row * conv.y_row + pixel * conv.y_pixel + channel
    ends.store(code, conv, extra, y, out, total, channel, place, (conv.out_height, conv.out_width))


_FEW = 8
_SLICES = 8
_WIDE = 32


def _few(product: Product) -> bool:
    """Whether there are a few rows only, each dense: a product by a vector or nearly."""
    conv = product.conv
    simple = conv.kernel == (1, 1) and conv.stride == (1, 1) and conv.pad == (0, 0)
    return simple and product.rows <= _FEW


def _few_rows(name: str, product: Product) -> Kernel:
    """A block a few columns: threads side by side read neighbours, others share the depth."""
    conv = product.conv
    across = -(-product.columns // _WIDE)

    def write(code: Threads, *arrays: Array) -> None:
        x, w, *extra = arrays[:-1]
        column = code.bind(emit.mod(code.thread, _WIDE), "lane")
        part = code.bind(emit.div(code.thread, _WIDE), "slice")
        n = code.bind(emit.mod(code.block, across) * _WIDE + column, "column")
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
        held = code.shared(_SLICES * _WIDE * product.rows, name="held")
        for row in range(product.rows):
            code.store(held, code.thread * product.rows + row, sums.at(row))
        code.meet()
        first = tirx.And(tirx.EQ(emit.index(part), const(0)), inside)
        with code.when(first):
            for row, (own, line, pixel) in enumerate(places):
                total = code.local(1)
                code.store(total, 0, tirx.const(0.0, "float32"))
                for other in range(_SLICES):
                    at = (other * _WIDE + column) * product.rows + row
                    code.store(total, 0, total.at(0) + held.at(at))
                place = (own, emit.index(line), emit.index(pixel))
                _end(code, product, extra, arrays[-1], place, group, n, total.at(0))

    blocks = across * _shares(product)
    return kernel(name, _arguments(product), blocks, _WIDE * _SLICES, write)
