# SPDX-License-Identifier: Apache-2.0
"""What would make a split pay: held against the search itself under what is advised."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.prices import Objective
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.advice import what_would_pay
from splitc.search.find import find_cuts
from splitc.search.table import CutTable
from tests.strategies import graphs

OBJECTIVES = get_args(Objective)
CHAIN = """
%x = input() : 1x3x224x224
%a = conv(%x) {params=7000, flops=4000000000} : 1x8x56x56
%b = conv(%a) {params=90000, flops=3000000000} : 1x4x28x28
%c = gemm(%b) {params=4000000, flops=9000000} : 1x1000
%y = softmax(%c) {flops=5000} : 1x1000
"""


def table_of(graph: LayerGraph, link: Link, objective: Objective = "latency") -> CutTable:
    return find_cuts(
        graph, head="rpi4", tail="x86-64-v3", link=link, objective=objective, server_input="tensor"
    )


def test_a_link_that_is_too_slow_is_told_how_fast_it_has_to_be() -> None:
    graph = parse_graph(CHAIN)
    table = table_of(graph, Link("10kbit", rtt="5ms"))
    assert not table.split_pays
    needed = what_would_pay(table).bandwidth_bps
    assert needed is not None
    assert needed > 10e3
    assert table_of(graph, Link(needed, rtt="5ms")).split_pays
    assert not table_of(graph, Link(needed / 1.6, rtt="5ms")).split_pays


def test_a_round_trip_that_takes_more_than_the_device_is_helped_by_no_bandwidth() -> None:
    found = what_would_pay(table_of(parse_graph(CHAIN), Link("10kbit", rtt="60s")))
    assert found.bandwidth_bps is None
    assert found.times_fewer is None


def test_where_jpeg_is_across_before_the_head_is_done_a_slower_link_is_named() -> None:
    graph = parse_graph("""
        %x = input() : 1x3x224x224
        %a = conv(%x) {params=7000, flops=1500000000} : 1x4x7x7
        %y = gemm(%a) {params=40000000, flops=9000000000} : 1x1000
    """)
    table = find_cuts(graph, head="rpi4", tail="x86-64-v3", link=Link("100Mbit", rtt="5ms"))
    assert table.baseline.title == "all on the server, sent as JPEG"
    found = what_would_pay(table)
    assert found.bandwidth_bps is not None
    assert found.bandwidth_bps < 100e6
    for bits, pays in ((found.bandwidth_bps, True), (found.bandwidth_bps * 1.6, False)):
        link = Link(bits, rtt="5ms")
        assert find_cuts(graph, head="rpi4", tail="x86-64-v3", link=link).split_pays == pays


@settings(deadline=None, max_examples=60)
@given(
    graphs(), st.sampled_from(OBJECTIVES), st.floats(1e3, 1e9), st.floats(0, 0.2)
)  # fmt: skip
def test_what_is_advised_does_pay(
    graph: LayerGraph, objective: Objective, bits: float, rtt: float
) -> None:
    table = table_of(graph, Link(bits, rtt=rtt), objective)
    if not table.usable:
        return
    found = what_would_pay(table)
    if found.bandwidth_bps is not None:
        assert found.bandwidth_bps != bits
        faster = table_of(graph, Link(found.bandwidth_bps, rtt=rtt), objective)
        # The search is exact, what is advised looks at the table's cuts only.
        assert faster.value(faster.best) <= faster.value(faster.baseline) * (1 + 1e-9)
    for other in found.objectives:
        assert table_of(graph, Link(bits, rtt=rtt), other).split_pays


def test_the_same_bytes_do_not_count_as_fewer() -> None:
    table = table_of(parse_graph(CHAIN), Link("10kbit", rtt="5ms"))
    fewer = what_would_pay(table).times_fewer
    assert fewer is None or fewer >= 2
    with_codec = find_cuts(
        parse_graph(CHAIN), head="rpi4", tail="x86-64-v3", link=Link("10kbit", rtt="5ms"),
        codec="quantize-boundary",
    )  # fmt: skip
    assert what_would_pay(with_codec).times_fewer is None
