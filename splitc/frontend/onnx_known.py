# SPDX-License-Identifier: Apache-2.0
"""What a network computes but is known before it runs, as stored constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from splitc.frontend.onnx_form import constants_to_initializers, drop_dead
from splitc.graph import Tensor


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
        value = numpy_helper.from_array(_measured(node, source))
        _make_constant(node, value)
        found = True
    if found:
        constants_to_initializers(proto.graph)
        drop_dead(proto.graph)


def _measured(node: NodeProto, source: Tensor) -> NDArray[np.int64]:
    if node.op_type == "Size":
        return np.array(source.elements, np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    extents = source.static_shape[bounds.get("start", 0) : bounds.get("end")]
    return np.array(extents, np.int64)


def _make_constant(node: NodeProto, value: TensorProto) -> None:
    node.op_type = "Constant"
    del node.input[:]
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("value", value))
