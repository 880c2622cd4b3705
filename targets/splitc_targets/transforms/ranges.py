# SPDX-License-Identifier: Apache-2.0
"""Which values of a graph are whole numbers, and between which bounds.

A quantised network arrives as arithmetic on floats (source/quantised.py). Where a fused expression
ends in rounding and clipping, its values are whole numbers of a known range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.graph.graph import Node, Value
from splitc_targets.kernels.families import LARGEST_OF_WINDOWS
from splitc_targets.transforms.fuse import ANCHORS

Range = tuple[float, float]
"""The least and the largest of values that are whole numbers."""

BYTE = 255
_FARTHEST = 2.0**15
"""Largest distance of a byte's numbers from 0 that is looked at."""
_ROUNDINGS = ("round", "floor", "ceil")
_MOVES = (
    "reshape", "flatten", "squeeze", "expand_dims", "permute_dims", "strided_slice", "split",
    "take", "broadcast_to", *LARGEST_OF_WINDOWS,
)  # fmt: skip
"""Operations that give values of their first input."""


@dataclass
class Ranges:
    """Which values are whole numbers, and between which bounds."""

    known: dict[Value, Range | None] = field(default_factory=dict[Value, Range | None])

    def byte(self, value: Value) -> Range | None:
        """The range of a value that can be held in bytes; None for others."""
        found = self.of(value)
        if found is None or found[1] - found[0] > BYTE or max(map(abs, found)) > _FARTHEST:
            return None
        return found

    def of(self, value: Value) -> Range | None:
        """The range of a value; None where it may not be whole."""
        if value not in self.known:
            self.known[value] = self._found(value)
        return self.known[value]

    def _found(self, value: Value) -> Range | None:
        node = value.producer
        if value.data is not None and value.size and value.dtype == "float32":
            low, high = float(value.data.min()), float(value.data.max())
            return (low, high) if bool((value.data == np.rint(value.data)).all()) else None
        if node is None or value.dtype != "float32":
            return None
        if node.op == "map":
            return self.whole(node.attrs["expression"], node.inputs)
        if node.op in ANCHORS:
            own = self.of(node.args[0]) if node.op in LARGEST_OF_WINDOWS else None
            return self.whole(node.attrs["expression"], [own, *node.args[-1]])
        if node.op == "astype" and node.inputs[0].dtype in ("uint8", "int8"):
            limits = np.iinfo(node.inputs[0].dtype)
            return float(limits.min), float(limits.max)
        if node.op == "concat":
            parts = [self.of(part) for part in node.inputs]
            bounds = [part for part in parts if part is not None]
            if len(bounds) < len(parts):
                return None
            return min(low for low, _ in bounds), max(high for _, high in bounds)
        if node.op in _MOVES:
            return self.of(node.inputs[0])
        return self._alone(node)

    def _alone(self, node: Node) -> Range | None:
        """The range of what an operation gives that is fused with none yet."""
        if node.op in _ROUNDINGS:
            return -math.inf, math.inf
        args = [self.of(value) for value in node.inputs]
        if node.op not in ("nn.pad", *_INTERVALS) or len(args) != 2:
            return None
        left, right = args
        if left is None or right is None:
            return None
        if node.op == "nn.pad":
            return min(left[0], right[0]), max(left[1], right[1])
        return _INTERVALS[node.op](left, right)

    def whole(
        self, expression: Expression, operands: Sequence[Value | Range | None]
    ) -> Range | None:
        """The range of an expression; None where it may not be whole."""
        if isinstance(expression, Num):
            value = expression.value
            return (value, value) if is_whole(value) else None
        if isinstance(expression, Arg):
            operand = operands[expression.index]
            return self.of(operand) if isinstance(operand, Value) else operand
        if expression.op in _ROUNDINGS:
            return -math.inf, math.inf
        args = [self.whole(arg, operands) for arg in expression.args]
        if expression.op not in _INTERVALS or len(args) != 2:
            return None
        left, right = args
        return None if left is None or right is None else _INTERVALS[expression.op](left, right)


def _sum(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _difference(a: Range, b: Range) -> Range:
    return a[0] - b[1], a[1] - b[0]


def _larger(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), max(a[1], b[1])


def _smaller(a: Range, b: Range) -> Range:
    return min(a[0], b[0]), min(a[1], b[1])


_INTERVALS: dict[str, Callable[[Range, Range], Range]] = {
    "add": _sum, "subtract": _difference, "maximum": _larger, "minimum": _smaller,
    "larger": _larger, "smaller": _smaller,
}  # fmt: skip
"""Operations on whole numbers that give whole numbers."""


def is_whole(number: float) -> bool:
    """Whether a number has no fraction."""
    return math.isfinite(number) and number == round(number)


def unshifted(value: Value) -> tuple[Value, float]:
    """What a value is but for a whole number that is added: (source, that number)."""
    shift = 0.0
    while value.producer is not None and value.producer.op == "map":
        if value.producer.inputs[0].shape != value.shape:
            break
        expression = value.producer.attrs["expression"]
        match expression:
            case Do("add", (Arg(), Num(value=by))) if is_whole(by):
                shift += by
            case Do("subtract", (Arg(), Num(value=by))) if is_whole(by):
                shift -= by
            case _:
                break
        value = value.producer.inputs[0]
    return value, shift
