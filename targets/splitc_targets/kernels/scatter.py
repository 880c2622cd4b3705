# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportArgumentType=false
"""Numbers put into a copy of a tensor, at places that are computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import gather
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "update": lambda _, b: b,
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "max": tirx.max,
    "min": tirx.min,
}
"""What becomes of a number where another is put: the last one put there, or both combined."""

_CHUNK = 4096
"""Elements that a task copies at most."""


@dataclass(frozen=True)
class Scatter:
    """A tensor with some of its numbers replaced.

    Args:
        shape: Of the tensor and the result.
        places: Shape of the places: of one number each along `axis`, or of `depth` numbers.
        axis: The dimension that places are along; None where they are whole rows.
        dtype: The tensor's element type.
        kind: That of the places.
        reduction: One of `COMBINE`.
    """

    shape: tuple[int, ...]
    places: tuple[int, ...]
    axis: int | None
    dtype: str
    kind: str
    reduction: str

    @property
    def depth(self) -> int:
        """Numbers of a place: the leading dimensions that it is in."""
        return self.places[-1] if self.axis is None else 1

    @property
    def size(self) -> int:
        """Elements of the tensor."""
        return math.prod(self.shape)

    @property
    def inner(self) -> int:
        """Elements of a row that a place names."""
        return math.prod(self.shape[self.depth :])

    @property
    def turns(self) -> int:
        """Numbers that may be put into one element."""
        return math.prod(self.places[:-1]) if self.axis is None else self.places[self.axis]

    @property
    def updates(self) -> int:
        """Numbers that are put."""
        return self.turns * self.inner if self.axis is None else math.prod(self.places)


def spec_of(node: Node) -> Scatter | None:
    """What an operation (tensor, places, numbers) asks for; None where no kernel does it."""
    x, places, updates = node.args
    if x.dtype not in gather.TYPES or places.dtype not in gather.KINDS:
        return None
    reduction = node.attrs["reduction"]
    if not x.dtype == updates.dtype == node.output.dtype or reduction not in COMBINE:
        return None
    if 0 in (x.size, places.size, updates.size) or (x.dtype == "bool" and reduction != "update"):
        return None
    axis = None if node.op == "scatter_nd" else int(node.attrs["axis"]) % len(x.shape)
    spec = Scatter(x.shape, places.shape, axis, x.dtype, places.dtype, reduction)
    return spec if spec.updates == updates.size else None


def parameters(spec: Scatter) -> list[Argument]:
    """A kernel's (tensor, places, numbers, result)."""
    return [
        Argument("x", (spec.size,), spec.dtype),
        Argument("places", (math.prod(spec.places),), spec.kind),
        Argument("updates", (spec.updates,), spec.dtype),
        Argument("y", (spec.size,), spec.dtype),
    ]


def kernel(name: str, spec: Scatter, machine: Machine) -> Any:
    """The kernel (tensor, places, numbers, result), for places within the tensor.

    Numbers for one element are put in their order, by one task.
    """

    def write(code: Code, *arrays: Array) -> None:
        writer = _Writer(code, spec, machine, *arrays)
        writer.copy()
        if spec.axis is None:
            writer.rows()
        else:
            writer.elements()

    return emit.function(name, parameters(spec), write)


