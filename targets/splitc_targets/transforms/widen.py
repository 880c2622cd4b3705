# SPDX-License-Identifier: Apache-2.0
"""Networks in float16: computed in float32, as rules know it, between inputs and results."""

from __future__ import annotations

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value

HALF, SINGLE = "float16", "float32"


def widen(graph: Graph) -> None:
    """Make float16 values and constants float32, and mark them as `half`.

    Inputs are converted when they are read and results when they are given; both keep their
    types. A cast to float16 of what is more exact rounds, as the network asks for by it; what
    arithmetic on float16 rounds or lets overflow stays as float32 has it.
    """
    values = {v for node in graph.nodes for v in (*node.inputs, *node.outputs)}
    halves = [v for v in values | set(graph.inputs) | set(graph.outputs) if v.dtype == HALF]
    rounded = {node: node.output for node in graph.nodes if _rounds(node)}
    given = {
        v: Value(v.shape, SINGLE, half=True)
        for v in (*graph.inputs, *rounded.values())
        if v.dtype == HALF
    }
    graph.replace(given)
    nodes = [_cast(v, given[v]) for v in graph.inputs if v in given]
    for node in graph.nodes:
        nodes.append(node)
        if node in rounded:
            nodes.append(_cast(node.output, given[node.output]))
    results: dict[Value, Value] = {}
    for value in halves:
        if value not in given:
            value.dtype, value.half = SINGLE, True
            value.data = None if value.data is None else value.data.astype(np.float32)
    for value in graph.outputs:
        if value in halves or value in given.values():
            results.setdefault(value, Value(value.shape, HALF))
    graph.nodes = [*nodes, *(_cast(v, half) for v, half in results.items())]
    graph.outputs = [results.get(value, value) for value in graph.outputs]


def _rounds(node: Node) -> bool:
    """Whether a node casts to float16 what is of another type."""
    return node.op == "astype" and node.output.dtype == HALF and node.inputs[0].dtype != HALF


def _cast(source: Value, target: Value) -> Node:
    target.producer = Node("astype", [source], {"dtype": target.dtype}, [target])
    return target.producer
