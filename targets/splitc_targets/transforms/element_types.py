# SPDX-License-Identifier: Apache-2.0
"""Which kernels compute a graph's products and windows, and how tensors lie in memory for them.

Kernels are rows of data (kernels/families.py). A layer gets the first family that computes it
and whose input can be held as that family reads it; the choice is written into the node, and
rules obey it.

Bytes: where values are whole numbers of a known range (ranges.py) and the weights of a
convolution or matrix product are whole numbers within a byte, it can be computed on bytes, if the
machine has an instruction for that. Then its input is written and read as bytes, number =
byte + offset; other readers read the same bytes, or floats made of them. Networks in float16,
which are computed in float32 (widen.py), are held and multiplied as float16 where the machine
multiplies such.

Where products in bfloat16 are asked for, what a product reads is kept as bfloat16 alone, for all
its readers: so a residual that a convolution reads is rounded too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, Num, heavy, operations, substitute
from splitc_targets.graph.graph import NARROW, Graph, Node, Value, joined
from splitc_targets.kernels import families
from splitc_targets.kernels.families import Family, extras
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.fused import converts
from splitc_targets.machine.machine import Machine
from splitc_targets.transforms.ranges import BYTE, Range, Ranges, unshifted
from splitc_targets.transforms.widen import HALF

ROUNDED = frozenset({HALF, BF16})
"""Element types that numbers are rounded to."""

_SUMS = 2**31
_FEW = 4
"""Operations on a byte that are done again by whoever reads it."""


@dataclass(frozen=True)
class Form:
    """How a tensor lies in memory: elements of a type, number = element + offset."""

    dtype: str
    offset: float = 0.0


def choose_types(graph: Graph, machine: Machine) -> None:
    """Write each node's family into it, and hold tensors in fewer bytes than floats take.

    Args:
        graph: With elementwise operations fused.
        machine: Whose instructions say what is multiplied as bytes or as float16.
    """
    analysis = _Analysis(graph, machine)
    analysis.choose_families()
    analysis.hold_more()
    for value in list(analysis.forms):
        analysis.join(value)
    analysis.write()
    _take_in(graph)
    graph.prune()


class _Analysis:
    """What is known of a graph while its element types are chosen.

    `forms` says how values are held, `products` which nodes read a value in its form as a
    product's input, `joined` which concatenations have all their parts held as the whole is.
    """

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.graph, self.machine = graph, machine
        self.ranges = Ranges()
        self.forms: dict[Value, Form] = {}
        self.products: dict[Value, list[Node]] = {}
        self.joined: dict[Node, Form] = {}

    def choose_families(self) -> None:
        """The first family of each node whose input can be held as it reads it."""
        bytewise = self.machine.multiplying("int8") is not None
        for node in self.graph.nodes:
            if bytewise:
                for value in node.outputs:
                    self.ranges.of(value)  # in their order, so that none has far to look back
            for family in families.of(node, self.machine):
                if "float32" in family.reads or self._reads(node, family):
                    node.family = family.name
                    break

    def _reads(self, node: Node, family: Family) -> bool:
        """Have a product's input held as a family reads it; False where it cannot be."""
        rounded = next(iter(family.reads & ROUNDED), "")
        if rounded:
            source, form, offset = node.args[0], Form(rounded), None
        else:
            source, shift = unshifted(node.args[0])
            found = self._bytes_of(source)
            if found is None:
                return False
            form, offset = found, found.offset + shift
            # Twice, which leaves room for a bias.
            if 2 * (BYTE + abs(offset)) * _summed(node) >= _SUMS:
                return False
            limits = np.iinfo(form.dtype)
            if family.fills and not limits.min <= -offset <= limits.max:
                return False
        if self.forms.setdefault(source, form) != form:
            return False
        self.products.setdefault(source, []).append(node)
        if offset is not None:
            node.attrs["offset"] = offset
        return True

    def _bytes_of(self, value: Value) -> Form | None:
        """How whole numbers are held as the bytes that the machine multiplies, if they can be."""
        row, found = self.machine.multiplying("int8"), self.ranges.byte(value)
        if row is None or found is None:
            return None
        return Form(row.reads, found[0] - float(np.iinfo(row.reads).min))

    def hold_more(self) -> None:
        """Hold what no product needs so, where it costs nobody a conversion."""
        quantised = any(form.dtype not in ROUNDED for form in self.forms.values())
        consumers = self.graph.consumers()
        for value in (value for node in self.graph.nodes for value in node.outputs):
            readers = consumers.get(value, [])
            if value in self.forms or value in self.graph.outputs or not readers:
                continue
            form = self._plain(value, quantised)
            if form is None or not self._made_in(value, form.dtype):
                continue
            if all(_can_read(reader, value, form.dtype) for reader in readers):
                self.forms[value] = form

    def _plain(self, value: Value, quantised: bool) -> Form | None:
        """How a value can be held as the elements that its numbers are."""
        if value.half and self.machine.multiplying(HALF) is not None:
            return Form(HALF)
        return _unmoved(self.ranges.byte(value)) if quantised else None

    def _made_in(self, value: Value, dtype: str) -> bool:
        """Whether a value's kernel, or for a concatenation those of all parts, can write a type."""
        node = value.producer
        if node is not None and node.op == "concat":
            return all(self._made_in(part, dtype) for part in node.inputs)
        return node is not None and self._writes(node, dtype)

    def _writes(self, node: Node, dtype: str) -> bool:
        """Whether a node's kernel can write an element type."""
        if node.op == "map" or node in self.joined:
            return True
        family = families.named(node.family)
        if family is None or "expression" not in node.attrs:
            return False
        return dtype in family.writes and converts(node.attrs["expression"])

    def join(self, value: Value) -> None:
        """Have the parts of a concatenation held as the whole is: it stays a mere place."""
        node, form = value.producer, self.forms[value]
        if node is None or node.op != "concat" or not self._joins(value, form):
            return
        self.joined[node] = form
        for part in node.inputs:
            self.forms[part] = form
            self.join(part)

    def _joins(self, value: Value, form: Form) -> bool:
        """Whether a value, and for a concatenation all parts, can be held in a form."""
        node = value.producer
        if self.forms.get(value, form) != form or not self._made_in(value, form.dtype):
            return False
        if form.dtype in ROUNDED and not self._may_be_rounded(value, form):
            return False
        if node is None or node.op != "concat":
            return True
        return all(self._joins(part, form) for part in node.inputs)

    def _may_be_rounded(self, value: Value, form: Form) -> bool:
        """Whether what is read as rounded numbers may be kept as nothing else.

        float16 where the network has it so; bfloat16 wherever it does not leave the part.
        """
        return value.half if form.dtype == HALF else value not in self.graph.outputs

    def write(self) -> None:
        """Have values written in their forms, and read in them where kernels can."""
        consumers = self.graph.consumers()
        first: list[Node] = []
        after: dict[Node, list[Node]] = {}
        for source, form in self.forms.items():
            made_by = source.producer
            given = _given(made_by, form)
            held = given or Value(source.shape, form.dtype)
            for node in self.products.get(source, []):
                node.args[0] = held
            if given is not None:
                continue
            added = first if made_by is None else after.setdefault(made_by, [])
            kept = form.dtype not in ROUNDED or self._may_be_rounded(source, form)
            if made_by is not None and kept and self._writes(made_by, form.dtype):
                readers = [r for r in consumers.get(source, []) if source in r.inputs]
                rest = [r for r in readers if not self._read_held(r, source, held, form.offset)]
                _write_held(made_by, held, form.offset)
                if rest or source in self.graph.outputs:
                    added.append(_shifting(held, form.offset, source))
            else:
                added.append(_shifting(source, -form.offset, held))
        nodes = [each for node in self.graph.nodes for each in (node, *after.get(node, []))]
        self.graph.nodes = [*first, *nodes]

    def _read_held(self, node: Node, value: Value, held: Value, offset: float) -> bool:
        """Have a node read a value as it is held; False where it cannot read all of it so."""
        if offset == 0 and _slides_over(node, value, held.dtype):
            node.args[0] = held
            return True
        if self.joined.get(node) == Form(held.dtype, offset):
            node.args[0] = [held if part is value else part for part in node.args[0]]
            return True
        if node.op == "map":
            first, operands = 0, node.args[0]
        elif _reads_beside(node, value, held.dtype):
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


