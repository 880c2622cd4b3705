# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Operands and inputs that say which shape a result has, where that shape is declared.

A network may take in how long a window is, or where a range ends, and still declare its results'
extents. Such a value can be no other while the declaration holds: code is made for it, and the
samples that a bundle is verified on have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

from splitc.arrays import Array
from splitc.ir.graph import Tensor

Shape = tuple[int, ...]
Tensors = Mapping[str, Tensor]


def settled_operand(node: NodeProto, tensors: Tensors) -> tuple[int, Array] | None:
    """Which operand of a node its first result's shape gives, and the value; None where none."""
    place, value_of = _SETTLED.get(node.op_type, (0, None))
    result = _shape(tensors, node.output[0])
    if value_of is None or place >= len(node.input) or not node.input[place]:
        return None
    if not result or 0 in result:
        return None
    value = value_of(node, tensors, result)
    return None if value is None else (place, value)


def settled_inputs(graph: GraphProto, tensors: Tensors) -> dict[str, Array]:
    """Values of a network's inputs under which its results have the shapes that are declared.

    Args:
        graph: A graph in topological order.
        tensors: Its tensors by name, weights included.

    Returns:
        Arrays by input name; inputs that decide no shape are left out, and so are those from
        which a shape is computed in ways that have no inverse here.
    """
    return _Backwards(graph, tensors).found


def _shape(tensors: Tensors, name: str) -> Shape | None:
    """A tensor's shape, where every extent is fixed."""
    tensor = tensors.get(name)
    if tensor is None or tensor.elements is None:
        return None
    return tensor.static_shape


