# SPDX-License-Identifier: Apache-2.0
"""Between which bounds the values of an expression lie, whatever it reads within bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from splitc_targets.graph.expression import Arg, Expression, Num

Array = np.ndarray[Any, Any]
Interval = tuple[Array, Array]
"""The least and the largest of some values, each a number or one a channel."""


def interval(expression: Expression, operands: Sequence[Interval | None]) -> Interval | None:
    """The bounds of an expression, but for rounding; None where it does what is not looked at.

    Args:
        expression: Over the operands.
        operands: Bounds of each; None where they are not known.
    """
    if isinstance(expression, Num):
        return np.asarray(expression.value), np.asarray(expression.value)
    if isinstance(expression, Arg):
        return operands[expression.index]
    args = [interval(arg, operands) for arg in expression.args]
    known = [arg for arg in args if arg is not None]
    if len(known) < len(args) or expression.op not in _OPS:
        return None
    return _OPS[expression.op](*known)


def furthest(of: Interval) -> float:
    """The largest distance from 0."""
    return max(float(np.abs(end).max()) for end in of)


def _product(a: Interval, b: Interval) -> Interval:
    ends = [one * other for one in a for other in b]
    low, high = ends[0], ends[0]
    for end in ends[1:]:
        low, high = np.minimum(low, end), np.maximum(high, end)
    return low, high


def _sum(a: Interval, b: Interval) -> Interval:
    return a[0] + b[0], a[1] + b[1]


def _difference(a: Interval, b: Interval) -> Interval:
    return a[0] - b[1], a[1] - b[0]


def _larger(a: Interval, b: Interval) -> Interval:
    return np.maximum(a[0], b[0]), np.maximum(a[1], b[1])


def _smaller(a: Interval, b: Interval) -> Interval:
    return np.minimum(a[0], b[0]), np.minimum(a[1], b[1])


def _rounded(a: Interval) -> Interval:
    return np.rint(a[0]), np.rint(a[1])


_OPS: dict[str, Callable[..., Interval]] = {
    "add": _sum, "subtract": _difference, "multiply": _product, "maximum": _larger,
    "minimum": _smaller, "round": _rounded,
}  # fmt: skip
