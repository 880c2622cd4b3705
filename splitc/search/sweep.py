# SPDX-License-Identifier: Apache-2.0
"""Sweeps: what every cut takes under every condition of a grid, as modelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splitc.cost.prices import BoardCost, Costs, CutCost
from splitc.cost.sent_input import ways_to_send
from splitc.cost.stress import MODEL
from splitc.cost.topology import Topology
from splitc.errors import NoLegalCutError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Model
from splitc.link.link import Link
from splitc.passes.at_cut import without_channels
from splitc.search.cutter import Cutter
from splitc.search.enumerate import EXHAUSTIVE, all_cuts, single_cuts
from splitc.search.find import EXACT
from splitc.search.grid import Point
from splitc.search.problem import Problem
from splitc.search.scenario import Scenario

_AT_ONCE = 64
"""Conditions that are priced at once: what bounds the memory of a sweep over many cuts."""

Times = NDArray[np.float64]


class Key(NamedTuple):
    """Which cut: `Cut.prefix` and `Cut.extra`."""

    prefix: int
    extra: tuple[int, ...]

    @staticmethod
    def of(cut: Cut) -> Key:
        """That of a cut."""
        return Key(cut.prefix, cut.extra)


@dataclass(frozen=True)
class Sweep:
    """What cuts take under conditions.

    Args:
        points: The conditions.
        cuts: Smallest head first.
        costs: Of each, on an idle device over the scenario's link.
        latency_s: [points, cuts].
        whole_s: All on the device, and all on the server with its inputs sent in the quickest
            way [points, 2]; None where that was not looked at.
        figures: Where the times come from: begins with `predicted` or `measured`.
        kind: Which cuts these are, in words.
        skipped: Conditions that could not be measured, and why.
    """

    points: tuple[Point, ...]
    cuts: tuple[Cut, ...]
    costs: tuple[CutCost, ...]
    latency_s: Times = field(repr=False)
    figures: str
    kind: str
    whole_s: Times | None = field(default=None, repr=False)
    skipped: tuple[tuple[Point, str], ...] = ()

    @cached_property
    def best(self) -> NDArray[np.int64]:
        """The quickest cut of each condition; of equals the one with the smallest head."""
        return self.latency_s.argmin(axis=1)

    @cached_property
    def at(self) -> Mapping[Point, int]:
        """The conditions' places."""
        return {point: k for k, point in enumerate(self.points)}

    def only(self, places: Sequence[int]) -> Sweep:
        """The same of some of the cuts, in this order."""
        return replace(
            self,
            cuts=tuple(self.cuts[k] for k in places),
            costs=tuple(self.costs[k] for k in places),
            latency_s=self.latency_s[:, list(places)],
        )


