# SPDX-License-Identifier: Apache-2.0
"""Convolutions of channels-last maps as numbers: sizes, distances, tiles and blocks of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from splitc_targets.graph.expression import Expression
from splitc_targets.loops.fused import SUM, Operand
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Conv:
    """A convolution of channels-last maps; sizes are in elements.

    Args:
        batch, height, width: The input's maps.
        channels: Input channels of one group.
        groups: Groups of channels.
        out_height, out_width: The result's map.
        out_channels: Output channels of all groups.
        kernel, stride, dilation: Rows and columns.
        pad: Rows above and columns left of the input; what lies below and right follows.
        x_pixel, x_row, x_image, x_channel: Distances in the input.
        y_pixel, y_row, y_image: Distances in the result.
        w_image: Distance between the weights of images; 0 where all share them.
        expression: What is stored; operand 0 is the sum.
        operands: Its other operands.
        tile: The register tile; None leaves it to the analytic model.
        blocks_outer: Whether blocks of output channels are the outer loop, pixels the inner;
            None leaves it to the caches' sizes.
        y_dtype: The result's element type: floats or bytes.
        near_sums: Whether sums of whole numbers are known to lie within `narrowing.FAR_SUM` of 0.
        near_ends: Whether what is rounded to bytes is, within `narrowing.FAR_END`.
    """

    batch: int
    height: int
    width: int
    channels: int
    groups: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    x_pixel: int
    x_row: int
    x_image: int
    x_channel: int
    y_pixel: int
    y_row: int
    y_image: int
    expression: Expression = SUM
    operands: tuple[Operand, ...] = ()
    w_image: int = 0
    tile: tiles.Tile | None = None
    blocks_outer: bool | None = None
    y_dtype: str = "float32"
    near_sums: bool = False
    near_ends: bool = False

    @property
    def flops(self) -> int:
        """Operations of the mathematics, a multiply-add being 2."""
        pixels = self.batch * self.out_height * self.out_width
        return 2 * pixels * self.out_channels * self.channels * self.kernel[0] * self.kernel[1]


def of_maps(
    x: tuple[int, ...], y: tuple[int, ...], groups: int, kernel: tuple[int, int],
    stride: tuple[int, int], pad: tuple[int, int], dilation: tuple[int, int] = (1, 1),
) -> Conv:  # fmt: skip
    """A convolution of dense channels-last maps, by their shapes [N, C, H, W]."""
    (n, c, height, width), (_, channels, out_height, out_width) = x, y
    return Conv(
        batch=n, height=height, width=width, channels=c // groups, groups=groups,
        out_height=out_height, out_width=out_width, out_channels=channels,
        kernel=kernel, stride=stride, dilation=dilation, pad=pad,
        x_pixel=c, x_row=c * width, x_image=c * width * height, x_channel=1,
        y_pixel=channels, y_row=channels * out_width,
        y_image=channels * out_width * out_height,
    )  # fmt: skip


PAIR = 2
"""Channels of an element of two bfloat16."""


def in_pairs(conv: Conv) -> Conv:
    """A convolution in elements of two channels of its input; distances are even."""
    return replace(
        conv, channels=conv.channels // PAIR, x_channel=1,
        x_pixel=conv.x_pixel // PAIR, x_row=conv.x_row // PAIR, x_image=conv.x_image // PAIR,
    )  # fmt: skip


class Sliding(Protocol):
    """What of an operation says where its windows lie along a row."""

    @property
    def width(self) -> int:
        """Columns of the input."""
        ...

    @property
    def out_width(self) -> int:
        """Columns of the result."""
        ...

    @property
    def kernel(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        ...

    @property
    def stride(self) -> tuple[int, int]:
        """Rows and columns from one window to the next."""
        ...

    @property
    def dilation(self) -> tuple[int, int]:
        """Rows and columns from one place of a window to the next."""
        ...

    @property
    def pad(self) -> tuple[int, int]:
        """Rows above and columns left of the input."""
        ...


@dataclass(frozen=True)
class Segment:
    """A run of equal tiles along a row of the result.

    Args:
        start: First column.
        size: Columns of a tile.
        count: Tiles.
        inside: For each kernel column, the tile's columns (from, to) whose input exists.
    """

    start: int
    size: int
    count: int
    inside: tuple[tuple[int, int], ...]


def flattened(conv: Conv) -> Conv:
    """A 1x1 convolution without stride as one row of all pixels."""
    dense = (
        conv.kernel == (1, 1) and conv.stride == (1, 1) and conv.pad == (0, 0)
        and (conv.height, conv.width) == (conv.out_height, conv.out_width)
        and conv.x_row == conv.width * conv.x_pixel
        and conv.y_row == conv.width * conv.y_pixel
        and (conv.batch == 1 or conv.x_image == conv.height * conv.x_row)
        and (conv.batch == 1 or conv.y_image == conv.height * conv.y_row)
        and (conv.batch == 1 or conv.w_image == 0)
        and all(
            operand.kind != "tensor" or operand.steps(conv.out_height, conv.out_width)
            == Operand("tensor", operand.pixel).steps(conv.out_height, conv.out_width)
            for operand in conv.operands
        )
    )  # fmt: skip
    if not dense:
        return conv
    pixels = conv.batch * conv.height * conv.width
    return replace(
        conv, batch=1, height=1, width=pixels, out_height=1, out_width=pixels,
        x_row=pixels * conv.x_pixel, y_row=pixels * conv.y_pixel,
        operands=tuple(
            Operand(operand.kind, operand.pixel, dtype=operand.dtype) for operand in conv.operands
        ),
    )  # fmt: skip


def blocks(conv: Conv, tile: tiles.Tile, lanes: int) -> list[int]:
    """Vectors of each block of output channels of one group."""
    return tiles.split(-(-(conv.out_channels // conv.groups) // lanes), tile.vectors)


def tile_of(conv: Conv, machine: Machine) -> tiles.Tile:
    """The register tile for a convolution (flattened where it can be)."""
    if conv.tile is not None:
        return conv.tile
    per_group = conv.out_channels // conv.groups
    step = 4 * conv.x_pixel * conv.stride[1]
    return tiles.choose(machine, conv.out_width, per_group, step)


def in_pieces(conv: Conv, machine: Machine) -> Conv:
    """A product of two tensors with the tile that it has some rows at a time, whatever their count.

    An element of a row meets every vector of a tile: it is read once, not by each multiply-add.
    """
    many = replace(conv, out_width=256)
    return replace(conv, tile=tile_of(many, replace(machine, memory_fma=False)))


def blocks_outermost(conv: Conv, machine: Machine) -> bool:
    """Whether a (flattened) convolution's blocks of channels are outermost, else its pixels.

    Weights are read again for every stretch of pixels where pixels are outermost: that is for
    weights that stay in L2, and not where a core's pixels stay there beside a block's.
    """
    if conv.blocks_outer is not None:
        return conv.blocks_outer
    taps = conv.kernel[0] * conv.kernel[1] * conv.channels
    wide = sum(blocks(conv, tile_of(conv, machine), machine.lanes)) * machine.lanes
    weights_stay = 4 * taps * wide * conv.groups <= machine.l2_bytes // 2
    pixels = 4 * conv.batch * conv.height * conv.width * conv.channels * conv.groups
    return not weights_stay or pixels // machine.cores <= machine.l2_bytes // 2


def segments(conv: Sliding, rows: int) -> list[Segment]:
    """The tiles of a row of the result, equal neighbours together."""
    found: list[Segment] = []
    start = 0
    for size in tiles.split(conv.out_width, rows):
        inside = tuple(_inside(conv, start, size, column) for column in range(conv.kernel[1]))
        last = found[-1] if found else None
        if last is not None and (last.size, last.inside) == (size, inside):
            found[-1] = Segment(last.start, size, last.count + 1, inside)
        else:
            found.append(Segment(start, size, 1, inside))
        start += size
    return found


def _inside(conv: Sliding, start: int, size: int, column: int) -> tuple[int, int]:
    """The columns of a tile whose input under a kernel column lies in the map."""
    shift = column * conv.dilation[1] - conv.pad[1]
    good = [i for i in range(size) if 0 <= (start + i) * conv.stride[1] + shift < conv.width]
    return (good[0], good[-1] + 1) if good else (0, 0)


def input_size(conv: Conv) -> int:
    """Elements from the input's first to its last."""
    size = (conv.batch - 1) * conv.x_image + (conv.height - 1) * conv.x_row
    size += (conv.width - 1) * conv.x_pixel
    return size + (conv.channels * conv.groups - 1) * conv.x_channel + 1


def result_size(conv: Conv) -> int:
    """Elements from the result's first to its last."""
    y = Operand("tensor", conv.y_pixel, conv.y_row, conv.y_image)
    return y.size(conv.batch, conv.out_height, conv.out_width, conv.out_channels)


@dataclass(frozen=True)
class Matmul:
    """Products of `conv.batch` pairs of matrices.

    Args:
        conv: The product as a 1x1 convolution: images are pairs, pixels the left rows.
        b_batch, b_row, b_column: Distances in the right matrices, in elements.
    """

    conv: Conv
    b_batch: int
    b_row: int
    b_column: int


def sized(product: Matmul, machine: Machine) -> Matmul:
    """The products with the distance between right matrices as the kernel reads them."""
    conv = product.conv
    tile = tile_of(conv, machine)
    vectors = sum(blocks(conv, tile, machine.lanes))
    packed = replace(conv, w_image=vectors * machine.lanes * conv.channels)
    return replace(product, conv=packed)
