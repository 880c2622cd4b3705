# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""Scattering: values put, added or compared where an index says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from splitc_targets.aten.promotion import Rewrite, aten

Scatter = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes a tensor, an index of its shape but along the dimension, and as many values."""


def written(op: Any) -> Rewrite:
    """`scatter.src` and `scatter_add`: of the source as much is taken as there are places."""

    def rewrite(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Any:
        if not index.numel():
            return x.clone()
        if x.dim() == 0:
            return op(x.reshape(1), 0, index.reshape(1), src.reshape(1)).reshape(())
        if src.shape == index.shape and _fits(x, dim, index):
            return NotImplemented
        return _in_region(x, dim, index, src, lambda a, i, s: op(a, dim, i, s))

    return rewrite


def filled(x: Tensor, dim: int, index: Tensor, value: Any) -> Any:
    """One value at each place."""
    if not index.numel():
        return x.clone()
    if x.dim() == 0:
        return aten.scatter.value(x.reshape(1), 0, index.reshape(1), value).reshape(())
    if _fits(x, dim, index):
        return NotImplemented
    return _in_region(x, dim, index, x, lambda a, i, _: aten.scatter.value(a, dim, i, value))


def reduced(
    x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    """Values added, multiplied, averaged or compared where they meet."""
    if not index.numel():
        return x.clone()
    if x.dim() == 0:
        x, index, src = x.reshape(1), index.reshape(1), src.reshape(1)
        named = {"include_self": include_self}
        return aten.scatter_reduce(x, 0, index, src, reduce, **named).reshape(())
    if not include_self:
        start = x.scatter(dim, index, _start(x, reduce))
        if reduce != "mean":
            return aten.scatter_reduce(start, dim, index, src, reduce)
        return start.scatter_add(dim, index, src) / _counts(torch.zeros_like(x), dim, index)
    if reduce == "mean":
        return x.scatter_add(dim, index, src) / _counts(torch.ones_like(x), dim, index)
    if reduce == "sum":
        return x.scatter_add(dim, index, src)
    if src.shape == index.shape and _fits(x, dim, index):
        return NotImplemented
    return _in_region(x, dim, index, src, lambda a, i, s: aten.scatter_reduce(a, dim, i, s, reduce))


def old_reduced(x: Tensor, dim: int, index: Tensor, src: Any, *, reduce: str) -> Any:
    """`scatter` that is told how to reduce, with values or one value."""
    if not isinstance(src, Tensor):
        src = torch.full((), src, dtype=x.dtype).expand(index.shape)
    return x.scatter_reduce(dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


def masked_scatter(x: Tensor, mask: Tensor, source: Tensor) -> Any:
    """The source's elements in order, where the mask holds."""
    x, mask = torch.broadcast_tensors(x, mask)
    place = torch.cumsum(mask.reshape(-1).to(torch.int64), 0) - 1
    place = place.clamp(0, source.numel() - 1)
    picked = torch.index_select(source.reshape(-1), 0, place).reshape(x.shape)
    return torch.where(mask, picked, x)


def _start(x: Tensor, reduce: str) -> Any:
    """What changes no value that it is reduced with."""
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    lowest = reduce == "amax"
    if x.dtype.is_floating_point:
        return -math.inf if lowest else math.inf
    return torch.iinfo(x.dtype).min if lowest else torch.iinfo(x.dtype).max


def _counts(first: Tensor, dim: int, index: Tensor) -> Tensor:
    """How many values meet at each place, one at least."""
    one = torch.ones((), dtype=first.dtype).expand(index.shape)
    return first.scatter_add(dim, index, one).clamp(min=1)


def _fits(x: Tensor, dim: int, index: Tensor) -> bool:
    """Whether an index has a tensor's shape but along a dimension."""
    along = dim % x.dim()
    return all(
        n == m for i, (n, m) in enumerate(zip(x.shape, index.shape, strict=True)) if i != along
    )


def _in_region(x: Tensor, dim: int, index: Tensor, src: Tensor, scatter: Scatter) -> Tensor:
    """Scatter into the corner of a tensor that an index of smaller extents is about."""
    along = dim % x.dim()
    region, rest = x, list[tuple[int, Tensor]]()
    for each, extent in enumerate(index.shape):
        src = src.narrow(each, 0, extent)
        if each != along and extent < region.shape[each]:
            rest.append((each, region.narrow(each, extent, region.shape[each] - extent)))
            region = region.narrow(each, 0, extent)
    made = scatter(region, index, src)
    for each, kept in reversed(rest):
        made = torch.cat([made, kept], each)
    return made


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites by operator."""
    return {
        aten.scatter.src: written(aten.scatter.src),
        aten.scatter.value: filled,
        aten.scatter.reduce: old_reduced,
        aten.scatter.value_reduce: old_reduced,
        aten.scatter_add.default: written(aten.scatter_add),
        aten.scatter_reduce.two: reduced,
        aten.masked_scatter.default: masked_scatter,
    }
