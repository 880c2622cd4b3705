# SPDX-License-Identifier: Apache-2.0
"""Machines that hold layers, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from splitc.cost.board import Board, load_board
from splitc.cost.prices import BoardCost, CostModel
from splitc.errors import UsageError, nearest
from splitc.ir.placement import Placement
from splitc.link.link import Link

DEVICE, SERVER = "device", "server"
"""Names of the two sites that a head and a tail run on."""


@dataclass(frozen=True)
class Site:
    """A machine that holds layers.

    Args:
        name: Unique in its topology.
        cost: Seconds of each layer on it, and the board that code is generated for.
        pinned: Names of layers that have to run on it.
    """

    name: str
    cost: CostModel
    pinned: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Topology:
    """Sites, the first of which the network's inputs come in at, and what lies between them.

    Args:
        sites: A placement names them by their numbers here.
        links: The link from one site to another, by their names.

    Raises:
        UsageError: Two sites have one name, or a link leads from or to none of them.
    """

    sites: tuple[Site, ...]
    links: Mapping[tuple[str, str], Link]

    def __post_init__(self) -> None:
        names = [site.name for site in self.sites]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two sites are called '{twice}'")
        for name in (name for pair in self.links for name in pair):
            if name not in names:
                raise UsageError(f"a link has no site '{name}'", hint=nearest(name, names))

    @staticmethod
    def pair(
        head: CostModel, tail: CostModel, link: Link,
        on_device: frozenset[str] = frozenset(), on_server: frozenset[str] = frozenset(),
    ) -> Topology:  # fmt: skip
        """A device, a server and the link from one to the other.

        Args:
            head: Times of layers on the device.
            tail: The same of the server.
            link: What lies between.
            on_device: Names of layers that have to run there.
            on_server: The same.
        """
        sites = (Site(DEVICE, head, on_device), Site(SERVER, tail, on_server))
        return Topology(sites, {(DEVICE, SERVER): link})

    @cached_property
    def pairs(self) -> Mapping[tuple[int, int], Link]:
        """The links by their sites' numbers."""
        number = {site.name: k for k, site in enumerate(self.sites)}
        return {(number[a], number[b]): link for (a, b), link in self.links.items()}

    def why_not(self, where: Placement) -> str | None:
        """Why layers cannot be placed so on these sites; None where they can."""
        if max(where.site, default=0) >= len(self.sites):
            return f"there are {len(self.sites)} sites, numbered from 0"
        for number, site in enumerate(self.sites):
            for name in site.pinned:
                if where.site[where.graph.index[where.graph.layer(name).name]] != number:
                    return f"'{name}' has to run on the {site.name}"
        return where.why_not(self.pairs)


def cost_model(given: str | Board | CostModel) -> CostModel:
    """What gives a machine's times: a cost model itself, or a board by name, file or object.

    Raises:
        UsageError: There is no such board.
    """
    return BoardCost(load_board(given)) if isinstance(given, str | Board) else given
