# SPDX-License-Identifier: Apache-2.0
"""The flow network of one stretch of a graph: its maximum flow, and what forcing a layer adds."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx

from splitc.cost.prices import Prices
from splitc.ir.graph import LayerGraph
from splitc.search.flow_network import HEAD, TAIL, Arc, side_arc, stretch_arcs

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


Pushed = list[tuple[Any, Any, int]]
"""Amounts of flow, each with the edge that it went along."""


class StretchFlow:
    """The cheapest division of the layers at [start, stop), all before them in the head.

    Args:
        graph: What is cut.
        prices: Of two sites and the link between.
        start: First position.
        stop: Behind the last.
        forced: Sides that layers have to be on, by their positions.
        least: What an arc without a limit lets through at least.
    """

    def __init__(
        self, graph: LayerGraph, prices: Prices, start: int, stop: int, forced: Mapping[int, str],
        least: int = 0,
    ) -> None:  # fmt: skip
        self._layers = range(start, stop)
        self._arcs = stretch_arcs(graph, prices, start, stop)
        net, self._infinite = _network(self._arcs, start, forced, least)
        residual = nx.algorithms.flow.preflow_push(net, HEAD, TAIL)
        self.value = int(residual.graph["flow_value"])
        # Plain dictionaries of the same edges: networkx's views cost more than the walk.
        self._residual: dict[Any, dict[Any, dict[str, int]]] = {
            node: dict(edges) for node, edges in residual.adjacency()
        }

    @property
    def divided(self) -> Divided | None:
        """The division; None where a tensor that cannot cross would have to."""
        if self.value >= self._infinite:
            return None
        return Divided(self.value, self._head(TAIL))

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
        limit = self._infinite if below is None else min(below, self._infinite)
        with self.forced(layer, side, limit):
            if self.value >= limit:
                return None
            return Divided(self.value, self._head(*((TAIL,) if side == HEAD else (TAIL, layer))))

    @contextmanager
    def forced(self, layer: int, side: str, limit: int) -> Generator[Pushed]:
        """Within, the flow is the maximum one with a layer forced to a side, or has the limit.

        Args:
            layer: Its position.
            side: HEAD or TAIL.
            limit: A value beyond which no more is looked for.

        Returns:
            What was added along which edges, but for that of the layer's side.
        """
        before, pushed = self.value, Pushed()
        while self.value < limit:
            path = self._path(layer, side)
            if path is None:
                break
            amount = min(self._left(u, v) for u, v in path)
            for u, v in path:
                self._push(u, v, amount)
                pushed.append((u, v, amount))
            self.value += amount
        try:
            yield pushed
        finally:
            for u, v, amount in pushed:
                self._push(v, u, amount)
            self.value = before

    @property
    def flows(self) -> tuple[int, ...]:
        """What goes through each arc of `stretch_arcs`; nothing where nothing may."""
        edges = (self._residual[arc.source].get(arc.target) for arc in self._arcs)
        return tuple(edge["flow"] if edge else 0 for edge in edges)

    def changes(self, pushed: Pushed) -> dict[int, int]:
        """How much more, or less, goes through arcs, by their numbers."""
        found: dict[int, int] = {}
        for u, v, amount in pushed:
            backwards = (u, v) not in self._numbers
            number = self._numbers[(v, u) if backwards else (u, v)]
            found[number] = found.get(number, 0) + (-amount if backwards else amount)
        return found

    @cached_property
    def _numbers(self) -> dict[tuple[Any, Any], int]:
        return {arc[:2]: number for number, arc in enumerate(self._arcs)}

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
    arcs: Sequence[Arc], start: int, forced: Mapping[int, str], least: int
) -> tuple[Any, int]:
    """The flow network, and what no cut of it costs."""
    infinite = max(1 + sum(arc.capacity or 0 for arc in arcs), least)
    free = {side_arc(i - start, side) for i, side in forced.items()}
    net = nx.DiGraph()
    for number, (source, target, capacity) in enumerate(arcs):
        unlimited = capacity is None or number in free
        net.add_edge(source, target, capacity=infinite if unlimited else capacity)
    return net, infinite
