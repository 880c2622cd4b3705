# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Layers that compute each row of their results from the same row of what they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from onnx import GraphProto, NodeProto, helper, numpy_helper

from splitc.frontend.onnx.form import reads
from splitc.ir.graph import Tensor

Shape = tuple[int | None, ...]


@dataclass
class RowWise:
    """What is computed row by row from a tensor.

    Args:
        axes: The axis that rows lie along, by tensor name; the tensor's own is the first.
        blocked: The first layer that is not row-wise; None where all are.
    """

    axes: dict[str, int]
    blocked: NodeProto | None = None


def row_wise(graph: GraphProto, tensors: Mapping[str, Tensor], name: str) -> RowWise:
    """Follow the rows of a tensor through all that is computed from them.

    Args:
        graph: A graph in topological order.
        tensors: Its tensors by name, weights included.
        name: A tensor whose first axis has as many rows as values make it.
    """
    found = _Rows(graph, tensors, {name: 0})
    for node in graph.node:
        if found.axes.keys().isdisjoint(reads(node)):
            continue
        axis = _RULES[node.op_type](found, node) if node.op_type in _RULES else None
        ranks = {found.rank(made) for made in node.output if made}
        if axis is None or node.domain not in ("", "ai.onnx") or ranks & {*range(axis + 1)}:
            return RowWise(found.axes, node)
        found.axes |= {made: axis for made in node.output if made}
    return RowWise(found.axes)


@dataclass
class _Rows:
    graph: GraphProto
    tensors: Mapping[str, Tensor]
    axes: dict[str, int]
    stored: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}

    def shape(self, name: str) -> Shape | None:
        """A tensor's shape; None where its rank is not known."""
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def rank(self, name: str) -> int:
        """How many axes a tensor has; 0 where that is not known."""
        return len(self.shape(name) or ())

    def numbers(self, node: NodeProto, place: int, attribute: str = "") -> list[int] | None:
        """An operand that is stored, or an attribute in its stead; None where it is computed."""
        written = next((a for a in node.attribute if a.name == attribute), None)
        if written is not None:
            return list(helper.get_attribute_value(written))
        name = node.input[place] if place < len(node.input) else ""
        if name not in self.stored:
            return None
        return numpy_helper.to_array(self.stored[name]).reshape(-1).tolist()

    def first(self, node: NodeProto) -> int | None:
        """The rows' axis in the first operand, where no other operand has rows."""
        if any(name in self.axes for name in node.input[1:]):
            return None
        return self.axes.get(node.input[0])


def _integer(node: NodeProto, name: str, otherwise: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), otherwise)


def _elementwise(rows: _Rows, node: NodeProto) -> int | None:
    """Operands are broadcast: the rows lie as far from the last axis in each that has them."""
    far = {rows.rank(name) - axis for name, axis in rows.axes.items() if name in node.input}
    if len(far) != 1:
        return None
    back = far.pop()
    for name in node.input:
        if not name or name in rows.axes:
            continue
        shape = rows.shape(name)
        if shape is None or (len(shape) >= back and shape[-back] != 1):
            return None
    return max(rows.rank(name) for name in node.input) - back


def _gather(rows: _Rows, node: NodeProto) -> int | None:
    """Rows of places, or the same places of each row; not rows at places."""
    data, places = node.input
    if rows.rank(data) == 0 or (data in rows.axes and places in rows.axes):
        return None
    axis = _integer(node, "axis", 0) % rows.rank(data)
    if places in rows.axes:
        return axis + rows.axes[places]
    own = rows.axes[data]
    if own == axis or rows.shape(places) is None:
        return None
    return own if own < axis else own + rows.rank(places) - 1


def _gather_nd(rows: _Rows, node: NodeProto) -> int | None:
    data, places = node.input
    own = rows.axes.get(places)
    if own is None or data in rows.axes or _integer(node, "batch_dims", 0):
        return None
    return own if own < rows.rank(places) - 1 else None


def _slice(rows: _Rows, node: NodeProto) -> int | None:
    own = rows.first(node)
    starts, axes = rows.numbers(node, 1, "starts"), rows.numbers(node, 3, "axes")
    if own is None or starts is None or (axes is None and len(node.input) > 3 and node.input[3]):
        return None
    rank = rows.rank(node.input[0])
    cut = {axis % rank for axis in (range(len(starts)) if axes is None else axes)}
    return None if own in cut else own


def _squeeze(rows: _Rows, node: NodeProto) -> int | None:
    own, axes = rows.first(node), rows.numbers(node, 1, "axes")
    if own is None or axes is None:
        return None
    gone = {axis % rows.rank(node.input[0]) for axis in axes}
    return None if own in gone else own - sum(axis < own for axis in gone)


def _unsqueeze(rows: _Rows, node: NodeProto) -> int | None:
    own, axes = rows.first(node), rows.numbers(node, 1, "axes")
    if own is None or axes is None:
        return None
    rank = rows.rank(node.input[0]) + len(axes)
    new = {axis % rank for axis in axes}
    return [axis for axis in range(rank) if axis not in new][own]


def _transpose(rows: _Rows, node: NodeProto) -> int | None:
    own = rows.first(node)
    backwards = list(range(rows.rank(node.input[0])))[::-1]
    order: list[int] = next((list(a.ints) for a in node.attribute if a.name == "perm"), backwards)
    return None if own is None else order.index(own)


def _concat(rows: _Rows, node: NodeProto) -> int | None:
    """Columns beside each other."""
    found = {rows.axes.get(name) for name in node.input}
    own = found.pop() if len(found) == 1 else None
    rank = rows.rank(node.input[0])
    return None if own is None or _integer(node, "axis", 0) % rank == own else own


def _split(rows: _Rows, node: NodeProto) -> int | None:
    own = rows.first(node)
    if own is None or _integer(node, "axis", 0) % rows.rank(node.input[0]) == own:
        return None
    return own


def _reshape(rows: _Rows, node: NodeProto) -> int | None:
    """What stays one row a row: the first extent open, and a row's elements as many."""
    own, target = rows.first(node), rows.numbers(node, 1)
    rest = (rows.shape(node.input[0]) or (0,))[1:]
    if own != 0 or not target or None in rest or min((1, *target[1:])) < 1:
        return None
    if _integer(node, "allowzero", 0):
        return None
    same = prod(target[1:]) == prod(extent or 0 for extent in rest)
    return 0 if same and target[0] in (-1, 0) else None


_RULES: dict[str, Callable[[_Rows, NodeProto], int | None]] = {
    **dict.fromkeys(
        (
            "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Div", "Equal", "Exp", "Floor",
            "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min",
            "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Relu", "Round", "Sigmoid", "Sqrt", "Sub",
            "Tanh", "Where",
        ),
        _elementwise,
    ),
    "Concat": _concat, "Gather": _gather, "GatherND": _gather_nd, "Reshape": _reshape,
    "Slice": _slice, "Split": _split, "Squeeze": _squeeze, "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
"""Where the rows lie in what an operator gives; None where it is not row-wise."""
