# SPDX-License-Identifier: Apache-2.0
"""Convolutions of single pixels, and the resizing of maps in front of them, in the other order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from splitc_targets.graph.graph import (
    Graph,
    Node,
    Value,
    constant,
    made,
    usual_layouts,
    whole_numbers,
)
from splitc_targets.graph.resizing import taps_of

ENLARGED = 2
"""Times as many pixels from which on it is worth convolving before enlarging."""


def drop_same_size(graph: Graph) -> None:
    """Drop resizing to the size that a map has: every pixel reads itself alone."""
    same = [
        node for node in graph.nodes
        if node.op == "image.resize2d" and node.inputs[0].shape == node.output.shape
        and taps_of(node) is not None
    ]  # fmt: skip
    graph.replace({node.output: node.inputs[0] for node in same})
    graph.nodes = [node for node in graph.nodes if node not in same]


def convolve_before_enlarging(graph: Graph) -> None:
    """Convolve small maps and enlarge the result, where a network does it the other way round.

    Rewrite, also without the concatenation and with several maps enlarged::

        %s = resize(%a)                     %p = conv2d(%a, %w[:, :c])
        %t = concat(%s, %b)          ->     %s = resize(%p)
        %y = conv2d(%t, %w)                 %q = conv2d(%b, %w[:, c:])
                                            %y = add(%q, %s)

    A convolution of kernel 1x1 sums channels and resizing sums pixels, each with the same weights
    everywhere: the order changes rounding alone. Left as they are: maps that get more channels,
    since more would be resized, and weights that are whole numbers, whose sums are exact.
    """
    readers = graph.consumers()
    nodes: list[Node] = []
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        steps = _convolved_before(graph, readers, node) if _is_pointwise(node) else []
        nodes += steps or [node]
        if steps:
            replaced[node.output] = steps[-1].output
    graph.nodes = nodes
    graph.replace(replaced)
    graph.prune()


def _is_pointwise(node: Node) -> bool:
    """Whether it is a convolution of single pixels by constant weights of its own."""
    if node.op != "nn.conv2d" or not usual_layouts(node) or node.output.dtype != "float32":
        return False
    attrs, weights = node.attrs, node.args[1].data
    if weights is None or weights.shape[2:] != (1, 1) or whole_numbers(weights):
        return False
    return (*attrs["strides"], *attrs["padding"], attrs["groups"]) == (1, 1, 0, 0, 0, 0, 1)


def _convolved_before(graph: Graph, readers: dict[Value, list[Node]], conv: Node) -> list[Node]:
    """What computes a convolution with small maps first; nothing where none is enlarged."""

    def alone(value: Value, reader: Node) -> Node | None:
        """What makes a value that nothing but `reader` reads."""
        only = value not in graph.outputs and readers.get(value) == [reader]
        return value.producer if only else None

    whole = alone(conv.args[0], conv)
    beside = whole is not None and whole.op == "concat" and whole.attrs["axis"] in (1, -3)
    reader, parts = (
        (whole, whole.args[0]) if whole is not None and beside else (conv, conv.args[:1])
    )
    small: list[Node] = []
    rest: list[tuple[Value, Any]] = []
    weights, first = conv.args[1].data, 0
    sums: list[Node] = []
    for part in parts:
        share = weights[:, first : first + part.shape[1]]
        first += part.shape[1]
        resize = alone(part, reader)
        if resize is None or not _enlarges(resize, len(weights)) or parts.count(part) > 1:
            rest.append((part, share))
            continue
        before = _conv(conv, resize.inputs[0], share)
        sums.append(made(resize.op, [before.output, *resize.args[1:]], conv.output.shape,
                         "float32", **resize.attrs))  # fmt: skip
        small += [before, sums[-1]]
    if not sums:
        return []
    if rest:
        more = _beside(conv, [value for value, _ in rest])
        whole_rest = more.output if more is not None else rest[0][0]
        sums.insert(0, _conv(conv, whole_rest, np.concatenate([w for _, w in rest], axis=1)))
        small += [*([more] if more is not None else []), sums[0]]
    return [*small, *_added(sums)]


def _enlarges(node: Node, channels: int) -> bool:
    """Whether a node makes many pixels of fewer, of at least so many channels."""
    if node.op != "image.resize2d" or taps_of(node) is None:
        return False
    (_, depth, *small), (_, _, *large) = node.inputs[0].shape, node.output.shape
    return channels <= depth and math.prod(large) >= ENLARGED * math.prod(small)


def _conv(conv: Node, value: Value, weights: Any) -> Node:
    """The same convolution of fewer channels of other maps."""
    shape = (value.shape[0], len(weights), *value.shape[2:])
    return made(conv.op, [value, constant(np.ascontiguousarray(weights)), *conv.args[2:]], shape,
                "float32", **conv.attrs)  # fmt: skip


def _beside(conv: Node, parts: list[Value]) -> Node | None:
    """Several maps side by side; None for one."""
    if len(parts) == 1:
        return None
    images, _, *size = conv.args[0].shape
    shape = (images, sum(part.shape[1] for part in parts), *size)
    return made("concat", [parts], shape, "float32", axis=1)


def _added(terms: list[Node]) -> list[Node]:
    """The additions that give the sum of some values."""
    found: list[Node] = []
    total = terms[0].output
    for term in terms[1:]:
        found.append(made("add", [total, term.output], total.shape, "float32"))
        total = found[-1].output
    return found
