# SPDX-License-Identifier: Apache-2.0
"""Elementwise arithmetic as a value: what is fused behind a kernel, or a kernel of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Arg:
    """The kernel's operand of that number."""

    index: int


@dataclass(frozen=True)
class Num:
    """A constant."""

    value: float
    negative: bool = field(init=False)
    """So that 0 and -0 are two."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "negative", math.copysign(1.0, self.value) < 0)


@dataclass(frozen=True)
class Do:
    """An operation on expressions; `op` is a key of `arithmetic.OPS`."""

    op: str
    args: tuple[Expression, ...]


Expression = Arg | Num | Do


def text(expression: Expression) -> str:
    """The expression in one line, operands as x0, x1, …"""
    if isinstance(expression, Arg):
        return f"x{expression.index}"
    if isinstance(expression, Num):
        return f"{expression.value:g}"
    return f"{expression.op}({', '.join(map(text, expression.args))})"


def operations(expression: Expression) -> list[str]:
    """Names of its operations, innermost first."""
    if not isinstance(expression, Do):
        return []
    return [name for arg in expression.args for name in operations(arg)] + [expression.op]


def heavy(expression: Expression) -> bool:
    """Whether its code is long: it has an exponential or the like."""
    return any(name in _HEAVY for name in operations(expression))


_HEAVY = (
    "exp", "tanh", "erf", "sigmoid", "softplus", "sinh", "cosh", "asinh", "acosh", "atanh", "asin",
    "acos", "atan",
)  # fmt: skip


def substitute(expression: Expression, arg: Callable[[int], Expression]) -> Expression:
    """The expression with every operand replaced."""
    if isinstance(expression, Arg):
        return arg(expression.index)
    if isinstance(expression, Num):
        return expression
    return Do(expression.op, tuple(substitute(each, arg) for each in expression.args))


DOUBLE = frozenset({
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "negative", "abs", "sqrt",
    "floor", "ceil", "round", "larger", "smaller", "power", "sin", "cos", "remainder",
    "floor remainder",
})  # fmt: skip
"""Operations that are computed in float64 too."""

CHOICES = frozenset({
    "equal", "less", "at most", "isnan", "isinf", "isfinite", "and", "or", "xor", "not", "where",
})  # fmt: skip
"""Operations of truth values, which are the numbers 1 and 0; computed in every type."""

DIVISIONS = frozenset({"quotient", "floor quotient", "rest", "floor rest"})
"""Operations of integers that give something for every operand: see `loops.choices`."""

BITS = frozenset({
    "bits and", "bits or", "bits xor", "bits not", "left shift", "right shift",
})  # fmt: skip
"""Operations on the bits of integers; a shift takes every operand, see `loops.choices`."""


def relu(x: Expression) -> Expression:
    """The larger of x and zero."""
    return Do("maximum", (x, Num(0.0)))


def clip(x: Expression, low: float, high: float) -> Expression:
    """x within bounds."""
    bounded = Do("maximum", (x, Num(low))) if low > -math.inf else x
    return Do("minimum", (bounded, Num(high))) if high < math.inf else bounded


@dataclass(frozen=True)
class Clamped:
    """A whole number within bounds: the nearest one to a value, plus a shift, clipped.

    Args:
        value: What is rounded, half to even.
        shift: A whole number that is added to it.
        low, high: The bounds.
    """

    value: Expression
    shift: float
    low: float
    high: float


def clamped(expression: Expression) -> Clamped | None:
    """An expression that rounds, adds whole numbers and clips, in whatever order; else None."""
    if not isinstance(expression, Do):
        return None
    if expression.op == "round":
        return Clamped(expression.args[0], 0.0, -math.inf, math.inf)
    if expression.op not in _STEPS or not isinstance(expression.args[1], Num):
        return None
    inner, number = clamped(expression.args[0]), expression.args[1].value
    if inner is None or number != round(number):
        return None
    return _STEPS[expression.op](inner, number)


def _shifted(of: Clamped, by: float) -> Clamped:
    return Clamped(of.value, of.shift + by, of.low + by, of.high + by)


_STEPS: dict[str, Callable[[Clamped, float], Clamped]] = {
    "add": _shifted,
    "subtract": lambda of, by: _shifted(of, -by),
    "maximum": lambda of, low: replace(of, low=max(of.low, low), high=max(of.high, low)),
    "minimum": lambda of, high: replace(of, low=min(of.low, high), high=min(of.high, high)),
}
"""Of an operation with a number on the right: what it makes of a whole number within bounds."""


def in_few_steps(expression: Expression, whole: Collection[int] = ()) -> Expression:
    """The same value: what is rounded clipped by one pair of bounds, whole numbers added at once.

    Between conversions to bytes and back a network adds zero points and takes them off again.

    Args:
        expression: Computed in float32.
        whole: Operands that are bytes, whose sums with small whole numbers are exact.
    """
    if not isinstance(expression, Do):
        return expression
    ends = clamped(expression)
    if ends is not None and -_EXACT < ends.low <= ends.high < _EXACT and abs(ends.shift) < _EXACT:
        made = Do("round", (in_few_steps(ends.value, whole),))
        return _plus(clip(made, ends.low - ends.shift, ends.high - ends.shift), ends.shift)
    source, number = _moved(expression)
    if isinstance(source, Arg) and source.index in whole and abs(number) < _EXACT:
        return _plus(source, number)
    return Do(expression.op, tuple(in_few_steps(arg, whole) for arg in expression.args))


_EXACT = 2.0**20
"""Whole numbers below which sums of a few are exact in float32."""


def _plus(expression: Expression, number: float) -> Expression:
    return Do("add", (expression, Num(number))) if number else expression


def _moved(expression: Expression) -> tuple[Expression, float]:
    """What small whole numbers are added to, and their sum."""
    match expression:
        case Do("add", (inner, Num(value=by))) if by == round(by) and abs(by) < _EXACT:
            source, number = _moved(inner)
            return source, number + by
        case Do("subtract", (inner, Num(value=by))) if by == round(by) and abs(by) < _EXACT:
            source, number = _moved(inner)
            return source, number - by
        case _:
            return expression, 0.0
