# SPDX-License-Identifier: Apache-2.0
"""Cutters of the papers against brute force over all downsets, and against each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.proof import Enumerated, Heuristic
from splitc.ir.text import parse_graph
from splitc.search.cutter import Cutter
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.problem import Problem
from splitc_passes.cutters.dads_heavy import DadsHeavy
from splitc_passes.cutters.early_exits import EarlyExits
from splitc_passes.cutters.min_cut import MinCut
from splitc_passes.cutters.neurosurgeon import Neurosurgeon
from tests.passes.cutters.test_min_cut import downsets
from tests.search.test_cutters import CHAIN, SCENARIO
from tests.strategies import graphs

BUSY = replace(SCENARIO, objective="throughput")


def usable(problem: Problem) -> list[Cut]:
    """Every downset that is a cut, by trying every subset."""
    cuts = (Cut.of(problem.graph, head) for head in downsets(problem.graph))
    return [cut for cut in cuts if cut.is_proper and problem.row(cut).rejected is None]


def test_neurosurgeon_minimises_the_papers_sum_over_cut_points() -> None:
    graph = parse_graph(CHAIN)
    problem = SCENARIO.problem(graph)
    device, server, link = problem.costs.device_s, problem.costs.server_s, SCENARIO.link
    for load in (1.0, 4.0, 1000.0, 1e6):
        sums: dict[str, float] = {}
        for i in (1, 2, 3):
            sent = link.transfer_s(graph.layers[i].outputs[0].nbytes or 0)
            back = link.transfer_s(4000)
            around = sent + back + link.rtt_s
            sums[graph.layers[i].name] = sum(device[: i + 1]) + around + load * sum(server[i + 1 :])
        found = Neurosurgeon(load).solve(problem)
        assert found.where.cut.name == min(sums, key=lambda name: sums[name])
        assert found.proof.value == pytest.approx(min(sums.values()))
    assert found.where.cut.name == "c"  # a server that busy gets as little as can be


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_neurosurgeon_is_never_better_than_a_minimum_cut_and_equal_on_chains(
    graph: LayerGraph,
) -> None:
    problem = SCENARIO.problem(graph)
    try:
        found = Neurosurgeon().solve(problem)
    except NoLegalCutError:
        return
    best = MinCut().solve(problem)
    assert isinstance(found.proof, Enumerated)
    assert problem.value(found.where) >= problem.value(best.where) - 1e-9
    if all(i in graph.cut_points for i in range(graph.input_count, len(graph))):
        assert problem.value(found.where) == pytest.approx(problem.value(best.where))


@settings(deadline=None, max_examples=120)
@given(graphs())
def test_the_heavy_search_is_held_by_its_bound_and_the_bound_by_brute_force(
    graph: LayerGraph,
) -> None:
    problem = BUSY.problem(graph)
    every = usable(problem)
    if not every:
        with pytest.raises(NoLegalCutError):
            DadsHeavy().solve(problem)
        return
    best = min(problem.value(cut) for cut in every)
    found = DadsHeavy().solve(problem)
    assert isinstance(found.proof, Heuristic)
    assert found.proof.lower_bound is not None
    assert found.proof.lower_bound <= best * (1 + 1e-9)
    assert best <= problem.value(found.where) + 1e-12
    assert found.proof.value == problem.value(found.where)
    # What is published is within 3 times of the best.
    assert problem.value(found.where) <= 3 * best + 1e-12


def test_the_heavy_search_finds_the_best_of_a_network_in_a_pipeline() -> None:
    graph = parse_graph(CHAIN)
    problem = BUSY.problem(graph)
    best = min(problem.value(cut) for cut in usable(problem))
    assert problem.value(DadsHeavy().solve(problem).where) == best


def test_throughput_of_a_graph_with_too_many_cuts_gets_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("splitc.search.find.EXHAUSTIVE", 1)
    for limits in (Constraints(), Constraints(min_depth=2)):
        table = find_cuts(parse_graph(CHAIN), scenario=replace(BUSY, limits=limits))
        assert table.solution is not None
        proof = table.solution.proof
        assert isinstance(proof, Heuristic)
        assert proof.lower_bound is not None
        assert 0 < proof.lower_bound <= proof.value == table.value(table.best)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("neurosurgeon(server_load=0.5)", "server_load=0.5"),
        ("dads-heavy(rounds=0)", "rounds=0"),
        ("neurosurgeon(load=2)", "has no option 'load'"),
    ],
)
def test_options_that_are_none_are_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Cutter.parse(text)


def test_the_heavy_search_says_what_it_is_for() -> None:
    with pytest.raises(UsageError, match="cannot solve this") as caught:
        DadsHeavy().solve(SCENARIO.problem(parse_graph(CHAIN)))
    assert caught.value.why == "it maximises throughput"


@st.composite
def leaving(draw: st.DrawFn) -> tuple[LayerGraph, dict[str, float]]:
    graph = draw(graphs())
    places = [i for i in graph.dominators if i >= graph.input_count]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=3)) if places else []
    shares = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])
    return graph, {graph.layers[i].name: draw(shares) for i in chosen}


def expected_s(problem: Problem, cut: Cut, exits: dict[str, float]) -> float:
    """Seconds that a frame takes in the mean, by following each way to leave."""
    graph, costs, link = problem.graph, problem.costs, SCENARIO.link
    places = sorted((graph.index[name], share) for name, share in exits.items())
    total, come = 0.0, 1.0
    for last, share in [*places, (len(graph) - 1, 1.0)]:
        run = range(last + 1)
        sites = [costs.device_s[i] if cut.holds(i) else costs.server_s[i] for i in run]
        seconds = sum(sites)
        ends = not places or (last, share) not in places
        if any(not cut.holds(i) for i in run):
            seconds += link.rtt_s + sum(link.transfer_s(t.nbytes or 0) for t in cut.boundary)
        for name in graph.outputs if ends else ():
            if not cut.holds(graph.producer[name]):
                seconds += link.transfer_s(graph.tensors[name].nbytes or 0)
        total += come * share * seconds
        come *= 1 - share
    return total


@settings(deadline=None, max_examples=120)
@given(leaving())
def test_with_exits_the_expected_time_is_the_least_of_all_downsets(
    given: tuple[LayerGraph, dict[str, float]],
) -> None:
    graph, exits = given
    # Results that are made before an exit belong to frames that leave: not what is priced here.
    last = max((graph.index[name] for name in exits), default=-1)
    assume(all(graph.producer[name] > last for name in graph.outputs))
    problem = SCENARIO.problem(graph)
    text = ",".join(f"{name}:{share}" for name, share in exits.items())
    every = usable(problem)
    if not every:
        return
    found = EarlyExits(text).solve(problem)
    best = min(expected_s(problem, cut, exits) for cut in every)
    assert expected_s(problem, found.where.cut, exits) == pytest.approx(best, rel=1e-6, abs=1e-9)
    assert found.proof.value / 1e12 == pytest.approx(best, rel=1e-6, abs=1e-9)


def test_without_exits_it_is_the_minimum_cut_and_all_that_leave_cost_nothing_behind() -> None:
    problem = SCENARIO.problem(parse_graph(CHAIN))
    plain = MinCut().solve(problem)
    assert EarlyExits().solve(problem).where == plain.where
    gone = EarlyExits("a:1.0").solve(problem)
    assert gone.where.cut.name == "a"
    assert gone.proof.value / 1e12 == pytest.approx(problem.costs.device_s[1])


@pytest.mark.parametrize(
    ("exits", "says"),
    [
        ("a", "'a' is no exit"), ("a:2", "'a:2' is no exit"), ("a:x", "'a:x' is no exit"),
        ("q:0.5", "there is no layer 'q'"), ("a:0.5,a:0.5", "two exits after 'a'"),
    ],
)  # fmt: skip
def test_exits_that_are_none_are_named(exits: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        EarlyExits(exits).solve(SCENARIO.problem(parse_graph(CHAIN)))
