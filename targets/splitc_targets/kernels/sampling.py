# SPDX-License-Identifier: Apache-2.0
"""Results that read the input at tabled positions: resizing, gathering, tiling, mirrored borders.

Along each dimension a result takes one element, or a weighted sum of a few; which ones a table
says that was computed when compiling. Dimensions without a table are read as they lie, the
innermost by vectors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine


@dataclass(frozen=True)
class Dimension:
    """A loop over the result.

    Args:
        size: Positions.
        y: Distance of neighbours in the result, in elements.
        x: Distance in the input, where there is no table.
        taps: Elements that a position reads; 0 where there is no table.
        table: Where the positions' entries start in the table.
    """

    size: int
    y: int
    x: int = 0
    taps: int = 0
    table: int = 0


@dataclass(frozen=True)
class Sample:
    """A sampling of one tensor.

    Args:
        dimensions: Loops, the outermost first.
        x_size, entries: Elements of the input, and of the table.
        weighted: Whether each entry has a weight.
        dtype: Element type of input and result.
    """

    dimensions: tuple[Dimension, ...]
    x_size: int
    entries: int
    weighted: bool
    dtype: str = "float32"

    @property
    def types(self) -> tuple[str, ...]:
        """The element types of the kernel's parameters."""
        return (self.dtype, "int32", *(["float32"] if self.weighted else []), self.dtype)


def parameters(spec: Sample) -> list[Argument]:
    """A kernel's: x, table of distances, weights where there are, y."""
    y_size = 1 + sum((d.size - 1) * d.y for d in spec.dimensions)
    arguments = [Argument("x", (spec.x_size,), spec.dtype)]
    arguments.append(Argument("at", (spec.entries,), "int32"))
    if spec.weighted:
        arguments.append(Argument("w", (spec.entries,)))
    return [*arguments, Argument("y", (y_size,), spec.dtype)]


def kernel(name: str, spec: Sample, machine: Machine) -> Any:
    """The kernel (x, table of distances, weights where there are, y)."""

    def write(code: Code, *arrays: Array) -> None:
        _Writer(code, spec, machine, arrays).tasks()

    return emit.function(name, parameters(spec), write)


Tap = tuple[Index, Value | None]
"""A distance in the input, and a weight."""


class _Writer:
    def __init__(self, code: Code, spec: Sample, machine: Machine, arrays: Sequence[Array]) -> None:
        self.code, self.spec, self.machine = code, spec, machine
        self.x, self.table, self.y = arrays[0], arrays[1], arrays[-1]
        self.weights = arrays[2] if spec.weighted else None

    def tasks(self) -> None:
        """The parallel loop over all dimensions but the last two, a row of results in each."""
        spec, code = self.spec, self.code
        *outer, inner = spec.dimensions
        wide = spec.dtype in ("float32", "int32")
        if inner.taps or inner.y != 1 or inner.x != 1 or not wide:
            outer, inner = [*outer, inner], Dimension(1, 1, 1)
        row = outer.pop() if outer else Dimension(1, 0)
        count = math.prod(d.size for d in outer)
        taps = math.prod(max(1, d.taps) for d in spec.dimensions)
        work = count * row.size * inner.size * taps
        parallel = count > 1 and work > ELEMENTS_WORTH_SHARING and self.machine.cores > 1
        with code.loop("task", count, parallel=parallel) as task:
            place: Index = 0
            start: Index = 0
            lists: list[list[Tap]] = []
            left = task
            for dimension in reversed(outer):
                digit = code.bind(emit.mod(left, dimension.size))
                left = emit.div(left, dimension.size)
                place = place + digit * dimension.y
                start = start + digit * dimension.x
                lists += self._taps(dimension, digit)
            with code.loop("row", row.size) as r:
                more = self._taps(row, r)
                to = code.bind(place + r * row.y)
                self._row(inner.size, code.bind(start + r * row.x), lists + more, to)

    def _taps(self, dimension: Dimension, digit: Index) -> list[list[Tap]]:
        if not dimension.taps:
            return []
        first = self.code.bind(digit * dimension.taps + dimension.table)
        found: list[Tap] = []
        for tap in range(dimension.taps):
            weight = self.weights.at(first + tap) if self.weights else None
            named = None if weight is None else self.code.bind(weight, "w")
            found.append((self.code.bind(self.table.at(first + tap), "at"), named))
        return [found]

    def _row(self, size: int, start: Index, lists: list[list[Tap]], to: Index) -> None:
        """Results that lie side by side."""
        code, lanes = self.code, self.machine.lanes if size > 1 else 1
        taps: list[Tap] = []
        for chosen in itertools.product(*lists):
            at, weight = start, None
            for distance, share in chosen:
                at = at + distance
                weight = share if weight is None or share is None else weight * share
            taps.append((code.bind(at), None if weight is None else code.bind(weight, "w")))

        def vector(i: Index, used: int) -> None:
            total: Value = None
            for at, weight in taps:
                value = self.x.at(at + i, lanes, used)
                if weight is not None:
                    value = value * emit.splat(weight, lanes)
                total = value if total is None else code.bind(total + value)
            code.store(self.y, to + i, total, lanes, used)

        with code.loop("v", size // lanes) as v:
            vector(v * lanes, lanes)
        if size % lanes:
            vector(size - size % lanes, size % lanes)
