# SPDX-License-Identifier: Apache-2.0
"""Which cut wins over which bandwidth: against trying them all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import splitc
from splitc.reporting.bandwidth import LEAST_BPS, MOST_BPS, Line, reigns
from splitc.reporting.front import pareto_front, thinned
from tests.reporting.facts import chain, table_of

LINES = st.lists(
    st.builds(Line, st.floats(0, 1e4), st.floats(0, 1e9)), min_size=1, max_size=8
)  # fmt: skip


@given(LINES)
def test_the_one_that_reigns_is_the_lowest_of_all(lines: list[Line]) -> None:
    found = reigns(lines)
    assert found[0].from_bps == LEAST_BPS
    assert found[-1].to_bps == MOST_BPS
    assert all(a.to_bps == b.from_bps for a, b in pairwise(found))
    for one in found:
        middle = (one.from_bps * one.to_bps) ** 0.5
        for bps in (one.from_bps, middle, one.to_bps):
            least = min(line.at(bps) for line in lines)
            assert lines[one.line].at(bps) == pytest.approx(least, rel=1e-6, abs=1e-6)


def test_a_cut_over_another_bandwidth_takes_what_the_cut_search_says() -> None:
    table = table_of(chain(12))
    slower = splitc.Link("2Mbit", rtt="5ms")
    other = splitc.find_cuts(table.problem.graph, head="rpi4", tail="x86-64-v3", link=slower)
    bps = table.costs.link.bandwidth_bps
    for row in table.rows:
        cost = row.cost
        head_ms, link_ms, busy_ms, tail_ms = (
            1e3 * s for s in (cost.head_s, cost.link_s, cost.busy_s, cost.tail_s)
        )
        line = Line.of(head_ms, link_ms, busy_ms, tail_ms, bps)
        wanted = other.row(row.cut).cost.latency_s * 1e3
        assert line.at(slower.bandwidth_bps) == pytest.approx(wanted, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_no_point_beats_one_of_the_front_and_one_of_it_beats_any_other(
    points: list[tuple[float, float]],
) -> None:
    front = [points[k] for k in pareto_front(points)]
    assert len(set(front)) == len(front)
    for a, b in points:
        beaten = any(c <= a and d <= b and (c, d) != (a, b) for c, d in points)
        assert ((a, b) in front) != beaten


@given(st.lists(st.integers(), max_size=30), st.integers(0, 10))
def test_what_is_thinned_keeps_both_ends(numbers: list[int], most: int) -> None:
    found = thinned(numbers, most)
    assert len(found) == min(most, len(numbers))
    if len(found) > 1:
        assert (found[0], found[-1]) == (numbers[0], numbers[-1])
