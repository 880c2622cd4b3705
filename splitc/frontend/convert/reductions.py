# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of reductions, extrema and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.batch import without
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts

Axes = Sequence[int]


def _mean(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.mean(x, tuple(axes), keep)


def _sum(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.sum(x, tuple(axes), keep, dtype=x.dtype)


def _max(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.amax(x, tuple(axes), keep)


def _min(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.amin(x, tuple(axes), keep)


def _prod(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keep, dtype=x.dtype)
    return x


def _l1(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return _sum(torch.abs(x), axes=axes, keep=keep)


def _l2(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.sqrt(_sum(x * x, axes=axes, keep=keep)).to(x.dtype)


def _sum_square(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return _sum(x * x, axes=axes, keep=keep)


def _log_sum(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.log(_sum(x, axes=axes, keep=keep)).to(x.dtype)


def _log_sum_exp(x: Tensor, *, axes: Axes, keep: bool) -> Tensor:
    return torch.logsumexp(x, tuple(axes), keep).to(x.dtype)


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": _mean, "ReduceSum": _sum, "ReduceMax": _max, "ReduceMin": _min,
    "ReduceProd": _prod, "ReduceL1": _l1, "ReduceL2": _l2, "ReduceSumSquare": _sum_square,
    "ReduceLogSum": _log_sum, "ReduceLogSumExp": _log_sum_exp,
}  # fmt: skip
_OF_NOTHING: dict[str, Callable[..., Tensor]] = {
    "ReduceL1": torch.abs, "ReduceL2": torch.abs, "ReduceSumSquare": torch.square,
    "ReduceLogSum": torch.log,
}  # fmt: skip
"""What is left of a reduction over no axes; of the others the operand itself."""


@converts(*_REDUCTIONS)
def reduction(node: Node) -> nn.Module:
    """Axes are an attribute or operand 1; none are all, or none at all."""
    rank = len(node.shape(0))
    given = node.setting("axes", 1)
    axes = sorted({node.axis(int(each), rank) for each in given.reshape(-1)}) if (
        given is not None) else []  # fmt: skip
    if node.attribute("noop_with_empty_axes", 0) and not axes:
        function = _OF_NOTHING.get(node.op)
        return nn.Identity() if function is None else Function(function)
    axes = axes or list(range(rank))
    keep = bool(node.attribute("keepdims", 1))
    node.place_batch(without(node.samples(), axes, keep=keep))
    return Function(_REDUCTIONS[node.op], axes=tuple(axes), keep=keep)


def _extremum(x: Tensor, *, axis: int, keep: bool, largest: bool, last: bool) -> Tensor:
    """PyTorch gives the first of equal elements."""
    find = torch.argmax if largest else torch.argmin
    if not last:
        return find(x, axis, keep)
    return x.shape[axis] - 1 - find(x.flip(axis), axis, keep)


@converts("ArgMax", "ArgMin")
def extremum(node: Node) -> nn.Module:
    """The first or the last of equal elements."""
    axis = node.axis(node.attribute("axis", 0), len(node.shape(0)))
    keep = bool(node.attribute("keepdims", 1))
    node.place_batch(without(node.samples(), [axis], keep=keep))
    return Function(
        _extremum, axis=axis, keep=keep,
        largest=node.op == "ArgMax", last=bool(node.attribute("select_last_index", 0)),
    )  # fmt: skip


def _top(x: Tensor, *, count: int, axis: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Of equal elements the first comes first, as in ONNX; `torch.topk` promises no order."""
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


@converts("TopK")
def top_k(node: Node) -> nn.Module:
    """Values and their places."""
    count = node.setting("k", 1)
    assert count is not None
    return Function(
        _top, count=int(count.reshape(())), axis=node.attribute("axis", -1),
        largest=bool(node.attribute("largest", 1)),
    )  # fmt: skip


def _running_sum(x: Tensor, *, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    given = x.flip(axis) if reverse else x
    made = torch.cumsum(given, axis, dtype=x.dtype)
    if exclusive:
        made = made - given
    return made.flip(axis) if reverse else made


@converts("CumSum")
def running_sum(node: Node) -> nn.Module:
    """From either end, with or without the element itself."""
    if not node.is_constant(1):
        raise UnsupportedOpError("its axis is computed")
    return Function(
        _running_sum, axis=int(node.constant(1).reshape(())),
        exclusive=bool(node.attribute("exclusive", 0)),
        reverse=bool(node.attribute("reverse", 0)),
    )  # fmt: skip
