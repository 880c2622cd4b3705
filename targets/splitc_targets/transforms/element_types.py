# SPDX-License-Identifier: Apache-2.0
"""Which tensors lie in memory as bytes or float16, and which products are of those.

A quantised network arrives as arithmetic on floats (source/quantised.py). Where a fused
expression ends in rounding and clipping, its values are whole numbers of a known range; where
the weights of a convolution or matrix product are whole numbers within a byte too, it can be
computed on bytes (kernels/product/dot.py), if the machine has an instruction for that. Then its
input is written and read as bytes, number = byte + offset; other readers read the same bytes, or
floats made of them. Networks in float16, which are computed in float32 (widen.py), are held and
multiplied as float16 where the machine multiplies such.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num, heavy, operations, substitute
from splitc_targets.graph.graph import (
    NARROW,
    Graph,
    Node,
    Value,
    is_depthwise,
    usual_layouts,
    whole_numbers,
)
from splitc_targets.machine.machine import Machine
from splitc_targets.transforms.fuse import ANCHORS
from splitc_targets.transforms.widen import HALF

Range = tuple[float, float]
"""The least and the largest of values that are whole numbers."""

CONVOLUTIONS = ("nn.conv2d", "nn.conv1d")
_MULTIPLIES = (*CONVOLUTIONS, "matmul")
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
_LARGEST_HALF = 65504.0
_DEEP = 32
"""Input channels from which on products in float16 are worth adding up in two steps."""
_FEW = 4
"""Operations on a byte that are done again by whoever reads it."""


@dataclass(frozen=True)
class Form:
    """How a tensor lies in memory: elements of a type, number = element + offset."""

    dtype: str
    offset: float = 0.0


def narrow(graph: Graph, machine: Machine) -> None:
    """Hold tensors in fewer bytes than floats take, and mark products of such: attribute `form`.

    Args:
        graph: With elementwise operations fused.
        machine: Whose instructions say what bytes are multiplied as, and whether float16 is.
    """
    forms: dict[Value, Form] = {}
    products: dict[Value, list[Node]] = {}
    ranges = Ranges()
    for node in graph.nodes:
        if machine.multiplying("int8"):
            for value in node.outputs:
                ranges.of(value)  # in their order, so that none has far to look back
        found = _product(node, machine, ranges)
        if found is not None:
            source, form, read = found
            if forms.setdefault(source, form) == form:
                products.setdefault(source, []).append(node)
                node.attrs["form"] = read
    quantised = any(form.dtype != HALF for form in forms.values())
    consumers = graph.consumers()
    for value in (value for node in graph.nodes for value in node.outputs):
        readers = consumers.get(value, [])
        if value in forms or value in graph.outputs or not _made_narrow(value):
            continue
        if readers and all(_can_read(reader, value) for reader in readers):
            form = Form(HALF) if value.half and machine.multiplying(HALF) else None
            if quantised and form is None:
                form = _unmoved(ranges.byte(value))
            if form is not None:
                forms[value] = form
    for value in list(forms):
        _join(forms, value, forms[value])
    _hold(graph, forms, products)
    _take_in(graph)
    graph.prune()


def _product(node: Node, machine: Machine, ranges: Ranges) -> tuple[Value, Form, Form] | None:
    """What a product reads other than floats, how that is held, and how the product reads it."""
    bytewise = machine.multiplying("int8")
    if bytewise is not None and has_bytes(node):
        source, shift = _unshifted(node.args[0])
        form = _form(ranges.byte(source), bytewise.reads)
        if form is not None:
            read = Form(form.dtype, form.offset + shift)
            # Twice, which leaves room for a bias.
            if 2 * (_BYTE + abs(read.offset)) * _summed(node) < _SUMS:
                return source, form, read
    if machine.multiplying(HALF) and node.outputs and node.output.half and has_halves(node):
        return node.args[0], Form(HALF), Form(HALF)
    return None


def _form(found: Range | None, dtype: str) -> Form | None:
    """How whole numbers are held as bytes of a type, if they can be."""
    if found is None:
        return None
    return Form(dtype, found[0] if dtype == "uint8" else found[0] + (_BYTE + 1) // 2)


def _unmoved(found: Range | None) -> Form | None:
    """How whole numbers are held as the bytes that they are, if they can be."""
    for dtype in ("uint8", "int8"):
        limits = np.iinfo(dtype)
        if found is not None and limits.min <= found[0] and found[1] <= limits.max:
            return Form(dtype)
    return None


def _made_narrow(value: Value) -> bool:
    node = value.producer
    if node is not None and node.op == "concat":
        return all(map(_made_narrow, node.inputs))
    return node is not None and _writes_narrow(node)


def _join(forms: dict[Value, Form], value: Value, form: Form) -> None:
    """Have the parts of a concatenation held as the whole is, so that it stays a mere place."""
    node = value.producer
    if node is None or node.op != "concat" or not _joins(forms, value, form):
        return
    node.attrs["form"] = form
    for part in node.inputs:
        forms[part] = form
        _join(forms, part, form)


def _joins(forms: dict[Value, Form], value: Value, form: Form) -> bool:
    """Whether a value, and for a concatenation all parts, can be held in a form."""
    node = value.producer
    if forms.get(value, form) != form or not _made_narrow(value):
        return False
    if form.dtype == HALF and not value.half:
        return False
    if node is None or node.op != "concat":
        return True
    return all(_joins(forms, part, form) for part in node.inputs)


def _hold(graph: Graph, forms: dict[Value, Form], products: dict[Value, list[Node]]) -> None:
    """Have values written in their forms, and read in them where kernels can."""
    consumers = graph.consumers()
    first: list[Node] = []
    after: dict[Node, list[Node]] = {}
    for source, form in forms.items():
        made_by = source.producer
        given = _given(made_by, form)
        held = given or Value(source.shape, form.dtype)
        for node in products.get(source, []):
            node.args[0] = held
        if given is not None:
            continue
        added = first if made_by is None else after.setdefault(made_by, [])
        kept = source.half or form.dtype != HALF
        if made_by is not None and kept and _writes_narrow(made_by):
            readers = [r for r in consumers.get(source, []) if source in r.inputs]
            rest = [r for r in readers if not _read_held(r, source, held, form.offset)]
            _write_held(made_by, held, form.offset)
            if rest or source in graph.outputs:
                added.append(_shifting(held, form.offset, source))
        else:
            added.append(_shifting(source, -form.offset, held))
    nodes = [each for node in graph.nodes for each in (node, *after.get(node, []))]
    graph.nodes = [*first, *nodes]


def _given(made_by: Node | None, form: Form) -> Value | None:
    """What was converted to floats, where that lies in the form already."""
    if made_by is None or made_by.op != "astype" or made_by.inputs[0].dtype != form.dtype:
        return None
    return made_by.inputs[0]


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
        if held.dtype not in NARROW or held.shape != made.shape or len(readers) != 1:
            continue
        (reader,) = readers
        expression = node.attrs["expression"]
        if len(operations(expression)) > _FEW or heavy(expression):
            continue
        if not _reads_beside(reader, made):
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
            return (value, value) if _is_whole(value) else None
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
    if node.op not in _MULTIPLIES:
        return False
    x, data = node.args[0], node.args[1].data
    if data is None or x.dtype != "float32" or data.dtype != np.float32 or data.size == 0:
        return False
    if node.op in CONVOLUTIONS:
        if not usual_layouts(node) or (data.shape[1] % 4 != 0 and node.attrs["groups"] > 1):
            return False
    elif data.ndim != 2 or len(x.shape) < 2 or data.shape[0] % 4:
        return False
    whole = whole_numbers(data) and data.min() >= -128 and data.max() <= 127
    return whole and x.size > 0


def _summed(node: Node) -> float:
    """The largest sum of a result's weights, all taken as positive."""
    data = node.args[1].data
    axes = (0,) if node.op == "matmul" else tuple(range(1, data.ndim))
    return float(np.abs(data, dtype=np.float64).sum(axes).max())


