# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Winograd's filters, u = G g G^T, made of plain weights once, when a part is loaded.

They are 16/9 or four times the weights: reading so many more bytes from a board's disk takes
longer than to compute them. Plain weights lie as [channels][9][out channels, up to whole
vectors]; u lies as `kernel` reads it, [block][n n][register block][channels][its channels].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd.form import Form
from splitc_targets.kernels.winograd.plan import Plan, filter_size, plan
from splitc_targets.kernels.winograd.transforms import Arithmetic, filter_matrix
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine.machine import Machine

_TAPS = 9


def plain(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine, m: int) -> Any:
    """Weights [out channels][channels][3][3] as the kernel here reads them."""
    missing = sum(plan(conv, machine, m).vectors) * machine.lanes - conv.out_channels
    laid = weights.reshape(conv.out_channels, conv.channels, _TAPS).transpose(1, 2, 0)
    return np.pad(laid.astype(np.float32), ((0, 0), (0, 0), (0, missing)))


def key(conv: Conv, machine: Machine, m: int) -> tuple[Any, ...]:
    """What the kernel depends on."""
    made = plan(conv, machine, m)
    return ("filters", m, conv.stride[0], conv.channels, made.vectors, made.group)


def kernel(name: str, conv: Conv, machine: Machine, m: int) -> Any:
    """The kernel (plain weights, u) in TVM's tensor IR."""
    made = plan(conv, machine, m)
    count = _TAPS * conv.channels * sum(made.vectors) * machine.lanes
    arguments = [Argument("g", (count,)), Argument("u", (filter_size(conv, machine, m),))]
    return emit.function(
        name,
        arguments,
        lambda code, g, u: _Filters(code, machine, made, g, u, Form(m, conv.stride[0])).write(),
    )


class FilterWriter:
    """Writes the loops that make all filters of plain weights.

    Args:
        code: Gets the statements.
        machine: What it runs on.
        made: How the kernel is cut that reads them.
        g: Plain weights.
        u: The filters.
    """

    taps = 1
    """Numbers of an input and an output channel, each as far from the next as a row is long."""

    def __init__(self, code: Code, machine: Machine, made: Plan, g: Array, u: Array) -> None:
        self.code, self.lanes, self.plan = code, machine.lanes, made
        self.channels = made.work.channels
        self.do = Arithmetic(code, machine.lanes, machine.fma)
        self.workers = min(machine.cores, self.channels)
        self.g, self.u = g, u

    def write(self) -> None:
        """Input channels shared among cores; each makes all their filters."""
        code, plan = self.code, self.plan
        same = plan.vectors.count(plan.vectors[0])
        with code.loop("worker", self.workers, parallel=self.workers > 1) as worker:
            first = code.bind(emit.div(worker * self.channels, self.workers))
            after = code.bind(emit.div((worker + 1) * self.channels, self.workers))
            with code.loop("c", after - first, start=first) as channel:
                with code.loop("part", same) as part:
                    self._part(channel, part, plan.vectors[0])
                if same < len(plan.vectors):
                    self._part(channel, same, plan.vectors[-1])

    def _part(self, channel: Index, part: Index, vectors: int) -> None:
        """One channel's filters for one register block of output channels."""
        code, plan, lanes = self.code, self.plan, self.lanes
        each, total = plan.vectors[0] * lanes, sum(plan.vectors) * lanes
        block = code.bind(emit.div(part, plan.group))
        before = code.bind(block * (plan.group * each))
        # The last block may have fewer vectors.
        width = code.bind(emit.least(plan.group * each, total - before))
        start = before * (plan.work.filters * self.channels)
        start += (part * each - before) * self.channels + channel * (vectors * lanes)
        start, step = code.bind(start), code.bind(width * self.channels)
        source = code.bind(channel * (self.taps * total) + part * each)
        for j in range(vectors):
            with code.scope():
                self.vector(source + j * lanes, total, start + j * lanes, step)

    def vector(self, source: Index, taps: int, target: Index, step: Index) -> None:
        """The filters of one vector of output channels.

        Args:
            source: Its first weight.
            taps: Elements from one of its weights to the next.
            target: Its first filter.
            step: Elements from one position's filter to the next's.
        """
        raise NotImplementedError


class _Filters(FilterWriter):
    """G g G^T."""

    taps = _TAPS

    def __init__(
        self, code: Code, machine: Machine, made: Plan, g: Array, u: Array, form: Form
    ) -> None:
        super().__init__(code, machine, made, g, u)
        self.matrix = filter_matrix(form)

    def vector(self, source: Index, taps: int, target: Index, step: Index) -> None:
        code, lanes, matrix, n = self.code, self.lanes, self.matrix, len(self.matrix)
        g = [code.bind(self.g.at(source + k * taps, lanes), "g") for k in range(_TAPS)]
        for row in range(n):
            half = [self._sum(matrix[row], g[column::3]) for column in range(3)]
            for column in range(n):
                value = self._sum(matrix[column], half)
                code.store(self.u, target + (row * n + column) * step, value, lanes)

    def _sum(self, factors: Sequence[float], values: Sequence[Value]) -> Value:
        """The values times the factors, those that are not 0."""
        terms = [(float(f), v) for f, v in zip(factors, values, strict=True) if f]
        (factor, value), *rest = terms
        total = value if factor == 1.0 else self.do.scale(value, factor)
        for factor, value in rest:
            total = self.do.mad(value, factor, total)
        return total
