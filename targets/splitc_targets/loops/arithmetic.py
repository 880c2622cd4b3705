# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Elementwise arithmetic as code: expressions, and exp, log and the like on vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.loops import angles, choices, emit
from splitc_targets.loops.emit import Code, Value


def evaluate(
    code: Code, expression: Expression, operand: Callable[[int], Value], lanes: int,
    dtype: str = "float32",
) -> Value:  # fmt: skip
    """Emit an expression on vectors; each operation's result is named once.

    Args:
        code: Gets the statements.
        expression: Of float64, one whose operations are in `DOUBLE` or `CHOICES`; of integers,
            one of `WRAPPING`, bounds, `DIVISIONS`, `BITS` and `CHOICES`.
        operand: Gives an operand's value.
        lanes: Of every vector.
        dtype: The type it is computed in.
    """
    known: dict[Expression, Value] = {}

    def value(of: Expression) -> Value:
        if of not in known:
            if isinstance(of, Arg):
                known[of] = code.bind(operand(of.index), "x")
            elif isinstance(of, Num):
                known[of] = emit.number(of.value, lanes, dtype)
            elif dtype == "float32" and (gated := _gated(of)) is not None:
                x = kept(code, value(gated), lanes)
                known[of] = kept(code, silu(code, lanes, x), lanes)
            else:
                args = [value(arg) for arg in of.args]
                if choices.has(of.op) or choices.is_whole(dtype):
                    known[of] = _kept_apart(code, of, args, lanes, dtype)
                elif of.op in _LONG:
                    deep = [isinstance(arg, Do) for arg in of.args]
                    args = [
                        kept(code, a, lanes, dtype) if d else a
                        for a, d in zip(args, deep, strict=True)
                    ]
                    known[of] = kept(code, OPS[of.op](code, lanes, *args), lanes, dtype)
                else:
                    if of.op in _SUMS:
                        args = _apart(of, args)
                    known[of] = code.bind(OPS[of.op](code, lanes, *args), of.op)
        return known[of]

    return value(expression)


def _gated(of: Do) -> Expression | None:
    """What an expression is the product of with its own sigmoid, if it is one."""
    if of.op == "multiply":
        for x, bell in (of.args, of.args[::-1]):
            if bell == Do("sigmoid", (x,)):
                return x
    return None


def _kept_apart(code: Code, of: Do, args: Sequence[Value], lanes: int, dtype: str) -> Value:
    """A choice, or one operation of integers, that no simplifier takes for what it is not.

    LLVM takes it that no sum of 32 or 64 bits overflows, and would answer x < x + 1 by that; it
    looks through no fence, which is for floats only.
    """

    def keep(value: Value) -> Value:
        return kept(code, value, lanes, dtype)

    if choices.has(of.op):
        return keep(choices.chosen(of.op, dtype, lanes, keep, *args))
    value = keep(OPS[of.op](code, lanes, *args))
    if of.op not in choices.WRAPPING or not dtype.endswith(("32", "64")):
        return value
    whole, floats = emit.typed(dtype, lanes), emit.typed(f"float{dtype[-2:]}", lanes)
    return emit.tirx.reinterpret(whole, emit.fence(emit.tirx.reinterpret(floats, value)))


_SUMS = ("add", "subtract")
_ROUNDED = (*_SUMS, "multiply")


def _apart(sum_: Do, args: Sequence[Value]) -> list[Value]:
    """A sum's operands such that each operation rounds by itself, as the network has it.

    LLVM would make a product and a sum one instruction with one rounding, so that x y - x y is
    not 0; TVM's simplifier takes x + y - y for x, and x - x for 0 where x is infinite.
    """
    left, right = (
        emit.fence(value) if isinstance(arg, Do) and arg.op in _ROUNDED else value
        for arg, value in zip(sum_.args, args, strict=True)
    )
    return [left, emit.fence(right) if sum_.args[0] == sum_.args[1] else right]


_LONG = frozenset({
    "exp", "log", "sigmoid", "tanh", "erf", "power", "sin", "cos", "leaky", "sign", "softplus",
    "sinh", "cosh", "asinh", "acosh", "atanh", "tan", "asin", "acos", "atan", "remainder",
    "floor remainder", "positive_ends",
})  # fmt: skip
"""Operations that read their operand many times, or choose.

TVM's simplifier fails on the product of a choice and a number in every lane.
"""