def _is_whole(number: float) -> bool:
    return math.isfinite(number) and number == round(number)


def _unshifted(value: Value) -> tuple[Value, float]:
    """What a value is but for a whole number that is added: (source, that number)."""
    shift = 0.0
    while value.producer is not None and value.producer.op == "map":
        if value.producer.inputs[0].shape != value.shape:
            break
        expression = value.producer.attrs["expression"]
        match expression:
            case Do("add", (Arg(), Num(value=by))) if _is_whole(by):
                shift += by
            case Do("subtract", (Arg(), Num(value=by))) if _is_whole(by):
                shift -= by
            case _:
                break
        value = value.producer.inputs[0]
    return value, shift


def has_halves(node: Node) -> bool:
    """Whether a node multiplies by constants, deep enough for float16 to pay."""
    if node.op not in _MULTIPLIES:
        return False
    x, data = node.args[0], node.args[1].data
    if data is None or x.dtype != "float32" or x.data is not None or 0 in (x.size, data.size):
        return False
    if np.abs(data).max() > _LARGEST_HALF:
        return False
    if node.op in CONVOLUTIONS:
        return usual_layouts(node) and data.shape[1] >= _DEEP
    return data.ndim == 2 and len(x.shape) > 1 and data.shape[0] >= _DEEP


