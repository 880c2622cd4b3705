# SPDX-License-Identifier: Apache-2.0
"""What a network computes but is known before it runs, as stored constants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from splitc.frontend.onnx.form import constants_to_initializers, drop_dead
from splitc.frontend.onnx.values import measured
from splitc.ir.graph import Tensor

_LARGEST_MASK = 1_000_000
"""Elements of a stored tensor whose picked places are written out."""


def pick_stored(graph: GraphProto) -> None:
    """Give a result a fixed length where what decides it is stored::

    NonZero(stored)               -> its places, stored
    Compress(x, stored, axis=a)   -> Gather(x, places, axis=a)
    Compress(x, stored)           -> Gather(Reshape(x, [-1]), places)
    """
    stored = {t.name: t for t in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    nodes: list[NodeProto] = []
    found = False
    for node in graph.node:
        mask = stored.get(node.input[-1]) if node.op_type in ("Compress", "NonZero") else None
        if mask is None or node.domain not in ("", "ai.onnx") or _size(mask) > _LARGEST_MASK:
            nodes.append(node)
            continue
        found = True
        # A scalar counts as a vector of one element.
        places = np.array(np.nonzero(np.atleast_1d(numpy_helper.to_array(mask))), np.int64)
        if node.op_type == "NonZero":
            _make_constant(node, numpy_helper.from_array(places))
        else:
            nodes += _gathered(graph, node, places.reshape(-1), taken)
        nodes.append(node)
    if found:
        del graph.node[:]
        graph.node.extend(nodes)
        constants_to_initializers(graph)


def _gathered(
    graph: GraphProto, node: NodeProto, places: NDArray[np.int64], taken: set[str]
) -> list[NodeProto]:
    """Make a Compress a Gather; what has to stand before it."""
    name = node.output[0]
    while any(f"{name}.{end}" in taken for end in ("places", "flat", "shape")):
        name += "'"
    graph.initializer.append(numpy_helper.from_array(places, f"{name}.places"))
    axis = next((a.i for a in node.attribute if a.name == "axis"), None)
    before: list[NodeProto] = []
    source = node.input[0]
    if axis is None:
        graph.initializer.append(numpy_helper.from_array(np.array([-1]), f"{name}.shape"))
        flat = [source, f"{name}.shape"]
        source, axis = f"{name}.flat", 0
        before.append(NodeProto(op_type="Reshape", name=source, input=flat, output=[source]))
    node.op_type = "Gather"
    del node.input[:]
    node.input.extend([source, f"{name}.places"])
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("axis", axis))
    return before


def _size(tensor: TensorProto) -> int:
    return math.prod(tensor.dims)


def store_shapes(proto: ModelProto, tensors: Mapping[str, Tensor]) -> None:
    """Replace every Shape and Size of a tensor with fixed extents by its numbers.

    What is computed from them alone is then no work of any layer, and a result that is a shape
    is one that depends on no input.
    """
    found = False
    for node in proto.graph.node:
        if node.op_type not in ("Shape", "Size") or node.domain not in ("", "ai.onnx"):
            continue
        source = tensors.get(node.input[0])
        if source is None or source.elements is None:
            continue
        value = numpy_helper.from_array(measured(node, source.static_shape))
        _make_constant(node, value)
        found = True
    if found:
        constants_to_initializers(proto.graph)
        drop_dead(proto.graph)


def _make_constant(node: NodeProto, value: TensorProto) -> None:
    node.op_type = "Constant"
    del node.input[:]
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("value", value))
