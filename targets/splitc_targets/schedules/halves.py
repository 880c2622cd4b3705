# SPDX-License-Identifier: Apache-2.0
"""Networks in float16: computed in float32, as rules know it, between inputs and results."""

from __future__ import annotations

import numpy as np

from splitc_targets.schedules.graph import Graph, Node, Value

HALF, SINGLE = "float16", "float32"


def widen(graph: Graph) -> None:
    """Make float16 values and constants float32, and mark them as `half`.

    Inputs are converted when they are read and results when they are given; both keep their
    types. What float16 rounds or lets overflow between stays as float32 has it.
    """
    values = {v for node in graph.nodes for v in (*node.inputs, *node.outputs)}
    halves = [v for v in values | set(graph.inputs) | set(graph.outputs) if v.dtype == HALF]
    given = {v: Value(v.shape, SINGLE, half=True) for v in graph.inputs if v.dtype == HALF}
    graph.replace(given)
    entries = [_cast(v, wide) for v, wide in given.items()]
    results: dict[Value, Value] = {}
    for value in halves:
        if value not in given:
            value.dtype, value.half = SINGLE, True
            value.data = None if value.data is None else value.data.astype(np.float32)
    for value in graph.outputs:
        if value in halves or value in given.values():
            results.setdefault(value, Value(value.shape, HALF))
    graph.nodes = [*entries, *graph.nodes, *(_cast(v, half) for v, half in results.items())]
    graph.outputs = [results.get(value, value) for value in graph.outputs]


def _cast(source: Value, target: Value) -> Node:
    target.producer = Node("astype", [source], {"dtype": target.dtype}, [target])
    return target.producer
