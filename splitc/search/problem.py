# SPDX-License-Identifier: Apache-2.0
"""Placement problems: what every cutter is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from splitc.cost.chain import ChainCosts
from splitc.cost.prices import Costs, CutCost, Objective, Prices, ResultsAt
from splitc.cost.sent_input import Sent
from splitc.cost.topology import Topology
from splitc.errors import SplitcError, UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.model import GraphModel
from splitc.ir.placement import Placement
from splitc.passes.at_cut import encode, why_refused
from splitc.passes.base import Pipeline
from splitc.search.limits import Constraints

RowKind = Literal["single", "multi", "device", "server"]
WHOLES = {"device": "all on the device", "server": "all on the server"}
"""What the rows are called that are no split."""
SENT_AS = {"tensor": "", "uint8": "sent as bytes", "jpeg": "sent as JPEG"}


@dataclass(frozen=True)
class CutRow:
    """What a problem says of one cut: one line of the cut table.

    Args:
        cut: The cut.
        cost: Its price list.
        kind: `single` boundary tensor, `multi`, or no split: all on the `device`, all on the
            `server`, where the network's inputs cross.
        rejected: Why it may not be used; None where it may.
        crosses: What crosses: the codec's boundary where there is a codec.
        sent: How the inputs are sent, of a row that tells what that costs and is built by nobody;
            None where they cross as the network reads them.
    """

    cut: Cut
    cost: CutCost
    kind: RowKind
    rejected: str | None = None
    crosses: tuple[Tensor, ...] = ()
    sent: Sent | None = None

    @property
    def boundary(self) -> tuple[Tensor, ...]:
        """The tensors that cross the link."""
        return self.crosses or self.cut.boundary

    @property
    def title(self) -> str:
        """What it is called in a sentence."""
        if self.sent is not None:
            return f"{WHOLES[self.kind]}, {SENT_AS[self.sent.how]}"
        return WHOLES.get(self.kind, f"the cut after {self.cut.name}")


@dataclass(frozen=True)
class Problem:
    """Which layers run where, so that an objective is least.

    Args:
        graph: The layers, without channels.
        topology: The machines and links: a device, a server and a link between; or a chain of
            sites, which placements are found for and no cuts.
        objective: What is minimised.
        limits: What a placement must keep.
        codec: What stands around the tensor that crosses: encoder on the device, decoder
            on the server.
        results: Where the network's results are wanted; of two sites, at the server means that
            it makes them.
    """

    graph: LayerGraph = field(repr=False)
    topology: Topology
    objective: Objective = "latency"
    limits: Constraints = field(default_factory=Constraints)
    codec: Pipeline | None = None
    results: ResultsAt = "device"

    @cached_property
    def costs(self) -> Costs:
        """Price lists of cuts between a device and a server, without the codec.

        Raises:
            UsageError: There are not two sites with a link from the first to the second.
        """
        sites, pairs = self.topology.sites, self.topology.pairs
        if len(sites) != 2 or (0, 1) not in pairs:
            why = f"there are {len(sites)} sites"
            raise UsageError("prices are known for a device, a server and their link", why=why)
        return Costs(self.graph, sites[0].cost, sites[1].cost, pairs[0, 1], self.results)

    @cached_property
    def chain(self) -> ChainCosts:
        """Price lists of placements on sites in a row, without the codec.

        Raises:
            UsageError: They are no chain.
        """
        return ChainCosts(self.graph, self.topology, self.results)

    def row(self, cut: Cut) -> CutRow:
        """What a cut costs, the codec around what crosses, and whether it may be used."""
        cost, crosses, refused = self.costs.of(cut), cut.boundary, cut.why_not()
        kind: RowKind = "single" if len(cut.boundary) == 1 else "multi"
        if not cut.is_proper:
            kind = "device" if cut.holds_all else "server"
        if self.codec is not None and refused is None:
            try:
                made, _ = encode(GraphModel(self.graph), cut, self.codec, None)
            except SplitcError as error:
                refused = why_refused(error)
            else:
                assert made.cut is not None
                cost = replace(self.costs, graph=made.graph).of(made.cut)
                crosses, refused = made.cut.boundary, made.cut.why_not()
        rejected = refused or self.why_elsewhere(cut) or self.limits.why_not(cut, cost)
        return CutRow(cut, cost, kind, rejected, crosses)

    def all_on_device(self) -> CutRow:
        """What the whole network costs on the device: nothing crosses, and no codec is there."""
        cut = Cut(self.graph, len(self.graph))
        cost = self.costs.of(cut)
        refused = None if self.codec is None else "nothing crosses that a codec could stand around"
        rejected = refused or self.why_elsewhere(cut) or self.limits.why_not(cut, cost)
        return CutRow(cut, cost, "device", rejected)

    def all_on_server(self) -> CutRow:
        """What it costs to send the network's inputs, the codec around them."""
        return self.row(Cut(self.graph, self.graph.input_count))

    def sent_whole(self, way: Sent) -> CutRow:
        """What the whole network costs on the server, its inputs sent in a way of their own.

        What codes and decodes them is left out: a millisecond or two, or the camera's.
        """
        row = replace(self, codec=None).all_on_server()
        if way.how == "tensor":
            return row
        inputs = dict(zip((t.name for t in self.graph.inputs), way.nbytes, strict=True))
        plain = [t.nbytes or 0 for t in row.boundary]
        cost = self.costs.resent(row.cost, plain, [inputs[t.name] for t in row.boundary])
        return replace(row, cost=cost, sent=way)

    @cached_property
    def pinned(self) -> Mapping[int, int]:
        """The number of the site that each pinned layer has to run on, by its position.

        What makes a result that is wanted at the server is pinned there: a device sends what its
        server computes with, and no results.

        Raises:
            UsageError: There is no such layer; or one that is pinned to the device makes such a
                result, or needs it.
        """
        pins = {
            self.graph.index[self.graph.layer(name).name]: number
            for number, site in enumerate(self.topology.sites)
            for name in sorted(site.pinned)
        }
        self._refuse_contradiction([i for i, number in pins.items() if number == 0])
        return pins | dict.fromkeys(self._made_at_server, 1)

    def _refuse_contradiction(self, on_device: Sequence[int]) -> None:
        """Raise where what is pinned to the device makes, or needs, what the server has to make."""
        if not (on_device and self._made_at_server):
            return
        layers = self.graph.layers
        needed = Cut.after(self.graph, [layers[i].name for i in on_device])
        for i in self._made_at_server:
            if needed.holds(i) and not layers[i].is_input:
                raise UsageError(
                    f"what is pinned to the device takes '{layers[i].name}' there",
                    why="it makes a result, and results are wanted at the server",
                    hint="leave out the pin, or --results server",
                )

    @cached_property
    def _made_at_server(self) -> list[int]:
        """Positions of the layers whose results only the server of two sites may make."""
        if self.results == "device" or len(self.topology.sites) != 2:
            return []
        return [self.graph.producer[name] for name in self.graph.outputs]

    def why_results_here(self, cut: Cut) -> str | None:
        """The first result that the device would make, and the server wants, in words."""
        if self._made_at_server and cut.results:
            return f"results are wanted at the server, and the device makes '{cut.results[0]}'"
        return None

    def why_elsewhere(self, cut: Cut) -> str | None:
        """The first result or pinned layer that belongs to the other site, in words."""
        if (why := self.why_results_here(cut)) is not None:
            return why
        for position, number in self.pinned.items():
            if cut.holds(position) != (number == 0):
                site = self.topology.sites[number].name
                return f"'{self.graph.layers[position].name}' has to run on the {site}"
        return None

    def cost(self, where: Cut | Placement) -> CutCost:
        """The price list of a placement, in floats, for people: the codec is in it.

        A codec that refuses what crosses is left out of the price; `row` says why it does.
        """
        return self.row(where.cut if isinstance(where, Placement) else where).cost

    def value(self, where: Cut | Placement) -> float:
        """What is minimised: seconds or joules."""
        return self.cost(where).value(self.objective)

    def prices(self) -> Prices:
        """Integer prices whose sum over layers and tensors is the objective, for flows.

        Raises:
            UsageError: The objective is no such sum, or each cut has prices of its own.
        """
        why = self.why_no_sum
        if why is not None:
            raise UsageError("what is minimised is no sum of prices", why=why)
        return self.costs.prices(energy=self.objective == "energy")

    @property
    def why_no_sum(self) -> str | None:
        """Why the objective is no sum over layers and tensors; None where it is."""
        if self.objective == "throughput":
            return "throughput is a maximum over device, link and server"
        if self.codec is not None:
            return "with a codec every cut has prices of its own"
        return None

    @property
    def limited(self) -> str | None:
        """What a sum of prices does not say of a placement; None where it says all."""
        return "there are limits to keep" if self.limits != Constraints() else None