def kept(code: Code, value: Value, lanes: int, dtype: str = "float32") -> Value:
    """A value in a register of its own.

    TVM's simplifier writes a named value out wherever it is read: a chain of operations that
    each read the one before many times would grow beyond all bounds.
    """
    register = code.local(lanes, dtype, "kept")
    code.store(register, 0, value, lanes)
    return register.at(0, lanes)


Emit = Callable[..., Value]


def _num(value: float, lanes: int) -> Value:
    return emit.number(value, lanes)


def _clamp(x: Value, low: float, high: float, lanes: int) -> Value:
    """x within bounds; not-a-number stays so (the comparison with it is false)."""
    above = emit.maximum(_num(low, lanes), x)
    return emit.minimum(_num(high, lanes), above)


def _power_of_two(n: Value, lanes: int) -> Value:
    whole = emit.tirx.Cast(emit.typed("int32", lanes), n)
    biased = whole + emit.number(127, lanes, "int32")
    bits = emit.tirx.shift_left(biased, emit.number(23, lanes, "int32"))
    return emit.tirx.reinterpret(emit.typed("float32", lanes), bits)


_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)


def _reduced(code: Code, lanes: int, x: Value) -> tuple[Value, Value]:
    """(y, n) with exp(x) = y * 2^n, y in about [0.7, 1.42] (Cephes' expf)."""
    n = code.bind(emit.tirx.floor(x * _num(math.log2(math.e), lanes) + _num(0.5, lanes)), "n")
    r = x + n * _num(-0.693359375, lanes)
    r = code.bind(r + n * _num(2.12194440e-4, lanes), "r")
    return emit.polynomial(r, _EXP, lanes) * (r * r) + r + _num(1.0, lanes), n


def exp(code: Code, lanes: int, x: Value) -> Value:
    """e to the x, about 1 ulp, over all of fp32: scaled in two steps."""
    y, n = _reduced(code, lanes, code.bind(_clamp(x, -104.0, 89.0, lanes), "inside"))
    half = code.bind(emit.tirx.floor(n * _num(0.5, lanes)), "half")
    scaled = y * _power_of_two(half, lanes) * _power_of_two(n - half, lanes)
    return emit.tirx.Select(emit.tirx.EQ(x, x), scaled, x)


def exp_of_negative(code: Code, lanes: int, x: Value) -> Value:
    """e to the x where x is at most 0, about 1 ulp; 0 where x is below -87."""
    inside = code.bind(emit.maximum(_num(-87.0, lanes), x), "inside")
    y, n = _reduced(code, lanes, inside)
    scaled = y * _power_of_two(n, lanes)
    return emit.tirx.Select(emit.tirx.LT(x, _num(-87.0, lanes)), _num(0.0, lanes), scaled)


_POWER = (1.5353150470e-4, 1.3399133829e-3, 9.6184398717e-3, 5.5503318500e-2,
          2.4022647880e-1, 6.9314720312e-1, 1.0)  # fmt: skip
"""2^r within 2e-9 of it, r from -0.5 to 0.5: least squares with the weights of a minimax fit."""

_WHOLE = 1.5 * 2**23 + 127
"""Added to a small number leaves its nearest whole number and the exponent's bias, as bits."""


def power_of_two_below(code: Code, lanes: int, x: Value) -> Value:
    """2 to the x where x is at most 0, about 1 ulp; 0 where x is below -126."""
    moved = code.bind(emit.fence(x + _num(_WHOLE, lanes)), "moved")
    r = code.bind(x - (moved - _num(_WHOLE, lanes)), "r")
    scaled = emit.polynomial(r, _POWER, lanes) * _scale(moved, lanes)
    return emit.tirx.Select(emit.tirx.LT(x, _num(-126.0, lanes)), _num(0.0, lanes), scaled)


_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip


def log(code: Code, lanes: int, x: Value) -> Value:
    """The natural logarithm, about 1 ulp, over all of fp32 (Cephes' logf)."""
    small = emit.tirx.LT(x, _num(2.0**-126, lanes))
    scaled = code.bind(emit.tirx.Select(small, x * _num(2.0**24, lanes), x), "scaled")
    bits = code.bind(emit.tirx.reinterpret(emit.typed("int32", lanes), scaled), "bits")

    def whole(value: int) -> Value:
        return emit.number(value, lanes, "int32")

    # The exponent such that what is left lies in [sqrt(1/2), sqrt(2)).
    power = code.bind(emit.tirx.shift_right(bits - whole(0x3F3504F3), whole(23)), "power")
    rest = bits - emit.tirx.shift_left(power, whole(23))
    z = emit.tirx.reinterpret(emit.typed("float32", lanes), rest) - _num(1.0, lanes)
    z = code.bind(z, "z")
    n = emit.tirx.Cast(emit.typed("float32", lanes), power)
    n = code.bind(n - emit.tirx.Select(small, _num(24.0, lanes), _num(0.0, lanes)), "n")
    square = code.bind(z * z, "square")
    y = emit.polynomial(z, _LOG, lanes) * (z * square) + n * _num(-2.12194440e-4, lanes)
    y = y - square * _num(0.5, lanes) + z + n * _num(0.693359375, lanes)
    y = emit.tirx.Select(emit.tirx.LT(x, _num(math.inf, lanes)), y, x)
    y = emit.tirx.Select(emit.tirx.EQ(x, _num(0.0, lanes)), _num(-math.inf, lanes), y)
    return emit.tirx.Select(emit.tirx.LT(x, _num(0.0, lanes)), _num(math.nan, lanes), y)


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
    code: Code, lanes: int, x: Value, bound: float, end: float,
    parts: tuple[tuple[float, ...], tuple[float, ...]],
) -> Value:  # fmt: skip
    """x P(x²) / Q(x²), the same beyond `bound`, and 1 or -1 beyond `end`."""
    inside = code.bind(_clamp(x, -bound, bound, lanes), "inside")
    square = code.bind(inside * inside, "square")
    above, below = (emit.polynomial(square, part, lanes) for part in parts)
    value = _quotient(code, lanes, inside * above, below)
    value = emit.tirx.Select(emit.tirx.LT(x, _num(-end, lanes)), _num(-1.0, lanes), value)
    return emit.tirx.Select(emit.tirx.LT(_num(end, lanes), x), _num(1.0, lanes), value)


def tanh(code: Code, lanes: int, x: Value) -> Value:
    """Hyperbolic tangent, a few ulp (the minimax rational that Eigen and TVM use).

    That ends at 1 - 2.4e-7, which a large factor behind it would show: x (1 + tanh(x)).
    """
    return _odd_rational(code, lanes, x, 7.90531110763549805, 8.5, _TANH)


def erf(code: Code, lanes: int, x: Value) -> Value:
    """Error function, absolute error below 1e-6 (the minimax rational that Eigen and TVM use)."""
    return _odd_rational(code, lanes, x, 3.925724783138660, 3.925724783138660, _ERF)


_HALF_WAY = (-0.00276592, 0.16666617, 2.0)
"""r / tanh(r / 2) by powers of r², r as far as log(2) / 2: exp(r) of it within 6e-10 of itself."""


def sigmoid(code: Code, lanes: int, x: Value) -> Value:
    """1 / (1 + exp(-x)), a few ulp; below -88.4 it is 0.

    exp(-x) is 2^n (R - r) / (R + r), where r = x + n log(2) and R = r / tanh(r / 2): one division
    serves both. 2^n is infinite for the last n, and 0 for the first.
    """
    return _bell(code, lanes, _clamp(x, *_BELL, lanes))


_BELL = -89.0, 88.0
"""Where a sigmoid is computed; it is 0 at the one end and 1 at the other."""


def silu(code: Code, lanes: int, x: Value) -> Value:
    """x / (1 + exp(-x)); not-a-number where x is.

    On AArch64 floats are clamped as whole numbers: positive ones lie in order, and all below
    negative ones, which lie in order where they have no sign. Only the factor x is then
    not-a-number.
    """
    if not emit.on_aarch64():
        return x * sigmoid(code, lanes, x)
    inside = x
    for dtype, end in (("int32", _BELL[1]), ("uint32", _BELL[0])):
        whole = emit.tirx.reinterpret(emit.typed(dtype, lanes), inside)
        limit = emit.number(int(np.float32(end).view(dtype)), lanes, dtype)
        least = code.bind(emit.tirx.min(code.bind(whole), limit), "least")
        inside = code.bind(emit.tirx.reinterpret(emit.typed("float32", lanes), least), "inside")
    return x * _bell(code, lanes, inside)


def _bell(code: Code, lanes: int, inside: Value) -> Value:
    """The sigmoid of what is within `_BELL`."""
    inside = code.bind(inside, "inside")
    moved = inside * _num(-math.log2(math.e), lanes) + _num(_WHOLE, lanes)
    moved = code.bind(emit.fence(moved), "moved")
    n = code.bind(moved - _num(_WHOLE, lanes), "n")
    r = code.bind(_plus_logarithms(inside, n, lanes), "r")
    root = code.bind(emit.polynomial(code.bind(r * r, "square"), _HALF_WAY, lanes), "root")
    above = code.bind(root + r, "above")
    return _quotient(code, lanes, above, above + (root - r) * _scale(moved, lanes))