def _writes_narrow(node: Node) -> bool:
    """Whether the kernel of a node can write other than floats."""
    if node.op == "map" or (node.op == "concat" and "form" in node.attrs):
        return True
    if node.op not in (*CONVOLUTIONS, *_POOLS, "matmul") or "expression" not in node.attrs:
        return False  # of integers or doubles, which nothing is fused behind
    if heavy(node.attrs["expression"]):
        return False
    if node.op in _POOLS or "form" in node.attrs:
        return True
    data = node.args[1].data
    if data is None or not (node.op == "matmul" or usual_layouts(node)):
        return False
    if node.op == "matmul":
        return data.ndim == 2 and len(node.args[0].shape) > 1
    # Winograd's algorithm, which gives floats, is for three rows and columns without strides.
    apart = data.shape[2:] != (3, 3) or tuple(node.attrs["strides"]) != (1, 1)
    return apart or whole_numbers(data) or _depthwise(node)


def _depthwise(node: Node) -> bool:
    """Whether the rule for depthwise convolutions takes a node."""
    known = node.op in CONVOLUTIONS and node.args[1].data is not None
    return known and usual_layouts(node) and is_depthwise(node)


def _is_window(node: Node) -> bool:
    """Whether a node's kernel takes windows of each channel for itself."""
    if "expression" not in node.attrs:
        return False
    return _depthwise(node) or (node.op in _POOLS and node.args[0].dtype == "float32")


def _write_held(node: Node, held: Value, offset: float) -> None:
    if node.op != "concat":  # whose parts are written so
        node.attrs["expression"] = _plus(node.attrs["expression"], -offset)
    node.outputs = [held]
    held.producer = node


def _read_held(node: Node, value: Value, held: Value, offset: float) -> bool:
    """Have a node read a value as it is held; False where it cannot read all of it so."""
    if offset == 0 and _slides_over(node, value):
        node.args[0] = held
        return True
    if node.op == "concat" and node.attrs.get("form") == Form(held.dtype, offset):
        node.args[0] = [held if part is value else part for part in node.args[0]]
        return True
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
    if node.op not in (*CONVOLUTIONS, "matmul") or not _writes_narrow(node):
        return False
    return node.args[0] is not value and value in node.args[-1]


def _slides_over(node: Node, value: Value) -> bool:
    """Whether a node's kernel takes windows of a value, and reads other than floats too."""
    return _is_window(node) and node.args[0] is value and value not in node.args[-1]


def _can_read(node: Node, value: Value) -> bool:
    """Whether a node's kernel reads a value that is held without an offset."""
    return node.op == "map" or _slides_over(node, value) or _reads_beside(node, value)


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