def _summed(node: Node) -> float:
    """The largest sum of a result's weights, all taken as positive."""
    data = node.args[1].data
    axes = (0,) if node.op == "matmul" else tuple(range(1, data.ndim))
    return float(np.abs(data, dtype=np.float64).sum(axes).max())


def _unmoved(found: Range | None) -> Form | None:
    """How whole numbers are held as the bytes that they are, if they can be."""
    for dtype in ("uint8", "int8"):
        limits = np.iinfo(dtype)
        if found is not None and limits.min <= found[0] and found[1] <= limits.max:
            return Form(dtype)
    return None


def _given(made_by: Node | None, form: Form) -> Value | None:
    """What was converted to floats, where that lies in the form already."""
    if made_by is None or made_by.op != "astype" or made_by.inputs[0].dtype != form.dtype:
        return None
    return made_by.inputs[0]


def _reads_beside(node: Node, value: Value, dtype: str) -> bool:
    """Whether a kernel reads a value for its expression alone, and can read it as that type."""
    family = families.named(node.family)
    if family is None or dtype not in family.beside or node.args[0] is value:
        return False
    return value in extras(node)


def _slides_over(node: Node, value: Value, dtype: str) -> bool:
    """Whether a kernel reads an input either as floats or as that type."""
    family = families.named(node.family)
    if family is None or not {"float32", dtype} <= family.reads:
        return False
    return node.args[0] is value and value not in extras(node)


