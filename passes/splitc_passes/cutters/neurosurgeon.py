# SPDX-License-Identifier: Apache-2.0
"""The cutter `neurosurgeon`: the best cut after one layer, the server as busy as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from splitc.cost.prices import CutCost
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.placement import Placement
from splitc.ir.proof import Enumerated
from splitc.search.cutter import Cutter, Solution
from splitc.search.enumerate import SINGLE, single_cuts
from splitc.search.evidence import Evidence, Tried
from splitc.search.problem import Problem


@dataclass(frozen=True)
class Neurosurgeon(Cutter):
    """Try the cut after every layer that no edge passes by, the tail slowed by the server's load.

    Minimised is head + link + K * tail for latency, and what the device spends for energy, where
    the server's load changes nothing. Cuts inside a block, through several tensors, are not
    looked at: on a network that is a chain it finds what `min-cut` finds with K = 1.

    Args:
        server_load: K, how many times longer the server takes than when it is idle.

    Raises:
        UsageError: K is under 1.
        NoLegalCutError: No such cut keeps the limits.

    References:
        Kang et al., "Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile
        Edge", ASPLOS 2017.
    """

    name: ClassVar[str] = "neurosurgeon"

    server_load: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.server_load < math.inf:
            hint = "1 is an idle server, 4 one that takes four times as long"
            raise UsageError(f"{self.name}: server_load={self.server_load:g}", hint=hint)

    def refuses(self, problem: Problem) -> str | None:
        """Two sites are what it knows."""
        return None if len(problem.topology.sites) == 2 else "it divides layers between two sites"

    def solve(self, problem: Problem) -> Solution:
        """The best of the cuts after one layer."""
        rows = [problem.row(cut) for cut in single_cuts(problem.graph)]
        usable = [row for row in rows if row.rejected is None]
        if not usable:
            raise NoLegalCutError(f"{self.name}: none of {len(rows)} cuts can be used")
        best = min(usable, key=lambda row: (self._value(problem, row.cost), row.cut.prefix))
        proof = Enumerated(
            cutter=str(self), value=self._value(problem, best.cost), count=len(rows), kind=SINGLE
        )
        return Solution(Placement.of_cuts([best.cut]), best.cost, proof)

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """The problem with the server as slow as it was taken to be."""
        tried: list[Tried] = []
        if problem.codec is not None:
            rows = [problem.row(cut) for cut in single_cuts(problem.graph)]
            tried = [Tried.of(row, self._value(problem, row.cost)) for row in rows]
        return Evidence.of(problem, server_load=self.server_load, tried=tried)

    def _value(self, problem: Problem, cost: CutCost) -> float:
        """What it minimises: the objective with the tail slowed."""
        slowed = replace(cost, tail_s=cost.tail_s * self.server_load)
        return slowed.value(problem.objective)
