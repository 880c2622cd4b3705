# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""What can be known of a node beforehand: its values, its function's body, the branch it takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import (
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)
from onnx.reference import ReferenceEvaluator

from splitc.frontend.onnx.form import constant_value
from splitc.frontend.onnx.read import subgraphs_of
from splitc.frontend.onnx.shapes import as_read, tensor_of, value_info
from splitc.frontend.onnx.values import measured
from splitc_targets.source.draft import KNOWN_BYTES, Array, Draft, Node
from splitc_targets.source.rules import ANY

_LEFT = frozenset((
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "RandomNormal",
    "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli", "Dropout",
))  # fmt: skip
"""Drawn anew each time, or read as they are by the arithmetic on quantised tensors."""

_FILTER_BYTES = 2**22
"""Of a bank of filters, which five numbers say."""

_FAILURES = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    ArithmeticError, NotImplementedError,
)  # fmt: skip
"""What onnx's own tools raise where they do not know an operator's form."""


def values_of(node: Node) -> list[Array] | None:
    """The results of a node, where they hang on constants and fixed shapes alone.

    Only small ones: shapes, axes, scales and what is computed from them.
    """
    proto, draft = node.proto, node.draft
    if proto.domain not in ("", "ai.onnx") or proto.op_type in _LEFT:
        return None
    if any(subgraphs_of(attribute) for attribute in proto.attribute):
        return None
    if proto.op_type in ("Shape", "Size"):
        shape = node.shape()
        return None if shape is None else [measured(proto, shape)]
    given = {name: draft.value(name) for name in proto.input if name}
    if proto.op_type == "CastLike" and node.value(1) is None and node.dtype(1) in ANY:
        # Of its second operand only the type is read.
        given[proto.input[1]] = np.zeros(0, node.dtype(1))
    made = [draft.tensors.get(name) for name in proto.output if name]
    most = _FILTER_BYTES if proto.op_type == "MelWeightMatrix" else KNOWN_BYTES
    small = all(t is not None and t.nbytes is not None and t.nbytes <= most for t in made)
    if not small or any(value is None for value in given.values()):
        return None
    graph = helper.make_graph(
        [proto], "values",
        [value_info(draft.tensors[name]) for name in given],
        [ValueInfoProto(name=name) for name in proto.output if name],
    )  # fmt: skip
    single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draft.opset)])
    try:
        found: list[Any] = list(ReferenceEvaluator(single).run(None, dict(given)))  # pyright: ignore[reportArgumentType]
    except _FAILURES:
        return None
    arrays = [np.asarray(each) for each in found]
    known = all(
        t is not None and str(a.dtype) == t.dtype and t.shape == a.shape
        for a, t in zip(arrays, made, strict=True)
    )
    return arrays if known else None


def infer(node: NodeProto, draft: Draft) -> None:
    """Let onnx say shape and type of a node's results that are not known, or open."""
    if all(not name or draft.shape(name) is not None for name in node.output):
        return
    if not onnx.defs.has(node.op_type, draft.opset, node.domain):
        return
    if any(name and name not in draft.tensors for name in node.input):
        return
    types = {n: _type_of(n, draft) for n in node.input if n in draft.tensors}
    data = {n: as_read(node, draft.stored[n]) for n in node.input if draft.value(n) is not None}
    try:
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, draft.opset, node.domain), node, types, data,
            opset_imports=[helper.make_opsetid("", draft.opset)], ir_version=10,
        )  # fmt: skip
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return
    for name, declared in found.items():
        if draft.shape(name) is None:
            draft.tensors[name] = tensor_of(name, declared)


def _type_of(name: str, draft: Draft) -> TypeProto:
    return value_info(draft.tensors[name]).type


