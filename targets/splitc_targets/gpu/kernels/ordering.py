# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Places of extremes along rows, and rows in order.

A row's extreme is found as a reduction is. Rows are put in order by counting: an element's place
is how many come before it, a thread an element, keys brought into shared memory by the block.
That takes as many comparisons as the square of the row's length, all at once and in one kernel,
which for lengths of networks, up to tens of thousands, no sort of several kernels undercuts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels import extremes, sorting
from splitc_targets.kernels.extremes import Extremes
from splitc_targets.kernels.sorting import Sort
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

THREADS = 256
_SHARED_FROM = 64
"""Elements of a row from which a whole block looks for its extreme, not one thread."""


def extremes_kernel(name: str, spec: Extremes) -> Kernel:
    """The kernel (x, places)."""
    count = math.prod(n for n, _, _ in spec.kept)
    shared = spec.length >= _SHARED_FROM

    def by_block(code: Threads, x: Array, y: Array) -> None:
        here, out = extremes.starts(code, spec, code.block)
        best, place = _best(code, spec, x, here, code.thread, THREADS)
        values = code.shared(THREADS, spec.dtype, "values")
        spots = code.shared(THREADS, "int32", "spots")
        code.store(values, code.thread, best.at(0))
        code.store(spots, code.thread, place.at(0))
        step = THREADS // 2
        while step:
            code.meet()
            with code.when(tirx.LT(code.thread, const(step))):
                other = code.bind(code.thread + step, "other")
                mine, its = values.at(code.thread), values.at(other)
                ahead = tirx.And(
                    tirx.Not(_better(spec, mine, its)),
                    tirx.LT(spots.at(other), spots.at(code.thread)),
                )
                take = code.bind(tirx.Or(_better(spec, its, mine), ahead), "take")
                with code.when(take):
                    code.store(values, code.thread, its)
                    code.store(spots, code.thread, spots.at(other))
            step //= 2
        with code.when(tirx.EQ(code.thread, const(0))):
            code.store(y, out, tirx.Cast("int64", spots.at(0)))

    def by_thread(code: Threads, x: Array, y: Array) -> None:
        row, inside = in_range(code, count, THREADS)
        with where(code, inside):
            here, out = extremes.starts(code, spec, row)
            _, place = _best(code, spec, x, here, 0, 1)
            code.store(y, out, tirx.Cast("int64", place.at(0)))

    blocks = count if shared else -(-count // THREADS)
    write = by_block if shared else by_thread
    return kernel(name, extremes.parameters(spec), blocks, THREADS, write)


def _better(spec: Extremes, a: Value, b: Value) -> Value:
    return tirx.LT(b, a) if spec.largest else tirx.LT(a, b)


def _best(
    code: Threads, spec: Extremes, x: Array, here: Index, first: Index, step: int
) -> tuple[Array, Array]:
    """The best of every `step`th element from `first` on, and its place.

    The row's first element is met by everyone: where it is not a number, nothing is better.
    """
    best, place = code.local(1, spec.dtype, "best"), code.local(1, "int32", "place")
    code.store(best, 0, x.at(here))
    code.store(place, 0, const(0))
    with code.loop("i", -(-spec.length // step)) as turn:
        i = code.bind(turn * step + first, "i")
        inside = tirx.LT(emit.index(i), const(spec.length)) if spec.length % step else None
        with where(code, inside):
            value = code.bind(x.at(here + i * spec.step), "value")
            with code.when(_better(spec, value, best.at(0))):
                code.store(best, 0, value)
                code.store(place, 0, emit.index(i))
    return best, place


def sort_kernel(name: str, spec: Sort) -> Kernel:
    """The kernel (x, results…)."""
    across = -(-spec.length // THREADS)

    def write(code: Threads, x: Array, *results: Array) -> None:
        row = emit.div(code.block, across)
        here, *outs = sorting.starts(code, spec, row)
        i = code.bind(emit.mod(code.block, across) * THREADS + code.thread, "place")
        own = _key(code, spec, x, here, i)
        before = code.local(1, "int32", "before")
        code.store(before, 0, const(0))
        keys = code.shared(THREADS, "int64", "keys")
        with code.loop("tile", across) as tile:
            start = code.bind(tile * THREADS, "start")
            code.store(keys, code.thread, _key(code, spec, x, here, start + code.thread))
            code.meet()
            with code.loop("c", THREADS) as c:
                earlier = _earlier(spec, keys.at(c), start + c, own, i)
                code.store(before, 0, before.at(0) + tirx.Cast("int32", earlier))
            code.meet()
        place = code.bind(before.at(0), "rank")
        kept = tirx.LT(place, const(spec.kept))
        with code.when(tirx.And(tirx.LT(emit.index(i), const(spec.length)), kept)):
            _write(code, spec, x.at(here + i * spec.step), i, place, results, outs)

    return kernel(name, sorting.parameters(spec), spec.count * across, THREADS, write)


def _key(code: Threads, spec: Sort, x: Array, here: Index, i: Index) -> Value:
    """What an element is compared by; behind the row's end nothing comes later."""
    held = code.local(1, "int64", "key")
    code.store(held, 0, tirx.max_value("int64"))
    inside = tirx.LT(emit.index(i), const(spec.length)) if spec.length % THREADS else None
    with where(code, inside):
        key = sorting.ordered(code, x.at(here + i * spec.step), spec.dtype)
        key = code.bind(tirx.bitwise_not(key) if spec.descending else key, "bare")
        if not spec.wide:
            key = sorting.with_place(key, i)
        code.store(held, 0, key)
    return code.bind(held.at(0), "key")


def _earlier(spec: Sort, a: Value, i: Index, b: Value, j: Index) -> Value:
    """Whether an element's key comes before another's; of equal ones the one at a lower place."""
    if not spec.wide:
        return tirx.LT(a, b)
    same = tirx.And(tirx.EQ(a, b), tirx.LT(emit.index(i), emit.index(j)))
    return tirx.Or(tirx.LT(a, b), same)


def _write(
    code: Threads, spec: Sort, element: Value, i: Index, place: Index, results: Sequence[Array],
    outs: Sequence[Index],
) -> None:  # fmt: skip
    for one, array, out in zip(spec.results, results, outs, strict=True):
        if one.what == "values":
            value = emit.converted(element, spec.dtype, one.dtype, 1)
        else:
            value = emit.converted(emit.index(i), "int32", one.dtype, 1)
        code.store(array, out + place * one.step, value)