def _plus_logarithms(x: Value, n: Value, lanes: int) -> Value:
    """x + n log(2); in two parts where a product may be rounded before it is added."""
    if emit.on_aarch64():
        return emit.fma(n, _num(math.log(2), lanes), x, emit.typed("float32", lanes))
    return x + n * _num(0.693359375, lanes) + n * _num(-2.12194440e-4, lanes)


def _scale(moved: Value, lanes: int) -> Value:
    """2^n, where `moved` is n + `_WHOLE`: 0 where n is -127, infinite where it is 128."""
    bits = emit.tirx.reinterpret(emit.typed("int32", lanes), moved)
    bits = emit.tirx.shift_left(bits, emit.number(23, lanes, "int32"))
    return emit.tirx.reinterpret(emit.typed("float32", lanes), bits)


def _quotient(code: Code, lanes: int, a: Value, b: Value) -> Value:
    """a / b, on AArch64 within 2 ulp: a division there takes as long as some thirty products.

    The steps of Newton's method that its instructions are made for; 0 where b is infinite.
    """
    if not emit.on_aarch64() or lanes % _NEON_LANES:
        return a / b
    found: list[Value] = []
    a, b = code.bind(a, "a"), code.bind(b, "b")
    for first in range(0, lanes, _NEON_LANES):
        part = range(first, first + _NEON_LANES)
        above, below = (code.bind(emit.shuffle([each], part), "part") for each in (a, b))
        guess = code.bind(_neon("frecpe", below), "guess")
        guess = code.bind(guess * _neon("frecps", below, guess), "guess")
        found.append(code.bind(above * guess * _neon("frecps", below, guess), "quotient"))
    return emit.shuffle(found, range(lanes)) if len(found) > 1 else found[0]


_NEON_LANES = 4
"""Floats of a vector of AArch64."""


def _neon(name: str, *args: Value) -> Value:
    dtype = emit.typed("float32", _NEON_LANES)
    return emit.tirx.call_llvm_pure_intrin(dtype, f"llvm.aarch64.neon.{name}", *args)


def log1p(code: Code, lanes: int, x: Value) -> Value:
    """log(1 + x), a few ulp: what 1 + x rounds off is added to the logarithm of the rest."""
    u = kept(code, _num(1.0, lanes) + x, lanes)
    lost = x - emit.fence(u - _num(1.0, lanes))
    value = kept(code, log(code, lanes, u), lanes) + lost / u
    return emit.tirx.Select(emit.tirx.LT(u, _num(math.inf, lanes)), value, u)


def softplus(code: Code, lanes: int, x: Value) -> Value:
    """log(1 + exp(x)), a few ulp, without overflow."""
    zero = _num(0.0, lanes)
    small = kept(code, exp_of_negative(code, lanes, zero - emit.tirx.abs(x)), lanes)
    above = emit.maximum(zero, x)
    return above + kept(code, log1p(code, lanes, small), lanes)


def atanh(code: Code, lanes: int, x: Value) -> Value:
    """Half the logarithm of (1 + x) / (1 - x), a few ulp near 0 too."""
    size, half = code.bind(emit.tirx.abs(x), "size"), _num(0.5, lanes)
    ratio = code.bind(size * _num(2.0, lanes) / (_num(1.0, lanes) - size), "ratio")
    value = code.bind(kept(code, log1p(code, lanes, ratio), lanes) * half, "half")
    return emit.copysign(value, x)


_SINH = (1 / 362880, 1 / 5040, 1 / 120, 1 / 6)
"""(sinh(x) - x) / x^3 in powers of x squared, its own series: within 3e-8 up to 1."""


def _halves(code: Code, lanes: int, x: Value) -> tuple[Value, Value]:
    """Half of exp(|x|) and of exp(-|x|), without overflow where the sum has none."""
    root = emit.tirx.abs(x) * _num(0.5, lanes)
    root = kept(code, exp(code, lanes, root), lanes)
    half = _num(0.5, lanes)
    return code.bind(half * root * root, "grows"), code.bind(half / root / root, "falls")


