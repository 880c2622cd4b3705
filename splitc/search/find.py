# SPDX-License-Identifier: Apache-2.0
"""The cut search: which cuts there are, what each costs, which is best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Unpack

from splitc.cost.sent_input import ways_to_send
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import GraphModel, Model
from splitc.ir.placement import Placement
from splitc.ir.proof import Heuristic, lower_bound
from splitc.passes.at_cut import encode, without_channels
from splitc.search.codec_choice import REWRITTEN, choose_codec, with_choice
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.enumerate import EVERY, EXHAUSTIVE, SINGLE, all_cuts, best_of, single_cuts
from splitc.search.limits import Constraints
from splitc.search.problem import CutRow, Problem
from splitc.search.scenario import Conditions, Scenario, scenario_of
from splitc.search.table import CutTable

EXACT = "min-cut"
"""The cutter that is taken where none is named and it solves the problem."""
BOUNDED = "dads-heavy"
"""The one for throughput where there are too many cuts to try them all: it gives a bound."""


def find_cuts(
    model: Model | LayerGraph,
    *,
    scenario: Scenario | None = None,
    **conditions: Unpack[Conditions],
) -> CutTable:
    """The cuts after every layer that no edge passes by and the best cut of all, ranked.

    Where no cutter is named, a minimum cut finds the best. With limits, and for throughput,
    neither of which a min-cut minimises under, every downset of the graph is tried, up to
    `EXHAUSTIVE` of them; on graphs with more, those cuts and the unconstrained optimum are, or
    for throughput what `dads-heavy` finds, and the proof has a bound.

    With a codec it is the cuts after such layers that are tried, each with the codec
    around the tensor that crosses: encoder on the device, decoder on the server. A cut
    that the codec refuses is rejected with its reason. Channel layers are looked through.
    Codec "auto" is the best that needs no training and that samples show to cost little.

    Args:
        model: What to cut; the cut that it has already is among the rows.
        scenario: Where it is to run and what is wanted.
        conditions: The same as keywords: `head`, `tail`, `link` and so on.

    Returns:
        The table, best first.

    Raises:
        UsageError: An unknown board or cutter, or one that does not solve such problems; a
            codec that is none, or with options that fit nowhere.
        NoLegalCutError: The cutter that was named finds no cut.
    """
    given = scenario_of(scenario, conditions)
    graph = model if isinstance(model, LayerGraph) else model.graph
    samples = given.batches(graph)
    if samples and given.jpeg is None:
        from splitc.cost.jpeg_sizes import jpeg_sizes

        given = replace(given, jpeg=jpeg_sizes(graph, samples))
    if given.auto is None:
        return _table(model, given)
    if isinstance(model, LayerGraph):
        why = "a layer graph has no weights to measure a codec with"
        raise UsageError("codec auto", why=why, hint="name a codec: `splitc passes`")
    plain = _table(model, replace(given, auto=None))
    choice = choose_codec(model, plain, given.auto, samples)
    if choice.taken is None:
        return replace(plain, choice=choice)
    coded = _table(model, replace(given, auto=None, codec=choice.taken.codec))
    return with_choice(coded, choice)


def _table(model: Model | LayerGraph, given: Scenario) -> CutTable:
    """The table of one codec, or none."""
    graph, own = (model, None) if isinstance(model, LayerGraph) else (model.graph, model.cut)
    graph, own = without_channels(graph, own)
    problem = given.problem(graph)
    looked = _look(problem) if given.cutter is None else _ask(problem, given.cutter)
    cuts = looked.cuts if own is None else {_key(own): own, **looked.cuts}
    rows = [problem.row(cut) for cut in cuts.values()]
    if given.codec is not None and len(rows) > 1 and len({row.rejected for row in rows}) == 1:
        # The same everywhere is a mistake in the codec's options, and no matter of the cut.
        encode(GraphModel(graph), rows[0].cut, given.codec, None)
    aim = given.objective
    plain = replace(problem, codec=None)
    ways = ways_to_send(graph, given.server_input, given.jpeg)
    rows.sort(key=lambda r: (r.rejected is not None, r.cost.value(aim), r.cut.prefix))
    return CutTable(
        problem=problem,
        rows=tuple(rows),
        device=plain.all_on_device(),
        server=plain.all_on_server(),
        solution=looked.solution or _of_rows(problem, looked, rows),
        named=given.cutter is not None,
        exhaustive=looked.exhaustive,
        own=own,
        sent=tuple(map(problem.sent_whole, ways)),
    )


_Cuts = dict[tuple[int, tuple[int, ...]], Cut]


@dataclass(frozen=True)
class _Looked:
    """The cuts to price, and what is known of the best.

    Args:
        cuts: By what they are.
        solution: The best one and why; None where the rows have to tell.
        exhaustive: Whether every cut of the kind is among them.
        bound: What no cut is below; None where that is not known.
    """

    cuts: _Cuts
    solution: Solution | None = None
    exhaustive: bool = False
    bound: float | None = None


def _ask(problem: Problem, cutter: Cutter) -> _Looked:
    """The cuts after single layers, and what a cutter that was named finds."""
    refuse(cutter, problem)
    solution = cutter.solve(problem)
    cuts, _ = _singles(problem)
    cuts.setdefault(_key(solution.where.cut), solution.where.cut)
    return _Looked(cuts, solution)


def _look(problem: Problem) -> _Looked:
    """The cuts to try where no cutter was named."""
    cuts, exhaustive = _singles(problem)
    if problem.codec is not None:
        return _Looked(cuts, exhaustive=exhaustive)
    exact = Cutter.parse(EXACT)
    if exact.refuses(problem) is None:
        found = _solved(exact, problem)
        return _Looked(_with(cuts, found), found)
    every = all_cuts(problem.graph, EXHAUSTIVE)
    if every is not None:
        return _Looked(_by_key(every), exhaustive=True)
    free = replace(problem, limits=Constraints())
    if problem.objective == "throughput":
        found = _solved(Cutter.parse(BOUNDED), free)
        bound = None if found is None else lower_bound(found.proof)
    else:
        found = _solved(exact, free)
        bound = None if found is None else found.cost.value(problem.objective)
    return _Looked(_with(cuts, found), bound=bound)


def _solved(cutter: Cutter, problem: Problem) -> Solution | None:
    try:
        return cutter.solve(problem)
    except NoLegalCutError:
        return None


def _of_rows(problem: Problem, looked: _Looked, rows: list[CutRow]) -> Solution | None:
    """The best of the rows, which tried all there are, or said what they left out."""
    if looked.exhaustive:
        tried = [row for row in rows if _key(row.cut) in looked.cuts]
        return best_of(problem, tried, "enumerate", EVERY if problem.codec is None else SINGLE)
    best = next((row for row in rows if row.rejected is None), None)
    if best is None:
        return None
    kind = "cheapest cuts but for the link" if problem.codec is not None else SINGLE
    proof = Heuristic(
        cutter="", value=best.cost.value(problem.objective), lower_bound=looked.bound,
        why=f"too many cuts to try them all; tried were {len(looked.cuts)} {kind}",
    )  # fmt: skip
    return Solution(Placement.of_cuts([best.cut]), best.cost, proof)


def _singles(problem: Problem) -> tuple[_Cuts, bool]:
    """The cuts after a layer that no edge passes by, and whether they are all there are.

    With a codec, where there are too many, those cheapest but for the link.
    """
    cuts = list(single_cuts(problem.graph))
    if problem.codec is None:
        return _by_key(cuts), False
    most = max(1, REWRITTEN // len(problem.graph))
    if len(cuts) > most:
        cuts.sort(key=lambda cut: _but_for_the_link(problem, cut))
    return _by_key(cuts[:most]), len(cuts) <= most


def _but_for_the_link(problem: Problem, cut: Cut) -> float:
    cost = problem.costs.of(cut)
    energy = problem.costs.device.board.compute_power_w * cost.head_s
    return replace(cost, link_s=0.0, busy_s=0.0, energy_j=energy).value(problem.objective)


def _key(cut: Cut) -> tuple[int, tuple[int, ...]]:
    return cut.prefix, cut.extra


def _by_key(cuts: Iterable[Cut]) -> _Cuts:
    return {_key(cut): cut for cut in cuts}


def _with(cuts: _Cuts, found: Solution | None) -> _Cuts:
    return cuts if found is None else {**cuts, _key(found.where.cut): found.where.cut}
