# SPDX-License-Identifier: Apache-2.0
"""A model: a layer graph plus the carrier its weights live in."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from splitc.errors import BadModelError
from splitc.ir.chain import (
    Code,
    Insertion,
    bypass_layers,
    codes_of,
    insert_layers,
    replace_head_layers,
)
from splitc.ir.cut import Cut
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor
from splitc.ir.layout import Layouts
from splitc.ir.segment import Segment, segments
from splitc.link.packets import Scale

if TYPE_CHECKING:
    from splitc.arrays import Array, Arrays

M = TypeVar("M", bound="Model")
N = TypeVar("N", bound="Network")

DEFAULT_MAX_BYTES = 8 * 2**30
"""Of weights: larger models are refused when they are read."""


@runtime_checkable
class Model(Protocol):
    """What every carrier can do."""

    @property
    def graph(self) -> LayerGraph:
        """The layer DAG."""
        ...

    @property
    def cut(self) -> Cut | None:
        """The cut a pass chose; None where none did."""
        ...

    @property
    def codes(self) -> Mapping[str, Code]:
        """Of tensors that are codes, by name, how elements are read that a link lost."""
        ...

    def with_graph(self: M, graph: LayerGraph) -> M:
        """The model with an annotated graph over the same layers."""
        ...

    def with_cut(self: M, cut: Cut) -> M:
        """The model with a chosen cut."""
        ...

    def insert(self: M, tensor: str, chain: Sequence[Insertion]) -> M:
        """The model, no cut chosen, with a chain of layers behind a tensor.

        Every layer that reads the tensor reads the chain's last result instead.
        """
        ...

    def bypass(self: M, layers: Collection[str]) -> M:
        """The model, no cut chosen, without some layers of one input and one output."""
        ...

    def replace_head(self: M, cut: Cut, chain: Sequence[Insertion]) -> M:
        """The model, no cut chosen, with a chain of layers in the place of a cut's head.

        The chain reads the network's input; what read the boundary reads its last result.
        """
        ...

    def extract(self: M, segment: Segment, layouts: Layouts | None = None) -> M:
        """A segment of the model's graph as a model of the same kind.

        Its inputs are what the segment reads, its results what it makes, in that order.

        Args:
            segment: One of `splitc.ir.segment.segments` of its graph.
            layouts: How the tensors that come in and go out lie: those that are not named
                as the model has them.
        """
        ...

    def split(self: M, cut: Cut, layouts: Layouts | None = None) -> tuple[M, M]:
        """Head and tail at a legal cut: the two segments that it makes, extracted.

        Raises:
            IllegalCutError: A side would be empty, or what crosses has no fixed size.
        """
        ...

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run the model by its carrier's own reference; arrays by tensor name."""
        ...

    def fingerprint(self) -> str:
        """Changes when the graph, the cut or the weights do."""
        ...


@runtime_checkable
class Network(Model, Protocol):
    """A model with weights: what a file or a module becomes, and what can be compiled."""

    @property
    def name(self) -> str:
        """What the file or module calls itself."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of what was read, or of what it is now where it can be trained."""
        ...

    def fed(self: N, name: str, given: Tensor, chain: Sequence[Insertion]) -> N:
        """The network whose input is another tensor, of which a chain of layers makes the old one.

        Args:
            name: The input's, old and new.
            given: What it is to be.
            chain: What makes of it a tensor of the old shape and element type.

        Raises:
            UnsupportedOpError: The carrier cannot hold one of the layers.
        """
        ...

    def batched(self: N, count: int) -> N:
        """The network for so many times as many samples a call.

        Its inputs and results have the same names, or stand in the same order; their first
        extent is that of the samples. Whether it computes the same is for the caller to check:
        not every layer that works across samples can be told from others.

        Raises:
            BadModelError: Names the layer that computes with the number of samples.
        """
        ...

    def nudged(self: N, seed: int) -> N:
        """The network with each weight up to two of its type's steps off.

        What that moves is what rounding moves. Weights are stored floats of two axes or more:
        of fewer are also sizes, bounds and scales, which say what is computed.
        """
        ...

    def unload(self) -> None:
        """Free what `run` keeps between calls; it is made again by the next."""
        ...

    @property
    def note(self) -> str:
        """What a user should know of the reading; empty where there is nothing."""
        ...

    @property
    def index_extents(self) -> Mapping[str, int]:
        """How many places an input's elements choose from, by input name, where it is indices."""
        ...

    @property
    def divisors(self) -> frozenset[str]:
        """The inputs whose quotients are integers: 0 has no meaning there."""
        ...

    @property
    def settled(self) -> Mapping[str, Array]:
        """The values of inputs that decide declared shapes, by input name: they have no other."""
        ...


