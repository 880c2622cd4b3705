# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportArgumentType=false
"""Maps sampled where a grid says: the nearest element, or what lies between several.

Places and weights of a block of points are computed by vectors, once for all channels. Then each
point reads channels by vectors, where they lie side by side, or each channel reads the points.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
"""Elements that a point reads along each axis."""
PADDINGS = ("zeros", "border", "reflection")

_VECTORS = 4
"""Vectors of channels whose sums are held at a time."""
_CUBIC = -0.75
"""The slope of cubic weights, as ONNX and PyTorch have it."""


@dataclass(frozen=True)
class Grid:
    """A sampling of maps at places from -1 to 1, from border to border.

    Args:
        sizes: Extents of a map.
        batch, channels, points: How many samples, channels, and places of each sample.
        x: Distances between samples, between channels, and along each axis of a map.
        grid: Those between samples, between numbers of a place (the innermost axis first), and
            between places.
        y: Those between samples, channels and points of the result.
        method: One of `TAPS`.
        padding: One of `PADDINGS`.
        corners: Whether -1 and 1 are the middles of the outermost elements, or their far sides.
    """

    sizes: tuple[int, ...]
    batch: int
    channels: int
    points: int
    x: tuple[int, ...]
    grid: tuple[int, int, int]
    y: tuple[int, int, int]
    method: str
    padding: str
    corners: bool

    @property
    def taps(self) -> int:
        """Elements of a channel that a point reads."""
        return TAPS[self.method] ** len(self.sizes)


def parameters(spec: Grid) -> list[Argument]:
    """A kernel's (maps, grid, result)."""

    def span(*loops: tuple[int, int]) -> int:
        return 1 + sum((size - 1) * step for size, step in loops)

    n, c, p = spec.batch, spec.channels, spec.points
    x = zip((n, c, *spec.sizes), spec.x, strict=True)
    grid = zip((n, len(spec.sizes), p), spec.grid, strict=True)
    y = zip((n, c, p), spec.y, strict=True)
    return [Argument("x", (span(*x),)), Argument("grid", (span(*grid),)),
            Argument("y", (span(*y),))]  # fmt: skip


def kernel(name: str, spec: Grid, machine: Machine) -> Any:
    """The kernel (maps, grid, result)."""

    def write(code: Code, x: Array, grid: Array, y: Array) -> None:
        _Writer(code, spec, machine, x, grid, y).tasks()

    return emit.function(name, parameters(spec), write)


@dataclass(frozen=True)
class _Tap:
    """What points read: where (distances in the map), with which weights, and 1 where that is
    within it, else 0; None for weights of one, and for always within."""

    at: Value
    weight: Value | None
    inside: Value | None


