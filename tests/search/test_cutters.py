# SPDX-License-Identifier: Apache-2.0
"""Cutters behind one door: options in text, problems refused by name, proofs that hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given, settings

import splitc
from splitc import plugins
from splitc.cost.board import Board, load_board
from splitc.cost.topology import Topology
from splitc.errors import IllegalCutError, NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import Enumerated, FlowProof, Given, Heuristic, Proof
from splitc.ir.text import parse_graph
from splitc.search.cutter import Cutter, Solution
from splitc.search.enumerate import Enumerate
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.problem import Problem
from splitc.search.scenario import Scenario
from splitc_passes.cutters.min_cut import MinCut
from tests.passes.cutters.test_min_cut import downsets
from tests.strategies import graphs

CHAIN = """
%x = input() : 1x3x224x224
%a = conv(%x) {params=7000, flops=4000000000} : 1x8x56x56
%b = conv(%a) {params=90000, flops=3000000000} : 1x4x7x7
%c = gemm(%b) {params=4000000, flops=9000000} : 1x1000
%y = softmax(%c) {flops=5000} : 1x1000
"""
SCENARIO = Scenario.of(head="rpi4", tail="x86-64-v3", link=splitc.Link("20Mbit", rtt="5ms"))


@dataclass(frozen=True)
class Behind(Cutter):
    """A stranger's: the cut after a layer, by its number.

    Args:
        layer: The number, from the first behind the inputs.
    """

    name: ClassVar[str] = "behind"

    layer: int = 0

    def refuses(self, problem: Problem) -> str | None:
        return "it knows no energy" if problem.objective == "energy" else None

    def solve(self, problem: Problem) -> Solution:
        cut = Cut(problem.graph, problem.graph.input_count + 1 + self.layer)
        value = problem.value(cut)
        proof = Heuristic(cutter=str(self), value=value, why="it is the one that was asked for")
        return Solution(Placement.of_cuts([cut]), problem.cost(cut), proof)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = plugins.plugins()
    cutters = {**known.cutters, "behind": "tests.search.test_cutters:Behind"}
    monkeypatch.setattr(plugins, "plugins", lambda: replace(known, cutters=cutters))
    yield


@settings(deadline=None, max_examples=80)
@given(graphs())
def test_a_flow_and_trying_every_cut_find_the_same_price(graph: LayerGraph) -> None:
    problem = SCENARIO.problem(graph)
    try:
        every = Enumerate().solve(problem)
    except NoLegalCutError:
        with pytest.raises(NoLegalCutError, match="cannot be cut"):
            MinCut().solve(problem)
        return
    found = MinCut().solve(problem)
    assert problem.value(found.where) == pytest.approx(problem.value(every.where))
    assert isinstance(found.proof, FlowProof)
    assert isinstance(every.proof, Enumerated)
    proper = [s for s in downsets(graph) if Cut.of(graph, s).is_proper]
    assert every.proof.count == len(proper)
    assert every.proof.value == pytest.approx(found.proof.value / 1e12, rel=1e-6, abs=1e-9)
    assert every.cost == problem.cost(every.where.cut)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"objective": "throughput"}, "throughput is a maximum"),
        ({"limits": Constraints(min_depth=2)}, "limits to keep"),
        ({"codec": splitc.Pipeline.parse("quantize-boundary")}, "prices of its own"),
    ],
)
def test_a_minimum_cut_says_which_problems_it_does_not_solve(
    change: dict[str, object], why: str
) -> None:
    problem = replace(SCENARIO.problem(parse_graph(CHAIN)), **change)  # type: ignore[arg-type]
    assert why in (MinCut().refuses(problem) or "")
    with pytest.raises(UsageError, match="the cutter 'min-cut' cannot solve this") as caught:
        MinCut().solve(problem)
    assert why in caught.value.why
    if "limits" not in change:
        with pytest.raises(UsageError, match="no sum of prices"):
            problem.prices()


def test_where_no_cutter_is_named_one_that_fits_is_taken_and_proves_it() -> None:
    graph = parse_graph(CHAIN)

    def proof(**change: object) -> Proof:
        scenario = replace(SCENARIO, **change)  # type: ignore[arg-type]
        found = find_cuts(graph, scenario=scenario)
        assert found.solution is not None
        assert found.solution.where.cut == found.best.cut
        return found.solution.proof

    assert isinstance(proof(), FlowProof)
    limited = proof(limits=Constraints(min_depth=2))
    assert isinstance(limited, Enumerated)
    assert (limited.count, limited.kind) == (3, "downsets")
    assert isinstance(proof(objective="throughput"), Enumerated)
    coded = proof(codec=splitc.Pipeline.parse("quantize-boundary"))
    assert isinstance(coded, Enumerated)
    assert coded.kind == "cuts after a layer that no edge passes by"


def test_where_there_are_too_many_cuts_the_proof_says_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("splitc.search.find.EXHAUSTIVE", 1)
    found = find_cuts(
        parse_graph(CHAIN), scenario=replace(SCENARIO, limits=Constraints(min_depth=2))
    ).solution
    assert found is not None
    assert isinstance(found.proof, Heuristic)
    assert "too many cuts to try them all" in found.proof.why
    free = find_cuts(parse_graph(CHAIN), scenario=SCENARIO)
    assert found.proof.lower_bound == free.value(free.best) <= found.proof.value


def test_a_strangers_cutter_with_options_decides_what_auto_is(stranger: None) -> None:
    graph = parse_graph(CHAIN)
    table = find_cuts(graph, head="rpi4", tail="x86-64-v3", link="wifi", cutter="behind(layer=2)")
    assert table.auto.cut.name == "c"
    assert table.best.cut.name != "c"
    assert table.solution is not None
    assert isinstance(table.solution.proof, Heuristic)
    assert table.solution.proof.cutter == "behind(layer=2)"
    with pytest.raises(UsageError, match="the cutter 'behind' cannot solve this") as caught:
        find_cuts(graph, objective="energy", cutter="behind")
    assert caught.value.why == "it knows no energy"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("max-cut", "no 'max-cut' among the cutters"),
        ("enumerate(most=1", "malformed"),
        ("enumerate(least=1)", "has no option 'least'"),
        ('enumerate(most="all")', "option 'most'"),
        ("min-cut, min-cut", "is not one cutter"),
    ],
)
def test_a_cutter_that_is_none_is_a_usage_error(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        find_cuts(parse_graph(CHAIN), cutter=text)


def test_a_cutters_text_reads_back_to_it() -> None:
    assert Cutter.parse("enumerate(most=7)") == Enumerate(7)
    assert str(Cutter.parse("enumerate(most=7)")) == "enumerate(most=7)"
    assert str(Cutter.parse("min-cut")) == "min-cut"


def test_more_cuts_than_may_be_tried_are_refused() -> None:
    with pytest.raises(UsageError, match="more than 2 cuts"):
        Enumerate(2).solve(SCENARIO.problem(parse_graph(CHAIN)))


def test_layers_that_have_to_run_on_a_site_do() -> None:
    graph = parse_graph(CHAIN)
    given = Topology.pair(SCENARIO.head, SCENARIO.tail, SCENARIO.link)
    device, server = given.sites
    sites = (replace(device, pinned=frozenset("b")), replace(server, pinned=frozenset("y")))
    problem = Problem(graph, Topology(sites, given.links))
    assert problem.row(Cut.after(graph, ["a"])).rejected == "'b' has to run on the device"
    found = Enumerate().solve(problem)
    assert found.where.cut.holds(graph.index["b"])
    assert MinCut().solve(problem).where == found.where
    assert problem.topology.why_not(found.where) is None
    alone = Placement.of_cuts([Cut.after(graph, ["y"])])
    assert problem.topology.why_not(alone) == "'y' has to run on the server"


@dataclass(frozen=True)
class Measured:
    """Times of one's own: the board's, in proportion."""

    board: Board
    factor: float
    label: str = "measured with a stopwatch"

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        return tuple(self.factor * layer.flops / 1e9 for layer in graph.layers)


def test_a_cost_model_of_ones_own_prices_the_layers() -> None:
    graph = parse_graph(CHAIN)
    slow, fast = Measured(load_board("rpi4"), 1.0), Measured(load_board("host"), 0.1)
    table = find_cuts(graph, head=slow, tail=fast, link="ethernet")
    assert table.costs.label == (
        "measured with a stopwatch (head) and measured with a stopwatch (tail)"
    )
    row = table.row(Cut.after(graph, ["a"]))
    assert row.cost.head_s == pytest.approx(4.0)
    assert row.cost.tail_s == pytest.approx(0.3009005)


def test_a_scenario_and_its_keywords_are_the_same_and_not_given_both() -> None:
    graph = parse_graph(CHAIN)
    link = splitc.Link("20Mbit", rtt="5ms")
    by_words = find_cuts(graph, head="rpi4", tail="x86-64-v3", link=link)
    assert by_words.rows == find_cuts(graph, scenario=SCENARIO).rows
    with pytest.raises(UsageError, match="a scenario was given, and keywords") as caught:
        find_cuts(graph, scenario=SCENARIO, head="rpi5", link="lte")
    assert "head, link" in caught.value.why


def test_sites_and_links_that_do_not_go_together_are_refused() -> None:
    given = Topology.pair(SCENARIO.head, SCENARIO.tail, SCENARIO.link)
    with pytest.raises(UsageError, match="two sites are called 'device'"):
        Topology((given.sites[0], given.sites[0]), {})
    with pytest.raises(UsageError, match="no site 'cloud'"):
        Topology(given.sites, {("device", "cloud"): SCENARIO.link})
    alone = Problem(parse_graph(CHAIN), Topology(given.sites[:1], {}))
    with pytest.raises(UsageError, match="prices are known for a device, a server"):
        _ = alone.costs
    far = Placement(parse_graph(CHAIN), (0, 0, 1, 2, 2))
    assert given.why_not(far) == "there are 2 sites, numbered from 0"
    with pytest.raises(IllegalCutError, match="more than two sites"):
        _ = far.cut


@pytest.mark.parametrize(
    "proof",
    [
        FlowProof(cutter="min-cut", value=3, flow=None, lower_bound=3, stretches=0),
        Enumerated(cutter="enumerate", value=0.5, count=9, kind="downsets"),
        Heuristic(cutter="mine", value=0.5, why="half were tried"),
        Given(value=0.5),
    ],
)
def test_a_proof_reads_back_from_json(proof: Proof) -> None:
    assert msgspec.json.decode(msgspec.json.encode(proof), type=Proof) == proof
