# SPDX-License-Identifier: Apache-2.0
"""Elementwise kernels over tensors laid in any order: maps, copies, transposes, broadcasts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.graph.expression import DIVISIONS, Arg, Expression, operations
from splitc_targets.loops import emit
from splitc_targets.loops.emit import BOOL, Argument, Array, Code, Index, Value
from splitc_targets.loops.epilogue import finished
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

_SAME = Arg(0)


@dataclass(frozen=True)
class Nest:
    """A loop nest over the result's elements.

    Args:
        sizes: Of each loop, outermost first; the result lies in this order.
        out: The result's stride for each loop.
        ins: The operands' strides; 0 where an operand does not vary.
        expression: What is stored.
        dtype: The result's element type.
        in_dtypes: The operands' element types.
        computed: The type that is computed in, "" for floats, of 64 bits where an operand is.
            Copies are of any type.
    """

    sizes: tuple[int, ...]
    out: tuple[int, ...]
    ins: tuple[tuple[int, ...], ...]
    expression: Expression = _SAME
    dtype: str = "float32"
    in_dtypes: tuple[str, ...] = ("float32",)
    computed: str = ""

    @property
    def computes(self) -> str:
        """The type that is computed in."""
        return self.computed or ("float64" if "float64" in self.in_dtypes else "float32")

    @property
    def types(self) -> tuple[str, ...]:
        """The element types of the kernel's parameters."""
        return (*self.in_dtypes, self.dtype)


