# SPDX-License-Identifier: Apache-2.0
"""A layer forced onto a maximum flow that is there, against one made anew and against networkx."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from splitc.cost.prices import LinkPrices, Prices, price
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.search.flow_network import HEAD, TAIL
from splitc_passes.cutters.min_cut import cheapest_cut
from splitc_passes.cutters.stretch_flow import StretchFlow
from tests.passes.cutters.test_min_cut import cheapest
from tests.strategies import priced_graphs


@settings(max_examples=150, deadline=None)
@given(priced_graphs(max_layers=10), st.data())
def test_a_layer_forced_later_costs_what_it_costs_forced_at_first(
    priced: tuple[LayerGraph, Prices], data: st.DataObject
) -> None:
    graph, prices = priced
    assume(graph.stretches)
    start, stop = data.draw(st.sampled_from(graph.stretches))
    flow = StretchFlow(graph, prices, start, stop, {})
    before = flow.divided
    for i in range(start, stop):
        for side in (HEAD, TAIL):
            later = flow.with_layer(i, side, None)
            at_first = StretchFlow(graph, prices, start, stop, {i: side}).divided
            assert (later is None) == (at_first is None)
            if later is None or at_first is None:
                continue
            assert later.value == at_first.value
            assert (i in later.head) == (side == HEAD)
            Cut.of(graph, (*range(start), *later.head))  # a downset, or it raises
            assert flow.with_layer(i, side, later.value) is None
            assert flow.with_layer(i, side, later.value + 1) == later
    assert flow.divided == before


@settings(max_examples=60, deadline=None)
@given(priced_graphs(max_layers=9), st.integers(1, 3))
def test_near_ties_of_large_prices_are_told_apart(
    priced: tuple[LayerGraph, Prices], step: int
) -> None:
    graph, prices = priced
    large = 2**53

    def raised(value: int | None) -> int | None:
        return None if value is None else large + value % (step + 1)

    link = prices.links[0, 1]
    tensors = {name: raised(toll) for name, toll in link.tensor.items()}
    sites = tuple(
        tuple(0 if i < graph.input_count else large + value % (step + 1)
              for i, value in enumerate(site))
        for site in prices.sites
    )  # fmt: skip
    near = Prices(sites, {(0, 1): LinkPrices(tensors, link.once)})
    expected = cheapest(graph, near)
    assume(expected is not None)
    cut, proof = cheapest_cut(graph, near)
    assert price(near, cut) == proof.value == expected
