# SPDX-License-Identifier: Apache-2.0
"""The layer DAG: what a network computes, without its weights."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import cast

from splitc.errors import BadModelError
from splitc.ir.kinds import kind_of
from splitc.ir.layer_names import find_name
from splitc.ir.printing import print_graph

INPUT_OP = "input"

_BITS: dict[str, int] = {
    "bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
    "int64": 64, "uint64": 64, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64,
    "complex64": 64, "complex128": 128, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2,
    "float8_e4m3fn": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8, "float4_e2m1fn": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value that layers pass on: an edge of the layer DAG.

    Args:
        name: Unique in its graph.
        shape: Extents; None for an extent that depends on data. None alone where
            even the rank is unknown, or the value is no tensor.
        dtype: numpy's name of the element type, or `string`, `sequence`, `optional`.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str = "float32"

    @property
    def elements(self) -> int | None:
        """Number of elements; None where the shape depends on data."""
        if self.shape is None or None in self.shape:
            return None
        return math.prod(cast("tuple[int, ...]", self.shape))

    @property
    def nbytes(self) -> int | None:
        """Size in bytes, packed; None where it depends on data."""
        bits = _BITS.get(self.dtype)
        elements = self.elements
        return None if bits is None or elements is None else (elements * bits + 7) // 8

    @property
    def why_unsendable(self) -> str | None:
        """Why it cannot be sent over a link; None where it can."""
        if self.dtype in ("string", "sequence", "optional"):
            return f"'{self.name}' is a {self.dtype}, which has no fixed size"
        if self.shape is None or self.dtype == "unknown":
            return f"the shape or type of '{self.name}' is unknown"
        if self.nbytes is None:
            return f"the size of '{self.name}' depends on data"
        return None

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape, all extents known.

        Raises:
            BadModelError: An extent depends on data.
        """
        if self.shape is None or any(d is None for d in self.shape):
            raise BadModelError(f"tensor '{self.name}' has no fixed shape")
        return tuple(d for d in self.shape if d is not None)


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the layer DAG.

    Args:
        name: Unique in its graph.
        op: Lower-case operator name; `input` for a network input.
        inputs: Names of the tensors it reads, weights left out, without repeats
            removed (`add(%x, %x)` reads one tensor twice).
        outputs: The tensors it makes; at least one.
        param_bytes: Bytes of the weights it reads that no layer before it does.
        flops: Floating-point operations of one run; a multiply-add counts two.
        origin: Its name in the source model.
        kind: What sort of work it is, for cost models; by default from `op`.
        block: The block a grouping pass put it in.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    param_bytes: int = 0
    flops: int = 0
    origin: str = ""
    kind: str = ""
    block: int | None = None

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", self.name)
        if not self.kind:
            object.__setattr__(self, "kind", kind_of(self.op))

    @property
    def is_input(self) -> bool:
        """Whether the layer stands for a network input."""
        return self.op == INPUT_OP


