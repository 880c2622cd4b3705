# SPDX-License-Identifier: Apache-2.0
"""Sums and products of all elements of a row up to each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

KINDS = ("cumsum", "cumprod")
TYPES = frozenset({"float32", "float64", "int32", "int64"})


@dataclass(frozen=True)
class Scan:
    """What each element and those before it in its row combine to.

    Args:
        kept: (size, distance in the input, distance in the result) of each other dimension.
        length: Elements of a row.
        x_step, y_step: Distances between them in the input and in the result.
        dtype: The elements' type.
        kind: One of `KINDS`.
        exclusive: Whether the element itself is left out.
    """

    kept: tuple[tuple[int, int, int], ...]
    length: int
    x_step: int
    y_step: int
    dtype: str
    kind: str
    exclusive: bool

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return math.prod(size for size, _, _ in self.kept)


def parameters(spec: Scan) -> list[Argument]:
    """A kernel's (x, y)."""
    last = spec.length - 1
    x = 1 + last * spec.x_step + sum((n - 1) * x for n, x, _ in spec.kept)
    y = 1 + last * spec.y_step + sum((n - 1) * y for n, _, y in spec.kept)
    return [Argument("x", (x,), spec.dtype), Argument("y", (y,), spec.dtype)]


_ROWS = 2
"""Rows that are summed in turn, so that neither waits for its own last sum; more are slower."""


def kernel(name: str, spec: Scan, machine: Machine) -> Any:
    """The kernel (x, y): elements are combined one after the other, as ONNX's are."""

    def write(code: Code, x: Array, y: Array) -> None:
        _Writer(code, spec, machine, x, y).tasks()

    return emit.function(name, parameters(spec), write)


class _Writer:
    def __init__(self, code: Code, spec: Scan, machine: Machine, x: Array, y: Array) -> None:
        self.code, self.spec, self.machine, self.x, self.y = code, spec, machine, x, y

    def tasks(self) -> None:
        """The parallel loop over rows, as many at a time as lie side by side, or a few."""
        spec, code = self.spec, self.code
        outer = list(spec.kept)
        side = next((d for d in outer if d[1:] == (1, 1) and d[0] > 1), None)
        inner = side or max(outer, key=lambda d: d[0], default=(1, 0, 0))
        if inner in outer:
            outer.remove(inner)
        wide = min(self.machine.lanes if side else _ROWS, inner[0])
        blocks = -(-inner[0] // wide)
        count = math.prod(d[0] for d in outer) * blocks
        shared = spec.rows * spec.length > ELEMENTS_WORTH_SHARING and self.machine.cores > 1
        with code.loop("task", count, parallel=shared and count > 1) as task:
            block, left = emit.mod(task, blocks), emit.div(task, blocks)
            at: Index = block * wide * inner[1]
            to: Index = block * wide * inner[2]
            for size, x, y in reversed(outer):
                digit = code.bind(emit.mod(left, size))
                left = emit.div(left, size)
                at, to = at + digit * x, to + digit * y
            at, to = code.bind(at), code.bind(to)
            last = inner[0] - (blocks - 1) * wide
            if blocks == 1 or last == wide:
                self._rows(at, to, inner, last, side=side is not None)
                return
            edge = emit.const(blocks - 1)
            with code.when(emit.tirx.LT(emit.index(block), edge)):
                self._rows(at, to, inner, wide, side=side is not None)
            with code.when(emit.tirx.EQ(emit.index(block), edge)):
                self._rows(at, to, inner, last, side=side is not None)

    def _rows(
        self, at: Index, to: Index, inner: tuple[int, int, int], count: int, *, side: bool
    ) -> None:
        """`count` rows, in the lanes of one vector or one after the other."""
        spec, code = self.spec, self.code
        lanes = self.machine.lanes if side and count > 1 else 1
        vectors = 1 if lanes > 1 else count
        start = emit.number(1 if spec.kind == "cumprod" else 0, lanes, spec.dtype)
        totals = code.local(vectors * lanes, spec.dtype, "total")
        for row in range(vectors):
            code.store(totals, row * lanes, start, lanes)
        with code.loop("i", spec.length) as i:
            for row in range(vectors):
                x = at + row * inner[1] + i * spec.x_step
                y = to + row * inner[2] + i * spec.y_step
                before = totals.at(row * lanes, lanes)
                if spec.exclusive:
                    code.store(self.y, y, before, lanes, count if lanes > 1 else 1)
                met = self._with(before, self.x.at(x, lanes, count if lanes > 1 else 1))
                code.store(totals, row * lanes, met, lanes)
                if not spec.exclusive:
                    after = totals.at(row * lanes, lanes)
                    code.store(self.y, y, after, lanes, count if lanes > 1 else 1)

    def _with(self, a: Value, b: Value) -> Value:
        return a * b if self.spec.kind == "cumprod" else a + b
