# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Results of as many rows as boxes are kept, as results of a fixed number of rows.

Code is made for fixed shapes, and how many boxes NonMaxSuppression keeps depends on values. Where
they are what a network gives, it gives as many rows as there can be, those beyond the boxes kept
filled with -1, as OpenVINO does. In the graph that is one node, an If that always holds::

    kept = NonMaxSuppression(…)   ->   kept = If(true): NonMaxSuppression(…), rows of -1 behind it

so that whatever runs ONNX gives the same. Layers that compute with the rows, each with its own,
read 0 for -1, which are places that exist; what they give is filled up again::

    boxes = Gather(all, kept)     ->   boxes = Where(kept >= 0, Gather(all, max(kept, 0)), -1)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.arrays import Array
from splitc.frontend.onnx.layers import build_graph
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.row_wise import row_wise
from splitc.ir.graph import Tensor
from splitc.ir.model import Network
from splitc.runtime.counted import filler

Shape = tuple[int, ...]

OP = "NonMaxSuppression"
_MOST_ROWS = 2**20
"""Rows beyond which such a result is refused."""


def rows_of(model: OnnxModel, node: NodeProto) -> int | None:
    """The rows that a node's result has at most; None where it is none of boxes that are kept,
    where its limits are computed, or where something reads it that is not row-wise."""
    rows = _most_rows(model, node)
    return None if rows is None or why_not_by_rows(model, node) else rows


def why_not_by_rows(model: OnnxModel, node: NodeProto) -> str:
    """What computes with the rows that a node keeps otherwise than each with its own, in words;
    empty where nothing does."""
    found = row_wise(model.proto.graph, model.tensors, node.output[0])
    if found.blocked is not None:
        return f"'{found.blocked.name}' ({found.blocked.op_type}) is not computed row by row"
    given = {value.name for value in model.proto.graph.output} & {*found.axes}
    aside = next((name for name in sorted(given) if found.axes[name]), None)
    if aside is not None:
        return f"they are not the first axis of result '{aside}'"
    if not any(filler(model.tensors[name].dtype) for name in given):
        return "no result of them has signed numbers, of which -1 says that there is no row"
    return ""


def _most_rows(model: OnnxModel, node: NodeProto) -> int | None:
    if node.op_type != OP or node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return None
    boxes, scores = (model.tensors.get(name) for name in node.input[:2])
    stored = {t.name: t for t in model.proto.graph.initializer}
    if boxes is None or scores is None or None in (boxes.elements, scores.elements):
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
        node.output[0]: rows
        for node in model.proto.graph.node
        if (rows := rows_of(model, node)) is not None
    }
    if not found:
        return model
    proto, tensors = ModelProto(), dict(model.tensors)
    proto.CopyFrom(model.proto)
    words: list[str] = []
    for name, rows in found.items():
        results = _fill(proto.graph, tensors, name, rows)
        named = " and ".join(f"'{result}'" for result in results)
        have = "have" if len(results) > 1 else "has"
        words.append(f"{named} {have} {rows} rows, those beyond the boxes kept are -1")
    tensors |= {
        t.name: Tensor(t.name, tuple(t.dims), tensors[t.name].dtype if t.name in tensors else
                       str(helper.tensor_dtype_to_np_dtype(t.data_type)))
        for t in proto.graph.initializer
    }  # fmt: skip
    note = "; ".join(filter(None, (model.note, *words)))
    graph = build_graph(proto, tensors)
    return replace(model, proto=proto, graph=graph, tensors=tensors, note=note)


def counted_results(model: Network) -> tuple[tuple[str, ...], ...]:
    """The results of a bounded network that are as long as values make them, by name: those
    together that have the same rows."""
    if not isinstance(model, OnnxModel):
        return ()
    results = {value.name for value in model.proto.graph.output}
    groups: dict[str, list[str]] = {}
    for node in model.proto.graph.node:
        made = node.output[0] if node.output else ""
        if node.op_type == "If" and list(node.input) == [_condition(made)]:
            groups[made] = [made] if made in results else []
        elif node.op_type in ("And", "Where") and made in results:
            for kept, together in groups.items():
                if node.input[0] == _held(kept, made):
                    together.append(made)
    return tuple(tuple(names) for names in groups.values() if names)


