# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""What the front end wrote as loops that only move elements, in words that rules know.

Padding and tiling arrive as functions of TVM's tensor IR: one load for each result, at indices
that each depend on one dimension. Read back, constant padding is the node "nn.pad", the others
are "sample": per axis, which element of the input a result's position takes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from splitc_targets.graph.graph import Graph, Node, Value

Numbers = np.ndarray[Any, Any]
Taps = dict[int, tuple[Numbers, Numbers | None]]
"""By axis: positions [result's size][taps] of the input, and their weights where not 1."""

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add, "Sub": operator.sub, "Mul": operator.mul,
    "FloorDiv": operator.floordiv, "FloorMod": operator.mod, "Min": np.minimum, "Max": np.maximum,
    "LT": operator.lt, "LE": operator.le, "GT": operator.gt, "GE": operator.ge,
    "EQ": operator.eq, "NE": operator.ne, "And": np.logical_and, "Or": np.logical_or,
}  # fmt: skip


class _Unknown(Exception):
    """An expression that is not read."""


def name_moves(graph: Graph) -> None:
    """Name the operations that only move elements; their arguments stay as they are."""
    for node in graph.nodes:
        if "function" in node.attrs and len(node.inputs) == 1:
            try:
                _name(node)
            except _Unknown:
                continue
        elif node.op in _NAMED:
            _NAMED[node.op](node)


def _name_take(node: Node) -> None:
    """Several known positions of one dimension."""
    x, positions = node.args[:2]
    axis = node.attrs["axis"]
    if (
        axis is None
        or not isinstance(positions, Value)
        or positions.data is None
        or positions.data.ndim != 1
        or positions.size == 1
    ):
        return
    axis %= len(x.shape)
    if x.shape[axis]:
        node.op = "sample"
        node.attrs["taps"] = {axis: (positions.data.reshape(-1, 1) % x.shape[axis], None)}


def _name_flip(node: Node) -> None:
    """One dimension backwards."""
    axis = node.attrs["axis"] % len(node.output.shape)
    size = node.output.shape[axis]
    _sampled(node, {axis: np.arange(size)[::-1]})


def _name_tile(node: Node) -> None:
    """Whole dimensions again and again."""
    sizes, repeats = node.inputs[0].shape, node.attrs["repeats"]
    if len(repeats) <= len(sizes) == len(node.output.shape):
        again = (1,) * (len(sizes) - len(repeats)) + tuple(repeats)
        several = {axis: count for axis, count in enumerate(again) if count > 1}
        _sampled(node, {d: np.tile(np.arange(sizes[d]), n) for d, n in several.items()})


def _sampled(node: Node, places: dict[int, Numbers]) -> None:
    """A node as the elements of its input at some places, by axis."""
    if node.output.size:
        node.op = "sample"
        node.attrs["taps"] = {axis: (each.reshape(-1, 1), None) for axis, each in places.items()}


_NAMED: dict[str, Callable[[Node], None]] = {
    "take": _name_take, "flip": _name_flip, "tile": _name_tile,
}  # fmt: skip
"""Operations that move elements to places that are known, by what names them."""


def _name(node: Node) -> None:
    x, y = node.inputs[0], node.output
    if len(x.shape) != len(y.shape) or 0 in x.shape or 0 in y.shape:
        return
    variables, value = _only_store(node.attrs["function"])
    if len(variables) != len(y.shape):
        return
    condition, load, fill = _parts(value)
    if len(load.indices) != len(x.shape):
        return
    places = [_places(e, d, variables, y.shape) for d, e in enumerate(load.indices)]
    if condition is None:
        inside = all(min(p) >= 0 and max(p) < n for p, n in zip(places, x.shape, strict=True))
        if inside:
            node.op = "sample"
            node.attrs["taps"] = {
                d: (p.reshape(-1, 1), None)
                for d, p in enumerate(places)
                if not np.array_equal(p, np.arange(x.shape[d]))
            }
        return
    masks = _masks(condition, variables, y.shape)
    widths: list[int] = []
    for place, mask, size in zip(places, masks, x.shape, strict=True):
        kept = np.flatnonzero(mask)
        if not np.array_equal(place[kept], np.arange(size)) or kept[-1] - kept[0] + 1 != size:
            return
        widths += [int(kept[0]), len(mask) - 1 - int(kept[-1])]
    node.op = "nn.pad"
    node.attrs.update(pad_width=tuple(widths), pad_mode="constant", pad_value=fill)


