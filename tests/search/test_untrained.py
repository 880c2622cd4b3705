# SPDX-License-Identifier: Apache-2.0
"""What codecs that need no training bring: the order of prices, against pricing every cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from splitc.cli.codec_lines import BroughtObject, brought_line
from splitc.cost.prices import OBJECTIVES
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.passes.at_cut import codec_of
from splitc.search.enumerate import single_cuts
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.table import CutTable
from splitc.search.untrained import WIDTHS, cheapest_first
from tests.strategies import graphs

NETWORK = """
%x = input() : 1x3x64x64
%a = conv(%x) {params=7000, flops=2000000} : 1x16x32x32
%b = relu(%a) {flops=16384} : 1x16x32x32
%c = conv(%b) {params=90000, flops=900000000} : 1x64x16x16
%d = globalaveragepool(%c) : 1x64x1x1
%e = flatten(%d) : 1x64
%y = gemm(%e) {params=64000, flops=128000} : 1x1000
"""


def table_of(graph: LayerGraph, **more: object) -> CutTable:
    link = Link("5Mbit", rtt="5ms")
    return find_cuts(graph, head="rpi3", tail="x86-64-v3", link=link, **more)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_order_is_that_of_pricing_every_cut_with_every_codec(
    graph: LayerGraph, objective: str
) -> None:
    table = table_of(graph, objective=objective, constraints=Constraints(max_head_s=0.01))
    cuts = [*single_cuts(graph)]
    found = [*cheapest_first(table.problem, cuts, most=10**9)]
    values = [table.value(one.row) for one in found]
    assert values == sorted(values)
    priced: dict[tuple[int, str], float] = {}
    for bits in WIDTHS:
        coded = replace(table.problem, codec=codec_of(f"quantize-boundary(bits={bits})"))
        rows = [coded.row(cut) for cut in cuts]
        priced |= {(bits, r.cut.name): table.value(r) for r in rows if r.rejected is None}
    assert {(one.bits, one.row.cut.name): table.value(one.row) for one in found} == priced


def test_the_graph_is_rewritten_for_few_cuts_and_at_least_one() -> None:
    table = table_of(parse_graph(NETWORK))
    cuts = [*single_cuts(table.problem.graph)]
    (first,) = cheapest_first(table.problem, cuts, most=0)
    every = [*cheapest_first(table.problem, cuts, most=10**9)]
    assert first.row.cost == every[0].row.cost
    assert len(every) == len(WIDTHS) * len(cuts)


def test_a_line_says_what_fewer_bits_bring_and_that_only_data_tell_what_they_cost() -> None:
    table = table_of(parse_graph(NETWORK), server_input="tensor")
    line = str(brought_line(table))
    told = BroughtObject.of(table)
    assert told is not None
    assert told.pays
    assert told.objective < told.against_objective
    figures = f"{told.objective * 1e3:,.1f} ms, against {told.against_objective * 1e3:,.1f} ms"
    assert f"the cut after {told.cut} at 4 bits: {figures} of {told.against}." in line
    assert "--codec auto --calibrate" in line


def test_it_says_where_they_bring_nothing() -> None:
    table = find_cuts(parse_graph(NETWORK), head="rpi3", tail="x86-64-v3", link="ethernet")
    told = BroughtObject.of(table)
    assert told is not None
    assert not told.pays
    assert told.objective >= told.against_objective
    assert "8 or 4 bits a value brings nothing; the cut after" in str(brought_line(table))


def test_nothing_is_said_of_a_table_with_a_codec() -> None:
    table = table_of(parse_graph(NETWORK), codec="quantize-boundary(bits=8)")
    assert brought_line(table) is None
    assert BroughtObject.of(table) is None
