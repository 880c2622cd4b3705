# SPDX-License-Identifier: Apache-2.0
"""Cutters that are there to be compared with: QDMP's two stages, Edgent's exits and deadline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.proof import Enumerated, Heuristic
from splitc.ir.text import parse_graph
from splitc.search.cutter import Cutter
from splitc.search.limits import Constraints
from splitc_passes.cutters.edgent import Edgent
from splitc_passes.cutters.min_cut import MinCut, cheapest_cut
from splitc_passes.cutters.neurosurgeon import Neurosurgeon
from splitc_passes.cutters.qdmp import Qdmp
from tests.passes.cutters.test_min_cut import cheapest
from tests.search.test_cutters import CHAIN, SCENARIO
from tests.strategies import graphs, priced_graphs


@settings(deadline=None, max_examples=200)
@given(priced_graphs())
def test_the_stretches_beside_one_layer_give_a_cut_and_what_none_is_below(
    priced: tuple[LayerGraph, object],
) -> None:
    graph, prices = priced
    best = cheapest(graph, prices)  # type: ignore[arg-type]
    if best is None:
        with pytest.raises(NoLegalCutError):
            cheapest_cut(graph, prices, beside=True)  # type: ignore[arg-type]
        return
    try:
        cut, proof = cheapest_cut(graph, prices, beside=True)  # type: ignore[arg-type]
    except NoLegalCutError:
        pytest.fail("a cut was there")
    assert proof.lower_bound <= best <= proof.value
    assert cut.is_proper


def test_qdmp_misses_a_cut_in_a_block_far_from_the_best_layer_and_says_how_far_it_may_be() -> None:
    """Two blocks: one may be cut inside for little, the best layer on every path is elsewhere."""
    graph = parse_graph("""
    %x = input() : 1x3x224x224
    %a = conv(%x) {flops=1000000} : 1x8x112x112
    %b = conv(%a) {flops=1000000} : 1x1x4x4
    %c = conv(%b) {flops=1000000} : 1x8x112x112
    %d = add(%a, %c) {flops=100000} : 1x8x112x112
    %p = conv(%d) {flops=1000000} : 1x8x64x64
    %e = conv(%p) {flops=1000000} : 1x8x32x32
    %f = conv(%e) {flops=90000000000} : 1x8x32x32
    %y = gemm(%f) {flops=1000} : 1x10
    """)
    problem = SCENARIO.problem(graph)
    found, best = Qdmp().solve(problem), MinCut().solve(problem)
    assert isinstance(found.proof, Heuristic)
    assert found.where.cut.name == "e"
    assert found.proof.lower_bound is not None
    assert found.proof.lower_bound <= problem.value(best.where) <= found.proof.value
    assert found.proof.value == pytest.approx(problem.value(found.where))
    assert "beside the best layer" in found.proof.why


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_qdmp_is_never_better_than_a_minimum_cut_and_equal_on_chains(graph: LayerGraph) -> None:
    problem = SCENARIO.problem(graph)
    try:
        best = MinCut().solve(problem)
    except NoLegalCutError:
        return
    found = Qdmp().solve(problem)
    assert problem.value(found.where) >= problem.value(best.where) - 1e-12
    if all(i in graph.cut_points for i in range(graph.input_count, len(graph))):
        assert found.where.cut == best.where.cut


@settings(deadline=None, max_examples=60)
@given(graphs(), st.floats(0.1, 400), st.data())
def test_edgent_takes_the_deepest_exit_that_keeps_the_deadline(
    graph: LayerGraph, within_ms: float, data: st.DataObject
) -> None:
    places = [i for i in graph.cut_points if graph.input_count <= i < len(graph) - 1]
    chosen = data.draw(st.sets(st.sampled_from(places))) if places else set[int]()
    exits = ",".join(graph.layers[i].name for i in chosen)
    problem = SCENARIO.problem(graph)
    took: dict[int, float] = {}
    for end in sorted({*chosen, len(graph) - 1}, reverse=True):
        device, server = (
            times[: end + 1] for times in (problem.costs.device_s, problem.costs.server_s)
        )
        for i in (i for i in graph.cut_points if graph.input_count <= i < end):
            tensors = [
                t for t in graph.layers[i].outputs if any(r <= end for r in graph.readers[t.name])
            ]
            sent = sum(SCENARIO.link.transfer_s(t.nbytes or 0) for t in tensors)
            back = sum(
                SCENARIO.link.transfer_s(graph.tensors[name].nbytes or 0)
                for name in graph.outputs
                if i < graph.producer[name] <= end
            )
            value = sum(device[: i + 1]) + sent + SCENARIO.link.rtt_s + back + sum(server[i + 1 :])
            took[end] = min(took.get(end, value), value)
    keeps = [end for end, value in took.items() if value <= within_ms / 1e3]
    cutter = Edgent(exits, within_ms)
    if not keeps:
        with pytest.raises(NoLegalCutError, match="no exit keeps|no cut can be used"):
            cutter.solve(problem)
        return
    found = cutter.solve(problem)
    assert isinstance(found.proof, Enumerated)
    assert found.proof.value == pytest.approx(took[max(keeps)])
    assert found.proof.kind.endswith(f"leaving at '{graph.layers[max(keeps)].name}'")


def test_without_exits_and_a_deadline_edgent_is_neurosurgeon_with_an_idle_server() -> None:
    problem = SCENARIO.problem(parse_graph(CHAIN))
    assert Edgent().solve(problem).where.cut == Neurosurgeon().solve(problem).where.cut


@pytest.mark.parametrize(
    ("text", "change", "says"),
    [
        ("qdmp", {"objective": "throughput"}, "throughput is a maximum"),
        ("qdmp", {"limits": Constraints(min_depth=2)}, "limits to keep"),
        ("edgent", {"objective": "energy"}, "it minimises the latency"),
    ],
)
def test_what_they_do_not_solve_is_refused(text: str, change: dict[str, object], says: str) -> None:
    problem = replace(SCENARIO.problem(parse_graph(CHAIN)), **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot solve this") as caught:
        Cutter.parse(text).solve(problem)
    assert says in caught.value.why


def test_exits_and_deadlines_that_are_none_are_refused_by_name() -> None:
    problem = SCENARIO.problem(parse_graph(CHAIN))
    with pytest.raises(UsageError, match="there is no layer 'conv9'"):
        Cutter.parse('edgent(exits="conv9")').solve(problem)
    with pytest.raises(UsageError, match="within_ms=0"):
        Edgent(within_ms=0.0)
    with pytest.raises(NoLegalCutError, match="no exit keeps 0.001 ms") as caught:
        Edgent("b", 0.001).solve(problem)
    assert "frames that leave at '" in caught.value.why
    block = parse_graph("""
    %x = input() : 1x8
    %a = op(%x) : 1x8
    %b = op(%a) : 1x8
    %c = add(%a, %b) : 1x8
    %y = op(%c) : 1x8
    """)
    with pytest.raises(UsageError, match="there is no exit after 'b'"):
        Edgent("b").solve(SCENARIO.problem(block))
