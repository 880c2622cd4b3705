# SPDX-License-Identifier: Apache-2.0
"""The cutter `edgent`: the deepest exit, and the best cut before it, that keep a deadline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from splitc.cost.topology import Topology
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import Enumerated
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.enumerate import SINGLE, single_cuts
from splitc.search.evidence import Evidence, Tried
from splitc.search.problem import CutRow, Problem


@dataclass(frozen=True)
class Edgent(Cutter):
    """Take the deepest exit that can keep a deadline, with the best cut before it.

    The deeper an exit, the more often it is right: so exits are tried deepest first, the end of
    the network before them all, each with all cuts after a layer that no edge passes by, and
    the first whose best cut keeps the deadline is taken. Cuts inside a block are not looked at,
    nor are exits inside one. What an exit's own classifier takes, and its result's way back, are
    counted where they are among the network's layers and results.

    Args:
        exits: `LAYER,LAYER,…`: the last layers that frames run which leave there.
        within_ms: The deadline; without one the end of the network is taken.

    Raises:
        UsageError: An exit's layer is unknown or has edges that pass it by, or the deadline is
            not above zero.
        NoLegalCutError: Not even the first exit keeps the deadline; says how long it takes.

    References:
        Li, Zhou, Chen, "Edge Intelligence: On-Demand Deep Learning Model Co-Inference with
        Device-Edge Synergy", MECOMM 2018; Li, Zeng, Zhou, Chen, "Edge AI", IEEE Transactions on
        Wireless Communications 19(1), 2020.
    """

    name: ClassVar[str] = "edgent"

    exits: str = ""
    within_ms: float | None = None

    def __post_init__(self) -> None:
        if self.within_ms is not None and not 0 < self.within_ms < math.inf:
            raise UsageError(f"{self.name}: within_ms={self.within_ms:g}", hint="above zero")

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        return None if problem.objective == "latency" else "it minimises the latency"

    def solve(self, problem: Problem) -> Solution:
        """The cut; the proof names the exit, and `cost` is that of a frame that does not leave."""
        rows, best, name = self._best(problem)
        cut = Cut(problem.graph, best.cut.prefix)
        proof = Enumerated(
            cutter=str(self), value=best.cost.latency_s, count=len(rows),
            kind=f"{SINGLE}, frames leaving at '{name}'",
        )  # fmt: skip
        return Solution(Placement.of_cuts([cut]), problem.cost(cut), proof)

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """The cuts before the exit, with their latency up to there."""
        rows, _, _ = self._best(problem)
        return Evidence.of(problem, tried=[Tried.of(row, row.cost.latency_s) for row in rows])

    def _best(self, problem: Problem) -> tuple[list[CutRow], CutRow, str]:
        """All cuts before the exit that is taken, the best of them, and the exit."""
        refuse(self, problem)
        limit_s = math.inf if self.within_ms is None else self.within_ms / 1e3
        quickest: tuple[float, str] | None = None
        for end in self._ends(problem.graph):
            name = problem.graph.layers[end].name
            rows = _rows_upto(problem, end)
            usable = [row for row in rows if row.rejected is None]
            if not usable:
                continue
            best = min(usable, key=lambda row: (row.cost.latency_s, row.cut.prefix))
            took_s = best.cost.latency_s
            if took_s <= limit_s:
                return rows, best, name
            quickest = min(quickest or (took_s, name), (took_s, name))
        if quickest is None:
            raise NoLegalCutError(f"{self.name}: no cut can be used before any exit")
        took_s, name = quickest
        raise NoLegalCutError(
            f"{self.name}: no exit keeps {limit_s * 1e3:g} ms",
            why=f"frames that leave at '{name}' take {took_s * 1e3:.1f} ms",
            hint="an earlier exit, or a later deadline",
        )

    def _ends(self, graph: LayerGraph) -> list[int]:
        """Positions of the last layers that run, the deepest first."""
        found = {len(graph) - 1}
        for name in (part.strip() for part in self.exits.split(",") if part.strip()):
            position = graph.index[graph.layer(name).name]
            if position not in graph.cut_points:
                why = "frames that stay go round it"
                raise UsageError(f"there is no exit after '{name}'", why=why)
            found.add(position)
        return sorted(found, reverse=True)


def _rows_upto(problem: Problem, end: int) -> list[CutRow]:
    """The cuts of the network that ends behind a layer."""
    whole = problem.graph
    outputs = tuple(name for name in whole.outputs if whole.producer[name] <= end)
    graph = LayerGraph(whole.layers[: end + 1], outputs)
    sites = tuple(
        replace(site, pinned=frozenset(name for name in site.pinned if name in graph.index))
        for site in problem.topology.sites
    )
    part = replace(problem, graph=graph, topology=Topology(sites, problem.topology.links))
    return [part.row(cut) for cut in single_cuts(graph)]
