# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false
"""Boxes of which none overlaps a better one of its class: non-maximum suppression.

Candidates are ordered by score, of equal ones the first (sorting.py). One after another is held
against the boxes that are kept already, a vector of them at a time, until enough are kept. Two
overlap by what they share, as a part of what either covers; boxes without an area overlap none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc_targets.kernels.sorting import Row, Sort
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine


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


def listing(name: str, spec: Suppression) -> Any:
    """The kernel (kept, counts, places [rows * most][3], total): (image, class, box) of each, in
    this order; places beyond them are -1."""
    arguments = [
        Argument("kept", (spec.rows * spec.most,), "int32"),
        Argument("counts", (spec.rows,), "int32"),
        Argument("places", (spec.rows * spec.most * 3,), "int64"),
        Argument("total", (1,), "int64"),
    ]

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

    return emit.function(name, arguments, write)


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
        room = -(-spec.most // lanes) * lanes
        names = ("low_y", "low_x", "high_y", "high_x", "area")
        self.held = [code.scratch(room, "float32", name) for name in names]
        with code.loop("i", room) as i:
            for array in self.held:
                code.store(array, i, emit.number(0.0, 1))

    def write(self, kept: Array, counts: Array) -> None:
        """Keep what overlaps nothing better."""
        code, spec = self.code, self.spec
        candidates = self._candidates()
        count = code.local(1, "int32", "count")
        code.store(count, 0, emit.const(0))
        room = tirx.LT(count.at(0), emit.const(spec.most))
        with code.loop("k", candidates) as k, code.when(room):
            spot = code.bind(self.order.spot(self.order.sorted_at + k))
            box = self._box(spot)
            hit = self._overlaps(box, code.bind(count.at(0)))
            with code.when(tirx.EQ(hit.at(0), emit.const(0))):
                for array, value in zip(self.held, box, strict=True):
                    code.store(array, count.at(0), value)
                code.store(kept, self.row * spec.most + count.at(0), spot)
                code.store(count, 0, count.at(0) + 1)
        code.store(counts, self.row, count.at(0))

    def _candidates(self) -> Index:
        """Order what scores enough; how many those are."""
        code, spec = self.code, self.spec
        held = code.local(1, "int32", "held")
        code.store(held, 0, emit.const(0))

        def take(i: Index) -> None:
            self.order.put(held.at(0), self.order.key(i), i)
            code.store(held, 0, held.at(0) + 1)

        def meet(i: Index) -> None:
            enough = emit.number(spec.least or 0.0, 1)
            with code.when(tirx.GT(self.scores.at(self.at + i), enough)):
                take(i)

        if spec.least is None:
            with code.loop("i", spec.boxes) as i:
                take(i)
        else:
            last = code.local(1, "int32", "last")
            code.store(last, 0, self.order.bare(emit.number(spec.least, 1)))
            self.order.pass_over(0, last, meet)
        count = code.bind(held.at(0), "candidates")
        self.order.sort(count)
        return count

    def _box(self, spot: Index) -> list[Value]:
        """Its lower and upper corner, y first, and its area."""
        code, spec = self.code, self.spec
        at = code.bind((emit.div(self.row, spec.classes) * spec.boxes + spot) * 4)
        first, second, third, fourth = (code.bind(self.boxes.at(at + k)) for k in range(4))
        if spec.centred:
            half_x, half_y = (code.bind(size / emit.number(2.0, 1)) for size in (third, fourth))
            corners = [second - half_y, first - half_x, second + half_y, first + half_x]
        else:
            corners = [
                tirx.min(first, third), tirx.min(second, fourth),
                tirx.max(first, third), tirx.max(second, fourth),
            ]  # fmt: skip
        low_y, low_x, high_y, high_x = (code.bind(each) for each in corners)
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
            right, left = _ends(high_x, own[3], low_x, own[1])
            lower, upper = _ends(high_y, own[2], low_y, own[0])
            wide, tall = (code.bind(high - low) for high, low in ((right, left), (lower, upper)))
            both = code.bind(wide * tall)
            whole = code.bind(own[4] + area - both)
            found = tirx.Select(tirx.GT(both / whole, limit), one, none)
            for size in (wide, tall, both, whole, area, own[4]):
                found = tirx.Select(tirx.GT(size, zero), found, none)
            code.store(hit, 0, emit.across(code, code.bind(found), lanes, tirx.max))
        return hit


def _ends(high: Value, other_high: Value, low: Value, other_low: Value) -> tuple[Value, Value]:
    """The end and the start of what two stretches share."""
    end: Value = tirx.min(high, other_high)
    start: Value = tirx.max(low, other_low)
    return end, start
