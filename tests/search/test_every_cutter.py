# SPDX-License-Identifier: Apache-2.0
"""Every cutter against brute force over its class, on graphs with free, equal and huge costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.cost.prices import PICO, LinkPrices, Objective, Prices, price
from splitc.errors import NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.proof import FlowProof, Heuristic
from splitc.search.cutter import Cutter, Solution
from splitc.search.enumerate import single_cuts
from splitc.search.flow_check import check_flows
from splitc.search.limits import Constraints
from splitc.search.problem import Problem
from splitc_passes.cutters.flow_evidence import flow_evidence
from splitc_passes.cutters.min_cut import cheapest_cut
from tests.helpers import SHARED
from tests.passes.cutters.test_min_cut import cheapest, downsets
from tests.search.placement_instances import Placing, read_folder, read_instance
from tests.search.test_cutters import SCENARIO
from tests.strategies import graphs, problems

Class = Callable[[LayerGraph], Iterator[Cut]]
EXACT: tuple[tuple[str, Objective, bool], ...] = (
    ("min-cut", "latency", False),
    ("min-cut", "energy", False),
    ("enumerate", "latency", True),
    ("enumerate", "energy", True),
    ("enumerate", "throughput", True),
    ("neurosurgeon", "latency", True),
    ("neurosurgeon", "throughput", True),
    ("edgent", "latency", True),
)
"""Cutters that find the best of their class: what they minimise, and whether under limits."""
BOUNDED: tuple[tuple[str, Objective], ...] = (
    ("dads-heavy", "throughput"), ("qdmp", "latency"), ("qdmp", "energy"),
)  # fmt: skip


def every(graph: LayerGraph) -> Iterator[Cut]:
    """Every proper downset, by trying every subset."""
    cuts = (Cut.of(graph, head) for head in downsets(graph))
    yield from (cut for cut in cuts if cut.is_proper)


def best_s(problem: Problem, cutter: str) -> float | None:
    """The least value of all cuts of a cutter's class that may be used."""
    kind = single_cuts if cutter in ("neurosurgeon", "edgent") else every
    rows = [problem.row(cut) for cut in kind(problem.graph)]
    values = [row.cost.value(problem.objective) for row in rows if row.rejected is None]
    return min(values, default=None)


def solution(problem: Problem, cutter: str) -> Solution | None:
    try:
        return Cutter.parse(cutter).solve(problem)
    except NoLegalCutError:
        return None


def near(value: float, graph: LayerGraph) -> object:
    """Flows are in whole picoseconds."""
    return pytest.approx(value, rel=1e-9, abs=4 * len(graph) / PICO)


@pytest.mark.parametrize(("cutter", "objective", "limits"), EXACT)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_it_finds_the_best_of_its_class_legal_and_the_same_each_time(
    data: st.DataObject, cutter: str, objective: Objective, limits: bool
) -> None:
    problem = data.draw(problems(objective=objective, limits=limits))
    best, found = best_s(problem, cutter), solution(problem, cutter)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    cut = found.where.cut
    assert problem.value(cut) == near(best, problem.graph)
    assert problem.row(cut).rejected is None
    assert problem.topology.why_not(found.where) is None
    again = solution(replace(problem), cutter)
    assert again is not None
    assert again.where == found.where
    assert again.proof == found.proof


@pytest.mark.parametrize(("cutter", "objective"), BOUNDED)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_what_may_not_be_the_best_is_held_by_its_bound(
    data: st.DataObject, cutter: str, objective: Objective
) -> None:
    problem = data.draw(problems(objective=objective))
    best, found = best_s(problem, cutter), solution(problem, cutter)
    if found is None or best is None:
        assert best is None
        return
    assert isinstance(found.proof, Heuristic)
    assert found.proof.lower_bound is not None
    room = 1e-9 * best + 4 * len(problem.graph) / PICO
    assert found.proof.lower_bound - room <= best <= problem.value(found.where) + room
    assert problem.row(found.where.cut).rejected is None


