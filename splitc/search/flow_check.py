# SPDX-License-Identifier: Apache-2.0
"""Whether recorded flows show that no cut costs less: weak duality, and no search.

A flow that keeps its arcs' capacities and loses nothing on its way is worth no more than any
division of its stretch costs. The cuts of a graph end after a layer on every path, which are
priced one by one, or inside a stretch between two such layers, where the layers' cheaper sides
or a flow are the bound. References: Ford, Fulkerson, "Maximal Flow through a Network", 1956.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from splitc.cost.prices import Prices
from splitc.errors import BadBundleError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.search.evidence import Case, Flow
from splitc.search.flow_network import (
    HEAD,
    TAIL,
    Arc,
    Node,
    ends_of_stretch,
    side_arc,
    stretch_arcs,
)
from splitc.search.problem import Problem

WRONG = "the proof of the cut does not hold"


def check_flows(problem: Problem, prices: Prices, value: int, flows: Sequence[Flow]) -> int:
    """Raise where the flows do not show that every proper cut costs that much at least.

    Args:
        problem: What is cut, with the pins that cuts have to keep.
        prices: Integer prices of its layers and tensors.
        value: What no cut is said to be below.
        flows: By their stretches, each of which has one at most.

    Returns:
        How many stretches have their bound from a flow.

    Raises:
        BadBundleError: Says which cut is cheaper, or what is wrong with a flow.
    """
    graph = problem.graph
    known = {flow.start: flow for flow in flows}
    bounds = _Bounds(graph, prices)
    least = max((i + 1 for i, site in problem.pinned.items() if site == 0), default=0)
    most = min((i for i, site in problem.pinned.items() if site == 1), default=len(graph))
    for p in graph.dominators:
        cut = Cut(graph, p + 1)
        if not least <= p + 1 <= most or not cut.is_proper:
            continue
        found = bounds.narrow(cut)
        if found is not None and found < value:
            raise BadBundleError(
                WRONG, at=f"the cut after '{cut.name}'",
                why=f"it costs {found:,}, less than the {value:,} that are said to be least",
            )  # fmt: skip
    used = 0
    for start, stop in graph.stretches:
        if stop < least or most < start or bounds.cheap(start, stop) >= value:
            continue
        if start not in known:
            where = f"the layers from '{graph.layers[start].name}' on"
            raise BadBundleError(WRONG, at=where, why="there is no flow that bounds cuts there")
        forced = {i: site for i, site in problem.pinned.items() if start <= i < stop}
        need = value - bounds.around(start, stop)
        _CheckedFlow(graph, prices, start, stop, forced).check(known[start], need)
        used += 1
    return used


@dataclass(frozen=True)
class _Bounds:
    """Sums of prices over what lies before a stretch, in it and after."""

    graph: LayerGraph
    prices: Prices

    @cached_property
    def _sums(self) -> tuple[list[int], list[int], list[int]]:
        head, tail = self.prices.sites
        cheap = [min(a, b) for a, b in zip(head, tail, strict=True)]
        return [0, *accumulate(head)], [0, *accumulate(tail)], [0, *accumulate(cheap)]

    def narrow(self, cut: Cut) -> int | None:
        """What a cut after its first layers costs; None where a tensor cannot cross."""
        total = self.around(cut.prefix, cut.prefix)
        for tensor in cut.boundary:
            crossing = self.prices.links[0, 1].tensor[tensor.name]
            if crossing is None:
                return None
            total += crossing
        return total

    def around(self, start: int, stop: int) -> int:
        """What lies before and after a stretch costs, and at least that something crosses."""
        head, tail, _ = self._sums
        once = min(map(self.prices.links[0, 1].once_at, range(start, stop + 1)))
        return head[start] + tail[-1] - tail[stop] + once

    def cheap(self, start: int, stop: int) -> int:
        """The same, and the cheaper side of each layer inside."""
        *_, cheap = self._sums
        return self.around(start, stop) + cheap[stop] - cheap[start]


class _CheckedFlow:
    """A flow through one stretch, as it is changed from case to case.

    Args:
        graph: What is cut.
        prices: Integer prices of its layers and tensors.
        start: The stretch's first position.
        stop: Behind its last.
        forced: The sites that layers are pinned to.
    """

    def __init__(
        self, graph: LayerGraph, prices: Prices, start: int, stop: int, forced: Mapping[int, int]
    ) -> None:
        self._graph, self._start, self._stop = graph, start, stop
        self._arcs = stretch_arcs(graph, prices, start, stop)
        self._through = [0] * len(self._arcs)
        self._lost: defaultdict[Node, int] = defaultdict(int)
        """What comes in at each node and does not go out."""
        self._sides: dict[int, str] = {}
        for layer, site in forced.items():
            self._sides[layer] = TAIL if site else HEAD
        self._where = f"the layers from '{graph.layers[start].name}' on"

    def check(self, flow: Flow, need: int) -> None:
        """Raise where a flow, or one of its cases, is worth less than is needed, or is none."""
        if len(flow.arcs) != len(self._arcs):
            raise self._wrong(f"{len(flow.arcs)} arcs have a flow, {len(self._arcs)} there are")
        self._change(enumerate(flow.arcs))
        self._check_cases(flow, need)

    def _check_cases(self, one: Flow | Case, need: int) -> None:
        """The flow is bound enough, or all cases are that together are all cuts."""
        if -self._lost[HEAD] >= need:
            return
        graph, start, stop = self._graph, self._start, self._stop
        if not one.side:
            worth = f"{-self._lost[HEAD]:,}, which is under {need:,}"
            raise self._wrong(f"the flow is worth {worth}: there may be a cheaper cut")
        outside = stop == len(graph) if one.side == TAIL else start == graph.input_count
        if not outside:
            raise self._wrong("it leaves out cuts that have all of them on one side")
        if isinstance(one, Case) and one.side == self._sides[one.layer]:
            raise self._wrong("it forces layers to one side twice")
        told = {case.layer: case for case in one.cases}
        for layer in ends_of_stretch(graph, start, stop, one.side):
            if layer in self._sides:
                continue
            if layer not in told:
                name = graph.layers[layer].name
                raise self._wrong(f"cuts with '{name}' in the {one.side} are left out")
            self._check_case(told[layer], one.side, need)

    def _check_case(self, case: Case, side: str, need: int) -> None:
        self._sides[case.layer] = side
        self._change(case.changes)
        self._check_cases(case, need)
        del self._sides[case.layer]
        self._add(case.changes, -1)

    def _change(self, changes: Iterable[tuple[int, int]]) -> None:
        """Take in other flows through some arcs; raise where they are none."""
        changed = [*changes]
        if not all(0 <= number < len(self._arcs) for number, _ in changed):
            raise self._wrong("it names an arc that there is not")
        self._add(changed, 1)
        free = {side_arc(layer - self._start, side) for layer, side in self._sides.items()}
        for number in {number for number, _ in changed}:
            arc, through = self._arcs[number], self._through[number]
            most = None if number in free else arc.capacity
            if through < 0 or (most is not None and through > most):
                may = "" if most is None else f", at most {most:,} may"
                raise self._wrong(f"{through:,} go {self._named(arc)}{may}")
            for node in arc[:2]:
                if self._lost[node] and node not in (HEAD, TAIL):
                    lost = f"{abs(self._lost[node]):,}"
                    kind = "vanish" if self._lost[node] > 0 else "come from nowhere"
                    raise self._wrong(f"the flow is none: {lost} {kind} at {self._called(node)}")

    def _add(self, changes: Iterable[tuple[int, int]], sign: int) -> None:
        for number, amount in changes:
            arc = self._arcs[number]
            self._through[number] += sign * amount
            self._lost[arc.source] -= sign * amount
            self._lost[arc.target] += sign * amount

    def _named(self, arc: Arc) -> str:
        return f"from {self._called(arc.source)} to {self._called(arc.target)}"

    def _called(self, node: Node) -> str:
        if isinstance(node, int):
            return f"layer '{self._graph.layers[node].name}'"
        return f"the {node}" if isinstance(node, str) else f"tensor '{node[0]}'"

    def _wrong(self, why: str) -> BadBundleError:
        return BadBundleError(WRONG, at=self._where, why=why)
