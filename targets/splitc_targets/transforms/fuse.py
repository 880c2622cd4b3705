# SPDX-License-Identifier: Apache-2.0
"""Which elementwise operations run inside which kernel, on values still in registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.graph.expression import (
    CHOICES,
    Arg,
    Expression,
    operations,
    substitute,
)
from splitc_targets.graph.graph import Graph, Node, Value, constant, joined
from splitc_targets.graph.regions import longest_run
from splitc_targets.transforms.elementwise import TRUTH, computed_in, expression_of

ANCHORS = frozenset({
    "nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "nn.conv1d_transpose", "matmul",
    "nn.max_pool2d", "nn.avg_pool2d", "nn.max_pool1d", "nn.avg_pool1d",
})  # fmt: skip
"""Operations whose kernels take an expression behind them."""


def fuse(graph: Graph) -> None:
    """Gather elementwise operations behind anchors, and the rest in nodes called "map".

    An anchor keeps its arguments; its attribute `expression` is over operand 0, its own
    result, and `extras`, further values. A map's expression is over its inputs. One of integers,
    or with truth values in it, is a "typed map": its attribute `computed` is the type that it
    computes in, and nothing it reads or writes is ever held in another.
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
            region, grown = _grow(
                node, expression, extras, order, consumers, outputs, done, channels=anchor
            )
            done.update(region)
            done.add(node)
            layers = joined(*(each.layers for each in (node, *region)))
            placed[order[grown.end]] = _fused(node, grown, layers, anchor)
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


@dataclass(frozen=True)
class _Grown:
    """An expression over a node's result, or a map's operands, that has taken in its readers.

    Args:
        expression: It.
        extras: What it reads beside.
        end: The last node taken in.
        computed: The type it computes in; "bool" as long as it has truth values only.
    """

    expression: Expression
    extras: list[Value]
    end: Node
    computed: str


def _fused(node: Node, grown: _Grown, layers: tuple[str, ...], anchor: bool) -> Node:
    expression, extras, output = grown.expression, grown.extras, grown.end.output
    if anchor:
        attrs = {**node.attrs, "expression": expression, "extras": len(extras)}
        fused = Node(node.op, [*node.args, extras], attrs, [output], node.call, layers=layers)
    elif _plain(grown):
        fused = Node("map", [extras], {"expression": expression}, [output], layers=layers)
    else:
        computed = "uint8" if grown.computed == TRUTH else grown.computed
        attrs = {"expression": expression, "computed": computed}
        fused = Node("typed map", [extras], attrs, [output], layers=layers)
    output.producer = fused
    return fused


def _plain(grown: _Grown) -> bool:
    """Whether a map is of floats alone."""
    types = {value.dtype for value in (*grown.extras, grown.end.output)}
    return types <= _FLOATS and CHOICES.isdisjoint(operations(grown.expression))


_FLOATS = {"float32", "float64"}


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
) -> tuple[list[Node], _Grown]:  # fmt: skip
    """The longest run of elementwise consumers from which only one value is read outside."""
    inside: dict[Value, Expression] = {node.output: expression}
    computed = node.output.dtype if channels else computed_in(node) or TRUTH
    grown = [_Grown(expression, list(extras), node, computed)]
    first = 1 if channels else 0

    def joins(reader: Node) -> bool:
        own = expression_of(reader) if reader not in done else None
        if own is None or reader.output.shape != node.output.shape:
            return False
        if channels and any(v.dtype != computed for v in (*reader.inputs, reader.output)):
            return False
        kinds = {grown[-1].computed, computed_in(reader) or TRUTH} - {TRUTH}
        if len(kinds) > 1:
            return False
        if not all(v in inside or _readable(v, node, channels) for v in reader.inputs):
            return False
        longer = _over(own, reader, inside, extras, first)
        if len(operations(longer)) > _DEEPEST:
            return False
        inside[reader.output] = longer
        grown.append(_Grown(longer, list(extras), reader, next(iter(kinds), TRUTH)))
        return True

    run = longest_run(
        node, lambda each: consumers.get(each.output, []), order.__getitem__, joins,
        lambda each: each.output in outputs,
    )  # fmt: skip
    return run, grown[len(run)]


def _readable(value: Value, node: Node, channels: bool) -> bool:
    """Whether a kernel can read a value beside its own result."""
    shape = node.output.shape
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
