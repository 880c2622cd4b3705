# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Attention as one operation: softmax of scores between rows and keys, times values.

On processors a task is a member of the batch: its keys and values are packed as the products'
kernels read their right side, then a few rows at a time have their scores computed, made shares
and multiplied by the values, all of it in a workspace that stays in the core's own cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from splitc_targets.graph.expression import Expression
from splitc_targets.kernels.product import direct, geometry, matmul
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.kernels.rows import Row, soften
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, From, Index
from splitc_targets.loops.fused import Operand
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


_TILES = 2
"""Tiles of rows whose scores are held at a time."""


def kernel(name: str, spec: Attention, machine: Machine) -> Any:
    """The kernel of a processor's; distances between columns are 1 but in q, k and v."""
    most = _TILES * geometry.tile_of(_scores(spec, spec.rows, machine), machine).rows
    block = -(-spec.rows // -(-spec.rows // most))
    count = -(-spec.rows // block)
    shares = machine.shares(spec.flops)
    chunks = math.gcd(machine.cores, count) if spec.pairs % machine.cores else 1
    chunks = chunks if shares else 1

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
            shares = code.scratch(count * wide, name="shares")
            q = From(self.q, row * spec.q[-2])
            masks = _below(self.beside, spec.beside, row)
            scores = _scores(spec, count, machine)
            direct.write(code, scores, machine, (q, self.keys, *masks, shares))
            with code.loop("row", count) as r:
                at = code.bind(r * wide)
                soften(Row(code, machine.lanes, spec.keys, at, at), shares, shares)
            ends = _below(self.ends, spec.operands, row)
            y = From(self.y, row * spec.y[-2])
            direct.write(code, _result(spec, count, machine), machine,
                         (shares, self.values, *ends, y))  # fmt: skip


def _below(arrays: Sequence[Array], steps: Sequence[tuple[int, ...]], row: Index) -> list[Array]:
    return [From(array, row * each[-2]) for array, each in zip(arrays, steps, strict=True)]


def _wide(spec: Attention, machine: Machine) -> int:
    """Distance between rows of scores: whole vectors."""
    return -(-spec.keys // machine.lanes) * machine.lanes


def _scores(spec: Attention, rows: int, machine: Machine) -> Conv:
    q, wide = (spec.q[-2], spec.q[-1]), _wide(spec, machine)
    return _product(rows, spec.depth, spec.keys, q, wide, spec.scores, spec.beside, machine)


def _result(spec: Attention, rows: int, machine: Machine) -> Conv:
    x, y = (_wide(spec, machine), 1), spec.y[-2]
    ends = spec.expression, spec.operands
    return _product(rows, spec.keys, spec.width, x, y, *ends, machine)


def _product(
    rows: int, depth: int, columns: int, x: tuple[int, int], y: int,
    expression: Expression, operands: Sequence[tuple[int, ...]], machine: Machine,
) -> Conv:  # fmt: skip
    """A product of matrices as a 1x1 convolution; its tile is that of many rows, for all alike."""
    made = Conv(
        batch=1, height=1, width=rows, channels=depth, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=x[0], x_row=0, x_image=0, x_channel=x[1], y_pixel=y, y_row=0, y_image=0,
        expression=expression,
        operands=tuple(Operand("tensor", steps[-2]) for steps in operands),
    )  # fmt: skip
    many = replace(made, out_width=256)
    return replace(made, tile=geometry.tile_of(many, machine))
