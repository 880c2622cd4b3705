# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operations along rows, a block a row: softmax, normalisations, reductions.

Each thread combines what it meets at its own distance; then halves of the block combine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from splitc_targets.gpu.loops.arithmetic import larger, smaller
from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.reduction import Reduction
from splitc_targets.kernels.reduction import parameters as reduction_parameters
from splitc_targets.kernels.rows import Lrn, Norm, Softmax, parameters, vectors
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

THREADS = 256
Combine = Callable[[Value, Value], Value]


def _add(a: Value, b: Value) -> Value:
    return a + b


def combining(kind: str, dtype: str) -> tuple[Value, Combine]:
    """What a reduction of elements of a type starts from, and how it combines two."""
    if kind in ("sum", "mean"):
        return tirx.const(0, dtype), _add
    if kind == "prod":
        return tirx.const(1, dtype), lambda a, b: a * b
    if dtype.startswith("float"):
        return (_infinite(-1, dtype), larger) if kind == "max" else (_infinite(1, dtype), smaller)
    if kind == "max":
        return tirx.min_value(dtype), tirx.max
    return tirx.max_value(dtype), tirx.min


def _infinite(sign: int, dtype: str = "float32") -> Value:
    return tirx.const(sign * math.inf, dtype)


def _threads(columns: int) -> int:
    """Threads of a block for rows of so many elements: a power of two."""
    return min(THREADS, max(32, 1 << (columns - 1).bit_length()))


class Rows:
    """A block's row: totals over it that every thread then knows."""

    def __init__(self, code: Threads, columns: int, threads: int, dtype: str = "float32") -> None:
        self.code, self.columns, self.threads, self.dtype = code, columns, threads, dtype
        self.held = code.shared(threads, dtype, "held")

    def total(self, start: Value, combine: Combine, value: Callable[[Index], Value]) -> Value:
        """What the row's elements combine to."""
        code, own = self.code, self.code.local(1, self.dtype)
        code.store(own, 0, start)
        with self.each() as i:
            code.store(own, 0, combine(own.at(0), value(i)))
        code.meet()
        code.store(self.held, code.thread, own.at(0))
        step = self.threads // 2
        while step:
            code.meet()
            with code.when(tirx.LT(code.thread, const(step))):
                met = combine(self.held.at(code.thread), self.held.at(code.thread + step))
                code.store(self.held, code.thread, met)
            step //= 2
        code.meet()
        result = code.local(1, self.dtype)
        code.store(result, 0, self.held.at(0))
        return result.at(0)

    def each(self) -> _Each:
        """A loop over a thread's elements of the row."""
        return _Each(self)


