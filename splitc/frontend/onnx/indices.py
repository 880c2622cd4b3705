# SPDX-License-Identifier: Apache-2.0
"""Which inputs of an ONNX network are indices, and how many they may choose from."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, NodeProto, numpy_helper

from splitc.ir.graph import Tensor

_MOVING = frozenset((
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
))  # fmt: skip
"""Operators whose result holds elements of their first operand, none computed."""
_ALONG_AXIS = frozenset(("Gather", "GatherElements", "ScatterElements"))
_ALONG_FIRST = frozenset(("GatherND", "ScatterND"))


def index_extents(graph: GraphProto, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The extent of the smallest table that an input's elements are places in.

    Args:
        graph: A graph in topological order.
        tensors: Its tensors by name, weights included.

    Returns:
        Extents by input name; inputs that are no indices are left out.
    """
    carries = {value.name: {value.name} for value in graph.input}
    found: dict[str, int] = {}
    for node in graph.node:
        read = set[str]().union(*(carries.get(name, ()) for name in node.input))
        if not read:
            continue
        if node.op_type in _MOVING:
            carries |= dict.fromkeys(node.output, read)
        indices = node.input[0] if node.op_type == "OneHot" else [*node.input, "", ""][1]
        extent = _extent(node, graph, tensors)
        for name in carries.get(indices, ()) if extent else ():
            found[name] = min(found.get(name, extent), extent)
    return found


def _extent(node: NodeProto, graph: GraphProto, tensors: Mapping[str, Tensor]) -> int:
    """How many places a node's indices choose from; 0 where it has none or it is not known."""
    if node.op_type == "OneHot":
        depth = next((t for t in graph.initializer if t.name == node.input[1]), None)
        return 0 if depth is None else int(numpy_helper.to_array(depth).reshape(-1)[0])
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
