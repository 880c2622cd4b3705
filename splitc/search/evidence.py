# SPDX-License-Identifier: Apache-2.0
"""What a proof rests on, as data: the problem with its prices as they were, and the flows.

`splitc.search.proof_check` holds a proof against it without whoever found the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

from splitc.cost.board import Board
from splitc.cost.prices import Objective, Prices, ResultsAt, arriving_prices
from splitc.cost.topology import DEVICE, SERVER, Topology
from splitc.errors import BadBundleError
from splitc.ir.graph import LayerGraph
from splitc.ir.printing import print_graph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.limits import Constraints
from splitc.search.problem import CutRow, Problem

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Proportion = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = Literal["", "head", "tail"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Data that may come from anywhere."""


class Machine(_Strict, frozen=True):
    """A machine as it was priced: where the times come from, and seconds of each layer."""

    figures: str
    board: Board
    seconds: tuple[Seconds, ...]


class LinkFigures(_Strict, frozen=True):
    """The link as it was priced."""

    bandwidth_bps: float
    rtt_s: float
    loss_rate: float
    mtu_bytes: int


class Case(_Strict, frozen=True):
    """One layer forced to a side: what changes of the flow around it, by the arcs' numbers.

    Where the flow is still no bound, `cases` are those of the other `side`.
    """

    layer: int
    changes: tuple[tuple[int, int], ...]
    side: Side = ""
    cases: tuple[Case, ...] = ()


class Flow(_Strict, frozen=True):
    """What goes through each arc of the stretch that begins at a layer's position.

    `splitc.search.flow_network.stretch_arcs` has the arcs. Where the flow is no bound, as the
    least division of the stretch leaves a side of the whole without a layer, `cases` force
    to that `side`, in turn, every layer that can be the only one there.
    """

    start: int
    arcs: tuple[int, ...]
    side: Side = ""
    cases: tuple[Case, ...] = ()


class Tried(_Strict, frozen=True):
    """A cut that was tried, its head's last layers, what it costs, and why it may not be used."""

    cut: tuple[str, ...]
    value: float
    rejected: str | None = None

    @staticmethod
    def of(row: CutRow, value: float) -> Tried:
        """A row of a table, and what of it is minimised."""
        return Tried(cut=row.cut.layers, value=value, rejected=row.rejected)


class Evidence(_Strict, frozen=True):
    """A problem as a cutter solved it, and what shows that its solution is one.

    `graph` is the layer graph in text, a layer a line. `arriving`, with early exits, is the share
    of frames that come to each layer, and one more; `tried` the cuts with a codec inside, each of
    which has prices of its own; `flows` are those of a minimum cut.
    """

    graph: tuple[str, ...]
    device: Machine
    server: Machine
    link: LinkFigures
    objective: Objective
    results: ResultsAt
    limits: Constraints
    pinned: dict[str, Literal["device", "server"]] = {}
    codec: str = ""
    arriving: tuple[Proportion, ...] = ()
    tried: tuple[Tried, ...] = ()
    flows: tuple[Flow, ...] = ()

    @staticmethod
    def of(
        problem: Problem,
        *,
        server_load: float = 1.0,
        arriving: Sequence[float] = (),
        tried: Sequence[Tried] = (),
        flows: Sequence[Flow] = (),
    ) -> Evidence:
        """What a solution of a problem rests on.

        Args:
            problem: It.
            server_load: How many times longer the server was taken to need.
            arriving: The share of frames that come to each layer, where some leave early.
            tried: Cuts with a codec inside that were tried.
            flows: Of a minimum cut.
        """
        costs, link = problem.costs, problem.costs.link
        slowed = tuple(seconds * server_load for seconds in costs.server_s)
        names = [layer.name for layer in problem.graph.layers]
        return Evidence(
            graph=tuple(print_graph(problem.graph).splitlines()),
            device=Machine(
                figures=costs.device.label, board=costs.device.board, seconds=costs.device_s
            ),
            server=Machine(figures=costs.server.label, board=costs.server.board, seconds=slowed),
            link=LinkFigures(
                bandwidth_bps=link.bandwidth_bps, rtt_s=link.rtt_s, loss_rate=link.loss_rate,
                mtu_bytes=link.mtu_bytes,
            ),
            objective=problem.objective,
            results=problem.results,
            limits=problem.limits,
            pinned={
                names[i]: DEVICE if site == 0 else SERVER for i, site in problem.pinned.items()
            },
            codec="" if problem.codec is None else str(problem.codec),
            arriving=tuple(arriving),
            tried=tuple(tried),
            flows=tuple(flows),
        )  # fmt: skip

    def problem(self) -> Problem:
        """The problem without its codec, prices as they are recorded.

        Raises:
            BadBundleError: There is not one time for each layer.
            SplitcError: The graph, the link or the limits are none.
        """
        graph = parse_graph("\n".join(self.graph))
        machines = (self.device, self.server)
        if any(len(machine.seconds) != len(graph) for machine in machines):
            raise BadBundleError("the proof has not one time for each of its layers")
        if len(self.arriving) not in (0, len(graph) + 1):
            raise BadBundleError("the proof has not one share of frames for each of its layers")
        device, server = (_Recorded(one.figures, one.board, one.seconds) for one in machines)
        link = Link(
            self.link.bandwidth_bps, rtt=self.link.rtt_s, loss=self.link.loss_rate,
            mtu=self.link.mtu_bytes,
        )  # fmt: skip
        pins = (
            frozenset(name for name, at in self.pinned.items() if at == site)
            for site in (DEVICE, SERVER)
        )
        topology = Topology.pair(device, server, link, *pins)
        return Problem(graph, topology, self.objective, self.limits, results=self.results)

    def prices(self, problem: Problem) -> Prices:
        """The integer prices that a flow minimised."""
        prices = problem.prices()
        return arriving_prices(problem.graph, prices, self.arriving) if self.arriving else prices


@dataclass(frozen=True)
class _Recorded:
    """Times of layers that were written down."""

    label: str
    board: Board
    times: tuple[float, ...] = field(repr=False)

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        return self.times
