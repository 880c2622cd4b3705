# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Activations, arithmetic of two and more, comparisons, choices and casts."""

from __future__ import annotations

import numpy as np

from tests.random_networks.drawing import (
    FLOATS,
    INTEGERS,
    Draw,
    operand,
    picked,
)
from tests.random_networks.network import Network, UnusableError

PLAIN = {
    "Relu": 7, "Sigmoid": 7, "Tanh": 7, "Exp": 7, "Abs": 7, "Neg": 7, "Softplus": 7,
    "Softsign": 7, "Sqrt": 7, "Log": 7, "Reciprocal": 7, "Floor": 7, "Ceil": 7, "Round": 11,
    "Erf": 9, "Sign": 9, "Sin": 7, "Cos": 7, "Tan": 7, "Asin": 7, "Acos": 7, "Atan": 7,
    "Sinh": 9, "Cosh": 9, "Asinh": 9, "Acosh": 9, "Atanh": 9, "HardSwish": 14, "Mish": 18,
    "Identity": 7, "Elu": 7, "Selu": 7, "LeakyRelu": 7, "HardSigmoid": 7, "Celu": 12,
    "ThresholdedRelu": 10, "Gelu": 20,
}  # fmt: skip
"""Operators of one tensor, and the opset that has them first."""
ALPHAS = {
    "Elu": ("alpha",), "Selu": ("alpha", "gamma"), "LeakyRelu": ("alpha",), "Celu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"), "ThresholdedRelu": ("alpha",),
}  # fmt: skip
WITHIN = {"Log": 0.3, "Sqrt": 0.0, "Reciprocal": 0.3, "Acosh": 1.0}
"""Least magnitude that keeps a result well conditioned."""
WHOLE_TOO = ("Abs", "Neg", "Sign", "Relu", "Identity")


def activation(draw: Draw, n: Network) -> str:
    """An operator of one tensor, with its parameters given or not."""
    kind = draw.one_of(*(k for k, since in PLAIN.items() if since <= n.opset))
    x = picked(draw, n, "fi" if kind in WHOLE_TOO else "f")
    dtype = n[x].dtype
    least = WITHIN.get(kind)
    if least is not None and float(n[x].array.min()) < least + 0.01:
        x = n.op("Add", n.op("Abs", x), n.put(least + 0.25, dtype))
    if kind in ("Exp", "Sinh", "Cosh", "Tan", "Asin", "Acos", "Atanh"):
        most = 6.0 if kind in ("Exp", "Sinh", "Cosh") else 0.9
        if float(np.abs(n[x].array).max()) > most:
            x = n.op("Mul", n.op("Tanh", x), n.put(most * 0.9, dtype))
    given = {}
    for name in ALPHAS.get(kind, ()):
        if draw.yes():
            given[name] = draw.one_of(0.5, 0.25, 1.5)
    if kind == "Gelu" and draw.yes():
        given["approximate"] = "tanh"
    return n.op(kind, x, **given)


def spelled(draw: Draw, n: Network) -> str:
    """Activations that models spell with several operators."""
    x = picked(draw, n, FLOATS)
    dtype = n[x].dtype
    form = draw.one_of("silu", "gelu", "relu6", "rms", "hard swish", "square", "cube", "affine")
    if form == "silu":
        return n.op("Mul", x, n.op("Sigmoid", x))
    if form == "gelu":
        if n.opset < 9:
            raise UnusableError
        inner = n.op("Add", n.op("Erf", n.op("Div", x, n.put(2**0.5, dtype))), n.put(1, dtype))
        return n.op("Mul", n.op("Mul", x, inner), n.put(0.5, dtype))
    if form in ("relu6", "hard swish"):
        y = n.op("Add", x, n.put(3, dtype)) if form == "hard swish" else x
        reads = [n.put(0, dtype), n.put(6, dtype)] if n.opset >= 11 else []
        y = n.op("Clip", y, *reads, **({} if reads else {"min": 0.0, "max": 6.0}))
        return y if form == "relu6" else n.op("Div", n.op("Mul", x, y), n.put(6, dtype))
    if form == "affine":
        return n.op("Add", n.op("Mul", x, n.put(-1.7, dtype)), n.put(0.3, dtype))
    if form == "rms":
        square = n.op("Mul", x, x)
        return n.op("Div", x, n.op("Sqrt", n.op("Add", square, n.put(1, dtype))))
    return n.op("Pow", x, n.put(2 if form == "square" else 3, dtype))


