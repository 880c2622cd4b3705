# SPDX-License-Identifier: Apache-2.0
"""Which elementwise operations run inside which kernel, on values still in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from splitc_targets.graph.expression import (
    DOUBLE,
    Arg,
    Do,
    Expression,
    Num,
    clip,
    operations,
    relu,
    substitute,
)
from splitc_targets.graph.graph import Graph, Node, Value, constant, joined
from splitc_targets.graph.regions import longest_run

ANCHORS = frozenset({
    "nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "nn.conv1d_transpose", "matmul",
    "nn.max_pool2d", "nn.avg_pool2d", "nn.max_pool1d", "nn.avg_pool1d",
})  # fmt: skip
"""Operations whose kernels take an expression behind them."""

_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
_UNARY = (
    "negative", "abs", "sqrt", "floor", "ceil", "round", "exp", "log", "sin", "cos", "sign", "tanh",
    "erf", "sigmoid", "atanh", "softplus",
)  # fmt: skip


def expression_of(node: Node) -> Expression | None:
    """A node's arithmetic over its inputs, scalars written in; None where it has none."""
    if len(node.outputs) != 1 or node.output.dtype not in ("float32", "float64"):
        return None
    if any(value.dtype != node.output.dtype for value in node.inputs):
        return None
    inputs = node.inputs
    args: list[Expression] = []
    for position, value in enumerate(inputs):
        scalar = value.data is not None and value.size == 1
        args.append(Num(float(value.data.reshape(())))) if scalar else args.append(Arg(position))  # type: ignore[union-attr]
    if not any(isinstance(arg, Arg) for arg in args):
        return None
    expression = _arithmetic(node, args)
    if expression is None or (
        node.output.dtype == "float64" and not DOUBLE.issuperset(operations(expression))
    ):
        return None
    return expression


def _arithmetic(node: Node, args: list[Expression]) -> Expression | None:
    op, x = node.op, args[0]
    if op in _BINARY:
        return _binary(op, x, args[1]) if len(args) == 2 else None
    if op in _UNARY:
        return Do(op, (x,))
    if op == "clip":
        low, high = (float(bound) for bound in node.args[1:3])
        return clip(x, low, high)
    if op == "prelu":
        return Do("leaky", (x, args[1]))
    if op == "nn.leakyrelu":
        return Do("leaky", (x, Num(float(node.attrs["alpha"]))))
    if op == "power" and len(args) == 2 and isinstance(args[1], Num):
        return _power(x, args[1].value)
    return _SPELT[op](x) if op in _SPELT else None


def _binary(op: str, x: Expression, y: Expression) -> Expression:
    if op == "divide" and isinstance(y, Num) and y.value != 0.0 and _exact(1.0 / y.value, y.value):
        return Do("multiply", (x, Num(1.0 / y.value)))
    return _bound(op, x, y) if op in _BOUNDS else Do(op, (x, y))


_BOUNDS = {"maximum": "larger", "minimum": "smaller"}
"""Bounds by a number, and the same of two tensors, either of which may be not-a-number."""


def _bound(op: str, x: Expression, y: Expression) -> Expression:
    if isinstance(x, Num):
        x, y = y, x
    return Do(op if isinstance(y, Num) else _BOUNDS[op], (x, y))


def _exact(a: float, b: float) -> bool:
    """Whether a is b's reciprocal without rounding: b is a power of two, and neither denormal."""
    limits = np.finfo(np.float32)
    normal = all(float(limits.tiny) <= abs(each) <= float(limits.max) for each in (a, b))
    return normal and abs(np.frexp(b)[0]) == 0.5


def _gelu(x: Expression, bell: Expression) -> Expression:
    return Do("multiply", (Do("multiply", (x, Num(0.5))), Do("add", (bell, Num(1.0)))))


def _gelu_exact(x: Expression) -> Expression:
    return _gelu(x, Do("erf", (Do("multiply", (x, Num(0.7071067811865476))),)))


def _gelu_tanh(x: Expression) -> Expression:
    cube = Do("multiply", (Do("multiply", (x, x)), x))
    inner = Do("add", (x, Do("multiply", (cube, Num(0.044715)))))
    return _gelu(x, Do("tanh", (Do("multiply", (inner, Num(0.7978845608028654))),)))


_SPELT: dict[str, Callable[[Expression], Expression]] = {
    "nn.relu": relu,
    "nn.silu": lambda x: Do("multiply", (x, Do("sigmoid", (x,)))),
    "nn.gelu": _gelu_exact,
    "nn.gelu_tanh": _gelu_tanh,
    "square": lambda x: Do("multiply", (x, x)),
    "rsqrt": lambda x: Do("divide", (Num(1.0), Do("sqrt", (x,)))),
}
"""Operations of one operand in terms of others."""


def _power(x: Expression, exponent: float) -> Expression:
    square, root = Do("multiply", (x, x)), Do("positive_ends", (x,))
    known = {
        1.0: x, 2.0: square, 3.0: Do("multiply", (square, x)),
        0.5: Do("sqrt", (root,)), 0.75: Do("three_quarters", (root,)),
        -0.5: Do("divide", (Num(1.0), Do("sqrt", (root,)))), -1.0: Do("divide", (Num(1.0), x)),
    }  # fmt: skip
    return known.get(exponent, Do("power", (x, Num(exponent))))


