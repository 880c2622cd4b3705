# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Pooling: windows (windows.py) whose taps take the largest value or the mean, and whole maps.

A window of ONNX may reach beyond the padded map (ceil_mode); what lies there never counts. What
lies in the padding counts for the mean's divisor where the model says so, and is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from splitc_targets.graph.expression import Expression
from splitc_targets.kernels.product.geometry import Segment
from splitc_targets.kernels.window.geometry import Windows
from splitc_targets.kernels.window.windows import Bounds, Writer, arguments
from splitc_targets.loops import emit, epilogue
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.epilogue import Epilogue
from splitc_targets.loops.fused import SUM, Operand
from splitc_targets.machine.machine import Machine

_LOWEST = -math.inf
_CHAINS = 8


@dataclass(frozen=True)
class Pool(Windows):
    """A pooling of channels-last maps; operand 0 of the expression is the window's result.

    Args:
        kind: "max" or "mean".
        pad_after: Rows below and columns right of the input.
        count_padding: Whether the mean divides by a window's places in the padded map,
            else by those in the input.
    """

    kind: str = "max"
    pad_after: tuple[int, int] = (0, 0)
    count_padding: bool = False


def kernel(name: str, spec: Pool, machine: Machine) -> Any:
    """The kernel (x, operands…, y) as a function of TVM's tensor IR."""

    def write(code: Code, *arrays: Array) -> None:
        made = _Largest if spec.kind == "max" else _Mean
        made(code, spec, machine, arrays).tasks()

    return emit.function(name, arguments(spec), write)


class _Largest(Writer):
    initial = _LOWEST

    def meet(self, total: Value, value: Value, tap: Value) -> Value:
        return emit.largest(total, value)  # as onnxruntime, which passes not-a-number over


