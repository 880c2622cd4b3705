# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Quantised operators: bytes by scales and zero points, and their products.

Scales that are powers of two make every product exact, so that ties must be rounded as ONNX
says, to even; by other scales a number half way between two steps may become either, and the
shadow of what is read says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.random_networks.drawing import WIDTHS, Draw, picked
from tests.random_networks.network import Network, UnusableError
from tests.random_networks.windows import MAPS, groups_of, window

BYTES = ("uint8", "int8")
SCALES = (0.0625, 0.125, 0.05, 0.031, 0.017)
POWERS = frozenset(SCALES[:2])


class Steps:
    """A scale and a zero point, stored; the scale may be of each channel."""

    def __init__(
        self, draw: Draw, n: Network, dtype: str, scale: float, channels: int = 0,
        symmetric: bool = False,
    ) -> None:  # fmt: skip
        zero = {"uint8": draw.one_of(128, 0, 255, 100), "int8": draw.one_of(0, 3, -128)}[dtype]
        zero = {"uint8": 128, "int8": 0}[dtype] if symmetric else zero
        some = np.resize([scale, scale / 2, scale * 2], channels) if channels else scale
        self.scale = n.put(some, "float32")
        self.zero = n.put(np.full(channels, zero) if channels else zero, dtype)
        self.loose = scale not in POWERS


def _scale(draw: Draw, n: Network, reach: float) -> float:
    """A scale by which most of a range fits a byte."""
    base = draw.one_of(*SCALES)
    while base * 200 < reach:
        base *= 2
    return base


def quantise(draw: Draw, n: Network) -> str:
    """QuantizeLinear, by tensor or by channel, to either type of byte."""
    if n.opset < 10:
        raise UnusableError
    x = picked(draw, n, ["float32"])
    dtype = draw.one_of(*BYTES)
    scale = _scale(draw, n, float(np.abs(n[x].array).max()))
    value = n[x]
    by_channel = n.opset >= 13 and value.array.ndim > 1 and draw.one_of(0, 0, 1)
    steps = Steps(draw, n, dtype, scale, value.shape[1] if by_channel else 0)
    reads = [x, steps.scale, *([steps.zero] if dtype == "int8" or draw.yes() else [])]
    more = {"axis": 1} if by_channel else {}
    power = np.log2(scale) == np.rint(np.log2(scale))
    return n.op("QuantizeLinear", *reads, loose=() if power else (0,), **more)


def dequantise(draw: Draw, n: Network) -> str:
    """DequantizeLinear of bytes."""
    if n.opset < 10:
        raise UnusableError
    x = picked(draw, n, BYTES)
    steps = Steps(draw, n, n[x].dtype, draw.one_of(*SCALES))
    return n.op("DequantizeLinear", x, steps.scale, steps.zero)


def fake(draw: Draw, n: Network) -> str:
    """QuantizeLinear and DequantizeLinear, as quantised networks have them at each tensor."""
    if n.opset < 10:
        raise UnusableError
    x = picked(draw, n, ["float32"])
    scale = _scale(draw, n, float(np.abs(n[x].array).max()))
    steps = Steps(draw, n, draw.one_of(*BYTES), scale)
    power = np.log2(scale) == np.rint(np.log2(scale))
    y = n.op("QuantizeLinear", x, steps.scale, steps.zero, loose=() if power else (0,))
    return n.op("DequantizeLinear", y, steps.scale, steps.zero)


def _weights(draw: Draw, n: Network, shape: tuple[int, ...]) -> tuple[str, str]:
    dtype = draw.one_of("int8", "uint8")
    kind = draw.one_of("signed", "whole") if dtype == "int8" else "pixels"
    return n.weight(dtype, shape, kind), dtype


def _convolved(draw: Draw, n: Network) -> tuple[str, int, int, int, dict[str, Any]]:
    """A map of bytes to convolve: its channels, the groups and result channels, the window."""
    x = picked(draw, n, BYTES, MAPS)
    channels, sides = n[x].shape[1], n[x].shape[2:]
    groups = groups_of(draw, channels)
    given = window(draw, sides)
    out = groups * draw.one_of(1, 2) if groups > 1 else draw.one_of(*WIDTHS)
    return x, channels, groups, out, given


