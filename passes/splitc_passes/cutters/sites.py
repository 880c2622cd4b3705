# SPDX-License-Identifier: Apache-2.0
"""The cutter `sites`: layers laid over a chain of sites, by a shortest path over stretches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from splitc.cost.chain import chain_price, pinned_prices
from splitc.cost.prices import Prices
from splitc.errors import NoLegalCutError, SplitcError
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import FlowProof
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import Problem
from splitc_passes.cutters.site_flow import Stretch

State = tuple[int, int]
"""A step, and the site that its last layer lies on."""


@dataclass(frozen=True)
class Sites(Cutter):
    """The cheapest way to lay layers over sites in a row: device, edge, cloud, however many.

    No layer lies before one that it reads from; a site may hold none. Layers that every path
    runs through separate the problem: a node of the path is such a layer on a site, an edge the
    stretch between two of them, at the cost of its cheapest way from the one site to the other.
    That is a sum where both are the same, and else a minimum cut with a node for each layer and
    link, so that blocks may be cut inside, by several links too. An edge is solved only where a
    bound says that a path through it may be cheaper than the best with no block cut. What is
    minimised has to be a sum, and a flow keeps no limits.

    Raises:
        NoLegalCutError: Nothing that keeps the pins can be sent.
        UsageError: The objective is no sum, there are limits, or the sites are no chain.

    References:
        Ishikawa, "Exact optimization for Markov random fields with convex priors", PAMI 2003,
        for a stretch; between stretches Dijkstra's sum over a graph that has no circles.
    """

    name: ClassVar[str] = "sites"

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve the problem."""
        if len(problem.topology.sites) == 2:
            return "it lays layers over three machines or more, which --via names"
        return problem.why_no_sum or problem.limited

    def solve(self, problem: Problem) -> Solution:
        """The cheapest placement, and the flows that prove it."""
        refuse(self, problem)
        plain = problem.chain.prices(energy=problem.objective == "energy")
        prices, most = pinned_prices(plain, problem.pinned)
        where, proof = cheapest_placement(problem.graph, prices)
        if proof.value >= most or chain_price(plain, where) != proof.value:
            raise NoLegalCutError(
                "the network cannot be laid over these sites",
                why="every way breaks a pin, or sends what has no fixed size",
            )
        return Solution(where, problem.chain.of(where).device, proof)


def cheapest_placement(graph: LayerGraph, prices: Prices) -> tuple[Placement, FlowProof]:
    """The placement with the lowest price, and its proof.

    Args:
        graph: The layers.
        prices: Of sites in a chain; every tensor has one.
    """
    path = _Path(graph, prices)
    value, site = path.shortest()
    where = Placement(graph, tuple(site))
    summed = chain_price(prices, where)
    if summed != value:
        raise SplitcError("sites: path and placement disagree", why=f"{value} against {summed}")
    return where, FlowProof(
        cutter=Sites.name, value=value, flow=value if path.by_flow else None, lower_bound=value,
        stretches=path.solved,
    )  # fmt: skip


class _Path:
    """The shortest path through the steps of a graph.

    A step is a stretch and the layer behind it, which every path runs through; behind the last
    stretch there may be none, where a network has several results.
    """

    def __init__(self, graph: LayerGraph, prices: Prices) -> None:
        self._graph, self._prices = graph, prices
        self._count = len(prices.sites)
        self.solved = 0
        self.by_flow = False

    @cached_property
    def _steps(self) -> list[Stretch]:
        graph = self._graph
        ends = [p for p in graph.dominators if p >= graph.input_count]
        if not ends or ends[-1] < len(graph) - 1:
            ends.append(len(graph))
        starts = [graph.input_count, *(end + 1 for end in ends[:-1])]
        return [
            Stretch(graph, self._prices, start, end)
            for start, end in zip(starts, ends, strict=True)
        ]

    def shortest(self) -> tuple[int, list[int]]:
        """The least price, and the site of every layer."""
        least_behind = self._least_behind()
        best = self._without_flows()
        begin = sum(self._prices.sites[0][: self._graph.input_count])
        known: dict[State, int] = {(-1, 0): begin}
        came: dict[State, tuple[int, Mapping[int, int]]] = {}
        for number in range(len(self._steps)):
            for first in range(self._count):
                behind = known.get((number - 1, first), math.inf)
                for last in range(first, self._count):
                    state = number, last
                    rest = least_behind[number + 1][last]
                    bound = behind + self._edge_bound(number, first, last) + rest
                    if bound > best or bound - rest >= known.get(state, math.inf):
                        continue
                    value, sites = self._edge(number, first, last)
                    if behind + value < known.get(state, math.inf):
                        known[state] = int(behind) + value
                        came[state] = first, sites
        return self._followed(known, came)

    def _followed(
        self, known: Mapping[State, int], came: Mapping[State, tuple[int, Mapping[int, int]]]
    ) -> tuple[int, list[int]]:
        """The path that led to the cheapest end."""
        number = len(self._steps) - 1
        ends = [(known[number, k], k) for k in range(self._count) if (number, k) in known]
        value, last = min(ends)
        site = [0] * len(self._graph)
        while number >= 0:
            before, sites = came[number, last]
            self.by_flow |= len({*sites.values(), before, last}) > 1 and bool(sites)
            for i, at in sites.items():
                site[i] = at
            if self._steps[number].stop < len(self._graph):
                site[self._steps[number].stop] = last
            number, last = number - 1, before
        return value, site

    def _edge(self, number: int, first: int, last: int) -> tuple[int, dict[int, int]]:
        """What a step costs from one site to another, and where its stretch's layers lie."""
        step, fixed = self._steps[number], self._fixed(number, first, last)
        if first == last:
            return fixed + step.all_on(first), dict.fromkeys(step.inside, first)
        if not step.inside:
            return fixed + step.entering(first, last), {}
        self.solved += 1
        value, sites = step.laid(first, last)
        return fixed + value, sites

    def _edge_bound(self, number: int, first: int, last: int) -> int:
        """What a step costs at least."""
        return self._fixed(number, first, last) + self._steps[number].at_least(first, last)

    def _fixed(self, number: int, first: int, last: int) -> int:
        """The layer behind a stretch, and what is paid once for every link that is crossed."""
        stop = self._steps[number].stop
        own = self._prices.sites[last][stop] if stop < len(self._graph) else 0
        return own + sum(self._prices.links[hop, hop + 1].once for hop in range(first, last))

    def _least_behind(self) -> list[list[int]]:
        """What the steps from one on cost at least, by the site that is come from."""
        sites = range(self._count)
        found = [[0] * self._count]
        for number in reversed(range(len(self._steps))):
            found.append([
                min(self._edge_bound(number, a, b) + found[-1][b] for b in sites[a:]) for a in sites
            ])  # fmt: skip
        return found[::-1]

    def _without_flows(self) -> float:
        """The cheapest placement that changes sites right after layers on every path alone."""
        begin = sum(self._prices.sites[0][: self._graph.input_count])
        known: list[float] = [begin, *[math.inf] * (self._count - 1)]
        for number, step in enumerate(self._steps):
            known = [
                min(
                    known[a] + self._fixed(number, a, b) + step.entering(a, b) + step.all_on(b)
                    for a in range(b + 1)
                )
                for b in range(self._count)
            ]
        return min(known)
