# SPDX-License-Identifier: Apache-2.0
"""Which operations are elementwise arithmetic, what they compute, and in which type.

Truth values are computed as the numbers 1 and 0 of the type that the others beside them have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from splitc_targets.graph.expression import (
    DOUBLE,
    Arg,
    Do,
    Expression,
    Num,
    clip,
    operations,
    relu,
)
from splitc_targets.graph.graph import Node, Value

TRUTH = "bool"

_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
_UNARY = (
    "negative", "abs", "sqrt", "floor", "ceil", "round", "exp", "log", "sin", "cos", "sign", "tanh",
    "erf", "sigmoid", "sinh", "cosh", "asinh", "acosh", "atanh", "tan", "asin", "acos", "atan",
    "softplus",
)  # fmt: skip
INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"})
_TYPES = {"float32", "float64", TRUTH} | INTEGERS


def computed_in(node: Node) -> str | None:
    """The type that a node computes in: what its operands and its result have beside truth values.

    None where they are of several types; "bool" where all are truth values.
    """
    types = {value.dtype for value in (*node.inputs, node.output)}
    if not types <= _TYPES:
        return None
    numbers = types - {TRUTH}
    return None if len(numbers) > 1 else next(iter(numbers), TRUTH)


def expression_of(node: Node) -> Expression | None:
    """A node's arithmetic over its inputs, scalars written in; None where it has none."""
    kind = computed_in(node) if len(node.outputs) == 1 else None
    if kind is None or not node.inputs:
        return None
    args: list[Expression] = []
    for position, value in enumerate(node.inputs):
        scalar = value.data is not None and value.size == 1
        args.append(_number(value, kind) if scalar else Arg(position))
    if not any(isinstance(arg, Arg) for arg in args):
        return None
    expression = _chosen(node, args, kind)
    if expression is not None:
        return expression
    if kind == TRUTH or any(v.dtype != kind for v in (*node.inputs, node.output)):
        return None
    expression = _arithmetic(node, args) if kind not in INTEGERS else _of_integers(node, args, kind)
    if expression is None or (kind == "float64" and not DOUBLE.issuperset(operations(expression))):
        return None
    return expression


def _number(value: Value, kind: str) -> Num:
    """A constant's only number; integers stay so, however large."""
    held = np.asarray(value.data).reshape(())
    return Num(float(held) if kind.startswith("float") else int(held))


def _chosen(node: Node, args: list[Expression], kind: str) -> Expression | None:
    """Comparisons, logic and choices: truth values are the numbers 1 and 0."""
    op, x = node.op, args[0]
    truths = all(value.dtype == TRUTH for value in node.inputs)
    if op == "where":
        return Do("where", tuple(args))
    if op == "astype":
        return _of_truth(node, x)
    if op == "within":
        low, high, y = args
        return Do("where", (Do("at most", (low, high)), y, Num(0)))
    if truths and op in _LOGIC:
        return Do(_LOGIC[op], tuple(args))
    if truths and op in ("equal", "not_equal"):
        different = Do("xor", tuple(args))
        return different if op == "not_equal" else Do("not", (different,))
    if truths or len({value.dtype for value in node.inputs}) > 1:
        return None
    if op in _COMPARISONS:
        return _COMPARISONS[op](*args)
    if op in ("isnan", "isinf", "isfinite") and kind.startswith("float"):
        return Do(op, (x,))
    return None


def _of_truth(node: Node, x: Expression) -> Expression | None:
    """Truth values as numbers, which they are here, or the truth that a number is not 0."""
    source, target = node.inputs[0].dtype, node.output.dtype
    if TRUTH not in (source, target):
        return None
    return x if source == TRUTH else Do("not", (Do("equal", (x, Num(0))),))


_LOGIC = {
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor", "logical_not": "not",
    "bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "xor", "bitwise_not": "not",
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Expression, Expression], Expression]] = {
    "equal": lambda x, y: Do("equal", (x, y)),
    "not_equal": lambda x, y: Do("not", (Do("equal", (x, y)),)),
    "less": lambda x, y: Do("less", (x, y)),
    "less_equal": lambda x, y: Do("at most", (x, y)),
    "greater": lambda x, y: Do("less", (y, x)),
    "greater_equal": lambda x, y: Do("at most", (y, x)),
}


def _of_integers(node: Node, args: list[Expression], kind: str) -> Expression | None:
    """Arithmetic of integers, which wraps; divisions and shifts take every operand."""
    op = node.op.removeprefix("tir.").rstrip("0123456789")
    if op in _OF_INTEGERS and len(args) == 2:
        return Do(_OF_INTEGERS[op], tuple(args))
    return _OF_ONE_INTEGER[op](args[0], kind) if op in _OF_ONE_INTEGER else None


