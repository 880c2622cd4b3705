# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false
"""The first elements of rows in order, and their places: sort, argsort, top-k.

An element becomes an integer key that compares as the elements do, and one merge sort orders
keys of all types. Of elements that compare equal the one at the lower place is first; -0 equals
0, and what is not a number is larger than every number, whatever its sign, as in PyTorch.

Where few are kept of many, a row is read once. A few stay in order all the time: a key that
comes before the last one kept is put in its place, by vectors. Of more, such keys are gathered
until there is no more room, and then sorted, which leaves those kept. Either way most elements
only have to be passed over, which vectors do for many at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
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
_IN_ORDER = 24
"""Keys for each lane up to which those kept stay in order all the time."""
_VECTORS = 8
"""Vectors of elements that are passed over together at most."""
_OFTEN = 4
"""So many times as many vectors a row has at least as it keeps keys, where they are passed over
together: a block with one key to keep is gone through one by one."""


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
    def wide(self) -> bool:
        """Whether keys leave no room for a place in 64 bits."""
        return self.dtype in _WIDE

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


def parameters(spec: Sort) -> list[Argument]:
    """A kernel's (x, results…)."""
    reach = (spec.length - 1) * spec.step
    sizes = [size for size, _ in spec.rows]
    arguments = [Argument("x", (_span(sizes, [d for _, d in spec.rows], reach),), spec.dtype)]
    for number, one in enumerate(spec.results):
        size = _span(sizes, one.rows, (spec.kept - 1) * one.step)
        arguments.append(Argument(f"y{number}", (size,), one.dtype))
    return arguments


def kernel(name: str, spec: Sort, machine: Machine) -> Any:
    """The kernel (x, results…)."""

    def write(code: Code, x: Array, *results: Array) -> None:
        work = spec.count * spec.length * (1 + spec.rounds)
        shared = spec.count > 1 and work > ELEMENTS_WORTH_SHARING and machine.cores > 1
        with code.loop("row", spec.count, parallel=shared) as row:
            places = starts(code, spec, row)
            Row(code, spec, machine.lanes, x, places[0]).write(results, places[1:])

    return emit.function(name, parameters(spec), write)


def _span(sizes: Sequence[int], distances: Sequence[int], reach: int) -> int:
    return 1 + reach + sum((n - 1) * d for n, d in zip(sizes, distances, strict=True))


def starts(code: Code, spec: Sort, row: Index) -> list[Index]:
    """Where a row starts in the elements and in each result."""
    places: list[Index] = [0] * (1 + len(spec.results))
    for d in reversed(range(len(spec.rows))):
        size, distance = spec.rows[d]
        digit = code.bind(emit.mod(row, size))
        row = emit.div(row, size)
        steps = [distance, *(one.rows[d] for one in spec.results)]
        places = [p + digit * s for p, s in zip(places, steps, strict=True)]
    return [code.bind(place) for place in places]


