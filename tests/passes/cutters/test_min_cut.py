# SPDX-License-Identifier: Apache-2.0
"""The cutter `min-cut` against brute force over all downsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from splitc.cost.prices import Weights, price
from splitc.errors import NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc_passes.cutters.min_cut import MinCut
from tests.strategies import priced_graphs


def downsets(graph: LayerGraph) -> Iterator[frozenset[int]]:
    """Every downset that holds the inputs, by trying every subset in order."""
    found = [frozenset(range(graph.input_count))]
    for i in range(graph.input_count, len(graph)):
        needs = graph.predecessors[i]
        found += [s | {i} for s in found if all(j in s for j in needs)]
    yield from found


def cheapest(graph: LayerGraph, weights: Weights) -> int | None:
    prices = [
        value
        for cut in (Cut.of(graph, s) for s in downsets(graph))
        if cut.is_proper and (value := price(weights, cut)) is not None
    ]
    return min(prices, default=None)


@settings(max_examples=500, deadline=None)
@given(priced_graphs(max_layers=11))
def test_the_cut_costs_what_the_best_of_all_downsets_costs(
    priced: tuple[LayerGraph, Weights],
) -> None:
    graph, weights = priced
    expected = cheapest(graph, weights)
    if expected is None:
        with pytest.raises(NoLegalCutError, match="cannot be cut"):
            MinCut().find(graph, weights)
        return
    found = MinCut().find(graph, weights)
    assert price(weights, found.cut) == expected
    certificate = found.certificate
    assert certificate.cut_value == certificate.lower_bound == expected
    assert certificate.flow_value in (None, expected)
    assert Cut.after(graph, certificate.head) == found.cut
    assert certificate.boundary == tuple(t.name for t in found.cut.boundary)
    assert found.cut.is_proper


def test_where_the_published_construction_lets_the_tail_feed_the_head() -> None:
    """a -> s -> h -> d and a -> d, bringing d's result back from the server dear.

    In half units. As published, s and h go to the server and d, on the device,
    reads h from it for nothing: 5.0. No such cut is legal; the best is 23.0.
    """
    graph = parse_graph("""
        %x = input() : 1
        %a = op(%x) : 1
        %s = op(%a) : 1
        %h = op(%s) : 1
        %d = op(%a, %h) : 1
    """)
    weights = Weights(
        head=(0, 2, 20, 20, 4),
        tail=(0, 1, 1, 1, 68),
        tensor={"x": 60, "a": 2, "s": 2, "h": 2, "d": None},
        crossing=0,
    )
    found = MinCut(proper=False).find(graph, weights)
    assert published_value(graph, weights) == 2 * 5
    assert found.certificate.cut_value == 2 * 23
    assert found.cut.tail == ()


def published_value(graph: LayerGraph, weights: Weights) -> int:
    """The value of the construction as published: no edges against dependencies."""
    import networkx

    nx: Any = networkx
    net = nx.DiGraph()
    for i, layer in enumerate(graph.layers):
        net.add_edge("head", i, capacity=10**9 if layer.is_input else weights.tail[i])
        net.add_edge(i, "tail", capacity=weights.head[i])
        for tensor in layer.outputs:
            readers = graph.readers[tensor.name]
            if readers:
                net.add_edge(i, tensor.name, capacity=weights.tensor[tensor.name])
            for reader in readers:
                net.add_edge(tensor.name, reader, capacity=10**9)
    return int(nx.minimum_cut_value(net, "head", "tail"))