class SplitInTwo:
    """What carriers share: head and tail are two segments, extracted."""

    def split(self: M, cut: Cut, layouts: Layouts | None = None) -> tuple[M, M]:
        """Head and tail at a legal cut, as two models of the same kind.

        The head gives the tensors that cross and that it makes, then the network's results
        that it makes; the tail reads what crosses, network inputs among it.

        Args:
            cut: A cut of this model's graph.
            layouts: How the tensors that cross lie; by default as the model has them.

        Raises:
            IllegalCutError: A side would be empty, or what crosses has no fixed size.
        """
        head, tail = segments(cut.graph, [cut])
        return self.extract(head, layouts), self.extract(tail, layouts)


@runtime_checkable
class Trainable(Protocol):
    """A model with weights that can be trained, and with channels that can be turned on."""

    @property
    def codec(self) -> str:
        """The passes that put its codec in, as text; empty where it is not known."""
        ...

    def parameters_beyond(self, other: object) -> tuple[str, ...]:
        """Names of the parameters that another model has not."""
        ...

    def received(self, inputs: Arrays, cut: Cut, seed: int) -> dict[str, Array] | None:
        """What the tail gets of each tensor that crosses, the channels on."""
        ...

    def loss_scale(self, tensor: str) -> Scale | None:
        """How a channel behind a tensor that crosses scales what it did not lose.

        None where none does.
        """
        ...

    def channel_settings(self, layer: str) -> str:
        """What a channel is set to, as `rate=0.1`."""
        ...


@dataclass(frozen=True)
class GraphModel(SplitInTwo):
    """A model without a carrier: a bare layer graph, for passes that need no weights.

    Args:
        graph: The layer DAG.
        cut: The cut a pass chose.
        codes: Of tensors that are codes, how lost elements are read.
    """

    graph: LayerGraph
    cut: Cut | None = None
    codes: Mapping[str, Code] = field(default_factory=dict[str, Code])

    def with_graph(self, graph: LayerGraph) -> GraphModel:
        """The model with another graph."""
        return replace(self, graph=graph)

    def with_cut(self, cut: Cut) -> GraphModel:
        """The model with a chosen cut."""
        return replace(self, cut=cut)

    def insert(self, tensor: str, chain: Sequence[Insertion]) -> GraphModel:
        """The model with a chain of layers behind a tensor."""
        codes = {**self.codes, **codes_of(tensor, chain)}
        return GraphModel(insert_layers(self.graph, tensor, chain), codes=codes)

    def bypass(self, layers: Collection[str]) -> GraphModel:
        """The model without some layers of one input and one output."""
        return GraphModel(bypass_layers(self.graph, layers), codes=self.codes)

    def replace_head(self, cut: Cut, chain: Sequence[Insertion]) -> GraphModel:
        """The model with a chain of layers in the place of a cut's head."""
        codes = {**self.codes, **codes_of(cut.boundary[0].name, chain)}
        return GraphModel(replace_head_layers(cut, chain), codes=codes)

    def extract(self, segment: Segment, layouts: Layouts | None = None) -> GraphModel:
        """A segment as a bare graph; it knows no order in memory."""
        return GraphModel(segment_graph(self.graph, segment))

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """A bare graph has no weights to run with.

        Raises:
            BadModelError: Always.
        """
        raise BadModelError("a bare layer graph cannot run", why="it holds no weights")

    def fingerprint(self) -> str:
        """Changes when the graph or the cut does."""
        text = str(self.graph) + (self.cut.name if self.cut else "")
        return hashlib.sha256(text.encode()).hexdigest()


def segment_graph(graph: LayerGraph, segment: Segment) -> LayerGraph:
    """The layers of a segment as a graph of their own, behind what it reads."""
    entries = tuple(Layer(t.name, INPUT_OP, (), (t,)) for t in segment.reads)
    names = {layer.name for layer in entries}
    inside = tuple(
        replace(layer, name=_fresh(layer.name, names), origin=layer.origin)
        for layer in map(graph.layer, segment.layers)
    )
    return LayerGraph((*entries, *inside), tuple(tensor.name for tensor in segment.makes))


def _fresh(name: str, taken: set[str]) -> str:
    """A layer may be named like a tensor that comes in, made by another one."""
    while name in taken:
        name += "'"
    taken.add(name)
    return name