@pytest.mark.parametrize("cutter", ["enumerate", "neurosurgeon"])
@settings(deadline=None, max_examples=40)
@given(problems(pins=False), st.integers(1, 3), st.integers(0, 2))
def test_no_limit_and_no_pin_makes_a_cut_better(
    cutter: str, problem: Problem, depth: int, place: int
) -> None:
    free = solution(problem, cutter)
    held = solution(replace(problem, limits=Constraints(min_depth=depth)), cutter)
    if free is None:
        assert held is None
        return
    assert held is None or problem.value(held.where) >= problem.value(free.where)
    if problem.results == "server":
        return  # what makes results cannot be pinned to the device
    site = problem.topology.sites[0]
    last = problem.graph.layers[max(problem.graph.input_count, len(problem.graph) - 1 - place)]
    sites = (replace(site, pinned=frozenset({last.name})), problem.topology.sites[1])
    pinned = solution(replace(problem, topology=replace(problem.topology, sites=sites)), cutter)
    assert pinned is None or problem.value(pinned.where) >= problem.value(free.where)


ADVERSE = (0, 1, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**64, 2**80)
"""Where 32 and 64 bits end, where floats lose ones, and ties but for one."""


@settings(deadline=None, max_examples=200)
@given(graphs(max_layers=9), st.data())
def test_flows_are_exact_at_the_ends_of_integers_and_in_near_ties(
    graph: LayerGraph, data: st.DataObject
) -> None:
    amounts = st.sampled_from(ADVERSE)
    rest = len(graph) - graph.input_count
    sides = [data.draw(st.lists(amounts, min_size=rest, max_size=rest)) for _ in range(2)]
    head, tail = ((*[0] * graph.input_count, *side) for side in sides)
    link = LinkPrices({name: data.draw(amounts) for name in graph.tensors}, data.draw(amounts))
    prices = Prices((head, tail), {(0, 1): link})
    least = cheapest(graph, prices)
    if least is None:
        with pytest.raises(NoLegalCutError, match="cannot be cut"):
            cheapest_cut(graph, prices)
        return
    proved(Placing(graph, prices, {}), least)


def proved(one: Placing, least: int | None = None) -> FlowProof:
    """The proof of the cheapest cut of prices, checked by weak duality and on its price."""
    cut, proof = cheapest_cut(one.graph, one.prices, pinned=one.pinned)
    problem = SCENARIO.problem(one.graph)
    assert price(one.prices, cut) == proof.value == proof.lower_bound
    assert least in (None, proof.value)
    check_flows(problem, one.prices, proof.value, flow_evidence(problem, one.prices, proof))
    return proof


def made_instance() -> bytes:
    """An instance in the form of the published ones: a fork whose sides meet, each side dear."""
    nodes = [
        {"id": k, "name": f"node{k}", "supportedOnFpga": 1, "cpuLatency": cpu,
         "fpgaLatency": fpga, "isBackwardNode": 0, "colorClass": k, "size": 4096.0}
        for k, cpu, fpga in (
            (3, 2.0, 0.2), (0, 0.5, 5.0), (1, 8.0, 0.8), (2, 6.0, 0.6), (4, 1.0, 0.1),
        )
    ]  # fmt: skip
    edges = [
        {"sourceId": a, "destId": b, "cost": cost, "size": 100.0}
        for a, b, cost in ((0, 1, 1.5), (0, 2, 1.5), (1, 3, 9.0), (2, 3, 9.0), (3, 4, 0.25))
    ]
    limits = {"maxSizePerFPGA": 1e9, "maxFPGAs": 1, "maxCPUs": 1}
    return json.dumps({**limits, "nodes": nodes, "edges": edges}).encode()


def test_an_instance_of_that_form_reads_and_its_cut_is_the_best_of_all() -> None:
    one = read_instance(made_instance())
    assert [layer.name for layer in one.graph.layers] == ["x", "n0", "n1", "n2", "n3", "n4"]
    proof = proved(one, cheapest(one.graph, one.prices))
    # The fork's first node on the CPU, its tensor sent once, the rest on the accelerator.
    assert proof.value == round((0.5 + 1.5 + 0.8 + 0.6 + 0.2 + 0.1) * 10**9)


def test_the_published_instances_have_cuts_that_are_proved() -> None:
    folder = SHARED / "dnn-partitioning"
    if not folder.is_dir():
        pytest.skip("the placement instances are not here: msr-fiddle/dnn-partitioning in shared")
    for name, one in read_folder(folder).items():
        proof = proved(one)
        single = (price(one.prices, cut) for cut in single_cuts(one.graph))
        assert all(value is None or value >= proof.value for value in single), name
