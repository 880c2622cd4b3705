# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of elementwise operators: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts, torch_dtype
from splitc.frontend.onnx.read import dtype_name

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs, "Neg": torch.neg, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt,
    "Reciprocal": torch.reciprocal, "Floor": torch.floor, "Ceil": torch.ceil,
    "Round": torch.round, "Sign": torch.sign, "Erf": torch.erf, "Sin": torch.sin,
    "Cos": torch.cos, "Tan": torch.tan, "Asin": torch.asin, "Acos": torch.acos,
    "Atan": torch.atan, "Sinh": torch.sinh, "Cosh": torch.cosh, "Asinh": torch.asinh,
    "Acosh": torch.acosh, "Atanh": torch.atanh, "Not": torch.logical_not, "IsNaN": torch.isnan,
    "BitwiseNot": torch.bitwise_not, "Sub": torch.sub, "And": torch.logical_and,
    "Or": torch.logical_or, "Xor": torch.logical_xor, "Equal": torch.eq, "Greater": torch.gt,
    "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le,
    "BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor, "Where": torch.where,
}  # fmt: skip
"""Operators that a function of PyTorch's computes, operand by operand."""

MODULES: dict[str, Callable[[], nn.Module]] = {
    "Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "Softplus": nn.Softplus,
    "Softsign": nn.Softsign, "HardSwish": nn.Hardswish, "Mish": nn.Mish,
}  # fmt: skip
"""Operators that a module of PyTorch's computes, without settings."""


@converts(*FUNCTIONS)
def function(node: Node) -> nn.Module:
    """An operator without attributes."""
    return Function(FUNCTIONS[node.op])


@converts(*MODULES)
def activation(node: Node) -> nn.Module:
    """An activation without attributes."""
    return MODULES[node.op]()


@converts("Add", "Mul")
def scale_or_shift(node: Node) -> nn.Module:
    """A constant with one value a channel behind weights is a scale or a bias: it trains."""
    for k, operand in enumerate(node.operands):
        extents = [n for n in operand.tensor.shape or () if n != 1] if operand else []
        if len(extents) == 1 and any(each is not None and each.learned for each in node.operands):
            node.train(k)
    return Function(torch.add if node.op == "Add" else torch.mul)


@converts("Div")
def div(node: Node) -> nn.Module:
    """Integers are divided towards zero."""
    if node.operand(0).tensor.dtype in _INTEGERS:
        return Function(torch.div, rounding_mode="trunc")
    return Function(torch.div)


@converts("Mod")
def mod(node: Node) -> nn.Module:
    """With `fmod` the sign is the dividend's, otherwise the divisor's."""
    return Function(torch.fmod if node.attribute("fmod", 0) else torch.remainder)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    return torch.pow(base, exponent).to(base.dtype)


@converts("Pow")
def power(node: Node) -> nn.Module:
    """The result has the element type of the base."""
    return Function(_power)


@converts("BitShift")
def shift(node: Node) -> nn.Module:
    """To the left or to the right."""
    left = node.attribute("direction") == "LEFT"
    return Function(torch.bitwise_left_shift if left else torch.bitwise_right_shift)


def _sum(*operands: Tensor) -> Tensor:
    return functools.reduce(torch.add, operands)


def _mean(*operands: Tensor) -> Tensor:
    return functools.reduce(torch.add, operands) / len(operands)


def _maximum(*operands: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, operands)


def _minimum(*operands: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, operands)


@converts("Sum", "Mean", "Max", "Min")
def variadic(node: Node) -> nn.Module:
    """Any number of operands."""
    return Function({"Sum": _sum, "Mean": _mean, "Max": _maximum, "Min": _minimum}[node.op])


@converts("LeakyRelu")
def leaky_relu(node: Node) -> nn.Module:
    """The slope is `alpha`."""
    return nn.LeakyReLU(node.attribute("alpha", 0.01))


@converts("Elu")
def elu(node: Node) -> nn.Module:
    """ONNX's and PyTorch's agree."""
    return nn.ELU(node.attribute("alpha", 1.0))


@converts("Celu")
def celu(node: Node) -> nn.Module:
    """ONNX's and PyTorch's agree."""
    return nn.CELU(node.attribute("alpha", 1.0))


