# SPDX-License-Identifier: Apache-2.0
"""The cutter `min-cut`: the cheapest cut of all, by maximum flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any, ClassVar

import networkx

from splitc.cost.prices import Prices, price
from splitc.errors import NoLegalCutError, SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import FlowProof
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.problem import Problem

HEAD, TAIL = "head", "tail"
nx: Any = networkx
"""networkx has no types of its own."""


@dataclass(frozen=True)
class MinCut(Cutter):
    """Minimum s-t cut on the layer DAG, single- and multi-tensor boundaries alike.

    A layer pays its server price when it falls on the tail's side and its device
    price on the head's. A tensor with several readers is paid once: it gets a
    node of its own, its price on the edge into it and infinite edges to its
    readers. Every dependency also gets an infinite edge against its direction,
    without which the published construction can return a cut where the tail
    feeds the head. A result made in the tail pays its way back.

    Layers that every path runs through separate the problem: the head ends
    between two of them, so each stretch between neighbours is solved on its own
    with the prices of what lies before and after added. A stretch whose layers'
    cheaper sides already cost more than the best cut so far is passed over.

    Only proper cuts are found: with a layer on both sides. A layer that is pinned to a side
    has no price there that a cut could pay. What is minimised has to be a sum, and a flow
    keeps no limits.

    References:
        Hu et al., "Dynamic Adaptive DNN Surgery for Inference Acceleration on
        the Edge" (DADS, light load), INFOCOM 2019, with the reverse edges added.
    """

    name: ClassVar[str] = "min-cut"

    def refuses(self, problem: Problem) -> str | None:
        """Why a minimum cut is not the problem's solution."""
        if len(problem.topology.sites) != 2:
            return "it divides layers between two sites"
        return problem.why_no_sum or problem.limited

    def solve(self, problem: Problem) -> Solution:
        """The proper cut with the lowest price, and the flow that proves it.

        Raises:
            NoLegalCutError: No proper cut has a boundary that can cross a link.
            UsageError: The objective is no sum, or there are limits.
        """
        refuse(self, problem)
        cut, proof = cheapest_cut(problem.graph, problem.prices(), pinned=problem.pinned)
        return Solution(Placement.of_cuts([cut]), problem.cost(cut), proof)


def cheapest_cut(
    graph: LayerGraph,
    prices: Prices,
    *,
    proper: bool = True,
    pinned: Mapping[int, int] = MappingProxyType({}),
) -> tuple[Cut, FlowProof]:
    """The cut with the lowest price, and its proof.

    Args:
        graph: What is cut.
        prices: Of two sites, and the link from the first to the second.
        proper: Only cuts with a layer on both sides. Otherwise keeping everything
            on the device or on the server counts as a cut too.
        pinned: The number of the site that layers have to run on, by their positions.

    Raises:
        NoLegalCutError: No such cut has a boundary that can cross a link.
    """
    # The head holds at least the layers before `least`, at most those before `most`.
    least = max((i + 1 for i, site in pinned.items() if site == 0), default=0)
    most = min((i for i, site in pinned.items() if site == 1), default=len(graph))
    sides = {i: HEAD if site == 0 else TAIL for i, site in pinned.items()}
    head, tail = prices.sites
    head_sum, tail_sum = [0, *accumulate(head)], [0, *accumulate(tail)]
    points = graph.dominators
    best: tuple[int, Cut] | None = None
    ends = points if proper else (graph.input_count - 1, *points)
    for p in dict.fromkeys(ends):
        if not least <= p + 1 <= most:
            continue
        cut = Cut(graph, p + 1)
        value = _narrow_price(prices, cut, head_sum, tail_sum)
        if (cut.is_proper or not proper) and value is not None:
            best = min(best or (value, cut), (value, cut), key=lambda found: found[0])
    flow: int | None = None
    solved, bounds = 0, [best[0]] if best else []
    for start, stop in graph.stretches:
        if stop < least or most < start:
            continue
        fixed = head_sum[start] + tail_sum[-1] - tail_sum[stop] + prices.links[0, 1].once
        cheap = sum(min(head[i], tail[i]) for i in range(start, stop))
        if best is not None and fixed + cheap >= best[0]:
            bounds.append(fixed + cheap)
            continue
        solved += 1
        inside = {i: side for i, side in sides.items() if start <= i < stop}
        for cut, value in _solve(graph, prices, start, stop, fixed, proper, inside):
            bounds.append(value)
            if best is None or value < best[0]:
                best, flow = (value, cut), value
    if best is None:
        raise NoLegalCutError("the model cannot be cut in two")
    cut = best[1]
    value = price(prices, cut)
    if value is None or value != best[0]:
        raise SplitcError("min-cut: flow and cut disagree", why=f"{best[0]} against {value}")
    return cut, FlowProof(
        cutter=MinCut.name, value=value, flow=flow, lower_bound=min(bounds), stretches=solved
    )


def _narrow_price(prices: Prices, cut: Cut, head_sum: list[int], tail_sum: list[int]) -> int | None:
    """`price` of a cut without single layers past its prefix, from running sums."""
    total = head_sum[cut.prefix] + tail_sum[-1] - tail_sum[cut.prefix]
    total += prices.links[0, 1].once if cut.prefix < len(cut.graph) else 0
    for tensor in cut.boundary:
        crossing = prices.links[0, 1].tensor[tensor.name]
        if crossing is None:
            return None
        total += crossing
    return total


def _solve(
    graph: LayerGraph,
    prices: Prices,
    start: int,
    stop: int,
    fixed: int,
    proper: bool,
    pinned: dict[int, str],
) -> Iterator[tuple[Cut, int]]:
    """Cheap cuts with the stretch [start, stop) divided and all before it in the head.

    The cheapest is among them. Where the flow leaves the tail, or the head,
    without a layer, it is solved again with each of the last, or first, layers
    forced over in turn: any cut that is wanted moves one of them.
    """
    todo: list[dict[int, str]] = [pinned]
    while todo:
        forced = todo.pop()
        value, head = _flow(graph, prices, start, stop, forced)
        if value is None:
            continue
        cut = Cut.of(graph, (*range(start), *head))
        if cut.is_proper or (cut.tail and not proper):
            yield cut, value + fixed
            continue
        side = HEAD if cut.tail else TAIL
        if side not in forced.values():
            movable = _movable(graph, start, stop, side)
            todo += [{**forced, i: side} for i in movable if i not in forced]


def _movable(graph: LayerGraph, start: int, stop: int, side: str) -> list[int]:
    """Layers that can be the only one on that side: the last ones, or the first ones."""
    neighbours = graph.successors if side == TAIL else graph.predecessors
    inside = range(start, stop)
    return [i for i in inside if not any(j in inside for j in neighbours[i])]


def _flow(
    graph: LayerGraph, prices: Prices, start: int, stop: int, forced: dict[int, str]
) -> tuple[int | None, list[int]]:
    """Cut one stretch: value of the flow and the positions on the head's side.

    Without value where a tensor that cannot cross would have to.
    """
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
    value, (head_side, _) = nx.minimum_cut(
        net, HEAD, TAIL, flow_func=nx.algorithms.flow.preflow_push
    )
    if value >= infinite:
        return None, []
    return int(value), sorted(node for node in head_side if isinstance(node, int))


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