@dataclass(frozen=True)
class Search:
    """Finds the quickest cut of each condition: the part of a sweep that may take long.

    Of graphs with up to `EXHAUSTIVE` cuts all are tried; of others those after a layer that no
    edge passes by, and each condition's minimum cut.

    Args:
        graph: The network's layers, without channels.
        scenario: The machines; the link but for its bandwidth; the limits, which the device
            keeps when it is idle.

    Raises:
        UsageError: The scenario wants what no sweep tells: another objective than latency, a
            codec, a cutter; or its device is no board.
    """

    graph: LayerGraph = field(repr=False)
    scenario: Scenario

    def __post_init__(self) -> None:
        wanted = self.scenario
        for name, other in (
            ("objective", wanted.objective != "latency"),
            ("codec", wanted.codec is not None or wanted.auto is not None),
            ("cutter", wanted.cutter is not None),
        ):
            if other:
                why = "it compares the latencies of all cuts, without a codec"
                raise UsageError(f"a plan for conditions takes no {name}", why=why)
        _ = self.board

    @staticmethod
    def of(model: Model | LayerGraph, scenario: Scenario) -> Search:
        """The search of a network's cuts; its channel layers are looked through."""
        graph = model if isinstance(model, LayerGraph) else model.graph
        return Search(without_channels(graph, None)[0], scenario)

    @property
    def board(self) -> BoardCost:
        """The device."""
        head = self.scenario.head
        if not isinstance(head, BoardCost):
            why = "how stress slows a layer is known of boards alone"
            raise UsageError("a plan for conditions needs a board", why=why)
        return head

    @cached_property
    def problem(self) -> Problem:
        """On an idle device."""
        return self.scenario.problem(self.graph)

    @cached_property
    def singles(self) -> tuple[Cut, ...]:
        """The legal cuts after a layer that no edge passes by."""
        return self._legal(single_cuts(self.graph))

    @cached_property
    def every(self) -> tuple[Cut, ...] | None:
        """All legal cuts; None where there are too many."""
        found = all_cuts(self.graph, EXHAUSTIVE)
        return None if found is None else self._legal(found)

    @property
    def kind(self) -> str:
        """Which cuts were looked at, in words."""
        if self.every is not None:
            return f"all {len(self.every):,} cuts"
        singles = f"{len(self.singles):,} cuts after a layer that no edge passes by"
        return singles if self._no_flow else f"{singles}, and each condition's minimum cut"

    @property
    def _no_flow(self) -> bool:
        return Cutter.parse(EXACT).refuses(self.problem) is not None

    def _legal(self, cuts: Iterable[Cut]) -> tuple[Cut, ...]:
        return tuple(cut for cut in cuts if self.problem.row(cut).rejected is None)

    def bests(self, points: Sequence[Point]) -> list[Key]:
        """The quickest cut of each condition.

        Raises:
            NoLegalCutError: There is no legal cut.
        """
        cuts = self.singles if self.every is None else self.every
        found: list[Key] = []
        for start in range(0, len(points), _AT_ONCE):
            some = points[start : start + _AT_ONCE]
            if not cuts:
                found += [self._flow(point) for point in some]
                continue
            times = self.latencies(cuts, some)
            for point, each in zip(some, times, strict=True):
                quickest = int(each.argmin())
                found.append(Key.of(cuts[quickest]))
                if self.every is None and not self._no_flow:
                    other = self._flow(point)
                    took_s = self.latencies([Cut(self.graph, *other)], [point])[0, 0]
                    found[-1] = other if took_s < each[quickest] else found[-1]
        return found

    def _flow(self, point: Point) -> Key:
        """A condition's minimum cut."""
        if self._no_flow or self.every is not None:
            layers = len(self.graph) - self.graph.input_count
            why = f"none of its {layers} layer(s) ends a head that keeps every limit"
            hint = "relax --max-head-memory, --max-head-ms or --min-depth"
            raise NoLegalCutError("there is no cut to choose from", why=why, hint=hint)
        where = replace(self.problem, topology=self._topology(point))
        return Key.of(Cutter.parse(EXACT).solve(where).where.cut)

    def _topology(self, point: Point) -> Topology:
        link = self.scenario.link
        other = Link(point.bandwidth_bps, rtt=link.rtt_s, loss=link.loss_rate, mtu=link.mtu_bytes)
        device = replace(self.board, stress=point.stress)
        return Topology.pair(device, self.scenario.tail, other)

    def latencies(self, cuts: Sequence[Cut], points: Sequence[Point]) -> Times:
        """Seconds of each cut under each condition [points, cuts]."""
        priced = [self.problem.costs.of(cut) for cut in cuts]
        return self._heads(cuts, points) + self._elsewhere(priced, points)

    def _elsewhere(self, priced: Sequence[CutCost], points: Sequence[Point]) -> Times:
        """Seconds of link and tail [points, price lists]."""
        link = self.scenario.link
        bits = np.array([cost.busy_s for cost in priced]) * link.bandwidth_bps
        rest_s = np.array([cost.link_s - cost.busy_s + cost.tail_s for cost in priced])
        bandwidth_bps = np.array([[point.bandwidth_bps] for point in points])
        return bits / bandwidth_bps + rest_s

    def whole(self, points: Sequence[Point]) -> Times:
        """Seconds of all layers on the device, and on the server [points, 2].

        The inputs are sent to the server in the quickest of the ways that fit.
        """
        wanted = self.scenario
        ways = ways_to_send(self.graph, wanted.server_input, wanted.jpeg)
        sent = [self.problem.sent_whole(way).cost for way in ways]
        device = self.latencies([Cut(self.graph, len(self.graph))], points)
        server = self._elsewhere(sent, points).min(axis=1, keepdims=True)
        return np.concatenate([device, server], axis=1)

    def _heads(self, cuts: Sequence[Cut], points: Sequence[Point]) -> Times:
        """Seconds of heads under stress [points, cuts]."""
        stresses = list(dict.fromkeys(point.stress for point in points))
        terms = self.board.terms(self.graph)
        layers = np.array([[each.seconds(stress) for each in terms] for stress in stresses])
        upto = np.concatenate([np.zeros((len(stresses), 1)), layers.cumsum(axis=1)], axis=1)
        heads = upto[:, [cut.prefix for cut in cuts]]
        for place, cut in enumerate(cuts):
            if cut.extra:
                heads[:, place] += layers[:, list(cut.extra)].sum(axis=1)
        number = {stress: k for k, stress in enumerate(stresses)}
        return heads[[number[point.stress] for point in points]]


def sweep(search: Search, points: Sequence[Point], bests: Sequence[Key] | None = None) -> Sweep:
    """Price every cut that may be wanted under every condition.

    Those are the cuts after a layer that no edge passes by, and each condition's best of all.

    Args:
        search: The network and the machines.
        points: The conditions.
        bests: The quickest cut of each, where they are known already.

    Raises:
        NoLegalCutError: There is no legal cut.
    """
    found = search.bests(points) if bests is None else bests
    keys = {Key.of(cut): cut for cut in search.singles}
    for key in found:
        keys.setdefault(key, Cut(search.graph, *key))
    cuts = sorted(keys.values(), key=lambda cut: (cut.prefix + len(cut.extra), cut.prefix))
    costs: Costs = search.problem.costs
    return Sweep(
        points=tuple(points),
        cuts=tuple(cuts),
        costs=tuple(map(costs.of, cuts)),
        latency_s=search.latencies(cuts, points),
        figures=f"{costs.label}; {MODEL}",
        kind=search.kind,
        whole_s=search.whole(points),
    )
