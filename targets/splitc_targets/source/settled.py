# SPDX-License-Identifier: Apache-2.0
"""Operands that say which shape a result has, where the shape is fixed though they are computed.

A network may take in how long a window is, or compute where a range ends, and still declare its
result's extents. Code is made for those: such an operand cannot have another value while the
declaration holds, and is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from splitc_targets.source.draft import Array, Node

Shape = tuple[int, ...]


def _whole(_: Node, result: Shape) -> Array | None:
    return np.array(result, np.int64)


def _repeats(node: Node, result: Shape) -> Array | None:
    shape = node.shape()
    if shape is None or len(shape) != len(result) or 0 in shape:
        return None
    return np.array([m // n for n, m in zip(shape, result, strict=True)], np.int64)


def _first(node: Node, result: Shape) -> Array | None:
    return _typed(node, 0, result[0])


def _last(node: Node, result: Shape) -> Array | None:
    return _typed(node, 0, result[-1])


def _depth(node: Node, result: Shape) -> Array | None:
    return _typed(node, 1, _along(node, result))


def _kept(node: Node, result: Shape) -> Array | None:
    return np.array([_along(node, result)], np.int64)


def _along(node: Node, result: Shape) -> int:
    axis: int = node.given.get("axis", -1)
    return result[axis % len(result)]


def _typed(node: Node, place: int, extent: int) -> Array | None:
    """An extent as an operand of that operand's shape and type."""
    shape = node.shape(place)
    return None if shape is None else np.full(shape, extent, np.dtype(node.dtype(place)))


_SETTLED: dict[str, tuple[int, Callable[[Node, Shape], Array | None]]] = {
    "BlackmanWindow": (0, _first), "ConstantOfShape": (0, _whole), "Expand": (1, _whole),
    "HammingWindow": (0, _first), "HannWindow": (0, _first), "MelWeightMatrix": (0, _last),
    "OneHot": (1, _depth), "Reshape": (1, _whole), "Tile": (1, _repeats), "TopK": (1, _kept),
}  # fmt: skip
"""Which operand a result's extents give, and how."""


def settled(node: Node) -> NodeProto | None:
    """The node with the operand stored that its result's shape gives; None where none is."""
    place, value_of = _SETTLED.get(node.op, (0, None))
    result = node.result_shape()
    name = node.input(place)
    if value_of is None or not name or not result or 0 in result or name in node.draft.stored:
        return None
    value = value_of(node, result)
    if value is None:
        return None
    made = NodeProto()
    made.CopyFrom(node.proto)
    made.input[place] = node.draft.constant(value)
    return made


def counted_range(node: Node) -> bool:
    """Range of as many elements as its result has: start + k delta."""
    result, draft = node.result_shape(), node.draft
    if result is None or len(result) != 1 or all(node.value(k) is not None for k in range(3)):
        return False
    one = draft.constant(np.array([], np.int64))  # Vectors of one element count as scalars.
    start, delta = (draft.add("Reshape", node.input(k), one) for k in (0, 2))
    steps = draft.constant(np.arange(result[0]).astype(node.dtype()))
    made = draft.add("Mul", steps, delta)
    draft.add("Add", start, made, output=node.output(0))
    return True
