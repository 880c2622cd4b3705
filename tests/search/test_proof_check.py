# SPDX-License-Identifier: Apache-2.0
"""Proofs are checked again without whoever found the cut: only honest ones hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from splitc.cost.prices import Objective, price
from splitc.errors import BadBundleError, NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.proof import Enumerated, FlowProof, Given, Proof
from splitc.ir.text import parse_graph
from splitc.passes.base import Pipeline
from splitc.search.cutter import Cutter
from splitc.search.evidence import Case, Evidence, Flow
from splitc.search.find import find_cuts
from splitc.search.importance import Importance, write_importance
from splitc.search.problem import Problem
from splitc.search.proof_check import Checked, Claim
from splitc.search.proof_check import check_proof as check_claim
from splitc_passes.cutters.min_cut import MinCut
from tests.passes.cutters.test_min_cut import downsets
from tests.search.test_cutters import CHAIN, SCENARIO
from tests.strategies import problems

CUTTERS: tuple[tuple[str, Objective, bool], ...] = (
    ("min-cut", "latency", True),
    ("min-cut", "energy", True),
    ("enumerate", "throughput", True),
    ("neurosurgeon(server_load=3.0)", "latency", True),
    ("dads-heavy", "throughput", False),
    ('early-exits(exits="")', "latency", True),
    ("qdmp", "latency", False),
    ("qdmp", "energy", False),
    ("edgent", "latency", False),
)
"""Of each cutter the text, what it minimises, and whether its claim is shown anew."""


def carried(evidence: Evidence) -> Evidence:
    """What comes out of a bundle."""
    return msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence)


def check_proof(proof: Proof, evidence: Evidence, cut: tuple[str, ...]) -> Checked:
    """What is found of a proof, all of which comes from elsewhere."""
    return check_claim(proof, evidence, Claim.of(evidence, cut))


Solved = tuple[Proof, Evidence, tuple[str, ...]]


def solved(problem: Problem, cutter: str = "min-cut") -> Solved:
    """A proof, what it rests on, and the cut."""
    one = Cutter.parse(cutter)
    found = one.solve(problem)
    return found.proof, one.evidence(problem, found), found.where.cut.layers


def proper(problem: Problem) -> list[Cut]:
    """Every downset that is a cut and keeps pins, by trying every subset."""
    cuts = (Cut.of(problem.graph, head) for head in downsets(problem.graph))
    return [
        cut for cut in cuts
        if cut.is_proper and cut.why_not() is None and problem.why_elsewhere(cut) is None
    ]  # fmt: skip


@pytest.mark.parametrize(("cutter", "objective", "again"), CUTTERS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_an_honest_proof_holds(
    data: st.DataObject, cutter: str, objective: Objective, again: bool
) -> None:
    problem = data.draw(problems(objective=objective, limits=cutter == "enumerate"))
    try:
        proof, evidence, cut = solved(problem, cutter)
    except NoLegalCutError:
        return
    assert check_proof(proof, carried(evidence), cut).again == again


def test_the_proof_of_early_exits_holds_with_the_shares_of_frames_that_it_was_made_with() -> None:
    problem = SCENARIO.problem(parse_graph(CHAIN))
    proof, evidence, cut = solved(problem, 'early-exits(exits="a:0.4,b:0.5")')
    assert check_proof(proof, carried(evidence), cut).again
    exits, told, where = solved(problem, 'edgent(exits="b", within_ms=2500)')
    words = check_proof(exits, carried(told), where).words
    assert "frames leaving at" in words
    fewer = msgspec.structs.replace(evidence, arriving=())
    with pytest.raises(BadBundleError, match="does not hold"):
        check_proof(proof, fewer, cut)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_best_of_a_cutters_own_values_is_held_against_those_that_were_recorded(
    weight: float, tmp_path: Path
) -> None:
    known = {"a": 1.0, "b": 9.0, "c": 2.0}
    write_importance(tmp_path / "i.json", Importance(
        schema=1, kind="splitc-importance", network="chain", samples=1, layers=known,
    ))  # fmt: skip
    text = f'i-split(importance="{tmp_path}/i.json", weight={weight})'
    for cutter in (text, 'edgent(exits="b", within_ms=100000)'):
        proof, evidence, cut = solved(SCENARIO.problem(parse_graph(CHAIN)), cutter)
        found = check_proof(proof, carried(evidence), cut)
        assert not found.again
        assert "as recorded" in found.words
        best = next(one for one in evidence.tried if one.cut == cut)
        dearer = msgspec.structs.replace(best, value=best.value * 2)
        with pytest.raises(BadBundleError, match="does not hold"):
            check_proof(proof, msgspec.structs.replace(evidence, tried=(dearer,)), cut)


@settings(deadline=None, max_examples=80)
@given(problems(), st.data())
def test_another_cut_is_accepted_only_where_it_costs_the_same(
    problem: Problem, data: st.DataObject
) -> None:
    assume(proper(problem))
    proof, evidence, _ = solved(problem)
    assert isinstance(proof, FlowProof)
    other = data.draw(st.sampled_from(proper(problem)))
    value = price(problem.prices(), other)
    assert value is not None
    claim = msgspec.structs.replace(proof, value=value, lower_bound=value)
    if value == proof.value:
        check_proof(claim, evidence, other.layers)
        return
    with pytest.raises(BadBundleError, match="does not hold"):
        check_proof(claim, evidence, other.layers)
    with pytest.raises(BadBundleError, match="does not hold") as caught:
        check_proof(proof, evidence, other.layers)
    assert f"it costs {value:,}; the proof says {proof.value:,}" in caught.value.why


@settings(deadline=None, max_examples=80)
@given(problems(pins=False), st.data())
def test_with_other_prices_it_holds_only_where_the_cut_is_still_the_cheapest(
    problem: Problem, data: st.DataObject
) -> None:
    assume(proper(problem))
    proof, evidence, layers = solved(problem)
    assert isinstance(proof, FlowProof)
    at = data.draw(st.integers(problem.graph.input_count, len(problem.graph) - 1))
    seconds = data.draw(st.sampled_from((0.0, 1e-6, 0.01, 1e6)))
    side = data.draw(st.sampled_from(("device", "server")))
    machine = getattr(evidence, side)
    times = (*machine.seconds[:at], seconds, *machine.seconds[at + 1 :])
    changed = msgspec.structs.replace(
        evidence, **{side: msgspec.structs.replace(machine, seconds=times)}
    )
    prices = changed.problem().prices()
    costs = {cut.layers: price(prices, cut) for cut in proper(problem)}
    value = costs[layers]
    assert value is not None
    claim = msgspec.structs.replace(proof, value=value, lower_bound=value)
    try:
        check_proof(claim, changed, layers)
    except BadBundleError:
        return  # the flows are not those of these prices, or there is a cheaper cut
    assert value == min(cost for cost in costs.values() if cost is not None)


def cases_of(flow: Flow | Case) -> list[Case]:
    return [case for own in flow.cases for case in (own, *cases_of(own))]


@settings(deadline=None, max_examples=60)
@given(problems(), st.data())
def test_one_flow_value_that_was_changed_is_found(problem: Problem, data: st.DataObject) -> None:
    assume(proper(problem))
    proof, evidence, layers = solved(problem)
    assume(evidence.flows)
    flow = data.draw(st.sampled_from(evidence.flows))
    arc = data.draw(st.integers(0, len(flow.arcs) - 1))
    more = data.draw(st.sampled_from((-1, 1, 10**9)))
    arcs = (*flow.arcs[:arc], flow.arcs[arc] + more, *flow.arcs[arc + 1 :])
    with pytest.raises(BadBundleError, match="does not hold"):
        changed = msgspec.structs.replace(flow, arcs=arcs)
        check_proof(proof, with_flow(evidence, flow, changed), layers)
    with pytest.raises(BadBundleError, match="does not hold"):
        check_proof(proof, msgspec.structs.replace(evidence, flows=()), layers)
    assume(flow.cases)
    for cases in (flow.cases[1:], ()):
        cut_short = msgspec.structs.replace(flow, cases=cases)
        with pytest.raises(BadBundleError, match="does not hold"):
            check_proof(proof, with_flow(evidence, flow, cut_short), layers)


def with_flow(evidence: Evidence, old: Flow, new: Flow) -> Evidence:
    flows = tuple(new if one is old else one for one in evidence.flows)
    return msgspec.structs.replace(evidence, flows=flows)


def test_cases_for_every_layer_are_in_the_proof_where_all_on_one_side_is_cheapest() -> None:
    """Each way to put a layer over is there, also where first and last layers are one stretch."""
    graph = parse_graph("""
        %x = input() : 1x8
        %a = conv(%x) {flops=1000000} : 1x100000
        %b = conv(%x) {flops=2000000} : 1x100000
        %y = add(%a, %b) {flops=8} : 1x8
        %z = mul(%a, %b) {flops=8} : 1x8
        return %y, %z
    """)
    proof, evidence, layers = solved(SCENARIO.problem(graph))
    (flow,) = evidence.flows
    assert {case.layer for case in flow.cases} in ({1, 2}, {3, 4})
    assert check_proof(proof, evidence, layers).again
    for k, case in enumerate(flow.cases):
        for j, (arc, by) in enumerate(case.changes):
            changes = (*case.changes[:j], (arc, by + 1), *case.changes[j + 1 :])
            wrong = msgspec.structs.replace(case, changes=changes)
            cases = (*flow.cases[:k], wrong, *flow.cases[k + 1 :])
            new = msgspec.structs.replace(flow, cases=cases)
            with pytest.raises(BadBundleError, match="does not hold"):
                check_proof(proof, with_flow(evidence, flow, new), layers)


@settings(deadline=None, max_examples=30)
@given(problems(objective="throughput"))
def test_a_count_or_value_of_enumerated_cuts_that_was_changed_is_found(problem: Problem) -> None:
    assume(proper(problem))
    proof, evidence, layers = solved(problem, "enumerate")
    assert isinstance(proof, Enumerated)
    for change in ({"count": proof.count + 1}, {"value": proof.value * 2 + 1e-9}):
        with pytest.raises(BadBundleError, match="does not hold"):
            check_proof(msgspec.structs.replace(proof, **change), evidence, layers)
    for other in proper(problem):
        value = problem.value(other)
        claim = msgspec.structs.replace(proof, value=value)
        if value > proof.value * (1 + 1e-6):
            with pytest.raises(BadBundleError, match="less than the"):
                check_proof(claim, evidence, other.layers)


def test_a_codecs_cuts_are_held_against_the_prices_that_were_recorded() -> None:
    from splitc.build.evidence import evidence_of

    codec = Pipeline.parse("quantize-boundary")
    table = find_cuts(parse_graph(CHAIN), scenario=replace(SCENARIO, codec=codec))
    assert table.solution is not None
    proof, layers = table.solution.proof, table.solution.where.cut.layers
    evidence = carried(evidence_of(table, None))
    assert "at recorded prices" in check_proof(proof, evidence, layers).words
    tried = evidence.tried
    cheaper = tuple(msgspec.structs.replace(one, value=one.value / 9) for one in tried[1:])
    for change in ((tried[0], *cheaper), tried[:-1]):
        with pytest.raises(BadBundleError, match="does not hold"):
            check_proof(proof, msgspec.structs.replace(evidence, tried=change), layers)


def hostile(evidence: Evidence) -> Sequence[Evidence]:
    machine, flow = evidence.device, evidence.flows[0]
    far = Case(layer=10**6, changes=((10**6, 1),))
    changed = msgspec.structs.replace
    return (
        changed(evidence, graph=("%x = input(",)),
        changed(evidence, graph=()),
        changed(evidence, device=changed(machine, seconds=machine.seconds[1:])),
        changed(evidence, pinned={"nothing": "device"}),
        changed(evidence, arriving=(1.0,)),
        changed(evidence, graph=tuple(line + "x9" * 70 for line in evidence.graph)),
        changed(evidence, graph=tuple(line + f"x{2**62}" * 60 for line in evidence.graph)),
        changed(evidence, link=changed(evidence.link, mtu_bytes=0)),
        changed(evidence, flows=(changed(flow, arcs=flow.arcs[1:]),)),
        changed(evidence, flows=(changed(flow, arcs=(0,) * len(flow.arcs), side="head",
                                         cases=(far,)),)),
    )  # fmt: skip


def test_evidence_that_is_none_is_refused_by_name() -> None:
    graph = parse_graph("""
        %x = input() : 1x100000
        %a = conv(%x) {flops=4000000000} : 1x100
        %b = conv(%x) {flops=2000000000} : 1x400000
        %y = add(%a, %b) {flops=8} : 1x8
    """)
    proof, evidence, layers = solved(SCENARIO.problem(graph))
    assert evidence.flows
    assert check_proof(proof, evidence, layers).again
    for one in hostile(evidence):
        with pytest.raises(BadBundleError):
            check_proof(proof, one, layers)
    with pytest.raises(BadBundleError, match="does not hold"):
        check_proof(proof, evidence, ("no such layer",))
    assert not check_proof(Given(value=1.0), evidence, layers).again


def test_prices_beyond_every_machine_integer_are_compared_exactly() -> None:
    graph = parse_graph("""
        %x = input() : 1x1000000000000000
        %a = conv(%x) {flops=4000000000000000000} : 1x1000000000000000
        %b = conv(%x) {flops=4000000000000000001} : 1x1000000000000000
        %y = add(%a, %b) : 1x1000000000000000
    """)
    problem = SCENARIO.problem(graph)
    proof, evidence, layers = solved(problem)
    assert isinstance(proof, FlowProof)
    assert proof.value > 2**64
    again = msgspec.json.decode(msgspec.json.encode(proof), type=FlowProof)
    assert check_proof(again, carried(evidence), layers).again
    best = min(price(problem.prices(), cut) or 0 for cut in proper(problem))
    assert proof.value == best
    assert MinCut().solve(problem).where == MinCut().solve(problem).where
