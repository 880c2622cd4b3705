# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Which of onnx's cases count for the bar, and why others stand apart.

Those count that hold only tensors of fixed shape and of numeric types that a processor computes
with, and that onnxruntime runs. Text, sequences and images stand apart, so do float8 and elements
of four bits or fewer, and results whose shape hangs on values. So does a case that onnxruntime
runs and fails, where the case's own values are refuted: onnx's reference in float64 gives others
by more than the case's tolerance. It is then judged by those.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from conformance_cases import Array, Case, Form, exact_where_refuted, forms, within
from onnx import GraphProto, ModelProto, TensorProto, TypeProto

from splitc.errors import BadModelError
from splitc.frontend.onnx.read import subgraphs_of
from splitc.runtime.ort import Session

BAR = 95.0
"""Percent of the cases that count are to pass."""

TEXT, SEQUENCES, IMAGES = "text", "sequences, optional tensors or maps", "images"
SMALL = "float8, or four bits and fewer"
OPEN = "a shape that hangs on values, or is left open"
NOT_RUN = "onnxruntime does not run it"
REFUTED = "its values are not exact within its own tolerance, and onnxruntime fails it"

_SMALL = frozenset(
    number
    for name, number in TensorProto.DataType.items()
    if name.startswith(("FLOAT8", "FLOAT4", "INT4", "UINT4", "INT2", "UINT2"))
)


def why_apart(case: Case) -> str:
    """Why a case does not count; empty where it does."""
    declared = [value.type for value in (*case.proto.graph.input, *case.proto.graph.output)]
    inside = [each.type for graph in _graphs(case.proto.graph) for each in graph.value_info]
    if any(not one.HasField("tensor_type") for one in (*declared, *inside)):
        return SEQUENCES
    kinds = {one.tensor_type.elem_type for one in (*declared, *inside)} | _made(case.proto)
    if TensorProto.STRING in kinds:
        return TEXT
    words = {node.op_type for graph in _graphs(case.proto.graph) for node in graph.node}
    if "ImageDecoder" in words:
        return IMAGES
    if any("Sequence" in word or "Optional" in word for word in words):
        return SEQUENCES
    if kinds & _SMALL:
        return SMALL
    if not all(map(_fixed, declared)):
        return OPEN
    results = _results(next(iter(forms(case))))
    if results is None:
        return NOT_RUN
    right = all(
        got.shape == np.shape(want) and within(case, got, np.asarray(want)).all()
        for got, want in zip(results, case.outputs.values(), strict=True)
    )
    return REFUTED if not right and exact_where_refuted(case) is not None else ""


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in subgraphs_of(attribute):
                yield from _graphs(inner)


def _made(proto: ModelProto) -> set[int]:
    """Element types of stored tensors, and those that nodes are told to make."""
    found: set[int] = set()
    for graph in _graphs(proto.graph):
        found |= {tensor.data_type for tensor in graph.initializer}
        for node in graph.node:
            found |= {a.t.data_type for a in node.attribute if a.HasField("t")}
            found |= {a.i for a in node.attribute if a.name in ("to", "dtype", "output_dtype")}
            found |= {TensorProto.STRING for a in node.attribute if a.name.startswith("value_str")}
    return found


def _fixed(declared: TypeProto) -> bool:
    tensor = declared.tensor_type
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def _results(form: Form) -> list[Array] | None:
    """What onnxruntime gives of a model; None where it does not read or run it."""
    try:
        session = Session(form.proto.SerializeToString())
        return list(session.run(session.outputs, form.feed))
    except BadModelError:
        return None
