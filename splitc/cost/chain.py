# SPDX-License-Identifier: Apache-2.0
"""What a placement costs on a chain of sites: device, edge, cloud, however many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from splitc.cost.prices import PICO, Costs, CutCost, LinkPrices, Prices, ResultsAt
from splitc.cost.topology import Topology
from splitc.errors import UsageError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.placement import Placement


@dataclass(frozen=True)
class ChainCost:
    """The price list of one placement. Times in seconds.

    Args:
        site_s: What each site computes.
        hop_s: What each link takes: what crosses, its round trip, results back.
        hop_bytes: Bytes that cross each link onwards.
        device: The first site's: its time, memory and energy. What all links take is its
            `link_s`, what all other sites take its `tail_s`.
    """

    site_s: tuple[float, ...]
    hop_s: tuple[float, ...]
    hop_bytes: tuple[int, ...]
    device: CutCost

    @property
    def latency_s(self) -> float:
        """Seconds from input to result."""
        return sum(self.site_s) + sum(self.hop_s)


@dataclass(frozen=True)
class ChainCosts:
    """Price lists of placements of one graph along a chain of sites.

    A tensor that is read beyond a link pays that link once, however many read it, and all links
    between its maker and its last reader. A round trip is paid once for a link that anything
    crosses. A result pays all links to where it is wanted.

    Args:
        graph: The layers.
        topology: The sites in their order, each linked to the next.
        results: Where the network's results are wanted: at the first site, or at the last.

    Raises:
        UsageError: A link between neighbours is missing, or another one is there.
    """

    graph: LayerGraph
    topology: Topology
    results: ResultsAt = "device"

    def __post_init__(self) -> None:
        sites = self.topology.sites
        wanted = {(a, a + 1) for a in range(len(sites) - 1)}
        if len(sites) < 2 or {*self.topology.pairs} != wanted:
            why = "each has a link to the next, and no other"
            raise UsageError("the sites are no chain", why=why)

    @cached_property
    def hops(self) -> tuple[Costs, ...]:
        """What each link costs: all before it as a device, all behind as a server."""
        sites, pairs = self.topology.sites, self.topology.pairs
        return tuple(
            Costs(self.graph, near.cost, far.cost, pairs[k, k + 1], self.results)
            for k, (near, far) in enumerate(pairwise(sites))
        )

    @cached_property
    def seconds(self) -> tuple[tuple[float, ...], ...]:
        """Seconds of each layer on each site."""
        return tuple(site.cost.seconds(self.graph) for site in self.topology.sites)

    def of(self, where: Placement) -> ChainCost:
        """The price list of a placement."""
        site_s = tuple(
            sum(times[i] for i, site in enumerate(where.site) if site == number)
            for number, times in enumerate(self.seconds)
        )
        costs = [hop.of(_cut(where, k)) for k, hop in enumerate(self.hops)]
        hop_s = tuple(cost.link_s for cost in costs)
        device = replace(costs[0], link_s=sum(hop_s), tail_s=sum(site_s[1:]))
        return ChainCost(site_s, hop_s, tuple(cost.boundary_bytes for cost in costs), device)

    def prices(self, *, energy: bool = False) -> Prices:
        """Integer prices of layers and tensors: picoseconds, or picojoules of the first site."""
        board = self.topology.sites[0].cost.board
        sites: list[list[int]] = []
        for number, times in enumerate(self.seconds):
            share = 1.0 if not energy else board.compute_power_w if number == 0 else 0.0
            sites.append([_pico(s * share) for s in times])
        links: dict[tuple[int, int], LinkPrices] = {}
        for k, hop in enumerate(self.hops):
            watts = board.transmit_power_w if k == 0 else 0.0
            paid = hop.crossing_prices(watts if energy else None)
            links[k, k + 1] = paid.links[0, 1]
            for number, site in enumerate(sites):
                for i, price in enumerate(paid.sites[number > k]):
                    site[i] += price
        return Prices(tuple(map(tuple, sites)), links)


def chain_price(prices: Prices, where: Placement) -> int | None:
    """What a placement costs under integer prices; None where a tensor cannot cross."""
    total = sum(prices.sites[site][i] for i, site in enumerate(where.site))
    for hop in range(len(prices.sites) - 1):
        cut, link = _cut(where, hop), prices.links[hop, hop + 1]
        total += 0 if cut.holds_all else link.once
        for tensor in cut.boundary:
            crossing = link.tensor[tensor.name]
            if crossing is None:
                return None
            total += crossing
    return total


def whole(graph: LayerGraph, site: int) -> Placement:
    """All layers on one site, the network's inputs on the first."""
    return Placement(graph, tuple(0 if layer.is_input else site for layer in graph.layers))


def pinned_prices(prices: Prices, pinned: Mapping[int, int]) -> tuple[Prices, int]:
    """Prices under which no placement that breaks a pin is as cheap as one that keeps all.

    Args:
        prices: Without pins.
        pinned: The number of the site that layers have to run on, by their positions.

    Returns:
        The prices, and what every placement costs at least that breaks one, or sends what
        cannot be sent.
    """
    most = 1 + sum(map(sum, prices.sites)) + sum(
        link.once + sum(each or 0 for each in link.tensor.values())
        for link in prices.links.values()
    )  # fmt: skip
    sites = tuple(
        tuple(most if pinned.get(i, number) != number else price for i, price in enumerate(site))
        for number, site in enumerate(prices.sites)
    )
    links = {
        pair: replace(link, tensor={n: most if p is None else p for n, p in link.tensor.items()})
        for pair, link in prices.links.items()
    }
    return Prices(sites, links), most


def _cut(where: Placement, hop: int) -> Cut:
    """The cut that a placement makes of a link: the head is all up to its near side."""
    return Cut.of(where.graph, (i for i, site in enumerate(where.site) if site <= hop))


def _pico(value: float) -> int:
    return round(value * PICO)
