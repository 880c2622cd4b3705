# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What a kernel does between a result's sum and memory, for one element."""

from __future__ import annotations

from collections.abc import Sequence

from splitc_targets.gpu.loops.arithmetic import finished
from splitc_targets.loops.emit import Array, Code, Index, Value
from splitc_targets.loops.fused import Fused


def store(
    code: Code, spec: Fused, extra: Sequence[Array], y: Array, out: Index, total: Value,
    channel: Index, place: tuple[Index, Index, Index], size: tuple[int, int],
) -> None:  # fmt: skip
    """Store what becomes of a sum: `value`, as element `out` of the result `y`."""
    code.store(y, out, value(code, spec, extra, total, channel, place, size))


def value(
    code: Code, spec: Fused, extra: Sequence[Array], total: Value, channel: Index,
    place: tuple[Index, Index, Index], size: tuple[int, int],
) -> Value:  # fmt: skip
    """What becomes of a sum.

    Args:
        code: Gets the statements.
        spec: The kernel's description.
        extra: The operands' arrays.
        total: The sum, a float.
        channel: The result's channel.
        place: Its image, row and column.
        size: The result's rows and columns.
    """
    image, row, column = place

    def read(number: int) -> Value:
        if number == 0:
            return total
        operand, array = spec.operands[number - 1], extra[number - 1]
        if operand.kind == "scalar":
            return array.number(0)
        if operand.kind == "channel":
            return array.number(channel)
        steps = operand.steps(*size)
        return array.number(image * steps[0] + row * steps[1] + column * steps[2] + channel)

    return finished(code, spec.expression, read, spec.y_dtype)
