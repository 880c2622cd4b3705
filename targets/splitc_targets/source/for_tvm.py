# SPDX-License-Identifier: Apache-2.0
"""Rewrites of ONNX models into forms that TVM's front end takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, helper

from splitc.frontend.onnx.shapes import infer
from splitc.ir.graph import Tensor
from splitc_targets.source.prepare import draft_of, model_of, opset_of
from splitc_targets.source.quantised import in_floats

MODERN_OPSET = 13


@dataclass(frozen=True)
class Form:
    """A model as TVM takes it.

    Args:
        proto: The model.
        layers: The layer of the given model that each tensor is computed for, by the tensor's
            name; tensors inside what stands for one layer may be left out.
    """

    proto: ModelProto
    layers: Mapping[str, str]


def for_tvm(proto: ModelProto, tensors: Mapping[str, Tensor] | None = None) -> Form:
    """The same model in forms that TVM 0.27 lowers; the given one stays as it is.

    Args:
        proto: The model.
        tensors: Shape and type of its tensors, where they are known already.

    Raises:
        BadModelError: They are not, and cannot be found.
    """
    made = modern(proto)
    draft = draft_of(made, infer(proto) if tensors is None else tensors, opset_of(proto))
    layers = {name: node.doc_string for node in draft.nodes for name in node.output if name}
    return Form(in_floats(model_of(made, draft), draft.tensors), layers)


def modern(proto: ModelProto) -> ModelProto:
    """The model at an opset whose operators' forms TVM's front end knows.

    It has only the later forms of Slice, Squeeze, ReduceSum and others. Where the
    converter knows no way, the model stays as it is and TVM may still take it.
    """
    versions = [o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")]
    if not versions or versions[0] >= MODERN_OPSET:
        return proto
    try:
        made = _converted(proto)
    except (RuntimeError, ValueError):
        return proto
    if versions[0] < _RESIZE_OPSET:
        for node in made.graph.node:
            if node.op_type == "Resize":
                _as_it_was(node)
    return made


_READ_ELEMENTS = 1024
"""More than any stored tensor has whose values decide how an operator is converted."""


def _converted(proto: ModelProto) -> ModelProto:
    """The model at `MODERN_OPSET`. Its weights wait outside, as inputs: the converter copies
    what it is given several times over."""
    bare = ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    graph = proto.graph
    bare.graph.CopyFrom(GraphProto(name=graph.name, node=graph.node, input=graph.input,
                                   output=graph.output, value_info=graph.value_info))  # fmt: skip
    weights = [t for t in graph.initializer if math.prod(t.dims) > _READ_ELEMENTS]
    waiting = {tensor.name for tensor in weights}
    bare.graph.initializer.extend(t for t in graph.initializer if t.name not in waiting)
    bare.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in weights
    )
    made = onnx.version_converter.convert_version(bare, MODERN_OPSET)
    kept = [value for value in made.graph.input if value.name not in waiting]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.graph.initializer.extend(weights)
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
