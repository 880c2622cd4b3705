# SPDX-License-Identifier: Apache-2.0
"""Whether a proof holds against its evidence; nobody who searches cuts is asked.

Prices are those that were recorded: what a machine takes is not measured anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from splitc.cost.prices import PICO, price
from splitc.errors import BadBundleError, SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.proof import Enumerated, FlowProof, Given, Heuristic, Proof
from splitc.search.enumerate import EVERY, SINGLE, single_cuts
from splitc.search.evidence import Evidence
from splitc.search.flow_check import WRONG, check_flows
from splitc.search.problem import Problem

_MOST_WORK = 20_000_000
"""Layers that are looked at while placements are listed, all together: seconds."""
_MOST_CUTS, _LONGEST_STRETCH = 200_000, 4096
"""Cuts that are listed at most, and layers between two on every path: tens of megabytes."""
_CLOSE = 1e-9
"""Sums of floats in another order differ by less, relatively."""


@dataclass(frozen=True)
class Checked:
    """What was found of a proof.

    Args:
        again: Whether what it claims was shown anew.
        words: What was, or why it was not.
    """

    again: bool
    words: str


@dataclass(frozen=True)
class Claim:
    """What a proof is about.

    Args:
        problem: What was solved, prices as they were recorded.
        cut: The cut.
    """

    problem: Problem
    cut: Cut

    @staticmethod
    def of(evidence: Evidence, cut: Sequence[str] | str) -> Claim:
        """The problem of the evidence, and a cut by its last layers, or its name.

        Raises:
            BadBundleError: The evidence is of no problem, or it has no such cut.
        """
        try:
            problem = evidence.problem()
            named = isinstance(cut, str)
            found = Cut.named(problem.graph, cut) if named else Cut.after(problem.graph, cut)
        except (SplitcError, OverflowError) as error:
            raise _unusable(error) from error
        return Claim(problem, found)


def check_proof(proof: Proof, evidence: Evidence, claim: Claim) -> Checked:
    """Hold a proof against its evidence.

    Args:
        proof: What is claimed of the cut.
        evidence: What that rests on; it may come from anywhere.
        claim: The cut, and the problem of the evidence.

    Raises:
        BadBundleError: It does not hold; says what is wrong.
    """
    try:
        return _check(proof, evidence, claim.problem, claim.cut)
    except BadBundleError:
        raise
    except (SplitcError, OverflowError) as error:
        raise _unusable(error) from error


def _unusable(error: SplitcError | OverflowError) -> BadBundleError:
    """What it rests on is no problem, or its prices are beyond all numbers."""
    if isinstance(error, SplitcError):
        return BadBundleError(WRONG, at=error.at, why=f"{error.what} {error.why}".strip())
    return BadBundleError(WRONG, why=f"its prices cannot be summed: {error}")


def _check(proof: Proof, evidence: Evidence, problem: Problem, cut: Cut) -> Checked:
    if isinstance(proof, Given):
        return Checked(False, "the cut was named: nothing is claimed of it")
    if isinstance(proof, FlowProof):
        return _check_flow(proof, evidence, problem, cut)
    if evidence.tried:
        return _check_tried(proof, evidence, problem, cut)
    if isinstance(proof, Enumerated) and proof.kind not in (EVERY, SINGLE):
        return Checked(False, f"it is the best of {proof.count:,} {proof.kind}, by {proof.cutter}")
    if evidence.codec:
        return Checked(False, f"{proof.cutter} left no prices of the cuts with the codec inside")
    row = problem.row(cut)
    _same(proof.value, row.cost.value(problem.objective), cut)
    if row.rejected is not None:
        raise _wrong(cut, f"it may not be used: {row.rejected}")
    if isinstance(proof, Heuristic):
        return _heuristic(proof, cut)
    return _check_enumerated(proof, problem)


def _check_flow(proof: FlowProof, evidence: Evidence, problem: Problem, cut: Cut) -> Checked:
    prices = evidence.prices(problem)
    rejected = cut.why_not() or problem.why_elsewhere(cut)
    if rejected is not None or not cut.is_proper:
        raise _wrong(cut, f"it may not be used: {rejected or 'a side has no layer'}")
    value = price(prices, cut)
    if value != proof.value or proof.lower_bound != proof.value:
        why = f"it costs {value or 0:,}; the proof says {proof.value:,}, and {proof.lower_bound:,} "
        raise _wrong(cut, why + "is what no cut is below")
    used = check_flows(problem, prices, proof.value, evidence.flows)
    flows = {0: "sums of prices", 1: "a flow"}.get(used, f"{used} flows")
    return Checked(True, f"no cut costs less, by {flows} and the cuts after single layers")


def _check_enumerated(proof: Enumerated, problem: Problem) -> Checked:
    unlisted = Checked(False, "the cut's price was summed anew; there are too many to list")
    if proof.count > _MOST_CUTS:
        return unlisted
    if proof.kind == SINGLE:
        cuts = ((other, 1) for other in single_cuts(problem.graph))
    elif max((b - a for a, b in problem.graph.stretches), default=0) > _LONGEST_STRETCH:
        return unlisted
    else:
        cuts = _downsets(problem.graph, proof)
    count, work = 0, 0
    for other, looked in cuts:
        count += 1
        work += looked + len(problem.pinned) + 100
        if work > _MOST_WORK:
            return unlisted
        row = problem.row(other)
        cost = row.cost.value(problem.objective)
        if row.rejected is None and cost < proof.value * (1 - _CLOSE):
            raise _cheaper(other, cost, proof.value)
    if count != proof.count:
        raise _miscounted(proof, f"{count:,}")
    return Checked(True, f"it is the best of {count:,} {proof.kind}, counted and priced anew")


def _check_tried(
    proof: Enumerated | Heuristic, evidence: Evidence, problem: Problem, cut: Cut
) -> Checked:
    """Cuts with a codec inside have prices of their own: as they were recorded."""
    known = {one.cut: one for one in evidence.tried}
    if cut.layers not in known or known[cut.layers].rejected is not None:
        raise _wrong(cut, "it is not among the cuts that were tried and may be used")
    _same(proof.value, known[cut.layers].value, cut)
    for one in known.values():
        if one.rejected is None and one.value < proof.value * (1 - _CLOSE):
            raise _cheaper(Cut.after(problem.graph, one.cut), one.value, proof.value)
    if isinstance(proof, Heuristic):
        return _heuristic(proof, cut)
    if proof.kind not in (EVERY, SINGLE):
        if len(known) != proof.count:
            raise _miscounted(proof, f"{len(known):,}")
        return Checked(False, f"it is the best of {len(known):,} {proof.kind}, as recorded")
    singles = {other.layers for other in single_cuts(problem.graph)}
    if not known.keys() >= singles:
        raise _wrong(cut, f"{len(singles - known.keys())} cuts were not tried")
    if len(singles) != proof.count:
        raise _miscounted(proof, f"{len(singles):,}")
    return Checked(True, f"it is the best of {len(singles):,} {proof.kind}, at recorded prices")


def _heuristic(proof: Heuristic, cut: Cut) -> Checked:
    if proof.lower_bound is not None and proof.lower_bound > proof.value * (1 + _CLOSE):
        raise _wrong(cut, f"it costs less than its bound of {proof.lower_bound:g}")
    return Checked(False, f"the cut's price was summed anew; it may not be the best: {proof.why}")


def _downsets(graph: LayerGraph, proof: Enumerated) -> Iterator[tuple[Cut, int]]:
    """Every proper cut, each once, and how many layers and edges were looked at for it.

    Inside a stretch heads grow from the empty one by a layer that has all it reads; they are
    bits of an integer, the stretch's first layer the lowest.
    """
    ends = {p + 1 for p in graph.dominators}
    for end in sorted(ends):
        if (cut := Cut(graph, end)).is_proper:
            yield cut, 1
    for start, stop in graph.stretches:
        inside = range(stop - start)
        reads = [[j - start for j in graph.predecessors[start + i] if j >= start] for i in inside]
        needs = [sum(1 << j for j in each) for each in reads]
        looked = len(inside) + sum(map(len, reads))
        todo, seen = [0], {0}
        while todo:
            held = todo.pop()
            cut = _grown(graph, start, held)
            if cut.is_proper and (cut.extra or cut.prefix not in ends):
                yield cut, looked
            for i in inside:
                more = held | 1 << i
                if held & needs[i] == needs[i] and more not in seen:
                    seen.add(more)
                    todo.append(more)
            # The empty and the whole stretch are cuts beside it, or none.
            if len(seen) > proof.count + 2:
                raise _miscounted(proof, f"over {proof.count:,}")


def _grown(graph: LayerGraph, start: int, held: int) -> Cut:
    """The cut whose head is all before a stretch, and layers of it, as bits."""
    prefix = start
    while held >> (prefix - start) & 1:
        prefix += 1
    more = range(prefix + 1, start + held.bit_length())
    return Cut(graph, prefix, tuple(i for i in more if held >> (i - start) & 1))


def _miscounted(proof: Enumerated, count: str) -> BadBundleError:
    why = f"there are {count} {proof.kind}, the proof says {proof.count:,}"
    return BadBundleError(WRONG, why=why)


def _same(claimed: float, found: float, cut: Cut) -> None:
    rounded = 2 * len(cut.graph) / PICO  # of a value that was summed in whole picoseconds
    if not math.isclose(claimed, found, rel_tol=_CLOSE, abs_tol=rounded):
        raise _wrong(cut, f"it costs {found:.9g}, the proof says {claimed:.9g}")


def _cheaper(other: Cut, cost: float, value: float) -> BadBundleError:
    return _wrong(other, f"it costs {cost:.9g}, less than the {value:.9g} that is said to be least")


def _wrong(cut: Cut, why: str) -> BadBundleError:
    return BadBundleError(WRONG, at=f"the cut after '{cut.name}'", why=why)
