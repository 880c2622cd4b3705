# SPDX-License-Identifier: Apache-2.0
"""Attention as one operation: softmax of scores between rows and keys, times values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from splitc_targets.graph.expression import Expression
from splitc_targets.loops.emit import Argument


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
