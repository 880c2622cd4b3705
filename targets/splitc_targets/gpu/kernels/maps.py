# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Elementwise kernels over tensors laid in any order: a thread an element of the result."""

from __future__ import annotations

import math

from splitc_targets.gpu.loops.arithmetic import finished
from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.graph.expression import Arg
from splitc_targets.kernels.elementwise import Nest, parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value

THREADS = 256


def map_kernel(name: str, nest: Nest) -> Kernel:
    """The kernel (operands…, y)."""
    total = math.prod(nest.sizes)
    types = [_computed(dtype) for dtype in (nest.dtype, *nest.in_dtypes)]
    dtype, *given = types
    floats = nest.computes

    def write(code: Threads, *arrays: Array) -> None:
        number, inside = in_range(code, total, THREADS)
        with where(code, inside):
            places = _places(code, nest, number)

            def operand(i: int) -> Value:
                return arrays[i].at(places[i])

            def converted(i: int) -> Value:
                return emit.converted(operand(i), given[i], floats, 1)

            if nest.expression == Arg(0):
                value = emit.converted(operand(0), given[0], dtype, 1)
            else:
                value = finished(code, nest.expression, converted, dtype, floats)
            code.store(arrays[-1], places[-1], value)

    return kernel(name, parameters(nest), -(-total // THREADS), THREADS, write)


def _computed(dtype: str) -> str:
    """What a kernel has of an element type: float16 is in memory only."""
    return "float32" if dtype == "float16" else dtype


def _places(code: Threads, nest: Nest, number: Index) -> list[Index]:
    """Where each operand and the result have the element of that number."""
    steps = [*nest.ins, nest.out]
    places: list[Index] = [0] * len(steps)
    left = number
    for d in reversed(range(len(nest.sizes))):
        digit = code.bind(emit.mod(left, nest.sizes[d])) if d else left
        left = emit.div(left, nest.sizes[d])
        places = [p + digit * s[d] for p, s in zip(places, steps, strict=True)]
    return [code.bind(place, "at") for place in places]
