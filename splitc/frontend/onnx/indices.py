# SPDX-License-Identifier: Apache-2.0
"""Which inputs of an ONNX network are indices or divisors, and how many an index chooses from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper

from splitc.ir.graph import Tensor

_MOVING = frozenset((
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
))  # fmt: skip
"""Operators whose result holds elements of their first operand, none computed."""
_ALONG_AXIS = frozenset(("Gather", "GatherElements", "ScatterElements"))
_ALONG_FIRST = frozenset(("GatherND", "ScatterND"))
_DIVIDING = frozenset(("Div", "Mod", "QuantizeLinear"))


def index_extents(graph: GraphProto, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The extent of the smallest table that an input's elements are places in.

    By how many bits a number is shifted is a place among its bits.

    Args:
        graph: A graph in topological order.
        tensors: Its tensors by name, weights included.

    Returns:
        Extents by input name; inputs that are no indices are left out.
    """
    found: dict[str, int] = {}
    for node, carried in _readers(graph):
        indices = node.input[0] if node.op_type == "OneHot" else [*node.input, "", ""][1]
        extent = _extent(node, graph, tensors)
        for name in carried.get(indices, ()) if extent else ():
            found[name] = min(found.get(name, extent), extent)
    return found


def divisors(graph: GraphProto, tensors: Mapping[str, Tensor]) -> frozenset[str]:
    """The inputs that give integers where something is divided by them: 0 has no meaning there."""
    found = set[str]()
    for node, carried in _readers(graph):
        if node.op_type in _DIVIDING and "int" in tensors[node.output[0]].dtype:
            found |= carried.get(node.input[1], set())
    return frozenset(found)


def _readers(graph: GraphProto) -> Iterator[tuple[NodeProto, Mapping[str, set[str]]]]:
    """The nodes that read an input's elements, and which inputs' each tensor holds by then."""
    carries = {value.name: {value.name} for value in graph.input}
    for node in graph.node:
        read = set[str]().union(*(carries.get(name, ()) for name in node.input))
        if read:
            if node.op_type in _MOVING:
                carries |= dict.fromkeys(node.output, read)
            yield node, carries


def _extent(node: NodeProto, graph: GraphProto, tensors: Mapping[str, Tensor]) -> int:
    """How many places a node's indices choose from; 0 where it has none or it is not known."""
    if node.op_type == "OneHot":
        depth = next((t for t in graph.initializer if t.name == node.input[1]), None)
        return 0 if depth is None else int(numpy_helper.to_array(depth).reshape(-1)[0])
    if node.op_type == "BitShift":
        return 8 * np.dtype(tensors[node.input[0]].dtype).itemsize
    if node.op_type not in _ALONG_AXIS | _ALONG_FIRST or node.input[0] not in tensors:
        return 0
    shape = tensors[node.input[0]].shape or ()
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if node.op_type in _ALONG_AXIS:
        return shape[axis] or 0 if -len(shape) <= axis < len(shape) else 0
    indices = tensors[node.input[1]].shape if node.input[1] in tensors else None
    depth = indices[-1] if indices else None
    known = [size for size in shape[: depth or 0] if size]
    return min(known, default=0)
