# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a quantised network lie in memory as bytes, and which products are of bytes.

A quantised network arrives as arithmetic on floats (integers.py). Where a fused expression ends
in rounding and clipping, its values are whole numbers of a known range; where the weights of a
convolution or matrix product are whole numbers within a byte too, it can be computed on bytes
(dot.py), if the machine has an instruction for that. Then its input is written and read as
bytes, number = byte + offset; other readers read the same bytes, or floats made of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from splitc_targets.schedules.expression import (
    Arg,
    Do,
    Expression,
    Num,
    heavy,
    operations,
    substitute,
)
from splitc_targets.schedules.fuse import ANCHORS
from splitc_targets.schedules.graph import Graph, Node, Value, whole_numbers
from splitc_targets.schedules.machine import Machine

Range = tuple[float, float]
"""The least and the largest of values that are whole numbers."""

CONVOLUTIONS = ("nn.conv2d", "nn.conv1d")
_POOLS = ("nn.max_pool2d", "nn.max_pool1d")
_MOVES = (
    "reshape", "flatten", "squeeze", "expand_dims", "permute_dims", "strided_slice", "split",
    "take", "broadcast_to", *_POOLS,
)  # fmt: skip
"""Operations that give values of their first input."""

_BYTE = 255
_FARTHEST = 2.0**15
"""Largest distance of a byte's numbers from 0 that is looked at."""
_SUMS = 2**31
_FEW = 4
"""Operations on a byte that are done again by whoever reads it."""


def narrow(graph: Graph, machine: Machine) -> None:
    """Hold what products of bytes read as bytes, and mark the products by an attribute `offset`.

    Args:
        graph: With elementwise operations fused.
        machine: Whose `dot` says what bytes are read as; nothing is done where that is empty.
    """
    if not machine.dot:
        return
    ranges = Ranges()
    sources: dict[Value, list[tuple[Node, float]]] = {}
    for node in graph.nodes:
        if not has_bytes(node) or node.args[0].size == 0:
            continue
        source, shift = _unshifted(node.args[0])
        if ranges.byte(source) is not None:
            sources.setdefault(source, []).append((node, shift))
    consumers = graph.consumers()
    after: dict[Node, list[Node]] = {}
    for source, products in sources.items():
        low, _ = ranges.byte(source) or (0.0, 0.0)
        offset = low if machine.dot == "uint8" else low + (_BYTE + 1) // 2
        made_by = source.producer
        assert made_by is not None
        given = made_by.op == "astype" and made_by.inputs[0].dtype == machine.dot
        held = made_by.inputs[0] if given else Value(source.shape, machine.dot)
        added = after.setdefault(made_by, [])
        for node, shift in products:
            node.args[0] = held
            node.attrs["offset"] = round(offset + shift)
        if given:
            continue
        if _writes_bytes(made_by):
            readers = [r for r in consumers.get(source, []) if source in r.inputs]
            rest = [r for r in readers if not _read_as_bytes(r, source, held, offset)]
            _write_as_bytes(made_by, held, offset)
            if rest or source in graph.outputs:
                added.append(_shifting(held, offset, source))
        else:
            added.append(_shifting(source, -offset, held))
    graph.nodes = [each for node in graph.nodes for each in (node, *after.get(node, []))]
    _take_in(graph)
    graph.prune()


def _take_in(graph: Graph) -> None:
    """Compute what is made of bytes alone where it is read, instead of storing it as floats.

    That is what a residual adds to a convolution: a few operations on a byte.
    """
    consumers = graph.consumers()
    for node in graph.nodes:
        if node.op != "map" or len(node.inputs) != 1 or node.output in graph.outputs:
            continue
        (held,), made = node.inputs, node.output
        readers = consumers.get(made, [])
        if held.dtype not in ("uint8", "int8") or held.shape != made.shape or len(readers) != 1:
            continue
        (reader,) = readers
        expression = node.attrs["expression"]
        if len(operations(expression)) > _FEW or not _reads_beside(reader, made):
            continue
        if held not in reader.args[-1]:
            place = reader.args[-1].index(made)
            reader.args[-1][place] = held
            taken = substitute(expression, lambda _, at=place: Arg(at + 1))
            reader.attrs["expression"] = substitute(
                reader.attrs["expression"],
                lambda i, at=place, taken=taken: taken if i == at + 1 else Arg(i),
            )