def sinh(code: Code, lanes: int, x: Value) -> Value:
    """Hyperbolic sine, a few ulp near 0 too."""
    grows, falls = _halves(code, lanes, x)
    square = code.bind(x * x, "square")
    near = x + x * square * emit.polynomial(square, _SINH, lanes)
    inside = emit.tirx.LT(emit.tirx.abs(x), _num(1.0, lanes))
    return emit.tirx.Select(inside, near, emit.copysign(code.bind(grows - falls), x))


def cosh(code: Code, lanes: int, x: Value) -> Value:
    """Hyperbolic cosine, a few ulp."""
    grows, falls = _halves(code, lanes, x)
    return grows + falls


_FAR = 2.0**13
"""Beyond, a square and one more are the square in float32."""


def _far_or(code: Code, lanes: int, size: Value, near: Value) -> Value:
    """log(2 size) where a number is far from 0, else log(1 + near)."""
    far = kept(code, log(code, lanes, size), lanes) + _num(math.log(2.0), lanes)
    close = kept(code, log1p(code, lanes, near), lanes)
    return emit.tirx.Select(emit.tirx.LT(_num(_FAR, lanes), size), far, close)


def asinh(code: Code, lanes: int, x: Value) -> Value:
    """log(x + sqrt(x^2 + 1)), a few ulp near 0 too."""
    one, size = _num(1.0, lanes), code.bind(emit.tirx.abs(x), "size")
    square = code.bind(size * size, "square")
    near = kept(code, size + square / (one + emit.tirx.sqrt(square + one)), lanes)
    return emit.copysign(_far_or(code, lanes, size, near), x)


def acosh(code: Code, lanes: int, x: Value) -> Value:
    """log(x + sqrt(x^2 - 1)), a few ulp near 1 too; not-a-number below 1."""
    one = _num(1.0, lanes)
    more = code.bind(x - one, "more")
    near = kept(code, more + emit.tirx.sqrt(more * (more + _num(2.0, lanes))), lanes)
    value = _far_or(code, lanes, x, near)
    return emit.tirx.Select(emit.tirx.LT(x, one), _num(math.nan, lanes), value)


def _positive_ends(code: Code, lanes: int, x: Value) -> Value:
    """x without the sign of -0 and of -infinity, whose roots as powers are positive."""
    zero, infinite = (emit.tirx.EQ(x, _num(end, lanes)) for end in (0.0, -math.inf))
    return emit.tirx.Select(emit.tirx.Or(zero, infinite), emit.tirx.abs(x), x)


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


def _sign(code: Code, lanes: int, x: Value) -> Value:
    zero = _num(0.0, lanes)
    below = emit.tirx.Select(emit.tirx.LT(x, zero), _num(-1.0, lanes), x)
    return emit.tirx.Select(emit.tirx.LT(zero, x), _num(1.0, lanes), below)


def _leaky(code: Code, lanes: int, x: Value, slope: Value) -> Value:
    zero = _num(0.0, lanes)
    return emit.tirx.Select(emit.tirx.LT(x, zero), x * slope, x)


OPS: dict[str, Emit] = {
    "add": _plain(lambda a, b: a + b),
    "subtract": _plain(lambda a, b: a - b),
    "multiply": _plain(lambda a, b: a * b),
    "divide": _plain(lambda a, b: a / b),
    # The second operand wins where neither is larger, so that not-a-number passes through.
    "maximum": _plain(lambda a, b: emit.maximum(b, a)),
    "minimum": _plain(lambda a, b: emit.minimum(b, a)),
    "negative": _plain(lambda a: -a),
    "abs": _plain(emit.tirx.abs),
    "sqrt": _plain(emit.tirx.sqrt),
    "floor": _plain(emit.tirx.floor),
    "ceil": _plain(emit.tirx.ceil),
    "round": _plain(emit.tirx.nearbyint),
    "power": _plain(emit.tirx.pow),
    "sin": _plain(emit.tirx.sin),
    "cos": _plain(emit.tirx.cos),
    "exp": exp,
    "log": log,
    "sign": _sign,
    "larger": _plain(emit.larger),
    "smaller": _plain(emit.smaller),
    "tanh": tanh,
    "erf": erf,
    "sigmoid": sigmoid,
    "leaky": _leaky,
    "three_quarters": _three_quarters,
    "softplus": softplus,
    "sinh": sinh,
    "cosh": cosh,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
    "tan": angles.tan,
    "asin": angles.asin,
    "acos": angles.acos,
    "atan": angles.atan,
    "remainder": angles.remainder,
    "floor remainder": angles.floor_remainder,
    "positive_ends": _positive_ends,
}
"""Every operation that kernels can compute on vectors: (code, lanes, operands) -> value."""
