# SPDX-License-Identifier: Apache-2.0
"""Results wanted at the device or at the server: prices and best cuts against a sum by hand."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost, Costs, Objective, ResultsAt, price
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.find import find_cuts
from splitc_passes.cutters.min_cut import cheapest_cut
from tests.passes.cutters.test_min_cut import downsets
from tests.strategies import graphs

SIDES = get_args(ResultsAt)
LINK = Link("5.85Mbit", rtt="50ms")
DETECTOR = """
%x = input() : 1x3x320x320
%a = conv(%x) {params=900, flops=60000000} : 1x16x80x80
%b = conv(%a) {params=20000, flops=120000000} : 1x32x40x40
%c = conv(%b) {params=90000, flops=120000000} : 1x12x20x20
%boxes = conv(%c) {params=900000, flops=900000000} : 1x22050x4
%y = sigmoid(%boxes) {flops=88200} : 1x22050x4
"""
"""19.2 kB cross after c, 352.8 kB of boxes come back."""


def costs_of(graph: LayerGraph, results: ResultsAt, link: Link = LINK) -> Costs:
    device, server = (BoardCost(load_board(name)) for name in ("rpi4", "x86-64-v3"))
    return Costs(graph, device, server, link, results)


def link_s(costs: Costs, cut: Cut) -> tuple[float, float]:
    """Seconds from device to server, and back, each tensor once, without round trips."""
    graph = costs.graph
    made = {name: cut.holds(graph.producer[name]) for name in graph.tensors}
    there = {n for n, here in made.items() if here and any(
        not cut.holds(reader) for reader in graph.readers[n])}  # fmt: skip
    back: set[str] = set()
    if costs.results == "server":
        there |= {name for name in graph.outputs if made[name]}
    else:
        back = {name for name in graph.outputs if not made[name]}
    way = [sum(costs.link.transfer_s(graph.tensors[n].nbytes or 0) for n in ns)
           for ns in (there, back)]  # fmt: skip
    return way[0], way[1]


def by_hand(costs: Costs, cut: Cut, objective: Objective) -> float:
    head_s = sum(costs.device_s[i] for i in cut.head)
    tail_s = sum(costs.server_s[i] for i in cut.tail)
    there_s, back_s = link_s(costs, cut)
    if objective == "throughput":
        return max(head_s, there_s + back_s, tail_s)
    if objective == "energy":
        board = costs.device.board
        return board.compute_power_w * head_s + board.transmit_power_w * there_s
    trips = 0.5 if costs.results == "server" else 0.0 if cut.holds_all else 1.0
    return head_s + there_s + back_s + tail_s + trips * costs.link.rtt_s


@settings(deadline=None, max_examples=80)
@given(graphs(), st.sampled_from(SIDES), st.sampled_from(get_args(Objective)))
def test_every_downset_is_priced_as_by_hand_and_the_best_one_found(
    graph: LayerGraph, results: ResultsAt, objective: Objective
) -> None:
    costs = costs_of(graph, results)
    cuts = [Cut.of(graph, head) for head in downsets(graph)]
    for cut in cuts:
        expected = by_hand(costs, cut, objective)
        assert costs.of(cut).value(objective) == pytest.approx(expected, abs=1e-12)
        if objective != "throughput":
            total = price(costs.prices(energy=objective == "energy"), cut)
            assert total is not None
            assert total / 1e12 == pytest.approx(expected, rel=1e-6, abs=1e-9)
    cuts_here = [cut for cut in cuts if results == "device" or not cut.results]
    proper = [by_hand(costs, cut, objective) for cut in cuts_here if cut.is_proper]
    table = find_cuts(
        graph, head="rpi4", tail="x86-64-v3", link=LINK, objective=objective, results=results
    )
    for whole, cut in ((table.device, cuts[-1]), (table.server, cuts[0])):
        assert table.value(whole) == pytest.approx(by_hand(costs, cut, objective))
    if not proper:
        assert not table.usable
    else:
        assert table.value(table.best) == pytest.approx(min(proper), rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.sampled_from(SIDES))
def test_a_minimum_cut_that_need_be_no_split_is_the_least_of_all(
    graph: LayerGraph, results: ResultsAt
) -> None:
    costs = costs_of(graph, results)
    cut, proof = cheapest_cut(graph, costs.prices(), proper=False)
    least = min(by_hand(costs, Cut.of(graph, head), "latency") for head in downsets(graph))
    assert by_hand(costs, cut, "latency") == pytest.approx(least, rel=1e-6)
    assert proof.value / 1e12 == pytest.approx(least, rel=1e-6, abs=1e-9)


def test_boxes_that_nobody_wants_back_are_not_paid_for() -> None:
    graph = parse_graph(DETECTOR)
    back, there = (
        find_cuts(
            graph, head="rpi4", tail="x86-64-v3", link=LINK, results=side, server_input="uint8"
        )
        for side in SIDES
    )  # fmt: skip
    cut = Cut.named(graph, "c")
    paid, free = back.row(cut).cost, there.row(cut).cost
    assert (paid.result_bytes, free.result_bytes) == (352_800, 0)
    assert paid.boundary_bytes == free.boundary_bytes == 19_200
    boxes_s = LINK.transfer_s(352_800)
    assert boxes_s > 0.45
    assert paid.link_s - free.link_s == pytest.approx(boxes_s + LINK.rtt_s / 2)
    # Wanted at the device, the boxes are made there; wanted at the server, they are made there.
    assert back.baseline.kind == "device"
    assert there.device.cost.result_bytes == 352_800
    assert there.best.cut == cut
    assert there.split_pays


def test_a_result_that_the_tail_reads_too_crosses_once() -> None:
    graph = parse_graph("""
        %x = input() : 1x8
        %a = op(%x) : 1x4000
        %b = op(%a) : 1x8
        return %a, %b
    """)
    costs = costs_of(graph, "server")
    cost = costs.of(Cut.named(graph, "a"))
    assert cost.link_s == pytest.approx(LINK.transfer_s(16_000) + LINK.rtt_s / 2)
    assert cost.result_bytes == 0


EARLY = """
%x = input() : 1x3x320x320
%a = conv(%x) {params=900, flops=60000000} : 1x16x80x80
%early = conv(%a) {params=20000, flops=120000000} : 1x8
%b = conv(%a) {params=90000, flops=120000000} : 1x12x20x20
%y = conv(%b) {params=900000, flops=90000000000} : 1x8
return %early, %y
"""
"""Without a say in it, the cheapest head makes `early`."""


@pytest.mark.parametrize("cutter", [None, "min-cut", "enumerate", "qdmp", "neurosurgeon"])
def test_a_head_that_makes_a_result_is_rejected_by_name_where_the_server_wants_it(
    cutter: str | None,
) -> None:
    graph = parse_graph(EARLY)
    back, there = (
        find_cuts(graph, head="rpi4", tail="x86-64-v3", link=LINK, results=side, cutter=cutter)
        for side in SIDES
    )
    assert cutter in ("qdmp", "neurosurgeon") or back.auto.cut.results == ("early",)
    assert there.auto.cut.results == ()
    whole = there.problem.all_on_device()
    for row in (
        there.row(Cut.named(graph, "early")),
        there.row(Cut.named(graph, "early,b")),
        whole,
    ):
        assert row.rejected == "results are wanted at the server, and the device makes 'early'"
    assert there.best_of_all.kind != "device"


def test_what_no_head_may_make_and_is_asked_of_it_is_refused() -> None:
    graph = parse_graph(EARLY)
    with pytest.raises(UsageError, match="what is pinned to the device takes 'early'") as caught:
        find_cuts(graph, link=LINK, results="server", pins={"early": "head"})
    assert "it makes a result" in caught.value.why
    kept = parse_graph("""
        %x = input() : 1x8
        %a = op(%x) : 1x8
        %b = op(%a) : 1x8
        return %x, %b
    """)
    table = find_cuts(kept, link=LINK, results="server")
    with pytest.raises(NoLegalCutError, match="no cut keeps every limit") as none:
        _ = table.auto
    assert none.value.why.endswith("the device makes 'x'")
    assert none.value.hint == "leave --results server out"


def test_a_misspelt_place_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no place for results 'cloud'"):
        find_cuts(parse_graph(DETECTOR), results="cloud")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="there is no way to send inputs 'png'"):
        find_cuts(parse_graph(DETECTOR), server_input="png")  # pyright: ignore[reportArgumentType]
