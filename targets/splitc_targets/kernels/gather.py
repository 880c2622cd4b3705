# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportArgumentType=false
"""Elements or rows read at places that are computed: embeddings, gathers of every form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from splitc_targets.graph.graph import Node, Value
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

TYPES = frozenset({
    "float32", "float64", "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
    "uint64",
})  # fmt: skip
"""Of what is read."""
KINDS = ("int32", "int64")
"""Of places."""

_CHUNK = 4096
"""Elements of a long row that one task reads at most."""


@dataclass(frozen=True)
class Gather:
    """What of a tensor lies where places say.

    Args:
        loops: (size, distance in the tensor, in the places, in the result), outermost first. A
            distance of 0 is that of what does not vary.
        parts: Of each number that a place has: (size of the dimension that it is in, distance in
            the tensor, distance in the places). Beyond either end it is the nearest within.
        sizes: Elements that the tensor and the places span.
        dtype: The tensor's element type.
        kind: That of the places.
        either_end: Whether a number below 0 counts from its dimension's end.
    """

    loops: tuple[tuple[int, int, int, int], ...]
    parts: tuple[tuple[int, int, int], ...]
    sizes: tuple[int, int]
    dtype: str
    kind: str
    either_end: bool = False

    @property
    def count(self) -> int:
        """Elements of the result."""
        return math.prod(size for size, *_ in self.loops)


def fits(node: Node) -> bool:
    """Whether a kernel reads what an operation (tensor, places) asks for."""
    x, places = node.args[:2]
    if not isinstance(places, Value) or x.dtype not in TYPES or places.dtype not in KINDS:
        return False
    if node.op == "take" and (node.attrs.get("mode") != "clip" or node.attrs["axis"] is None):
        return False
    sizes = (x.size, places.size, node.output.size)
    return x.dtype == node.output.dtype and 0 not in sizes and bool(x.shape)


def merged(loops: list[tuple[int, int, int, int]]) -> tuple[tuple[int, int, int, int], ...]:
    """Loops in the result's order, neighbours as one where all distances allow it."""
    found: list[tuple[int, int, int, int]] = []
    for size, *steps in sorted(loops, key=lambda loop: -loop[3]):
        if size == 1:
            continue
        if found and all(p == size * s for p, s in zip(found[-1][1:], steps, strict=True)):
            found[-1] = (found[-1][0] * size, steps[0], steps[1], steps[2])
        else:
            found.append((size, steps[0], steps[1], steps[2]))
    return tuple(found) or ((1, 0, 0, 1),)


def parameters(spec: Gather) -> list[Argument]:
    """A kernel's (tensor, places, result)."""
    y = 1 + sum((size - 1) * to for size, _, _, to in spec.loops)
    return [
        Argument("x", (spec.sizes[0],), spec.dtype),
        Argument("places", (spec.sizes[1],), spec.kind),
        Argument("y", (y,), spec.dtype),
    ]


def place(code: Code, spec: Gather, places: Array, at: Index, lanes: int = 1) -> Index:
    """Where in the tensor what a place names lies, from the element that its first number is on.

    Of so many lanes, the places that follow each other.
    """
    found: Index = 0
    for size, step, apart in spec.parts:
        number = code.bind(places.at(at + apart, lanes), "number")
        if spec.either_end:
            below = tirx.LT(number, emit.number(0, lanes, spec.kind))
            counted = number + emit.number(size, lanes, spec.kind)
            number = code.bind(tirx.Select(below, counted, number), "counted")
        least, most = (emit.number(end, lanes, spec.kind) for end in (0, size - 1))
        within = tirx.Cast(emit.typed("int32", lanes), tirx.max(tirx.min(number, most), least))
        found = found + within * emit.number(step, lanes, "int32")
    return code.bind(found, "found")


def kernel(name: str, spec: Gather, machine: Machine) -> Any:
    """The kernel (tensor, places, result)."""

    def write(code: Code, x: Array, places: Array, y: Array) -> None:
        *outer, (size, across, along, apart) = spec.loops
        chunk = size if outer and along == 0 else min(size, _CHUNK)
        chunks = -(-size // chunk)
        tasks = math.prod(n for n, *_ in outer) * chunks
        shared = tasks > 1 and spec.count > ELEMENTS_WORTH_SHARING and machine.cores > 1
        with code.loop("task", tasks, parallel=shared) as task:
            start = code.bind(emit.mod(task, chunks) * chunk, "start")
            here, at, to = start * across, start * along, start * apart
            left = emit.div(task, chunks)
            for n, *steps in reversed(outer):
                digit = code.bind(emit.mod(left, n))
                left = emit.div(left, n)
                here, at, to = (p + digit * s for p, s in zip((here, at, to), steps, strict=True))
            here, at, to = code.bind(here), code.bind(at), code.bind(to)
            if along == 0 and chunks == 1:
                found = code.bind(here + place(code, spec, places, at))
                _row(code, (x, found, across), (y, to, apart), size, machine)
                return
            count = emit.least(chunk, size - start) if chunks > 1 else size
            done: Index = 0
            if along == 1 and len(spec.parts) == 1:
                done = _vectors(code, spec, (x, places, y), (here, at, to), count, machine.lanes)
            with code.loop("i", count - done, start=done) as i:
                found = here + i * across + place(code, spec, places, at + i * along)
                code.store(y, to + i * apart, x.at(found))

    return emit.function(name, parameters(spec), write)


def _vectors(
    code: Code, spec: Gather, arrays: tuple[Array, Array, Array],
    starts: tuple[Index, Index, Index], count: Index, lanes: int,
) -> Index:  # fmt: skip
    """Whole vectors of places that lie densely, each element read for itself; how many are done."""
    (x, places, y), (here, at, to) = arrays, starts
    _, across, _, apart = spec.loops[-1]
    whole = emit.div(count, lanes)
    with code.loop("v", whole) as v:
        first = code.bind(v * lanes)
        found = place(code, spec, places, at + first, lanes)
        for k in range(lanes):
            i = first + k
            one = tirx.Shuffle([found], [emit.const(k)]) + here + i * across
            code.store(y, to + i * apart, x.at(code.bind(one)))
    return code.bind(whole * lanes)


def _row(
    code: Code, source: tuple[Array, Index, int], target: tuple[Array, Index, int], size: int,
    machine: Machine,
) -> None:  # fmt: skip
    """Copy a row, in vectors where it lies densely on both sides."""
    (x, here, across), (y, to, apart) = source, target
    lanes = machine.lanes if across == apart == 1 else 1
    with code.loop("v", size // lanes) as v:
        code.store(y, to + v * (lanes * apart), x.at(here + v * (lanes * across), lanes), lanes)
    done, rest = size // lanes * lanes, size % lanes
    if rest:
        code.store(y, to + done, x.at(here + done, lanes, rest), lanes, rest)
