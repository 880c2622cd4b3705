# SPDX-License-Identifier: Apache-2.0
"""Sums, means, products and bounds over any dimensions of a tensor laid in any order.

Vectors run along whichever dimension is dense: where it is kept, each lane is a result of its
own; where it is reduced, the lanes are combined at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

KINDS: dict[str, tuple[float, Callable[[Value, Value], Value]]] = {
    "sum": (0.0, lambda a, b: a + b),
    "mean": (0.0, lambda a, b: a + b),
    "prod": (1.0, lambda a, b: a * b),
    "max": (-math.inf, emit.larger),
    "min": (math.inf, emit.smaller),
}
"""What a reduction of floats starts from, and how it combines two."""

_BOUNDS: dict[str, tuple[str, Callable[[Value, Value], Value]]] = {
    "max": ("min", emit.maximum), "min": ("max", emit.minimum),
}  # fmt: skip
"""Of integers that are bounded: the end of their type to start from, and how two are combined."""


def combined(kind: str, dtype: str) -> tuple[float, Callable[[Value, Value], Value]]:
    """What a reduction of a type starts from, and how it combines two."""
    if dtype.startswith("float") or kind not in _BOUNDS:
        return KINDS[kind]
    end, combine = _BOUNDS[kind]
    return getattr(np.iinfo(dtype), end), combine


@dataclass(frozen=True)
class Reduction:
    """A reduction of one tensor.

    Args:
        kept: (size, distance in the input, distance in the result) of each kept dimension.
        reduced: (size, distance in the input) of each other dimension.
        kind: A key of `KINDS`.
        dtype: The elements' type.
    """

    kept: tuple[tuple[int, int, int], ...]
    reduced: tuple[tuple[int, int], ...]
    kind: str
    dtype: str = "float32"

    @property
    def count(self) -> int:
        """Elements combined into each result."""
        return math.prod(size for size, _ in self.reduced)


_WIDE = 4
"""Vectors combined side by side: no addition waits for the one before."""


def parameters(spec: Reduction) -> list[Argument]:
    """A kernel's: x, y."""
    steps = [(size, x) for size, x, _ in spec.kept] + [*spec.reduced]
    x_size = 1 + sum((size - 1) * x for size, x in steps)
    y_size = 1 + sum((size - 1) * y for size, _, y in spec.kept)
    return [Argument("x", (x_size,), spec.dtype), Argument("y", (y_size,), spec.dtype)]


def kernel(name: str, spec: Reduction, machine: Machine) -> Any:
    """The kernel (x, y)."""

    def write(code: Code, x: Array, y: Array) -> None:
        _Writer(code, spec, machine, x, y).tasks()

    return emit.function(name, parameters(spec), write)


class _Writer:
    def __init__(self, code: Code, spec: Reduction, machine: Machine, x: Array, y: Array) -> None:
        self.code, self.spec, self.machine, self.x, self.y = code, spec, machine, x, y
        self.start, self.combine = combined(spec.kind, spec.dtype)

    def tasks(self) -> None:
        """The parallel loop over results, or over vectors of them."""
        spec, code = self.spec, self.code
        outer = list(spec.kept)
        side = next((d for d in outer if d[1:] == (1, 1) and d[0] > 1), None)
        columns, wide = 1, 1
        if side is not None:
            outer.remove(side)
            columns = side[0]
            wide = self.machine.lanes * max(1, min(_WIDE, columns // self.machine.lanes))
        blocks = -(-columns // wide)
        count = math.prod(d[0] for d in outer) * blocks
        work = count * wide * spec.count
        parallel = count > 1 and work > ELEMENTS_WORTH_SHARING and self.machine.cores > 1
        with code.loop("task", count, parallel=parallel) as task:
            block, left = emit.mod(task, blocks), emit.div(task, blocks)
            at: Index = 0
            to: Index = 0
            for size, x, y in reversed(outer):
                digit = code.bind(emit.mod(left, size))
                left = emit.div(left, size)
                at, to = at + digit * x, to + digit * y
            first = code.bind(block * wide)
            at, to = code.bind(at + first), code.bind(to + first)
            if side is None:
                self._alone(at, to)
                return
            last = columns - (blocks - 1) * wide
            if blocks == 1 or last == wide:
                self._together(at, to, last)
                return
            edge = emit.const(blocks - 1)
            with code.when(emit.tirx.LT(emit.index(block), edge)):
                self._together(at, to, wide)
            with code.when(emit.tirx.EQ(emit.index(block), edge)):
                self._together(at, to, last)

    def _together(self, at: Index, to: Index, used: int) -> None:
        """`used` results that lie side by side."""
        code, lanes = self.code, self.machine.lanes
        count = -(-used // lanes)
        totals = self._totals(count)

        def meet(where: Index) -> None:
            for j in range(count):
                value = self.x.at(where + j * lanes, lanes, min(lanes, used - j * lanes))
                met = self.combine(totals.at(j * lanes, lanes), value)
                code.store(totals, j * lanes, met, lanes)

        self._over(list(self.spec.reduced), at, meet)
        for j in range(count):
            part = min(lanes, used - j * lanes)
            result = self._finished(totals.at(j * lanes, lanes), lanes)
            code.store(self.y, to + j * lanes, result, lanes, part)

    def _alone(self, at: Index, to: Index) -> None:
        """One result."""
        code = self.code
        reduced = list(self.spec.reduced)
        row = next((d for d in reduced if d[1] == 1 and d[0] > 1), None)
        lanes = self.machine.lanes if row else 1
        size = row[0] if row else 1
        if row:
            reduced.remove(row)
        chains = max(1, min(_WIDE, size // lanes))
        totals = self._totals(chains, lanes)

        def vector(where: Index, chain: int, used: int) -> None:
            value = code.bind(self.x.at(where, lanes, used))
            value = emit.first(value, used, self.start, lanes, self.spec.dtype)
            met = self.combine(totals.at(chain * lanes, lanes), value)
            code.store(totals, chain * lanes, met, lanes)

        def meet(where: Index) -> None:
            with code.loop("c", size // (chains * lanes)) as c:
                for chain in range(chains):
                    vector(where + (c * chains + chain) * lanes, chain, lanes)
            start = size // (chains * lanes) * chains * lanes
            for chain, i in enumerate(range(start, size, lanes)):
                vector(where + i, chain, min(lanes, size - i))

        self._over(reduced, at, meet)
        total = totals.at(0, lanes)
        for chain in range(1, chains):
            total = self.combine(total, totals.at(chain * lanes, lanes))
        total = emit.across(code, code.bind(total), lanes, self.combine)
        code.store(self.y, to, self._finished(total, 1))

    def _totals(self, count: int, lanes: int | None = None) -> Array:
        lanes = lanes or self.machine.lanes
        dtype = self.spec.dtype
        totals = self.code.local(count * lanes, dtype)
        for cell in range(count):
            self.code.store(totals, cell * lanes, emit.number(self.start, lanes, dtype), lanes)
        return totals

    def _over(
        self, reduced: Sequence[tuple[int, int]], at: Index, meet: Callable[[Index], None]
    ) -> None:
        """Every place of the remaining reduced dimensions."""
        if not reduced:
            meet(at)
            return
        (size, step), *rest = reduced
        with self.code.loop("r", size) as r:
            self._over(rest, self.code.bind(at + r * step), meet)

    def _finished(self, total: Value, lanes: int) -> Value:
        if self.spec.kind != "mean":
            return total
        return total * emit.number(1.0 / self.spec.count, lanes, self.spec.dtype)
