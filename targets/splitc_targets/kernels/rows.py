# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operations along the last axis of a matrix of rows: softmax, normalisations.

A row is read a few times, each time a few vectors a step with a total in registers for each, the
last vector masked; between the passes it stays in the cache. Rows are shared among the cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.arithmetic import OPS, exp_of_negative
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine.machine import Machine

_CHAINS = 4
LOWEST = -3.4028234663852886e38
"""The least finite number."""


@dataclass(frozen=True)
class Softmax:
    """exp(x - max) / sum of it, or its logarithm, over each row.

    Args:
        rows, columns: The matrix.
        x_row, y_row: Distances between rows of the input and of the result, in elements.
        log: Whether the logarithm is stored.
        guarded: Whether rows without a result have zeros: those of minus infinities, as a mask
            leaves them, and those with a number that is none.
    """

    rows: int
    columns: int
    x_row: int
    y_row: int
    log: bool = False
    guarded: bool = False


@dataclass(frozen=True)
class Norm:
    """(x - mean) / sqrt(mean square of that + epsilon) over each row, scaled and shifted.

    Args:
        rows, columns: The matrix.
        x_row, y_row: Distances between rows of the input and of the result, in elements.
        epsilon: Keeps the divisor from zero.
        centred: Whether the mean is taken off (layer normalisation), or is not (root mean
            square normalisation).
        scale, shift: Whether a vector over columns multiplies, and one is added.
    """

    rows: int
    columns: int
    x_row: int
    y_row: int
    epsilon: float = 1e-5
    centred: bool = True
    scale: bool = True
    shift: bool = True


@dataclass(frozen=True)
class Lrn:
    """x / (bias + alpha / size * sum of squares of `size` neighbouring channels) ^ beta.

    Args:
        pixels, channels: The map.
        x_pixel, y_pixel: Distances in the input and in the result, in elements.
        size, alpha, beta, bias: As in ONNX's LRN.
    """

    pixels: int
    channels: int
    x_pixel: int
    y_pixel: int
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0


def parameters(
    rows: int, columns: int, x_row: int, y_row: int, given: Sequence[Argument] = ()
) -> list[Argument]:
    """A kernel's: x, what is given, y; distances between rows are in elements."""
    x_size, y_size = ((rows - 1) * step + columns for step in (x_row, y_row))
    return [Argument("x", (x_size,)), *given, Argument("y", (y_size,))]


def vectors(spec: Norm) -> list[Argument]:
    """What a normalisation is given: scale and shift where there are."""
    chosen = [which for which in ("scale", "shift") if getattr(spec, which)]
    return [Argument(which, (spec.columns,)) for which in chosen]


def softmax(name: str, spec: Softmax, machine: Machine) -> Any:
    """The kernel (x, y) as a function of TVM's tensor IR."""

    def row(at: Row, x: Array, y: Array) -> None:
        soften(at, x, y, log=spec.log, guarded=spec.guarded)

    return _rows(name, spec, machine, [], row, 20)


def soften(at: Row, x: Array, y: Array, *, log: bool = False, guarded: bool = False) -> None:
    """One row of a softmax, or its logarithm; x may be y."""
    code, lanes = at.code, at.lanes
    largest = at.total(emit.maximum, LOWEST, lambda i, used: x.at(at.x + i, lanes, used))
    top = code.bind(emit.splat(largest, lanes))

    def power(i: Index, used: int) -> Value:
        below = code.bind(x.at(at.x + i, lanes, used) - top)
        value = code.bind(exp_of_negative(code, lanes, below))
        if not log:
            code.store(y, at.y + i, value, lanes, used)
        return value

    total = at.total(lambda a, b: a + b, 0.0, power)
    if log:
        shift = code.bind(emit.splat(code.bind(emit.tirx.log(total)), lanes))
        at.each(lambda i, used: x.at(at.x + i, lanes, used) - top - shift, y)
    else:
        share = code.bind(emit.splat(code.bind(emit.number(1.0, 1) / total), lanes))

        def result(i: Index, used: int) -> Value:
            value = code.bind(y.at(at.y + i, lanes, used) * share)
            return emit.largest(emit.number(0.0, lanes), value) if guarded else value

        at.each(result, y)


