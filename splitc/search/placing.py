# SPDX-License-Identifier: Apache-2.0
"""Where layers run on a chain of machines: device, edge, cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from splitc.cost.board import Board
from splitc.cost.chain import ChainCost, whole
from splitc.cost.prices import CostModel, Objective, ResultsAt
from splitc.cost.topology import DEVICE, SERVER, Site, Topology, cost_model
from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.layer_names import layers_called
from splitc.ir.model import Model
from splitc.ir.placement import Placement
from splitc.link.link import Link
from splitc.passes.at_cut import without_channels
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import Problem

SITES = "sites"
"""The cutter that lays layers over machines in a row."""


@dataclass(frozen=True)
class Placed:
    """The best placement along a chain of machines, and what others cost.

    Args:
        problem: What it answers.
        solution: The placement and why it is the best.
    """

    problem: Problem
    solution: Solution

    @property
    def where(self) -> Placement:
        """The site of every layer."""
        return self.solution.where

    @property
    def cost(self) -> ChainCost:
        """What each machine and each link takes of it."""
        return self.problem.chain.of(self.where)

    def alone(self, site: int) -> ChainCost:
        """What it costs to run every layer on one machine, the inputs coming from the first."""
        return self.problem.chain.of(whole(self.problem.graph, site))

    def value(self, cost: ChainCost) -> float:
        """What is minimised: seconds, or joules of the first machine."""
        return cost.device.value(self.problem.objective)

    def layers(self, site: int) -> tuple[str, ...]:
        """Names of the layers that a machine runs, in the graph's order."""
        graph = self.problem.graph
        placed = zip(graph.layers, self.where.site, strict=True)
        return tuple(each.name for each, at in placed if at == site and not each.is_input)


def find_placement(
    model: Model | LayerGraph,
    boards: Sequence[str | Board | CostModel],
    links: Sequence[Link | str],
    *,
    objective: Objective = "latency",
    pins: Mapping[str, int] | None = None,
    results: ResultsAt = "device",
    cutter: Cutter | str = SITES,
) -> Placed:
    """Lay a network over machines in a row: which layer runs where, and why it is the best way.

    Args:
        model: The network, or its layers.
        boards: The machines in their order, by name, file or object, or cost models of one's
            own. The network's inputs come in at the first.
        links: What lies between each and the next: a `Link`, or the name of one.
        objective: latency, or energy of the first machine.
        pins: Layers, or modules of them, and the number of the machine that they have to run
            on, from 0.
        results: Where they are wanted: at the first, the `device`, or at the last, the `server`.
        cutter: The algorithm, or its text.

    Raises:
        UsageError: Not one link fewer than machines; an unknown board, link, layer or cutter; a
            pin to a machine that there is not.
        NoLegalCutError: No way keeps the pins.
    """
    if len(boards) < 2 or len(links) != len(boards) - 1:
        why = f"{len(boards)} machines, and {len(links)} links between"
        raise UsageError("machines in a row need a link from each to the next", why=why)
    bare = model if isinstance(model, LayerGraph) else model.graph
    graph, _ = without_channels(bare, None)
    pinned = _pinned(graph, pins or {}, len(boards))
    names = site_names(len(boards))
    sites = tuple(
        Site(name, cost_model(board), frozenset(here))
        for name, board, here in zip(names, boards, pinned, strict=True)
    )
    ways = (each if isinstance(each, Link) else Link.named(each) for each in links)
    topology = Topology(sites, dict(zip(pairwise(names), ways, strict=True)))
    problem = Problem(graph, topology, objective, results=results)
    asked = Cutter.parse(cutter) if isinstance(cutter, str) else cutter
    refuse(asked, problem)
    return Placed(problem, asked.solve(problem))


def site_names(count: int) -> tuple[str, ...]:
    """What machines in a row are called: device, edge, server; edge1, edge2 … of several."""
    between = count - 2
    edges = ["edge"] if between == 1 else [f"edge{k}" for k in range(1, between + 1)]
    return (DEVICE, *edges, SERVER)


def _pinned(graph: LayerGraph, pins: Mapping[str, int], count: int) -> list[set[str]]:
    """Names of the layers that have to run on each machine."""
    found: list[set[str]] = [set() for _ in range(count)]
    sites: dict[str, int] = {}
    for text, site in pins.items():
        if not 0 <= site < count:
            why = f"there are {count}, numbered from 0"
            raise UsageError(f"'{text}' is pinned to machine {site}", why=why)
        for name in layers_called(text, graph.index):
            if sites.setdefault(name, site) != site:
                raise UsageError(f"'{name}' is pinned to machines {sites[name]} and {site}")
            found[site].add(name)
    return found
