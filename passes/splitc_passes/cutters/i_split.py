# SPDX-License-Identifier: Apache-2.0
"""The cutter `i-split`: the best cut of those right after a layer that matters more than others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.placement import Placement
from splitc.ir.proof import Enumerated
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.enumerate import SINGLE, single_cuts
from splitc.search.evidence import Evidence, Tried
from splitc.search.importance import read_importance
from splitc.search.problem import CutRow, Problem


@dataclass(frozen=True)
class ISplit(Cutter):
    """Cut where the network knows most, by importance that was measured on data.

    Without a weight it is a limit: only cuts right after a local maximum of importance are
    tried, and the best by the objective is taken. With a weight w it is a term: all cuts after a
    layer that no edge passes by are tried, and what is minimised is
    objective * (1 + w * (1 - importance / highest importance)), so that a cut of no importance
    counts as w times dearer.

    Args:
        importance: A file that `splitc importance` wrote of the network.
        weight: w; 0 for the limit.

    Raises:
        UsageError: There is no such file, or it is of another network; a weight below 0.
        NoLegalCutError: None of these cuts keeps the limits.

    References:
        Cunico et al., "I-SPLIT: Deep Network Interpretability for Split Computing", ICPR 2022,
        which takes the local maxima; the term is ours.
    """

    name: ClassVar[str] = "i-split"
    files: ClassVar[tuple[str, ...]] = ("importance",)

    importance: str = ""
    weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise UsageError(f"{self.name}: weight={self.weight:g}", hint="0 or above")

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        if not self.importance:
            return 'it needs a file of importance: i-split(importance="FILE.json")'
        return None

    def solve(self, problem: Problem) -> Solution:
        """The best of these cuts, all of which were tried."""
        rows, kind = self._rows(problem)
        usable = {value: row for row, value in reversed(rows) if row.rejected is None}
        if not usable:
            raise NoLegalCutError(f"{self.name}: none of {len(rows)} {kind} can be used")
        least = min(usable)
        proof = Enumerated(cutter=self.plain, value=least, count=len(rows), kind=kind)
        return Solution(Placement.of_cuts([usable[least].cut]), usable[least].cost, proof)

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """Every cut that was tried, with what was minimised."""
        rows, _ = self._rows(problem)
        return Evidence.of(problem, tried=[Tried.of(row, value) for row, value in rows])

    def _rows(self, problem: Problem) -> tuple[list[tuple[CutRow, float]], str]:
        """The cuts that are tried by depth, with what is minimised, and what they are all of."""
        refuse(self, problem)
        measured = read_importance(self.importance, problem.graph)
        if self.weight:
            cuts = [cut for cut in single_cuts(problem.graph) if measured.of(cut) is not None]
            kind = f"{SINGLE}, importance weighed by {self.weight:g}"
        else:
            cuts, kind = [*measured.peaks(problem.graph)], "cuts right after a peak of importance"
        highest = max((measured.of(cut) or 0.0 for cut in cuts), default=0.0) or 1.0
        found: list[tuple[CutRow, float]] = []
        for row in map(problem.row, cuts):
            missing = 1 - (measured.of(row.cut) or 0.0) / highest
            value = row.cost.value(problem.objective) * (1 + self.weight * missing)
            found.append((row, value))
        return found, kind
