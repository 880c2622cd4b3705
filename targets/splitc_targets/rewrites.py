# SPDX-License-Identifier: Apache-2.0
"""Rewrites of ONNX models into forms that TVM's front end takes."""

from __future__ import annotations

import onnx
import onnx.version_converter
from onnx import ModelProto, numpy_helper

from splitc_targets.integers import in_floats

MODERN_OPSET = 13


def for_tvm(proto: ModelProto) -> ModelProto:
    """The same model in forms that TVM 0.27 lowers; the given one stays as it is."""
    return scalar_depths(in_floats(modern(proto)))


def modern(proto: ModelProto) -> ModelProto:
    """The model at an opset whose operators' forms TVM's front end knows.

    It has only the later forms of Slice, Squeeze, ReduceSum and others. Where the
    converter knows no way, the model stays as it is and TVM may still take it.
    """
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= MODERN_OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, MODERN_OPSET)
    except (RuntimeError, ValueError):
        return proto


def scalar_depths(proto: ModelProto) -> ModelProto:
    """OneHot's depth may be a tensor of one element; TVM takes a scalar only."""
    stored = {t.name: t for t in proto.graph.initializer}
    depths = {
        node.input[1]
        for node in proto.graph.node
        if node.op_type == "OneHot" and node.input[1] in stored
    }
    depths = {name for name in depths if len(stored[name].dims) == 1}
    if not depths:
        return proto
    copy = ModelProto()
    copy.CopyFrom(proto)
    for tensor in list(copy.graph.initializer):
        if tensor.name in depths:
            scalar = numpy_helper.to_array(tensor).reshape(())
            copy.graph.initializer.append(numpy_helper.from_array(scalar, f"{tensor.name}.scalar"))
    for node in copy.graph.node:
        if node.op_type == "OneHot" and node.input[1] in depths:
            node.input[1] += ".scalar"
    return copy
