# SPDX-License-Identifier: Apache-2.0
"""Which of the network's layers an operation does the work of, whatever rewrites make of it.

A rewrite says it where operations merge, and `Graph.replace` where new ones stand for another.
What is left is filled in here: an operation that a rewrite, or TVM, put in between works for who
reads it; a layer whose operations are all gone is done by who read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from splitc_targets.graph.graph import Graph, Node, joined


@dataclass(frozen=True)
class Origins:
    """The layers of a graph as it was read.

    Args:
        readers: For each layer those that read what it makes, the nearest first.
        read: For each layer those that it reads.
    """

    readers: dict[str, tuple[str, ...]]
    read: dict[str, tuple[str, ...]]

    @staticmethod
    def of(graph: Graph) -> Origins:
        """The layers of a graph, every operation of which has one afterwards, if any has."""
        _name(graph)
        readers: dict[str, list[str]] = {}
        read: dict[str, list[str]] = {}
        for node in graph.nodes:
            for layer in node.layers:
                readers.setdefault(layer, [])
                read.setdefault(layer, [])
        consumers = graph.consumers()
        for node in graph.nodes:
            for reader in (r for value in node.outputs for r in consumers.get(value, ())):
                for layer in node.layers:
                    readers[layer] += (name for name in reader.layers if name not in node.layers)
                for layer in reader.layers:
                    read[layer] += (name for name in node.layers if name not in reader.layers)
        return Origins(
            {name: joined(found) for name, found in readers.items()},
            {name: joined(found) for name, found in read.items()},
        )

    def settle(self, graph: Graph) -> None:
        """Name operations that have no layer, and layers that have no operation."""
        _name(graph)
        held: dict[str, Node] = {}
        for node in graph.nodes:
            for layer in node.layers:
                held.setdefault(layer, node)
        for layers, beside in ((reversed(self.readers), self.readers), (self.read, self.read)):
            for layer in layers:
                if layer not in held:
                    found = next((held[name] for name in beside[layer] if name in held), None)
                    if found is not None:
                        found.layers = joined(found.layers, (layer,))
                        held[layer] = found
        place = {name: k for k, name in enumerate(graph.layers)}
        for node in graph.nodes:
            node.layers = tuple(sorted(node.layers, key=place.__getitem__))


def _name(graph: Graph) -> None:
    """Give operations without a layer those of their first reader, or of what they read."""
    consumers = graph.consumers()
    for node in reversed(graph.nodes):
        if not node.layers:
            readers = [r for value in node.outputs for r in consumers.get(value, ())]
            node.layers = _first(readers)
    for node in graph.nodes:
        if not node.layers:
            node.layers = _first([v.producer for v in node.inputs if v.producer is not None])


def _first(nodes: Iterable[Node]) -> tuple[str, ...]:
    return next((node.layers for node in nodes if node.layers), ())
