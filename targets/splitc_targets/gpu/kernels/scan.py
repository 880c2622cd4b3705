# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Cumulative sums and products, a block a row: some elements at a time, and what came before."""

from __future__ import annotations

from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel, where
from splitc_targets.kernels.scan import Scan, parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

THREADS = 256


def scan_kernel(name: str, spec: Scan) -> Kernel:
    """The kernel (x, y)."""

    def write(code: Threads, x: Array, y: Array) -> None:
        here, out = _row(code, spec)
        start = tirx.const(1 if spec.kind == "cumprod" else 0, spec.dtype)
        held = code.shared(THREADS, spec.dtype, "held")
        before, own = code.local(1, spec.dtype, "before"), code.local(1, spec.dtype, "own")
        code.store(before, 0, start)
        with code.loop("tile", -(-spec.length // THREADS)) as tile:
            i = code.bind(tile * THREADS + code.thread, "i")
            inside = tirx.LT(emit.index(i), const(spec.length))
            code.store(own, 0, start)
            with where(code, inside if spec.length % THREADS else None):
                code.store(own, 0, x.at(here + i * spec.x_step))
            code.meet()
            code.store(held, code.thread, own.at(0))
            _combine(code, spec, held, own)
            total = before.at(0)
            if spec.exclusive:
                with code.when(tirx.GT(code.thread, const(0))):
                    code.store(own, 0, held.at(tirx.max(code.thread - 1, const(0))))
                with code.when(tirx.EQ(code.thread, const(0))):
                    code.store(own, 0, start)
            with where(code, inside if spec.length % THREADS else None):
                code.store(y, out + i * spec.y_step, _with(spec, total, own.at(0)))
            code.store(before, 0, _with(spec, total, held.at(THREADS - 1)))

    return kernel(name, parameters(spec), spec.rows, THREADS, write)


def _combine(code: Threads, spec: Scan, held: Array, own: Array) -> None:
    """Have each of the block's elements what all up to it combine to (Hillis and Steele)."""
    step = 1
    while step < THREADS:
        code.meet()
        with code.when(tirx.GE(code.thread, const(step))):
            other = held.at(tirx.max(code.thread - step, const(0)))
            code.store(own, 0, _with(spec, other, own.at(0)))
        code.meet()
        code.store(held, code.thread, own.at(0))
        step *= 2
    code.meet()


def _with(spec: Scan, a: Value, b: Value) -> Value:
    return a * b if spec.kind == "cumprod" else a + b


def _row(code: Threads, spec: Scan) -> tuple[Index, Index]:
    """Where the block's row begins in the input and in the result."""
    here: Index = 0
    out: Index = 0
    left: Index = code.block
    for size, x, y in reversed(spec.kept):
        digit = code.bind(emit.mod(left, size))
        left = emit.div(left, size)
        here, out = here + digit * x, out + digit * y
    return code.bind(here, "here"), code.bind(out, "out")