def bounded(draw: Draw, n: Network) -> str:
    """Clip with both, one or no bounds; integers from opset 12 on."""
    kinds = [*FLOATS, *INTEGERS] if n.opset >= 12 else ["float32"]
    x = picked(draw, n, kinds)
    dtype = n[x].dtype
    low = {"f": -0.5, "i": -2, "u": 1}[n[x].array.dtype.kind]
    low, high = draw.one_of(low, None), draw.one_of(3, None)
    if n.opset < 11:
        ends = {"min": low, "max": high}
        return n.op("Clip", x, **{k: float(v) for k, v in ends.items() if v is not None})
    reads = ["" if v is None else n.put(v, dtype) for v in (low, high)]
    while reads and not reads[-1]:
        reads.pop()
    return n.op("Clip", x, *reads)


def pair(draw: Draw, n: Network) -> str:
    """Arithmetic of two operands of any shapes that go together, on either side."""
    kind = draw.one_of("Add", "Mul", "Sub", "Max", "Min", "Div", "Pow", "PRelu", "Mod", "Sum",
                  "Mean")  # fmt: skip
    floats = [*FLOATS, *FLOATS, "int32", "int64", "uint8", "int8"]
    x = picked(draw, n, {"PRelu": FLOATS, "Mean": FLOATS, "Pow": FLOATS}.get(kind, floats))
    y = operand(draw, n, x)
    if kind in ("Div", "Mod"):
        if n[y].array.dtype.kind != "f" or kind == "Mod":
            y = n.weight(n[x].dtype, (n[x].shape or (1,))[-1:], "positive")
            y = n.op("Add", y, n.put(1, n[x].dtype))
        else:
            y = n.op("Add", n.op("Abs", y), n.put(0.5, n[x].dtype))
    if kind == "Pow":
        x = n.op("Add", n.op("Abs", x), n.put(0.5, n[x].dtype))
        y = n.op("Tanh", y)
    if kind == "Mod":
        return n.op(
            kind, x, y, **({"fmod": 1} if n[x].array.dtype.kind == "f" or draw.yes() else {})
        )
    if kind in ("Sum", "Mean", "Max", "Min") and draw.yes():
        return n.op(kind, x, y, operand(draw, n, x))
    swaps = kind not in ("Div", "Pow", "PRelu") and draw.yes()
    return n.op(kind, y, x) if swaps else n.op(kind, x, y)


def compared(draw: Draw, n: Network) -> str:
    """A comparison, and mostly a choice by it."""
    kinds = ["Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"]
    kind = draw.one_of(*(kinds if n.opset >= 16 else kinds[:3]))
    x = picked(draw, n, [*FLOATS, "int32", "int64"] if n.opset >= 11 else ["float32", "int32"])
    y = operand(draw, n, x)
    found = n.op(kind, x, y)
    if draw.one_of(0, 0, 1) or n.opset < 9:
        return found
    return n.op("Where", found, x, operand(draw, n, x))


def logical(draw: Draw, n: Network) -> str:
    """And, Or, Xor, Not of truths; a choice by them."""
    x = picked(draw, n, "b")
    kind = draw.one_of("Not", "And", "Or", "Xor", "Where")
    if kind == "Not":
        return n.op("Not", x)
    if kind == "Where":
        return n.op("Where", x, n.weight("float32", n[x].shape, "normal"), n.put(-1, "float32"))
    return n.op(kind, x, operand(draw, n, x))


def cast(draw: Draw, n: Network) -> str:
    """A cast between types, of values that the new one holds."""
    x = picked(draw, n, "fiub")
    to = draw.one_of("float32", "float16", "float64", "int32", "int64", "uint8", "int8", "bool")
    array = n[x].array
    if np.dtype(to).kind in "iu":
        ends = np.iinfo(to)
        low, high = float(array.min()), float(array.max())
        # Comparisons with not-a-number are false too.
        if not (low >= ends.min and high <= ends.max):
            raise UnusableError
    codes = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9,
             "float16": 10, "float64": 11}  # fmt: skip
    return n.op("Cast", x, to=codes[to])


def whole_shift(draw: Draw, n: Network) -> str:
    """BitShift, and bitwise operators from opset 18 on."""
    x = picked(draw, n, ["uint8", "uint32", "uint64"] if n.opset >= 11 else [])
    if n.opset >= 18 and draw.yes():
        return n.op(draw.one_of("BitwiseAnd", "BitwiseOr", "BitwiseXor"), x, operand(draw, n, x))
    by = n.put(draw.one_of(1, 2, 0), n[x].dtype)
    return n.op("BitShift", x, by, direction=draw.one_of("RIGHT", "LEFT"))


FAMILY = (activation, pair, spelled, activation, pair, bounded, compared, cast, logical,
          whole_shift)  # fmt: skip
