# SPDX-License-Identifier: Apache-2.0
"""The layer DAG: order, adjacency, dominators."""

from __future__ import annotations

from typing import Any

import networkx
import pytest
from hypothesis import given

from splitc.errors import BadModelError, UsageError
from splitc.ir.graph import Layer, LayerGraph, Tensor
from splitc.ir.text import parse_graph
from tests.strategies import graphs

SINK = -1
nx: Any = networkx


def layer(name: str, *reads: str) -> Layer:
    return Layer(name, "op" if reads else "input", reads, (Tensor(name, (1,)),))


@given(graphs(max_layers=14))
def test_dominators_are_those_networkx_finds(graph: LayerGraph) -> None:
    net = nx.DiGraph()
    for i, sources in enumerate(graph.predecessors):
        net.add_edges_from((j, i) for j in sources)
    net.add_edges_from(("source", i) for i in range(graph.input_count))
    net.add_edges_from((graph.producer[name], SINK) for name in graph.outputs)
    reached = nx.descendants(net, "source") & (nx.ancestors(net, SINK) | {SINK})
    net = net.subgraph({*reached, "source"})
    chain: list[int] = []
    idom = nx.immediate_dominators(net, "source")
    at = idom[SINK]
    while at != "source":
        chain.append(at)
        at = idom[at]
    unread_inputs = [i for i in range(graph.input_count) if not graph.successors[i]]
    if not unread_inputs:
        assert graph.dominators == tuple(reversed(chain))


@given(graphs())
def test_after_a_narrow_only_its_own_outputs_cross(graph: LayerGraph) -> None:
    for i in graph.cut_points:
        for j in range(i):
            assert all(k <= i for k in graph.successors[j])


def test_layers_are_sorted_with_inputs_first() -> None:
    graph = LayerGraph.sort([layer("c", "b"), layer("b", "a", "z"), layer("a"), layer("z")], ["c"])
    assert [one.name for one in graph.layers] == ["a", "z", "b", "c"]


def test_a_cycle_is_refused_by_name() -> None:
    with pytest.raises(BadModelError, match="cycle"):
        LayerGraph.sort([layer("x"), layer("a", "x", "b"), layer("b", "a")], ["b"])


def test_an_unknown_layer_gets_the_nearest_names() -> None:
    graph = parse_graph("%x = input() : 1\n%conv1 = relu(%x) : 1\n%conv2 = relu(%conv1) : 1")
    with pytest.raises(UsageError, match="no layer 'convl'") as caught:
        graph.layer("convl")
    assert "conv1" in caught.value.hint


@pytest.mark.parametrize(
    ("dtype", "shape", "nbytes"),
    [
        ("float32", (2, 3), 24),
        ("int4", (3,), 2),
        ("bool", (), 1),
        ("float32", (0, 5), 0),
        ("string", (2,), None),
        ("float32", (1, None), None),
        ("bfloat16", (1, 7), 14),
    ],
)
def test_tensor_bytes_are_exact(dtype: str, shape: tuple[int | None, ...], nbytes: int) -> None:
    assert Tensor("t", shape, dtype).nbytes == nbytes