class _Writer:
    def __init__(
        self, code: Code, spec: Grid, machine: Machine, x: Array, grid: Array, y: Array
    ) -> None:
        self.code, self.spec, self.machine = code, spec, machine
        self.x, self.grid, self.y = x, grid, y
        self.lanes = machine.lanes

    def tasks(self) -> None:
        """The parallel loop over blocks of points."""
        code, spec = self.code, self.spec
        blocks = -(-spec.points // self.lanes)
        count = spec.batch * blocks
        work = spec.batch * spec.points * spec.channels * spec.taps
        shared = count > 1 and work > ELEMENTS_WORTH_SHARING and self.machine.cores > 1
        with code.loop("task", count, parallel=shared) as task:
            sample = code.bind(emit.div(task, blocks), "sample")
            first = code.bind(emit.mod(task, blocks) * self.lanes, "first")
            taps = self._taps(sample * spec.grid[0], first)
            x, y = code.bind(sample * spec.x[0]), code.bind(sample * spec.y[0])
            if spec.x[1] == spec.y[1] == 1:
                self._by_points(taps, x, y, first)
            else:
                self._by_channels(taps, x, y, first)

    def _by_points(self, taps: list[_Tap], x: Index, y: Index, first: Index) -> None:
        """Point after point, channels by vectors."""
        code, spec, lanes = self.code, self.spec, self.lanes
        held = [self._held(tap) for tap in taps]
        with code.loop("point", emit.least(lanes, spec.points - first)) as point:
            to = code.bind(y + (first + point) * spec.y[2], "to")
            read: list[tuple[Index, Value | None, Value | None]] = []
            for at, weight, inside in held:
                here = code.bind(x + at.at(point), "here")
                share = None if weight is None else code.bind(weight.at(point), "weight")
                known = None
                if inside is not None:
                    known = code.bind(tirx.NE(inside.at(point), emit.const(0)), "inside")
                read.append((here, share, known))
            code.stretches(
                spec.channels, lanes * _VECTORS, lambda c, n: self._channels(read, c, to, n)
            )

    def _channels(
        self, read: list[tuple[Index, Value | None, Value | None]], c: Index, to: Index, count: int
    ) -> None:
        """So many channels of a point."""
        code, lanes = self.code, self.lanes
        for start in range(0, count, lanes):
            used = min(lanes, count - start)
            total: Value = None
            for here, weight, inside in read:
                value = self.x.at(here + c + start, lanes, used)
                if inside is not None:
                    none = emit.number(0, lanes)
                    value = tirx.Select(emit.splat(inside, lanes), value, none)
                share = None if weight is None else emit.splat(weight, lanes)
                total = self._added(total, value, share)
            code.store(self.y, to + c + start, total, lanes, used)

    def _by_channels(self, taps: list[_Tap], x: Index, y: Index, first: Index) -> None:
        """Channel after channel, points by vectors."""
        code, spec, lanes = self.code, self.spec, self.lanes
        none, sums = emit.number(0, lanes), code.scratch(lanes, name="sums")
        count = code.bind(emit.least(lanes, spec.points - first), "count")
        with code.loop("c", spec.channels) as c:
            start = code.bind(x + c * spec.x[1], "start")
            total: Value = None
            for tap in taps:
                where = code.bind(tap.at + emit.splat(start, lanes), "where")
                value = tirx.BufferLoad(self.x.buffer, [where])
                if tap.inside is not None:
                    beyond = tirx.EQ(tap.inside, emit.number(0, lanes, "int32"))
                    value = tirx.Select(beyond, none, value)
                total = self._added(total, value, tap.weight)
            code.store(sums, 0, total, lanes)
            to = code.bind(y + c * spec.y[1] + first * spec.y[2], "to")
            with code.loop("point", count) as point:
                code.store(self.y, to + point * spec.y[2], sums.at(point))

    def _added(self, total: Value, value: Value, weight: Value | None) -> Value:
        """A sum and what a tap adds to it."""
        if weight is None:
            return value
        if total is None:
            return self.code.bind(value * weight, "sum")
        dtype = emit.typed("float32", self.lanes)
        return self.code.bind(emit.fma(value, weight, total, dtype, fused=self.machine.fma), "sum")

    def _held(self, tap: _Tap) -> tuple[Array, Array | None, Array | None]:
        """A tap of all points in memory, to be read point by point."""
        code, lanes = self.code, self.lanes
        at = code.scratch(lanes, "int32", "at")
        code.store(at, 0, tap.at, lanes)
        weight = inside = None
        if tap.weight is not None:
            weight = code.scratch(lanes, name="weights")
            code.store(weight, 0, tap.weight, lanes)
        if tap.inside is not None:
            inside = code.scratch(lanes, "int32", "inside")
            code.store(inside, 0, tap.inside, lanes)
        return at, weight, inside

    # Where points lie.

    def _taps(self, sample: Index, first: Index) -> list[_Tap]:
        """What a block of points reads, along all axes together."""
        along = [self._along(axis, sample, first) for axis in range(len(self.spec.sizes))]
        return [self._together(each) for each in itertools.product(*along)]

    def _together(self, taps: tuple[_Tap, ...]) -> _Tap:
        code = self.code
        at, *more = [tap.at for tap in taps]
        weights = [tap.weight for tap in taps if tap.weight is not None]
        insides = [tap.inside for tap in taps if tap.inside is not None]
        for each in more:
            at = code.bind(at + each, "at")
        weight = code.bind(math.prod(weights[1:], start=weights[0]), "weight") if weights else None
        inside = insides[0] if insides else None
        for each in insides[1:]:
            inside = code.bind(inside * each, "inside")
        return _Tap(at, weight, inside)

    def _along(self, axis: int, sample: Index, first: Index) -> list[_Tap]:
        """What a block of points reads along one axis."""
        code, spec, lanes = self.code, self.spec, self.lanes
        size = spec.sizes[axis]
        place = self._place(size, sample + (len(spec.sizes) - 1 - axis) * spec.grid[1], first)
        cubic = spec.method == "bicubic"
        if not cubic:
            place = self._padded(place, size)
        elif spec.padding != "reflection":
            place = self._between(place, -4, size + 4)
        if spec.method == "nearest":
            return [self._tap(axis, code.bind(tirx.nearbyint(place), "near"), None)]
        low = code.bind(tirx.floor(place), "low")
        past = code.bind(place - low, "past")
        if not cubic:
            weights = [code.bind(self._number(1) - past, "weight"), past]
            return [self._tap(axis, low + self._number(k), w) for k, w in enumerate(weights)]
        found: list[_Tap] = []
        for k, weight in enumerate(_cubic(code, past, lanes)):
            here = code.bind(low + self._number(k - 1), "here")
            found.append(self._tap(axis, self._padded(here, size), weight))
        return found

    def _place(self, size: int, start: Index, first: Index) -> Value:
        """Where a block of points lies along an axis, in elements; far beyond it, just beyond.

        What is not a number is beyond, too.
        """
        code, spec, lanes = self.code, self.spec, self.lanes
        ramp = tirx.Ramp(emit.index(first), emit.const(1), emit.const(lanes))
        point = tirx.min(ramp, emit.number(spec.points - 1, lanes, "int32"))
        where = point * emit.number(spec.grid[2], lanes, "int32") + emit.splat(
            emit.index(start), lanes
        )
        place = code.bind(tirx.BufferLoad(self.grid.buffer, [code.bind(where)]), "place")
        one, half = self._number(1), self._number(0.5)
        if spec.corners:
            place = (place + one) * half * self._number(size - 1)
        else:
            place = ((place + one) * self._number(size) - one) * half
        return code.bind(place, "place")

    def _padded(self, place: Value, size: int) -> Value:
        """Places brought within an axis, as the padding has it; beyond it by little, for zeros."""
        spec = self.spec
        if spec.padding == "zeros":
            return self._between(place, -4, size + 4)
        if spec.padding == "reflection":
            place = self._reflected(place, size)
        return self._between(place, 0, size - 1)

    def _reflected(self, place: Value, size: int) -> Value:
        """Places thrown back at both ends until they lie between."""
        code = self.code
        low, span = (0.0, size - 1) if self.spec.corners else (-0.5, size)
        if span == 0:
            return self._number(0)
        beyond = code.bind(self._magnitude(place - self._number(low)), "beyond")
        turns = code.bind(tirx.floor(beyond / self._number(span)), "turns")
        rest = code.bind(beyond - turns * self._number(span), "rest")
        half = code.bind(tirx.floor(turns * self._number(0.5)), "half")
        even = tirx.EQ(half + half, turns)
        back = tirx.Select(even, rest, self._number(span) - rest)
        return code.bind(back + self._number(low), "back")

    def _magnitude(self, value: Value) -> Value:
        return tirx.max(value, self._number(0) - value)

    def _between(self, value: Value, low: int, high: int) -> Value:
        """Values brought between bounds; the upper one for what is not a number."""
        least = tirx.min(value, self._number(high))
        return self.code.bind(tirx.max(least, self._number(low)), "between")

    def _tap(self, axis: int, place: Value, weight: Value | None) -> _Tap:
        """An element that points read along an axis."""
        code, spec, lanes = self.code, self.spec, self.lanes
        size, whole = spec.sizes[axis], emit.typed("int32", lanes)
        number = code.bind(tirx.Cast(whole, place), "number")
        none, last = (emit.number(end, lanes, "int32") for end in (0, size - 1))
        inside = None
        if spec.padding == "zeros":
            counted = tirx.reinterpret(emit.typed("uint32", lanes), number)
            below = tirx.LT(counted, emit.number(size, lanes, "uint32"))
            one = emit.number(1, lanes, "int32")
            inside = code.bind(tirx.Select(below, one, none), "inside")
        within = tirx.max(tirx.min(number, last), none)
        step = emit.number(spec.x[2 + axis], lanes, "int32")
        return _Tap(code.bind(within * step, "at"), weight, inside)

    def _number(self, value: float) -> Value:
        return emit.number(value, self.lanes)


def _cubic(code: Code, past: Value, lanes: int) -> list[Value]:
    """Weights of the four elements round a place (Keys, 1981), by how far past the second it is."""
    one, two = emit.number(1, lanes), emit.number(2, lanes)

    def near(x: Value) -> Value:
        return emit.polynomial(x, (_CUBIC + 2, -(_CUBIC + 3), 0, 1), lanes)

    def far(x: Value) -> Value:
        return emit.polynomial(x, (_CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC), lanes)

    weights = far(past + one), near(past), near(one - past), far(two - past)
    return [code.bind(weight, "weight") for weight in weights]