class _Mean(Writer):
    def __init__(self, code: Code, spec: Pool, machine: Machine, arrays: Sequence[Array]) -> None:
        super().__init__(code, spec, machine, arrays)
        self.pool = spec
        self.runs = [part for run in self.runs for part in self._alike(run)]
        self.shares: dict[int, Value] = {}

    def meet(self, total: Value, value: Value, tap: Value) -> Value:
        return total + value

    def prepare(self, bounds: Bounds | None, row: Index) -> None:
        """One over a window's places, for each number of columns that windows have."""
        pool, code = self.pool, self.code
        rows: Index = pool.kernel[0]
        if bounds is not None:
            rows = bounds[1] - bounds[0]
            if pool.count_padding:
                (size, d), extent = (pool.kernel[0], pool.dilation[0]), self._extent(0)
                beyond = emit.div(extent - row * pool.stride[0] + d - 1 + d * size, d) - size
                rows = emit.least(size, beyond)
        number = code.bind(emit.tirx.Cast("float32", emit.index(rows)))
        for columns in {n for run in self.runs for n in self._columns(run, 0)}:
            share = emit.number(1.0, 1) / (number * emit.number(max(1, columns), 1))
            self.shares[columns] = code.bind(emit.splat(code.bind(share), self.lanes))

    def finish(self, total: Value, run: Segment, i: int) -> Value:
        return total * self.shares[self._columns(run, 0)[i]]

    def _extent(self, axis: int) -> int:
        """Rows or columns of the padded input."""
        pool = self.pool
        return (pool.height, pool.width)[axis] + pool.pad[axis] + pool.pad_after[axis]

    def _columns(self, run: Segment, tile: int) -> tuple[int, ...]:
        """Kernel columns that count for each column of a tile of a run."""
        pool = self.pool
        if not pool.count_padding:
            return tuple(sum(a <= i < b for a, b in run.inside) for i in range(run.size))
        first = run.start + tile * run.size
        ends = [self._extent(1) - (first + i) * pool.stride[1] for i in range(run.size)]
        return tuple(min(pool.kernel[1], -(-end // pool.dilation[1])) for end in ends)

    def _alike(self, run: Segment) -> list[Segment]:
        """A run in pieces whose tiles count the same columns."""
        found: list[Segment] = []
        for tile in range(run.count):
            one = Segment(run.start + tile * run.size, run.size, 1, run.inside)
            if found and self._columns(found[-1], 0) == self._columns(one, 0):
                found[-1] = replace(found[-1], count=found[-1].count + 1)
            else:
                found.append(one)
        return found


@dataclass(frozen=True)
class Whole:
    """The mean or the maximum of a map's pixels: [batch][pixels][channels] to [batch][channels].

    Args:
        batch, pixels, channels: The input's maps.
        x_pixel, x_image: Distances in the input, in elements.
        y_image: Distance in the result, in elements; a "tensor" operand's `pixel` is its own.
        kind: "mean"; "max", as of a pooling; or "largest", not-a-number where a pixel is.
        expression: What is stored; operand 0 is the mean or maximum.
        operands: Its other operands.
        x_dtype, y_dtype: Element types of the input and the result.
    """

    batch: int
    pixels: int
    channels: int
    x_pixel: int
    x_image: int
    y_image: int
    kind: str = "mean"
    expression: Expression = SUM
    operands: tuple[Operand, ...] = ()
    x_dtype: str = "float32"
    y_dtype: str = "float32"


def whole_parameters(spec: Whole) -> list[Argument]:
    """A kernel's: x, operands…, y."""
    x_size = (spec.batch - 1) * spec.x_image + (spec.pixels - 1) * spec.x_pixel + spec.channels
    y_size = (spec.batch - 1) * spec.y_image + spec.channels
    return [
        Argument("x", (x_size,), spec.x_dtype),
        *epilogue.parameters(spec, 1, 1, spec.batch, spec.channels),
        Argument("y", (y_size,), spec.y_dtype),
    ]


def whole_kernel(name: str, spec: Whole, machine: Machine) -> Any:
    """The kernel (x, operands…, y) as a function of TVM's tensor IR."""
    return emit.function(
        name,
        whole_parameters(spec),
        lambda code, *arrays: _WholeWriter(code, spec, machine, arrays).tasks(),
    )


_COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "mean": lambda a, b: a + b, "max": emit.largest, "largest": emit.larger,
}  # fmt: skip


class _WholeWriter:
    """Writes the loops over a map's pixels, a few vectors of channels at a time."""

    def __init__(self, code: Code, spec: Whole, machine: Machine, arrays: Sequence[Array]) -> None:
        self.code, self.spec, self.lanes = code, spec, machine.lanes
        self.x, *extra, y = arrays
        self.epilogue = Epilogue(code, spec, machine.lanes, extra, y)
        self.machine = machine

    def tasks(self) -> None:
        """The parallel loop over images and blocks of channels."""
        spec, code, lanes = self.spec, self.code, self.lanes
        vectors = -(-spec.channels // lanes)
        wide = max(1, min(4, spec.batch * vectors // self.machine.cores))
        blocks = -(-vectors // wide)
        work = spec.batch * spec.pixels * spec.channels
        parallel = spec.batch * blocks > 1 and self.machine.shares(work)
        last = spec.channels - (blocks - 1) * wide * lanes
        with code.loop("task", spec.batch * blocks, parallel=parallel) as task:
            image, block = code.bind(emit.div(task, blocks)), code.bind(emit.mod(task, blocks))
            channel = code.bind(block * (wide * lanes))
            if blocks == 1 or last == wide * lanes:
                self._block(image, channel, last)
                return
            edge = emit.const(blocks - 1)
            with code.when(emit.tirx.LT(emit.index(block), edge)):
                self._block(image, channel, wide * lanes)
            with code.when(emit.tirx.EQ(emit.index(block), edge)):
                self._block(image, channel, last)

    def _block(self, image: Index, channel: Index, used: int) -> None:
        """All pixels of `used` channels: totals in registers, several chains of them."""
        spec, code, lanes = self.spec, self.code, self.lanes
        vectors = -(-used // lanes)
        chains = min(spec.pixels, _CHAINS // vectors)
        largest = spec.kind != "mean"
        start = emit.number(_LOWEST if largest else 0.0, lanes)
        totals = code.local(chains * vectors * lanes)
        for cell in range(chains * vectors):
            code.store(totals, cell * lanes, start, lanes)

        combine = _COMBINE[spec.kind]

        def meet(cell: int, value: Value) -> None:
            total = totals.at(cell * lanes, lanes)
            met = combine(total, value)
            code.store(totals, cell * lanes, met, lanes)

        def pixel(chain: int, at: Index) -> None:
            for j in range(vectors):
                part = min(lanes, used - j * lanes)
                meet(chain * vectors + j, self.x.number(at + j * lanes, lanes, part))

        base = code.bind(image * spec.x_image + channel)
        with code.loop("pixel", spec.pixels // chains) as p:
            for chain in range(chains):
                pixel(chain, base + (p * chains + chain) * spec.x_pixel)
        for rest in range(spec.pixels - spec.pixels % chains, spec.pixels):
            pixel(rest % chains, base + rest * spec.x_pixel)
        for cell in range(vectors, chains * vectors):
            meet(cell % vectors, totals.at(cell * lanes, lanes))
        self._store(image, channel, used, totals)

    def _store(self, image: Index, channel: Index, used: int, totals: Array) -> None:
        spec, code, lanes = self.spec, self.code, self.lanes
        share = emit.number(1.0 / spec.pixels, lanes)
        for j in range(-(-used // lanes)):
            part = min(lanes, used - j * lanes)
            at = code.bind(channel + j * lanes)
            total = totals.at(j * lanes, lanes)
            result = code.bind(total * share if spec.kind == "mean" else total)
            self.epilogue.store(
                image * spec.y_image + at,
                result,
                self.epilogue.constants(at, part),
                lambda n, at=at: image * spec.operands[n].pixel + at,
                part,
            )
