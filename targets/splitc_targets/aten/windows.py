# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Pools in forms that TVM's converters compute as PyTorch does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

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
    """Windows that share the tensor out evenly are those of a plain pool."""

    def rewrite(x: Tensor, output_size: Sequence[int]) -> Any:
        extents = list(zip(x.shape[-dims:], output_size, strict=True))
        if any(n % made for n, made in extents):
            return NotImplemented
        kernel = [n // made for n, made in extents]
        return op(x, kernel, kernel)

    return rewrite


def _each(value: Sequence[int], dims: int) -> list[int]:
    return list(value) * dims if len(value) == 1 else list(value)


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    return {
        aten.avg_pool2d.default: average_pool(aten.avg_pool2d, 2),
        aten.avg_pool3d.default: average_pool(aten.avg_pool3d, 3),
        aten.max_pool2d_with_indices.default: max_pool(aten.max_pool2d_with_indices, 2),
        aten.max_pool3d_with_indices.default: max_pool(aten.max_pool3d_with_indices, 3),
        aten.adaptive_max_pool2d.default: adaptive_max_pool(aten.max_pool2d_with_indices, 2),
        aten.adaptive_max_pool3d.default: adaptive_max_pool(aten.max_pool3d_with_indices, 3),
    }
