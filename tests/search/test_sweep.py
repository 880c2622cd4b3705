# SPDX-License-Identifier: Apache-2.0
"""Sweeps over conditions, held against the cut search run for each condition by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.board import load_board
from splitc.cost.prices import BoardCost, CostModel, ResultsAt
from splitc.cost.stress import LayerTerms, Stress
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search import sweep as sweep_module
from splitc.search.condition_plan import plan_for_conditions
from splitc.search.find import find_cuts
from splitc.search.grid import PAPER, Grid, Point
from splitc.search.limits import Constraints
from splitc.search.route_set import choose_routes, nested_in
from splitc.search.scenario import Scenario
from splitc.search.sweep import Search, Sweep, sweep
from splitc.search.transitions import transition, transitions
from tests.strategies import graphs

GRID = Grid((0.0, 0.5, 0.9), (0.0, 0.8), (50e6, 10e6))
CHAIN = parse_graph(
    """
    %x = input() : 1x3x64x64
    %a = conv(%x) {flops=20000000, params=4000} : 1x16x64x64
    %b = conv(%a) {flops=60000000, params=40000} : 1x32x16x16
    %c = conv(%b) {flops=200000000, params=900000} : 1x16x4x4
    %y = gemm(%c) {flops=2000, params=9000000} : 1x10
    """
)


def scenario(head: str | CostModel = "rpi4", limits: Constraints | None = None) -> Scenario:
    link = Link("20Mbit", rtt="3ms", loss=0.1, mtu=900)
    return Scenario.of(head=head, tail="x86-64-v3", link=link, constraints=limits)


def test_what_binds_a_layer_decides_which_stress_slows_it() -> None:
    arithmetic, memory = LayerTerms(0.0, 3.0, 1.0), LayerTerms(0.0, 1.0, 3.0)
    assert arithmetic.seconds(Stress(0.5, 0.0)) == 6.0
    assert arithmetic.seconds(Stress(0.0, 0.5)) == 3.0
    assert memory.seconds(Stress(0.5, 0.0)) == 3.0
    assert memory.seconds(Stress(0.0, 0.5)) == 6.0
    assert LayerTerms(1.0).seconds(Stress(0.75, 0.9)) == 4.0


@pytest.mark.parametrize("stress", [(1.0, 0.0), (0.0, 1.0), (-0.1, 0.0), (0.0, float("nan"))])
def test_a_stress_that_leaves_nothing_is_refused(stress: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match=r"stress .* is not in \[0, 1\)"):
        Stress(*stress)


def found_alone(graph: LayerGraph, point: Point) -> tuple[float, ...]:
    """Latencies of the cut table made for one condition alone, best first, as an oracle."""
    board = BoardCost(load_board("rpi4"), point.stress)
    link = replace_bandwidth(scenario().link, point.bandwidth_bps)
    table = find_cuts(graph, scenario=replace(scenario(board), link=link))
    return tuple(row.cost.latency_s for row in table.usable)


def replace_bandwidth(link: Link, bps: float) -> Link:
    return Link(bps, rtt=link.rtt_s, loss=link.loss_rate, mtu=link.mtu_bytes)


def test_every_cut_takes_what_the_cut_search_says_under_each_condition() -> None:
    swept = sweep(Search.of(CHAIN, scenario()), GRID.points)
    assert [cut.name for cut in swept.cuts] == ["a", "b", "c"]
    for point, times in zip(swept.points, swept.latency_s, strict=True):
        assert sorted(times) == pytest.approx(found_alone(CHAIN, point), rel=1e-12)
    assert len({*map(int, swept.best)}) > 1


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_the_best_of_each_condition_is_the_minimum_cut_of_all(graph: LayerGraph) -> None:
    points = GRID.points[::5]
    try:
        swept = sweep(Search.of(graph, scenario()), points)
    except NoLegalCutError:
        with pytest.raises(NoLegalCutError):
            _ = find_cuts(graph, scenario=scenario()).best
        return
    for point, times in zip(swept.points, swept.latency_s, strict=True):
        # A flow counts in whole picoseconds.
        assert times.min() == pytest.approx(found_alone(graph, point)[0], rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_a_flow_for_each_condition_finds_what_trying_all_cuts_finds(graph: LayerGraph) -> None:
    points = GRID.points[::7]
    try:
        tried = sweep(Search.of(graph, scenario()), points)
    except NoLegalCutError:
        return
    search = Search.of(graph, scenario())
    object.__setattr__(search, "every", None)  # as if there were too many
    flowed = sweep(search, points)
    assert flowed.latency_s.min(axis=1) == pytest.approx(tried.latency_s.min(axis=1), rel=1e-6)
    assert "minimum cut" in flowed.kind


def test_conditions_priced_some_at_a_time_are_priced_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = Search.of(CHAIN, scenario())
    at_once = search.bests(GRID.points)
    monkeypatch.setattr(sweep_module, "_AT_ONCE", 1)
    assert search.bests(GRID.points) == at_once


def made_up(times: list[list[float]]) -> Sweep:
    """A sweep over cuts of a chain with invented times."""
    swept = sweep(Search.of(CHAIN, scenario()), GRID.points[: len(times)])
    return replace(swept, latency_s=np.array(times), points=GRID.points[: len(times)])


def test_a_transition_compares_the_kept_cut_with_the_best_one() -> None:
    fast, slow = Point(0.0, 0.0, 50e6), Point(0.0, 0.0, 10e6)
    # The headline of arXiv:2008.01814: VGG19, 50 to 10 Mbit/s.
    swept = made_up([[1.0, 2.0, 5.0], [14.307, 3.254, 9.0]])
    one = transition(swept, fast, slow)
    assert (one.kept, one.best) == (0, 1)
    assert one.gain == pytest.approx(0.77256, abs=1e-5)
    assert one.break_even(1e-3) == 1
    assert one.break_even(60.0) == 6  # 60 s over 11.053 s a frame
    assert transition(swept, slow, slow).break_even(1.0) is None
    assert [(t.before, t.after) for t in transitions(swept, "bandwidth")] == [
        (fast, slow), (slow, fast),
    ]  # fmt: skip


def test_each_factor_changes_alone() -> None:
    swept = sweep(Search.of(CHAIN, scenario()), GRID.points)
    bandwidth, cpu, memory = (transitions(swept, f) for f in ("bandwidth", "cpu", "memory"))
    assert (len(bandwidth), len(cpu), len(memory)) == (2, 2 * 6, 2 * 2)
    assert {(t.before.cpu, t.before.memory) for t in bandwidth} == {(0.0, 0.0)}
    for one in cpu:
        assert one.before.bandwidth_bps == one.after.bandwidth_bps
        assert one.before.memory == one.after.memory == 0.0


def brute_force(swept: Sweep, most: int) -> float:
    """The least mean latency of any nested set of cuts."""
    nested = nested_in(swept.cuts)
    sets = (
        chosen
        for count in range(1, most + 1)
        for chosen in combinations(range(len(swept.cuts)), count)
        if all(nested[i, j] for i, j in combinations(chosen, 2))
    )
    return min(float(swept.latency_s[:, list(chosen)].min(axis=1).mean()) for chosen in sets)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_routes_are_the_best_nested_set_there_is(
    graph: LayerGraph, most: int, seed: int
) -> None:
    search = Search.of(graph, scenario())
    cuts = search.every
    assert cuts is not None
    if not cuts:
        return
    rng = np.random.default_rng(seed)
    some = sorted(cuts[:9], key=lambda cut: (cut.prefix + len(cut.extra), cut.prefix))
    times = rng.integers(1, 30, (5, len(some))).astype(float)
    swept = Sweep(GRID.points[:5], tuple(some), (), times, "predicted", "some")
    chosen = choose_routes(swept, most)
    nested = nested_in(swept.cuts)
    assert len(chosen.places) <= most
    assert chosen.exact
    assert all(nested[i, j] for i, j in combinations(chosen.places, 2))
    reached = float(times[:, list(chosen.places)].min(axis=1).mean())
    assert reached == pytest.approx(brute_force(swept, most), rel=1e-8)
    assert chosen.regret_s == pytest.approx(reached - float(times.min(axis=1).mean()), abs=1e-9)


def test_no_route_is_carried_that_brings_nothing() -> None:
    chosen = choose_routes(made_up([[1.0, 2.0, 3.0], [1.0, 5.0, 1.0]]), 4)
    assert chosen.places == (0,)
    assert chosen.regret_s == 0.0


def test_a_plan_maps_each_condition_to_its_quickest_route() -> None:
    plan = plan_for_conditions(CHAIN, GRID, scenario=scenario(), routes=2)
    assert len(plan.names) == 2
    for k, _ in enumerate(GRID.points):
        assert plan.carried.latency_s[k, plan.carried.best[k]] == plan.carried.latency_s[k].min()
    assert plan.regret_share >= 0


def test_the_papers_grid_is_the_default() -> None:
    assert PAPER.bandwidths_bps == (50e6, 37.5e6, 25e6, 10e6)
    assert (PAPER.cpu[0], PAPER.cpu[-1]) == (0.0, 0.9) == (PAPER.memory[0], PAPER.memory[-1])
    assert len(PAPER.points) == len({*product(PAPER.cpu, PAPER.memory, PAPER.bandwidths_bps)})


@pytest.mark.parametrize(
    ("conditions", "what"),
    [
        ({"objective": "energy"}, "takes no objective"),
        ({"codec": "quantize-boundary(bits=8)"}, "takes no codec"),
        ({"cutter": "min-cut"}, "takes no cutter"),
    ],
)
def test_what_no_sweep_tells_is_refused(conditions: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        plan_for_conditions(CHAIN, GRID, **conditions)  # pyright: ignore[reportArgumentType]


def test_a_network_without_a_legal_cut_is_refused() -> None:
    alone = parse_graph("%x = input() : 1x4\n%y = relu(%x) : 1x4")
    with pytest.raises(NoLegalCutError, match="no cut"):
        plan_for_conditions(alone, GRID)
    with pytest.raises(NoLegalCutError, match="no cut"):
        plan_for_conditions(CHAIN, GRID, constraints=Constraints(min_depth=99))
    with pytest.raises(UsageError, match="0 routes"):
        plan_for_conditions(CHAIN, GRID, routes=0)


@pytest.mark.parametrize("results", ["device", "server"])
def test_all_on_the_server_is_sent_in_the_quickest_way(results: ResultsAt) -> None:
    where = replace(scenario(), results=results)
    swept = sweep(Search.of(CHAIN, where), GRID.points)
    assert swept.whole_s is not None
    for point, (device_s, server_s) in zip(swept.points, swept.whole_s, strict=True):
        board = BoardCost(load_board("rpi4"), point.stress)
        link = replace_bandwidth(where.link, point.bandwidth_bps)
        table = find_cuts(CHAIN, scenario=replace(where, head=board, link=link))
        device, *sent = table.baselines
        assert len(sent) == 3
        assert device_s == pytest.approx(device.cost.latency_s)
        assert server_s == pytest.approx(min(row.cost.latency_s for row in sent))
