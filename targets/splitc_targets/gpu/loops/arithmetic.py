# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Elementwise arithmetic as a GPU's thread computes it: expressions on scalars.

What a processor's kernels write out as polynomials, the device's own library has.
"""

from __future__ import annotations

from collections.abc import Callable

from splitc_targets.graph.expression import Arg, Expression, Num
from splitc_targets.loops import choices
from splitc_targets.loops.emit import Code, Value, converted, tirx

Emit = Callable[..., Value]

NARROW_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16"})
"""Types that are computed in 32 bits and wrap after each operation: OpenCL chooses of no others."""


def finished(
    code: Code, expression: Expression, operand: Callable[[int], Value], dtype: str,
    floats: str = "float32",
) -> Value:  # fmt: skip
    """An expression's value, converted to an element type.

    Args:
        code: Gets the statements.
        expression: Over operands in the floats it is computed in.
        operand: Gives them.
        dtype: What it is converted to.
        floats: The type it is computed in, integers too.
    """
    known: dict[Expression, Value] = {}
    narrow = floats
    floats = "int32" if narrow in NARROW_INTEGERS else floats

    def wrapped(made: Value) -> Value:
        if narrow == floats:
            return made
        return converted(converted(made, floats, narrow, 1), narrow, floats, 1)

    def value(of: Expression) -> Value:
        if of not in known:
            if isinstance(of, Arg):
                known[of] = code.bind(converted(operand(of.index), narrow, floats, 1), "x")
            elif isinstance(of, Num):
                known[of] = tirx.const(of.value, floats)
            else:
                args = [value(arg) for arg in of.args]
                known[of] = _kept(code, wrapped(_made(code, of.op, floats, args)), floats)
        return known[of]

    return converted(value(expression), floats, dtype, 1)


def _made(code: Code, op: str, dtype: str, args: list[Value]) -> Value:
    if choices.has(op):
        return choices.chosen(op, dtype, 1, lambda value: _kept(code, value, dtype), *args)
    if choices.is_whole(dtype):
        return OF_INTEGERS[op](*args)
    return OPS[op](*args) if op in OPS else LONG[op](code, dtype, *args)


def _kept(code: Code, value: Value, dtype: str) -> Value:
    """A value in a register of its own, which TVM's simplifier does not look through.

    A chain of operations that each read the one before many times would grow beyond all bounds.
    """
    register = code.local(1, dtype, "kept")
    code.store(register, 0, value)
    return register.at(0)


def _number(value: float, like: Value) -> Value:
    return tirx.const(value, str(like.ty.dtype))


def _not_a_number(x: Value) -> Value:
    """By its bits: TVM's simplifier takes every comparison for one of numbers."""
    wide = str(x.ty.dtype) == "float64"
    bits, whole = ("int64", 0x7FFFFFFFFFFFFFFF) if wide else ("int32", 0x7FFFFFFF)
    infinite = 0x7FF0000000000000 if wide else 0x7F800000
    size = tirx.bitwise_and(tirx.reinterpret(bits, x), tirx.const(whole, bits))
    return tirx.LT(tirx.const(infinite, bits), size)


def larger(a: Value, b: Value) -> Value:
    """The larger; not-a-number where either is."""
    return tirx.Select(tirx.Or(tirx.LT(b, a), _not_a_number(a)), a, b)


def smaller(a: Value, b: Value) -> Value:
    """The smaller; not-a-number where either is."""
    return tirx.Select(tirx.Or(tirx.LT(a, b), _not_a_number(a)), a, b)


def largest(a: Value, b: Value) -> Value:
    """The larger; a where b is not a number."""
    return tirx.Select(tirx.LT(a, b), b, a)


def _sigmoid(x: Value) -> Value:
    one = _number(1.0, x)
    return one / (one + tirx.exp(_number(0.0, x) - x))


