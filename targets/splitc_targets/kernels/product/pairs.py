# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolution of bfloat16 by bfloat16: the direct kernel (direct.py) on pairs of channels.

One instruction multiplies two channels of a pixel by two of the weights in every lane and adds
the products to a float32. Weights are rounded once, when compiling; what is fused behind the
sums is computed in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.kernels.product import direct, geometry
from splitc_targets.kernels.product.direct import InstructionWriter
from splitc_targets.kernels.product.geometry import PAIR, Conv
from splitc_targets.loops import bfloat16, emit
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.emit import Argument, Array, Code, Words
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine


def rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32 as the nearest bfloat16, ties to even, in uint16.

    As the instruction does it: numbers below float32's normal ones become 0.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    up = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    up = np.where(np.isnan(values), (bits >> 16) | 0x40, up)
    normal = (bits & 0x7F800000) != 0
    return np.where(normal, up, (bits >> 16) & 0x8000).astype(np.uint16)


def pack(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns], rounded, as the kernel reads them: int32.

    Args:
        weights: float32.
        conv: In pairs.
        machine: As the instruction's tiles see it.
    """
    return direct.pack(words(weights), conv, machine)


def words(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns], rounded, pairs of channels as one int32."""
    out, channels, *kernel = weights.shape
    both = rounded(weights).reshape(out, channels // PAIR, PAIR, *kernel)
    return np.ascontiguousarray(both.transpose(0, 1, 3, 4, 2)).view(np.int32)[..., 0]


def kernel(name: str, conv: Conv, machine: Machine, row: MultiplyAdd, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR.

    Args:
        name: The function's.
        conv: In pairs.
        machine: As the instruction's tiles see it.
        row: The instruction.
        packed: Elements of the weights.
    """
    flat = geometry.flattened(conv)
    arguments = [
        Argument("x", (geometry.input_size(flat) * PAIR,), BF16),
        Argument("w", (packed,), "int32"),
        *direct.operand_arguments(flat),
        Argument("y", (geometry.result_size(flat),), flat.y_dtype),
    ]

    def write(code: Code, x: Array, *arrays: Array) -> None:
        code.include(bfloat16.multiply_add(row))
        _Pairs(code, flat, machine, (Words(x, PAIR), *arrays), row).tasks()

    return emit.function(name, arguments, write)


class _Pairs(InstructionWriter):
    """Two channels a step."""