def _only_store(function: Any) -> tuple[list[Any], Any]:
    """The loop variables and the value of a function that has one store, in their order."""
    variables: list[Any] = []
    at = function.body
    while not isinstance(at, tirx.BufferStore):
        if hasattr(at, "block"):
            at = at.block
            variables = [each.var for each in at.iter_vars]
        at = getattr(at, "body", None)
        if at is None:
            raise _Unknown
    store = at
    same = len(store.indices) == len(variables) and all(
        index.same_as(var) for index, var in zip(store.indices, variables, strict=True)
    )
    if not same:
        raise _Unknown
    return variables, store.value


def _parts(value: Any) -> tuple[Any, Any, float]:
    """(condition, load, value elsewhere) of what a function stores."""
    if isinstance(value, tvm.ir.expr.TensorLoad):
        return None, value, 0.0
    choice = _choice(value)
    if choice is None:
        raise _Unknown
    condition, load, other = choice
    constant = isinstance(other, tirx.IntImm | tirx.FloatImm)
    if not isinstance(load, tvm.ir.expr.TensorLoad) or not constant:
        raise _Unknown
    return condition, load, other.value


def _choice(value: Any) -> tuple[Any, Any, Any] | None:
    if isinstance(value, tirx.Select):
        return value.condition, value.true_value, value.false_value
    name = getattr(getattr(value, "op", None), "name", "")
    if name.endswith(".if_then_else"):
        return tuple(value.args)
    return None


def _places(expr: Any, axis: int, variables: list[Any], shape: tuple[int, ...]) -> Numbers:
    """An index as numbers for each position along its own axis."""
    known = {variables[axis]: np.arange(shape[axis])}
    return np.broadcast_to(_evaluated(expr, known), (shape[axis],)).astype(np.int64)


def _masks(condition: Any, variables: list[Any], shape: tuple[int, ...]) -> list[Numbers]:
    """A conjunction as what it asks of each axis alone."""
    masks = [np.ones(size, bool) for size in shape]
    pending = [condition]
    while pending:
        part = pending.pop()
        if isinstance(part, tirx.And):
            pending += [part.a, part.b]
            continue
        axis = next((d for d in range(len(shape)) if _reads(part, variables[d])), None)
        if axis is None:
            raise _Unknown
        masks[axis] &= _evaluated(part, {variables[axis]: np.arange(shape[axis])})
    return masks


def _reads(expr: Any, var: Any) -> bool:
    """Whether a comparison of whole expressions reads a variable."""
    sides = [getattr(expr, side) for side in ("a", "b") if hasattr(expr, side)]
    return expr.same_as(var) or any(_reads(side, var) for side in sides)


def _evaluated(expr: Any, known: dict[Any, Numbers]) -> Any:
    """An integer expression with numbers in place of variables."""
    if isinstance(expr, tirx.IntImm):
        return np.int64(expr.value)
    if isinstance(expr, tirx.Var):
        for var, numbers in known.items():
            if var.same_as(expr):
                return numbers
        raise _Unknown
    if isinstance(expr, tirx.Cast):
        return _evaluated(expr.value, known)
    choice = _choice(expr)
    if choice is not None:
        return np.where(*(_evaluated(each, known) for each in choice))
    apply = _BINARY.get(type(expr).__name__)
    if apply is None:
        raise _Unknown
    return apply(_evaluated(expr.a, known), _evaluated(expr.b, known))
