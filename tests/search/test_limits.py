# SPDX-License-Identifier: Apache-2.0
"""Limits and pins: kept by what is found, proved best of what keeps them, named where none is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.prices import price
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.layer_names import layers_called
from splitc.ir.text import parse_graph
from splitc.search.enumerate import Enumerate
from splitc.search.explain import Explanation
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.pareto import FIGURES, Figure, dominator, front
from splitc.search.pareto_plot import plot_front
from splitc.search.scenario import HEAD, TAIL, Scenario, Side
from splitc_passes.cutters.min_cut import MinCut
from tests.passes.cutters.test_min_cut import downsets
from tests.search.test_cutters import CHAIN, SCENARIO
from tests.strategies import graphs


@st.composite
def pinned_graphs(draw: st.DrawFn) -> tuple[LayerGraph, dict[str, Side]]:
    graph = draw(graphs())
    names = [layer.name for layer in graph.layers[graph.input_count :]]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    sides: tuple[Side, Side] = (HEAD, TAIL)
    return graph, {name: draw(st.sampled_from(sides)) for name in chosen}


@settings(deadline=None, max_examples=150)
@given(pinned_graphs())
def test_a_flow_with_pins_is_as_cheap_as_the_best_of_all_downsets_that_keep_them(
    given: tuple[LayerGraph, dict[str, Side]],
) -> None:
    graph, pins = given
    scenario = replace(SCENARIO, pins=tuple(pins.items()))
    heads = [Cut.of(graph, positions) for positions in downsets(graph)]
    keeping = [
        cut
        for cut in heads
        if cut.is_proper
        and all(cut.holds(graph.index[name]) == (side == HEAD) for name, side in pins.items())
    ]
    try:
        problem = scenario.problem(graph)
    except UsageError:
        assert not [cut for cut in heads if all(
            cut.holds(graph.index[n]) == (s == HEAD) for n, s in pins.items())]  # fmt: skip
        return
    prices = problem.prices()
    paid = [value for cut in keeping if (value := price(prices, cut)) is not None]
    if not paid:
        with pytest.raises(NoLegalCutError):
            MinCut().solve(problem)
        return
    found = MinCut().solve(problem)
    assert price(prices, found.where.cut) == min(paid)
    assert found.proof.value == min(paid)
    assert problem.topology.why_not(found.where) is None


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(1, 4000), st.integers(1, 2000))
def test_a_limit_never_makes_it_cheaper_and_is_kept(
    graph: LayerGraph, memory: int, crossing: int
) -> None:
    limits = Constraints(max_head_bytes=memory, max_boundary_bytes=crossing)
    free, limited = (
        find_cuts(graph, scenario=replace(SCENARIO, limits=one)) for one in (Constraints(), limits)
    )
    for row in limited.usable:
        assert row.cost.head_peak_bytes <= memory
        assert row.cost.boundary_bytes <= crossing
    if limited.usable:
        assert limited.value(limited.best) >= free.value(free.best)


def test_what_crosses_is_limited() -> None:
    sizes = {"a": 4 * 8 * 56 * 56, "b": 4 * 4 * 7 * 7, "c": 4000}
    for most, kept in ((100_000, {"b", "c"}), (1000, {"b"}), (150_000, {"a", "b", "c"})):
        limits = Constraints(max_boundary_bytes=most)
        table = find_cuts(parse_graph(CHAIN), scenario=replace(SCENARIO, limits=limits))
        assert {row.cut.name for row in table.usable} == kept
        assert all(row.cost.boundary_bytes == sizes[row.cut.name] for row in table.rows)


def test_where_nothing_keeps_the_limits_the_nearest_cut_says_how_far_it_is_off() -> None:
    limits = Constraints(max_boundary_bytes=500)
    table = find_cuts(parse_graph(CHAIN), scenario=replace(SCENARIO, limits=limits))
    with pytest.raises(NoLegalCutError, match="no cut keeps every limit") as caught:
        _ = table.best
    error = caught.value
    assert error.at == "after b, which comes nearest"
    assert error.why == "there cross 784 bytes, limit 500 (57% over)"
    assert error.hint == "it can be used with --max-boundary-bytes 784"
    eased = replace(SCENARIO, limits=Constraints(max_boundary_bytes=784))
    assert find_cuts(parse_graph(CHAIN), scenario=eased).best.cut.name == "b"


def test_of_several_limits_each_that_is_missed_is_named() -> None:
    limits = Constraints(max_boundary_bytes=500, max_head_bytes=100_000, min_depth=2)
    table = find_cuts(parse_graph(CHAIN), scenario=replace(SCENARIO, limits=limits))
    with pytest.raises(NoLegalCutError) as caught:
        _ = table.best
    assert "--max-head-memory" in caught.value.hint
    assert "--max-boundary-bytes 784" in caught.value.hint
    assert "--min-depth" not in caught.value.hint


def test_pins_that_contradict_each_other_or_name_nothing_are_refused() -> None:
    graph = parse_graph(CHAIN)
    given: tuple[tuple[dict[str, Side], str], ...] = (
        ({"a": TAIL, "b": HEAD}, "'a' cannot be pinned to the tail"),
        ({"x": TAIL}, "inputs come in at the device"),
        ({"aa": HEAD}, "there is no layer 'aa'"),
    )
    for pins, says in given:
        with pytest.raises(UsageError, match=".") as caught:
            find_cuts(graph, pins=pins)
        assert says in str(caught.value)


def test_a_modules_name_pins_all_its_layers() -> None:
    names = ["x", "m.0.conv", "m.0.relu", "m.1.conv", "n.m.conv", "y"]
    assert layers_called("m", names) == ("m.0.conv", "m.0.relu", "m.1.conv")
    assert layers_called("m.0", names) == ("m.0.conv", "m.0.relu")
    assert layers_called("m.1.conv", names) == ("m.1.conv",)
    assert layers_called("n.m", names) == ("n.m.conv",)
    assert layers_called("0.relu", names) == ("m.0.relu",)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.lists(st.sampled_from(FIGURES), min_size=2, unique=True))
def test_the_front_is_what_no_other_row_is_better_than_in_everything(
    graph: LayerGraph, weighed: list[Figure]
) -> None:
    rows = find_cuts(graph, scenario=SCENARIO).usable
    figures = [[figure.weighed(row) for figure in weighed] for row in rows]

    def beaten(own: list[float]) -> bool:
        return any(
            other != own and all(a <= b for a, b in zip(other, own, strict=True))
            for other in figures
        )

    expected = tuple(row for row, own in zip(rows, figures, strict=True) if not beaten(own))
    assert front(rows, weighed) == expected
    for row, own in zip(rows, figures, strict=True):
        by = dominator(row, rows, weighed)
        assert (by is not None) == beaten(own)


def test_a_picture_has_every_cut_in_every_panel(tmp_path: Path) -> None:
    table = find_cuts(parse_graph(CHAIN), scenario=SCENARIO)
    plot_front(tmp_path / "front.svg", table, "a chain")
    groups = [*ElementTree.parse(tmp_path / "front.svg").iter("{http://www.w3.org/2000/svg}g")]
    panels = [one for one in groups if one.get("id", "").startswith("axes_")]
    slowest = max(row.cost.latency_s for row in table.usable)
    wholes = [row for row in (table.device, table.server) if row.cost.latency_s <= 1.1 * slowest]
    dots = len(table.usable) + len(wholes) + 1  # the chosen one is marked
    for panel in panels:
        within = [one for one in panel if one.get("id", "").startswith("PathCollection")]
        drawn = [len([*one.iter("{http://www.w3.org/2000/svg}use")]) for one in within]
        assert sum(max(count, 1) for count in drawn) == dots  # a single one is no `use`
    assert len(panels) == 4
    with pytest.raises(UsageError, match="is no picture"):
        plot_front(tmp_path / "front.gif", table, "a chain")


def test_a_cut_is_explained_by_what_it_has_more_than_the_one_that_is_taken() -> None:
    table = find_cuts(parse_graph(CHAIN), scenario=SCENARIO)
    best = table.best
    for row in table.rows:
        one = Explanation.of(table, row.cut)
        if row.cut == best.cut:
            assert one.is_chosen
            assert one.rank == 1
            assert one.behind is None
            continue
        assert one.behind is not None
        total, *parts = one.behind
        assert total == pytest.approx(row.cost.latency_s - best.cost.latency_s)
        assert sum(parts) == pytest.approx(total)
        assert one.rank == 1 + sum(table.value(r) < table.value(row) for r in table.rows)


def test_pins_are_in_the_scenarios_keywords() -> None:
    free = find_cuts(parse_graph(CHAIN), head="rpi4", tail="x86-64-v3")
    assert free.best.cut.name != "c"
    assert find_cuts(parse_graph(CHAIN), pins={"c": HEAD}).best.cut.name == "c"
    assert Scenario.of(pins={"c": HEAD}).pins == (("c", HEAD),)
    assert (
        Enumerate().solve(Scenario.of(pins={"c": HEAD}).problem(parse_graph(CHAIN))).where.cut.name
        == "c"
    )
