# SPDX-License-Identifier: Apache-2.0
"""Placements: which layer runs on which site. A cut is the placement on two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from splitc.errors import IllegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor


@dataclass(frozen=True)
class Placement:
    """The site of every layer.

    Args:
        graph: The graph whose layers are placed.
        site: Number of each layer's site, in the graph's order.

    Raises:
        IllegalCutError: A layer has no site.
    """

    graph: LayerGraph = field(repr=False, compare=False)
    site: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.site) != len(self.graph):
            why = f"{len(self.graph)} layers, sites for {len(self.site)}"
            raise IllegalCutError("a placement needs a site for every layer", why=why)

    @staticmethod
    def of_cuts(cuts: Sequence[Cut]) -> Placement:
        """Layers along a chain of sites: the first cut's head on site 0, what follows on 1 …

        Args:
            cuts: At least one; each within the next, or the same, where a site holds nothing.

        Raises:
            IllegalCutError: There is none, or one is not within the next.
        """
        if not cuts:
            raise IllegalCutError("a placement on one site needs no cut")
        graph = cuts[0].graph
        site = [0] * len(graph)
        for number, cut in enumerate(cuts, start=1):
            for i in cut.tail:
                if site[i] != number - 1:
                    raise IllegalCutError(
                        f"the cut after '{cut.name}' lies in the tail of the one before",
                        at=f"layer '{graph.layers[i].name}'",
                    )
                site[i] = number
        return Placement(graph, tuple(site))

    @cached_property
    def cut(self) -> Cut:
        """The cut that it is, on two sites.

        Raises:
            IllegalCutError: It has more sites, or is no cut: the tail feeds the head, say.
        """
        if max(self.site, default=0) > 1:
            raise IllegalCutError("a placement on more than two sites is no cut")
        return Cut.of(self.graph, (i for i, site in enumerate(self.site) if site == 0))

    def crossing(self, source: int, target: int) -> tuple[Tensor, ...]:
        """The tensors that one site makes, or gets in, and another reads, in producer order."""
        readers = self.graph.readers
        return tuple(
            tensor
            for i, site in enumerate(self.site)
            if site == source
            for tensor in self.graph.layers[i].outputs
            if any(self.site[reader] == target for reader in readers[tensor.name])
        )

    def why_not(self, links: Collection[tuple[int, int]]) -> str | None:
        """Why layers cannot be placed so; None where they can.

        Args:
            links: Pairs of sites between which tensors may go, in that direction; a site between
                two others passes on what it does not read.
        """
        graph, ways = self.graph, _passed_on(links)
        for i, site in enumerate(self.site):
            layer = graph.layers[i]
            if layer.is_input and site != 0:
                return f"input '{layer.name}' does not come in at the first site"
            for j in graph.predecessors[i]:
                if self.site[j] != site and (self.site[j], site) not in ways:
                    other = graph.layers[j].name
                    return f"'{layer.name}' reads '{other}', and no link leads there from its site"
        for source, target in ways:
            for tensor in self.crossing(source, target):
                reason = tensor.why_unsendable
                if reason is not None:
                    return reason
        return None


def _passed_on(links: Collection[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The pairs of sites that links in a row lead between, in order."""
    found = {*links}
    while more := {(a, d) for a, b in found for c, d in links if b == c} - found:
        found |= more
    return tuple(sorted(found))
