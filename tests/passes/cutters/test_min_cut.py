# SPDX-License-Identifier: Apache-2.0
"""The cutter `min-cut` against brute force over all downsets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from splitc.cost.prices import LinkPrices, Prices, price
from splitc.errors import NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc_passes.cutters.min_cut import cheapest_cut
from tests.strategies import priced_graphs


def downsets(graph: LayerGraph) -> Iterator[frozenset[int]]:
    """Every downset that holds the inputs, by trying every subset in order."""
    found = [frozenset(range(graph.input_count))]
    for i in range(graph.input_count, len(graph)):
        needs = graph.predecessors[i]
        found += [s | {i} for s in found if all(j in s for j in needs)]
    yield from found


def cheapest(graph: LayerGraph, prices: Prices) -> int | None:
    found = [
        value
        for cut in (Cut.of(graph, s) for s in downsets(graph))
        if cut.is_proper and (value := price(prices, cut)) is not None
    ]
    return min(found, default=None)


@settings(max_examples=500, deadline=None)
@given(priced_graphs(max_layers=11))
def test_the_cut_costs_what_the_best_of_all_downsets_costs(
    priced: tuple[LayerGraph, Prices],
) -> None:
    graph, prices = priced
    expected = cheapest(graph, prices)
    if expected is None:
        with pytest.raises(NoLegalCutError, match="cannot be cut"):
            cheapest_cut(graph, prices)
        return
    cut, proof = cheapest_cut(graph, prices)
    assert price(prices, cut) == expected
    assert proof.value == proof.lower_bound == expected
    assert proof.flow in (None, expected)
    assert cut.is_proper


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
    link = LinkPrices({"x": 60, "a": 2, "s": 2, "h": 2, "d": None}, once=0)
    prices = Prices(((0, 2, 20, 20, 4), (0, 1, 1, 1, 68)), {(0, 1): link})
    cut, proof = cheapest_cut(graph, prices, proper=False)
    assert published_value(graph, prices) == 2 * 5
    assert proof.value == 2 * 23
    assert cut.tail == ()


def published_value(graph: LayerGraph, prices: Prices) -> int:
    """The value of the construction as published: no edges against dependencies."""
    import networkx

    nx: Any = networkx
    net = nx.DiGraph()
    (head, tail), link = prices.sites, prices.links[0, 1]
    for i, layer in enumerate(graph.layers):
        net.add_edge("head", i, capacity=10**9 if layer.is_input else tail[i])
        net.add_edge(i, "tail", capacity=head[i])
        for tensor in layer.outputs:
            readers = graph.readers[tensor.name]
            if readers:
                net.add_edge(i, tensor.name, capacity=link.tensor[tensor.name])
            for reader in readers:
                net.add_edge(tensor.name, reader, capacity=10**9)
    return int(nx.minimum_cut_value(net, "head", "tail"))