def collapse(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Loops for a shape, the first strides' order, neighbours merged where all allow it."""
    dims = [d for d, n in enumerate(shape) if n != 1]
    dims.sort(key=lambda d: (-strides[0][d], d))
    sizes: list[int] = []
    steps: list[list[int]] = []
    for d in dims:
        here = [s[d] for s in strides]
        if sizes and all(p == shape[d] * h for p, h in zip(steps[-1], here, strict=True)):
            sizes[-1] *= shape[d]
            steps[-1] = here
        else:
            sizes.append(shape[d])
            steps.append(here)
    if not sizes:
        sizes, steps = [1], [[1] * len(strides)]
    return tuple(sizes), [tuple(column) for column in zip(*steps, strict=True)]


def parameters(nest: Nest) -> list[Argument]:
    """A kernel's: operands…, y."""

    def span(strides: tuple[int, ...]) -> int:
        return 1 + sum((n - 1) * s for n, s in zip(nest.sizes, strides, strict=True))

    arguments = [
        Argument(f"x{i}", (span(strides),), dtype)
        for i, (strides, dtype) in enumerate(zip(nest.ins, nest.in_dtypes, strict=True))
    ]
    return [*arguments, Argument("y", (span(nest.out),), nest.dtype)]


def kernel(name: str, nest: Nest, machine: Machine) -> Any:
    """The kernel (operands…, y)."""

    def write(code: Code, *arrays: Array) -> None:
        _write(code, nest, machine, arrays)

    return emit.function(name, parameters(nest), write)


def _write(code: Code, nest: Nest, machine: Machine, arrays: tuple[Array, ...]) -> None:
    nest = _chunked(nest, machine)
    lanes = _lanes(nest, machine)
    inner = nest.sizes[-1]
    quick = _quick_dimension(nest)
    outer = [d for d in range(len(nest.sizes) - 1) if d != quick]
    full, rest = divmod(inner, lanes)
    blocks = full + bool(rest) if quick is not None else 1
    count = math.prod(nest.sizes[d] for d in outer) * blocks
    work = math.prod(nest.sizes) * (1 + len(operations(nest.expression)))
    shared = count > 1 and work > ELEMENTS_WORTH_SHARING and machine.cores > 1
    with code.loop("task", count, parallel=shared) as task:
        places = _places(code, nest, emit.div(task, blocks), outer)
        block = emit.mod(task, blocks)
        if quick is None:
            _vectors(code, nest, arrays, places, lanes, full, rest)
            return
        with code.loop("q", nest.sizes[quick]) as q:
            here = [p + q * s for p, s in zip(places, _steps(nest, quick), strict=True)]
            if full and rest:
                with code.when(emit.tirx.LT(emit.index(block), emit.const(full))):
                    _one(code, nest, arrays, here, block * lanes, lanes, lanes)
                with code.when(emit.tirx.EQ(emit.index(block), emit.const(full))):
                    _one(code, nest, arrays, here, full * lanes, lanes, rest)
            else:
                _one(code, nest, arrays, here, block * lanes, lanes, lanes if full else rest)


def _chunked(nest: Nest, machine: Machine) -> Nest:
    """A single long loop as two, so that cores can share it."""
    if len(nest.sizes) != 1:
        return nest
    total = nest.sizes[0]
    limit = min(8192, max(machine.lanes, total // machine.cores))
    chunk = next((c for c in range(limit, 0, -1) if total % c == 0), total)
    if chunk < machine.lanes or chunk == total:
        return nest
    return Nest(
        (total // chunk, chunk), (nest.out[0] * chunk, nest.out[0]),
        tuple((s[0] * chunk, s[0]) for s in nest.ins),
        nest.expression, nest.dtype, nest.in_dtypes, nest.computed,
    )  # fmt: skip


_WIDE = {"float32", "float16", "bfloat16", "uint8", "int8", BOOL}
"""Types that are turned into each other by vectors."""


def _lanes(nest: Nest, machine: Machine) -> int:
    """Elements handled at once: a vector where the result is dense, but in copies of wide types."""
    types = {nest.dtype, *nest.in_dtypes}
    vectors = bool(nest.computed) or types <= _WIDE or types == {"int32"}
    if not vectors or nest.out[-1] != 1:
        return 1
    return min(machine.lanes, 1 << max(0, (nest.sizes[-1] - 1).bit_length()))


def _quick_dimension(nest: Nest) -> int | None:
    """For a transposing read: the loop along which the operand is dense, to run innermost."""
    for strides in nest.ins:
        if strides[-1] not in (0, 1):
            dense = [d for d in range(len(strides) - 1) if strides[d] == 1]
            if dense:
                return dense[0]
    return None


def _steps(nest: Nest, dimension: int) -> list[int]:
    return [*(s[dimension] for s in nest.ins), nest.out[dimension]]


def _places(code: Code, nest: Nest, task: Index, outer: list[int]) -> list[Index]:
    """Where each operand and the result start for a task."""
    places: list[Index] = [0] * (len(nest.ins) + 1)
    left = task
    for d in reversed(outer):
        digit = code.bind(emit.mod(left, nest.sizes[d]))
        left = emit.div(left, nest.sizes[d])
        places = [p + digit * s for p, s in zip(places, _steps(nest, d), strict=True)]
    return [code.bind(place) for place in places]


def _vectors(
    code: Code, nest: Nest, arrays: tuple[Array, ...], places: list[Index],
    lanes: int, full: int, rest: int,
) -> None:  # fmt: skip
    with code.loop("v", full) as v:
        _one(code, nest, arrays, places, v * lanes, lanes, lanes)
    if rest:
        _one(code, nest, arrays, places, full * lanes, lanes, rest)


def _one(
    code: Code, nest: Nest, arrays: tuple[Array, ...], places: list[Index],
    column: Index, lanes: int, used: int,
) -> None:  # fmt: skip
    """One vector of results from inner position `column` on."""

    def operand(i: int) -> Value:
        step = nest.ins[i][-1]
        where = places[i] + column * step
        if step == 0 or lanes == 1:
            return emit.splat(arrays[i].at(where), lanes)
        if step == 1:
            return arrays[i].at(where, lanes, used)
        if used < lanes:
            gathered = [arrays[i].at(where + min(k, used - 1) * step) for k in range(lanes)]
            return emit.shuffle(gathered, range(lanes))
        return arrays[i].spaced(where, step, lanes)

    floats = nest.computes
    divides = not DIVISIONS.isdisjoint(operations(nest.expression))

    def number(i: int) -> Value:
        value = emit.converted(operand(i), nest.in_dtypes[i], floats, lanes)
        # What a vector has beyond the last element is anything, and some divisors end a process.
        return emit.first(value, used, 1, lanes, floats) if divides else value

    with code.scope():
        if nest.expression == Arg(0):
            value = operand(0)
            if nest.in_dtypes[0] != nest.dtype:
                value = emit.converted(value, nest.in_dtypes[0], nest.dtype, lanes)
        else:
            value = finished(code, nest.expression, number, lanes, nest.dtype, floats)
        code.store(arrays[-1], places[-1] + column * nest.out[-1], value, lanes, used)