def _log1p(code: Code, dtype: str, x: Value) -> Value:
    """log(1 + x), a few ulp: the quotient makes good for what 1 + x rounds off (Kahan)."""
    one = _number(1.0, x)
    u = _kept(code, one + x, dtype)
    apart = _kept(code, u - one, dtype)
    return tirx.Select(tirx.EQ(apart, _number(0.0, x)), x, tirx.log(u) * x / apart)


def _softplus(code: Code, dtype: str, x: Value) -> Value:
    """log(1 + exp(x)) without overflow."""
    zero = _number(0.0, x)
    small = _kept(code, tirx.exp(zero - tirx.abs(x)), dtype)
    return larger(x, zero) + _kept(code, _log1p(code, dtype, small), dtype)


def _atanh(code: Code, dtype: str, x: Value) -> Value:
    """Half the logarithm of (1 + x) / (1 - x), a few ulp near 0 too."""
    size = tirx.abs(x)
    ratio = _kept(code, size * _number(2.0, x) / (_number(1.0, x) - size), dtype)
    half = _kept(code, _log1p(code, dtype, ratio), dtype) * _number(0.5, x)
    return tirx.Select(tirx.LT(x, _number(0.0, x)), _number(-1.0, x) * half, half)


def _sign(x: Value) -> Value:
    zero = _number(0.0, x)
    below = tirx.Select(tirx.LT(x, zero), _number(-1.0, x), x)
    return tirx.Select(tirx.LT(zero, x), _number(1.0, x), below)


def _floor_remainder(x: Value, y: Value) -> Value:
    """What is left of x over y, with the sign of y."""
    rest, zero = tirx.fmod(x, y), _number(0.0, x)
    left, right = (tirx.And(tirx.LT(a, zero), tirx.LT(zero, b)) for a, b in ((rest, y), (y, rest)))
    return tirx.Select(tirx.Or(left, right), rest + y, rest)


def _positive_ends(x: Value) -> Value:
    """x without the sign of -0 and of -infinity, whose roots as powers are positive."""
    zero, lowest = _number(0.0, x), _number(float("-inf"), x)
    return tirx.Select(tirx.Or(tirx.EQ(x, zero), tirx.EQ(x, lowest)), tirx.abs(x), x)


OPS: dict[str, Emit] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    # The second operand is a number: not-a-number passes through.
    "maximum": larger,
    "minimum": smaller,
    "larger": larger,
    "smaller": smaller,
    "negative": lambda a: _number(0.0, a) - a,
    "abs": tirx.abs,
    "sqrt": tirx.sqrt,
    "floor": tirx.floor,
    "ceil": tirx.ceil,
    "round": tirx.nearbyint,
    "power": tirx.pow,
    "sin": tirx.sin,
    "cos": tirx.cos,
    "exp": tirx.exp,
    "log": tirx.log,
    "sign": _sign,
    "tanh": tirx.tanh,
    "sinh": tirx.sinh,
    "cosh": tirx.cosh,
    "asinh": tirx.asinh,
    "acosh": tirx.acosh,
    "tan": tirx.tan,
    "asin": tirx.asin,
    "acos": tirx.acos,
    "atan": tirx.atan,
    "remainder": tirx.fmod,
    "floor remainder": _floor_remainder,
    "erf": tirx.erf,
    "sigmoid": _sigmoid,
    "leaky": lambda x, slope: tirx.Select(tirx.LT(x, _number(0.0, x)), x * slope, x),
    "three_quarters": lambda x: tirx.sqrt(x) * tirx.sqrt(tirx.sqrt(x)),
    "positive_ends": _positive_ends,
}
"""Operations that are an expression of their operands."""

OF_INTEGERS: dict[str, Emit] = {
    **{op: OPS[op] for op in choices.WRAPPING}, "maximum": tirx.max, "minimum": tirx.min,
}  # fmt: skip
"""The same of integers."""

LONG: dict[str, Emit] = {"softplus": _softplus, "atanh": _atanh}
"""Those that keep something on the way: (code, dtype, operands) -> value."""
