# SPDX-License-Identifier: Apache-2.0
"""The flows that show that no cut costs less than the one that was found, to be written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from splitc.cost.prices import Prices
from splitc.errors import SplitcError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.proof import FlowProof, Proof
from splitc.search.evidence import Case, Flow, Side
from splitc.search.flow_network import HEAD, TAIL, ends_of_stretch, side_arc
from splitc.search.problem import Problem
from splitc_passes.cutters.stretch_flow import StretchFlow


def flow_evidence(problem: Problem, prices: Prices, proof: Proof) -> tuple[Flow, ...]:
    """A flow for each stretch whose layers' cheaper sides do not bound its cuts.

    Args:
        problem: What was solved.
        prices: The integer prices that were minimised.
        proof: Of the cut that was found; of none but a flow's there is anything to write.
    """
    if not isinstance(proof, FlowProof):
        return ()
    graph, pinned, value = problem.graph, problem.pinned, proof.value
    head, tail = prices.sites
    head_sum, tail_sum = [0, *accumulate(head)], [0, *accumulate(tail)]
    least = max((i + 1 for i, site in pinned.items() if site == 0), default=0)
    most = min((i for i, site in pinned.items() if site == 1), default=len(graph))
    found: list[Flow] = []
    for start, stop in graph.stretches:
        fixed = head_sum[start] + tail_sum[-1] - tail_sum[stop]
        fixed += prices.links[0, 1].once_at(start)
        cheap = sum(min(head[i], tail[i]) for i in range(start, stop))
        if stop < least or most < start or fixed + cheap >= value:
            continue
        forced = {i: TAIL if site else HEAD for i, site in pinned.items() if start <= i < stop}
        found.append(_Stretch(graph, prices, start, stop, value - fixed).flow(forced))
    return tuple(found)


@dataclass(frozen=True)
class _Stretch:
    """The layers at [start, stop), whose divisions cost `need` at least."""

    graph: LayerGraph
    prices: Prices
    start: int
    stop: int
    need: int

    def flow(self, forced: Mapping[int, str]) -> Flow:
        """The maximum flow, and the cases where it is no bound."""
        flow = self._solved(forced)
        side, cases = self._cases(flow, forced)
        return Flow(start=self.start, arcs=flow.flows, side=side, cases=cases)

    def _solved(self, forced: Mapping[int, str]) -> StretchFlow:
        return StretchFlow(self.graph, self.prices, self.start, self.stop, forced, self.need)

    def _cases(self, flow: StretchFlow, forced: Mapping[int, str]) -> tuple[Side, tuple[Case, ...]]:
        """Each layer forced to the side that the least division leaves empty."""
        if flow.value >= self.need:
            return "", ()
        divided = flow.divided
        assert divided is not None
        cut = Cut.of(self.graph, (*range(self.start), *divided.head))
        if cut.is_proper:
            raise SplitcError(
                "the cut that was found is not the cheapest", at=f"the cut after '{cut.name}'"
            )
        side = HEAD if cut.tail else TAIL
        ends = ends_of_stretch(self.graph, self.start, self.stop, side)
        return side, tuple(self._case(flow, forced, i, side) for i in ends if i not in forced)

    def _case(self, flow: StretchFlow, forced: Mapping[int, str], layer: int, side: Side) -> Case:
        before = flow.value
        with flow.forced(layer, side, self.need) as pushed:
            if flow.value >= self.need:
                changes = flow.changes(pushed)
                own = side_arc(layer - self.start, side)
                changes[own] = changes.get(own, 0) + flow.value - before
                return Case(layer=layer, changes=tuple(changes.items()))
        more = {**forced, layer: side}
        again = self._solved(more)
        other, cases = self._cases(again, more)
        return Case(layer=layer, changes=_changes(flow.flows, again.flows), side=other, cases=cases)


def _changes(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((k, b - a) for k, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
