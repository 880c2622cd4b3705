# SPDX-License-Identifier: Apache-2.0
"""What a layer is for a kernel: the sizes that a graph's shapes and counts of operations tell.

A graph says what a layer reads and makes, its kind and its operations, not its window. Those
leave nearly everything settled: a convolution's operations over its results are the places of
its window times the channels of a group, and windows are square where nothing else fits.
"""

from __future__ import annotations

import math

from splitc.ir.graph import Layer, Tensor
from splitc_targets.kernels.product.geometry import Conv, of_maps
from splitc_targets.kernels.window.geometry import Windows

Shape = tuple[int, ...]


def shape_of(tensor: Tensor) -> Shape | None:
    """A tensor's shape where no extent depends on data."""
    if tensor.shape is None or None in tensor.shape or 0 in tensor.shape:
        return None
    return tensor.static_shape


def as_map(shape: Shape) -> Shape | None:
    """[N, C, L] and [N, C, H, W] as the latter; None for others."""
    if len(shape) == 4:
        return shape
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else None


def window(places: int, lines: bool) -> tuple[int, int]:
    """Rows and columns of a window of so many places: square, where that can be."""
    side = math.isqrt(places)
    if lines:
        return 1, places
    return (side, side) if side * side == places else (1, places)


def _moves(size: Shape, out: Shape, kernel: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Strides and leading pads that lead from maps of one size to those of another."""
    strides, pads = list[int](), list[int]()
    for axis in (0, 1):
        stride = max(1, round(size[axis] / out[axis]))
        beyond = (out[axis] - 1) * stride + kernel[axis] - size[axis]
        strides.append(stride)
        pads.append(max(0, beyond) // 2)
    return (strides[0], strides[1]), (pads[0], pads[1])


def conv_of(layer: Layer, x: Shape, y: Shape) -> Conv | None:
    """A convolution, channels last; None where the counts fit none."""
    source, made = as_map(x), as_map(y)
    if source is None or made is None or layer.flops <= 0:
        return None
    _, c, height, width = source
    channels = made[1]
    deep = layer.flops // (2 * math.prod(made))
    groups, places = _groups(layer.kind, c, channels, deep)
    if places < 1:
        return None
    kernel = window(places, len(x) == 3)
    if not _meets((height, width), kernel):
        return None
    stride, pad = _moves((height, width), made[2:], kernel)
    return of_maps(source, made, groups, kernel, stride, pad)


def _meets(size: Shape, kernel: tuple[int, int]) -> bool:
    """Whether every place of a window meets a map: else the count of operations is not of one.

    What is counted by hand, in a graph with no network behind it, need not be a convolution's.
    """
    return all(places < 2 * extent for places, extent in zip(kernel, size, strict=True))


def _groups(kind: str, channels: int, results: int, deep: int) -> tuple[int, int]:
    """Groups, and places of the window, of a sum over so many products.

    Args:
        kind: The layer's.
        channels, results: Of the input and the result, all groups.
        deep: Products of each result.
    """
    if kind == "depthwise":
        return channels, deep
    if kind == "conv1x1":
        return max(1, channels // max(1, deep)), 1
    if deep % channels == 0 and (kind == "conv3x3" or not _grouped(channels, deep)):
        return 1, deep // channels
    for side in (3, 5, 7, 1, 2, 4):
        each, rest = divmod(deep, side * side)
        if each and not rest and channels % each == 0 and results % (channels // each) == 0:
            return channels // each, side * side
    return 1, max(1, deep // channels)


def _grouped(channels: int, deep: int) -> bool:
    """Whether a window that is no square would be one with groups."""
    places = deep // channels
    return places not in (1, 2, 3, 5, 7) and math.isqrt(places) ** 2 != places


def product_of(layer: Layer, y: Shape) -> Conv | None:
    """A product of rows by constants, as a 1x1 convolution over one row of pixels."""
    if not y:
        return None
    *outer, columns = y
    rows = math.prod(outer)
    deep = layer.flops // (2 * rows * columns)
    return None if deep < 1 else matrix(1, rows, deep, columns)


def products_of(layer: Layer, y: Shape) -> Conv | None:
    """Products of pairs of tensors."""
    if len(y) < 2:
        return product_of(layer, y)
    *outer, rows, columns = y
    pairs = math.prod(outer)
    deep = layer.flops // (2 * pairs * rows * columns)
    return None if deep < 1 else matrix(pairs, rows, deep, columns)


def matrix(pairs: int, rows: int, deep: int, columns: int) -> Conv:
    """Products of matrices as 1x1 convolutions over one row of pixels."""
    return Conv(
        batch=pairs, height=1, width=rows, channels=deep, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=deep, x_row=deep * rows, x_image=deep * rows, x_channel=1,
        y_pixel=columns, y_row=columns * rows, y_image=columns * rows,
    )  # fmt: skip


def windows_of(layer: Layer, x: Shape, y: Shape) -> Windows | None:
    """A pooling or a depthwise convolution."""
    source, made = as_map(x), as_map(y)
    if source is None or made is None or layer.flops <= 0:
        return None
    n, c, height, width = source
    each = 2 if layer.kind == "depthwise" else 1
    places = max(1, layer.flops // (each * math.prod(made)))
    kernel = window(places, len(x) == 3)
    stride, pad = _moves((height, width), made[2:], kernel)
    return Windows(
        batch=n, height=height, width=width, channels=made[1],
        out_height=made[2], out_width=made[3],
        kernel=kernel, stride=stride, dilation=(1, 1), pad=pad,
        x_pixel=c, x_row=c * width, x_image=c * width * height,
        y_pixel=made[1], y_row=made[1] * made[3], y_image=math.prod(made[1:]),
    )  # fmt: skip
