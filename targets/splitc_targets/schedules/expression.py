# SPDX-License-Identifier: Apache-2.0
"""Elementwise arithmetic as a value: what is fused behind a kernel, or a kernel of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


from splitc_targets.schedules import emit
from splitc_targets.schedules.emit import Code, Value


@dataclass(frozen=True)
class Arg:
    """The kernel's operand of that number."""

    index: int


@dataclass(frozen=True)
class Num:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Do:
    """An operation on expressions; `op` is a key of `OPS`."""

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
    return any(name in ("exp", "tanh", "erf", "sigmoid") for name in operations(expression))


def substitute(expression: Expression, arg: Callable[[int], Expression]) -> Expression:
    """The expression with every operand replaced."""
    if isinstance(expression, Arg):
        return arg(expression.index)
    if isinstance(expression, Num):
        return expression
    return Do(expression.op, tuple(substitute(each, arg) for each in expression.args))


def evaluate(
    code: Code, expression: Expression, operand: Callable[[int], Value], lanes: int
) -> Value:
    """Emit an expression on vectors; each operation's result is named once."""
    known: dict[Expression, Value] = {}

    def value(of: Expression) -> Value:
        if of not in known:
            if isinstance(of, Arg):
                known[of] = code.bind(operand(of.index), "x")
            elif isinstance(of, Num):
                known[of] = emit.number(of.value, lanes)
            else:
                known[of] = code.bind(OPS[of.op](code, lanes, *map(value, of.args)), of.op)
        return known[of]

    return value(expression)


Emit = Callable[..., Value]


def _num(value: float, lanes: int) -> Value:
    return emit.number(value, lanes)


def _poly(x: Value, coefficients: Sequence[float], lanes: int) -> Value:
    """Horner's scheme, highest power first."""
    result = _num(coefficients[0], lanes)
    for coefficient in coefficients[1:]:
        result = result * x + _num(coefficient, lanes)
    return result


def _clamp(x: Value, low: float, high: float, lanes: int) -> Value:
    """x within bounds; not-a-number stays so (the comparison with it is false)."""
    above = emit.tirx.max(_num(low, lanes), x)
    return emit.tirx.min(_num(high, lanes), above)


def _power_of_two(n: Value, lanes: int) -> Value:
    whole = emit.tirx.Cast(emit.typed("int32", lanes), n)
    biased = whole + emit.number(127, lanes, "int32")
    bits = emit.tirx.shift_left(biased, emit.number(23, lanes, "int32"))
    return emit.tirx.reinterpret(emit.typed("float32", lanes), bits)


_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)


def exp(code: Code, lanes: int, x: Value) -> Value:
    """e to the x, about 1 ulp, over all of fp32 (Cephes' expf, scaled in two steps)."""
    inside = code.bind(_clamp(x, -104.0, 89.0, lanes), "inside")
    n = code.bind(emit.tirx.floor(inside * _num(math.log2(math.e), lanes) + _num(0.5, lanes)), "n")
    r = inside + n * _num(-0.693359375, lanes)
    r = code.bind(r + n * _num(2.12194440e-4, lanes), "r")
    y = _poly(r, _EXP, lanes) * (r * r) + r + _num(1.0, lanes)
    half = code.bind(emit.tirx.floor(n * _num(0.5, lanes)), "half")
    scaled = y * _power_of_two(half, lanes) * _power_of_two(n - half, lanes)
    return emit.tirx.Select(emit.tirx.EQ(x, x), scaled, x)


def exp_of_negative(code: Code, lanes: int, x: Value) -> Value:
    """e to the x where x is at most 0, about 1 ulp; 0 where x is below -87."""
    inside = code.bind(emit.tirx.max(_num(-87.0, lanes), x), "inside")
    n = code.bind(emit.tirx.floor(inside * _num(math.log2(math.e), lanes) + _num(0.5, lanes)), "n")
    r = inside + n * _num(-0.693359375, lanes)
    r = code.bind(r + n * _num(2.12194440e-4, lanes), "r")
    y = _poly(r, _EXP, lanes) * (r * r) + r + _num(1.0, lanes)
    scaled = y * _power_of_two(n, lanes)
    return emit.tirx.Select(emit.tirx.LT(x, _num(-87.0, lanes)), _num(0.0, lanes), scaled)


_TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
     1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)  # fmt: skip
_ERF = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
     -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
     -1.42647390514189e-02),
)  # fmt: skip


def _odd_rational(
    code: Code, lanes: int, x: Value, bound: float,
    parts: tuple[tuple[float, ...], tuple[float, ...]],
) -> Value:  # fmt: skip
    """x P(x²) / Q(x²), saturated beyond `bound`."""
    inside = code.bind(_clamp(x, -bound, bound, lanes), "inside")
    square = code.bind(inside * inside, "square")
    return inside * _poly(square, parts[0], lanes) / _poly(square, parts[1], lanes)


def tanh(code: Code, lanes: int, x: Value) -> Value:
    """Hyperbolic tangent, a few ulp (the minimax rational that Eigen and TVM use)."""
    return _odd_rational(code, lanes, x, 7.90531110763549805, _TANH)


def erf(code: Code, lanes: int, x: Value) -> Value:
    """Error function, absolute error below 1e-6 (the minimax rational that Eigen and TVM use)."""
    return _odd_rational(code, lanes, x, 3.925724783138660, _ERF)


def sigmoid(code: Code, lanes: int, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return _num(1.0, lanes) / (_num(1.0, lanes) + exp(code, lanes, _num(0.0, lanes) - x))


def _three_quarters(code: Code, lanes: int, x: Value) -> Value:
    """x to the 3/4, as local response normalisation asks."""
    root = code.bind(emit.tirx.sqrt(x), "root")
    return root * emit.tirx.sqrt(root)


def _plain(function: Callable[..., Value]) -> Emit:
    def write(code: Code, lanes: int, *args: Value) -> Value:
        return function(*args)

    return write


def _select(code: Code, lanes: int, condition: Value, yes: Value, no: Value) -> Value:
    return emit.tirx.Select(condition, yes, no)


def _leaky(code: Code, lanes: int, x: Value, slope: Value) -> Value:
    zero = _num(0.0, lanes)
    return emit.tirx.Select(emit.tirx.LT(x, zero), x * slope, x)


OPS: dict[str, Emit] = {
    "add": _plain(lambda a, b: a + b),
    "subtract": _plain(lambda a, b: a - b),
    "multiply": _plain(lambda a, b: a * b),
    "divide": _plain(lambda a, b: a / b),
    # The second operand wins where neither is larger, so that not-a-number passes through.
    "maximum": _plain(lambda a, b: emit.tirx.max(b, a)),
    "minimum": _plain(lambda a, b: emit.tirx.min(b, a)),
    "negative": _plain(lambda a: -a),
    "abs": _plain(lambda a: emit.tirx.abs(a)),
    "sqrt": _plain(lambda a: emit.tirx.sqrt(a)),
    "floor": _plain(lambda a: emit.tirx.floor(a)),
    "ceil": _plain(lambda a: emit.tirx.ceil(a)),
    "exp": exp,
    "tanh": tanh,
    "erf": erf,
    "sigmoid": sigmoid,
    "leaky": _leaky,
    "three_quarters": _three_quarters,
}
"""Every operation that kernels can compute on vectors: (code, lanes, operands) -> value."""


def relu(x: Expression) -> Expression:
    """The larger of x and zero."""
    return Do("maximum", (x, Num(0.0)))


def clip(x: Expression, low: float, high: float) -> Expression:
    """x within bounds."""
    bounded = Do("maximum", (x, Num(low))) if low > -math.inf else x
    return Do("minimum", (bounded, Num(high))) if high < math.inf else bounded


