# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Loops whose number of turns is fixed, written out turn by turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from splitc.frontend.onnx.read import subgraphs_of
from splitc_targets.source.draft import Node
from splitc_targets.source.known import stored_by

MOST_NODES = 4096
"""Nodes that the loops of a graph are written out to."""

AXES_AS_INPUT = 13
"""The opset from which Unsqueeze reads its axes."""

NO_BATCH = 9
"""The opset before which the tensors of a Scan had a batch besides."""


def turns_of(node: Node) -> list[NodeProto] | None:
    """The nodes that a Scan or a Loop computes in all its turns; None where it stays."""
    if node.op not in ("Loop", "Scan") or node.draft.opset < AXES_AS_INPUT:
        return None
    if node.op == "Loop":
        return _loop(node)
    return _scan(node) if node.draft.was >= NO_BATCH else None


def _few(node: Node, count: int, body: GraphProto) -> bool:
    """Whether so many turns may be written out, those of loops inside turns counted too."""
    return count > 0 and node.draft.turned + count * max(1, len(body.node)) <= MOST_NODES


class _Turns:
    """What turns write: their nodes, with tensors of their own, and the rows that they give."""

    def __init__(self, node: Node, body: GraphProto, count: int) -> None:
        self.node, self.body = node, body
        self.nodes: list[NodeProto] = []
        node.draft.turned += count * max(1, len(body.node))
        # What is stored is the same in all turns.
        stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer}
        for each in body.node:
            value = stored_by(each) if each.op_type == "Constant" else None
            if value is not None:
                stored[each.output[0]] = value
        self._stored = {name: node.draft.constant(value) for name, value in stored.items()}
        self._changing = [each for each in body.node if {*each.output}.isdisjoint(stored)]
        self._own = {value.name for value in body.input}
        self._own |= {name for each in self._changing for name in each.output}

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """One node more; the name of its result."""
        made = self.node.draft.fresh(op)
        self.nodes.append(helper.make_node(op, inputs, [made], **attributes))
        return made

    def constant(self, value: object) -> str:
        """A stored tensor."""
        return self.node.draft.constant(np.array(value, np.int64))

    def turn(self, given: Sequence[str]) -> list[str]:
        """The body once, with these tensors for its inputs; the names of its results."""
        prefix = self.node.draft.fresh("")
        names = self._stored | {own: prefix + own for own in self._own}
        names.update(zip((value.name for value in self.body.input), given, strict=True))
        for each in self._changing:
            copy = NodeProto()
            copy.CopyFrom(each)
            _rename(copy, names)
            self.nodes.append(copy)
        return [names.get(value.name, value.name) for value in self.body.output]

    def named(self, made: str, result: str) -> None:
        """A tensor is a result of the loop."""
        self.nodes.append(helper.make_node("Identity", [made], [result]))


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Give a node's tensors other names, those that graphs inside it read too."""
    for listed in (node.input, node.output):
        listed[:] = [names.get(name, name) for name in listed]
    for attribute in node.attribute:
        for graph in subgraphs_of(attribute):
            hidden = {value.name for value in (*graph.input, *graph.initializer)}
            hidden |= {name for each in graph.node for name in each.output}
            seen = {old: new for old, new in names.items() if old not in hidden}
            for value in graph.output:
                value.name = seen.get(value.name, value.name)
            for each in graph.node:
                _rename(each, seen)


def _scan(node: Node) -> list[NodeProto] | None:
    given = node.given
    body: GraphProto = given["body"]
    scanned: int = given["num_scan_inputs"]
    states = len(node.proto.input) - scanned
    shapes = [node.shape(states + k) for k in range(scanned)]
    axes: list[int] = given.get("scan_input_axes") or [0] * scanned
    backwards: list[int] = given.get("scan_input_directions") or [0] * scanned
    if any(shape is None for shape in shapes):
        return None
    lengths = {shape[axis] for shape, axis in zip(shapes, axes, strict=True) if shape is not None}
    count = lengths.pop() if len(lengths) == 1 else 0
    if not _few(node, count, body):
        return None
    turns = _Turns(node, body, count)
    state = list(node.proto.input[:states])
    rows: list[list[str]] = [[] for _ in body.output[states:]]
    for k in range(count):
        slices = [
            turns.add("Gather", [name, turns.constant(count - 1 - k if back else k)], axis=axis)
            for name, axis, back in zip(node.proto.input[states:], axes, backwards, strict=True)
        ]
        made = turns.turn([*state, *slices])
        state = made[:states]
        for row, name in zip(rows, made[states:], strict=True):
            row.append(name)
    for name, result in zip(state, node.proto.output, strict=False):
        turns.named(name, result)
    out_axes: list[int] = given.get("scan_output_axes") or [0] * len(rows)
    from_end: list[int] = given.get("scan_output_directions") or [0] * len(rows)
    results = list(node.proto.output)[states:]
    for row, axis, back, result in zip(rows, out_axes, from_end, results, strict=False):
        _stacked(turns, row[::-1] if back else row, axis, result)
    return turns.nodes


def _loop(node: Node) -> list[NodeProto] | None:
    """A Loop whose turns are counted beforehand, and whose condition stays as it is given."""
    body: GraphProto = node.given["body"]
    most = _count(node, len(node.proto.input) - 2)
    if most is None or not _goes_on(body) or not _few(node, most, body):
        return None
    turns = _Turns(node, body, most)
    states = len(node.proto.input) - 2
    state, still = list(node.proto.input[2:]), node.draft.constant(np.array(True))
    rows: list[list[str]] = [[] for _ in body.output[1 + states :]]
    for k in range(most):
        _, *made = turns.turn([turns.constant(k), still, *state])
        state = made[:states]
        for row, name in zip(rows, made[states:], strict=True):
            row.append(name)
    for name, result in zip(state, node.proto.output, strict=False):
        turns.named(name, result)
    for row, result in zip(rows, list(node.proto.output)[states:], strict=False):
        _stacked(turns, row, 0, result)
    return turns.nodes


def _count(node: Node, states: int) -> int | None:
    """The turns of a Loop: those it names, or as many as its rows are declared to be."""
    count = node.value(0)
    condition = np.array(True) if not node.input(1) else node.value(1)
    if count is not None and condition is not None:
        return int(count.ravel()[0]) if bool(condition.ravel()[0]) else 0
    rows = [node.result_shape(k) for k in range(states, len(node.proto.output))]
    return next((shape[0] for shape in rows if shape), None)


def _goes_on(body: GraphProto) -> bool:
    """Whether the condition that a loop's body gives is the one it is given, or true."""
    name, given = body.output[0].name, body.input[1].name
    makers = {each.output[0]: each for each in body.node if each.output}
    stored = {tensor.name: tensor for tensor in body.initializer}
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name in makers and makers[name].op_type == "Constant":
        values = [a.t for a in makers[name].attribute if a.name == "value"]
        return bool(values) and bool(numpy_helper.to_array(values[0]).all())
    if name in stored:
        return bool(numpy_helper.to_array(stored[name]).all())
    return name == given


def _stacked(turns: _Turns, rows: Sequence[str], axis: int, result: str) -> None:
    """What turns gave, one behind another along a new axis."""
    if not result:
        return
    wide = [turns.add("Unsqueeze", [row, turns.constant([axis])]) for row in rows]
    turns.named(turns.add("Concat", wide, axis=axis), result)
