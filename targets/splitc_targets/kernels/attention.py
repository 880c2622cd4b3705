# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one operation: softmax of scores between rows and keys, times values.

On processors a task is a member of the batch: its keys and values are packed as the products'
kernels read their right side, then a few rows at a time have their scores computed, raised and
multiplied by the values, all of it in a workspace that stays in the core's own cache. A row's
results are divided by the sum of its powers last: there are fewer of them than of scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from splitc_targets.graph.expression import Arg, Do, Expression, substitute
from splitc_targets.kernels.product import direct, geometry, matmul
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.kernels.rows import LOWEST, Row
from splitc_targets.loops import emit
from splitc_targets.loops.arithmetic import power_of_two_below
from splitc_targets.loops.emit import Argument, Array, Code, From, Index, Value
from splitc_targets.loops.fused import SUM, Operand
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Attention:
    """softmax(scores(q k, …)) v, ended by an expression; all in float32.

    Distances are those of every batch dimension, then of rows, then of columns; 0 where an
    element serves a whole dimension.

    Args:
        batch: Sizes of the batch dimensions, heads among them.
        rows: Rows of q and of the result.
        keys: Columns of k, rows of v.
        depth: Elements that a score sums over: columns of q, rows of k.
        width: Columns of v and of the result.
        q, k, v, y: Distances in the tensors; k has a column for each key.
        scores: What becomes of a score; operand 0 is the sum over the depth.
        beside: Distances in its other operands, [batch…, rows, keys].
        expression: What is stored of a result; operand 0 is it.
        operands: Distances in its other operands, [batch…, rows, width].
        guarded: As of `rows.Softmax`.
    """

    batch: tuple[int, ...]
    rows: int
    keys: int
    depth: int
    width: int
    q: tuple[int, ...]
    k: tuple[int, ...]
    v: tuple[int, ...]
    y: tuple[int, ...]
    scores: Expression
    beside: tuple[tuple[int, ...], ...]
    expression: Expression
    operands: tuple[tuple[int, ...], ...]
    guarded: bool = False

    @property
    def pairs(self) -> int:
        """Products of matrices: the members of the batch."""
        return math.prod(self.batch)

    @property
    def flops(self) -> int:
        """Operations of the mathematics, a multiply-add being 2."""
        return self.pairs * self.rows * self.keys * (2 * (self.depth + self.width) + 5)


def parameters(spec: Attention) -> list[Argument]:
    """The kernel's (q, k, v, beside…, operands…, y)."""

    def argument(name: str, steps: tuple[int, ...], rows: int, columns: int) -> Argument:
        sizes = (*spec.batch, rows, columns)
        return Argument(name, (1 + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True)),))

    rows, keys, width = spec.rows, spec.keys, spec.width
    return [
        argument("q", spec.q, rows, spec.depth),
        argument("k", spec.k, spec.depth, keys),
        argument("v", spec.v, keys, width),
        *(argument(f"b{n}", steps, rows, keys) for n, steps in enumerate(spec.beside)),
        *(argument(f"e{n}", steps, rows, width) for n, steps in enumerate(spec.operands)),
        argument("y", spec.y, rows, width),
    ]


def products(spec: Attention, machine: Machine) -> tuple[Conv, Conv]:
    """The two products of one member of the batch, as convolutions of all its rows."""
    return _scores(spec, spec.rows, machine), _result(spec, spec.rows, machine)


_TILES = 4
"""Tiles of rows whose scores are held at a time."""


