# SPDX-License-Identifier: Apache-2.0
"""Which layers one kernel computes together, told from a layer graph alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from splitc.ir.graph import Layer, LayerGraph
from splitc_targets.graph.regions import longest_run

_ANCHORS = frozenset((
    "conv", "convtranspose", "qlinearconv", "convinteger", "gemm", "matmul", "linear",
    "qlinearmatmul", "matmulinteger", "maxpool", "averagepool",
))  # fmt: skip
"""Whose kernels take an expression behind them (`transforms.fuse`)."""

_SAME = frozenset(("identity", "dropout"))
"""Operations that simplification drops: who reads them reads what they read."""

_NOTHING = frozenset(("view", "channel"))


@dataclass(frozen=True)
class Group:
    """Layers that one kernel computes, by their positions in the graph.

    Args:
        first: The first: of a heavy kernel, its layer.
        behind: Those fused behind it, in order.
    """

    first: int
    behind: tuple[int, ...] = ()

    @property
    def last(self) -> int:
        """The layer whose result is stored."""
        return self.behind[-1] if self.behind else self.first


def groups(graph: LayerGraph) -> tuple[Group, ...]:
    """The groups of a graph's layers, in order; what costs nothing by itself is in none."""
    return tuple(sorted(_Grouping(graph).all(), key=lambda group: group.first))


def elementwise(layer: Layer) -> bool:
    """Whether a layer can be part of an expression."""
    return (
        layer.kind == "elementwise" or layer.op == "batchnormalization"
    ) and len(layer.outputs) == 1  # fmt: skip


class _Grouping:
    def __init__(self, graph: LayerGraph) -> None:
        self.graph = graph
        self.done: set[int] = set()

    def all(self) -> Iterator[Group]:
        """Those behind heavy kernels first, then what is left."""
        layers = self.graph.layers
        for heavy in (True, False):
            for at, layer in enumerate(layers):
                if at in self.done or layer.kind in _NOTHING or heavy != (layer.op in _ANCHORS):
                    continue
                behind = self._behind(at) if heavy or elementwise(layer) else ()
                self.done.update((at, *behind))
                yield Group(at, behind)

    @cached_property
    def _source(self) -> dict[str, str]:
        """What each tensor is another name of, through layers that pass it on."""
        found: dict[str, str] = {}
        for layer in self.graph.layers:
            if layer.op in _SAME and layer.inputs:
                found[layer.outputs[0].name] = found.get(layer.inputs[0], layer.inputs[0])
        return found

    @cached_property
    def _readers(self) -> tuple[tuple[int, ...], ...]:
        """Who reads each layer's results, those that pass them on looked through."""
        graph = self.graph
        found: list[list[int]] = [[] for _ in graph.layers]
        for at, layer in enumerate(graph.layers):
            if layer.op in _SAME:
                continue
            for name in dict.fromkeys(self._source.get(name, name) for name in layer.inputs):
                found[graph.producer[name]].append(at)
        return tuple(map(tuple, found))

    @cached_property
    def _results(self) -> frozenset[int]:
        graph = self.graph
        return frozenset(graph.producer[self._source.get(name, name)] for name in graph.outputs)

    def _behind(self, start: int) -> tuple[int, ...]:
        layers = self.graph.layers
        if len(layers[start].outputs) != 1:
            return ()
        made = layers[start].outputs[0]
        inside = {made.name}
        heavy = layers[start].op in _ANCHORS

        def joins(at: int) -> bool:
            layer = layers[at]
            if at in self.done or not elementwise(layer) or layer.outputs[0].shape != made.shape:
                return False
            for name in layer.inputs:
                read = self.graph.tensors[self._source.get(name, name)]
                # Beside a heavy kernel only what has its result's shape is read.
                if heavy and read.name not in inside and read.shape != made.shape:
                    return False
            inside.add(layer.outputs[0].name)
            return True

        run = longest_run(
            start, self._readers.__getitem__, lambda at: at, joins, self._results.__contains__
        )
        return tuple(run)
