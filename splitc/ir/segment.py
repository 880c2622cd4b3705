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
            A first segment without layers hands on the network's inputs.
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
        _segment(graph, name, before, upto, is_first=number == 0)
        for number, (name, (before, upto)) in enumerate(zip(names, pairwise(ends), strict=True))
    )


def codec_segments(plain: Cut, coded: Cut, names: tuple[str, str]) -> tuple[Segment, Segment]:
    """Encoder and decoder: what a network with a codec at a cut has, and without it has not.

    The segments around them are those of the network without.

    Args:
        plain: The cut of the network without the codec; one tensor crosses it.
        coded: The cut of the network with it, at the codec's boundary.
        names: What the encoder and the decoder are called.

    Returns:
        The encoder, which reads what crosses the plain cut, and the decoder, which makes a
        tensor that stands for it.

    Raises:
        IllegalCutError: The codec changes other layers, or has nothing on one of the sides.
    """
    (tensor,) = plain.boundary
    graph, index = coded.graph, coded.graph.index
    head = _kept(plain, plain.head, coded, tensor.name)
    tail = _kept(plain, plain.tail, coded, tensor.name)
    upto = frozenset(coded.head)
    everything = frozenset(range(len(graph)))
    encoder = _segment(graph, names[0], frozenset(index[n] for n in head), upto)
    decoder = _segment(graph, names[1], upto, everything - {index[n] for n in tail})
    what = f"the codec at '{plain.name}' cannot be one of several"
    if not encoder.layers or not decoder.layers:
        side = "device" if not encoder.layers else "server"
        raise IllegalCutError(what, why=f"it puts no layer on the {side}")
    (made, *more) = decoder.sends
    read = [one.name for one in encoder.reads]
    same = (made.shape, made.dtype) == (tensor.shape, tensor.dtype)
    if read != [tensor.name] or more or decoder.reads != coded.boundary or not same:
        why = f"what stands between its encoder and its decoder is not '{tensor.name}' alone"
        raise IllegalCutError(what, why=why)
    return encoder, decoder


def _kept(plain: Cut, positions: Sequence[int], coded: Cut, tensor: str) -> list[str]:
    """Names of the layers on a side of a cut, which a codec has to leave as they are there."""
    behind = not plain.holds(positions[-1])
    found: list[str] = []
    for layer in (plain.graph.layers[i] for i in positions):
        place = coded.graph.index.get(layer.name)
        other = None if place is None else coded.graph.layers[place]
        same = other is not None and (other.op, other.outputs) == (layer.op, layer.outputs)
        if place is None or not same or coded.holds(place) == behind:
            raise IllegalCutError(
                f"the codec at '{plain.name}' cannot be one of several",
                at=f"layer '{layer.name}'", why=f"it changes it, not only what crosses: '{tensor}'",
            )  # fmt: skip
        found.append(layer.name)
    return found


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


def _segment(
    graph: LayerGraph, name: str, before: frozenset[int], upto: frozenset[int],
    *, is_first: bool = False,
) -> Segment:  # fmt: skip
    inside = sorted(upto - before)
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
    # What holds no layer hands the network's inputs on.
    sends = tuple(
        tensor
        for i in inside or range(graph.input_count)
        for tensor in graph.layers[i].outputs
        if any(reader not in upto for reader in graph.readers[tensor.name])
    )
    makers = {*inside, *(range(graph.input_count) if is_first else ())}
    results = (n for n in dict.fromkeys(graph.outputs) if graph.producer[n] in makers)
    return Segment(
        name, tuple(graph.layers[i].name for i in inside), reads, sends,
        tuple(graph.tensors[n] for n in results),
    )  # fmt: skip