def kernel(name: str, spec: Attention, machine: Machine) -> Any:
    """The kernel of a processor's.

    Distances between columns are 1, or 0 beside products; in q, k and v any.
    """
    most = _TILES * geometry.tile_of(_scores(spec, spec.rows, machine), machine).rows
    shares = machine.shares(spec.flops)
    chunks = _chunks(spec, machine) if shares else 1
    count = -(-spec.rows // most)
    block = -(-spec.rows // (count + -count % chunks))
    count = -(-spec.rows // block)
    chunks = math.gcd(chunks, count)

    def write(code: Code, *arrays: Array) -> None:
        tasks = spec.pairs * chunks
        with code.loop("task", tasks, parallel=shares and tasks > 1) as task:
            pair = code.bind(emit.div(task, chunks))
            chunk = code.bind(emit.mod(task, chunks))
            of = _Pair(code, spec, replace(machine, cores=1), _parts(code, spec, pair, arrays))
            each = count // chunks
            with code.loop("block", each) as number:
                row = code.bind((chunk * each + number) * block)
                of.block(row, block)

    return emit.function(name, parameters(spec), write)


def _chunks(spec: Attention, machine: Machine) -> int:
    """In how many chunks rows are cut, so that cores share few members of the batch evenly."""
    if spec.pairs >= _MANY * machine.cores:
        return 1
    return machine.cores // math.gcd(machine.cores, spec.pairs)


_MANY = 4
"""Members of the batch for each core from which it does not matter that some have one more."""


def _parts(code: Code, spec: Attention, pair: Index, arrays: Sequence[Array]) -> list[Array]:
    """The arrays from where those of a member of the batch begin."""
    steps = (spec.q, spec.k, spec.v, *spec.beside, *spec.operands, spec.y)
    places: list[Index] = []
    for size in reversed(spec.batch):
        places.insert(0, code.bind(emit.mod(pair, size)))
        pair = code.bind(emit.div(pair, size))
    return [
        From(array, code.bind(sum(n * step for n, step in zip(places, each, strict=False))))
        for array, each in zip(arrays, steps, strict=True)
    ]


class _Pair:
    """One member of the batch: its keys and values packed, and what it does with some rows."""

    def __init__(
        self, code: Code, spec: Attention, machine: Machine, arrays: Sequence[Array]
    ) -> None:
        self.code, self.spec, self.machine = code, spec, machine
        self.q, k, v, *self.beside, self.y = arrays
        self.ends = [self.beside.pop() for _ in spec.operands][::-1]
        scores, result = _scores(spec, 1, machine), _result(spec, 1, machine)
        self.keys = self._packed(scores, spec.k, k)
        self.values = self._packed(result, spec.v, v)

    def _packed(self, conv: Conv, steps: tuple[int, ...], source: Array) -> Array:
        product = geometry.sized(Matmul(conv, 0, steps[-2], steps[-1]), self.machine)
        packed = self.code.scratch(product.conv.w_image, name="packed")
        matmul.pack(self.code, product, self.machine, source, packed)
        return packed

    def block(self, row: Index, count: int) -> None:
        """The results of `count` rows from `row` on, or of as many as there are."""
        rest = self.spec.rows % count
        if not rest:
            self.rows(row, count)
            return
        last = emit.const(self.spec.rows - rest)
        with self.code.when(emit.tirx.LT(emit.index(row), last)):
            self.rows(row, count)
        with self.code.when(emit.tirx.EQ(emit.index(row), last)):
            self.rows(row, rest)

    def rows(self, row: Index, count: int) -> None:
        """The results of `count` rows from `row` on."""
        code, spec, machine = self.code, self.spec, self.machine
        with code.scope():
            wide = _wide(spec, machine)
            powers = code.scratch(count * wide, name="powers")
            tops, shares = (code.scratch(count, name=name) for name in ("tops", "shares"))
            q = From(self.q, row * spec.q[-2])
            masks = _below(self.beside, spec.beside, row)
            scores = _scores(spec, count, machine)
            direct.write(code, scores, machine, (q, self.keys, *masks, powers))
            _raise(code, spec, machine, count, (powers, tops, shares))
            ends = _below(self.ends, spec.operands, row)
            y = From(self.y, row * spec.y[-2])
            result = _result(spec, count, machine)
            direct.write(code, result, machine, (powers, self.values, *ends, shares, y))


def _raise(
    code: Code, spec: Attention, machine: Machine, count: int, arrays: tuple[Array, Array, Array]
) -> None:
    """Scores of some rows as powers of e below the largest of a row, in place.

    Rows are gone over twice, so that what is done to one need not wait for another's last lanes.

    Args:
        code: Gets the statements.
        spec: The attention.
        machine: Its lanes are the rows' vectors.
        count: Rows.
        arrays: Scores; each row's largest, which is written; 1 over its powers' sum, likewise.
    """
    powers, tops, shares = arrays
    lanes, wide = machine.lanes, _wide(spec, machine)
    log2_e = emit.number(math.log2(math.e), lanes)

    def row(r: Index) -> Row:
        at = code.bind(r * wide)
        return Row(code, lanes, spec.keys, at, at)

    with code.loop("row", count) as r:
        at = row(r)

        def score(i: Index, used: int, at: Row = at) -> Value:
            return powers.at(at.x + i, lanes, used)

        code.store(tops, r, at.total(emit.maximum, LOWEST, score))
    with code.loop("row", count) as r:
        at, top = row(r), code.bind(tops.everywhere(r, lanes), "top")

        def power(i: Index, used: int, at: Row = at, top: Value = top) -> Value:
            # Taken off before it is scaled: the least finite number, as masks have it, stays so.
            below = code.bind(powers.at(at.x + i, lanes, used) - top)
            value = code.bind(power_of_two_below(code, lanes, code.bind(below * log2_e)))
            code.store(powers, at.y + i, value, lanes, used)
            return value

        total = at.total(lambda a, b: a + b, 0.0, power)
        share = emit.number(1.0, 1) / total
        if spec.guarded:
            zero = emit.number(0.0, 1)
            # 0 where the sum is not a number.
            none = emit.tirx.EQ(code.bind(emit.largest(zero, total)), zero)
            with code.when(none):
                at.each(lambda i, used: emit.number(0.0, lanes), powers)
            share = emit.tirx.Select(none, zero, share)
        code.store(shares, r, share)


def _below(arrays: Sequence[Array], steps: Sequence[tuple[int, ...]], row: Index) -> list[Array]:
    return [From(array, row * each[-2]) for array, each in zip(arrays, steps, strict=True)]


def _wide(spec: Attention, machine: Machine) -> int:
    """Distance between rows of scores: whole vectors."""
    return -(-spec.keys // machine.lanes) * machine.lanes


def _scores(spec: Attention, rows: int, machine: Machine) -> Conv:
    q, wide = (spec.q[-2], spec.q[-1]), _wide(spec, machine)
    beside = tuple(map(_operand, spec.beside))
    return _product(rows, spec.depth, spec.keys, q, wide, spec.scores, beside, machine)


def _result(spec: Attention, rows: int, machine: Machine) -> Conv:
    """The product of powers and values, whose rows are multiplied by their shares."""
    x, y = (_wide(spec, machine), 1), spec.y[-2]
    share = Arg(1 + len(spec.operands))
    expression = substitute(
        spec.expression, lambda i: Arg(i) if i else Do("multiply", (SUM, share))
    )
    operands = (*map(_operand, spec.operands), Operand("pixel", 1))
    return _product(rows, spec.keys, spec.width, x, y, expression, operands, machine)


def _operand(steps: tuple[int, ...]) -> Operand:
    """What stands beside a product's columns, by its distances."""
    *_, down, along = steps
    if along:
        return Operand("tensor", down)
    return Operand("pixel", down) if down else Operand("scalar")


def _product(
    rows: int, depth: int, columns: int, x: tuple[int, int], y: int,
    expression: Expression, operands: tuple[Operand, ...], machine: Machine,
) -> Conv:  # fmt: skip
    """A product of matrices as a 1x1 convolution."""
    made = Conv(
        batch=1, height=1, width=rows, channels=depth, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=x[0], x_row=0, x_image=0, x_channel=x[1], y_pixel=y, y_row=0, y_image=0,
        expression=expression, operands=operands,
    )  # fmt: skip
    return geometry.in_pieces(made, machine)