def norm(name: str, spec: Norm, machine: Machine) -> Any:
    """The kernel (x, scale where there is one, shift where there is one, y)."""
    chosen = [which for which in ("scale", "shift") if getattr(spec, which)]

    def row(at: Row, x: Array, *arrays: Array) -> None:
        code, lanes = at.code, at.lanes
        given, y = dict(zip(chosen, arrays, strict=False)), arrays[-1]
        mean: Value = emit.number(0.0, lanes)
        share = emit.number(1.0 / spec.columns, 1)

        def add(a: Value, b: Value) -> Value:
            return a + b

        def load(i: Index, used: int) -> Value:
            return x.at(at.x + i, lanes, used)

        def away(i: Index, used: int) -> Value:
            return code.bind(load(i, used) - mean) if spec.centred else load(i, used)

        def square(i: Index, used: int) -> Value:
            value = code.bind(away(i, used))
            return value * value

        def result(i: Index, used: int) -> Value:
            value = away(i, used) * factor
            if "scale" in given:
                value = value * given["scale"].at(i, lanes, used)
            return value + given["shift"].at(i, lanes, used) if "shift" in given else value

        if spec.centred:
            mean = code.bind(emit.splat(code.bind(at.total(add, 0.0, load) * share), lanes))
        variance = at.total(add, 0.0, square) * share + emit.number(spec.epsilon, 1)
        inverse = code.bind(emit.number(1.0, 1) / emit.tirx.sqrt(code.bind(variance)))
        factor = code.bind(emit.splat(inverse, lanes))
        at.each(result, y)

    return _rows(name, spec, machine, vectors(spec), row, 8)


