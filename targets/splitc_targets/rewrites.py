# SPDX-License-Identifier: Apache-2.0
"""Rewrites of ONNX models into forms that TVM's front end takes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx.version_converter
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.backend import Unsupported
from splitc.frontend.onnx import OnnxModel
from splitc_targets.integers import in_floats

MODERN_OPSET = 13


def for_tvm(proto: ModelProto) -> ModelProto:
    """The same model in forms that TVM 0.27 lowers; the given one stays as it is."""
    return scalar_depths(in_floats(modern(proto)))


def misread(model: OnnxModel) -> list[Unsupported]:
    """Layers that TVM's front end lowers to something else without a word."""
    stored = {t.name: t for t in model.proto.graph.initializer}
    read = {name for node in model.proto.graph.node for name in node.input}
    read |= {output.name for output in model.proto.graph.output}
    found: list[Unsupported] = []
    for node in model.proto.graph.node:
        if node.op_type == "Dropout" and len(node.output) > 1 and node.output[1] in read:
            found.append(Unsupported(node.name, "Dropout", "its mask is read"))
        why = _misread_axes(model, node, stored)
        if why:
            found.append(Unsupported(node.name, node.op_type, why))
        place = {"Resize": 2, "Upsample": 1}.get(node.op_type)
        if place is None or len(node.input) <= place or node.input[place] not in stored:
            continue
        scales = numpy_helper.to_array(stored[node.input[place]]).ravel()
        entry = model.graph.tensors.get(node.input[0])
        if entry is None or not scales.size or any(a.name == "axes" for a in node.attribute):
            continue
        wanted = [n * s for n, s in zip(entry.static_shape, scales.tolist(), strict=True)]
        if any(abs(each - round(each)) > 1e-3 for each in wanted):
            why = "its scales do not give whole extents, and TVM takes others that do"
            found.append(Unsupported(node.name, node.op_type, why))
    return found


_NOT_A_SUM = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
"""Reductions that change single elements too."""


def _misread_axes(model: OnnxModel, node: NodeProto, stored: Mapping[str, TensorProto]) -> str:
    """Why an operator over some axes would be computed over others; empty where it is not."""
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in _NOT_A_SUM and given.get("noop_with_empty_axes"):
        axes = stored.get(node.input[1]) if len(node.input) > 1 else None
        none = "axes" not in given and (len(node.input) < 2 or not node.input[1])
        if none or (axes is not None and 0 in axes.dims):
            return "over no axes it changes every element, which TVM leaves out"
    versions = [o.version for o in model.proto.opset_import if o.domain in ("", "ai.onnx")]
    if node.op_type == "Hardmax" and versions and versions[0] < MODERN_OPSET:
        entry, axis = model.graph.tensors.get(node.input[0]), given.get("axis", 1)
        if entry is None or axis not in (-1, len(entry.static_shape) - 1):
            return "before opset 13 it is one maximum of all axes from its own on"
    return ""


def modern(proto: ModelProto) -> ModelProto:
    """The model at an opset whose operators' forms TVM's front end knows.

    It has only the later forms of Slice, Squeeze, ReduceSum and others. Where the
    converter knows no way, the model stays as it is and TVM may still take it.
    """
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= MODERN_OPSET:
        return proto
    try:
        made = onnx.version_converter.convert_version(proto, MODERN_OPSET)
    except (RuntimeError, ValueError):
        return proto
    if versions[0] < _RESIZE_OPSET:
        for node in made.graph.node:
            if node.op_type == "Resize":
                _as_it_was(node)
    return made


_RESIZE_OPSET = 11
"""The first at which Resize says how places of result and operand correspond."""


def _as_it_was(node: NodeProto) -> None:
    """Resize with the correspondence of older opsets, which the converter leaves out."""
    kept = [a for a in node.attribute if a.name == "mode"]
    del node.attribute[:]
    node.attribute.extend(kept)
    older = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    node.attribute.extend(helper.make_attribute(name, value) for name, value in older.items())


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
