# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one kernel: no score leaves the multiprocessor.

A block has a tile of rows and passes over the keys, some at a time: their scores, what becomes of
them, and their share of the values. A row's largest score so far is kept; where a larger one
comes, what was summed before shrinks by what the largest grew (online softmax).

References:
    Dao et al., "FlashAttention", NeurIPS 2022, arXiv:2205.14135, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from splitc_targets.gpu.device import BLOCK_SHARED_BYTES, Device
from splitc_targets.gpu.loops.arithmetic import finished, largest
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel, where
from splitc_targets.kernels.attention import Attention, parameters
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

THREADS, LANES = 128, 8
"""Threads of a block, and those of them that share a row."""
KEYS = 32
"""Keys that are passed over at a time."""
_OWN = KEYS // LANES
LARGEST = 240
"""Columns of rows and of values up to which a block has room for one row of each thread's."""


def rows_of(spec: Attention, device: Device) -> int:
    """Rows of each thread, as many as fit in shared memory and leave no multiprocessor idle."""
    fit = [own for own in (4, 2, 1) if 4 * sum(_sizes(spec, own)) <= BLOCK_SHARED_BYTES]

    def cycles(own: int) -> float:
        blocks = spec.pairs * -(-spec.rows // (own * THREADS // LANES))
        loads = (own * _OWN + own + _OWN) / (own * _OWN)
        return max(1.0, blocks / device.units) * own * loads

    return min(fit, key=cycles)


def _sizes(spec: Attention, own: int) -> tuple[int, int, int, int]:
    """Elements of rows, of keys or values, of shares, and of largest scores in shared memory."""
    rows = own * THREADS // LANES
    return (
        rows * (spec.depth + 1), KEYS * max(spec.depth + 1, _wide(spec)), rows * (KEYS + 1),
        rows * LANES,
    )  # fmt: skip


def _wide(spec: Attention) -> int:
    """Columns of the values, whole ones for every lane."""
    return -(-spec.width // LANES) * LANES


def attention_kernel(name: str, spec: Attention, device: Device) -> Kernel:
    """The kernel (q, k, v, beside…, operands…, y)."""
    own = rows_of(spec, device)
    blocks = spec.pairs * -(-spec.rows // (own * THREADS // LANES))

    def write(code: Threads, *arrays: Array) -> None:
        _Block(code, spec, own, arrays).write()

    return kernel(name, parameters(spec), blocks, THREADS, write)


class _Block:
    def __init__(self, code: Threads, spec: Attention, own: int, arrays: Sequence[Array]) -> None:
        self.code, self.spec, self.own = code, spec, own
        self.rows = own * THREADS // LANES
        self.q, self.k, self.v, *rest = arrays
        self.beside, self.ends = rest[: len(spec.beside)], rest[len(spec.beside) : -1]
        self.y = rest[-1]
        self.across = _wide(spec) // LANES
        tiles = -(-spec.rows // self.rows)
        self.row0 = code.bind(emit.mod(code.block, tiles) * self.rows, "row0")
        self.digits = self._digits(emit.div(code.block, tiles))
        self.lane = code.bind(emit.mod(code.thread, LANES), "lane")
        self.line = code.bind(emit.div(code.thread, LANES) * own, "line")
        sizes = zip(_sizes(spec, own), ("rows", "keys", "shares", "tops"), strict=True)
        self.left, self.right, self.shares, self.tops = (code.shared(n, name=s) for n, s in sizes)
        self.scores = code.local(own * _OWN, name="score")
        self.sums = code.local(own * self.across, name="sum")
        self.top = code.local(own, name="top")
        self.total = code.local(own, name="total")

    def _digits(self, pair: Index) -> list[Index]:
        """The place in each batch dimension."""
        found: list[Index] = []
        for size in reversed(self.spec.batch):
            found.append(self.code.bind(emit.mod(pair, size), "digit"))
            pair = emit.div(pair, size)
        return found[::-1]

    def _base(self, steps: tuple[int, ...]) -> Index:
        """Where a tensor's matrix of this block begins."""
        place: Index = 0
        for digit, step in zip(self.digits, steps[:-2], strict=True):
            place = place + digit * step
        return self.code.bind(place, "base")

    def write(self) -> None:
        """The whole kernel."""
        code, spec = self.code, self.spec
        for array, start in ((self.sums, 0.0), (self.top, -math.inf), (self.total, 0.0)):
            for cell in range(int(array.buffer.shape[0])):
                code.store(array, cell, tirx.const(start, "float32"))
        *_, down, along = spec.q
        self._bring(
            self.q, self._base(spec.q), (down, along), self.left, spec.depth + 1,
            (self.rows, spec.depth), (self.row0, spec.rows), spec.depth,
        )  # fmt: skip
        bases = self._base(spec.k), self._base(spec.v)
        with code.loop("tile", -(-spec.keys // KEYS)) as tile:
            key0 = code.bind(tile * KEYS, "key0")
            code.meet()
            *_, along, down = spec.k
            self._bring(
                self.k, bases[0], (down, along), self.right, spec.depth + 1,
                (KEYS, spec.depth), (key0, spec.keys), spec.depth,
            )  # fmt: skip
            code.meet()
            self._score(key0)
            code.meet()
            *_, down, along = spec.v
            self._bring(
                self.v, bases[1], (down, along), self.right, _wide(spec),
                (KEYS, _wide(spec)), (key0, spec.keys), spec.width,
            )  # fmt: skip
            self._share()
            code.meet()
            self._sum()
        self._store()

    def _bring(
        self, source: Array, base: Index, steps: tuple[int, int], target: Array, pitch: int,
        size: tuple[int, int], rows: tuple[Index, int], columns: int,
    ) -> None:  # fmt: skip
        """Lay a piece of a matrix into shared memory; what lies beyond the matrix is 0.

        Args:
            source, base, steps: The matrix: where it begins, and distances down and along it.
            target, pitch: Where to, and the distance between rows there.
            size: Rows and columns of the piece.
            rows: Its first row, and how many the matrix has.
            columns: How many columns the matrix has.
        """
        code = self.code
        cells = size[0] * size[1]
        with code.loop("i", -(-cells // THREADS)) as i:
            number = code.bind(i * THREADS + code.thread, "number")
            inside = tirx.LT(number, const(cells)) if cells % THREADS else None
            with where(code, inside):
                if steps[1] <= steps[0]:
                    row, column = emit.div(number, size[1]), emit.mod(number, size[1])
                else:
                    row, column = emit.mod(number, size[0]), emit.div(number, size[0])
                row, column = code.bind(row, "row"), code.bind(column, "column")
                good = tirx.LT(emit.index(rows[0] + row), const(rows[1]))
                if columns < size[1]:
                    good = tirx.And(good, tirx.LT(emit.index(column), const(columns)))
                at = base + (rows[0] + row) * steps[0] + column * steps[1]
                value = tirx.if_then_else(good, source.at(at), tirx.const(0.0, "float32"))
                code.store(target, row * pitch + column, value)

    def _score(self, key0: Index) -> None:
        """Scores of this thread's rows and keys, and each row's largest of them."""
        code, spec, own = self.code, self.spec, self.own
        pitch = spec.depth + 1
        for cell in range(own * _OWN):
            code.store(self.scores, cell, tirx.const(0.0, "float32"))
        with code.loop("d", spec.depth) as d:
            rows = [code.bind(self.left.at((self.line + i) * pitch + d), "a") for i in range(own)]
            keys = [
                code.bind(self.right.at((self.lane + LANES * j) * pitch + d), "b")
                for j in range(_OWN)
            ]
            for cell in range(own * _OWN):
                product = rows[cell // _OWN] * keys[cell % _OWN]
                code.store(self.scores, cell, self.scores.at(cell) + product)
        bases = [self._base(steps) for steps in spec.beside]
        for i in range(own):
            row = code.bind(self.row0 + self.line + i, "row")
            for j in range(_OWN):
                self._end_score(i * _OWN + j, row, code.bind(key0 + self.lane + LANES * j), bases)
            best = self.scores.at(i * _OWN)
            for j in range(1, _OWN):
                best = code.bind(largest(best, self.scores.at(i * _OWN + j)), "best")
            code.store(self.tops, (self.line + i) * LANES + self.lane, best)

    def _end_score(self, cell: int, row: Index, key: Index, bases: list[Index]) -> None:
        """What becomes of a score; beyond the last row and key none has any weight."""
        code, spec = self.code, self.spec
        plain = code.bind(self.scores.at(cell), "plain")
        code.store(self.scores, cell, tirx.const(-math.inf, "float32"))
        inside = tirx.And(
            tirx.LT(emit.index(row), const(spec.rows)), tirx.LT(emit.index(key), const(spec.keys))
        )

        def read(number: int) -> Value:
            if number == 0:
                return plain
            *_, down, along = spec.beside[number - 1]
            place = bases[number - 1] + row * down + key * along
            return self.beside[number - 1].at(place)

        with code.when(inside):
            score = finished(code, spec.scores, read, "float32")
            if spec.guarded:
                # What is no number is the largest too: so it stays, whatever it is compared with.
                most, score = tirx.const(math.inf, "float32"), code.bind(score, "score")
                score = tirx.Select(tirx.LT(score, most), score, most)
            code.store(self.scores, cell, score)

    def _share(self) -> None:
        """Scores as exponentials below the largest so far, and earlier sums below it too."""
        code = self.code
        lowest = tirx.const(-math.inf, "float32")
        for i in range(self.own):
            line = code.bind(self.line + i, "line")
            top = self.top.at(i)
            for lane in range(LANES):
                top = code.bind(largest(top, self.tops.at(line * LANES + lane)), "largest")
            # Nothing is below -infinity: a row that has met nothing else keeps sums of 0.
            shift = code.bind(
                tirx.Select(tirx.EQ(top, lowest), tirx.const(0.0, "float32"), top), "shift"
            )
            less = code.bind(self._power(self.top.at(i) - shift, top), "less")
            code.store(self.top, i, top)
            code.store(self.total, i, self.total.at(i) * less)
            for j in range(self.across):
                cell = i * self.across + j
                code.store(self.sums, cell, self.sums.at(cell) * less)
            for j in range(_OWN):
                share = self._power(self.scores.at(i * _OWN + j) - shift, top)
                code.store(self.shares, line * (KEYS + 1) + self.lane + LANES * j, share)

    def _power(self, below: Value, top: Value) -> Value:
        """The exponential of what lies below a row's largest score; of rows that have no result,
        for those that give zeros then, 0."""
        power = tirx.exp(below)
        if not self.spec.guarded:
            return power
        some = tirx.LT(top, tirx.const(math.inf, "float32"))
        return tirx.Select(some, power, tirx.const(0.0, "float32"))

    def _sum(self) -> None:
        """The keys' share of the values."""
        code = self.code
        with code.loop("c", KEYS) as c:
            values = [
                code.bind(self.right.at(c * _wide(self.spec) + self.lane + LANES * j), "value")
                for j in range(self.across)
            ]
            for i in range(self.own):
                share = code.bind(self.shares.at((self.line + i) * (KEYS + 1) + c), "share")
                code.store(self.total, i, self.total.at(i) + share)
                for j, value in enumerate(values):
                    cell = i * self.across + j
                    code.store(self.sums, cell, self.sums.at(cell) + share * value)

    def _store(self) -> None:
        code, spec = self.code, self.spec
        base, bases = self._base(spec.y), [self._base(steps) for steps in spec.operands]
        *_, down, along = spec.y
        for i in range(self.own):
            row = code.bind(self.row0 + self.line + i, "row")
            with code.when(tirx.LT(emit.index(row), const(spec.rows))):
                for j in range(self.across):
                    column = code.bind(self.lane + LANES * j, "column")
                    inside = tirx.LT(emit.index(column), const(spec.width))
                    with where(code, None if spec.width % LANES == 0 else inside):
                        total = self.total.at(i)
                        if spec.guarded:
                            # Sums of shares that are all 0, which infinite values do not leave 0.
                            some = tirx.LT(tirx.const(0.0, "float32"), total)
                            total = tirx.Select(some, total, tirx.const(1.0, "float32"))
                        value = code.bind(self.sums.at(i * self.across + j) / total)
                        ended = self._ended(value, row, column, bases)
                        code.store(self.y, base + row * down + column * along, ended)

    def _ended(self, value: Value, row: Index, column: Index, bases: list[Index]) -> Value:
        def read(number: int) -> Value:
            if number == 0:
                return value
            *_, down, along = self.spec.operands[number - 1]
            place = bases[number - 1] + row * down + column * along
            return self.ends[number - 1].at(place)

        return finished(self.code, self.spec.expression, read, "float32")
