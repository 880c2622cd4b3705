# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Integers divided and shifted by numbers that are computed at run time, whatever those are.

A division by zero, and that of the least number by -1, end the process; a shift by as many bits
as there are gives anything. ONNX and PyTorch leave these open; what comes over a link may hold
them. The results are numpy's: by zero 0; the least number by -1 itself, and nothing left; a
shift that moves every bit out leaves none, or the sign of what is shifted right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from splitc_targets.tvm.rewriting import rewritten


def made_total(module: Any) -> Any:
    """A lowered module whose divisions and shifts of integers take every operand."""
    return rewritten(module, _Total)


@mutator
class _Total(PyExprMutator):
    """Rewrites the calls of operators that some operands break."""

    def visit_call_(self, op: Any) -> Any:
        """A call, or one loop that computes what it does for every operand."""
        call = super().visit_call_(op)
        compute = _TOTAL.get(call.op.name) if isinstance(call.op, tvm.ir.Op) else None
        if compute is None or not all(isinstance(a.ty, relax.TensorType) for a in call.args):
            return call
        left, right = call.args
        dtype = np.dtype(str(right.ty.dtype))
        if dtype.kind not in "iu" or _harmless(call.op.name, right, dtype):
            return call
        name = call.op.name.removeprefix("relax.")
        return self.builder_.call_te(_elementwise(compute), left, right, primfunc_name_hint=name)


def _harmless(op: str, right: Any, dtype: np.dtype[Any]) -> bool:
    """Whether an operand is stored, and none of its values breaks the operator."""
    if not isinstance(right, tvm.ir.GenericConst):
        return False
    held = right.value.numpy()
    if op.endswith("shift"):
        return bool(((held >= 0) & (held < 8 * dtype.itemsize)).all())
    return not bool(((held == 0) | ((held == -1) if dtype.kind == "i" else False)).any())


def _elementwise(compute: Callable[..., Any]) -> Callable[..., Any]:
    """A tensor expression of two operands that are broadcast to each other."""

    def write(left: Any, right: Any) -> Any:
        sizes = [[int(size) for size in each.shape] for each in (left, right)]

        def element(*places: Any) -> Any:
            own = [places[len(places) - len(size) :] for size in sizes]
            read = [
                tuple(0 if n == 1 else place for n, place in zip(size, at, strict=True))
                for size, at in zip(sizes, own, strict=True)
            ]
            return compute(left[read[0]], right[read[1]])

        return te.compute(np.broadcast_shapes(*sizes), element)

    return write


def _divisor(x: Any, y: Any) -> Any:
    """What divides in place of a divisor: 1 for 0, and for -1 where x is the least number."""
    ends = tirx.EQ(y, tirx.const(0, y.dtype))
    if str(x.dtype).startswith("int"):
        minus = tirx.const(-1, y.dtype)
        # TVM's simplifier takes it that no number of 32 or 64 bits is the least one.
        least = tirx.EQ(tirx.bitwise_xor(x, tirx.max_value(str(x.dtype))), minus)
        ends = tirx.any(ends, tirx.all(least, tirx.EQ(y, minus)))
    return tirx.Select(ends, tirx.const(1, y.dtype), y)


def _quotient(divide: Callable[..., Any]) -> Callable[..., Any]:
    def compute(x: Any, y: Any) -> Any:
        zero = tirx.const(0, y.dtype)
        return tirx.Select(tirx.EQ(y, zero), zero, divide(x, _divisor(x, y)))

    return compute


def _rest(left_over: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: left_over(x, _divisor(x, y))  # by 1 nothing is left


def _shift(move: Callable[..., Any], *, right: bool) -> Callable[..., Any]:
    def compute(x: Any, y: Any) -> Any:
        zero = none = tirx.const(0, x.dtype)
        if right and str(x.dtype).startswith("int"):
            none = tirx.Select(tirx.LT(x, zero), tirx.const(-1, x.dtype), zero)
        # y < bits of unsigned numbers is a difference below zero to TVM's simplifier.
        bits = tirx.const(tvm.DataType(str(x.dtype)).bits.bit_length() - 1, y.dtype)
        within = tirx.EQ(tirx.shift_right(y, bits), tirx.const(0, y.dtype))
        amount = tirx.Select(within, y, tirx.const(0, y.dtype))
        return tirx.Select(within, move(x, amount), none)

    return compute


_TOTAL: dict[str, Callable[..., Any]] = {
    "relax.divide": _quotient(tirx.truncdiv),
    "relax.floor_divide": _quotient(tirx.floordiv),
    "relax.mod": _rest(tirx.truncmod),
    "relax.floor_mod": _rest(tirx.floormod),
    "relax.left_shift": _shift(tirx.shift_left, right=False),
    "relax.right_shift": _shift(tirx.shift_right, right=True),
}
"""Operators by name, and what computes one element of their results."""