class Row:
    """One row: where it lies, and passes over it."""

    def __init__(self, code: Code, lanes: int, columns: int, x: Index, y: Index) -> None:
        self.code, self.lanes, self.columns = code, lanes, columns
        self.x, self.y = x, y

    def each(self, value: Callable[[Index, int], Value], y: Array) -> None:
        """Store a value for every vector of the row."""

        def store(i: Index, used: int, chain: int) -> None:
            self.code.store(y, self.y + i, value(i, used), self.lanes, used)

        self._vectors(store)

    def total(
        self, combine: Callable[[Value, Value], Value], start: float,
        value: Callable[[Index, int], Value],
    ) -> Value:  # fmt: skip
        """A value of every vector, all lanes of them combined into a scalar."""
        code, lanes = self.code, self.lanes
        chains = max(1, min(_CHAINS, self.columns // lanes))
        totals = code.local(chains * lanes)
        for chain in range(chains):
            code.store(totals, chain * lanes, emit.number(start, lanes), lanes)

        def meet(i: Index, used: int, chain: int) -> None:
            met = emit.first(code.bind(value(i, used)), used, start, lanes)
            at = chain % chains * lanes
            code.store(totals, at, combine(totals.at(at, lanes), met), lanes)

        self._vectors(meet)
        result = totals.at(0, lanes)
        for chain in range(1, chains):
            result = combine(result, totals.at(chain * lanes, lanes))
        return emit.across(code, code.bind(result), lanes, combine)

    def _vectors(self, do: Callable[[Index, int, int], None]) -> None:
        """`do` (first column, columns used, chain) for every vector of the row."""
        lanes = self.lanes
        step = _CHAINS * lanes
        with self.code.loop("c", self.columns // step) as c:
            for chain in range(_CHAINS):
                do(c * step + chain * lanes, lanes, chain)
        start = self.columns // step * step
        for chain, i in enumerate(range(start, self.columns, lanes)):
            do(i, min(lanes, self.columns - i), chain)


def _rows(
    name: str, spec: Softmax | Norm, machine: Machine, given: Sequence[Argument],
    row: Callable[..., None], weight: int,
) -> Any:  # fmt: skip
    """A kernel (x, what is given, y) that does the same to each row."""
    work = spec.rows * spec.columns * weight
    parallel = spec.rows > 1 and machine.shares(work)

    def write(code: Code, *arrays: Array) -> None:
        with code.loop("row", spec.rows, parallel=parallel) as r:
            x, y = code.bind(r * spec.x_row), code.bind(r * spec.y_row)
            row(Row(code, machine.lanes, spec.columns, x, y), *arrays)

    sizes = (spec.rows, spec.columns, spec.x_row, spec.y_row)
    return emit.function(name, parameters(*sizes, given), write)


_POWERS = {0.5: "sqrt", 0.75: "three_quarters", 1.0: None}
_PIXELS = 8
"""Pixels whose squares are written before the first is read: no load waits for its store."""


def lrn(name: str, spec: Lrn, machine: Machine) -> Any | None:
    """The kernel (x, y); None where no rule fits the exponent."""
    if spec.beta not in _POWERS:
        return None
    lanes = machine.lanes
    vectors = -(-spec.channels // lanes)
    left = (spec.size - 1) // 2
    width = left + vectors * lanes + spec.size // 2
    tasks = -(-spec.pixels // _PIXELS)
    work = spec.pixels * spec.channels * (spec.size + 20)

    def write(code: Code, x: Array, y: Array) -> None:
        parallel = tasks > 1 and machine.shares(work)
        with code.loop("task", tasks, parallel=parallel) as task:
            squares = code.scratch(_PIXELS * width, name="squares")
            first = code.bind(task * _PIXELS)
            count: Index = min(_PIXELS, spec.pixels)
            if spec.pixels % _PIXELS and tasks > 1:
                count = code.bind(emit.least(_PIXELS, spec.pixels - first))
            with code.loop("pixel", count) as p:
                _squares(code, spec, lanes, x, (first + p) * spec.x_pixel, squares, p * width)
            with code.loop("pixel", count) as p:
                pixel = first + p
                _normalise(code, spec, lanes, (x, y, squares), pixel, code.bind(p * width))

    sizes = (spec.pixels, spec.channels, spec.x_pixel, spec.y_pixel)
    return emit.function(name, parameters(*sizes), write)


def _squares(
    code: Code, spec: Lrn, lanes: int, x: Array, at: Index, squares: Array, to: Index
) -> None:
    """One pixel's squares with zeros before and after them."""
    left, right = (spec.size - 1) // 2, spec.size // 2
    at, to = code.bind(at), code.bind(to)
    zero = emit.number(0.0, 1)
    for i in range(left):
        code.store(squares, to + i, zero)
    whole, used = divmod(spec.channels, lanes)
    with code.loop("v", whole) as v:
        value = code.bind(x.at(at + v * lanes, lanes))
        code.store(squares, to + left + v * lanes, value * value, lanes)
    if used:
        value = code.bind(emit.first(x.at(at + whole * lanes, lanes, used), used, 0.0, lanes))
        code.store(squares, to + left + whole * lanes, value * value, lanes)
    for i in range(right):
        code.store(squares, to + left + (whole + bool(used)) * lanes + i, zero)


def _normalise(
    code: Code, spec: Lrn, lanes: int, arrays: tuple[Array, Array, Array], pixel: Index, at: Index
) -> None:
    """One pixel's results from its squares."""
    x, y, squares = arrays
    source, target = code.bind(pixel * spec.x_pixel), code.bind(pixel * spec.y_pixel)

    def vector(start: Index, used: int) -> None:
        total: Value = squares.at(at + start, lanes)
        for shift in range(1, spec.size):
            total = total + squares.at(at + start + shift, lanes)
        scale = emit.number(spec.alpha / spec.size, lanes)
        base = code.bind(total * scale + emit.number(spec.bias, lanes))
        power = _POWERS[spec.beta]
        divisor = OPS[power](code, lanes, base) if power else base
        value = x.at(source + start, lanes, used) / divisor
        code.store(y, target + start, value, lanes, used)

    whole, used = divmod(spec.channels, lanes)
    with code.loop("v", whole) as v:
        vector(v * lanes, lanes)
    if used:
        vector(whole * lanes, used)
