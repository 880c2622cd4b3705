# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false
"""Boxes of which none overlaps a better one of its class: non-maximum suppression.

Candidates come in the order of their scores, of equal ones the first: they are spread over buckets
by parts of the scores' range, and a bucket is ordered (sorting.py) when it is its turn. One after
another is held against the boxes that are kept already, a vector of them at a time, until enough
are kept. Two
overlap by what they share, as a part of what either covers; boxes without an area overlap none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc_targets.kernels.sorting import Row, Sort
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine

_BUCKETS = 1024
"""Parts of the scores' range."""


@dataclass(frozen=True)
class Suppression:
    """One run over all classes of all images.

    Args:
        batch, classes, boxes: Images, classes and boxes of each image.
        most: Boxes kept of a class at most.
        overlap: Boxes that overlap one kept by more are dropped.
        least: Scores have to be above it; None where any will do.
        centred: Whether a box is its centre and size (x, y, width, height), or two opposite
            corners (y, x, y, x).
    """

    batch: int
    classes: int
    boxes: int
    most: int
    overlap: float
    least: float | None
    centred: bool

    @property
    def rows(self) -> int:
        """Classes of all images."""
        return self.batch * self.classes


def kernel(name: str, spec: Suppression, machine: Machine) -> Any:
    """The kernel (boxes [batch][boxes][4], scores [batch][classes][boxes], the places that are
    kept [row][most], how many [row])."""
    arguments = [
        Argument("boxes", (spec.batch * spec.boxes * 4,)),
        Argument("scores", (spec.rows * spec.boxes,)),
        Argument("kept", (spec.rows * spec.most,), "int32"),
        Argument("counts", (spec.rows,), "int32"),
    ]

    def write(code: Code, boxes: Array, scores: Array, kept: Array, counts: Array) -> None:
        work = spec.rows * spec.boxes
        shared = spec.rows > 1 and work > ELEMENTS_WORTH_SHARING and machine.cores > 1
        with code.loop("row", spec.rows, parallel=shared) as row:
            _Class(code, spec, machine.lanes, boxes, scores, row).write(kept, counts)

    return emit.function(name, arguments, write)


def listing_parameters(spec: Suppression) -> list[Argument]:
    """A listing's: what is kept of each row, how many, places [rows * most][3], their number."""
    return [
        Argument("kept", (spec.rows * spec.most,), "int32"),
        Argument("counts", (spec.rows,), "int32"),
        Argument("places", (spec.rows * spec.most * 3,), "int64"),
        Argument("total", (1,), "int64"),
    ]


def listing(name: str, spec: Suppression) -> Any:
    """The kernel (kept, counts, places, total): (image, class, box) of each, in this order; places
    beyond them are -1."""

    def write(code: Code, kept: Array, counts: Array, places: Array, total: Array) -> None:
        with code.loop("i", spec.rows * spec.most * 3) as i:
            code.store(places, i, tirx.const(-1, "int64"))
        held = code.local(1, "int32", "held")
        code.store(held, 0, emit.const(0))
        with code.loop("row", spec.rows) as row, code.loop("k", counts.at(row)) as k:
            to = code.bind(held.at(0) * 3)
            numbers = (emit.div(row, spec.classes), emit.mod(row, spec.classes))
            for place, number in enumerate((*numbers, kept.at(row * spec.most + k))):
                code.store(places, to + place, tirx.Cast("int64", emit.index(number)))
            code.store(held, 0, held.at(0) + 1)
        code.store(total, 0, tirx.Cast("int64", held.at(0)))

    return emit.function(name, listing_parameters(spec), write)


