# SPDX-License-Identifier: Apache-2.0
"""Placements: a cut is the one on two sites, nested cuts the ones on a chain."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from splitc.errors import IllegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.segment import segments
from splitc.ir.text import parse_graph
from tests.strategies import graphs, nested_cuts

DIAMOND = """
%x = input() : 1x4
%a = conv(%x) : 1x8
%l = relu(%a) : 1x8
%r = conv(%a) : 1x2
%y = add(%l, %r) : 1x8
"""
CHAIN = ((0, 1), (1, 2), (0, 2))


@given(graphs(), st.data())
def test_a_cut_is_the_placement_on_two_sites(graph: LayerGraph, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([la.name for la in graph.layers]), max_size=3))
    cut = Cut.after(graph, names)
    where = Placement.of_cuts([cut])
    assert where.cut == cut
    assert where.crossing(0, 1) == cut.boundary
    assert where.crossing(1, 0) == ()
    assume(cut.is_proper)
    assert where.why_not([(0, 1)]) == cut.why_not()


@given(graphs(), st.data())
def test_nested_cuts_place_each_segment_on_its_site(graph: LayerGraph, data: st.DataObject) -> None:
    cuts = data.draw(nested_cuts(graph))
    assume(cuts)
    where = Placement.of_cuts(cuts)
    for number, one in enumerate(segments(graph, cuts)):
        assert {where.site[graph.index[name]] for name in one.layers} <= {number}
    links = [(a, b) for a in range(len(cuts) + 1) for b in range(a + 1, len(cuts) + 1)]
    assert where.why_not(links) is None


@pytest.mark.parametrize(
    ("site", "links", "why"),
    [
        ((0, 1, 0, 1, 1), CHAIN, "'l' reads 'a', and no link leads there from its site"),
        ((0, 1, 1, 2, 2), CHAIN[:1], "'r' reads 'a', and no link leads there"),
        ((1, 1, 1, 1, 1), CHAIN, "input 'x' does not come in at the first site"),
    ],
)
def test_a_placement_that_no_link_serves_says_why(
    site: tuple[int, ...], links: tuple[tuple[int, int], ...], why: str
) -> None:
    assert why in (Placement(parse_graph(DIAMOND), site).why_not(links) or "")


def test_a_tensor_without_a_fixed_size_crosses_no_link() -> None:
    graph = parse_graph("%a = input() : 1\n%b = unique(%a) : ?\n%c = op(%b) : 1")
    assert "depends on data" in (Placement(graph, (0, 0, 1)).why_not([(0, 1)]) or "")
    assert Placement(graph, (0, 0, 0)).why_not([(0, 1)]) is None


def test_cuts_that_are_not_nested_and_sites_that_are_no_cut_are_refused() -> None:
    graph = parse_graph(DIAMOND)
    left, right = Cut.after(graph, ["l"]), Cut.after(graph, ["r"])
    with pytest.raises(IllegalCutError, match="lies in the tail of the one before"):
        Placement.of_cuts([left, right])
    with pytest.raises(IllegalCutError, match="more than two sites is no cut"):
        _ = Placement(graph, (0, 0, 1, 1, 2)).cut
    with pytest.raises(IllegalCutError, match="a site for every layer"):
        Placement(graph, (0, 1))
    with pytest.raises(IllegalCutError, match="needs no cut"):
        Placement.of_cuts([])
