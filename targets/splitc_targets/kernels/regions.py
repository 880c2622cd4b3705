# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportArgumentType=false
"""Regions of maps brought to one size: each element the mean of a few samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

_VECTORS = 4
"""Vectors of channels whose sums are held at a time."""
_MOST = 2**16
"""Samples along an axis beyond which there are no more, of regions that no map has."""


@dataclass(frozen=True)
class Regions:
    """Regions of maps whose channels lie side by side.

    Args:
        size: Rows and columns of a map.
        batch, channels, count: How many samples, channels and regions.
        pooled: Rows and columns of a region's result, which lie densely, channels innermost.
        x: Distances between samples, rows and columns of the maps.
        rois: Distances between regions, and between the numbers of one: sample, first column,
            first row, last column, last row.
        scale: What these corners are multiplied by.
        samples: Along each axis of an element; 0 for as many as it has pixels.
        aligned: Whether a region may be smaller than a pixel.
    """

    size: tuple[int, int]
    batch: int
    channels: int
    count: int
    pooled: tuple[int, int]
    x: tuple[int, int, int]
    rois: tuple[int, int]
    scale: float
    samples: int
    aligned: bool

    @property
    def elements(self) -> int:
        """Elements of the result."""
        return self.count * self.channels * math.prod(self.pooled)


def parameters(spec: Regions) -> list[Argument]:
    """A kernel's (maps, regions, result)."""
    extents = zip((spec.batch, *spec.size), spec.x, strict=True)
    x = spec.channels + sum((n - 1) * step for n, step in extents)
    rois = 1 + (spec.count - 1) * spec.rois[0] + 4 * spec.rois[1]
    return [Argument("x", (x,)), Argument("rois", (rois,)), Argument("y", (spec.elements,))]


def kernel(name: str, spec: Regions, machine: Machine) -> Any:
    """The kernel (maps, regions, result)."""

    def write(code: Code, x: Array, rois: Array, y: Array) -> None:
        _Writer(code, spec, machine, x, rois, y).tasks()

    return emit.function(name, parameters(spec), write)


@dataclass(frozen=True)
class _Along:
    """A region along one axis: where it begins, the extent of an element, its samples."""

    start: Value
    step: Value
    samples: Value