def body_of(node: Node) -> list[NodeProto] | None:
    """The nodes of the function that onnx defines an operator by; None where it has none."""
    proto, draft = node.proto, node.draft
    named = [name for name in proto.input if name]
    if any(draft.dtype(name) == "unknown" for name in (*named, *filter(None, proto.output))):
        return None
    graph = helper.make_graph(
        [_in_full(proto, draft.opset)], "function",
        [value_info(draft.tensors[name]) for name in dict.fromkeys(named)],
        [value_info(draft.tensors[name]) for name in proto.output if name],
    )  # fmt: skip
    single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draft.opset)])
    try:
        made = _inlined(single, draft)
    except _FAILURES:
        return None
    nodes = list(made.graph.node)
    unread = [each for each in nodes if each.op_type == "Constant" and stored_by(each) is None]
    if unread or any(each.op_type == proto.op_type for each in nodes):
        return None
    _rename(nodes, {"", *proto.input, *proto.output}, draft.fresh(""))
    return nodes


def _in_full(node: NodeProto, opset: int) -> NodeProto:
    """A node with the attributes that it leaves to their defaults, which onnx's inliner leaves out
    of a function's body."""
    copy = NodeProto()
    copy.CopyFrom(node)
    given = {attribute.name for attribute in node.attribute}
    schema: Any = onnx.defs.get_schema(node.op_type, opset)
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            copy.attribute.append(attribute.default_value)
    return copy


def _inlined(single: ModelProto, draft: Draft) -> ModelProto:
    """A model of one node with the function that defines it put in."""
    (node,) = single.graph.node
    if "" not in node.input:
        return onnx.inliner.inline_selected_functions(
            single, [("", node.op_type)], inline_schema_functions=True
        )
    # onnx's inliner asks for the type of an input that is left out before others. A function that
    # the model brings is put in without.
    schema: Any = onnx.defs.get_schema(node.op_type, draft.opset)
    types = [(_type_of(n, draft) if n else TypeProto()).SerializeToString() for n in node.input]
    given = node.SerializeToString()
    body = FunctionProto.FromString(
        schema.get_context_dependent_function(given, types)
        if schema.has_context_dependent_function
        else schema.function_body.SerializeToString()
    )
    body.domain = node.domain = _BODIES
    single.functions.append(body)
    single.opset_import.append(helper.make_opsetid(_BODIES, 1))
    return onnx.inliner.inline_local_functions(single)


_BODIES = "splitc.function"
"""The domain of functions that stand for ONNX's own."""


def _rename(nodes: Iterable[NodeProto], kept: set[str], prefix: str) -> None:
    """Give tensors names of their own, those of the graphs inside nodes too."""
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [n if n in kept else prefix + n for n in names]
        for attribute in node.attribute:
            for graph in subgraphs_of(attribute):
                for each in (*graph.input, *graph.output, *graph.initializer):
                    each.name = each.name if each.name in kept else prefix + each.name
                _rename(graph.node, kept, prefix)


def branch_of(node: Node) -> list[NodeProto] | None:
    """The nodes of the branch that an If takes, where that is known; None where it is not."""
    condition = node.value(0)
    if condition is None:
        return None
    graph: GraphProto = node.given["then_branch" if bool(condition) else "else_branch"]
    stored = [helper.make_node("Constant", [], [t.name], value=t) for t in graph.initializer]
    results = [
        helper.make_node("Identity", [inner.name], [outer])
        for inner, outer in zip(graph.output, node.proto.output, strict=True)
    ]
    return [*stored, *graph.node, *results]


def in_single(node: Node) -> list[NodeProto] | None:
    """A node of float16 tensors as one of float32 tensors between casts."""
    proto, draft = node.proto, node.draft
    if node.dtype() != "float16" or len(proto.output) != 1:
        return None
    wide = NodeProto()
    wide.CopyFrom(proto)
    name = draft.fresh("wide")
    wide.input[:] = [f"{name}.{k}" if each else "" for k, each in enumerate(proto.input)]
    wide.output[:] = [name]
    into = [
        helper.make_node("Cast", [given], [made], to=TensorProto.FLOAT)
        for given, made in zip(proto.input, wide.input, strict=True)
        if given
    ]
    back = helper.make_node("Cast", [name], list(proto.output), to=TensorProto.FLOAT16)
    return [*into, wide, back]


def stored_by(node: NodeProto) -> Array | None:
    """The value of a Constant node; None where it is text or sparse."""
    value = constant_value(node)
    return None if value is None else numpy_helper.to_array(value)
