# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""The transforms of Winograd's convolution, as matrices and as code on vectors of channels.

F(m x m, 3 x 3) computes m x m results from n x n inputs, n = m + 2::

    Y = A^T [ (G g G^T) * (B^T d B) ] A        g: 3 x 3, d: n x n, Y: m x m

The points are 0, 1, -1, inf for m = 2 and 0, ±√½, ±√2, inf for m = 4: at 512 channels the
latter's error is a fifth of that of the usual 0, ±1, ±2, and B^T's products are as simple.

With strides of 2 the inputs at even places meet the first and last of three weights, those at odd
places the one between. A row of m = 4 results comes of five even inputs by F(4, 2) at the points
±√½, ±√2, inf, and of four odd ones as they are: nine products for twelve. n is 9 then, and of
nine filters the last four are the same: six by six are kept.

References:
    Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
    arXiv:1509.09308.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.kernels.winograd.form import Form
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Code, Value

_A, _B = math.sqrt(0.5), math.sqrt(2.0)
_POINTS: dict[int, tuple[float, ...]] = {2: (0.0, 1.0, -1.0), 4: (0.0, _A, -_A, _B, -_B)}
"""The finite points; infinity is the last."""
_EVEN_POINTS = (_A, -_A, _B, -_B)
"""Those of the even inputs, with strides of 2."""


def filter_matrix(form: Form) -> np.ndarray[Any, Any]:
    """G, [filters][3]: the filter's polynomial at each point, over the product of distances."""
    points = np.array(_POINTS[form.m] if form.stride == 1 else _EVEN_POINTS)
    rows = [
        np.array([1.0, p, p * p] if form.stride == 1 else [1.0, 0.0, p])
        / np.prod(p - np.delete(points, i))
        for i, p in enumerate(points)
    ]
    last = [np.array([0.0, 0.0, 1.0]), *([np.array([0.0, 1.0, 0.0])] if form.stride == 2 else [])]
    return np.stack([*rows, *last])


@dataclass(frozen=True)
class Arithmetic:
    """Sums and products that are emitted as they are named."""

    code: Code
    lanes: int
    fused: bool

    def add(self, a: Value, b: Value) -> Value:
        """a + b."""
        return self.code.bind(a + b, "t")

    def sub(self, a: Value, b: Value) -> Value:
        """a - b."""
        return self.code.bind(a - b, "t")

    def scale(self, a: Value, factor: float) -> Value:
        """a * factor."""
        return self.code.bind(a * emit.number(factor, self.lanes), "t")

    def mad(self, a: Value, factor: float, b: Value) -> Value:
        """a * factor + b."""
        vector = emit.typed("float32", self.lanes)
        constant = emit.number(factor, self.lanes)
        return self.code.bind(emit.fma(a, constant, b, vector, fused=self.fused), "t")


Read = Callable[[int], Value]


def input_groups(form: Form) -> Sequence[tuple[int, ...]]:
    """Rows of B^T that share terms; each group by itself fits 16 registers, or 32 by strides."""
    if form.stride == 2:
        return ((0, 1), (2, 3), (4,), (5,), (6,), (7,), (8,))
    return ((0,), (1, 2), (3,)) if form.m == 2 else ((0,), (1, 2), (3, 4), (5,))


def input_rows(do: Arithmetic, form: Form, group: tuple[int, ...], d: Read) -> list[Value]:
    """The group's rows of B^T d, d being read by position."""
    if form.stride == 2:
        return _strided_input_rows(do, group, d)
    if form.m == 2:
        if group == (1, 2):
            d1, d2 = d(1), d(2)
            return [do.add(d2, d1), do.sub(d2, d1)]
        return [do.sub(d(2), d(0))] if group == (0,) else [do.sub(d(3), d(1))]
    if group == (0,):
        return [do.mad(d(2), -2.5, do.add(d(0), d(4)))]
    if group == (5,):
        return [do.mad(d(3), -2.5, do.add(d(1), d(5)))]
    other, factor = (-2.0, _A) if group == (1, 2) else (-0.5, _B)
    even = do.mad(d(2), other, d(4))
    odd = do.mad(d(1), other, d(3))
    return [do.mad(odd, factor, even), do.mad(odd, -factor, even)]