class _Writer:
    def __init__(
        self, code: Code, spec: Regions, machine: Machine, x: Array, rois: Array, y: Array
    ) -> None:
        self.code, self.spec, self.machine = code, spec, machine
        self.x, self.rois, self.y = x, rois, y

    def tasks(self) -> None:
        """The parallel loop over rows of all regions' results."""
        code, spec = self.code, self.spec
        rows, columns = spec.pooled
        count = spec.count * rows
        shared = count > 1 and 4 * spec.elements > ELEMENTS_WORTH_SHARING
        with code.loop("task", count, parallel=shared and self.machine.cores > 1) as task:
            roi = code.bind(emit.div(task, rows) * spec.rois[0], "roi")
            sample = tirx.Cast("int32", self._bounded(self.rois.at(roi), 0, spec.batch - 1))
            image = code.bind(sample * spec.x[0], "image")
            down, right = (self._along(roi, axis) for axis in (0, 1))
            row = self._element(down, emit.mod(task, rows))
            with code.loop("column", columns) as column:
                to = code.bind((task * columns + column) * spec.channels, "to")
                across = self._element(right, column)
                code.stretches(
                    spec.channels, self.machine.lanes * _VECTORS,
                    lambda c, n: self._channels(image, (down, row), (right, across), to, c, n),
                )  # fmt: skip

    def _along(self, roi: Index, axis: int) -> _Along:
        """A region along rows (axis 0) or columns."""
        code, spec = self.code, self.spec
        first, last = (
            code.bind(self.rois.at(roi + number * spec.rois[1]) * tirx.const(spec.scale, "float32"))
            for number in (2 - axis, 4 - axis)
        )
        extent = last - first
        if not spec.aligned:
            extent = tirx.max(extent, _number(1))
        step = code.bind(extent / _number(spec.pooled[axis]), "step")
        if spec.samples:
            return _Along(first, step, emit.const(spec.samples))
        samples = tirx.Cast("int32", self._bounded(tirx.ceil(step), 0, _MOST))
        return _Along(first, step, code.bind(samples, "samples"))

    def _element(self, along: _Along, number: Index) -> Value:
        """Where an element of the result begins."""
        place = tirx.Cast("float32", emit.index(number))
        return self.code.bind(along.start + place * along.step, "begin")

    def _channels(
        self, image: Index, down: tuple[_Along, Value], right: tuple[_Along, Value], to: Index,
        c: Index, count: int,
    ) -> None:  # fmt: skip
        """So many channels of an element."""
        code, lanes = self.code, self.machine.lanes
        vectors = [(start, min(lanes, count - start)) for start in range(0, count, lanes)]
        sums = code.local(lanes * len(vectors), name="sums")
        for start, _ in vectors:
            code.store(sums, start, emit.number(0, lanes), lanes)
        with code.loop("i", down[0].samples) as i:
            rows = self._taps(down, i, 0)
            with code.loop("j", right[0].samples) as j:
                taps = self._together(rows, self._taps(right, j, 1))
                for start, used in vectors:
                    here = [self.x.at(image + at + c + start, lanes, used) for at, _ in taps]
                    shares = [share for _, share in taps]
                    code.store(sums, start, self._met(sums.at(start, lanes), here, shares), lanes)
        many = tirx.max(down[0].samples * right[0].samples, emit.const(1))
        over = emit.splat(code.bind(tirx.Cast("float32", many), "over"), lanes)
        for start, used in vectors:
            code.store(self.y, to + c + start, sums.at(start, lanes) / over, lanes, used)

    def _met(self, total: Value, here: Sequence[Value], shares: Sequence[Value]) -> Value:
        """What was found so far, and a sample's four parts."""
        lanes = self.machine.lanes
        dtype = emit.typed("float32", lanes)
        for value, share in zip(here, shares, strict=True):
            wide = emit.splat(share, lanes)
            total = emit.fma(value, wide, total, dtype, fused=self.machine.fma)
        return total

    def _taps(
        self, of: tuple[_Along, Value], number: Index, axis: int
    ) -> list[tuple[Index, Value]]:
        """Where a sample reads along an axis, and its shares: none of what is beyond the map."""
        code, size = self.code, self.spec.size[axis]
        along, begin = of
        past = tirx.Cast("float32", emit.index(number)) + _number(0.5)
        place = begin + past * along.step / tirx.Cast("float32", emit.index(along.samples))
        place = code.bind(place, "place")
        low, high = tirx.GE(place, _number(-1)), tirx.LE(place, _number(size))
        known = tirx.Select(tirx.And(low, high), _number(1), _number(0))
        place = code.bind(self._bounded(place, 0, size - 1), "within")
        first = code.bind(tirx.Cast("int32", place), "first")
        second = emit.least(first + 1, size - 1)
        part = code.bind(place - tirx.Cast("float32", first), "part")
        known = code.bind(known, "known")
        step = self.spec.x[1 + axis]
        return [
            (code.bind(first * step), code.bind((_number(1) - part) * known, "share")),
            (code.bind(second * step), code.bind(part * known, "share")),
        ]

    def _together(
        self, rows: list[tuple[Index, Value]], columns: list[tuple[Index, Value]]
    ) -> list[tuple[Index, Value]]:
        """What a sample reads along both axes."""
        code = self.code
        return [
            (code.bind(a + b, "at"), code.bind(share * part, "share"))
            for (a, share), (b, part) in itertools.product(rows, columns)
        ]

    def _bounded(self, value: Value, low: int, high: int) -> Value:
        """A float brought between bounds; the upper one for what is not a number."""
        return tirx.max(tirx.min(value, _number(high)), _number(low))


def _number(value: float) -> Value:
    return tirx.const(value, "float32")
