# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of operators that pick elements, or write some: slices, gathers, scatters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts

Step = tuple[int, int, int, int]


def _slice(x: Tensor, *, steps: Sequence[Step], flipped: Sequence[int]) -> Tensor:
    """`steps`: axis, start, stop and a step above 0."""
    for axis, start, stop, step in steps:
        x = x[(*[slice(None)] * axis, slice(start, stop, step))]
    return x.flip(tuple(flipped)) if flipped else x


@converts("Slice")
def slices(node: Node) -> nn.Module:
    """An axis taken whole is left out, so that a batch may be of any size."""
    shape = node.shape(0)
    starts, ends = node.setting("starts", 1), node.setting("ends", 2)
    assert starts is not None and ends is not None
    axes, by = node.setting("axes", 3), node.setting("steps", 4) if node.opset >= 10 else None
    along = range(starts.size) if axes is None else [node.axis(int(a), len(shape)) for a in axes]
    pace = [1] * starts.size if by is None else [int(n) for n in by]
    steps: list[Step] = []
    flipped: list[int] = []
    for axis, start, end, step in zip(along, starts, ends, pace, strict=True):
        places = range(shape[axis])[slice(*_bounds(int(start), int(end), step, shape[axis]))]
        if step < 0:
            places = places[::-1]
            flipped.append(axis)
        if places != range(shape[axis]):
            steps.append((axis, places.start, places.stop, places.step))
    cut = {axis for axis, *_ in steps} | {*flipped}
    node.place_batch(None if node.samples() in cut else node.samples())
    return Function(_slice, steps=steps, flipped=flipped)


def _bounds(start: int, end: int, step: int, extent: int) -> tuple[int, int | None, int]:
    """ONNX counts negative places once from the end; backwards, -1 more is before the first."""
    start = start + extent if start < 0 else start
    end = end + extent if end < 0 else end
    if step > 0:
        return max(start, 0), max(end, 0), step
    return max(min(start, extent - 1), 0), None if end < 0 else end, step


def _take(x: Tensor, places: Tensor, *, axis: int) -> Tensor:
    """Negative places count from the end."""
    found = torch.where(places < 0, places + x.shape[axis], places).long()
    taken = x.index_select(axis, found.reshape(-1))
    return taken.reshape((*x.shape[:axis], *found.shape, *x.shape[axis + 1 :]))


def _take_stored(x: Tensor, *, axis: int, places: list[int], shape: Sequence[int]) -> Tensor:
    taken = x.index_select(axis, torch.tensor(places, device=x.device))
    return taken.reshape((*x.shape[:axis], *shape, *x.shape[axis + 1 :]))


@converts("Gather")
def gather(node: Node) -> nn.Module:
    """Along an axis; a stored table that is gathered from trains."""
    shape = node.shape(0)
    axis = node.axis(node.attribute("axis", 0), len(shape))
    if not node.is_constant(1):
        table = node.is_constant(0) and axis == 0
        _place(node, axis, len(node.shape(1)))
        if table and len(shape) == 2:
            node.train(0)
        return Function(_take, axis=axis)
    stored = node.constant(1)
    _place(node, axis, stored.ndim)
    places = np.where(stored < 0, stored + shape[axis], stored)
    if stored.ndim == 0:
        return Function(torch.select, dim=axis, index=int(places))
    listed = [int(n) for n in places.reshape(-1)]
    return Function(_take_stored, axis=axis, places=listed, shape=stored.shape)


def _place(node: Node, axis: int, rank: int) -> None:
    """The samples are where they were, moved by the axes of the places; or among the places."""
    given, asked = node.samples(0), node.samples(1)
    if given is not None and given != axis:
        node.place_batch(given if given < axis else given + rank - 1)
    else:
        node.place_batch(None if asked is None or given is not None else axis + asked)


def _take_elements(x: Tensor, places: Tensor, *, axis: int) -> Tensor:
    found = torch.where(places < 0, places + x.shape[axis], places).long()
    return torch.gather(x, axis, found)


@converts("GatherElements")
def gather_elements(node: Node) -> nn.Module:
    """One element for each place."""
    return Function(_take_elements, axis=node.axis(node.attribute("axis", 0), len(node.shape(0))))


def _take_slices(x: Tensor, places: Tensor) -> Tensor:
    return x[tuple(places.long().unbind(-1))]


@converts("GatherND")
def gather_nd(node: Node) -> nn.Module:
    """The last axis of the places is an index into the first axes."""
    if node.attribute("batch_dims", 0):
        raise UnsupportedOpError(f"batch_dims={node.attribute('batch_dims')}")
    node.place_batch(None)
    return Function(_take_slices)


_REDUCED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _put_elements(
    x: Tensor, places: Tensor, values: Tensor, *, axis: int, reduction: str
) -> Tensor:
    found = torch.where(places < 0, places + x.shape[axis], places).long()
    if reduction == "none":
        return torch.scatter(x, axis, found, values)
    return torch.scatter_reduce(x, axis, found, values, _REDUCED[reduction])


@converts("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> nn.Module:
    """One element for each place."""
    return Function(
        _put_elements, axis=node.axis(node.attribute("axis", 0), len(node.shape(0))),
        reduction=node.attribute("reduction", "none"),
    )  # fmt: skip


def _put_slices(x: Tensor, places: Tensor, values: Tensor, *, add: bool) -> Tensor:
    return x.index_put(tuple(places.long().unbind(-1)), values, accumulate=add)


@converts("ScatterND")
def scatter_nd(node: Node) -> nn.Module:
    """The last axis of the places is an index into the first axes."""
    reduction = node.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        raise UnsupportedOpError(f"reduction={reduction}")
    return Function(_put_slices, add=reduction == "add")


def _one_hot(places: Tensor, *, depth: int, values: Sequence[float], axis: int, dtype: torch.dtype
) -> Tensor:  # fmt: skip
    found = torch.where(places < 0, places + depth, places).unsqueeze(axis)
    shape = [1] * found.dim()
    shape[axis] = depth
    counted = torch.arange(depth, dtype=found.dtype, device=found.device).reshape(shape)
    return torch.where(found == counted, values[1], values[0]).to(dtype)


@converts("OneHot")
def one_hot(node: Node) -> nn.Module:
    """A new axis with one value at the place and another elsewhere."""
    depth, stored = int(node.constant(1).reshape(-1)[0]), node.constant(2)
    rank = len(node.shape(0)) + 1
    axis = node.axis(node.attribute("axis", -1), rank)
    given = node.samples()
    node.place_batch(None if given is None else given + (axis <= given))
    return Function(
        _one_hot, depth=depth, values=[n.item() for n in stored], axis=axis,
        dtype=getattr(torch, stored.dtype.name),
    )  # fmt: skip


@converts("Trilu")
def trilu(node: Node) -> nn.Module:
    """What lies above a diagonal, or below it."""
    given = node.optional(1)
    diagonal = 0 if given is None else int(given.reshape(()))
    upper = bool(node.attribute("upper", 1))
    return Function(torch.triu if upper else torch.tril, diagonal=diagonal)
