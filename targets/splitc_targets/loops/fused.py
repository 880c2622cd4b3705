# SPDX-License-Identifier: Apache-2.0
"""What is fused behind a kernel's sums, as data: the expression's operands, and its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from splitc_targets.graph.expression import Arg, Do, Expression, heavy, substitute
from splitc_targets.graph.graph import NARROW

SUM = Arg(0)
"""The expression that stores the sum as it is."""

TYPES = frozenset({"float32", *NARROW})
"""Element types that an epilogue reads beside the sum, and converts its result to."""


@dataclass(frozen=True)
class Operand:
    """What a fused expression reads beside the result: how its index follows the result's.

    Args:
        kind: "channel": a vector over output channels; "tensor": the result's own shape;
            "pixel": a number for each pixel, all channels alike; "scalar": one number.
        pixel, row, image: Distances between a tensor's neighbours, or those numbers, in
            elements; a row or image of 0 means that nothing lies between.
        dtype: A tensor's element type: floats or bytes.
    """

    kind: str
    pixel: int = 0
    row: int = 0
    image: int = 0
    dtype: str = "float32"

    def steps(self, height: int, width: int) -> tuple[int, int, int]:
        """Distances between images, rows and pixels of maps of that size."""
        row = self.row or width * self.pixel
        return self.image or height * row, row, self.pixel

    def size(self, batch: int, height: int, width: int, channels: int) -> int:
        """Elements from its first to its last, beside a result of that size."""
        along = {"channel": channels, "scalar": 1, "pixel": 1, "tensor": channels}[self.kind]
        if not self.by_pixel:
            return along
        image, row, pixel = self.steps(height, width)
        return (batch - 1) * image + (height - 1) * row + (width - 1) * pixel + along

    @property
    def by_pixel(self) -> bool:
        """Whether pixels read elements of their own."""
        return self.kind in ("tensor", "pixel")


class Fused(Protocol):
    """What of a kernel's description says how it ends."""

    @property
    def expression(self) -> Expression:
        """What is stored; operand 0 is the sum."""
        ...

    @property
    def operands(self) -> tuple[Operand, ...]:
        """Its other operands."""
        ...

    @property
    def y_dtype(self) -> str:
        """The result's element type."""
        ...


def beside_types(spec: Fused) -> tuple[str, ...]:
    """The element types of a kernel's last parameters: operands, then the result."""
    return (*(operand.dtype for operand in spec.operands), spec.y_dtype)


def converts(expression: Expression) -> bool:
    """Whether an epilogue converts its result: not where sums are stored in between, as floats."""
    return not heavy(expression)


def without_bias(
    expression: Expression, operands: Sequence[Operand]
) -> tuple[Expression, int | None]:
    """An expression without the bias that it adds to the sum, and which operand that is.

    Sums that begin with the bias save an addition for every result.
    """
    for number, operand in enumerate(operands):
        bias = Arg(number + 1)
        for added in (Do("add", (SUM, bias)), Do("add", (bias, SUM))):
            rest = _swapped(expression, added)
            if operand.kind == "channel" and rest != expression and not _reads_sum(rest):
                return substitute(rest, lambda index: SUM if index < 0 else Arg(index)), number
    return expression, None


def _swapped(expression: Expression, added: Expression) -> Expression:
    """The expression with an operand -1 for `added`."""
    if expression == added:
        return Arg(-1)
    if not isinstance(expression, Do):
        return expression
    return Do(expression.op, tuple(_swapped(arg, added) for arg in expression.args))


def _reads_sum(expression: Expression) -> bool:
    if isinstance(expression, Do):
        return any(map(_reads_sum, expression.args))
    return expression == SUM
