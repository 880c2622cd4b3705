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


_WIDE = ("float32", "int32")
"""Those that are as wide as a place, and are compared by vectors."""
_VECTORS = 4
"""Vectors that are compared side by side, so that none waits for the one before."""


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

    wide = spec.step == 1 and spec.dtype in _WIDE and spec.length >= _VECTORS * machine.lanes

    def write(code: Code, x: Array, y: Array) -> None:
        with code.loop("row", count, parallel=shared) as row:
            here, to = starts(code, spec, row)
            if wide:
                _by_vectors(code, spec, x, y, here, to, machine.lanes)
            else:
                _row(code, spec, x, y, here, to)

    return emit.function(name, parameters(spec), write)


def _row(code: Code, spec: Extremes, x: Array, y: Array, x_at: Any, y_at: Any) -> None:
    best = code.local(1, spec.dtype, "best")
    place = code.local(1, "int32", "place")
    code.store(best, 0, x.at(x_at))
    code.store(place, 0, emit.const(0))
    with code.loop("i", spec.length - 1, start=1) as i:
        value, known = code.bind(x.at(x_at + i * spec.step)), code.bind(best.at(0))
        better = code.bind(_before(spec, value, known), "better")
        code.store(place, 0, emit.tirx.Select(better, emit.index(i), place.at(0)))
        code.store(best, 0, emit.tirx.Select(better, value, known))
    code.store(y, y_at, emit.tirx.Cast("int64", place.at(0)))


def _by_vectors(
    code: Code, spec: Extremes, x: Array, y: Array, x_at: Any, y_at: Any, lanes: int
) -> None:
    """A dense row: each lane has the first extreme of its own elements, and begins with the row's
    first, which what is not a number does not replace."""
    held = _VECTORS * lanes
    best, place = code.local(held, spec.dtype, "best"), code.local(held, "int32", "place")
    for start in range(0, held, lanes):
        code.store(best, start, x.everywhere(x_at, lanes), lanes)
        code.store(place, start, emit.number(0, lanes, "int32"), lanes)
    whole = spec.length // held
    with code.loop("v", whole) as v:
        for start in range(0, held, lanes):
            value = code.bind(x.at(x_at + v * held + start, lanes), "value")
            known = code.bind(best.at(start, lanes), "known")
            better = _before(spec, value, known)
            first = emit.index(v * held + start)
            here = emit.tirx.Ramp(first, emit.const(1), emit.const(lanes))
            code.store(place, start, emit.tirx.Select(better, here, place.at(start, lanes)), lanes)
            code.store(best, start, emit.tirx.Select(better, value, known), lanes)
    for start in range(lanes, held, lanes):
        value, known = (code.bind(best.at(at, lanes)) for at in (start, 0))
        here, there = (code.bind(place.at(at, lanes)) for at in (start, 0))
        better = _sooner(spec, (value, here), (known, there))
        code.store(place, 0, emit.tirx.Select(better, here, there), lanes)
        code.store(best, 0, emit.tirx.Select(better, value, known), lanes)
    values, places = (
        code.scratch(lanes, spec.dtype, "values"),
        code.scratch(lanes, "int32", "places"),
    )
    code.store(values, 0, best.at(0, lanes), lanes)
    code.store(places, 0, place.at(0, lanes), lanes)
    top, spot = code.local(1, spec.dtype, "top"), code.local(1, "int32", "spot")
    code.store(top, 0, best.at(0))
    code.store(spot, 0, place.at(0))

    def met(value: Any, here: Any) -> None:
        value, known, there = code.bind(value), code.bind(top.at(0)), code.bind(spot.at(0))
        better = code.bind(_sooner(spec, (value, here), (known, there)), "better")
        code.store(spot, 0, emit.tirx.Select(better, here, there))
        code.store(top, 0, emit.tirx.Select(better, value, known))

    with code.loop("lane", lanes - 1, start=1) as lane:
        met(values.at(lane), code.bind(places.at(lane)))
    with code.loop("i", spec.length - whole * held, start=whole * held) as i:
        met(x.at(x_at + i), emit.index(i))
    code.store(y, y_at, emit.tirx.Cast("int64", spot.at(0)))


def _before(spec: Extremes, value: Any, known: Any) -> Any:
    """Whether a value is more extreme than another."""
    less, more = (known, value) if spec.largest else (value, known)
    return emit.tirx.LT(less, more)


def _sooner(spec: Extremes, one: tuple[Any, Any], other: tuple[Any, Any]) -> Any:
    """Whether one (value, place) is more extreme than another, or as extreme and before it."""
    (value, here), (known, there) = one, other
    equal = emit.tirx.And(emit.tirx.EQ(value, known), emit.tirx.LT(here, there))
    return emit.tirx.Or(_before(spec, value, known), equal)