class _Class:
    """One class of one image. Of the boxes kept, corners and areas lie in vectors."""

    def __init__(
        self, code: Code, spec: Suppression, lanes: int, boxes: Array, scores: Array, row: Index
    ) -> None:
        self.code, self.spec, self.lanes = code, spec, lanes
        self.boxes, self.scores, self.row = boxes, scores, row
        self.at = code.bind(row * spec.boxes)
        order = Sort("float32", spec.boxes, 1, ((spec.rows, spec.boxes),), spec.boxes, True, ())
        self.order = Row(code, order, lanes, scores, self.at)
        self.spread = code.scratch(spec.boxes, "int64", "spread")
        room = -(-spec.most // lanes) * lanes
        names = ("low_y", "low_x", "high_y", "high_x", "area")
        self.held = [code.scratch(room, "float32", name) for name in names]
        with code.loop("i", room) as i:
            for array in self.held:
                code.store(array, i, emit.number(0.0, 1))

    def write(self, kept: Array, counts: Array) -> None:
        """Keep what overlaps nothing better."""
        code = self.code
        candidates = self._candidates()
        ends = self._spread(candidates)
        count, start = (code.local(1, "int32", name) for name in ("count", "start"))
        for counter in (count, start):
            code.store(counter, 0, emit.const(0))
        with code.loop("bucket", _BUCKETS) as bucket:
            first, size = code.bind(start.at(0)), code.bind(ends.at(bucket) - start.at(0))
            some = tirx.And(tirx.GT(size, emit.const(0)), self._room(count))
            with code.when(some):
                at = self._ordered(first, size)
                with code.loop("k", size) as k, code.when(self._room(count)):
                    self._hold(code.bind(self.order.spot(at + k)), count, kept)
            code.store(start, 0, ends.at(bucket))
        code.store(counts, self.row, count.at(0))

    def _room(self, count: Array) -> Value:
        return tirx.LT(count.at(0), emit.const(self.spec.most))

    def _hold(self, spot: Index, count: Array, kept: Array) -> None:
        """Keep a box unless it overlaps one that is kept."""
        code = self.code
        box = self._box(spot)
        hit = self._overlaps(box, code.bind(count.at(0)))
        with code.when(tirx.EQ(hit.at(0), emit.const(0))):
            for array, value in zip(self.held, box, strict=True):
                code.store(array, count.at(0), value)
            code.store(kept, self.row * self.spec.most + count.at(0), spot)
            code.store(count, 0, count.at(0) + 1)

    def _candidates(self) -> Index:
        """Gather the keys of what scores enough; how many those are."""
        code, spec = self.code, self.spec
        held = code.local(1, "int32", "held")
        code.store(held, 0, emit.const(0))
        enough = emit.number(spec.least or 0.0, 1)

        def meet(i: Index) -> None:
            """Without a branch: what does not score enough is written over by the next."""
            self.order.put(held.at(0), self.order.key(i), i)
            taken = tirx.Cast("int32", tirx.GT(self.scores.at(self.at + i), enough))
            code.store(held, 0, held.at(0) + (1 if spec.least is None else taken))

        if spec.least is None:
            with code.loop("i", spec.boxes) as i:
                meet(i)
        else:
            last = code.local(1, "int32", "last")
            code.store(last, 0, self.order.bare(enough))
            self.order.pass_over(0, last, meet)
        return code.bind(held.at(0), "candidates")

    def _spread(self, count: Index) -> Array:
        """Put keys into buckets that follow one another, each with the next part of their range;
        gives where each ends. Only those buckets are ordered later that come to be looked at."""
        code, keys, high = self.code, self.order.keys, self.order.high
        low, top, shift = (code.local(1, "int32", name) for name in ("low", "top", "shift"))
        code.store(low, 0, tirx.max_value("int32"))
        code.store(top, 0, tirx.min_value("int32"))
        with code.loop("i", count) as i:
            key = code.bind(high(i))
            code.store(low, 0, tirx.min(low.at(0), key))
            code.store(top, 0, tirx.max(top.at(0), key))
        lowest = code.bind(tirx.Cast("int64", low.at(0)), "lowest")
        span = code.bind(tirx.Cast("int64", top.at(0)) - lowest, "span")
        code.store(shift, 0, emit.const(0))
        with code.loop("bit", 32):
            wide = tirx.shift_right(span, tirx.Cast("int64", shift.at(0)))
            with code.when(tirx.GE(wide, tirx.const(_BUCKETS, "int64"))):
                code.store(shift, 0, shift.at(0) + 1)
        by = code.bind(tirx.Cast("int64", shift.at(0)), "by")

        def bucket(i: Index) -> Index:
            away = tirx.Cast("int64", high(i)) - lowest
            return code.bind(tirx.Cast("int32", tirx.shift_right(away, by)))

        ends = code.scratch(_BUCKETS + 1, "int32", "ends")
        with code.loop("i", _BUCKETS + 1) as i:
            code.store(ends, i, emit.const(0))
        with code.loop("i", count) as i:
            one = bucket(i)
            code.store(ends, one + 1, ends.at(one + 1) + 1)
        with code.loop("i", _BUCKETS) as i:
            code.store(ends, i + 1, ends.at(i + 1) + ends.at(i))
        with code.loop("i", count) as i:
            one = bucket(i)
            to = code.bind(ends.at(one))
            code.store(self.spread, to, keys.at(i))
            code.store(ends, one, to + 1)
        return ends

    def _ordered(self, first: Index, size: Index) -> Index:
        """Order a bucket; where its keys are held then."""
        code = self.code
        rounds = code.local(1, "int32", "rounds")
        code.store(rounds, 0, emit.const(0))
        with code.loop("bit", max(1, self.order.spec.rounds)) as bit:
            more = tirx.LT(tirx.shift_left(emit.const(1), emit.index(bit)), size)
            with code.when(more):
                code.store(rounds, 0, bit + 1)
        with code.loop("i", size) as i:
            code.store(self.order.keys, i, self.spread.at(first + i))
        count = code.bind(rounds.at(0), "rounds")
        self.order.sort(size, count)
        return code.bind(emit.mod(count, 2) * self.order.spec.room, "at")

    def _box(self, spot: Index) -> list[Value]:
        """Its lower and upper corner, y first, and its area."""
        code, spec = self.code, self.spec
        at = code.bind((emit.div(self.row, spec.classes) * spec.boxes + spot) * 4)
        low_y, low_x, high_y, high_x = corners(code, self.boxes, at, centred=spec.centred)
        return [low_y, low_x, high_y, high_x, code.bind((high_x - low_x) * (high_y - low_y))]

    def _overlaps(self, box: list[Value], count: Index) -> Array:
        """Whether a box overlaps one that is kept: 0 where it does not."""
        code, lanes = self.code, self.lanes
        hit = code.local(1, "int32", "hit")
        code.store(hit, 0, emit.const(0))
        none, one = (emit.number(v, lanes, "int32") for v in (0, 1))
        zero, limit = (emit.number(v, lanes) for v in (0.0, self.spec.overlap))
        vectors = code.bind(emit.div(count + (lanes - 1), lanes))
        with code.loop("v", vectors) as v, code.when(tirx.EQ(hit.at(0), emit.const(0))):
            low_y, low_x, high_y, high_x, area = (
                code.bind(array.at(v * lanes, lanes)) for array in self.held
            )
            own = [emit.splat(value, lanes) for value in box]
            right, left = ends(high_x, own[3], low_x, own[1])
            lower, upper = ends(high_y, own[2], low_y, own[0])
            wide, tall = (code.bind(high - low) for high, low in ((right, left), (lower, upper)))
            both = code.bind(wide * tall)
            whole = code.bind(own[4] + area - both)
            found = tirx.Select(tirx.GT(both / whole, limit), one, none)
            for size in (wide, tall, both, whole, area, own[4]):
                found = tirx.Select(tirx.GT(size, zero), found, none)
            code.store(hit, 0, emit.across(code, code.bind(found), lanes, tirx.max))
        return hit


def corners(code: Code, boxes: Array, at: Index, *, centred: bool) -> list[Value]:
    """A box's lower and upper corner, y first.

    Args:
        code: Gets the statements.
        boxes: Memory.
        at: Where its four numbers begin.
        centred: Whether they are its middle and its size, x first, not two corners.
    """
    first, second, third, fourth = (code.bind(boxes.at(at + k)) for k in range(4))
    if centred:
        half_x, half_y = (code.bind(size / emit.number(2.0, 1)) for size in (third, fourth))
        found = [second - half_y, first - half_x, second + half_y, first + half_x]
    else:
        found = [
            tirx.min(first, third), tirx.min(second, fourth),
            tirx.max(first, third), tirx.max(second, fourth),
        ]  # fmt: skip
    return [code.bind(each) for each in found]


def ends(high: Value, other_high: Value, low: Value, other_low: Value) -> tuple[Value, Value]:
    """The end and the start of what two stretches share."""
    end: Value = tirx.min(high, other_high)
    start: Value = tirx.max(low, other_low)
    return end, start
