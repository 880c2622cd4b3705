# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Truth values, choices and arithmetic of integers, in vectors or alone.

A truth value is 1 or 0 of the type that is computed in. What is made here is to be kept in a
register before it is read again: TVM's simplifier takes the negation of x < y for y <= x, which
it is not where either is no number, and takes it that no sum of integers overflows.
"""

from __future__ import annotations

from collections.abc import Callable

from splitc_targets.graph.expression import BITS, CHOICES, DIVISIONS
from splitc_targets.loops.emit import Value, number, tirx, typed

WRAPPING = frozenset({"add", "subtract", "multiply"})
"""Operations whose results, of integers, wrap."""


def chosen(op: str, dtype: str, lanes: int, keep: Callable[[Value], Value], *args: Value) -> Value:
    """What an operation of `CHOICES`, `DIVISIONS` or `BITS` gives.

    Args:
        op: Its name.
        dtype: The type that is computed in.
        lanes: Of every vector.
        keep: Puts a value into a register of its own.
        args: Operands of that type.
    """
    return _Typed(dtype, lanes, keep).of(op, *args)


def has(op: str) -> bool:
    """Whether an operation is one of these."""
    return op in CHOICES or op in DIVISIONS or op in BITS


def is_whole(dtype: str) -> bool:
    """Whether a type is one of integers."""
    return dtype.startswith(("int", "uint"))


class _Typed:
    def __init__(self, dtype: str, lanes: int, keep: Callable[[Value], Value]) -> None:
        self.dtype, self.lanes, self.keep = dtype, lanes, keep

    def of(self, op: str, *args: Value) -> Value:
        if op == "where":
            return tirx.Select(self.holds(args[0]), args[1], args[2])
        if op in ("and", "or", "xor"):
            left, right = map(self.truth, args)
            return _BITS[op](left, right) if is_whole(self.dtype) else self.logic(op, left, right)
        if op in DIVISIONS:
            return self.divided(op, *args)
        if op in BITS:
            return self.shifted(op, *args) if op in _SHIFTS else _OF_BITS[op](*args)
        return self.truth_of(self.tests(op, *args))

    def number(self, value: float, dtype: str = "") -> Value:
        return number(value, self.lanes, dtype or self.dtype)

    def truth_of(self, condition: Value) -> Value:
        return tirx.Select(condition, self.number(1), self.number(0))

    def holds(self, x: Value) -> Value:
        return tirx.NE(x, self.number(0))

    def truth(self, x: Value) -> Value:
        return self.truth_of(self.holds(x))

    def logic(self, op: str, left: Value, right: Value) -> Value:
        if op == "and":
            return tirx.Select(self.holds(left), right, left)
        if op == "or":
            return tirx.Select(self.holds(left), left, right)
        return self.truth_of(tirx.NE(left, right))

    def tests(self, op: str, x: Value, y: Value | None = None) -> Value:
        """A condition on numbers."""
        if op == "not":
            return tirx.EQ(x, self.number(0))
        if op == "isnan":
            return tirx.LT(self.infinite, self.size(x))
        if op == "isinf":
            return tirx.EQ(self.infinite, self.size(x))
        if op == "isfinite":
            return tirx.LT(self.size(x), self.infinite)
        if x is y and not is_whole(self.dtype) and op != "less":
            # TVM's simplifier takes a number to be equal to itself.
            return tirx.LE(self.size(x), self.infinite)
        return {"equal": tirx.EQ, "less": tirx.LT, "at most": tirx.LE}[op](x, y)

    @property
    def bits(self) -> str:
        return "int64" if self.dtype == "float64" else "int32"

    @property
    def infinite(self) -> Value:
        """The bits of infinity."""
        return self.number(0x7FF0 << 48 if self.dtype == "float64" else 0x7F800000, self.bits)

    def size(self, x: Value) -> Value:
        """The bits of a float but for its sign: in the order of floats, not-a-number last."""
        most = self.number((1 << 63 if self.bits == "int64" else 1 << 31) - 1, self.bits)
        return tirx.bitwise_and(tirx.reinterpret(typed(self.bits, self.lanes), x), most)

    def divided(self, op: str, x: Value, y: Value) -> Value:
        """A quotient or what is left: by 0 it is 0, and x less nothing for the least and -1."""
        zero, one, minus = (self.number(each) for each in (0, 1, -1 if self.signed else 1))
        none = tirx.EQ(y, zero)
        turned = tirx.EQ(y, minus)
        # Kept: where a quotient is chosen only of other divisors, TVM would divide by y.
        by = self.keep(tirx.Select(tirx.Or(none, turned), one, y))
        rest = self.keep(tirx.truncmod(x, by))
        left, right = (
            tirx.And(tirx.LT(a, zero), tirx.LT(zero, b)) for a, b in ((rest, by), (by, rest))
        )
        below = tirx.Select(tirx.Or(left, right), one, zero)
        if op == "rest":
            return rest
        if op == "floor rest":
            return rest + below * by if self.signed else rest
        quotient = tirx.truncdiv(x, by)
        if not self.signed:
            return tirx.Select(none, zero, quotient)
        if op == "floor quotient":
            quotient = self.keep(quotient - below)
        return tirx.Select(none, zero, tirx.Select(turned, zero - x, quotient))

    def shifted(self, op: str, x: Value, by: Value) -> Value:
        """x moved by so many bits; by as many as there are or more, or fewer than none, all go.

        What is left then is the sign of what moves right, and else 0.
        """
        zero = none = self.number(0)
        if self.signed and op == "right shift":
            none = self.keep(tirx.Select(tirx.LT(x, zero), self.number(-1), zero))
        width = int(self.dtype.lstrip("uint"))
        # TVM's simplifier takes by < width of unsigned numbers for a difference below zero.
        beyond = self.keep(tirx.bitwise_and(by, tirx.bitwise_not(self.number(width - 1))))
        within = tirx.bitwise_and(by, self.number(width - 1))
        return tirx.Select(tirx.EQ(beyond, zero), _SHIFTS[op](x, within), none)

    @property
    def signed(self) -> bool:
        return self.dtype.startswith("int")


_BITS: dict[str, Callable[[Value, Value], Value]] = {
    "and": tirx.bitwise_and, "or": tirx.bitwise_or, "xor": tirx.bitwise_xor,
}  # fmt: skip

_OF_BITS: dict[str, Callable[..., Value]] = {
    "bits and": tirx.bitwise_and, "bits or": tirx.bitwise_or, "bits xor": tirx.bitwise_xor,
    "bits not": tirx.bitwise_not,
}  # fmt: skip
_SHIFTS: dict[str, Callable[[Value, Value], Value]] = {
    "left shift": tirx.shift_left, "right shift": tirx.shift_right,
}  # fmt: skip
