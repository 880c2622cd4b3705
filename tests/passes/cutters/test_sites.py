# SPDX-License-Identifier: Apache-2.0
"""The cutter `sites` against brute force over every placement along a chain of sites."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc.cost.chain import chain_price, pinned_prices
from splitc.cost.prices import BoardCost, LinkPrices, Objective, Prices, ResultsAt
from splitc.cost.topology import Site, Topology
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import FlowProof
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.problem import Problem
from splitc_passes.cutters.min_cut import cheapest_cut
from splitc_passes.cutters.sites import Sites, cheapest_placement
from tests.strategies import graphs, priced_graphs

LADDER = """
%x = input() : 1x3x64x64
%a = conv(%x) {params=7000, flops=40000000} : 1x8x32x32
%b = conv(%a) {params=9000, flops=30000000} : 1x8x32x32
%c = add(%a, %b) {flops=8192} : 1x8x32x32
%d = conv(%c) {params=90000, flops=30000000} : 1x16x8x8
%e = conv(%d) {params=90000, flops=30000000} : 1x16x8x8
%f = add(%d, %e) {flops=1024} : 1x16x8x8
%y = gemm(%f) {params=4000000, flops=9000000} : 1x1000
"""


@st.composite
def priced_chains(draw: st.DrawFn) -> tuple[LayerGraph, Prices]:
    """A layer DAG and integer prices of two to four sites in a row."""
    graph = draw(graphs(max_layers=7))
    count = draw(st.integers(2, 4))
    each = st.integers(0, 50)
    sites = [
        [0] * graph.input_count + [draw(each) for _ in range(len(graph) - graph.input_count)]
        for _ in range(count)
    ]
    links = {
        (k, k + 1): LinkPrices(
            {name: draw(st.integers(0, 60)) for name in graph.tensors}, draw(st.integers(0, 20))
        )
        for k in range(count - 1)
    }
    return graph, Prices(tuple(map(tuple, sites)), links)


def placements(graph: LayerGraph, count: int) -> Iterator[tuple[int, ...]]:
    """Every way to lay layers over sites, none before one that it reads from."""
    free = len(graph) - graph.input_count
    for rest in product(range(count), repeat=free):
        site = (0,) * graph.input_count + rest
        if all(site[j] <= site[i] for i in range(len(graph)) for j in graph.predecessors[i]):
            yield site


def paid(graph: LayerGraph, prices: Prices, site: tuple[int, ...]) -> int:
    """What a placement costs, summed layer by layer and tensor by tensor."""
    total = sum(prices.sites[at][i] for i, at in enumerate(site))
    for (near, far), link in prices.links.items():
        total += link.once if any(at >= far for at in site) else 0
        for name, price in link.tensor.items():
            readers = graph.readers[name]
            if site[graph.producer[name]] <= near and any(site[r] >= far for r in readers):
                assert price is not None
                total += price
    return total


@settings(deadline=None, max_examples=300)
@given(priced_chains())
def test_the_placement_costs_what_the_best_of_all_placements_costs(
    priced: tuple[LayerGraph, Prices],
) -> None:
    graph, prices = priced
    best = min(paid(graph, prices, site) for site in placements(graph, len(prices.sites)))
    where, proof = cheapest_placement(graph, prices)
    assert proof.value == proof.lower_bound == best == paid(graph, prices, where.site)
    assert chain_price(prices, where) == best
    assert where.why_not(prices.links) is None
    assert cheapest_placement(graph, prices) == (where, proof)


@settings(deadline=None, max_examples=100)
@given(priced_chains(), st.data())
def test_pins_hold_and_never_make_it_cheaper(
    priced: tuple[LayerGraph, Prices], data: st.DataObject
) -> None:
    graph, plain = priced
    position = data.draw(st.integers(graph.input_count, len(graph) - 1))
    site = data.draw(st.integers(0, len(plain.sites) - 1))
    prices, most = pinned_prices(plain, {position: site})
    where, proof = cheapest_placement(graph, prices)
    kept = [p for p in placements(graph, len(plain.sites)) if p[position] == site]
    assert where.site[position] == site
    assert proof.value == min(paid(graph, plain, each) for each in kept) < most
    assert proof.value >= cheapest_placement(graph, plain)[1].value


@settings(deadline=None, max_examples=100)
@given(priced_graphs(max_layers=8))
def test_on_two_sites_it_is_the_minimum_cut(priced: tuple[LayerGraph, Prices]) -> None:
    graph, plain = priced
    prices, _ = pinned_prices(plain, {})
    _, proof = cheapest_cut(graph, prices, proper=False)
    assert cheapest_placement(graph, prices)[1].value == proof.value


def three(**pinned: str) -> Topology:
    """A Pi 3, a Pi 5 and a PC; wifi to the second and a slow line on."""
    boards = ("rpi3", "rpi5", "x86-64-v3")
    names = ("device", "edge", "cloud")
    sites = tuple(
        Site(
            name,
            BoardCost(load_board(board)),
            frozenset(pinned[name]) if name in pinned else frozenset(),
        )
        for name, board in zip(names, boards, strict=True)
    )
    links = {("device", "edge"): Link("200Mbit", rtt="1ms"), ("edge", "cloud"): Link.named("lte")}
    return Topology(sites, links)


@pytest.mark.parametrize("results", ["device", "server"])
@pytest.mark.parametrize("objective", ["latency", "energy"])
def test_floats_for_people_and_integers_for_flows_say_the_same(
    objective: Objective, results: ResultsAt
) -> None:
    graph = parse_graph(LADDER)
    problem = Problem(graph, three(), objective, results=results)
    prices = problem.chain.prices(energy=objective == "energy")
    for site in placements(graph, 3):
        cost = problem.chain.of(Placement(graph, site))
        value = cost.latency_s if objective == "latency" else cost.device.energy_j
        assert paid(graph, prices, site) == pytest.approx(value * 1e12, abs=50)
        assert cost.device.latency_s == pytest.approx(cost.latency_s)
    found = Sites().solve(problem)
    assert isinstance(found.proof, FlowProof)
    assert found.cost.value(objective) == pytest.approx(found.proof.value / 1e12)


def test_a_layer_that_is_pinned_to_the_edge_is_there() -> None:
    problem = Problem(parse_graph(LADDER), three(edge="e"))
    found = Sites().solve(problem)
    assert found.where.site[problem.graph.index["e"]] == 1
    assert problem.topology.why_not(found.where) is None


def test_what_cannot_be_laid_out_is_refused() -> None:
    graph = parse_graph(LADDER)
    with pytest.raises(UsageError, match="the cutter 'sites' cannot solve this"):
        Sites().solve(Problem(graph, three(), "throughput"))
    pair = Topology.pair(three().sites[0].cost, three().sites[2].cost, Link.named("lte"))
    with pytest.raises(UsageError, match="the cutter 'sites' cannot solve this") as caught:
        Sites().solve(Problem(graph, pair))
    assert "three machines or more" in caught.value.why
    star = Topology(three().sites, {("device", "cloud"): Link.named("lte")})
    with pytest.raises(UsageError, match="the sites are no chain"):
        Sites().solve(Problem(graph, star))
    unknown = parse_graph(LADDER.replace("1x16x8x8", "?"))
    pins = Problem(unknown, three(edge="e", device="d"))
    with pytest.raises(NoLegalCutError, match="cannot be laid over these sites"):
        Sites().solve(pins)
