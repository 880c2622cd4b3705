# SPDX-License-Identifier: Apache-2.0
"""Segments: the layers between nested cuts, and what passes between them.

What a head or a tail reads and makes is said here and nowhere else: the carriers
take a segment out of a network, manifests and runners go by what it reads and makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from splitc.errors import IllegalCutError
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layouts


@dataclass(frozen=True)
class Segment:
    """The layers between two nested cuts: what is compiled.

    Args:
        name: Unique among the segments of a network.
        layers: Names of its layers, in the graph's order, network inputs left out.
        reads: The tensors that come in: all network inputs for the first segment; else what
            its layers read of segments before and of the network's inputs, in the order in
            which they are made.
        sends: The tensors that it makes and later segments read, in the order they are made.
        results: The network's results that it makes, in the network's order; some may be
            sent too. The first segment also gives a result that is a network input.
    """

    name: str
    layers: tuple[str, ...]
    reads: tuple[Tensor, ...]
    sends: tuple[Tensor, ...]
    results: tuple[Tensor, ...]

    @property
    def makes(self) -> tuple[Tensor, ...]:
        """The tensors that go out: what is sent, then the results that are not."""
        return tuple(dict.fromkeys((*self.sends, *self.results)))

    def turned(self, layouts: Layouts) -> tuple[str, ...]:
        """Names of the tensors that come in or go out channels-last."""
        return tuple(
            tensor.name
            for tensor in dict.fromkeys((*self.reads, *self.makes))
            if layouts.get(tensor.name) == "channels-last"
        )


def segments(graph: LayerGraph, cuts: Sequence[Cut]) -> tuple[Segment, ...]:
    """The segments that nested cuts divide a network into.

    Every layer is in one of them, and what one reads is a network input or made by one
    before it, so they can run in their order.

    Args:
        graph: The network's layers.
        cuts: Cuts of it, each within the next; without any, the network is one segment.

    Returns:
        One more than there are cuts. Of one cut they are called `head` and `tail`, of
        several `s0`, `s1` and so on, of none `whole`.

    Raises:
        IllegalCutError: A segment would be empty, what crosses a cut has no fixed size, or
            a cut does not lie within the next.
    """
    for cut in cuts:
        why = cut.why_not()
        if why is not None:
            raise IllegalCutError(f"cannot cut after '{cut.name}'", why=why)
    for first, then in pairwise(cuts):
        _check_nested(first, then)
    heads = [frozenset(cut.head) for cut in cuts]
    ends = [frozenset(range(graph.input_count)), *heads, frozenset(range(len(graph)))]
    names = _names(len(cuts) + 1)
    return tuple(
        _segment(graph, name, before, upto)
        for name, (before, upto) in zip(names, pairwise(ends), strict=True)
    )


def _names(count: int) -> Sequence[str]:
    if count <= 2:
        return ("whole",) if count == 1 else ("head", "tail")
    return [f"s{k}" for k in range(count)]


def _check_nested(first: Cut, then: Cut) -> None:
    """Raise where a cut's head is not within the next one's, or is all of it."""
    what = f"the cut after '{then.name}' cannot follow the one after '{first.name}'"
    outside = next((i for i in first.head if not then.holds(i)), None)
    if outside is not None:
        why = f"layer '{first.graph.layers[outside].name}' is in the first head only"
        raise IllegalCutError(what, why=why, hint="name nested cuts, the smallest head first")
    if len(first.head) == len(then.head):
        raise IllegalCutError(what, why="they are the same cut")


def _segment(graph: LayerGraph, name: str, before: frozenset[int], upto: frozenset[int]) -> Segment:
    inside = sorted(upto - before)
    is_first = len(before) == graph.input_count
    read = {tensor for i in inside for tensor in graph.layers[i].inputs}
    reads = (
        graph.inputs
        if is_first
        else tuple(
            tensor
            for i in sorted(before)
            for tensor in graph.layers[i].outputs
            if tensor.name in read
        )
    )
    sends = tuple(
        tensor
        for i in inside
        for tensor in graph.layers[i].outputs
        if any(reader not in upto for reader in graph.readers[tensor.name])
    )
    makers = {*inside, *(range(graph.input_count) if is_first else ())}
    results = (n for n in dict.fromkeys(graph.outputs) if graph.producer[n] in makers)
    return Segment(
        name, tuple(graph.layers[i].name for i in inside), reads, sends,
        tuple(graph.tensors[n] for n in results),
    )  # fmt: skip
