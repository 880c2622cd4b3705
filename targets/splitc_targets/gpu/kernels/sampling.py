# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Results that read the input at tabled positions, a thread a result: resizing, gathering."""

from __future__ import annotations

import math
from contextlib import ExitStack

from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.sampling import Dimension, Sample, parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, tirx

THREADS = 256


def sample_kernel(name: str, spec: Sample) -> Kernel:
    """The kernel (x, table of distances, weights where there are, y)."""
    total = math.prod(each.size for each in spec.dimensions)

    def write(code: Threads, x: Array, at: Array, *rest: Array) -> None:
        number, inside = in_range(code, total, THREADS)
        with where(code, inside):
            digits = _digits(code, spec, number)
            out: Index = 0
            base: Index = 0
            for digit, each in zip(digits, spec.dimensions, strict=True):
                out, base = out + digit * each.y, base + digit * each.x
            out, base = code.bind(out, "out"), code.bind(base, "base")
            tabled = [
                (digit, each)
                for digit, each in zip(digits, spec.dimensions, strict=True)
                if each.taps
            ]
            if all(each.taps == 1 for _, each in tabled) and not spec.weighted:
                place = base
                for digit, each in tabled:
                    place = place + at.at(each.table + digit)
                code.store(rest[-1], out, x.at(place))
                return
            _summed(code, spec, tabled, base, out, x, at, rest)

    return kernel(name, parameters(spec), -(-total // THREADS), THREADS, write)


def _digits(code: Threads, spec: Sample, number: Index) -> list[Index]:
    """A result's position along each dimension."""
    found: list[Index] = []
    left = number
    for each in reversed(spec.dimensions):
        found.append(code.bind(emit.mod(left, each.size)))
        left = emit.div(left, each.size)
    return found[::-1]


def _summed(
    code: Threads, spec: Sample, tabled: list[tuple[Index, Dimension]], base: Index, out: Index,
    x: Array, at: Array, rest: tuple[Array, ...],
) -> None:  # fmt: skip
    """The weighted sum over every combination of what the dimensions take."""
    sums = code.local(1, spec.dtype)
    code.store(sums, 0, tirx.const(0, spec.dtype))
    with ExitStack() as loops:
        place: Index = base
        share: Value | None = None
        for digit, each in tabled:
            tap = loops.enter_context(code.loop("tap", each.taps))
            entry = code.bind(each.table + digit * each.taps + tap, "entry")
            place = place + at.at(entry)
            if spec.weighted:
                weight = rest[0].at(entry)
                share = weight if share is None else share * weight
        value = x.at(place)
        code.store(sums, 0, sums.at(0) + (value if share is None else value * share))
    code.store(rest[-1], out, sums.at(0))
