# SPDX-License-Identifier: Apache-2.0
"""Which layers one kernel computes together, told from a layer graph alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from splitc.ir.graph import Layer, LayerGraph
from splitc_targets.graph.regions import longest_run
from splitc_targets.transforms.attention import LEAST_ROWS

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
        behind: Those fused behind it, in order; of attention, factors and transposes of what its
            products read and what stands between them too.
        second: The second product of an attention, whose first layer is the first one.
    """

    first: int
    behind: tuple[int, ...] = ()
    second: int | None = None

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
        """Attention, then those behind heavy kernels, then what is left."""
        layers = self.graph.layers
        for at, layer in enumerate(layers):
            found = self._attention(at) if layer.op == "softmax" else None
            if found is not None:
                self.done.update((found.first, *found.behind))
                yield found
        for heavy in (True, False):
            for at, layer in enumerate(layers):
                if at in self.done or layer.kind in _NOTHING or heavy != (layer.op in _ANCHORS):
                    continue
                behind = self._behind(at) if heavy or elementwise(layer) else ()
                self.done.update((at, *behind))
                yield Group(at, behind)

    def _attention(self, softmax: int) -> Group | None:
        """A softmax and the two products beside it, as `transforms.attention` joins them."""
        layers = self.graph.layers
        second = self._reader(softmax)
        if second is None or not self._of_two(second) or self._maker(second, 0) != softmax:
            return None
        between: list[int] = []
        first = self._maker(softmax, 0)
        while first is not None and elementwise(layers[first]) and self._reader(first) is not None:
            between.insert(0, first)
            first = self._map_of(first)
        if first is None or not self._of_two(first) or self._reader(first) is None:
            return None
        if self._rows(first) < LEAST_ROWS:
            return None
        read = ((first, 0), (first, 1), (second, 1))
        front = sorted(at for reader, side in read for at in self._in_front(reader, side))
        return Group(first, (*front, *between, softmax, second, *self._behind(second)), second)

    def _in_front(self, reader: int, side: int) -> Iterator[int]:
        """What in front of a product's side its kernel does: a factor, and reading across."""
        at = self._maker(reader, side)
        if at is not None and self._is_factor(at):
            yield at
            at = self._maker(at, 0)
        if at is not None and self._reader(at) is not None and at not in self.done:
            yield from [at] if self.graph.layers[at].op == "transpose" else []

    def _reader(self, at: int) -> int | None:
        """The only layer that reads a layer's only result; None where that is the graph's."""
        readers = self._readers[at]
        alone = len(readers) == 1 and len(self.graph.layers[at].outputs) == 1
        return readers[0] if alone and at not in self._results else None

    def _maker(self, at: int, place: int) -> int | None:
        """Who makes what a layer reads there."""
        inputs = self.graph.layers[at].inputs
        if place >= len(inputs):
            return None
        return self.graph.producer[self._source.get(inputs[place], inputs[place])]

    def _map_of(self, at: int) -> int | None:
        """Who makes the input of an elementwise layer that has its result's shape."""
        layer = self.graph.layers[at]
        for place, name in enumerate(layer.inputs):
            if self.graph.tensors[name].shape == layer.outputs[0].shape:
                return self._maker(at, place)
        return None

    def _of_two(self, at: int) -> bool:
        """Whether a layer is a product of two tensors."""
        layer = self.graph.layers[at]
        return layer.op == "matmul" and len(set(layer.inputs)) == 2 and not layer.param_bytes

    def _rows(self, at: int) -> int:
        shape = self.graph.layers[at].outputs[0].shape or ()
        return shape[-2] or 0 if len(shape) > 1 else 0

    def _is_factor(self, at: int) -> bool:
        """Whether a layer is one tensor times or over a number, for one reader."""
        layer = self.graph.layers[at]
        return (
            layer.op in ("mul", "div") and len(layer.inputs) == 1
            and self._reader(at) is not None and at not in self.done
        )  # fmt: skip

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