class _Writer:
    def __init__(
        self, code: Code, spec: Scatter, machine: Machine, x: Array, places: Array,
        updates: Array, y: Array,
    ) -> None:  # fmt: skip
        self.code, self.spec, self.machine = code, spec, machine
        self.x, self.places, self.updates, self.y = x, places, updates, y

    def copy(self) -> None:
        """The tensor, into the result."""
        code, spec = self.code, self.spec
        chunks = -(-spec.size // _CHUNK)
        shared = spec.size > ELEMENTS_WORTH_SHARING and self.machine.cores > 1
        with code.loop("chunk", chunks, parallel=shared) as chunk:
            start = code.bind(chunk * _CHUNK, "start")
            count = emit.least(_CHUNK, spec.size - start)
            self._vectors(count, lambda i, lanes: (start + i, self.x.at(start + i, lanes)))

    def rows(self) -> None:
        """Whole rows, each task its part of all of them."""
        code, spec = self.code, self.spec
        tasks = self._tasks(spec.inner // self.machine.lanes)
        part = -(-spec.inner // tasks)
        combine = COMBINE[spec.reduction]
        with code.loop("task", tasks, parallel=tasks > 1) as task:
            first = code.bind(task * part, "first")
            count = emit.least(part, spec.inner - first)
            with code.loop("turn", spec.turns) as turn:
                to = code.bind(self._row(turn) + first, "to")
                at = code.bind(turn * spec.inner + first, "at")
                self._vectors(count, lambda i, lanes: (
                    to + i, combine(self.y.at(to + i, lanes), self.updates.at(at + i, lanes))
                ))  # fmt: skip

    def _row(self, turn: Index) -> Index:
        """Where the row that a place names begins."""
        spec, found = self.spec, emit.const(0)
        for digit in range(spec.depth):
            place = tirx.Cast("int32", self.places.at(turn * spec.depth + digit))
            found = found + place * math.prod(spec.shape[digit + 1 :])
        return found

    def elements(self) -> None:
        """Single elements: each task has a stretch of one of the other dimensions."""
        spec = self.spec
        assert spec.axis is not None
        steps = (packed(spec.shape), packed(spec.places))
        every = [
            (size, 0 if d == spec.axis else x, at, at)
            for d, (size, x, at) in enumerate(zip(spec.places, *steps, strict=True))
        ]
        loops = gather.merged(every)
        others = [loop for loop in loops if loop[1]]
        split = max(others, key=lambda loop: loop[0], default=None)
        tasks = self._tasks(split[0] if split else 1)
        with self.code.loop("task", tasks, parallel=tasks > 1) as task:
            self._nest(loops, split, tasks, task, 0, 0)

    def _nest(
        self, loops: tuple[tuple[int, int, int, int], ...],
        split: tuple[int, int, int, int] | None, tasks: int, task: Index, base: Index, at: Index,
    ) -> None:  # fmt: skip
        """The loops that are left, from an element of the other dimensions and a place on."""
        if not loops:
            self._put(base, at)
            return
        code, (size, across, along, _) = self.code, loops[0]
        first, count = 0, size
        if loops[0] == split and tasks > 1:
            part = -(-size // tasks)
            first = code.bind(task * part, "first")
            count = code.bind(emit.least(part, size - first), "count")
        with code.loop("i", count, start=first) as i:
            here = code.bind(base + i * across, "base") if across else base
            self._nest(loops[1:], split, tasks, task, here, code.bind(at + i * along, "at"))

    def _put(self, base: Index, at: Index) -> None:
        spec, code = self.spec, self.code
        assert spec.axis is not None
        place = tirx.Cast("int32", self.places.at(at))
        to = code.bind(base + place * packed(spec.shape)[spec.axis], "to")
        met = COMBINE[spec.reduction](self.y.at(to), self.updates.at(at))
        code.store(self.y, to, met)

    def _tasks(self, most: int) -> int:
        """Tasks that the numbers are put by, of so many that there can be."""
        shared = self.spec.updates > ELEMENTS_WORTH_SHARING
        return min(self.machine.cores, max(1, most)) if shared else 1

    def _vectors(self, count: Index, made: Callable[[Index, int], tuple[Index, Value]]) -> None:
        """Store so many elements of the result, (where, what) from an element on, by vectors."""
        code, lanes = self.code, self.machine.lanes
        whole = emit.div(count, lanes)
        with code.loop("v", whole) as v:
            where, value = made(v * lanes, lanes)
            code.store(self.y, where, value, lanes)
        with code.loop("i", count - whole * lanes, start=whole * lanes) as i:
            where, value = made(i, 1)
            code.store(self.y, where, value)