def fuse(graph: Graph) -> None:
    """Gather elementwise operations behind anchors, and the rest in nodes called "map".

    An anchor keeps its arguments; its attribute `expression` is over operand 0, its own
    result, and `extras`, further values. A map's expression is over its inputs.
    """
    done: set[Node] = set()
    order = {node: i for i, node in enumerate(graph.nodes)}
    consumers = graph.consumers()
    outputs = set(graph.outputs)
    placed: dict[int, Node] = {}
    for heavy in (True, False):
        for node in graph.nodes:
            if node in done:
                continue
            anchor = node.op in ANCHORS and node.output.dtype == "float32"
            if heavy != anchor:
                continue
            own: tuple[Expression, list[Value]] = (Arg(0), [])
            start = own if anchor else _as_map(node)
            if start is None:
                continue
            expression, extras = start
            region, expression, extras, end = _grow(
                node, expression, extras, order, consumers, outputs, done, channels=anchor
            )
            done.update(region)
            done.add(node)
            layers = joined(*(each.layers for each in (node, *region)))
            placed[order[end]] = _fused(node, expression, extras, end.output, layers, anchor)
    nodes: list[Node] = []
    for i, node in enumerate(graph.nodes):
        if i in placed:
            nodes.append(placed[i])
        elif node not in done:
            nodes.append(node)
    graph.nodes = nodes


def _as_map(node: Node) -> tuple[Expression, list[Value]] | None:
    own = expression_of(node)
    if own is None:
        return None
    extras: list[Value] = []
    return _over(own, node, {}, extras, 0), extras


def _fused(
    node: Node, expression: Expression, extras: list[Value], output: Value,
    layers: tuple[str, ...], anchor: bool,
) -> Node:  # fmt: skip
    if anchor:
        attrs = {**node.attrs, "expression": expression, "extras": len(extras)}
        fused = Node(node.op, [*node.args, extras], attrs, [output], node.call, layers=layers)
    else:
        fused = Node("map", [extras], {"expression": expression}, [output], layers=layers)
    output.producer = fused
    return fused


def _over(
    own: Expression, node: Node, inside: dict[Value, Expression], extras: list[Value], first: int
) -> Expression:
    """A node's arithmetic in terms of the region's operands; new ones are appended."""

    def operand(i: int) -> Expression:
        value = node.inputs[i]
        if value in inside:
            return inside[value]
        if value not in extras:
            extras.append(value)
        return Arg(first + extras.index(value))

    return substitute(own, operand)


_DEEPEST = 128
"""Operations of a fused expression written out as a tree: what is read twice counts twice."""


def _grow(
    node: Node, expression: Expression, extras: list[Value], order: dict[Node, int],
    consumers: dict[Value, list[Node]], outputs: set[Value], done: set[Node], *, channels: bool,
) -> tuple[list[Node], Expression, list[Value], Node]:  # fmt: skip
    """The longest run of elementwise consumers from which only one value is read outside."""
    inside: dict[Value, Expression] = {node.output: expression}
    grown = [(expression, list(extras), node)]
    first = 1 if channels else 0

    def joins(reader: Node) -> bool:
        own = expression_of(reader) if reader not in done else None
        if own is None or reader.output.shape != node.output.shape:
            return False
        if not all(v in inside or _readable(v, node, channels) for v in reader.inputs):
            return False
        longer = _over(own, reader, inside, extras, first)
        if len(operations(longer)) > _DEEPEST:
            return False
        inside[reader.output] = longer
        grown.append((longer, list(extras), reader))
        return True

    run = longest_run(
        node, lambda each: consumers.get(each.output, []), order.__getitem__, joins,
        lambda each: each.output in outputs,
    )  # fmt: skip
    return run, *grown[len(run)]


def _readable(value: Value, node: Node, channels: bool) -> bool:
    """Whether a kernel can read a value beside its own result."""
    shape = node.output.shape
    if value.dtype != node.output.dtype:
        return False
    if value.shape == shape:
        return True
    if not channels:
        return np.broadcast_shapes(value.shape, shape) == shape
    if value.data is None:
        return _multiplies(node) and spread_over_channels(value, node)
    return value.size == 1 or per_channel(value, node) is not None


def _multiplies(node: Node) -> bool:
    """Whether a node is a product by constants, whose kernels read vectors over channels."""
    return len(node.args) > 1 and isinstance(node.args[1], Value) and node.args[1].data is not None


def spread_over_channels(value: Value, node: Node) -> bool:
    """Whether a value is one number, or one for each channel of an anchor's result."""
    shape = node.output.shape
    if len(value.shape) > len(shape):
        return False
    padded = (1,) * (len(shape) - len(value.shape)) + value.shape
    axis = channel_axis(node)
    alone = all(n == 1 for d, n in enumerate(padded) if d != axis)
    return alone and padded[axis] in (1, shape[axis])


def channel_axis(node: Node) -> int:
    """The dimension that lies innermost in an anchor's result: channels, or columns."""
    return len(node.output.shape) - 1 if node.op == "matmul" else 1


def per_channel(value: Value, node: Node) -> Any:
    """A constant's numbers per channel of an anchor's result; None where they vary otherwise."""
    channels = node.output.shape[channel_axis(node)]
    if value.data is None or value.size != channels or not spread_over_channels(value, node):
        return None
    return constant(np.ascontiguousarray(value.data.reshape(-1))).data
