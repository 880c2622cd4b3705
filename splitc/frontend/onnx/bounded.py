# SPDX-License-Identifier: Apache-2.0
"""Results of as many rows as boxes are kept, as results of a fixed number of rows.

Code is made for fixed shapes, and how many boxes NonMaxSuppression keeps depends on values. Where
they are what a network gives, it gives as many rows as there can be, those beyond the boxes kept
filled with -1, as OpenVINO does. In the graph that is one node, an If that always holds::

    kept = NonMaxSuppression(…)   ->   kept = If(true): NonMaxSuppression(…), rows of -1 behind it

so that whatever runs ONNX gives the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.layers import build_graph
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.graph import Tensor
from splitc.ir.model import Network

OP = "NonMaxSuppression"
_MOST_ROWS = 2**20
"""Rows beyond which such a result is refused."""


def rows_of(model: OnnxModel, node: NodeProto) -> int | None:
    """The rows that a node's result has at most; None where it is none of boxes that are kept,
    where anything in the network reads it, or where the limits are computed."""
    if node.op_type != OP or node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return None
    read = {name for other in model.proto.graph.node for name in reads(other)}
    boxes, scores = (model.tensors.get(name) for name in node.input[:2])
    stored = {t.name: t for t in model.proto.graph.initializer}
    if node.output[0] in read or boxes is None or scores is None:
        return None
    if None in (boxes.elements, scores.elements):
        return None
    limits = [name for name in node.input[2:] if name]
    if not all(name in stored for name in limits):
        return None
    most = 0
    if len(node.input) > 2 and node.input[2]:
        most = int(numpy_helper.to_array(stored[node.input[2]]).reshape(()))
    batch, classes, count = scores.static_shape
    rows = batch * classes * min(max(most, 0), count)
    return rows if 0 < rows <= _MOST_ROWS else None


def bounded(model: Network) -> Network:
    """The network with every result of boxes that are kept in as many rows as there can be."""
    if not isinstance(model, OnnxModel):
        return model
    found = {
        place: rows
        for place, node in enumerate(model.proto.graph.node)
        if (rows := rows_of(model, node)) is not None
    }
    if not found:
        return model
    proto, tensors = ModelProto(), dict(model.tensors)
    proto.CopyFrom(model.proto)
    words: list[str] = []
    for place, rows in found.items():
        node = proto.graph.node[place]
        name = node.output[0]
        node.CopyFrom(_filled(proto.graph, node, rows))
        tensors[name] = Tensor(name, (rows, 3), "int64")
        for value in proto.graph.output:
            if value.name == name:
                value.CopyFrom(helper.make_tensor_value_info(name, TensorProto.INT64, (rows, 3)))
        words.append(f"'{name}' has {rows} rows, those beyond the boxes kept are -1")
    tensors |= {
        t.name: Tensor(t.name, tuple(t.dims), tensors[t.name].dtype if t.name in tensors else
                       str(helper.tensor_dtype_to_np_dtype(t.data_type)))
        for t in proto.graph.initializer
    }  # fmt: skip
    note = "; ".join(filter(None, (model.note, *words)))
    graph = build_graph(proto, tensors)
    return replace(model, proto=proto, graph=graph, tensors=tensors, note=note)


def counted_results(model: Network) -> tuple[str, ...]:
    """The results of a bounded network that are as long as values make them, by name."""
    if not isinstance(model, OnnxModel):
        return ()
    results = {value.name for value in model.proto.graph.output}
    return tuple(
        node.output[0]
        for node in model.proto.graph.node
        if node.op_type == "If" and node.output[0] in results
        and list(node.input) == [_condition(node.output[0])]
    )  # fmt: skip


def _condition(result: str) -> str:
    """The stored tensor that is always true, for what gives a result of fixed length."""
    return f"{result}//true"


def _filled(graph: GraphProto, node: NodeProto, rows: int) -> NodeProto:
    """The node that gives so many rows: what stands for one that gives the boxes kept."""
    result = node.output[0]
    stored = {
        "true": np.array(True), "shape": np.array([rows, 3]), "start": np.array([0]),
        "end": np.array([rows]), "axis": np.array([0]),
    }  # fmt: skip
    name = {key: f"{result}//{key}" for key in (*stored, "kept", "none", "long", "cut", "all")}
    name["true"] = _condition(result)
    for key, value in stored.items():
        graph.initializer.append(numpy_helper.from_array(value, name[key]))
    inner = NodeProto()
    inner.CopyFrom(node)
    inner.output[0] = name["kept"]
    none = numpy_helper.from_array(np.array([-1]))
    body = [
        inner,
        helper.make_node("ConstantOfShape", [name["shape"]], [name["none"]], value=none),
        helper.make_node("Concat", [name["kept"], name["none"]], [name["long"]], axis=0),
        helper.make_node("Slice", [name[k] for k in ("long", "start", "end", "axis")],
                         [name["cut"]]),
        helper.make_node("Reshape", [name["cut"], name["shape"]], [name["all"]]),
    ]  # fmt: skip
    for number, each in enumerate(body):
        each.name = f"{node.name}//{number}"
    value = helper.make_tensor_value_info(name["all"], TensorProto.INT64, (rows, 3))
    branches = [helper.make_graph(body, "kept", [], [value])]
    same = GraphProto()
    same.CopyFrom(branches[0])
    return helper.make_node(
        "If", [name["true"]], [result], node.name, then_branch=branches[0], else_branch=same
    )
