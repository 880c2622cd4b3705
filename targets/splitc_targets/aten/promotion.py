# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""PyTorch's rules of element types, written out as casts.

TVM's converters give a number the tensor's own element type, so that an integer tensor times
0.5 is nought, and pass mixed operands on as they are. Afterwards every operand of an
element-wise operator has the element type that it computes in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten: Any = torch.ops.aten

Rewrite = Callable[..., Any]
"""Another form of an operator's call, or NotImplemented where it may stay as it is."""


def cast(value: Any, dtype: torch.dtype) -> Any:
    """An operand in an element type: a tensor is cast, a number becomes one of its kind."""
    if isinstance(value, Tensor):
        return value if value.dtype == dtype else value.to(dtype)
    if dtype.is_floating_point:
        return float(value)
    return bool(value) if dtype == torch.bool else int(value)


def same(left: Any, right: Any) -> bool:
    """Whether casting changed nothing: True and 1.0 are another 1."""
    return left is right or (type(left) is type(right) and not isinstance(left, Tensor))


def kind_of(*operands: Any, true: bool = False) -> torch.dtype:
    """The element type that PyTorch computes an element-wise operator in.

    Args:
        operands: Two tensors or numbers, one a tensor at least.
        true: Whether whole numbers are computed in floats, as in a true division.
    """
    found = torch.result_type(*operands)
    return found if found.is_floating_point or not true else torch.get_default_dtype()


def promoted(op: Any, *, true: bool = False, booleans: Any = None) -> Rewrite:
    """A rewrite that casts both operands to the element type they are computed in.

    Args:
        op: The operator of two operands.
        true: Whether it computes whole numbers in floats.
        booleans: The operator that it is on truth values, where TVM has none for them.
    """

    def rewrite(left: Any, right: Any, *more: Any, **named: Any) -> Any:
        kind = kind_of(left, right, true=true)
        if kind == torch.bool and booleans is not None:
            return booleans(_tensor(left, right), _tensor(right, left))
        a, b = cast(left, kind), cast(right, kind)
        if same(a, left) and same(b, right):
            return NotImplemented
        return op(a, b, *more, **named)

    return rewrite


def _tensor(value: Any, like: Any) -> Any:
    return value if isinstance(value, Tensor) else torch.full_like(like, bool(value))


def in_floats(op: Any) -> Rewrite:
    """A rewrite that computes an operator of whole numbers in floats, as PyTorch does."""

    def rewrite(value: Tensor, *more: Any, **named: Any) -> Any:
        if value.dtype.is_floating_point or value.dtype.is_complex:
            return NotImplemented
        return op(value.to(torch.get_default_dtype()), *more, **named)

    return rewrite


def unchanged_if_whole(value: Tensor, **named: Any) -> Any:
    """Rounding a whole number gives it back."""
    return NotImplemented if value.dtype.is_floating_point else value.clone()


def scaled(op: Any) -> Rewrite:
    """A rewrite of `a ± alpha·b` as a product and a sum."""
    plain = promoted(op, booleans=torch.logical_or)

    def rewrite(left: Any, right: Any, *, alpha: Any = 1) -> Any:
        if alpha == 1:
            return plain(left, right)
        kind = kind_of(left, right)
        return op(cast(left, kind), cast(right, kind) * alpha)

    return rewrite


def _differ(left: Tensor, right: Tensor) -> Tensor:
    return torch.logical_xor(left, right)


def _agree(left: Tensor, right: Tensor) -> Tensor:
    return torch.logical_not(torch.logical_xor(left, right))


def _as_numbers(op: Any) -> Rewrite:
    """An order of truth values is that of 0 and 1."""
    return lambda left, right: op(left.to(torch.int32), right.to(torch.int32))


_TWO: dict[str, Any] = {
    "mul": torch.logical_and, "fmod": None, "bitwise_and": torch.logical_and,
    "bitwise_or": torch.logical_or, "bitwise_xor": torch.logical_xor, "eq": _agree, "ne": _differ,
    **{name: _as_numbers(getattr(aten, name)) for name in ("lt", "le", "gt", "ge")},
}  # fmt: skip
_FLOATS = (
    "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "expm1", "log1p", "log2", "log10",
    "reciprocal",
)  # fmt: skip


def rewrites() -> dict[Any, Rewrite]:
    """The rewrites of element types by operator."""
    found: dict[Any, Rewrite] = {}
    for name, booleans in _TWO.items():
        packet: Any = getattr(aten, name)
        for overload in (packet.Tensor, packet.Scalar):
            found[overload] = promoted(packet, booleans=booleans)
    for name in ("add", "sub"):
        packet = getattr(aten, name)
        found[packet.Tensor] = found[packet.Scalar] = _scaled_either(packet)
    found[aten.div.Tensor] = found[aten.div.Scalar] = promoted(aten.div, true=True)
    found[aten.maximum.default] = promoted(aten.maximum, booleans=torch.logical_or)
    found[aten.minimum.default] = promoted(aten.minimum, booleans=torch.logical_and)
    found[aten.atan2.default] = promoted(aten.atan2, true=True)
    for overload in (aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, aten.pow.Scalar):
        found[overload] = promoted(aten.pow)
    for name in _FLOATS:
        found[getattr(aten, name).default] = in_floats(getattr(aten, name))
    for name in ("floor", "ceil", "trunc", "round"):
        found[getattr(aten, name).default] = unchanged_if_whole
    found[aten.where.self] = _where
    return found


def _scaled_either(packet: Any) -> Rewrite:
    """`add.Scalar` takes alpha by position, `add.Tensor` by name."""
    inner = scaled(packet)

    def rewrite(left: Any, right: Any, *position: Any, **named: Any) -> Any:
        return inner(left, right, **(named or dict(zip(("alpha",), position, strict=False))))

    return rewrite


def _where(condition: Tensor, left: Tensor, right: Tensor) -> Any:
    kind = kind_of(left, right)
    if condition.dtype == torch.bool and left.dtype == right.dtype:
        return NotImplemented
    return torch.where(condition != 0 if condition.dtype != torch.bool else condition,
                       cast(left, kind), cast(right, kind))  # fmt: skip
