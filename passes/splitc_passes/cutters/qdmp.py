# SPDX-License-Identifier: Apache-2.0
"""The cutter `qdmp`: the best cut at a layer on every path, then minimum cuts beside it alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from splitc.cost.prices import PICO
from splitc.ir.placement import Placement
from splitc.ir.proof import Heuristic
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import Problem
from splitc_passes.cutters.min_cut import cheapest_cut


@dataclass(frozen=True)
class Qdmp(Cutter):
    """Find the stretch between layers on every path where the best cut may be, and cut only that.

    The best cut ends in one such stretch. The first stage prices the cuts after layers on every
    path and takes the best of them; the second makes minimum cuts of the two stretches that
    touch it. It is quick, and right where prices fall towards one such layer and rise behind it.
    They need not, so the best cut may be in a stretch that was passed over: the proof has what
    no cut there is below, each layer on its cheaper side, and so how far it may be off. The
    prices, and the edges against dependencies, are those of `min-cut`.

    Raises:
        NoLegalCutError: No proper cut has a boundary that can cross a link.
        UsageError: The objective is no sum, or there are limits.

    References:
        Zhang et al., "Towards Real-time Cooperative Deep Inference over the Cloud and Edge End
        Devices" (QDMP), Proc. ACM Interact. Mob. Wearable Ubiquitous Technol. 4(2), 2020, whose
        two stages these are.
    """

    name: ClassVar[str] = "qdmp"

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        return problem.why_no_sum or problem.limited

    def solve(self, problem: Problem) -> Solution:
        """The best cut beside the best layer on every path, and the bound of all others."""
        refuse(self, problem)
        prices, pinned = problem.prices(), problem.pinned
        cut, proof = cheapest_cut(problem.graph, prices, pinned=pinned, beside=True)
        cost = problem.cost(cut)
        value = cost.value(problem.objective)
        told = Heuristic(
            cutter=self.name, value=value, lower_bound=min(proof.lower_bound / PICO, value),
            why="minimum cuts of the stretches beside the best layer on every path alone",
        )  # fmt: skip
        return Solution(Placement.of_cuts([cut]), cost, told)
