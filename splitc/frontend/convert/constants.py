# SPDX-License-Identifier: Apache-2.0
"""Values of an ONNX network that are the same whatever it is given: they need no layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from splitc.arrays import Array
from splitc.errors import BadModelError
from splitc.frontend.onnx.flops import attributes
from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.read import dtype_name
from splitc.ir.graph import Tensor
from splitc.runtime.ort import Session

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
           "Multinomial", "Bernoulli", "Dropout")  # fmt: skip


def constants(proto: ModelProto, tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Every tensor that depends on no input, or only on the shape of one, by name.

    Args:
        proto: A model in normal form.
        tensors: Shape and type of its tensors; those whose size is unknown are left out.
    """
    found = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.domain in ("", "ai.onnx"):
            found.update(_values(node, proto, tensors, found))
    return found


def _values(
    node: NodeProto, proto: ModelProto, tensors: Mapping[str, Tensor], found: Mapping[str, Array]
) -> dict[str, Array]:
    if node.op_type in ("Shape", "Size"):
        source = tensors.get(node.input[0])
        if source is None or source.elements is None:
            return {}
        return {node.output[0]: _measure(node, source)}
    if node.op_type == "CastLike":
        node = _cast(node, tensors)
    known = all(name in found for name in reads(node)) and node.op_type not in _RANDOM
    made = [tensors.get(name) for name in node.output if name]
    if not known or any(t is None or t.nbytes is None for t in made):
        return {}
    return _computed(node, proto, found)


def _cast(node: NodeProto, tensors: Mapping[str, Tensor]) -> NodeProto:
    """The cast that a `CastLike` is: of its second operand only the element type counts."""
    like = tensors.get(node.input[1])
    to = next((k for k in TensorProto.DataType.values() if like and dtype_name(k) == like.dtype), 0)
    return onnx.helper.make_node("Cast", node.input[:1], node.output, to=to) if to else node


def _measure(node: NodeProto, source: Tensor) -> Array:
    if node.op_type == "Size":
        return np.array(source.elements, np.int64)
    given = attributes(node)
    return np.array(source.static_shape[given.get("start", 0) : given.get("end")], np.int64)


def _computed(node: NodeProto, proto: ModelProto, found: Mapping[str, Array]) -> dict[str, Array]:
    """What onnxruntime makes of a node; nothing where it cannot."""
    names = [name for name in node.output if name]
    stored = [numpy_helper.from_array(found[name], name) for name in dict.fromkeys(reads(node))]
    graph = onnx.helper.make_graph(
        [node], "values", [], [onnx.ValueInfoProto(name=name) for name in names], stored
    )
    single = onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=8)
    try:
        return dict(zip(names, Session(single.SerializeToString()).run(names, {}), strict=True))
    except BadModelError:
        return {}