def _held(kept: str, result: str) -> str:
    """The tensor that says which rows of a result stand for boxes that are kept."""
    return f"{kept}//held of {result}"


def _fill(graph: GraphProto, tensors: dict[str, Tensor], name: str, rows: int) -> list[str]:
    """Give a tensor of boxes kept, and all that is computed of it, so many rows; the results."""
    axes = row_wise(graph, tensors, name).axes
    given = [value.name for value in graph.output if value.name in axes]
    for each, axis in axes.items():
        old = tensors.get(each) or Tensor(name, (None, 3), "int64")
        shape = list(old.shape or ())
        shape[axis] = rows
        tensors[each] = Tensor(each, tuple(shape), old.dtype)
    for value in graph.output:
        if value.name in axes:
            tensor = tensors[value.name]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, tensor.shape))
    place = next(k for k, node in enumerate(graph.node) if name in node.output)
    node = graph.node[place]
    node.CopyFrom(_filled(graph, node, rows))
    if axes.keys() == {name}:
        return given
    nodes = list(graph.node)
    safe = f"{name}//safe"
    for each in nodes[place + 1 :]:
        each.input[:] = [safe if read == name else read for read in each.input]
    made = _Made(graph, tensors, node.name)
    zero, ends = made.stored(f"{name}//0", np.array(0)), f"{name}//first"
    first = made.add(
        "Slice",
        [name, *(made.stored(f"{ends} {k}", np.array([n])) for k, n in enumerate((0, 1, 1)))],
        ends,
        (rows, 1),
        "int64",
    )
    none = made.add("Less", [first, zero], f"{name}//behind", (rows, 1), "bool")
    held = made.add("Not", [none], f"{name}//held", (rows, 1), "bool")
    made.add("Where", [held, name, zero], safe, (rows, 3), "int64")
    before, made.nodes = made.nodes, []
    for result in given:
        if result != name:
            _fill_up(made, nodes, held, name, result)
    del graph.node[:]
    graph.node.extend([*nodes[: place + 1], *before, *nodes[place + 1 :], *made.nodes])
    return given


def _fill_up(made: _Made, nodes: list[NodeProto], held: str, kept: str, result: str) -> None:
    """Let the rows of a result that stand for nothing hold what no row does."""
    tensor = made.tensors[result]
    inner = f"{result}//rows"
    for node in nodes:
        node.output[:] = [inner if name == result else name for name in node.output]
        node.input[:] = [inner if name == result else name for name in node.input]
    shape = tensor.static_shape
    made.tensors[inner] = Tensor(inner, shape, tensor.dtype)
    along = (shape[0], *(1 for _ in shape[1:]))
    to = made.stored(f"{result}//along", np.array(along))
    which = made.add("Reshape", [held, to], _held(kept, result), along, "bool")
    if tensor.dtype == "bool":  # of which onnxruntime has no Where
        made.add("And", [which, inner], result, shape, tensor.dtype)
        return
    fill = made.stored(f"{result}//fill", np.array(filler(tensor.dtype), np.dtype(tensor.dtype)))
    made.add("Where", [which, inner, fill], result, shape, tensor.dtype)


@dataclass
class _Made:
    """Nodes that are added to a graph, their tensors and what they read that is stored."""

    graph: GraphProto
    tensors: dict[str, Tensor]
    layer: str
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])

    def stored(self, name: str, value: Array) -> str:
        """Store a tensor; its name."""
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: list[str], output: str, shape: Shape, dtype: str) -> str:
        """Append a node; the name of its result."""
        name = f"{self.layer}//{output}"
        self.nodes.append(helper.make_node(op, inputs, [output], name))
        self.tensors[output] = Tensor(output, shape, dtype)
        return output


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