_OF_INTEGERS = {
    "add": "add", "subtract": "subtract", "multiply": "multiply", "maximum": "maximum",
    "minimum": "minimum", "divide": "quotient", "floor_divide": "floor quotient", "mod": "rest",
    "floor_mod": "floor rest", "bitwise_and": "bits and", "bitwise_or": "bits or",
    "bitwise_xor": "bits xor", "left_shift": "left shift", "right_shift": "right shift",
}  # fmt: skip


def _size(x: Expression, kind: str) -> Expression:
    return x if kind.startswith("u") else Do("maximum", (x, Do("subtract", (Num(0), x))))


def _sign(x: Expression, kind: str) -> Expression:
    positive = Do("less", (Num(0), x))
    if kind.startswith("u"):
        return positive
    return Do("where", (positive, Num(1), Do("where", (Do("less", (x, Num(0))), Num(-1), Num(0)))))


_OF_ONE_INTEGER: dict[str, Callable[[Expression, str], Expression]] = {
    "negative": lambda x, _: Do("subtract", (Num(0), x)),
    "bitwise_not": lambda x, _: Do("bits not", (x,)),
    "nn.relu": lambda x, _: relu(x),
    "abs": _size,
    "sign": _sign,
}


def _arithmetic(node: Node, args: list[Expression]) -> Expression | None:
    op, x = node.op, args[0]
    if op in _BINARY:
        return _binary(op, x, args[1]) if len(args) == 2 else None
    if op in _UNARY:
        return Do(op, (x,))
    if op == "clip":
        low, high = (float(bound) for bound in node.args[1:3])
        return clip(x, low, high)
    if op == "prelu":
        return Do("leaky", (x, args[1]))
    if op == "nn.leakyrelu":
        return Do("leaky", (x, Num(float(node.attrs["alpha"]))))
    if op == "power" and len(args) == 2:
        return _power(x, args[1].value) if isinstance(args[1], Num) else Do("power", tuple(args))
    if op in _REMAINDERS and len(args) == 2:
        return Do(_REMAINDERS[op], tuple(args))
    return _SPELT[op](x) if op in _SPELT else None


_REMAINDERS = {"mod": "remainder", "floor_mod": "floor remainder"}


def _binary(op: str, x: Expression, y: Expression) -> Expression:
    if op == "divide" and isinstance(y, Num) and y.value != 0.0 and _exact(1.0 / y.value, y.value):
        return Do("multiply", (x, Num(1.0 / y.value)))
    return _bound(op, x, y) if op in _BOUNDS else Do(op, (x, y))


_BOUNDS = {"maximum": "larger", "minimum": "smaller"}
"""Bounds by a number, and the same of two tensors, either of which may be not-a-number."""


def _bound(op: str, x: Expression, y: Expression) -> Expression:
    if isinstance(x, Num):
        x, y = y, x
    return Do(op if isinstance(y, Num) else _BOUNDS[op], (x, y))


def _exact(a: float, b: float) -> bool:
    """Whether a is b's reciprocal without rounding: b is a power of two, and neither denormal."""
    limits = np.finfo(np.float32)
    normal = all(float(limits.tiny) <= abs(each) <= float(limits.max) for each in (a, b))
    return normal and abs(np.frexp(b)[0]) == 0.5


def _gelu(x: Expression, bell: Expression) -> Expression:
    return Do("multiply", (Do("multiply", (x, Num(0.5))), Do("add", (bell, Num(1.0)))))


def _gelu_exact(x: Expression) -> Expression:
    return _gelu(x, Do("erf", (Do("multiply", (x, Num(0.7071067811865476))),)))


def _gelu_tanh(x: Expression) -> Expression:
    cube = Do("multiply", (Do("multiply", (x, x)), x))
    inner = Do("add", (x, Do("multiply", (cube, Num(0.044715)))))
    return _gelu(x, Do("tanh", (Do("multiply", (inner, Num(0.7978845608028654))),)))


_SPELT: dict[str, Callable[[Expression], Expression]] = {
    "nn.relu": relu,
    "nn.silu": lambda x: Do("multiply", (x, Do("sigmoid", (x,)))),
    "nn.gelu": _gelu_exact,
    "nn.gelu_tanh": _gelu_tanh,
    "square": lambda x: Do("multiply", (x, x)),
    "rsqrt": lambda x: Do("divide", (Num(1.0), Do("sqrt", (x,)))),
}
"""Operations of one operand in terms of others."""


def _power(x: Expression, exponent: float) -> Expression:
    square, root = Do("multiply", (x, x)), Do("positive_ends", (x,))
    known = {
        1.0: x, 2.0: square, 3.0: Do("multiply", (square, x)),
        0.5: Do("sqrt", (root,)), 0.75: Do("three_quarters", (root,)),
        -0.5: Do("divide", (Num(1.0), Do("sqrt", (root,)))), -1.0: Do("divide", (Num(1.0), x)),
    }  # fmt: skip
    return known.get(exponent, Do("power", (x, Num(exponent))))
