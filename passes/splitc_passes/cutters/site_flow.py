# SPDX-License-Identifier: Apache-2.0
"""The cheapest way to lay one stretch of layers over several sites in a row, by maximum flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import networkx

from splitc.cost.prices import Prices
from splitc.ir.graph import LayerGraph

_SOURCE, _SINK = "near", "far"
nx: Any = networkx
"""networkx has no types of its own."""


@dataclass(frozen=True)
class Stretch:
    """The layers at [start, stop) of a graph, laid over sites.

    Args:
        graph: The whole graph.
        prices: Of sites in a chain; every tensor has one.
        start: First position; the layer before, or the inputs, lies on the first of the sites.
        stop: Behind the last; the layer there, where there is one, lies on the last of them.
    """

    graph: LayerGraph
    prices: Prices
    start: int
    stop: int

    @property
    def inside(self) -> range:
        """Positions of its layers."""
        return range(self.start, self.stop)

    @property
    def crossing(self) -> list[str]:
        """Tensors that links may have to carry: made before its end, read in it or behind."""
        graph, start = self.graph, self.start
        first = start - 1 if start > graph.input_count else 0
        return [
            tensor.name
            for i in range(first, self.stop)
            for tensor in graph.layers[i].outputs
            if graph.readers[tensor.name] and graph.readers[tensor.name][-1] >= start
        ]

    def all_on(self, site: int) -> int:
        """What its layers cost on one site."""
        return sum(self.prices.sites[site][i] for i in self.inside)

    def entering(self, first: int, last: int) -> int:
        """What it costs to carry what it reads from the first site to the last, ahead of it."""
        near = [name for name in self.crossing if self.graph.producer[name] < self.start]
        return sum(
            self.prices.links[hop, hop + 1].tensor[name] or 0
            for hop in range(first, last)
            for name in near
        )

    def at_least(self, first: int, last: int) -> int:
        """What its layers cost at least, each on the cheapest of the sites."""
        sites = self.prices.sites[first : last + 1]
        return sum(min(site[i] for site in sites) for i in self.inside)

    def laid(self, first: int, last: int) -> tuple[int, dict[int, int]]:
        """The least cost of all ways over the sites first … last, and each layer's site.

        A layer has a node for each link between: near the source where it lies before that
        link. From one link's node to the next leads what the site between costs, and back
        against it no way, so that a layer before one link is before all later ones. A tensor
        has a node for each link too, its price on the edge into it. Dependencies have infinite
        edges against their direction, as for two sites.

        References:
            Ishikawa, "Exact optimization for Markov random fields with convex priors", PAMI
            2003: labels in a row as a chain of nodes.
        """
        net = nx.DiGraph()
        net.add_nodes_from((_SOURCE, _SINK))
        for hop in range(first, last):
            self._add_link(net, hop)
        for i in self.inside:
            costs = [self.prices.sites[site][i] for site in range(first, last + 1)]
            nodes = [_SINK, *((i, hop) for hop in range(first, last)), _SOURCE]
            for cost, behind, before in zip(costs, nodes, nodes[1:], strict=False):
                net.add_edge(before, behind, capacity=cost)
            for hop in range(first, last - 1):
                net.add_edge((i, hop), (i, hop + 1))
        residual = nx.algorithms.flow.preflow_push(net, _SOURCE, _SINK)
        far = _reaching(residual)
        site = {i: first + sum((i, hop) in far for hop in range(first, last)) for i in self.inside}
        return int(residual.graph["flow_value"]), site

    def _add_link(self, net: Any, hop: int) -> None:
        """Tensors and dependencies as one link sees them; an edge without capacity is infinite."""
        graph, prices = self.graph, self.prices.links[hop, hop + 1].tensor
        for i in self.inside:
            for j in graph.predecessors[i]:
                if j >= self.start:
                    net.add_edge((i, hop), (j, hop))
        for name in self.crossing:
            maker = graph.producer[name]
            node = (name, hop)
            near = (maker, hop) if maker >= self.start else _SOURCE
            net.add_edge(near, node, capacity=prices[name] or 0)
            for reader in graph.readers[name]:
                net.add_edge(node, (reader, hop) if reader < self.stop else _SINK)


def _reaching(residual: Any) -> set[Any]:
    """The nodes from which more flow could reach the sink."""
    into: Mapping[Any, Mapping[Any, Mapping[str, int]]] = residual.pred
    found: set[Any] = {_SINK}
    todo: list[Any] = [_SINK]
    while todo:
        for other, edge in into[todo.pop()].items():
            if other not in found and edge["capacity"] > edge["flow"]:
                found.add(other)
                todo.append(other)
    return found
