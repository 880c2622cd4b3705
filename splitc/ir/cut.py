# SPDX-License-Identifier: Apache-2.0
"""Cuts of a layer graph: which layers are the head, and what crosses the link."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from splitc.errors import IllegalCutError, UsageError, nearest
from splitc.ir.graph import LayerGraph, Tensor

NO_TAIL = "the tail would be empty"
"""Why a cut behind the last layer is none."""


@dataclass(frozen=True)
class Cut:
    """A downset of the layer DAG: the head. All other layers are the tail.

    Held as a prefix of the topological order plus single layers past it, so that
    ten thousand cuts of ten thousand layers fit in memory.

    Args:
        graph: The graph that is cut.
        prefix: The first `prefix` layers are in the head.
        extra: Positions of the other head layers, ascending, all above `prefix`.

    Raises:
        IllegalCutError: An input is in the tail, or the tail feeds the head.
    """

    graph: LayerGraph = field(repr=False, compare=False)
    prefix: int
    extra: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        layers = self.graph.layers
        if self.prefix < self.graph.input_count:
            at = f"%{layers[self.prefix].name} : input"
            raise IllegalCutError("the head must hold every input", at=at)
        inside = set(self.extra)
        for i in self.extra:
            for j in self.graph.predecessors[i]:
                if j >= self.prefix and j not in inside:
                    raise IllegalCutError(
                        "the tail would feed the head",
                        at=f"%{layers[i].name} : {layers[i].op}",
                        why=f"it reads '{layers[j].name}', which would be in the tail",
                        hint=f"put '{layers[j].name}' into the head too",
                    )

    @staticmethod
    def of(graph: LayerGraph, head: Iterable[int]) -> Cut:
        """The cut whose head is the layers at these positions.

        Raises:
            IllegalCutError: They are not a downset that holds every input.
        """
        inside = set(head)
        prefix = 0
        while prefix in inside:
            prefix += 1
        return Cut(graph, prefix, tuple(sorted(i for i in inside if i > prefix)))

    @staticmethod
    def after(graph: LayerGraph, layers: Sequence[str]) -> Cut:
        """The smallest head that holds these layers: they and all they depend on.

        Args:
            graph: The graph to cut.
            layers: Layer names.

        Raises:
            UsageError: A name is unknown; the hint lists the nearest.
        """
        inside = set(range(graph.input_count))
        todo = [graph.index[graph.layer(name).name] for name in layers]
        while todo:
            i = todo.pop()
            if i not in inside:
                inside.add(i)
                todo.extend(graph.predecessors[i])
        return Cut.of(graph, inside)

    @staticmethod
    def sending(graph: LayerGraph, tensor: str) -> Cut:
        """The smallest head that makes this tensor.

        Raises:
            UsageError: There is no such tensor.
        """
        if tensor not in graph.producer:
            hint = nearest(tensor, graph.producer)
            raise UsageError(f"there is no tensor '{tensor}'", hint=hint)
        return Cut.after(graph, [graph.layers[graph.producer[tensor]].name])

    def holds(self, position: int) -> bool:
        """Whether the layer at that position is in the head."""
        return position < self.prefix or position in self._extra_set

    @cached_property
    def _extra_set(self) -> frozenset[int]:
        return frozenset(self.extra)

    @cached_property
    def head(self) -> tuple[int, ...]:
        """Positions of the head's layers, ascending."""
        return (*range(self.prefix), *self.extra)

    @cached_property
    def tail(self) -> tuple[int, ...]:
        """Positions of the tail's layers, ascending."""
        return tuple(i for i in range(self.prefix, len(self.graph)) if i not in self._extra_set)

    @cached_property
    def _window(self) -> tuple[int, ...]:
        """Head positions that can feed the tail: those from the last cut point on."""
        cut_points = self.graph.cut_points
        k = bisect_right(cut_points, self.prefix - 1) - 1
        start = cut_points[k] if k >= 0 else 0
        return (*range(start, self.prefix), *self.extra)

    @cached_property
    def boundary(self) -> tuple[Tensor, ...]:
        """The tensors made in the head and read in the tail, in producer order."""
        readers = self.graph.readers
        return tuple(
            tensor
            for i in self._window
            for tensor in self.graph.layers[i].outputs
            if any(not self.holds(reader) for reader in readers[tensor.name])
        )

    @cached_property
    def boundary_bytes(self) -> int | None:
        """Bytes that cross the link; None where they depend on data."""
        total = 0
        for tensor in self.boundary:
            if tensor.nbytes is None:
                return None
            total += tensor.nbytes
        return total

    @cached_property
    def results(self) -> tuple[str, ...]:
        """Names of the network's results that the head already makes."""
        producer = self.graph.producer
        return tuple(name for name in self.graph.outputs if self.holds(producer[name]))

    @property
    def holds_all(self) -> bool:
        """Whether every layer is in the head; told without listing those that are not."""
        return self.prefix + len(self.extra) == len(self.graph)

    @property
    def depth(self) -> int:
        """How many layers are in the head, inputs left out."""
        return self.prefix + len(self.extra) - self.graph.input_count

    @property
    def is_proper(self) -> bool:
        """Whether both head and tail have a layer besides the inputs."""
        return self.depth > 0 and not self.holds_all

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the head's last layers; `Cut.after` of them is this cut."""
        if self.depth == 0:
            return tuple(layer.name for layer in self.graph.layers[: self.prefix])
        successors = self.graph.successors
        ends = (i for i in self.graph.dead_ends if self.holds(i))
        return tuple(
            self.graph.layers[i].name
            for i in sorted({*self._window, *ends})
            if i >= self.graph.input_count and not any(self.holds(j) for j in successors[i])
        )

    @staticmethod
    def named(graph: LayerGraph, text: str) -> Cut:
        """The cut as `--cut` writes it: layer names with commas between.

        Raises:
            UsageError: A name is unknown; the hint lists the nearest.
        """
        names = [text] if text in graph.index else [part.strip() for part in text.split(",")]
        return Cut.after(graph, names)

    @property
    def name(self) -> str:
        """The cut as `--cut` takes it."""
        return ",".join(self.layers)

    def why_not(self) -> str | None:
        """Why these values cannot be sent over a link; None where they can."""
        if self.holds_all:
            return NO_TAIL
        if not self.boundary:
            return "the tail would read nothing, neither of the head nor of an input"
        for tensor in self.boundary:
            reason = tensor.why_unsendable
            if reason is not None:
                return reason
        return None
