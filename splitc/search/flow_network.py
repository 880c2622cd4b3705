# SPDX-License-Identifier: Apache-2.0
"""The flow network of one stretch of a graph, whose cuts cost what cuts of the graph do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from splitc.cost.prices import Prices
from splitc.ir.graph import LayerGraph

HEAD: Final = "head"
TAIL: Final = "tail"
Node = str | int | tuple[str]
"""HEAD, where flow begins, TAIL, where it ends, a layer by its position, a tensor as `(name,)`."""


class Arc(NamedTuple):
    """Where flow may go.

    Args:
        source: From.
        target: To.
        capacity: How much at most; None for as much as there is.
    """

    source: Node
    target: Node
    capacity: int | None


def stretch_arcs(graph: LayerGraph, prices: Prices, start: int, stop: int) -> list[Arc]:
    """The arcs for the layers at [start, stop), all before them in the head, in one order.

    The layer at `i` has the arcs number `side_arc(i - start, side)`: the one from HEAD with its
    price on the server, the one to TAIL with its price on the device. Then come the arcs against
    dependencies, without which the tail could feed the head; then each tensor's: into its node,
    with what it costs to cross, and on to each layer that reads it.
    """
    return [*_arcs(graph, prices, start, stop)]


def side_arc(layer: int, side: str) -> int:
    """The number of the arc that keeps a layer, counted from the stretch's first, on a side."""
    return 2 * layer + (side == TAIL)


def _arcs(graph: LayerGraph, prices: Prices, start: int, stop: int) -> Iterator[Arc]:
    (on_head, on_tail), link = prices.sites, prices.links[0, 1]
    for i in range(start, stop):
        yield Arc(HEAD, i, on_tail[i])
        yield Arc(i, TAIL, on_head[i])
    for i in range(start, stop):
        yield from (Arc(i, j, None) for j in graph.predecessors[i] if j >= start)
    for name in _crossing(graph, start, stop):
        producer = graph.producer[name]
        yield Arc(producer if producer >= start else HEAD, (name,), link.tensor[name])
        readers = (reader if reader < stop else TAIL for reader in graph.readers[name])
        yield from (Arc((name,), reader, None) for reader in dict.fromkeys(readers))


def _crossing(graph: LayerGraph, start: int, stop: int) -> list[str]:
    """Tensors that a cut of the stretch may send: made before its end, read in it or later.

    No edge passes by the layer before the stretch, so only its outputs come in;
    the first stretch is entered by the inputs.
    """
    first = start - 1 if start > graph.input_count else 0
    return [
        tensor.name
        for i in range(first, stop)
        for tensor in graph.layers[i].outputs
        if graph.readers[tensor.name] and graph.readers[tensor.name][-1] >= start
    ]


def ends_of_stretch(graph: LayerGraph, start: int, stop: int, side: str) -> list[int]:
    """The layers of a stretch that can be the only one on a side: the last ones, or the first.

    Whatever division of it has a layer on that side has one of these there.
    """
    neighbours = graph.successors if side == TAIL else graph.predecessors
    inside = range(start, stop)
    return [i for i in inside if not any(j in inside for j in neighbours[i])]
