# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false
"""The first elements of rows in order, and their places: sort, argsort, top-k.

An element becomes an integer key that compares as the elements do, and one merge sort orders
keys of all types. Of elements that compare equal the one at the lower place is first; -0 equals
0, and what is not a number is larger than every number, whatever its sign, as in PyTorch.

Where few are kept of many, a row is read once: keys that come before the last one kept are
gathered until there is no more room, and then sorted, which leaves those kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

What = Literal["values", "places"]

_WIDE = ("int64", "uint64", "float64")
"""Types whose keys leave no room for a place in 64 bits."""
KEYS = frozenset({
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", *_WIDE,
})  # fmt: skip
"""Types of elements that can be ordered."""
_INFINITY = {"int32": 0x7F80_0000, "int64": 0x7FF0 << 48}
"""The bits of infinity in floats of the integers' size."""
_LEAST_ROOM = 32
"""Keys that are gathered at least before they are sorted."""


@dataclass(frozen=True)
class Result:
    """What is written of the elements in order.

    Args:
        what: Their values, or their places along the row.
        dtype: Its element type.
        step: The distance between neighbours.
        rows: The distance between rows, for each dimension of them.
    """

    what: What
    dtype: str
    step: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Sort:
    """The first elements of each row.

    Args:
        dtype: The elements' type.
        length: Elements of a row.
        step: The distance between neighbours.
        rows: (size, distance) of each other dimension.
        kept: How many come out.
        descending: Whether the largest is first.
        results: What is written of them.
    """

    dtype: str
    length: int
    step: int
    rows: tuple[tuple[int, int], ...]
    kept: int
    descending: bool
    results: tuple[Result, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The element types of the kernel's parameters."""
        return (self.dtype, *(one.dtype for one in self.results))

    @property
    def count(self) -> int:
        """Rows."""
        return math.prod(size for size, _ in self.rows)

    @property
    def room(self) -> int:
        """Keys that are held at a time."""
        some = self.kept + max(self.kept, _LEAST_ROOM)
        return some if 2 * some <= self.length else self.length

    @property
    def rounds(self) -> int:
        """Times that everything is merged in a sort: runs double with each."""
        return max(0, (self.room - 1).bit_length())


def kernel(name: str, spec: Sort, machine: Machine) -> Any:
    """The kernel (x, results…)."""
    reach = (spec.length - 1) * spec.step
    sizes = [size for size, _ in spec.rows]
    arguments = [Argument("x", (_span(sizes, [d for _, d in spec.rows], reach),), spec.dtype)]
    for number, one in enumerate(spec.results):
        size = _span(sizes, one.rows, (spec.kept - 1) * one.step)
        arguments.append(Argument(f"y{number}", (size,), one.dtype))

    def write(code: Code, x: Array, *results: Array) -> None:
        work = spec.count * spec.length * (1 + spec.rounds)
        shared = spec.count > 1 and work > ELEMENTS_WORTH_SHARING and machine.cores > 1
        with code.loop("row", spec.count, parallel=shared) as row:
            places = _places(code, spec, row)
            _Row(code, spec, x, places[0]).write(results, places[1:])

    return emit.function(name, arguments, write)


def _span(sizes: Sequence[int], distances: Sequence[int], reach: int) -> int:
    return 1 + reach + sum((n - 1) * d for n, d in zip(sizes, distances, strict=True))


def _places(code: Code, spec: Sort, row: Index) -> list[Index]:
    """Where a row starts in the elements and in each result."""
    places: list[Index] = [0] * (1 + len(spec.results))
    for d in reversed(range(len(spec.rows))):
        size, distance = spec.rows[d]
        digit = code.bind(emit.mod(row, size))
        row = emit.div(row, size)
        steps = [distance, *(one.rows[d] for one in spec.results)]
        places = [p + digit * s for p, s in zip(places, steps, strict=True)]
    return [code.bind(place) for place in places]


class _Row:
    """One row: `keys` hold a key and below it its place, or `spots` the places of wide keys.

    Both are held twice, as merging goes from one half into the other.
    """

    def __init__(self, code: Code, spec: Sort, x: Array, at: Index) -> None:
        self.code, self.spec, self.x, self.at = code, spec, x, at
        self.keys = code.scratch(2 * spec.room, "int64", "keys")
        self.spots = code.scratch(2 * spec.room, "int32", "spots") if spec.dtype in _WIDE else None
        self.sorted_at = spec.room if spec.rounds % 2 else 0

    def write(self, results: Sequence[Array], places: Sequence[Index]) -> None:
        """Order the row and write its first elements."""
        spec, code = self.spec, self.code
        if spec.room == spec.length:
            with code.loop("i", spec.length) as i:
                self._put(i, self._key(i), i)
            self._sort(spec.length)
        else:
            self._gather()
        with code.loop("k", spec.kept) as k:
            spot = code.bind(self._spot(self.sorted_at + k))
            for one, array, place in zip(spec.results, results, places, strict=True):
                value = spot
                if one.what == "values":
                    value = emit.converted(self._element(spot), spec.dtype, one.dtype, 1)
                elif one.dtype != "int32":
                    value = tirx.Cast(one.dtype, spot)
                code.store(array, place + k * one.step, value)

    def _gather(self) -> None:
        """Keep what may be among the first, and sort whenever there is no more room."""
        spec, code = self.spec, self.code
        held, full, last = (code.local(1, t, n) for t, n in _COUNTERS)
        for counter in (held, full, last):
            code.store(counter, 0, tirx.const(0, counter.dtype))
        with code.loop("i", spec.length) as i:
            key = code.bind(self._key(i), "key")
            early = tirx.EQ(full.at(0), emit.const(0))
            with code.when(tirx.Or(early, tirx.LT(key, last.at(0)))):
                self._put(held.at(0), key, i)
                code.store(held, 0, held.at(0) + 1)
                with code.when(tirx.EQ(held.at(0), emit.const(spec.room))):
                    self._sort(spec.room)
                    if self.sorted_at:
                        with code.loop("k", spec.kept) as k:
                            self._move(self.sorted_at + k, k)
                    code.store(held, 0, emit.const(spec.kept))
                    code.store(full, 0, emit.const(1))
                    code.store(last, 0, self.keys.at(spec.kept - 1))
        self._sort(code.bind(held.at(0), "held"))

    def _element(self, i: Index) -> Value:
        return self.x.at(self.at + i * self.spec.step)

    def _key(self, i: Index) -> Value:
        key = _ordered(self.code, self._element(i), self.spec.dtype)
        if self.spec.descending:
            key = tirx.bitwise_not(key)
        if self.spots is not None:
            return key
        high = tirx.shift_left(tirx.Cast("int64", key), tirx.const(32, "int64"))
        return tirx.bitwise_or(high, tirx.Cast("int64", emit.index(i)))

    def _put(self, to: Index, key: Value, place: Index) -> None:
        self.code.store(self.keys, to, key)
        if self.spots is not None:
            self.code.store(self.spots, to, emit.index(place))

    def _spot(self, i: Index) -> Value:
        """The place of the element whose key is held at `i`."""
        if self.spots is not None:
            return self.spots.at(i)
        low = tirx.bitwise_and(self.keys.at(i), tirx.const(0x7FFF_FFFF, "int64"))
        return tirx.Cast("int32", low)

    def _move(self, source: Index, target: Index) -> None:
        self.code.store(self.keys, target, self.keys.at(source))
        if self.spots is not None:
            self.code.store(self.spots, target, self.spots.at(source))

    def _sort(self, count: Index) -> None:
        """Order the first `count` keys; they are at `sorted_at` then."""
        code, room = self.code, self.spec.room
        with code.loop("round", self.spec.rounds) as number:
            turn = emit.index(number)
            run = code.bind(tirx.shift_left(emit.const(1), turn), "run")
            source = code.bind(emit.mod(turn, 2) * room, "source")
            target = code.bind(room - source, "target")
            pairs = tirx.shift_right(count + 2 * run - 1, turn + 1)
            with code.loop("pair", code.bind(pairs)) as pair:
                start = code.bind(pair * 2 * run, "start")
                middle = code.bind(emit.least(start + run, count), "middle")
                end = code.bind(emit.least(start + 2 * run, count), "end")
                self._merge(source, target, start, middle, end)

    def _merge(self, source: Index, target: Index, start: Index, middle: Index, end: Index) -> None:
        """Two runs that lie behind one another into one, without a branch."""
        code = self.code
        left, right = (code.local(1, "int32", name) for name in ("left", "right"))
        code.store(left, 0, start)
        code.store(right, 0, middle)
        with code.loop("to", end - start) as to:
            i, j = code.bind(left.at(0), "i"), code.bind(right.at(0), "j")
            near = code.bind(source + emit.least(i, middle - 1))
            far = code.bind(source + emit.least(j, end - 1))
            a, b = code.bind(self.keys.at(near), "a"), code.bind(self.keys.at(far), "b")
            first = tirx.Or(tirx.GE(j, end), tirx.LE(a, b))
            take = code.bind(tirx.And(tirx.LT(i, middle), first), "take")
            place = code.bind(target + start + to)
            code.store(self.keys, place, tirx.Select(take, a, b))
            if self.spots is not None:
                spot = tirx.Select(take, self.spots.at(near), self.spots.at(far))
                code.store(self.spots, place, spot)
            step = code.bind(tirx.Cast("int32", take), "step")
            code.store(left, 0, i + step)
            code.store(right, 0, j + 1 - step)


_COUNTERS = (("int32", "held"), ("int32", "full"), ("int64", "last"))


def _ordered(code: Code, value: Value, dtype: str) -> Value:
    """An integer that compares as the element does: of 64 bits for wide types, else of 32."""
    if dtype == "float16":
        value, dtype = tirx.Cast("float32", value), "float32"
    if dtype in ("float32", "float64"):
        return _ordered_float(code, value, "int64" if dtype == "float64" else "int32")
    if dtype in ("uint32", "uint64"):
        signed = dtype.removeprefix("u")
        lowest = tirx.min_value(signed)
        return tirx.bitwise_xor(tirx.reinterpret(signed, value), lowest)
    return value if dtype == "int64" else tirx.Cast("int32", value)


def _ordered_float(code: Code, value: Value, kind: str) -> Value:
    """A float's size as an integer, with its sign; beyond infinity where it is no number."""

    def number(n: int) -> Any:
        return tirx.const(n, kind)

    bits = code.bind(tirx.reinterpret(kind, value), "bits")
    size = code.bind(tirx.bitwise_and(bits, tirx.max_value(kind)), "size")
    infinite = _INFINITY[kind]
    key = tirx.Select(tirx.LT(bits, number(0)), number(0) - size, size)
    return code.bind(tirx.Select(tirx.GT(size, number(infinite)), number(infinite + 1), key))
