# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Boxes of which none overlaps a better one of its class, a block a class of an image.

Boxes come in the order of their scores, a thread a box. Those of a block's threads are first held
against the boxes that are kept already, which pass through shared memory; then one after another
is kept unless a better one overlaps it, and drops those behind it that it overlaps. Arithmetic is
the processors', each step rounded: they keep the same boxes.
"""

from __future__ import annotations

import math

from splitc_targets.gpu.kernels.rows import Rows
from splitc_targets.gpu.loops.exact import times
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.kernels.sorting import Result, Sort
from splitc_targets.kernels.suppression import Suppression, corners, ends, listing_parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Index, Value, const, tirx

THREADS = 256
_PARTS = 5
"""Numbers that describe a box: the lower corner's y and x, the upper one's, the area."""


def in_order(spec: Suppression) -> Sort:
    """Places of each class's boxes in the order of their scores, of equal ones the first."""
    places = Result("places", "int32", 1, (spec.boxes,))
    rows = ((spec.rows, spec.boxes),)
    return Sort("float32", spec.boxes, 1, rows, spec.boxes, True, (places,))


def suppression_kernel(name: str, spec: Suppression) -> Kernel:
    """The kernel (boxes, scores, places in order, places that are kept, how many)."""
    arguments = [
        Argument("boxes", (spec.batch * spec.boxes * 4,)),
        Argument("scores", (spec.rows * spec.boxes,)),
        Argument("order", (spec.rows * spec.boxes,), "int32"),
        Argument("kept", (spec.rows * spec.most,), "int32"),
        Argument("counts", (spec.rows,), "int32"),
    ]

    def write(
        code: Threads, boxes: Array, scores: Array, order: Array, kept: Array, counts: Array
    ) -> None:
        one = _Class(code, spec, boxes, kept)
        with code.loop("tile", -(-spec.boxes // THREADS)) as tile:
            one.pass_over(tile * THREADS, scores, order)
        with code.when(tirx.EQ(code.thread, const(0))):
            code.store(counts, code.block, one.count.at(0))

    return kernel(name, arguments, spec.rows, THREADS, write)


class _Class:
    """A block's class. Every thread counts what is kept; `place` and `alive` are a thread's own."""

    def __init__(self, code: Threads, spec: Suppression, boxes: Array, kept: Array) -> None:
        self.code, self.spec, self.boxes, self.kept = code, spec, boxes, kept
        self.at = code.bind(code.block * spec.boxes, "row")
        self.better = code.shared(_PARTS * THREADS, name="better")
        self.tile = code.shared(_PARTS * THREADS, name="tile")
        self.spots = code.shared(THREADS, "int32", "spots")
        self.left = code.shared(THREADS, "int32", "left")
        self.count, self.place, self.alive = (
            code.local(1, "int32", name) for name in ("count", "place", "alive")
        )
        code.store(self.count, 0, const(0))

    def pass_over(self, start: Index, scores: Array, order: Array) -> None:
        """Keep what is to be kept of the next boxes in order, one for each thread."""
        self._take(start, scores, order)
        own = self._box(self.place.at(0))
        self._drop_by_kept(own)
        self._hold(self.tile, own)
        self.code.store(self.spots, self.code.thread, self.place.at(0))
        self.code.store(self.left, self.code.thread, self.alive.at(0))
        self.code.meet()
        self._keep_in_turn(start, own)

    def _room(self) -> Value:
        return tirx.LT(self.count.at(0), const(self.spec.most))

    def _take(self, start: Index, scores: Array, order: Array) -> None:
        """A thread's box, if there is one and its score will do."""
        code, spec = self.code, self.spec
        i = code.bind(start + code.thread, "i")
        code.store(self.alive, 0, const(0))
        code.store(self.place, 0, const(0))
        inside = tirx.And(tirx.LT(emit.index(i), const(spec.boxes)), self._room())
        with code.when(inside):
            code.store(self.place, 0, order.at(self.at + i))
            if spec.least is None:
                code.store(self.alive, 0, const(1))
                return
            score = scores.at(self.at + self.place.at(0))
            enough = tirx.GT(score, tirx.const(spec.least, "float32"))
            code.store(self.alive, 0, tirx.Cast("int32", enough))

    def _drop_by_kept(self, own: list[Value]) -> None:
        """Drop a thread's box where one that was kept before overlaps it.

        A thread reads again only those of the kept places that it has written itself.
        """
        code = self.code
        count = code.bind(self.count.at(0), "before")
        some = tirx.Select(self._room(), emit.div(count + (THREADS - 1), THREADS), const(0))
        with code.loop("part", code.bind(some, "parts")) as part:
            first = code.bind(part * THREADS, "first")
            mine = code.bind(first + code.thread, "mine")
            code.meet()
            with code.when(tirx.LT(mine, count)):
                spot = code.bind(self.kept.at(code.block * self.spec.most + mine), "spot")
                self._hold(self.better, self._box(spot))
            code.meet()
            held = code.bind(emit.least(count - first, const(THREADS)), "held")
            with code.loop("k", held) as k, code.when(tirx.EQ(self.alive.at(0), const(1))):
                self._drop(own, self.better, k)

    def _keep_in_turn(self, start: Index, own: list[Value]) -> None:
        """Keep one of the block's boxes after another that is left when its turn comes."""
        code, spec = self.code, self.spec
        here = emit.least(const(spec.boxes) - start, const(THREADS))
        with code.loop("turn", code.bind(tirx.Select(self._room(), here, const(0)))) as turn:
            left = tirx.EQ(self.left.at(turn), const(1))
            with code.when(code.bind(tirx.And(left, self._room()), "keeps")):
                count = code.bind(self.count.at(0), "next")
                with code.when(tirx.EQ(emit.mod(count, THREADS), code.thread)):
                    code.store(self.kept, code.block * spec.most + count, self.spots.at(turn))
                code.store(self.count, 0, count + 1)
                behind = tirx.LT(emit.index(turn), code.thread)
                with code.when(tirx.And(behind, tirx.EQ(self.alive.at(0), const(1)))):
                    self._drop(own, self.tile, turn)
                    code.store(self.left, code.thread, self.alive.at(0))
            code.meet()

    def _hold(self, array: Array, box: list[Value]) -> None:
        """Put a thread's box into shared memory."""
        for part, value in enumerate(box):
            self.code.store(array, part * THREADS + self.code.thread, value)

    def _box(self, spot: Value) -> list[Value]:
        """Its lower and upper corner, y first, and its area."""
        code, spec = self.code, self.spec
        image = code.bind(emit.div(code.block, spec.classes), "image")
        at = code.bind((image * spec.boxes + spot) * 4, "box")
        low_y, low_x, high_y, high_x = corners(code, self.boxes, at, centred=spec.centred)
        area = code.bind(times(high_x - low_x, high_y - low_y), "area")
        return [low_y, low_x, high_y, high_x, area]

    def _drop(self, own: list[Value], others: Array, k: Index) -> None:
        """Drop a thread's box where one in shared memory overlaps it."""
        code = self.code
        low_y, low_x, high_y, high_x, area = (
            code.bind(others.at(part * THREADS + k)) for part in range(_PARTS)
        )
        right, left = ends(high_x, own[3], low_x, own[1])
        lower, upper = ends(high_y, own[2], low_y, own[0])
        wide, tall = code.bind(right - left), code.bind(lower - upper)
        both = code.bind(times(wide, tall), "both")
        whole = code.bind(own[4] + area - both, "whole")
        found = tirx.GT(both / whole, tirx.const(self.spec.overlap, "float32"))
        for size in (wide, tall, both, whole, area, own[4]):
            found = tirx.And(found, tirx.GT(size, tirx.const(0.0, "float32")))
        with code.when(found):
            code.store(self.alive, 0, const(0))


def listing_kernel(name: str, spec: Suppression) -> Kernel:
    """The kernel (kept, counts, places, total), a block a class: (image, class, box) of each."""
    threads = min(THREADS, max(32, 1 << (max(spec.most, spec.rows) - 1).bit_length()))

    def write(code: Threads, kept: Array, counts: Array, places: Array, total: Array) -> None:
        rows = Rows(code, spec.rows, threads, "int32")
        count = code.bind(counts.at(code.block), "count")

        def before(row: Index) -> Value:
            return tirx.Select(tirx.LT(emit.index(row), code.block), counts.at(row), const(0))

        start = code.bind(rows.total(const(0), _add, before), "start")
        every = code.bind(rows.total(const(0), _add, counts.at), "all")
        with code.loop("i", math.ceil(spec.most / threads)) as turn:
            k = code.bind(turn * threads + code.thread, "k")
            number = code.bind(code.block * spec.most + k, "number")
            with code.when(tirx.LT(k, const(spec.most))):
                with code.when(tirx.LE(every, number)):
                    _put(code, places, number, [const(-1)] * 3)
                with code.when(tirx.LT(k, count)):
                    image, kind = (of(code.block, spec.classes) for of in (emit.div, emit.mod))
                    _put(code, places, start + k, [image, kind, kept.at(number)])
        first = tirx.And(tirx.EQ(code.block, const(0)), tirx.EQ(code.thread, const(0)))
        with code.when(first):
            code.store(total, 0, tirx.Cast("int64", every))

    return kernel(name, listing_parameters(spec), spec.rows, threads, write)


def _add(a: Value, b: Value) -> Value:
    return a + b


def _put(code: Threads, places: Array, row: Index, values: list[Index]) -> None:
    at = code.bind(row * 3, "at")
    for number, value in enumerate(values):
        code.store(places, at + number, tirx.Cast("int64", emit.index(value)))
