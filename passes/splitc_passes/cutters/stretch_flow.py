# SPDX-License-Identifier: Apache-2.0
"""The flow network of one stretch of a graph: its maximum flow, and what forcing a layer adds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx

from splitc.cost.prices import Prices
from splitc.ir.graph import LayerGraph

HEAD, TAIL = "head", "tail"
nx: Any = networkx
"""networkx has no types of its own."""


@dataclass(frozen=True)
class Divided:
    """A stretch divided at least cost.

    Args:
        value: Of the flow, and so of the cut.
        head: Positions of its layers that are in the head, ascending.
    """

    value: int
    head: tuple[int, ...]


class StretchFlow:
    """The cheapest division of the layers at [start, stop), all before them in the head.

    Args:
        graph: What is cut.
        prices: Of two sites and the link between.
        start: First position.
        stop: Behind the last.
        forced: Sides that layers have to be on, by their positions.
    """

    def __init__(
        self, graph: LayerGraph, prices: Prices, start: int, stop: int, forced: Mapping[int, str]
    ) -> None:
        self._layers = range(start, stop)
        net, self._infinite = _network(graph, prices, start, stop, forced)
        residual = nx.algorithms.flow.preflow_push(net, HEAD, TAIL)
        self._value = int(residual.graph["flow_value"])
        # Plain dictionaries of the same edges: networkx's views cost more than the walk.
        self._residual: dict[Any, dict[Any, dict[str, int]]] = {
            node: dict(edges) for node, edges in residual.adjacency()
        }

    @property
    def divided(self) -> Divided | None:
        """The division; None where a tensor that cannot cross would have to."""
        if self._value >= self._infinite:
            return None
        return Divided(self._value, self._head(TAIL))

    def with_layer(self, layer: int, side: str, below: int | None) -> Divided | None:
        """The cheapest division with one more layer forced to a side.

        The maximum flow stays as it is and what the new edge of the layer lets through is added
        to it: paths that begin, or end, at the layer. No others are new, as a path that goes
        round it would have been one before.

        Args:
            layer: Its position.
            side: HEAD or TAIL.
            below: What it has to cost less than; None for whatever it costs.

        Returns:
            None where there is none, or none so cheap.
        """
        pushed: list[tuple[Any, Any, int]] = []
        value = self._value
        limit = self._infinite if below is None else min(below, self._infinite)
        while value < limit:
            path = self._path(layer, side)
            if path is None:
                break
            amount = min(self._left(u, v) for u, v in path)
            for u, v in path:
                self._push(u, v, amount)
                pushed.append((u, v, amount))
            value += amount
        found = None
        if value < limit:
            found = Divided(value, self._head(*((TAIL,) if side == HEAD else (TAIL, layer))))
        for u, v, amount in pushed:
            self._push(v, u, amount)
        return found

    def _left(self, u: Any, v: Any) -> int:
        edge = self._residual[u][v]
        return edge["capacity"] - edge["flow"]

    def _push(self, u: Any, v: Any, amount: int) -> None:
        self._residual[u][v]["flow"] += amount
        self._residual[v][u]["flow"] -= amount

    def _path(self, layer: int, side: str) -> list[tuple[Any, Any]] | None:
        """The edges of a shortest way from a layer to TAIL, or from HEAD to it; None without."""
        end, dead = (TAIL, HEAD) if side == HEAD else (HEAD, TAIL)
        came: dict[Any, Any] = {layer: None, dead: None}  # no way leads on from there
        todo: deque[Any] = deque([layer])
        while todo:
            node = todo.popleft()
            for other, edge in self._around(node, side):
                if other in came or edge["capacity"] == edge["flow"]:
                    continue
                came[other] = node
                if other == end:
                    return self._edges(came, end, side)
                todo.append(other)
        return None

    def _around(self, node: Any, side: str) -> Iterator[tuple[Any, Any]]:
        """Neighbours, with the edge that a way takes between: onwards, or backwards."""
        residual = self._residual
        if side == HEAD:
            yield from residual[node].items()
        else:
            for other in residual[node]:
                yield other, residual[other][node]

    def _edges(self, came: Mapping[Any, Any], end: Any, side: str) -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = []
        node = end
        while (before := came[node]) is not None:
            found.append((before, node) if side == HEAD else (node, before))
            node = before
        return found

    def _head(self, *ends: Any) -> tuple[int, ...]:
        """The layers from which no flow can reach any of these nodes."""
        reach = set(ends)
        todo = list(ends)
        while todo:
            node = todo.pop()
            for other, edge in self._around(node, TAIL):
                if other not in reach and edge["capacity"] > edge["flow"]:
                    reach.add(other)
                    todo.append(other)
        return tuple(i for i in self._layers if i not in reach)


def _network(
    graph: LayerGraph, prices: Prices, start: int, stop: int, forced: Mapping[int, str]
) -> tuple[Any, int]:
    """The flow network, and what no cut of it costs."""
    net = nx.DiGraph()
    (on_head, on_tail), link = prices.sites, prices.links[0, 1]
    infinite = 1 + sum(on_head[start:stop]) + sum(on_tail[start:stop])
    crossing = _crossing(graph, start, stop)
    infinite += sum(link.tensor[name] or 0 for name in crossing)
    for i in range(start, stop):
        side = forced.get(i)
        net.add_edge(HEAD, i, capacity=infinite if side == HEAD else on_tail[i])
        net.add_edge(i, TAIL, capacity=infinite if side == TAIL else on_head[i])
        for j in graph.predecessors[i]:
            if j >= start:
                net.add_edge(i, j, capacity=infinite)
    for name in crossing:
        producer = graph.producer[name]
        toll = link.tensor[name]
        source = producer if producer >= start else HEAD
        net.add_edge(source, _node(name), capacity=infinite if toll is None else toll)
        for reader in graph.readers[name]:
            node = reader if reader < stop else TAIL
            net.add_edge(_node(name), node, capacity=infinite)
    return net, infinite


def _node(name: str) -> tuple[str]:
    """The flow network's node of a tensor; layers are plain integers."""
    return (name,)


def _crossing(graph: LayerGraph, start: int, stop: int) -> list[str]:
    """Tensors that a cut of the stretch may send: made before its end, read in it or later.

    No edge passes by the layer before the stretch, so only its outputs come in;
    the first stretch is entered by the inputs.
    """
    first = start - 1 if start > graph.input_count else 0
    return [
        tensor.name
        for i in range(first, stop)
        for tensor in graph.layers[i].outputs
        if graph.readers[tensor.name] and graph.readers[tensor.name][-1] >= start
    ]
