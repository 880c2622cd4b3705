# SPDX-License-Identifier: Apache-2.0
"""Every cut of a graph, and the cutter that tries them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import Enumerated
from splitc.search.cutter import Cutter, Solution
from splitc.search.evidence import Evidence, Tried
from splitc.search.problem import CutRow, Problem

EXHAUSTIVE = 20_000
"""Cuts that are tried one by one at most."""
EVERY, SINGLE = "downsets", "cuts after a layer that no edge passes by"
"""Kinds of placements that are enumerated; a codec stands around one tensor."""


@dataclass(frozen=True)
class Enumerate(Cutter):
    """Try every cut, and take the best of those that keep all limits.

    With a codec it is the cuts after a layer that no edge passes by that are tried.

    Args:
        most: Cuts that are tried at most; a graph with more is refused.

    Raises:
        UsageError: There are more cuts than `most`.
        NoLegalCutError: No cut keeps the limits.
    """

    name: ClassVar[str] = "enumerate"

    most: int = EXHAUSTIVE

    def solve(self, problem: Problem) -> Solution:
        """The best of all cuts."""
        if problem.codec is None:
            cuts, kind = all_cuts(problem.graph, self.most), EVERY
        else:
            singles = [*single_cuts(problem.graph)]
            cuts, kind = singles if len(singles) <= self.most else None, SINGLE
        if cuts is None:
            hint = f"raise it: '{self.name}(most={10 * self.most})'"
            raise UsageError(f"{self.name}: there are more than {self.most:,} cuts", hint=hint)
        found = best_of(problem, [problem.row(cut) for cut in cuts], str(self), kind)
        if found is None:
            raise NoLegalCutError(f"{self.name}: none of {len(cuts)} cuts can be used")
        return found

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """The problem; with a codec what each cut was priced at too."""
        if problem.codec is None:
            return Evidence.of(problem)
        rows = [problem.row(cut) for cut in single_cuts(problem.graph)]
        aim = problem.objective
        return Evidence.of(problem, tried=[Tried.of(row, row.cost.value(aim)) for row in rows])


def best_of(problem: Problem, rows: Sequence[CutRow], cutter: str, kind: str) -> Solution | None:
    """The best row that may be used, of all of a kind; None where none may.

    Args:
        problem: What they answer.
        rows: All there are.
        cutter: Who tried them.
        kind: What they are all of.
    """
    usable = [row for row in rows if row.rejected is None]
    if not usable:
        return None
    best = min(usable, key=lambda row: (row.cost.value(problem.objective), row.cut.prefix))
    value = best.cost.value(problem.objective)
    proof = Enumerated(cutter=cutter, value=value, count=len(rows), kind=kind)
    return Solution(Placement.of_cuts([best.cut]), best.cost, proof)


def all_cuts(graph: LayerGraph, most: int) -> list[Cut] | None:
    """Every proper cut of a graph; None where there are more than `most`.

    Between neighbouring dominators the downsets are listed one stretch at a time,
    so that their number is a sum over stretches and not a product.
    """
    cuts = list(single_cuts(graph))
    if len(cuts) > most:
        return None
    for start, stop in graph.stretches:
        found: list[frozenset[int]] = [frozenset()]
        for i in range(start, stop):
            needs = [j for j in graph.predecessors[i] if j >= start]
            found += [s | {i} for s in found if s.issuperset(needs)]
            if len(cuts) + len(found) > most:
                return None
        heads = (Cut.of(graph, (*range(start), *inside)) for inside in found)
        cuts += [cut for cut in heads if cut.is_proper]
    # A stretch that is all in the tail is the cut before it.
    return list({(cut.prefix, cut.extra): cut for cut in cuts}.values())


def single_cuts(graph: LayerGraph) -> Iterator[Cut]:
    """The proper cuts after a layer that no edge passes by."""
    for i in graph.cut_points:
        cut = Cut(graph, i + 1)
        if cut.is_proper:
            yield cut