def _strided_input_rows(do: Arithmetic, group: tuple[int, ...], d: Read) -> list[Value]:
    if group[0] > 4:
        return [d(2 * (group[0] - 5) + 1)]
    if group == (4,):
        return [do.mad(d(4), -2.5, do.add(d(0), d(8)))]
    other, factor = (-2.0, _A) if group == (0, 1) else (-0.5, _B)
    even = do.mad(d(2), other, d(6))
    odd = do.mad(d(0), other, d(4))
    return [do.mad(odd, factor, even), do.mad(odd, -factor, even)]


def output_groups(form: Form, registers: int) -> Sequence[tuple[int, ...]]:
    """Rows of A^T, together where the registers hold their values at every column."""
    if form.m == 2:
        return ((0, 1),)
    return ((0, 1, 2, 3),) if registers >= 32 and form.stride == 1 else ((0, 2), (1, 3))


def output_rows(do: Arithmetic, form: Form, group: tuple[int, ...], p: Read) -> dict[int, Value]:
    """The group's rows of A^T p."""
    if form.stride == 2:
        return _strided_output_rows(do, group, p)
    if form.m == 2:
        p1, p2 = p(1), p(2)
        return {0: do.add(p(0), do.add(p1, p2)), 1: do.add(p(3), do.sub(p1, p2))}
    p1, p2, p3, p4 = p(1), p(2), p(3), p(4)
    rows: dict[int, Value] = {}
    if 0 in group:
        low, high = do.add(p1, p2), do.add(p3, p4)
        rows[0] = do.add(do.add(p(0), low), high)
        rows[2] = do.mad(high, 2.0, do.scale(low, 0.5))
    if 1 in group:
        low, high = do.scale(do.sub(p1, p2), _A), do.sub(p3, p4)
        rows[1] = do.mad(high, _B, low)
        rows[3] = do.mad(high, 2.0 * _B, do.mad(low, 0.5, p(5)))
    return rows


def _strided_output_rows(do: Arithmetic, group: tuple[int, ...], p: Read) -> dict[int, Value]:
    p0, p1, p2, p3 = p(0), p(1), p(2), p(3)
    rows: dict[int, Value] = {}
    if 0 in group:
        low, high = do.add(p0, p1), do.add(p2, p3)
        rows[0] = do.add(do.add(p(5), low), high)
        rows[2] = do.mad(high, 2.0, do.mad(low, 0.5, p(7)))
    if 1 in group:
        low, high = do.scale(do.sub(p0, p1), _A), do.sub(p2, p3)
        rows[1] = do.mad(high, _B, do.add(low, p(6)))
        rows[3] = do.mad(high, 2.0 * _B, do.mad(low, 0.5, do.add(p(4), p(8))))
    return rows


def transform_input(
    do: Arithmetic, form: Form, group: tuple[int, ...],
    read: Callable[[int, int], Value], write: Callable[[int, int, Value], None],
) -> None:  # fmt: skip
    """The group's rows of B^T d B, one vector of channels, in registers throughout."""
    columns = [input_rows(do, form, group, lambda i, j=j: read(i, j)) for j in range(form.n)]
    for k, row in enumerate(group):
        for across in input_groups(form):
            done = input_rows(do, form, across, lambda j, k=k: columns[j][k])
            for column, value in zip(across, done, strict=True):
                write(row, column, value)


def transform_output(
    do: Arithmetic, form: Form, group: tuple[int, ...],
    read: Callable[[int, int], Value], write: Callable[[int, int, Value], None],
) -> None:  # fmt: skip
    """The group's rows of A^T P A, one vector of channels, in registers throughout."""
    columns = [output_rows(do, form, group, lambda i, j=j: read(i, j)) for j in range(form.n)]
    for row in group:
        whole = tuple(range(form.m))
        done = output_rows(do, form, whole, lambda j, row=row: columns[j][row])
        for column, value in done.items():
            write(row, column, value)
