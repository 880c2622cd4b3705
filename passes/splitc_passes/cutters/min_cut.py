# SPDX-License-Identifier: Apache-2.0
"""The cutter `min-cut`: the cheapest cut of all, by maximum flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import ClassVar

from splitc.cost.prices import Prices, price
from splitc.errors import NoLegalCutError, SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement
from splitc.ir.proof import FlowProof
from splitc.search.cutter import Cutter, Solution, refuse
from splitc.search.evidence import Evidence
from splitc.search.flow_network import HEAD, TAIL, ends_of_stretch
from splitc.search.problem import Problem
from splitc_passes.cutters.flow_evidence import flow_evidence
from splitc_passes.cutters.stretch_flow import Divided, StretchFlow


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

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """The problem, and flows that no cut costs less than."""
        return Evidence.of(problem, flows=flow_evidence(problem, problem.prices(), solution.proof))


def cheapest_cut(
    graph: LayerGraph,
    prices: Prices,
    *,
    proper: bool = True,
    pinned: Mapping[int, int] = MappingProxyType({}),
    beside: bool = False,
) -> tuple[Cut, FlowProof]:
    """The cut with the lowest price, and its proof.

    Args:
        graph: What is cut.
        prices: Of two sites, and the link from the first to the second.
        proper: Only cuts with a layer on both sides. Otherwise keeping everything
            on the device or on the server counts as a cut too.
        pinned: The number of the site that layers have to run on, by their positions.
        beside: Look into the stretches alone that touch the best cut after a layer on every
            path; what no other is below is in the proof's bound, which may be less than the cut.

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
    ends = points if proper else (graph.input_count - 1, *points, len(graph) - 1)
    for p in dict.fromkeys(ends):
        if not least <= p + 1 <= most:
            continue
        cut = Cut(graph, p + 1)
        value = _narrow_price(prices, cut, head_sum, tail_sum)
        if (cut.is_proper or not proper) and value is not None:
            best = min(best or (value, cut), (value, cut), key=lambda found: found[0])
    flow: int | None = None
    ends_at = best[1].prefix if beside and best else None
    solved, bounds = 0, [best[0]] if best else []
    for start, stop in graph.stretches:
        if stop < least or most < start:
            continue
        fixed = head_sum[start] + tail_sum[-1] - tail_sum[stop]
        fixed += prices.links[0, 1].once_at(start)
        cheap = sum(min(head[i], tail[i]) for i in range(start, stop))
        elsewhere = ends_at is not None and ends_at not in (start, stop + 1)
        if best is not None and (elsewhere or fixed + cheap >= best[0]):
            bounds.append(fixed + cheap)
            continue
        solved += 1
        inside = {i: side for i, side in sides.items() if start <= i < stop}
        stretch = _Stretch(graph, prices, start, stop, proper)
        found = stretch.cheapest(inside, None if best is None else best[0] - fixed)
        if found is not None:
            cut, value = found
            bounds.append(value + fixed)
            best, flow = (value + fixed, cut), value + fixed
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
    total += prices.links[0, 1].once_at(cut.prefix) if cut.prefix < len(cut.graph) else 0
    for tensor in cut.boundary:
        crossing = prices.links[0, 1].tensor[tensor.name]
        if crossing is None:
            return None
        total += crossing
    return total


@dataclass(frozen=True)
class _Stretch:
    """The layers at [start, stop), to be divided with all before them in the head.

    Args:
        graph: What is cut.
        prices: Of two sites and the link between.
        start: First position.
        stop: Behind the last.
        proper: Whether both sides have to get a layer.
    """

    graph: LayerGraph
    prices: Prices
    start: int
    stop: int
    proper: bool

    def cheapest(self, forced: Mapping[int, str], below: int | None) -> tuple[Cut, int] | None:
        """The cheapest cut that divides it, and its price but for what lies around.

        Where the flow leaves the tail, or the head, without a layer, one of the last, or
        first, layers is forced over, each in turn: any cut that is wanted moves one of them.

        Args:
            forced: Sides that layers have to be on.
            below: What it has to cost less than; None for whatever it costs.
        """
        flow = StretchFlow(self.graph, self.prices, self.start, self.stop, forced)
        found = flow.divided
        if found is None or (below is not None and found.value >= below):
            return None
        cut = self._cut(found)
        if self._wanted(cut):
            return cut, found.value
        side = HEAD if cut.tail else TAIL
        if side in forced.values():
            return None
        best: tuple[Cut, int] | None = None
        for i in ends_of_stretch(self.graph, self.start, self.stop, side):
            if i in forced:
                continue
            moved = flow.with_layer(i, side, below)
            if moved is None:
                continue
            cut, value = self._cut(moved), moved.value
            if not self._wanted(cut):
                again = self.cheapest({**forced, i: side}, below)
                if again is None:
                    continue
                cut, value = again
            best, below = (cut, value), value
        return best

    def _cut(self, found: Divided) -> Cut:
        return Cut.of(self.graph, (*range(self.start), *found.head))

    def _wanted(self, cut: Cut) -> bool:
        return cut.is_proper or (bool(cut.tail) and not self.proper)
