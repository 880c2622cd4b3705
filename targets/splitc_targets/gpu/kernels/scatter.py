# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Numbers put at places that are computed: a thread an element of the result, which looks for them.

Each thread goes through all that could be put into its element, in their order: nothing races, and
of several the last one stays, as in ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.scatter import COMBINE, Scatter, parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, const, tirx

THREADS = 256

_TYPES = frozenset({"float32", "float64", "int32", "int64", "int8", "uint8"})
_MOST_TURNS = 16384
"""Numbers that may be put into one element, beyond which looking at all of them for each element
takes longer than putting one after the other."""


def suits(spec: Scatter | None) -> bool:
    """Whether kernels of threads put numbers so."""
    return spec is not None and spec.dtype in _TYPES and spec.turns <= _MOST_TURNS


def scatter_kernel(name: str, spec: Scatter) -> Kernel:
    """The kernel (tensor, places, numbers, result)."""
    look = _rows if spec.axis is None else _along
    combine = COMBINE[spec.reduction]

    def write(code: Threads, x: Array, places: Array, updates: Array, y: Array) -> None:
        number, inside = in_range(code, spec.size, THREADS)
        with where(code, inside):
            value = code.local(1, spec.dtype, "value")
            code.store(value, 0, x.at(number))

            def put(at: Index) -> None:
                code.store(value, 0, combine(value.at(0), updates.at(at)))

            look(code, spec, number, places, put)
            code.store(y, number, value.at(0))

    return kernel(name, parameters(spec), -(-spec.size // THREADS), THREADS, write)


def _rows(
    code: Threads, spec: Scatter, number: Index, places: Array, put: Callable[[Index], None]
) -> None:
    """Put what is for the row of an element, where places are of whole rows."""
    row = code.bind(emit.div(number, spec.inner), "row")
    column = code.bind(emit.mod(number, spec.inner), "column")
    with code.loop("turn", spec.turns) as turn:
        named: Index = tirx.const(0, spec.kind)
        for digit in range(spec.depth):
            step = math.prod(spec.shape[digit + 1 : spec.depth])
            named = named + places.at(turn * spec.depth + digit) * tirx.const(step, spec.kind)
        with code.when(tirx.EQ(named, tirx.Cast(spec.kind, emit.index(row)))):
            put(turn * spec.inner + column)


def _along(
    code: Threads, spec: Scatter, number: Index, places: Array, put: Callable[[Index], None]
) -> None:
    """Put what is for an element among those at its place in the other dimensions."""
    assert spec.axis is not None
    at: Index = 0
    wanted: Index = 0
    step, inside, left = 0, None, number
    for d in reversed(range(len(spec.shape))):
        digit = code.bind(emit.mod(left, spec.shape[d]), "digit")
        left = emit.div(left, spec.shape[d])
        distance = math.prod(spec.places[d + 1 :])
        if d == spec.axis:
            step, wanted = distance, digit
            continue
        at = at + digit * distance
        if spec.places[d] < spec.shape[d]:
            low = tirx.LT(emit.index(digit), const(spec.places[d]))
            inside = low if inside is None else tirx.And(inside, low)
    start = code.bind(at, "start")
    with where(code, inside), code.loop("turn", spec.turns) as turn:
        here = code.bind(start + turn * step, "here")
        with code.when(tirx.EQ(places.at(here), tirx.Cast(spec.kind, emit.index(wanted)))):
            put(here)