@dataclass(frozen=True)
class LayerGraph:
    """An immutable layer DAG in topological order, inputs first.

    Args:
        layers: Every layer after the layers it reads.
        outputs: Names of the tensors that are the network's results, in order.

    Raises:
        BadModelError: A name twice, a tensor nobody makes, or a wrong order.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        made: set[str] = set()
        names: set[str] = set()
        past_inputs = False
        for layer in self.layers:
            if layer.name in names:
                raise BadModelError(f"two layers are called '{layer.name}'")
            if layer.is_input and past_inputs:
                raise BadModelError(f"input '{layer.name}' stands after a layer")
            past_inputs = past_inputs or not layer.is_input
            if not layer.outputs:
                raise BadModelError(f"layer '{layer.name}' makes no tensor")
            for tensor in layer.inputs:
                if tensor not in made:
                    why = "nothing before it makes that tensor"
                    raise BadModelError(f"layer '{layer.name}' reads '{tensor}'", why=why)
            for tensor in layer.outputs:
                if tensor.name in made:
                    raise BadModelError(f"tensor '{tensor.name}' is made twice")
                made.add(tensor.name)
            names.add(layer.name)
        for output in self.outputs:
            if output not in made:
                raise BadModelError(f"output '{output}' is made by no layer")

    @staticmethod
    def sort(layers: Iterable[Layer], outputs: Sequence[str]) -> LayerGraph:
        """Build a graph from layers in any order; the given order breaks ties.

        Raises:
            BadModelError: The layers form a cycle, or read what nobody makes.
        """
        given = [*layers]
        given.sort(key=lambda layer: not layer.is_input)
        made_by = {t.name: i for i, layer in enumerate(given) for t in layer.outputs}
        readers: list[list[int]] = [[] for _ in given]
        waiting = [0] * len(given)
        for i, layer in enumerate(given):
            for j in {made_by[t] for t in layer.inputs if t in made_by}:
                readers[j].append(i)
                waiting[i] += 1
        ready = [i for i, n in enumerate(waiting) if n == 0]
        order: list[Layer] = []
        while ready:
            i = heapq.heappop(ready)
            order.append(given[i])
            for j in readers[i]:
                waiting[j] -= 1
                if waiting[j] == 0:
                    heapq.heappush(ready, j)
        if len(order) < len(given):
            stuck = next(given[i].name for i, n in enumerate(waiting) if n > 0)
            raise BadModelError("the layers form a cycle", at=f"layer '{stuck}'")
        return LayerGraph(tuple(order), tuple(outputs))

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of every layer by name."""
        return {layer.name: i for i, layer in enumerate(self.layers)}

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name."""
        return {t.name: t for layer in self.layers for t in layer.outputs}

    @cached_property
    def producer(self) -> Mapping[str, int]:
        """Position of the layer that makes each tensor."""
        return {t.name: i for i, layer in enumerate(self.layers) for t in layer.outputs}

    @cached_property
    def readers(self) -> Mapping[str, tuple[int, ...]]:
        """Positions of the layers that read each tensor, ascending, no repeats."""
        found: dict[str, list[int]] = {name: [] for name in self.tensors}
        for i, layer in enumerate(self.layers):
            for tensor in dict.fromkeys(layer.inputs):
                found[tensor].append(i)
        return {name: tuple(positions) for name, positions in found.items()}

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the layers each layer reads from."""
        producer = self.producer
        return tuple(tuple(sorted({producer[t] for t in layer.inputs})) for layer in self.layers)

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the layers that read from each layer."""
        found: list[list[int]] = [[] for _ in self.layers]
        for i, sources in enumerate(self.predecessors):
            for j in sources:
                found[j].append(i)
        return tuple(tuple(positions) for positions in found)

    @cached_property
    def input_count(self) -> int:
        """Number of input layers; they stand first."""
        return sum(layer.is_input for layer in self.layers)

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The network's input tensors."""
        return tuple(layer.outputs[0] for layer in self.layers[: self.input_count])

    @cached_property
    def output_tensors(self) -> tuple[Tensor, ...]:
        """The network's result tensors."""
        return tuple(self.tensors[name] for name in self.outputs)

    @cached_property
    def dead_ends(self) -> tuple[int, ...]:
        """Positions of the layers nobody reads from."""
        return tuple(i for i, readers in enumerate(self.successors) if not readers)

    @cached_property
    def cut_points(self) -> tuple[int, ...]:
        """Positions of layers that no edge passes by: single-layer cut points.

        Everything before such a layer reaches what follows only through it.
        """
        return self._unspanned(last_reader=[max(s, default=-1) for s in self.successors])

    @cached_property
    def dominators(self) -> tuple[int, ...]:
        """Positions of the layers on every path from the inputs to the results.

        In a topological order a layer lies on every path exactly when no edge
        passes it by, results counting as read at the end; one sweep finds them.
        """
        last = [max(s, default=-1) for s in self.successors]
        for name in self.outputs:
            last[self.producer[name]] = len(self.layers)
        return self._unspanned(last)

    @cached_property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """Ranges of positions between neighbouring dominators that hold a layer.

        A downset that holds the inputs ends inside one of them, or at a dominator.
        """
        points = (p for p in self.dominators if p >= self.input_count)
        edges = (self.input_count - 1, *points, len(self.layers))
        return tuple((a + 1, b) for a, b in pairwise(edges) if b - a > 1)

    def _unspanned(self, last_reader: list[int]) -> tuple[int, ...]:
        found: list[int] = []
        reach = -1
        for i, last in enumerate(last_reader):
            if reach <= i and (i >= self.input_count or self.input_count == 1):
                found.append(i)
            reach = max(reach, last)
        return tuple(found)

    def layer(self, name: str) -> Layer:
        """The layer of that name, or that people mean by it: see `find_name`.

        Raises:
            UsageError: There is none, or several; the hint lists the nearest names.
        """
        return self.layers[self.index[find_name(name, self.index)]]

    def with_layers(self, layers: Iterable[Layer]) -> LayerGraph:
        """The same graph with its layers exchanged one for one."""
        return replace(self, layers=tuple(layers))

    def __str__(self) -> str:
        return print_graph(self)

    def __len__(self) -> int:
        return len(self.layers)
