# SPDX-License-Identifier: Apache-2.0
"""What a cut costs: device, link and server time, energy and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Protocol
from weakref import ref

from splitc.cost.board import Board
from splitc.cost.estimator import Estimator, estimator_of, roofline
from splitc.cost.stress import IDLE, MODEL, LayerTerms, Stress
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.link.link import Link

Objective = Literal["latency", "throughput", "energy"]
OBJECTIVES: tuple[Objective, ...] = ("latency", "throughput", "energy")
ResultsAt = Literal["device", "server"]
RESULTS_AT: tuple[ResultsAt, ...] = ("device", "server")
"""Where the network's results are wanted: back at the device, or where the tail runs."""
PICO = 10**12
"""Capacities are integers in picoseconds or picojoules: floats mislead max-flow."""


class CostModel(Protocol):
    """Gives the time of every layer on one machine."""

    @property
    def label(self) -> str:
        """Where the figures come from: starts with `predicted` or `measured`."""
        ...

    @property
    def board(self) -> Board:
        """The machine."""
        ...

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order; 0 for inputs."""
        ...


@dataclass(frozen=True)
class BoardCost:
    """Predicted layer times on a board.

    Args:
        board: The machine.
        stress: What else it does.
        by: Who predicts: `kernels`, the first pack that knows the board from its own code, and
            the board file's shares of the peak where there is none; or those `shares` alone.
    """

    board: Board
    stress: Stress = IDLE
    by: Literal["kernels", "shares"] = "kernels"

    @property
    def label(self) -> str:
        """Where the figures come from."""
        name, found = self.board.name, self._estimator
        known = f"predicted from board file {name}"
        if found is not None:
            by = found.calibrated(self.board)
            known = f"predicted from {found.label} on {name}" + (by and f", calibrated by {by}")
        return known if self.stress == IDLE else f"{known}, {MODEL}"

    @cached_property
    def _estimator(self) -> Estimator | None:
        return None if self.by == "shares" else estimator_of(self.board)

    def seconds(self, graph: LayerGraph) -> tuple[float, ...]:
        """Seconds of each layer, in the graph's order."""
        return tuple(terms.seconds(self.stress) for terms in self.terms(graph))

    @cached_property
    def _last(self) -> list[tuple[ref[LayerGraph], tuple[LayerTerms, ...]]]:
        """What was said of the graph that was asked for last: a search asks several times."""
        return []

    def __getstate__(self) -> dict[str, Any]:
        """What it is, without what it remembers: another process has other graphs."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def terms(self, graph: LayerGraph) -> tuple[LayerTerms, ...]:
        """What the time of each layer is made of while the machine does nothing else."""
        for known, terms in self._last:
            if known() is graph:
                return terms
        terms = self._terms(graph)
        self._last[:] = [(ref(graph), terms)]
        return terms

    def _terms(self, graph: LayerGraph) -> tuple[LayerTerms, ...]:
        known = self._estimator
        found = [None] * len(graph) if known is None else known.terms(graph, self.board)
        return tuple(
            roofline(self.board, graph, layer) if terms is None else terms
            for layer, terms in zip(graph.layers, found, strict=True)
        )


@dataclass(frozen=True)
class LinkPrices:
    """Integer prices of one link.

    Args:
        tensor: Price of each tensor by name when it crosses; None where it cannot.
        once: Price paid once when anything crosses.
        once_behind: The same where it hangs on how many layers are in the head before the first
            that is not, from 0; None where it does not.
    """

    tensor: Mapping[str, int | None]
    once: int
    once_behind: tuple[int, ...] | None = None

    def once_at(self, prefix: int) -> int:
        """What is paid once when anything crosses, so many layers in the head at first."""
        return self.once if self.once_behind is None else self.once_behind[prefix]


@dataclass(frozen=True)
class Prices:
    """Integer prices for a flow, in picoseconds or picojoules.

    Args:
        sites: Price of each layer, in the graph's order, on each site.
        links: Prices of what goes from one site to another, by their numbers.
    """

    sites: tuple[tuple[int, ...], ...]
    links: Mapping[tuple[int, int], LinkPrices]


@dataclass(frozen=True)
class CutCost:
    """The price list of one cut. Times in seconds, energy in joules.

    Args:
        head_s: The head on the device.
        link_s: Boundary out, round trip, results back; where results are wanted at the server,
            boundary and the head's own results out, and half a round trip.
        busy_s: How long the link is taken by one inference: that without the round trip.
        tail_s: The tail on the server.
        energy_j: What the device spends: computing, then sending.
        boundary_bytes: Bytes that cross to be computed with.
        head_param_bytes: Weights the device must hold.
        head_peak_bytes: Those weights plus the largest set of live activations.
        result_bytes: Bytes of results that are made on the side where they are not wanted, and
            cross too.
    """

    head_s: float
    link_s: float
    busy_s: float
    tail_s: float
    energy_j: float
    boundary_bytes: int
    head_param_bytes: int
    head_peak_bytes: int
    result_bytes: int = 0

    @property
    def latency_s(self) -> float:
        """Seconds from input to result."""
        return self.head_s + self.link_s + self.tail_s

    @property
    def period_s(self) -> float:
        """Seconds between results when head, link and tail work at once.

        A round trip delays a result but holds nothing up: others follow meanwhile.
        """
        return max(self.head_s, self.busy_s, self.tail_s)

    def value(self, objective: Objective) -> float:
        """The figure that the objective minimises: seconds or joules."""
        if objective == "latency":
            return self.latency_s
        return self.period_s if objective == "throughput" else self.energy_j


@dataclass(frozen=True)
class Costs:
    """Prices of every cut of one graph between two machines over one link.

    Args:
        graph: The graph to cut.
        device: Layer times on the device.
        server: Layer times on the server.
        link: What lies between.
        results: Where the network's results are wanted.
    """

    graph: LayerGraph
    device: CostModel
    server: CostModel
    link: Link
    results: ResultsAt = "device"

    @property
    def label(self) -> str:
        """Where the figures come from."""
        return f"{self.device.label} (head) and {self.server.label} (tail)"

    @cached_property
    def device_s(self) -> tuple[float, ...]:
        """Seconds of each layer on the device."""
        return self.device.seconds(self.graph)

    @cached_property
    def server_s(self) -> tuple[float, ...]:
        """Seconds of each layer on the server."""
        return self.server.seconds(self.graph)

    @cached_property
    def _sums(self) -> tuple[list[float], list[float], list[int], list[int]]:
        device, server, params, live_max = [0.0], [0.0], [0], [0]
        live = 0
        for i, layer in enumerate(self.graph.layers):
            device.append(device[-1] + self.device_s[i])
            server.append(server[-1] + self.server_s[i])
            params.append(params[-1] + layer.param_bytes)
            live += sum(t.nbytes or 0 for t in layer.outputs)
            live_max.append(max(live_max[-1], live))
            live -= self._freed_after[i]
        return device, server, params, live_max

    @cached_property
    def _freed_after(self) -> list[int]:
        freed = [0] * len(self.graph)
        results = set(self.graph.outputs)
        for name, readers in self.graph.readers.items():
            if name not in results:
                at = readers[-1] if readers else self.graph.producer[name]
                freed[at] += self.graph.tensors[name].nbytes or 0
        return freed

    def of(self, cut: Cut) -> CutCost:
        """The price list of a cut."""
        device, server, params, live_max = self._sums
        k = cut.prefix
        head_s = device[k] + sum(self.device_s[i] for i in cut.extra)
        tail_s = server[-1] - server[k] - sum(self.server_s[i] for i in cut.extra)
        head_params = params[k] + sum(self.graph.layers[i].param_bytes for i in cut.extra)
        grown = sum(t.nbytes or 0 for i in cut.extra for t in self.graph.layers[i].outputs)
        sent_s, back_s = self._sent_and_back_s(cut)
        board = self.device.board
        return CutCost(
            head_s=head_s,
            link_s=sent_s + back_s + (0.0 if self._stays(cut) else self.trip_s),
            busy_s=sent_s + back_s,
            tail_s=max(tail_s, 0.0),
            energy_j=board.compute_power_w * head_s + board.transmit_power_w * sent_s,
            boundary_bytes=cut.boundary_bytes or 0,
            head_param_bytes=head_params,
            head_peak_bytes=head_params + live_max[k] + grown,
            result_bytes=sum(self.graph.tensors[name].nbytes or 0 for name in self._moved(cut)),
        )

    @property
    def trip_s(self) -> float:
        """What anything that crosses waits for besides its own packets: there, and back where
        results are wanted back."""
        return self.link.rtt_s if self.results == "device" else self.link.rtt_s / 2

    def _stays(self, cut: Cut) -> bool:
        """Whether nothing of a frame has to leave the device."""
        return cut.holds_all and self.results == "device"

    def _moved(self, cut: Cut) -> list[str]:
        """Names of the results that are not made where they are wanted.

        What crosses anyway, as the tail reads it, is there already.
        """
        graph, wanted_there = self.graph, self.results == "server"
        crossing = {tensor.name for tensor in cut.boundary} if wanted_there else frozenset[str]()
        return [
            name
            for name in dict.fromkeys(graph.outputs)
            if cut.holds(graph.producer[name]) == wanted_there and name not in crossing
        ]

    def _sent_and_back_s(self, cut: Cut) -> tuple[float, float]:
        sent = sum(self.link.transfer_s(t.nbytes or 0) for t in cut.boundary)
        moved = sum(self._way_s(name) for name in self._moved(cut))
        return (sent, moved) if self.results == "device" else (sent + moved, 0.0)

    def resent(self, cost: CutCost, before: Sequence[int], after: Sequence[int]) -> CutCost:
        """A cut's price list where tensors that cross have other bytes than they had."""
        more_s = sum(map(self.link.transfer_s, after)) - sum(map(self.link.transfer_s, before))
        return replace(
            cost, link_s=cost.link_s + more_s, busy_s=cost.busy_s + more_s,
            energy_j=cost.energy_j + self.device.board.transmit_power_w * more_s,
            boundary_bytes=cost.boundary_bytes + sum(after) - sum(before),
        )  # fmt: skip

    def _way_s(self, name: str) -> float:
        """Seconds of the link that a tensor takes; none where its bytes depend on data."""
        return self.link.transfer_s(self.graph.tensors[name].nbytes or 0)

    def prices(self, *, energy: bool = False) -> Prices:
        """Integer prices of layers and tensors: picoseconds, or picojoules of the device."""
        board = self.device.board
        if energy:
            return self._summed(board.compute_power_w, board.transmit_power_w, 0.0, 0.0, once_s=0.0)
        return self._summed(1.0, 1.0, 1.0, 1.0, once_s=self.trip_s)

    def crossing_prices(self, watts: float | None = None) -> Prices:
        """Integer prices of what crosses alone, layers free but for results on their way.

        Args:
            watts: What sending takes, for picojoules; None for picoseconds.
        """
        if watts is None:
            return self._summed(0.0, 1.0, 1.0, 0.0, once_s=self.trip_s)
        return self._summed(0.0, watts, 0.0, 0.0, once_s=0.0)

    def weighted(self, head: float, link: float, tail: float) -> Prices:
        """Integer prices of a weighted sum of what device, link and server are busy with.

        Picoseconds; a round trip keeps nothing busy.
        """
        return self._summed(head, link, link, tail, once_s=0.0)

    def _summed(
        self, head: float, sent: float, back: float, tail: float, *, once_s: float
    ) -> Prices:
        """Integer prices of a sum of seconds, each with what it counts.

        A result that is wanted back is paid by its layer on the server. One that is wanted there
        is paid by its layer on the device, and crosses once: free for the tail that reads it.
        Something crosses whatever the cut then, so that inputs, always on the device, pay for
        the way there.

        Args:
            head: Of the device's.
            sent: Of the link's, for what crosses.
            back: Of the link's, for results that the server makes.
            tail: Of the server's.
            once_s: What is paid once when anything crosses.
        """
        on_head = [_pico(s * head) for s in self.device_s]
        on_tail = [_pico(s * tail) for s in self.server_s]
        tensors = {
            name: None
            if tensor.nbytes is None
            else _pico(self.link.transfer_s(tensor.nbytes) * sent)
            for name, tensor in self.graph.tensors.items()
        }
        once = _pico(once_s)
        for name in dict.fromkeys(self.graph.outputs):
            if self.results == "device":
                on_tail[self.graph.producer[name]] += _pico(self._way_s(name) * back)
            else:
                on_head[self.graph.producer[name]] += _pico(self._way_s(name) * sent)
                tensors[name] = None if tensors[name] is None else 0
        if self.results == "server":
            on_head[0], once = on_head[0] + once, 0
        return Prices((tuple(on_head), tuple(on_tail)), {(0, 1): LinkPrices(tensors, once)})


def arriving_prices(graph: LayerGraph, prices: Prices, come: Sequence[float]) -> Prices:
    """Prices that count with the share of frames that come to each layer, and one share more."""
    link = prices.links[0, 1]
    sites = tuple(
        tuple(round(price * share) for price, share in zip(site, come, strict=False))
        for site in prices.sites
    )
    tensors = {
        name: None if price is None else round(price * come[graph.producer[name] + 1])
        for name, price in link.tensor.items()
    }
    once = tuple(round(link.once * share) for share in come)
    return replace(prices, sites=sites, links={(0, 1): LinkPrices(tensors, link.once, once)})


def _pico(value: float) -> int:
    return round(value * PICO)


def price(prices: Prices, cut: Cut) -> int | None:
    """What a cut costs under integer prices; None where a tensor cannot cross."""
    link = prices.links[0, 1]
    total = 0 if cut.holds_all else link.once_at(cut.prefix)
    for tensor in cut.boundary:
        crossing = link.tensor[tensor.name]
        if crossing is None:
            return None
        total += crossing
    return total + _sum(prices.sites[0], cut.head) + _sum(prices.sites[1], cut.tail)


def _sum(values: Sequence[int], positions: Sequence[int]) -> int:
    return sum(values[i] for i in positions)