def _selu(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    return gamma * F.elu(x, alpha)


@converts("Selu")
def selu(node: Node) -> nn.Module:
    """PyTorch's constants are fixed: those of the paper, ONNX's defaults."""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    usual = math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(
        gamma, 1.0507010, rel_tol=1e-6
    )
    return nn.SELU() if usual else Function(_selu, alpha=alpha, gamma=gamma)


@converts("Gelu")
def gelu(node: Node) -> nn.Module:
    """Exact, or by tanh."""
    return nn.GELU(node.attribute("approximate", "none"))


def _swish(x: Tensor, *, alpha: float) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@converts("Swish")
def swish(node: Node) -> nn.Module:
    """x * sigmoid(alpha * x)."""
    alpha = node.attribute("alpha", 1.0)
    return nn.SiLU() if alpha == 1 else Function(_swish, alpha=alpha)


def _hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


@converts("HardSigmoid")
def hard_sigmoid(node: Node) -> nn.Module:
    """PyTorch has a slope of 1/6, ONNX's default is 1/5."""
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return nn.Hardsigmoid()
    return Function(_hard_sigmoid, alpha=alpha, beta=beta)


@converts("ThresholdedRelu")
def thresholded_relu(node: Node) -> nn.Module:
    """x where it is above `alpha`, 0 elsewhere."""
    return nn.Threshold(node.attribute("alpha", 1.0), 0)


def _shrink(x: Tensor, *, bias: float, limit: float) -> Tensor:
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, 0)).to(x.dtype)


@converts("Shrink")
def shrink(node: Node) -> nn.Module:
    """Towards 0 by `bias` outside of `lambd`, 0 inside."""
    return Function(_shrink, bias=node.attribute("bias", 0.0), limit=node.attribute("lambd", 0.5))


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


@converts("PRelu")
def prelu(node: Node) -> nn.Module:
    """A slope for each channel, or any that broadcasts."""
    given, rank = node.shape(1), len(node.shape(0))
    channels = math.prod(given)
    aligned = (1,) * (rank - len(given)) + given
    plain = channels == 1 or (len(aligned) > 1 and aligned[1] == channels)
    if not node.is_constant(1) or not plain:
        node.train(1)
        return Function(_prelu)
    made = nn.PReLU(channels, device="meta")
    made.weight = node.parameter(1, "vector", lambda array: array.reshape(-1))
    return made


def _clip(x: Tensor, *bounds: Tensor, first: str) -> Tensor:
    named = dict(zip((first, "max"), bounds, strict=False))
    return torch.clamp(x, **named)


@converts("Clip")
def clip(node: Node) -> nn.Module:
    """Bounds are attributes, constants, or computed."""
    names = [name for k, name in enumerate(("min", "max"), 1) if node.has(k)]
    if names and not all(node.is_constant(1 + ("min", "max").index(name)) for name in names):
        return Function(_clip, first=names[0])
    found = {name: node.setting(name, k) for k, name in enumerate(("min", "max"), 1)}
    bounds = {name: value.item() for name, value in found.items() if value is not None}
    if not bounds:
        return nn.Identity()
    fraction = node.operand(0).tensor.dtype not in _INTEGERS
    if bounds == {"min": 0, "max": 6} and fraction:
        return nn.ReLU6()
    return Function(torch.clamp, **bounds)


def _is_infinite(x: Tensor, *, negative: bool, positive: bool) -> Tensor:
    low = torch.isneginf(x) if negative else torch.zeros_like(x, dtype=torch.bool)
    return low | torch.isposinf(x) if positive else low


@converts("IsInf")
def is_infinite(node: Node) -> nn.Module:
    """Either sign may be left out."""
    return Function(
        _is_infinite, negative=bool(node.attribute("detect_negative", 1)),
        positive=bool(node.attribute("detect_positive", 1)),
    )  # fmt: skip


def _cast(x: Tensor, *, dtype: torch.dtype) -> Tensor:
    return x.to(dtype)


@converts("Cast")
def cast(node: Node) -> nn.Module:
    """To any element type that PyTorch has."""
    return Function(_cast, dtype=torch_dtype(dtype_name(node.attribute("to"))))


@converts("CastLike")
def cast_like(node: Node) -> nn.Module:
    """To the element type of operand 1."""
    node.ignore(1)
    return Function(_cast, dtype=torch_dtype(node.operand(1).tensor.dtype))


@converts("Identity")
def identity(node: Node) -> nn.Module:
    """No layer: its reader reads what it reads."""
    return nn.Identity()


@converts("Dropout")
def dropout(node: Node) -> nn.Module:
    """The identity in eval mode, as in ONNX; it drops in train mode."""
    node.refuse_results()
    training: Any = node.optional(2)
    if training is not None and bool(np.any(training)):
        raise UnsupportedOpError("it drops at inference")
    ratio = node.setting("ratio", 1)
    return nn.Dropout(0.5 if ratio is None else float(ratio))
