# SPDX-License-Identifier: Apache-2.0
"""The cutter `dads-heavy`: throughput by minimum cuts of weighted prices, and its gap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from splitc.cost.prices import PICO
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.placement import Placement
from splitc.ir.proof import Heuristic
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import CutRow, Problem
from splitc_passes.cutters.min_cut import cheapest_cut

Weights = tuple[float, float, float]
"""Of the device, the link and the server."""

_CLOSE = 1e-9


@dataclass(frozen=True)
class DadsHeavy(Cutter):
    """Make the slowest of device, link and server as quick as it can be: frames in a pipeline.

    The maximum of three times is no sum, and no flow minimises it. A minimum cut of
    a * device + b * link + c * server does, for weights that suit: the published search tries
    a grid of them. Here the weights, which sum to 1, follow what was slowest, round by round.
    No cut is quicker than such a minimum, as a maximum is no less than a weighted mean: so the
    largest of them is a bound, and the proof says how far the best cut met is above it.

    Args:
        rounds: Minimum cuts that are made.

    Raises:
        UsageError: Under one round.
        NoLegalCutError: None of the cuts met can be used.

    References:
        Hu et al., "Dynamic Adaptive DNN Surgery for Inference Acceleration on the Edge" (DADS,
        heavy load), INFOCOM 2019, which searches the grid; the weights that follow are those of
        Lagrangian relaxation: Held, Karp, "The traveling-salesman problem and minimum spanning
        trees: Part II", Mathematical Programming 1, 1971.
    """

    name: ClassVar[str] = "dads-heavy"

    rounds: int = 60

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"{self.name}: rounds={self.rounds}", hint="one at least")

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        if problem.codec is not None:
            return problem.why_no_sum
        return None if problem.objective == "throughput" else "it maximises throughput"

    def solve(self, problem: Problem) -> Solution:
        """The best cut that was met, and the bound."""
        refuse(self, problem)
        best: CutRow | None = None
        bound, met = 0.0, 0
        for weights, value, cut in self._rounds(problem):
            met += 1
            bound = max(bound, value / sum(weights))
            row = problem.row(cut)
            if row.rejected is None and (best is None or row.cost.period_s < best.cost.period_s):
                best = row
            if best is not None and best.cost.period_s <= bound * (1 + _CLOSE):
                break
        if best is None:
            raise NoLegalCutError(f"{self.name}: none of {met} cuts can be used")
        period = best.cost.period_s
        proof = Heuristic(
            cutter=str(self), value=period, lower_bound=min(bound, period),
            why=f"the best of {met} minimum cuts of weighted prices",
        )  # fmt: skip
        return Solution(Placement.of_cuts([best.cut]), best.cost, proof)

    def _rounds(self, problem: Problem) -> Iterator[tuple[Weights, float, Cut]]:
        """Weights, the value of their minimum cut in seconds, and the cut."""
        weights: Weights = (1 / 3, 1 / 3, 1 / 3)
        for turn in range(self.rounds):
            prices = problem.costs.weighted(*weights)
            cut, proof = cheapest_cut(problem.graph, prices, pinned=problem.pinned)
            yield weights, proof.value / PICO, cut
            cost = problem.costs.of(cut)
            weights = _followed(weights, (cost.head_s, cost.busy_s, cost.tail_s), turn)


def _followed(weights: Weights, times: Weights, turn: int) -> Weights:
    """Weights with more on what took long, by ever smaller steps."""
    longest = max(*times, 1e-30)
    step = 2.0 / math.sqrt(1 + turn)
    grown = [w * math.exp(step * t / longest) for w, t in zip(weights, times, strict=True)]
    head, link, tail = (each / sum(grown) for each in grown)
    return head, link, tail
