# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Elements read at places that are computed: a thread an element of the result."""

from __future__ import annotations

from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.gather import Gather, parameters, place
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index

THREADS = 256


def gather_kernel(name: str, spec: Gather) -> Kernel:
    """The kernel (tensor, places, result)."""

    def write(code: Threads, x: Array, places: Array, y: Array) -> None:
        number, inside = in_range(code, spec.count, THREADS)
        with where(code, inside):
            here, at, to = _starts(code, spec, number)
            code.store(y, to, x.at(here + place(code, spec, places, at)))

    return kernel(name, parameters(spec), -(-spec.count // THREADS), THREADS, write)


def _starts(code: Threads, spec: Gather, number: Index) -> tuple[Index, Index, Index]:
    """Where an element's row begins in the tensor, its place lies, and it goes to."""
    here: Index = 0
    at: Index = 0
    to: Index = 0
    left = number
    for size, across, along, apart in reversed(spec.loops):
        digit = code.bind(emit.mod(left, size))
        left = emit.div(left, size)
        here, at, to = here + digit * across, at + digit * along, to + digit * apart
    return code.bind(here), code.bind(at), code.bind(to)
