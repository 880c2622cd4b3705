# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products, convolutions and matrix products alike, as one: rows of pixels by output channels.

Whatever multiplies them, a block computes a tile of pixels by channels; here is what it reads
and writes: the pixels under the window's places (an implicit matrix), the right operand, and the
results behind what is fused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from splitc_targets.gpu.loops import ends, vectors
from splitc_targets.gpu.loops.threads import Halves, Threads
from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.direct import operand_arguments
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Index, Value, const, tirx

ALIGNED = 8
"""Elements at whose multiples an operand may be known to begin: 16 bytes of float16."""

BRINGING = 12.0 / 128
"""Cycles of a multiprocessor for bringing a piece: instructions over those it starts a cycle."""

BUSY = 512.0
"""Pieces under way to a multiprocessor, or its threads with one each, from which nothing waits for
memory."""


@dataclass(frozen=True)
class Product:
    """A product and where its right operand lies.

    Args:
        conv: Sizes, and distances in the input and the result.
        w_image: Distance between the right operands of images; 0 where they share one.
        w_group: Between those of groups.
        w_depth: Between rows of it; a row belongs to a channel under a place of the window.
        w_column: Between columns of it, each of an output channel.
        words: Precision of the words that the right operand is packed in (see
            `splitc_targets.gpu.kernels.tensor_products.packed`); nothing where it is of floats.
        w_columns: Columns that memory has of a group, where that is more than there are: zeros.
        x_aligned, w_aligned, y_aligned: The operands and the result begin at a multiple of so many
            elements from where an allocation does: powers of two, at most `ALIGNED`.
    """

    conv: Conv
    w_image: int
    w_group: int
    w_depth: int
    w_column: int
    words: str = ""
    w_columns: int = 0
    x_aligned: int = 1
    w_aligned: int = 1
    y_aligned: int = 1

    @property
    def x_run(self) -> int:
        """Elements that lie side by side along the depth, from each multiple of so many on; their
        places are multiples of it too. A power of two, at most `ALIGNED`."""
        conv = self.conv
        if conv.x_channel != 1:
            return 1
        steps = (conv.channels, conv.x_pixel, conv.x_row, conv.x_image)
        return math.gcd(self.x_aligned, *steps)

    @property
    def w_run(self) -> int:
        """The same of a right operand that is not packed."""
        return self._w_run(self.w_depth, self.conv.channels, self.w_column)

    @property
    def w_beside(self) -> int:
        """The same along its columns."""
        return self._w_run(self.w_column, self.w_columns or self.columns, self.w_depth)

    @property
    def y_run(self) -> int:
        """The same of results, along the columns."""
        conv = self.conv
        return math.gcd(self.y_aligned, self.columns, conv.y_pixel, conv.y_row, conv.y_image)

    def _w_run(self, step: int, count: int, other: int) -> int:
        if step != 1:
            return 1
        return math.gcd(self.w_aligned, count, other, self.w_image, self.w_group)

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

    @property
    def shares(self) -> int:
        """Products that have no operand in common: groups, and images with right operands."""
        return self.conv.groups * (self.conv.batch if self.w_image else 1)


_FEW = 8
_BESIDE = 4
"""Columns of constants that are made to lie side by side from each multiple on: 16 bytes."""


def few(product: Product) -> bool:
    """Whether there are a few rows only, each dense: a product by a vector or nearly."""
    conv = product.conv
    simple = conv.kernel == (1, 1) and conv.stride == (1, 1) and conv.pad == (0, 0)
    return simple and product.rows <= _FEW


