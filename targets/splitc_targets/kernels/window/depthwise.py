# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Depthwise convolution: windows (windows.py) whose taps multiply and add.

Weights are packed [kernel row][kernel column][channel], so that a vector of them meets a vector
of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc_targets.kernels.window.geometry import Windows
from splitc_targets.kernels.window.windows import Spot, Writer, arguments
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.fused import without_bias
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Depthwise(Windows):
    """A convolution of each channel with a kernel of its own; operand 0 is the sum."""


def pack(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Weights [channels][1][rows][columns] in the order the kernel reads them, flat."""
    return np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0), dtype=np.float32).ravel()


def kernel(name: str, spec: Depthwise, machine: Machine) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR."""
    taps = spec.kernel[0] * spec.kernel[1]
    parameters = arguments(spec, [Argument("w", (taps * spec.channels,))])

    def write(code: Code, *arrays: Array) -> None:
        _Writer(code, spec, machine, arrays).tasks()

    return emit.function(name, parameters, write)


class _Writer(Writer):
    def __init__(
        self, code: Code, spec: Depthwise, machine: Machine, arrays: Sequence[Array]
    ) -> None:
        expression, self.bias = without_bias(spec.expression, spec.operands)
        super().__init__(code, replace(spec, expression=expression), machine, arrays)
        self.w = arrays[1]

    def first(self, spot: Spot) -> Value:
        if self.bias is None:
            return super().first(spot)
        value = self.epilogue.constant(self.bias, spot.channel, spot.used)
        return self.code.bind(value, "bias")

    def tap(self, spot: Spot, row: Index, column: int) -> Value:
        place = (row * self.spec.kernel[1] + column) * self.spec.channels
        return self.code.bind(self.w.at(place + spot.channel, self.lanes, spot.used), "b")

    def meet(self, total: Value, value: Value, tap: Value) -> Value:
        return emit.fma(value, tap, total, self.vector, fused=self.machine.fma)
