# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Winograd's convolution of bfloat16: F(2x2, 3x3) with its products on pairs of channels.

The stages are those of `kernel`. Input is read as bfloat16 and transformed in float32; what is
multiplied, v and u, is rounded to bfloat16; sums and what follows them are float32. Rounding
twice makes an error of 1.6 times that of the direct products in bfloat16; with tiles of 4 x 4 it
would be 4 times. u takes less than the weights do in float32, so it is made when compiling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.kernels.product import pairs
from splitc_targets.kernels.product.direct import operand_arguments
from splitc_targets.kernels.product.geometry import PAIR, Conv, input_size, result_size
from splitc_targets.kernels.winograd.form import Form
from splitc_targets.kernels.winograd.kernel import Writer
from splitc_targets.kernels.winograd.plan import Plan, filter_size, plan
from splitc_targets.kernels.winograd.transforms import filter_matrix
from splitc_targets.loops import bfloat16, emit
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.emit import Argument, Array, Code, Value, Words
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine

M = 2
"""Rows and columns of a tile of results."""


def scratch(conv: Conv, machine: Machine) -> tuple[int, int]:
    """Elements that the kernel works in: of bfloat16, and of float32."""
    made = plan(conv, machine, M, PAIR)
    return made.v_count, made.workspace


def pack(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """u = G g G^T, rounded, of weights [out channels][channels][3][3]: int32, of two channels each.

    It lies as the kernel reads it: [block][n n][register block][pairs of channels][its out
    channels].
    """
    made = plan(conv, machine, M, PAIR)
    matrix, wide = filter_matrix(Form(M)), sum(made.vectors) * machine.lanes
    u = np.einsum("ar,kcrs,bs->abkc", matrix, weights.astype(np.float64), matrix)
    words = np.ascontiguousarray(pairs.rounded(u)).view(np.int32)
    words = words.reshape(made.work.positions, conv.out_channels, conv.channels // PAIR)
    words = np.pad(words.transpose(0, 2, 1), ((0, 0), (0, 0), (0, wide - conv.out_channels)))
    packed = np.empty(filter_size(conv, machine, M, PAIR), np.int32)
    first = at = 0
    for number in range(made.blocks):
        vectors = made.vectors[number * made.group : (number + 1) * made.group]
        parts: list[np.ndarray[Any, Any]] = []
        for each in vectors:
            parts.append(words[:, :, first : first + each * machine.lanes].reshape(len(words), -1))
            first += each * machine.lanes
        block = np.concatenate(parts, axis=1).ravel()
        packed[at : at + block.size] = block
        at += block.size
    return packed


def kernel(name: str, conv: Conv, machine: Machine, row: MultiplyAdd, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, v, workspace, y) in TVM's tensor IR.

    Args:
        name: The function's.
        conv: In channels, which are even.
        machine: As the instruction's tiles see it.
        row: The instruction.
        packed: Elements of the weights.
    """
    made = plan(conv, machine, M, PAIR)
    arguments = [
        Argument("x", (input_size(conv),), BF16), Argument("w", (packed,), "int32"),
        *operand_arguments(conv), Argument("v", (made.v_count,), BF16),
        Argument("workspace", (made.workspace,)),
        Argument("y", (result_size(conv),), conv.y_dtype),
    ]  # fmt: skip

    def write(code: Code, *arrays: Array) -> None:
        code.include(bfloat16.multiply_add(row))
        _Paired(code, conv, machine, made, arrays, row).write()

    return emit.function(name, arguments, write)


class _Paired(Writer):
    """Two channels a step."""

    def __init__(
        self, code: Code, conv: Conv, machine: Machine, made: Plan, arrays: tuple[Array, ...],
        row: MultiplyAdd,
    ) -> None:  # fmt: skip
        super().__init__(code, conv, machine, made, arrays)
        self.row = row

    @property
    def factors(self) -> Array:
        return Words(self.v, PAIR)

    def meet(self, pixel: Value, weights: Value, total: Value) -> Value:
        return emit.multiply_add(self.row, pixel, weights, total)
