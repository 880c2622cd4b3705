# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Tangents, angles and remainders as code on vectors."""

from __future__ import annotations

import math

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Code, Value, tirx


def _num(value: float, lanes: int) -> Value:
    return emit.number(value, lanes)


def tan(code: Code, lanes: int, x: Value) -> Value:
    """Tangent, two ulp: of a sine and a cosine that are within one each."""
    return code.bind(tirx.sin(x), "sin") / code.bind(tirx.cos(x), "cos")


_ATAN = (-1.7539295932e-3, 1.0726941604e-2, -3.0804592673e-2, 5.7552097712e-2, -8.3773152091e-2,
         1.0942030587e-1, -1.4261933091e-1, 1.9998266040e-1, -3.3333283642e-1)  # fmt: skip
"""(atan(x) - x) / x^3 in powers of x squared, x up to 1: within 3e-9 of it (minimax fit)."""


def atan(code: Code, lanes: int, x: Value) -> Value:
    """The angle of a tangent, two ulp: beyond 1 it is a right angle less that of 1 / x."""
    size, one = code.bind(tirx.abs(x), "size"), _num(1.0, lanes)
    beyond = tirx.LT(one, size)
    part = code.bind(tirx.Select(beyond, one / size, size), "part")
    square = code.bind(part * part, "square")
    angle = part + part * square * emit.polynomial(square, _ATAN, lanes)
    angle = code.bind(angle, "angle")
    whole = tirx.Select(beyond, _num(math.pi / 2, lanes) - angle, angle)
    return emit.copysign(whole, x)


_ASIN = (4.2635640857e-2, 2.3858170150e-2, 4.5550185191e-2, 7.4944347605e-2, 1.6666790110e-1)
"""(asin(x) - x) / x^3 in powers of x squared, x up to 1/2: within 5e-9 of it (minimax fit)."""


def _small(code: Code, lanes: int, x: Value, square: Value) -> Value:
    """The angle of a sine up to 1/2."""
    return code.bind(x + x * square * emit.polynomial(square, _ASIN, lanes), "small")


def _of_sine(code: Code, lanes: int, x: Value) -> tuple[Value, Value]:
    """(whether |x| is beyond 1/2, the angle of the sine |x|, or half of what it lacks there).

    A sine beyond 1/2 lacks twice the angle whose sine is sqrt((1 - x) / 2) of a right angle.
    """
    size, half = code.bind(tirx.abs(x), "size"), _num(0.5, lanes)
    beyond = tirx.LT(half, size)
    lacks = (_num(1.0, lanes) - size) * half
    square = code.bind(tirx.Select(beyond, lacks, size * size), "square")
    root = code.bind(tirx.Select(beyond, tirx.sqrt(square), size), "root")
    return beyond, _small(code, lanes, root, square)


def asin(code: Code, lanes: int, x: Value) -> Value:
    """The angle of a sine, two ulp; not-a-number beyond 1."""
    beyond, angle = _of_sine(code, lanes, x)
    rest = _num(math.pi / 2, lanes) - (angle + angle)
    return emit.copysign(tirx.Select(beyond, rest, angle), x)


def acos(code: Code, lanes: int, x: Value) -> Value:
    """The angle of a cosine, two ulp; not-a-number beyond 1."""
    beyond, angle = _of_sine(code, lanes, x)
    below = tirx.LT(x, _num(0.0, lanes))
    twice = code.bind(angle + angle, "twice")
    far = tirx.Select(below, _num(math.pi, lanes) - twice, twice)
    right = _num(math.pi / 2, lanes)
    near = tirx.Select(below, right + angle, right - angle)
    return tirx.Select(beyond, far, near)


def remainder(code: Code, lanes: int, x: Value, y: Value) -> Value:
    """What is left of x over y, exactly, with the sign of x, as C's fmod has it."""
    return tirx.truncmod(x, y)


def floor_remainder(code: Code, lanes: int, x: Value, y: Value) -> Value:
    """What is left of x over y, with the sign of y, as Python has it.

    An infinite y leaves x of its own sign, and is what is left of another.
    """
    rest = code.bind(remainder(code, lanes, x, y), "rest")
    zero = emit.number(0, lanes, str(x.ty.dtype).partition("x")[0])
    left, right = (tirx.And(tirx.LT(a, zero), tirx.LT(zero, b)) for a, b in ((rest, y), (y, rest)))
    moved = tirx.Select(tirx.Or(left, right), rest + y, rest)
    return tirx.Select(tirx.EQ(rest, zero), emit.copysign(rest, y), moved)
