# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Pools and transposed convolutions in forms that TVM's converters compute as PyTorch does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from splitc_targets.aten import window_places
from splitc_targets.aten.promotion import Rewrite, aten


def average_pool(op: Any, dims: int) -> Rewrite:
    """Averages with a divisor of their own: sums of windows without padding, divided by it."""

    def rewrite(
        x: Tensor, kernel_size: Sequence[int], stride: Sequence[int] = (),
        padding: Sequence[int] = (0,), ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        if divisor_override is None:
            return NotImplemented
        kernel, pads = _each(kernel_size, dims), _each(padding, dims)
        steps = _each(stride or kernel_size, dims)
        extents, counts, widths = x.shape[-dims:], list[int](), list[int]()
        for n, k, step, pad in zip(extents, kernel, steps, pads, strict=True):
            counts.append(_count(n, k, step, pad, ceil_mode))
            widths = [pad, max((counts[-1] - 1) * step + k - n - pad, 0), *widths]
        mean = op(aten.constant_pad_nd(x, widths, 0), kernel, steps)
        for dim, count in enumerate(counts, x.dim() - dims):
            mean = mean.narrow(dim, 0, count)
        return mean * (math.prod(kernel) / divisor_override)

    return rewrite


def _count(extent: int, kernel: int, step: int, pad: int, ceil: bool) -> int:
    """Windows along a dimension; the last begins inside the tensor or its left padding."""
    room = extent + 2 * pad - kernel
    count = (-(-room // step) if ceil else room // step) + 1
    return count - 1 if ceil and (count - 1) * step >= extent + pad else count


def max_pool(op: Any, dims: int) -> Rewrite:
    """A stride that is left out is the window's extent."""

    def rewrite(
        x: Tensor, kernel_size: Sequence[int], stride: Sequence[int] = (), *more: Any
    ) -> Any:
        if len(stride) == dims and len(kernel_size) == dims:
            return NotImplemented
        kernel = _each(kernel_size, dims)
        return op(x, kernel, _each(stride or kernel, dims), *more)

    return rewrite


def adaptive_max_pool(op: Any, dims: int) -> Rewrite:
    """Windows that share the tensor out evenly are those of a plain pool; others are looked up."""

    def rewrite(x: Tensor, output_size: Sequence[int]) -> Any:
        extents = list(zip(x.shape[-dims:], output_size, strict=True))
        if any(n % made for n, made in extents):
            return _largest(x, window_places.adaptive(x.shape[-dims:], output_size), output_size)
        kernel = [n // made for n, made in extents]
        return op(x, kernel, kernel)

    return rewrite


def _largest(x: Tensor, table: Tensor, made: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The largest element of each window of a table, and its place in the flattened map."""
    whole, windows = x.shape[: x.dim() - len(made)], table.shape[0]
    rows = x.reshape(math.prod(whole), -1)
    rows = torch.cat([rows, torch.full_like(rows[:, :1], -math.inf)], 1)
    held = torch.index_select(rows, 1, table.reshape(-1)).reshape(-1, *table.shape)
    values, at = held.max(2)
    at = at + torch.arange(windows) * table.shape[1]
    places = torch.index_select(table.reshape(-1), 0, at.reshape(-1))
    return values.reshape(*whole, *made), places.reshape(*whole, *made)


def batched(op: Any, dims: int, then: Rewrite | None = None) -> Rewrite:
    """A map without a batch is a batch of one; `then` is what is rewritten otherwise."""

    def rewrite(x: Tensor, *more: Any, **named: Any) -> Any:
        if x.dim() != dims + 1:
            return then(x, *more, **named) if then is not None else NotImplemented
        made = op(x.unsqueeze(0), *more, **named)
        if isinstance(made, Tensor):
            return made.squeeze(0)
        return tuple(each.squeeze(0) for each in made)

    return rewrite


def transposed_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Any:  # fmt: skip
    """A convolution with the turned kernel, of the map with noughts between its elements.

    TVM has it in one and two dimensions, without dilation, with less padding of the result than
    the stride.
    """
    dims = x.dim() - 2
    stride, padding = _each(stride, dims), _each(padding, dims)
    dilation, output_padding = _each(dilation, dims), _each(output_padding, dims)
    beyond = any(more >= step for more, step in zip(output_padding, stride, strict=True))
    if not transposed or (dims < 3 and not beyond and all(n == 1 for n in dilation)):
        return NotImplemented
    widths: list[int] = []
    for dim in range(dims):
        x = _spread(x, dim + 2, stride[dim])
        edge = dilation[dim] * (weight.shape[dim + 2] - 1) - padding[dim]
        widths = [edge, edge + output_padding[dim], *widths]
    inner, outer, kernel = weight.shape[0] // groups, weight.shape[1], weight.shape[2:]
    turned = weight.reshape(groups, inner, outer, *kernel).transpose(1, 2)
    turned = turned.reshape(groups * outer, inner, *kernel).flip(list(range(2, dims + 2)))
    x = aten.constant_pad_nd(x, widths, 0)
    none = [0] * dims
    return aten.convolution(x, turned, bias, [1] * dims, none, dilation, False, none, groups)


def _spread(x: Tensor, dim: int, step: int) -> Tensor:
    """A tensor with `step - 1` noughts between its elements along a dimension."""
    if step == 1:
        return x
    extent, behind = x.shape[dim], x.dim() - 1 - dim
    x = aten.constant_pad_nd(x.unsqueeze(dim + 1), [0, 0] * behind + [0, step - 1], 0)
    return x.flatten(dim, dim + 1).narrow(dim, 0, (extent - 1) * step + 1)


def _each(value: Sequence[int], dims: int) -> list[int]:
    return list(value) * dims if len(value) == 1 else list(value)


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    found: dict[Any, Rewrite] = {aten.convolution.default: transposed_convolution}
    for dims, average, adaptive, largest, adaptive_largest in (
        (2, aten.avg_pool2d, aten._adaptive_avg_pool2d, aten.max_pool2d_with_indices,
         aten.adaptive_max_pool2d),
        (3, aten.avg_pool3d, aten._adaptive_avg_pool3d, aten.max_pool3d_with_indices,
         aten.adaptive_max_pool3d),
    ):  # fmt: skip
        found |= {
            average.default: batched(average, dims, average_pool(average, dims)),
            adaptive.default: batched(adaptive, dims),
            largest.default: batched(largest, dims, max_pool(largest, dims)),
            adaptive_largest.default: batched(
                adaptive_largest, dims, adaptive_max_pool(largest, dims)
            ),
        }
    return found
