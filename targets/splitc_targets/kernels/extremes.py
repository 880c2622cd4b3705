# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Places of the largest or smallest elements along one axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

KEYS = frozenset({
    "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
})  # fmt: skip
"""Types of elements that are compared."""


@dataclass(frozen=True)
class Extremes:
    """The place of the first extreme of each row.

    What is not a number is passed over, as in onnxruntime, but for a row's first element.

    Args:
        kept: (size, distance in the input, distance in the result) of each other dimension.
        length, step: Elements of a row and the distance between them.
        dtype: The elements' type.
        largest: Whether the largest is looked for, or the smallest.
    """

    kept: tuple[tuple[int, int, int], ...]
    length: int
    step: int
    dtype: str
    largest: bool

    @property
    def types(self) -> tuple[str, str]:
        """The element types of the kernel's parameters."""
        return self.dtype, "int64"


def parameters(spec: Extremes) -> list[Argument]:
    """A kernel's (x, places)."""
    x_size = 1 + (spec.length - 1) * spec.step + sum((n - 1) * x for n, x, _ in spec.kept)
    y_size = 1 + sum((n - 1) * y for n, _, y in spec.kept)
    return [Argument("x", (x_size,), spec.dtype), Argument("y", (y_size,), "int64")]


def starts(code: Code, spec: Extremes, row: Index) -> tuple[Index, Index]:
    """Where a row starts in the elements, and where its result is."""
    left, x_at, y_at = row, 0, 0
    for size, x_step, y_step in reversed(spec.kept):
        digit = code.bind(emit.mod(left, size))
        left = emit.div(left, size)
        x_at, y_at = x_at + digit * x_step, y_at + digit * y_step
    return code.bind(x_at), y_at


def kernel(name: str, spec: Extremes, machine: Machine) -> Any:
    """The kernel (x, places)."""
    count = math.prod(n for n, _, _ in spec.kept)
    shared = count > 1 and machine.cores > 1 and count * spec.length > ELEMENTS_WORTH_SHARING

    def write(code: Code, x: Array, y: Array) -> None:
        with code.loop("row", count, parallel=shared) as row:
            _row(code, spec, x, y, *starts(code, spec, row))

    return emit.function(name, parameters(spec), write)


def _row(code: Code, spec: Extremes, x: Array, y: Array, x_at: Any, y_at: Any) -> None:
    best = code.local(1, spec.dtype, "best")
    place = code.local(1, "int32", "place")
    code.store(best, 0, x.at(x_at))
    code.store(place, 0, emit.const(0))
    with code.loop("i", spec.length - 1, start=1) as i:
        value, known = code.bind(x.at(x_at + i * spec.step)), code.bind(best.at(0))
        less, more = (known, value) if spec.largest else (value, known)
        better = code.bind(emit.tirx.LT(less, more), "better")
        code.store(place, 0, emit.tirx.Select(better, emit.index(i), place.at(0)))
        code.store(best, 0, emit.tirx.Select(better, value, known))
    code.store(y, y_at, emit.tirx.Cast("int64", place.at(0)))