def _whole(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    return np.array(result, np.int64)


def _repeats(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    shape = _shape(tensors, node.input[0])
    if shape is None or len(shape) != len(result) or 0 in shape:
        return None
    return np.array([m // n for n, m in zip(shape, result, strict=True)], np.int64)


def _first(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    return _typed(node, tensors, 0, result[0])


def _last(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    return _typed(node, tensors, 0, result[-1])


def _depth(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    return _typed(node, tensors, 1, _along(node, result))


def _kept(node: NodeProto, tensors: Tensors, result: Shape) -> Array | None:
    return np.array([_along(node, result)], np.int64)


def _along(node: NodeProto, result: Shape) -> int:
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    return result[axis % len(result)]


def _typed(node: NodeProto, tensors: Tensors, place: int, extent: int) -> Array | None:
    """An extent as an operand of that operand's shape and type."""
    shape = _shape(tensors, node.input[place])
    dtype = tensors[node.input[place]].dtype if shape is not None else ""
    return None if shape is None else np.full(shape, extent, np.dtype(dtype))


_SETTLED: dict[str, tuple[int, Callable[[NodeProto, Tensors, Shape], Array | None]]] = {
    "BlackmanWindow": (0, _first), "ConstantOfShape": (0, _whole), "Expand": (1, _whole),
    "HammingWindow": (0, _first), "HannWindow": (0, _first), "MelWeightMatrix": (0, _last),
    "OneHot": (1, _depth), "Reshape": (1, _whole), "Tile": (1, _repeats), "TopK": (1, _kept),
}  # fmt: skip
"""Which operand a result's extents give, and how."""

_FREE = 2.0
"""The value of an operand that may have any: a range's start and step, where its end is given."""
_MOVING = frozenset(("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"))
"""Operators whose result holds their first operand's elements, in their order."""
_ROUNDED = {"Ceil": -0.5, "Floor": 0.5, "Relu": 0.0, "Round": 0.0}
"""What lies from a whole number where these operators give it."""
_UNDONE: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "Add": (lambda made, b: made - b, lambda made, a: made - a),
    "Sub": (lambda made, b: made + b, lambda made, a: a - made),
    "Mul": (lambda made, b: made / b, lambda made, a: made / a),
    "Div": (lambda made, b: made * b, lambda made, a: a / made),
}
"""An operand from the result and the other one: the first, and the second."""


class _Backwards:
    """What inputs are to be so that tensors computed from them have given values."""

    def __init__(self, graph: GraphProto, tensors: Tensors) -> None:
        self.found: dict[str, Array] = {}
        self._tensors = tensors
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._inputs = {v.name for v in graph.input if v.name in tensors} - {*self._stored}
        self._makers = {name: node for node in graph.node for name in node.output}
        for node in graph.node:
            for name, value in _asked(node, tensors):
                self._want(name, np.asarray(value, np.float64))
            if node.op_type == "Range":
                self._range(node)

    def _range(self, node: NodeProto) -> None:
        """A Range of as many elements as its result has.

        Of floats the next one would lie half a step behind the end, lest rounding decides.
        """
        result = _shape(self._tensors, node.output[0])
        if result is None:
            return
        start, limit, delta = node.input
        steps = result[0] - (0.0 if "int" in self._tensors[delta].dtype else 0.5)
        first, end = self._known(start), self._known(limit)
        if first is not None and end is not None and steps:
            self._want(delta, (end - first) / steps)
            return
        step = self._chosen(delta, np.asarray(_FREE, np.float64))
        if step is not None:
            self._undo("Sub", limit, start, steps * step)

    def _known(self, name: str) -> Array | None:
        """The value of a tensor that is stored, or moved from what has one."""
        if name in self.found:
            return self.found[name].astype(np.float64)
        if name in self._stored:
            return numpy_helper.to_array(self._stored[name]).astype(np.float64)
        node = self._makers.get(name)
        return self._known(node.input[0]) if node and node.op_type in _MOVING else None

    def _chosen(self, name: str, value: Array) -> Array | None:
        """A tensor's value, the given one where it may have any; None where it cannot be told."""
        if self._known(name) is None:
            self._want(name, value)
        return self._known(name)

    def _want(self, name: str, value: Array) -> None:
        """Let a tensor have a value, by values of inputs that have none yet."""
        if name in self._inputs and name not in self.found:
            tensor = self._tensors[name]
            if tensor.elements == value.size:
                self.found[name] = _of_type(value, tensor.dtype).reshape(tensor.static_shape)
        node = self._makers.get(name)
        if node is None:
            return
        if node.op_type in _MOVING:
            self._want(node.input[0], value)
        elif node.op_type in _ROUNDED:
            self._want(node.input[0], value + _ROUNDED[node.op_type])
        elif node.op_type in _UNDONE:
            left, right = node.input
            self._undo(node.op_type, left, right, value)
        elif node.op_type == "Concat" and value.ndim == 1:
            sizes = [self._tensors[each].elements or 0 for each in node.input]
            if sum(sizes) == value.size:
                pieces = np.split(value, np.cumsum(sizes)[:-1])
                for each, piece in zip(node.input, pieces, strict=True):
                    self._want(each, piece)

    def _undo(self, op: str, left: str, right: str, value: Array) -> None:
        """Let an operation of two operands give a value."""
        first, second = _UNDONE[op]
        known = self._known(left)
        with np.errstate(divide="ignore", invalid="ignore"):
            if known is not None:
                self._want(right, second(value, known))
                return
            other = self._chosen(right, np.asarray(_FREE, np.float64))
            if other is not None:
                self._want(left, first(value, other))


def _of_type(value: Array, dtype: str) -> Array:
    """A value as elements of a type: integers away from zero, where a range has them too."""
    if "int" in dtype and np.isfinite(value).all():
        value = np.copysign(np.ceil(np.abs(value)), value)
    return np.asarray(np.nan_to_num(value)).astype(np.dtype(dtype))


def _asked(node: NodeProto, tensors: Tensors) -> Iterator[tuple[str, Any]]:
    """Operands that a node's results settle, and their values."""
    found = settled_operand(node, tensors)
    if found is not None:
        yield node.input[found[0]], found[1]
    if node.op_type == "Loop":
        # Rows of the turns stand behind the states.
        rows = [_shape(tensors, name) for name in list(node.output)[len(node.input) - 2 :]]
        turns = next((shape[0] for shape in rows if shape), None)
        for name, value in zip(node.input, (turns, True), strict=False):
            if turns is not None and name:
                yield name, value