def dense(conv: Conv) -> Product:
    """A product by constant weights, as `products.packed` lays them.

    There are zeros behind their columns up to a multiple of four, but where all of them are read
    for few rows, or columns are so few themselves.
    """
    product = Product(conv, 0, 0, conv.out_channels // conv.groups, 1)
    columns = product.columns
    if columns >= _BESIDE and not few(product):
        columns = -(-columns // _BESIDE) * _BESIDE
    return replace(
        product, w_depth=columns, w_group=product.depth * columns, w_columns=columns,
        w_aligned=ALIGNED,
    )  # fmt: skip


def of_matrices(pairs: Matmul) -> Product:
    """Products of two tensors."""
    return Product(pairs.conv, pairs.b_batch, 0, pairs.b_row, pairs.b_column)


def arguments(product: Product) -> list[Argument]:
    """Parameters of a product's kernel (x, right, operands…, y)."""
    conv = product.conv
    if product.words or product.w_columns:
        w = conv.groups * product.w_group
    else:
        w = (product.depth - 1) * product.w_depth + (product.columns - 1) * product.w_column + 1
        w += (conv.groups - 1) * product.w_group + (conv.batch - 1) * product.w_image
    return [
        Argument("x", (geometry.input_size(conv),)),
        Argument("w", (w,), "int32" if product.words else "float32"),
        *operand_arguments(conv),
        Argument("y", (geometry.result_size(conv),), conv.y_dtype),
    ]


@dataclass(frozen=True)
class Pixel:
    """A pixel that a thread loads: where its window lies.

    Args:
        base: Its window's first element in the input, where there is one.
        inside: Whether there is such a pixel.
        top, left: Its window's first row and column, which may lie outside the map.
    """

    base: Index
    inside: Any
    top: Index
    left: Index


@dataclass(frozen=True)
class Spot:
    """A place along the depth: a channel under a place of the window.

    Args:
        at: How far it lies behind the window's first element.
        row, column: Of the window, in the input's pixels.
        inside: Whether there is such a place.
    """

    at: Index
    row: Index
    column: Index
    inside: Any


class Block:
    """A block's tile of a product.

    Args:
        code: Gets the statements.
        product: What is computed.
        arrays: The kernel's parameters.
        tile: Its rows and columns.
    """

    def __init__(
        self, code: Threads, product: Product, arrays: tuple[Array, ...], tile: tuple[int, int]
    ) -> None:
        self.code, self.product, self.conv = code, product, product.conv
        self.x, self.w, *self.extra = arrays[:-1]
        self.y = arrays[-1]
        rows, columns = tile
        across, down = -(-product.columns // columns), -(-product.rows // rows)
        self.column0 = code.bind(emit.mod(code.block, across) * columns, "column0")
        rest = code.bind(emit.div(code.block, across))
        self.row0 = code.bind(emit.mod(rest, down) * rows, "row0")
        share = code.bind(emit.div(rest, down), "share")
        self.image: Index = share if product.w_image else 0
        self.group: Index = 0 if product.w_image else share
        if product.w_image and self.conv.groups > 1:
            self.image = code.bind(emit.div(share, self.conv.groups))
            self.group = code.bind(emit.mod(share, self.conv.groups))

    def place(self, row: Index) -> tuple[Index, Index, Index]:
        """A pixel's image, row and column."""
        code, conv = self.code, self.conv
        x = code.bind(emit.mod(row, conv.out_width))
        line = code.bind(emit.div(row, conv.out_width))
        if self.product.w_image or conv.batch == 1:
            return self.image, line, x
        image = code.bind(emit.div(line, conv.out_height))
        return image, code.bind(emit.mod(line, conv.out_height)), x

    def pixel(self, row: Index) -> Pixel:
        """The pixel of a row of the tile."""
        code, conv = self.code, self.conv
        number = code.bind(self.row0 + row, "pixel")
        image, y, x = self.place(number)
        top = code.bind(y * conv.stride[0] - conv.pad[0], "top")
        left = code.bind(x * conv.stride[1] - conv.pad[1], "left")
        base = image * conv.x_image + self.group * (conv.channels * conv.x_channel)
        base = code.bind(base + top * conv.x_row + left * conv.x_pixel, "base")
        inside = code.bind(tirx.LT(emit.index(number), const(self.product.rows)), "inside")
        return Pixel(base, inside, top, left)

    def spot(self, depth: Index) -> Spot:
        """The place along the depth."""
        code, conv = self.code, self.conv
        channel = code.bind(emit.mod(depth, conv.channels), "channel")
        tap = code.bind(emit.div(depth, conv.channels), "tap")
        row = code.bind(emit.div(tap, conv.kernel[1]) * conv.dilation[0], "down")
        column = code.bind(emit.mod(tap, conv.kernel[1]) * conv.dilation[1], "across")
        at = row * conv.x_row + column * conv.x_pixel + channel * conv.x_channel
        inside = tirx.LT(emit.index(depth), const(self.product.depth))
        return Spot(code.bind(at, "spot"), row, column, code.bind(inside, "deep"))

    def spots(self, first: Index, within: list[Index], size: int) -> list[Spot]:
        """Places of a stretch of the depth, under one place of the window where that is so.

        Args:
            first: The stretch's first place; a multiple of its size.
            within: Those of the stretch.
            size: Of the stretch.
        """
        code, conv = self.code, self.conv
        if conv.channels % size:
            return [self.spot(code.bind(first + each, "depth")) for each in within]
        start = self.spot(code.bind(first, "depth"))
        return [replace(start, at=start.at + each * conv.x_channel) for each in within]

    def left(self, pixel: Pixel, spot: Spot) -> Value:
        """The left operand there: 0 outside the map, and where there is no such place."""
        there, place = self.left_at(pixel, spot)
        return tirx.if_then_else(there, self.x.at(place), tirx.const(0.0, "float32"))

    def left_at(self, pixel: Pixel, spot: Spot) -> tuple[Any, Index]:
        """Whether there is a left operand, and where it lies."""
        conv = self.conv
        good = tirx.And(pixel.inside, spot.inside)
        for axis, place, size, out in (
            (0, pixel.top + spot.row, conv.height, conv.out_height),
            (1, pixel.left + spot.column, conv.width, conv.out_width),
        ):
            reach = (conv.kernel[axis] - 1) * conv.dilation[axis]
            if conv.pad[axis] > 0:
                good = tirx.And(good, tirx.GE(emit.index(place), const(0)))
            if (out - 1) * conv.stride[axis] - conv.pad[axis] + reach >= size:
                good = tirx.And(good, tirx.LT(emit.index(place), const(size)))
        return good, pixel.base + spot.at

    def right(self, depth: Index, column: Index) -> Value:
        """The right operand there: 0 beyond its last row or column."""
        there, place = self.right_at(depth, column)
        return tirx.if_then_else(there, self.w.at(place), tirx.const(0, self.w.dtype))

    def right_at(self, depth: Index, column: Index) -> tuple[Any, Index]:
        """Whether there is a right operand, and where it lies."""
        product = self.product
        good = tirx.And(
            tirx.LT(emit.index(depth), const(product.depth)),
            tirx.LT(emit.index(column), const(product.columns)),
        )
        at = self.image * product.w_image + self.group * product.w_group
        return good, at + depth * product.w_depth + column * product.w_column

    def end(self, place: tuple[Index, Index, Index], column: Index, totals: list[Value]) -> None:
        """Store what becomes of sums of columns side by side, where there are such columns.

        Args:
            place: The image, row and column of their pixel.
            column: The first. It is a multiple of how many they are.
            totals: The sums.
        """
        code, product, count = self.code, self.product, len(totals)
        there = tirx.LT(emit.index(column), const(product.columns))
        floats = self.y.dtype == "float32" and not isinstance(self.y, Halves)
        if count > 1 and product.y_run % count == 0 and floats:
            with code.when(there):
                self._end_beside(place, column, totals)
            return
        for n, total in enumerate(totals):
            with code.when(tirx.LT(emit.index(column + n), const(product.columns))):
                store(
                    code, product, self.extra, self.y, place, self.group, column + n, total
                )  # fmt: skip

    def _end_beside(
        self, place: tuple[Index, Index, Index], column: Index, totals: list[Value]
    ) -> None:
        """Store them by one instruction."""
        code, product = self.code, self.product
        held = code.local(len(totals), name="held")
        for n, total in enumerate(totals):
            value, _ = _end(code, product, self.extra, place, self.group, column + n, total)
            code.store(held, n, value)
        at = _place(product.conv, place) + self.group * product.columns + column
        vectors.store(code, self.y, code.bind(at, "at"), held, len(totals))


def store(
    code: Threads, product: Product, extra: list[Array], y: Array,
    place: tuple[Index, Index, Index], group: Index, column: Index, total: Value,
) -> None:  # fmt: skip
    """Store what becomes of the sum of a pixel (its image, row and column) and a column."""
    value, channel = _end(code, product, extra, place, group, column, total)
    code.store(y, _place(product.conv, place) + channel, value)


def _end(
    code: Threads, product: Product, extra: list[Array], place: tuple[Index, Index, Index],
    group: Index, column: Index, total: Value,
) -> tuple[Value, Index]:  # fmt: skip
    """What becomes of a sum, and its channel."""
    conv = product.conv
    channel = code.bind(group * product.columns + column, "out")
    size = conv.out_height, conv.out_width
    return ends.value(code, conv, extra, total, channel, place, size), channel


def _place(conv: Conv, place: tuple[Index, Index, Index]) -> Index:
    """Where the result has a pixel's first channel."""
    image, row, pixel = place
    return image * conv.y_image + row * conv.y_row + pixel * conv.y_pixel