class _Each:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __enter__(self) -> Index:
        code, columns, threads = self.rows.code, self.rows.columns, self.rows.threads
        self.loop = code.loop("i", -(-columns // threads))
        i = code.bind(self.loop.__enter__() * threads + code.thread, "column")
        whole = columns % threads == 0
        self.guard = where(code, None if whole else tirx.LT(emit.index(i), const(columns)))
        self.guard.__enter__()
        return i

    def __exit__(self, *error: object) -> None:
        self.guard.__exit__(None, None, None)
        self.loop.__exit__(None, None, None)


def softmax_kernel(name: str, spec: Softmax) -> Kernel:
    """The kernel (x, y)."""
    threads, zero = _threads(spec.columns), tirx.const(0.0, "float32")

    def write(code: Threads, x: Array, y: Array) -> None:
        rows = Rows(code, spec.columns, threads)
        here = code.bind(code.block * spec.x_row, "row")
        out = code.bind(code.block * spec.y_row, "out")
        top = rows.total(_infinite(-1), larger, lambda i: x.at(here + i))
        total = rows.total(zero, _add, lambda i: tirx.exp(x.at(here + i) - top))
        shift = code.local(1)
        code.store(shift, 0, tirx.log(total) if spec.log else tirx.const(1.0, "float32") / total)
        with rows.each() as i:
            below = x.at(here + i) - top
            value = below - shift.at(0) if spec.log else tirx.exp(below) * shift.at(0)
            if spec.guarded:
                value = code.bind(value)
                positive = tirx.LT(emit.number(0.0, 1), value)
                value = tirx.Select(positive, value, emit.number(0.0, 1))
            code.store(y, out + i, value)

    arguments = parameters(spec.rows, spec.columns, spec.x_row, spec.y_row)
    return kernel(name, arguments, spec.rows, threads, write)


def norm_kernel(name: str, spec: Norm) -> Kernel:
    """The kernel (x, scale?, shift?, y)."""
    threads, zero = _threads(spec.columns), tirx.const(0.0, "float32")
    share = 1.0 / spec.columns

    def write(code: Threads, x: Array, *rest: Array) -> None:
        rows = Rows(code, spec.columns, threads)
        here = code.bind(code.block * spec.x_row, "row")
        out = code.bind(code.block * spec.y_row, "out")
        mean = code.local(1)
        code.store(mean, 0, zero)
        if spec.centred:
            total = rows.total(zero, _add, lambda i: x.at(here + i))
            code.store(mean, 0, total * tirx.const(share, "float32"))

        def square(i: Index) -> Value:
            apart = code.bind(x.at(here + i) - mean.at(0))
            return apart * apart

        squares = rows.total(zero, _add, square) * tirx.const(share, "float32")
        scale = code.local(1)
        root = tirx.sqrt(squares + tirx.const(spec.epsilon, "float32"))
        code.store(scale, 0, tirx.const(1.0, "float32") / root)
        with rows.each() as i:
            value = (x.at(here + i) - mean.at(0)) * scale.at(0)
            given = iter(rest)
            if spec.scale:
                value = value * next(given).at(i)
            if spec.shift:
                value = value + next(given).at(i)
            code.store(rest[-1], out + i, value)

    arguments = parameters(spec.rows, spec.columns, spec.x_row, spec.y_row, vectors(spec))
    return kernel(name, arguments, spec.rows, threads, write)


def lrn_kernel(name: str, spec: Lrn) -> Kernel:
    """The kernel (x, y), a thread a result."""
    total = spec.pixels * spec.channels

    def write(code: Threads, x: Array, y: Array) -> None:
        number, inside = in_range(code, total, THREADS)
        with where(code, inside):
            pixel = code.bind(emit.div(number, spec.channels), "pixel")
            channel = code.bind(emit.mod(number, spec.channels), "channel")
            here = code.bind(pixel * spec.x_pixel, "here")
            sums = code.local(1)
            code.store(sums, 0, tirx.const(0.0, "float32"))
            with code.loop("k", spec.size) as k:
                other = code.bind(channel + k - (spec.size - 1) // 2, "other")
                low = tirx.GE(emit.index(other), const(0))
                high = tirx.LT(emit.index(other), const(spec.channels))
                with code.when(tirx.And(low, high)):
                    value = code.bind(x.at(here + other))
                    code.store(sums, 0, sums.at(0) + value * value)
            scale = tirx.const(spec.alpha / spec.size, "float32")
            base = tirx.const(spec.bias, "float32") + sums.at(0) * scale
            power = tirx.pow(base, tirx.const(spec.beta, "float32"))
            code.store(y, pixel * spec.y_pixel + channel, x.at(here + channel) / power)

    arguments = parameters(spec.pixels, spec.channels, spec.x_pixel, spec.y_pixel)
    return kernel(name, arguments, -(-total // THREADS), THREADS, write)


_SHARED_FROM = 64
"""Elements combined into a result from which a whole block does it, not one thread."""


def reduction_kernel(name: str, spec: Reduction) -> Kernel:
    """The kernel (x, y)."""
    results = math.prod(size for size, *_ in spec.kept)
    arguments = reduction_parameters(spec)
    start, combine = combining(spec.kind, spec.dtype)

    def end(value: Value) -> Value:
        if spec.kind != "mean":
            return value
        return value * tirx.const(1.0 / spec.count, spec.dtype)

    def by_block(code: Threads, x: Array, y: Array) -> None:
        rows = Rows(code, spec.count, threads, spec.dtype)
        here, out = _kept(code, spec, code.block)
        total = rows.total(start, combine, lambda i: x.at(here + _reduced(code, spec, i)))
        with code.when(tirx.EQ(code.thread, const(0))):
            code.store(y, out, end(total))

    def by_thread(code: Threads, x: Array, y: Array) -> None:
        number, inside = in_range(code, results, THREADS)
        with where(code, inside):
            here, out = _kept(code, spec, number)
            sums = code.local(1, spec.dtype)
            code.store(sums, 0, start)
            with code.loop("i", spec.count) as i:
                value = x.at(here + _reduced(code, spec, i))
                code.store(sums, 0, combine(sums.at(0), value))
            code.store(y, out, end(sums.at(0)))

    if spec.count < _SHARED_FROM:
        return kernel(name, arguments, -(-results // THREADS), THREADS, by_thread)
    threads = _threads(spec.count)
    return kernel(name, arguments, results, threads, by_block)


def _kept(code: Threads, spec: Reduction, number: Index) -> tuple[Index, Index]:
    """Where a result's first element lies in the input, and the result itself."""
    here: Index = 0
    out: Index = 0
    left = number
    for size, x, y in reversed(spec.kept):
        digit = code.bind(emit.mod(left, size))
        left = emit.div(left, size)
        here, out = here + digit * x, out + digit * y
    return code.bind(here, "here"), code.bind(out, "out")


def _reduced(code: Threads, spec: Reduction, number: Index) -> Index:
    """How far an element lies behind the first that it is combined with."""
    place: Index = 0
    left = number
    for size, x in reversed(spec.reduced):
        place = place + code.bind(emit.mod(left, size)) * x
        left = emit.div(left, size)
    return place