def fake_convolution(draw: Draw, n: Network) -> str:
    """Conv between bytes in the QDQ form: its input, weights and result quantised."""
    if n.opset < 13:
        raise UnusableError
    x, channels, groups, out, given = _convolved(draw, n)
    into = Steps(draw, n, n[x].dtype, draw.one_of(*SCALES))
    y = n.op("DequantizeLinear", x, into.scale, into.zero)
    shape = (out, channels // groups, *given["kernel_shape"])
    w, kind = _weights(draw, n, shape)
    of = Steps(draw, n, kind, draw.one_of(*SCALES), out if draw.yes() else 0, kind == "int8")
    axis = {"axis": 0} if n[of.scale].array.ndim else {}
    stored = n.op("DequantizeLinear", w, of.scale, of.zero, **axis)
    more = {"group": groups} if groups > 1 else {}
    y = n.op("Conv", y, stored, **more, **given)
    if draw.yes():
        y = n.op("Relu", y)
    scale = _scale(draw, n, float(np.abs(n[y].array).max()))
    made = Steps(draw, n, draw.one_of(*BYTES), scale)
    return n.op("QuantizeLinear", y, made.scale, made.zero, loose=(0,))


def byte_convolution(draw: Draw, n: Network) -> str:
    """QLinearConv, ConvInteger."""
    if n.opset < 10:
        raise UnusableError
    x, channels, groups, out, given = _convolved(draw, n)
    w, kind = _weights(draw, n, (out, channels // groups, *given["kernel_shape"]))
    more: dict[str, Any] = {"group": groups} if groups > 1 else {}
    into = Steps(draw, n, n[x].dtype, draw.one_of(*SCALES))
    if draw.one_of(0, 0, 1):
        zeros = [into.zero, n.put(0 if kind == "int8" else 100, kind)]
        zeros = zeros[: draw.one_of(2, 1, 0)]
        return n.op("ConvInteger", x, w, *zeros, **more, **given)
    of = Steps(draw, n, kind, draw.one_of(*SCALES), out if draw.yes() else 0, kind == "int8")
    reach = 30 * np.sqrt(channels / groups) * float(n[of.scale].array.max())
    made = Steps(draw, n, n[x].dtype, _scale(draw, n, reach))
    reads = [x, into.scale, into.zero, w, of.scale, of.zero, made.scale, made.zero]
    if draw.yes():
        reads.append(n.weight("int32", (out,), "signed"))
    return n.op("QLinearConv", *reads, loose=(6,), **more, **given)


def byte_product(draw: Draw, n: Network) -> str:
    """QLinearMatMul, MatMulInteger."""
    if n.opset < 10:
        raise UnusableError
    x = picked(draw, n, BYTES, (2, 3, 4))
    shape = n[x].shape
    columns = draw.one_of(*WIDTHS)
    w, kind = _weights(draw, n, (shape[-1], columns))
    into = Steps(draw, n, n[x].dtype, draw.one_of(*SCALES))
    if draw.yes():
        zeros = [into.zero, n.put(0 if kind == "int8" else 100, kind)]
        return n.op("MatMulInteger", x, w, *zeros[: draw.one_of(2, 1, 0)])
    of = Steps(draw, n, kind, draw.one_of(*SCALES))
    reach = 30 * np.sqrt(shape[-1]) * float(n[of.scale].array.max())
    made = Steps(draw, n, n[x].dtype, _scale(draw, n, reach))
    reads = [x, into.scale, into.zero, w, of.scale, of.zero, made.scale, made.zero]
    return n.op("QLinearMatMul", *reads, loose=(6,))


def byte_pair(draw: Draw, n: Network) -> str:
    """QLinearAdd, QLinearMul, QLinearSigmoid and others of onnxruntime's domain."""
    x = picked(draw, n, BYTES)
    dtype = n[x].dtype
    a, c = (Steps(draw, n, dtype, draw.one_of(*SCALES)) for _ in range(2))
    kind = draw.one_of("QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid",
                  "QLinearGlobalAveragePool", "QLinearConcat")  # fmt: skip
    ms = "com.microsoft"
    if kind in ("QLinearAdd", "QLinearMul"):
        y = picked(draw, n, [dtype], like=x)
        b = Steps(draw, n, dtype, draw.one_of(*SCALES))
        reads = [x, a.scale, a.zero, y, b.scale, b.zero, c.scale, c.zero]
        return n.op(kind, *reads, domain=ms, loose=(6,))
    if kind == "QLinearConcat":
        if n[x].array.ndim < 2:
            raise UnusableError
        y = picked(draw, n, [dtype], like=x)
        reads = [c.scale, c.zero, x, a.scale, a.zero, y, a.scale, a.zero]
        return n.op(kind, *reads, domain=ms, loose=(0,), axis=1)
    reads = [x, a.scale, a.zero, c.scale, c.zero]
    if kind == "QLinearGlobalAveragePool":
        if n[x].array.ndim != 4:
            raise UnusableError
        return n.op(kind, *reads, domain=ms, loose=(3,), channels_last=0)
    more = {"alpha": 0.1} if kind == "QLinearLeakyRelu" else {}
    return n.op(kind, *reads, domain=ms, loose=(3,), **more)


def dynamic(draw: Draw, n: Network) -> str:
    """DynamicQuantizeLinear; its scale and zero point stay to be read."""
    if n.opset < 11:
        raise UnusableError
    x = picked(draw, n, ["float32"])
    return n.ops("DynamicQuantizeLinear", x, results=3, loose=(0,))[0]


FAMILY = (
    quantise, dequantise, fake, byte_convolution, byte_product, fake_convolution, byte_convolution,
    byte_pair, dynamic,
)  # fmt: skip
