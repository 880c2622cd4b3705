# SPDX-License-Identifier: Apache-2.0
"""The cut search: prices, baselines, constraints, objectives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost, Costs, Objective, price
from splitc.errors import NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import GraphModel
from splitc.ir.proof import Enumerated
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.enumerate import all_cuts
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.table import CutTable
from tests.passes.cutters.test_min_cut import downsets
from tests.strategies import graphs

CHAIN = """
%x = input() : 1x3x224x224
%a = conv(%x) {params=7000, flops=4000000000} : 1x8x56x56
%b = conv(%a) {params=90000, flops=3000000000} : 1x4x7x7
%c = gemm(%b) {params=4000000, flops=9000000} : 1x1000
%y = softmax(%c) {flops=5000} : 1x1000
"""
LINK = Link("20Mbit", rtt="5ms")


def costs_of(graph: LayerGraph, link: Link = LINK) -> Costs:
    return Costs(graph, BoardCost(load_board("rpi4")), BoardCost(load_board("x86-64-v3")), link)


@settings(deadline=None)
@given(graphs())
def test_the_price_list_of_a_cut_is_the_sum_of_its_parts(graph: LayerGraph) -> None:
    costs = costs_of(graph)
    prices = costs.prices()
    for head in downsets(graph):
        cut = Cut.of(graph, head)
        listed = costs.of(cut)
        assert listed.head_s == pytest.approx(sum(costs.device_s[i] for i in cut.head))
        assert listed.tail_s == pytest.approx(sum(costs.server_s[i] for i in cut.tail), abs=1e-12)
        total = price(prices, cut)
        assert total is not None
        assert listed.latency_s == pytest.approx(total / 1e12, rel=1e-6, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_the_best_row_is_the_best_of_all_downsets(graph: LayerGraph) -> None:
    cuts = [Cut.of(graph, head) for head in downsets(graph)]
    costs = costs_of(graph)
    proper = [costs.of(cut).latency_s for cut in cuts if cut.is_proper]
    table = find_cuts(graph, head="rpi4", tail="x86-64-v3", link=LINK)
    if not proper:
        with pytest.raises(NoLegalCutError, match="cannot be cut"):
            _ = table.best
        return
    assert table.value(table.best) == pytest.approx(min(proper))


def test_the_objective_decides() -> None:
    model = GraphModel(parse_graph(CHAIN))
    slow = Link("1Mbit", rtt="50ms")

    def table(objective: Objective) -> CutTable:
        return find_cuts(model, head="rpi4", tail="x86-64-v4", link=slow, objective=objective)

    latency, energy = table("latency").best, table("energy").best
    throughput = table("throughput")
    assert latency.cost.latency_s <= energy.cost.latency_s
    assert energy.cost.energy_j <= latency.cost.energy_j
    assert isinstance(throughput.solution and throughput.solution.proof, Enumerated)
    best = min(row.cost.period_s for row in throughput.rows)
    assert throughput.best.cost.period_s == best


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(0, 5))
def test_under_constraints_the_best_row_is_the_best_downset_that_keeps_them(
    graph: LayerGraph, depth: int
) -> None:
    limits = Constraints(min_depth=depth, max_head_bytes=600)
    costs = costs_of(graph)
    kept = [
        costs.of(cut).latency_s
        for cut in (Cut.of(graph, head) for head in downsets(graph))
        if cut.is_proper and limits.why_not(cut, costs.of(cut)) is None
    ]
    table = find_cuts(graph, head="rpi4", tail="x86-64-v3", link=LINK, constraints=limits)
    assert table.exhaustive
    if kept:
        assert table.value(table.best) == pytest.approx(min(kept))
    else:
        assert table.usable == ()


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_for_throughput_the_best_row_has_the_shortest_period_of_all_downsets(
    graph: LayerGraph,
) -> None:
    costs = costs_of(graph)
    cuts = (Cut.of(graph, head) for head in downsets(graph))
    periods = [costs.of(cut).period_s for cut in cuts if cut.is_proper]
    table = find_cuts(graph, head="rpi4", tail="x86-64-v3", link=LINK, objective="throughput")
    assert [row.cost.period_s for row in table.rows[:1]] == pytest.approx(sorted(periods)[:1])


@given(graphs(max_layers=8))
def test_all_cuts_are_all_proper_downsets(graph: LayerGraph) -> None:
    expected = {Cut.of(graph, head) for head in downsets(graph)}
    found = all_cuts(graph, 10**6)
    assert found is not None
    assert set(found) == {cut for cut in expected if cut.is_proper}
    assert all_cuts(graph, 0) is None or not found


def test_a_round_trip_delays_results_but_holds_up_no_pipeline() -> None:
    graph = parse_graph(CHAIN)
    near, far = (costs_of(graph, Link("940Mbit", rtt=rtt)) for rtt in ("1ms", "500ms"))
    cut = Cut.after(graph, ["b"])
    assert far.of(cut).latency_s == pytest.approx(near.of(cut).latency_s + 0.499)
    assert far.of(cut).period_s == near.of(cut).period_s


def test_baselines_are_priced_like_cuts() -> None:
    table = find_cuts(parse_graph(CHAIN), head="rpi4", tail="x86-64-v3", link=LINK)
    assert table.device.cost.link_s == 0
    assert table.device.cost.tail_s == 0
    back = LINK.transfer_s(4000)
    sent = LINK.transfer_s(3 * 224 * 224 * 4)
    assert table.server.cost.link_s == pytest.approx(sent + 0.005 + back)
    assert table.server.cost.head_s == 0


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Constraints(max_head_bytes=100_000), "head needs"),
        (Constraints(max_head_s=0.001), "head takes"),
        (Constraints(min_depth=99), "at least 99"),
    ],
)
def test_a_constraint_nobody_keeps_is_said(limits: Constraints, why: str) -> None:
    table = find_cuts(
        parse_graph(CHAIN), head="rpi4", tail="x86-64-v3", link=LINK, constraints=limits
    )
    with pytest.raises(NoLegalCutError, match="no cut keeps") as caught:
        _ = table.best
    assert why in caught.value.why


def test_constraints_reject_rows_with_a_reason_and_keep_the_others() -> None:
    limits = Constraints(max_head_bytes=2_000_000)
    table = find_cuts(
        parse_graph(CHAIN), head="rpi4", tail="x86-64-v3", link=LINK, constraints=limits
    )
    assert {row.cut.name for row in table.usable} == {"a", "b"}
    rejected = [row for row in table.rows if row.rejected]
    assert {row.cut.name for row in rejected} == {"c"}
    assert "limit 2,000,000" in (rejected[0].rejected or "")


def test_head_memory_is_weights_and_live_activations() -> None:
    graph = parse_graph(CHAIN)
    cost = costs_of(graph).of(Cut.after(graph, ["a"]))
    assert cost.head_param_bytes == 7000
    assert cost.head_peak_bytes == 7000 + 4 * (3 * 224 * 224 + 8 * 56 * 56)


def test_figures_say_that_they_are_predicted() -> None:
    label = costs_of(parse_graph(CHAIN)).label
    assert label == (
        "predicted from splitc's kernels on rpi4, calibrated by ncnn's times (head)"
        " and predicted from splitc's kernels on x86-64-v3 (tail)"
    )


def test_a_faster_device_makes_the_head_cheaper_in_proportion() -> None:
    graph = parse_graph(CHAIN)
    board = load_board("rpi4")
    import msgspec

    doubled = msgspec.structs.replace(board, clock_hz=board.clock_hz * 2)
    slow, fast = (
        replace(costs_of(graph), device=BoardCost(each, by="shares")) for each in (board, doubled)
    )
    overhead = board.layer_overhead_s
    assert fast.device_s[1] - overhead == pytest.approx((slow.device_s[1] - overhead) / 2)