@dataclass
class Ranges:
    """Which values are whole numbers, and between which bounds."""

    known: dict[Value, Range | None] = field(default_factory=dict[Value, Range | None])

    def byte(self, value: Value) -> Range | None:
        """The range of a value that can be held in bytes; None for others."""
        found = self.of(value)
        if found is None or found[1] - found[0] > _BYTE or max(map(abs, found)) > _FARTHEST:
            return None
        return found

    def of(self, value: Value) -> Range | None:
        """The range of a value; None where it may not be whole."""
        if value not in self.known:
            self.known[value] = self._found(value)
        return self.known[value]

    def _found(self, value: Value) -> Range | None:
        node = value.producer
        if node is None or value.dtype != "float32":
            return None
        if node.op == "map":
            return self.whole(node.attrs["expression"], node.inputs)
        if node.op in ANCHORS:
            own = self.of(node.args[0]) if node.op in _POOLS else None
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
        return self.of(node.inputs[0]) if node.op in _MOVES else None

    def whole(
        self, expression: Expression, operands: Sequence[Value | Range | None]
    ) -> Range | None:
        """The range of an expression; None where it may not be whole."""
        if isinstance(expression, Num):
            value = expression.value
            return (value, value) if value == round(value) else None
        if isinstance(expression, Arg):
            operand = operands[expression.index]
            return self.of(operand) if isinstance(operand, Value) else operand
        if expression.op in ("round", "floor", "ceil"):
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


def has_bytes(node: Node) -> bool:
    """Whether a node multiplies by constants that are whole numbers within a signed byte."""
    if len(node.args) < 2 or not isinstance(node.args[1], Value):
        return False
    x, data = node.args[0], node.args[1].data
    if data is None or x.dtype != "float32" or data.dtype != np.float32 or data.size == 0:
        return False
    if node.op in CONVOLUTIONS:
        attrs, groups = node.attrs, node.attrs["groups"]
        known = attrs["data_layout"] in ("NCHW", "NCW") and attrs["kernel_layout"] in (
            "OIHW",
            "OIW",
        )
        few = data.shape[1] % 4 != 0 and groups > 1
        if not known or few:
            return False
        summed: tuple[int, ...] = tuple(range(1, data.ndim))
    elif node.op == "matmul" and data.ndim == 2 and len(x.shape) > 1 and data.shape[0] % 4 == 0:
        summed = (0,)
    else:
        return False
    whole = whole_numbers(data) and data.min() >= -128 and data.max() <= 127
    # A start of as much again leaves room for the bias.
    return bool(whole and 4 * _BYTE * np.abs(data, dtype=np.float64).sum(summed).max() < _SUMS)


def _unshifted(value: Value) -> tuple[Value, float]:
    """What a value is but for a whole number that is added: (source, that number)."""
    shift = 0.0
    while value.producer is not None and value.producer.op == "map":
        expression = value.producer.attrs["expression"]
        match expression:
            case Do("add", (Arg(), Num(value=by))) if by == round(by):
                shift += by
            case Do("subtract", (Arg(), Num(value=by))) if by == round(by):
                shift -= by
            case _:
                break
        if value.producer.inputs[0].shape != value.shape:
            break
        value = value.producer.inputs[0]
    return value, shift


def _writes_bytes(node: Node) -> bool:
    """Whether the kernel of a node can write bytes."""
    if node.op == "map":
        return True
    if node.op not in (*CONVOLUTIONS, *_POOLS, "matmul") or heavy(node.attrs["expression"]):
        return False
    return node.op in _POOLS or has_bytes(node) or "offset" in node.attrs or _depthwise(node)


def _depthwise(node: Node) -> bool:
    if node.op not in CONVOLUTIONS or node.args[1].data is None:
        return False
    x, w = node.args[0], node.args[1]
    layouts = (node.attrs["data_layout"], node.attrs["kernel_layout"])
    known = layouts in (("NCHW", "OIHW"), ("NCW", "OIW"))
    return known and node.attrs["groups"] == x.shape[1] == w.shape[0] and x.shape[1] > 1


def _write_as_bytes(node: Node, held: Value, offset: float) -> None:
    node.attrs["expression"] = _plus(node.attrs["expression"], -offset)
    node.outputs = [held]
    held.producer = node


def _read_as_bytes(node: Node, value: Value, held: Value, offset: float) -> bool:
    """Have a node's expression read the bytes; False where it cannot read all of them so."""
    if node.op == "map":
        first, operands = 0, node.args[0]
    elif _reads_beside(node, value):
        first, operands = 1, node.args[-1]
    else:
        return False
    place = operands.index(value)
    operands[place] = held
    node.attrs["expression"] = substitute(
        node.attrs["expression"],
        lambda i: _plus(Arg(i), offset) if i == first + place else Arg(i),
    )
    return True


def _reads_beside(node: Node, value: Value) -> bool:
    """Whether a product's kernel reads a value for its expression alone, and can read bytes."""
    if node.op not in (*CONVOLUTIONS, "matmul") or not _writes_bytes(node):
        return False
    return node.args[0] is not value and value in node.args[-1]


def _plus(expression: Expression, number: float) -> Expression:
    if number == 0:
        return expression
    op = "add" if number > 0 else "subtract"
    return Do(op, (expression, Num(abs(number))))


def _shifting(source: Value, by: float, target: Value) -> Node:
    """A node that turns bytes into floats, or floats into bytes."""
    node = Node("map", [[source]], {"expression": _plus(Arg(0), by)}, [target])
    target.producer = node
    return node
