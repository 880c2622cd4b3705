# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Chains of factors and shifts behind convolutions, as one of each or in the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value, constant, joined, whole_numbers

Array = np.ndarray[Any, Any]


def merge_affine(graph: Graph) -> None:
    """Chains of multiplications and additions by constants behind a convolution as one of each.

    The factor goes into the weights, as in every compiler: sums round more than that moves them.
    Elsewhere, and behind whole numbers, whose sums are exact, every operation rounds by itself as
    the network has it: (x - zero) scale is 0 where x is zero, and what is rounded to a step next
    takes that step.
    """
    changed = True
    while changed:
        changed = False
        consumers = graph.consumers()
        outputs = set(graph.outputs)
        for node in graph.nodes:
            if node.op not in ("multiply", "add", "subtract") or not _by_constant(node):
                continue
            before = node.args[0].producer
            if (
                before is None
                or not _behind_convolution(node.args[0])
                or len(consumers[node.args[0]]) != 1
                or node.args[0] in outputs
            ):
                continue
            if _merge(graph, before, node):
                changed = True
                break


def _behind_convolution(value: Value) -> bool:
    """Whether it is a convolution by known weights, then only times and plus constants."""
    node = value.producer
    while node is not None and node.op in ("multiply", "add", "subtract") and _by_constant(node):
        node = node.args[0].producer
    if node is None or node.op not in _CONVOLUTIONS:
        return False
    weights = node.args[1].data
    return weights is not None and not whole_numbers(weights)


_CONVOLUTIONS = ("nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "nn.conv1d_transpose")


def _by_constant(node: Node) -> bool:
    """Whether it is `x op constant` (a constant first operand is moved behind)."""
    x, y = node.args
    if not isinstance(x, Value) or not isinstance(y, Value):
        return False
    if node.op != "subtract" and x.data is not None and y.data is None:
        node.args = [y, x]
        x, y = node.args
    if x.data is not None or y.data is None or x.dtype != "float32":
        return False
    if node.op == "subtract":
        node.op, node.args = "add", [x, constant(-y.data)]
    return x.shape == node.output.shape


def _merge(graph: Graph, before: Node, node: Node) -> bool:
    """Merge `node` into what gives its first operand; whether that could be done."""
    data = node.args[1].data
    if before.op == "nn.conv2d" and node.op == "multiply":
        scaled = _scaled_weights(before, data)
        if scaled is None:
            return False
        before.args = [before.args[0], scaled]
    elif before.op == node.op and _by_constant(before):
        other = before.args[1].data
        both = _product(other, data) if node.op == "multiply" else _sum(other, data)
        if both is None or both.size > max(other.size, data.size):
            return False
        before.args = [before.args[0], constant(both)]
    elif before.op == "add" and node.op == "multiply" and _by_constant(before):
        shift = _product(before.args[1].data, data)
        if shift is None or shift.size > max(before.args[1].data.size, data.size):
            return False
        before.op, before.args = "multiply", [before.args[0], node.args[1]]
        node.op, node.args = "add", [before.output, constant(shift)]
        before.layers = node.layers = joined(before.layers, node.layers)
        return True
    else:
        return False
    before.layers = joined(before.layers, node.layers)
    graph.nodes.remove(node)
    graph.replace({node.output: before.output})
    return True


def _product(a: Array, b: Array) -> Array | None:
    """a b; None where it is beyond what the type holds."""
    with np.errstate(over="ignore", invalid="ignore"):
        both = a * b
    return both if np.isfinite(both).all() else None


_CANCELS = 1e-3
"""Share of its parts below which a sum is what rounding to them leaves, if it is not 0."""


def _sum(a: Array, b: Array) -> Array | None:
    """a + b; None where they cancel: whoever adds and subtracts the same means to round."""
    with np.errstate(over="ignore", invalid="ignore"):
        both = a + b
    larger = np.maximum(np.abs(a), np.abs(b))
    close = np.abs(both) < _CANCELS * larger
    return both if np.isfinite(both).all() and not close.any() else None


def _scaled_weights(conv: Node, factor: Array) -> Value | None:
    """A convolution's weights times a factor per output channel."""
    weights = conv.args[1].data
    if weights is None or conv.attrs["kernel_layout"] != "OIHW" or whole_numbers(weights):
        return None
    per_channel = factor.size == 1 or (factor.ndim in (3, 4) and factor.shape[-3] == factor.size)
    if not per_channel:
        return None
    scaled = _product(weights, factor.reshape(-1, 1, 1, 1))
    return None if scaled is None else constant(scaled.astype(np.float32))