class Row:
    """One row: `keys` hold a key and below it its place, or `spots` the places of wide keys.

    Both are held twice, as merging goes from one half into the other.
    """

    def __init__(self, code: Code, spec: Sort, lanes: int, x: Array, at: Index) -> None:
        self.code, self.spec, self.lanes, self.x, self.at = code, spec, lanes, x, at
        self.keys = code.scratch(2 * spec.room, "int64", "keys")
        self.spots = code.scratch(2 * spec.room, "int32", "spots") if spec.wide else None
        self.sorted_at = spec.room if spec.rounds % 2 else 0

    def write(self, results: Sequence[Array], places: Sequence[Index]) -> None:
        """Order the row and write its first elements."""
        spec, code = self.spec, self.code
        if spec.kept <= min(_IN_ORDER * self.lanes, spec.length // 4) and self.spots is None:
            self.sorted_at = 1
            self._keep_in_order()
        elif spec.room == spec.length:
            with code.loop("i", spec.length) as i:
                self.put(i, self.key(i), i)
            self.sort(spec.length)
        else:
            self._gather()
        with code.loop("k", spec.kept) as k:
            spot = code.bind(self.spot(self.sorted_at + k))
            for one, array, place in zip(spec.results, results, places, strict=True):
                value = spot
                if one.what == "values":
                    value = emit.converted(self._element(spot), spec.dtype, one.dtype, 1)
                elif one.dtype != "int32":
                    value = tirx.Cast(one.dtype, spot)
                code.store(array, place + k * one.step, value)

    def _keep_in_order(self) -> None:
        """Put each key that comes before the last one kept in its place; those begin at 1.

        Each of the keys behind that place is the one before it then: in either case the smaller
        of what it was, and the larger of the new key and the one before. At 0 is the least.
        """
        spec, code = self.spec, self.code
        wide = max(1, self.lanes // 2)
        vectors = -(-spec.kept // wide)
        code.store(self.keys, 0, tirx.min_value("int64"))
        with code.loop("k", vectors * wide, start=1) as k:
            code.store(self.keys, k, tirx.max_value("int64"))
        last = code.local(1, "int32", "last")

        def keep(key: Value, i: Index) -> None:
            placed = emit.splat(code.bind(with_place(key, i), "placed"), wide)
            with code.loop("k", vectors) as k:
                at = code.bind(1 + (vectors - 1 - k) * wide)
                here, before = self.keys.at(at, wide), self.keys.at(at - 1, wide)
                code.store(self.keys, at, tirx.min(here, tirx.max(before, placed)), wide)

        def mark() -> None:
            code.store(last, 0, self.high(spec.kept))

        with code.loop("i", spec.kept) as i:
            keep(code.bind(self._bare_key(i)), i)
        mark()

        def meet(i: Index) -> None:
            key = code.bind(self._bare_key(i), "key")
            with code.when(tirx.LT(key, last.at(0))):
                keep(key, i)
                mark()

        self.pass_over(spec.kept, last, meet)

    def _gather(self) -> None:
        """Keep what may be among the first, and sort whenever there is no more room."""
        spec, code = self.spec, self.code
        wide = self.spots is not None
        held = code.local(1, "int32", "held")
        last = code.local(1, "int64" if wide else "int32", "last")

        def settle() -> None:
            self.sort(spec.room)
            if self.sorted_at:
                with code.loop("k", spec.kept) as k:
                    self._move(self.sorted_at + k, k)
            code.store(held, 0, emit.const(spec.kept))
            code.store(last, 0, self.keys.at(spec.kept - 1) if wide else self.high(spec.kept - 1))

        with code.loop("i", spec.room) as i:
            self.put(i, self.key(i), i)
        settle()

        def meet(i: Index) -> None:
            key = code.bind(self.key(i) if wide else self._bare_key(i), "key")
            with code.when(tirx.LT(key, last.at(0))):
                self.put(held.at(0), key if wide else with_place(key, i), i)
                code.store(held, 0, held.at(0) + 1)
                with code.when(tirx.EQ(held.at(0), emit.const(spec.room))):
                    settle()

        self.pass_over(spec.room, last, meet)
        self.sort(code.bind(held.at(0), "held"))

    def pass_over(self, start: int, last: Array, meet: Callable[[Index], None]) -> None:
        """Meet elements from `start` on, where vectors tell that some key is before the last."""
        spec, code, lanes = self.spec, self.code, self.lanes
        left = spec.length - start
        vectors = max(1, min(_VECTORS, left // (_OFTEN * spec.kept * lanes)))
        block = vectors * lanes
        blocks = left // block if spec.dtype == "float32" and spec.step == 1 and lanes > 1 else 0
        if blocks:
            with code.loop("block", blocks) as number:
                at = code.bind(start + number * block)
                keys = [self._vector_key(at + k * lanes) for k in range(vectors)]
                least = emit.across(code, code.bind(reduce(tirx.min, keys)), lanes, tirx.min)
                with code.when(tirx.LT(least, last.at(0))), code.loop("i", block) as i:
                    meet(code.bind(at + i))
        with code.loop("i", left - blocks * block, start=start + blocks * block) as i:
            meet(i)

    def _vector_key(self, i: Index) -> Value:
        """The keys of a vector of elements that lie side by side, their places left out."""
        values = self.x.at(self.at + i, self.lanes)
        key = _ordered_float(self.code, values, "int32", self.lanes)
        return tirx.bitwise_not(key) if self.spec.descending else key

    def _bare_key(self, i: Index) -> Value:
        """The key of an element, its place left out: of 32 bits but for wide types."""
        return self.bare(self._element(i))

    def bare(self, element: Value) -> Value:
        """The key of an element without a place."""
        key = ordered(self.code, element, self.spec.dtype)
        return tirx.bitwise_not(key) if self.spec.descending else key

    def high(self, at: Index) -> Value:
        """A held key without its place."""
        return tirx.Cast("int32", tirx.shift_right(self.keys.at(at), tirx.const(32, "int64")))

    def _element(self, i: Index) -> Value:
        return self.x.at(self.at + i * self.spec.step)

    def key(self, i: Index) -> Value:
        """The key of an element, its place below it but for wide types."""
        key = self._bare_key(i)
        return key if self.spots is not None else with_place(key, i)

    def put(self, to: Index, key: Value, place: Index) -> None:
        """Hold a key, and beside it the place of wide ones."""
        self.code.store(self.keys, to, key)
        if self.spots is not None:
            self.code.store(self.spots, to, emit.index(place))

    def spot(self, i: Index) -> Value:
        """The place of the element whose key is held at `i`."""
        if self.spots is not None:
            return self.spots.at(i)
        low = tirx.bitwise_and(self.keys.at(i), tirx.const(0x7FFF_FFFF, "int64"))
        return tirx.Cast("int32", low)

    def _move(self, source: Index, target: Index) -> None:
        self.code.store(self.keys, target, self.keys.at(source))
        if self.spots is not None:
            self.code.store(self.spots, target, self.spots.at(source))

    def sort(self, count: Index, rounds: Index | None = None) -> None:
        """Order the first `count` keys, in so many rounds; they are at `sorted_at` then.

        After another number of rounds than the row's they are at 0 where it is even, else `room`.
        """
        code, room = self.code, self.spec.room
        with code.loop("round", self.spec.rounds if rounds is None else rounds) as number:
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


def with_place(key: Value, i: Index) -> Value:
    """A key of 32 bits with the element's place below it."""
    high = tirx.shift_left(tirx.Cast("int64", key), tirx.const(32, "int64"))
    return tirx.bitwise_or(high, tirx.Cast("int64", emit.index(i)))


def ordered(code: Code, value: Value, dtype: str) -> Value:
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


def _ordered_float(code: Code, value: Value, kind: str, lanes: int = 1) -> Value:
    """A float's size as an integer, with its sign; beyond infinity where it is no number."""

    def number(n: Any) -> Any:
        return emit.splat(tirx.const(n, kind) if isinstance(n, int) else n, lanes)

    bits = code.bind(tirx.reinterpret(emit.typed(kind, lanes), value), "bits")
    size = code.bind(tirx.bitwise_and(bits, number(tirx.max_value(kind))), "size")
    infinite = _INFINITY[kind]
    key = tirx.Select(tirx.LT(bits, number(0)), number(0) - size, size)
    return code.bind(tirx.Select(tirx.GT(size, number(infinite)), number(infinite + 1), key))
