# SPDX-License-Identifier: Apache-2.0
"""A part, decided but not compiled: which layers of which network, for whom, and who writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from splitc.build.backend import Backend
from splitc.cost.board import Board
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout, Layouts
from splitc.ir.model import Network
from splitc.ir.segment import Segment
from splitc.runtime.manifest import TensorSpec


@dataclass(frozen=True)
class Site:
    """Where parts run, and what writes them.

    Args:
        name: The site's.
        board: What is compiled for.
        backend: What compiles and writes the code.
    """

    name: str
    board: Board
    backend: Backend


@dataclass(frozen=True)
class PartJob:
    """A part to compile: a segment for a site.

    Args:
        segment: Its layers.
        at: Where it runs.
        network: What they are layers of.
        alone: What the part for one frame is called.
        layouts: How the tensors lie that it takes and makes.
        stands_for: What others know tensors as that it makes, by its own names: what a decoder
            makes stands for what crosses without it.
        batch: How many frames one call takes.
    """

    segment: Segment
    at: Site
    network: Network = field(repr=False)
    alone: str
    layouts: Layouts = field(default_factory=dict[str, Layout])
    stands_for: Mapping[str, str] = field(default_factory=dict[str, str])
    batch: int = 1

    @property
    def name(self) -> str:
        """The part's name, which is its folder's too."""
        return self.alone if self.batch == 1 else f"{self.alone}-x{self.batch}"

    @property
    def site(self) -> str:
        """Name of the site."""
        return self.at.name

    @property
    def board(self) -> Board:
        """What is compiled for."""
        return self.at.board

    @property
    def backend(self) -> Backend:
        """What compiles and writes it."""
        return self.at.backend

    def extract(self) -> Network:
        """Its layers as a network, for one frame."""
        return self.network.extract(self.segment, self.layouts)

    def specs(self, tensors: Iterable[Tensor]) -> tuple[TensorSpec, ...]:
        """The contract of tensors of its network, as others know them."""
        return tuple(
            msgspec.structs.replace(
                TensorSpec.of(tensor, self.layouts).batched(self.batch),
                name=self.stands_for.get(tensor.name, tensor.name),
            )
            for tensor in tensors
        )


def agreed_layouts(pieces: Sequence[tuple[Segment, Site]], graph: LayerGraph) -> dict[str, Layout]:
    """How what passes between parts lies: as the code of all that make or read it has it.

    Network inputs and results keep the order that the model's user knows.

    Args:
        pieces: The segments of a network, each with where it runs; one may run at two places.
        graph: The network's layers.
    """
    found: dict[str, Layout] = {}
    known = {*graph.outputs, *(tensor.name for tensor in graph.inputs)}
    for tensor in dict.fromkeys(tensor for segment, _ in pieces for tensor in segment.sends):
        asked: set[Layout] = {
            site.backend.layout(tensor, graph)
            for segment, site in pieces
            if tensor in segment.sends or tensor in segment.reads
        }
        if len(asked) == 1 and tensor.name not in known:
            found[tensor.name] = asked.pop()
    return found
