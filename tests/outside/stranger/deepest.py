# SPDX-License-Identifier: Apache-2.0
"""A cutter with an option: as much on the device as can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from splitc.errors import NoLegalCutError
from splitc.ir.cut import Cut
from splitc.ir.placement import Placement
from splitc.ir.proof import Heuristic
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import Problem


@dataclass(frozen=True)
class Deepest(Cutter):
    """The last cut that leaves the tail a number of layers.

    Args:
        leave: Layers of the tail at least. At least 1.
    """

    name: ClassVar[str] = "deepest"

    leave: int = 1

    def refuses(self, problem: Problem) -> str | None:
        """It does not look at the objective, so it cannot promise to be best in one."""
        return "it knows nothing of energy" if problem.objective == "energy" else None

    def solve(self, problem: Problem) -> Solution:
        """The deepest cut.

        Raises:
            NoLegalCutError: The network has too few layers.
            UsageError: Energy is to be minimised.
        """
        refuse(self, problem)
        last = len(problem.graph) - self.leave
        for prefix in range(last, problem.graph.input_count, -1):
            cut = Cut(problem.graph, prefix)
            if cut.is_proper and cut.why_not() is None:
                proof = Heuristic(
                    cutter=str(self), value=problem.value(cut), why="it is the deepest"
                )
                return Solution(Placement.of_cuts([cut]), problem.cost(cut), proof)
        raise NoLegalCutError(f"no cut leaves the tail {self.leave} layers")