def _can_read(node: Node, value: Value, dtype: str) -> bool:
    """Whether a node's kernel reads a value that is held without an offset."""
    if node.op == "map" or _slides_over(node, value, dtype):
        return True
    return _reads_beside(node, value, dtype)


def _write_held(node: Node, held: Value, offset: float) -> None:
    if node.op != "concat":  # whose parts are written so
        node.attrs["expression"] = _plus(node.attrs["expression"], -offset)
    node.outputs = [held]
    held.producer = node


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


def _take_in(graph: Graph) -> None:
    """Compute what is made of bytes alone where it is read, instead of storing it as floats.

    That is what a residual adds to a convolution: a few operations on a byte.
    """
    for made, held, reader in list(_bare_readers(graph)):
        expression = made.producer.attrs["expression"] if made.producer is not None else None
        if expression is None or held in extras(reader):
            continue
        place = reader.args[-1].index(made)
        reader.args[-1][place] = held
        if made.producer is not None:
            reader.layers = joined(made.producer.layers, reader.layers)
        taken = substitute(expression, lambda _, at=place: Arg(at + 1))
        reader.attrs["expression"] = substitute(
            reader.attrs["expression"],
            lambda i, at=place, taken=taken: taken if i == at + 1 else Arg(i),
        )


def _bare_readers(graph: Graph) -> Iterator[tuple[Value, Value, Node]]:
    """Floats that little work makes of bytes: they, the bytes, and their only reader."""
    consumers = graph.consumers()
    for node in graph.nodes:
        if node.op != "map" or len(node.inputs) != 1 or node.output in graph.outputs:
            continue
        (held,), made = node.inputs, node.output
        readers = consumers.get(made, [])
        if held.dtype not in NARROW or held.shape != made.shape or len(readers) != 1:
            continue
        expression = node.attrs["expression"]
        if len(operations(expression)) > _FEW or heavy(expression):
            continue
        if _reads_beside(readers[0], made, held.dtype):
            yield made, held, readers[0]
