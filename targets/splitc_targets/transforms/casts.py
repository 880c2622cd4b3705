# SPDX-License-Identifier: Apache-2.0
"""Casts that arrive spelled out as many operations, as one again."""

from __future__ import annotations

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value


def spell_cast(graph: Graph) -> None:
    """A float to an integer of 8 or 16 bits, which from ONNX arrives as six or ten operations.

    They wrap what is out of range, by way of 32 bits, and give 0 for what is not finite; for
    such values ONNX defines nothing. The kernel wraps too.
    """
    replaced: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        source = _wrapped(node)
        if source is not None:
            plain = Node("astype", [source], {}, call=None)
            plain.outputs = [Value(node.output.shape, node.output.dtype, plain)]
            graph.nodes[position] = plain
            replaced[node.output] = plain.output
    graph.replace(replaced)
    graph.prune()


def _wrapped(node: Node) -> Value | None:
    """The float of astype(astype(where(isfinite(x), x, 0), int32) & mask, unsigned).

    For a signed type, what is beyond its largest number is brought below 0 before the last step.
    """
    if node.op != "astype" or node.output.dtype not in ("uint8", "uint16", "int8", "int16"):
        return None
    limits = np.iinfo(node.output.dtype)
    mask = _before(node, "bitwise_and")
    if limits.min < 0:
        mask = _folded(node, limits.max + 1)
    if mask is None or mask.args[1].data is None:
        return None
    whole = _before(mask, "astype")
    guard = _before(whole, "where") if whole is not None else None
    if guard is None or guard.args[0].producer is None:
        return None
    test, zero, x = guard.args
    finite = _before(test.producer, "isfinite") if test.producer.op == "logical_not" else None
    same = finite is not None and finite.args[0] is x and x.dtype == "float32"
    known = zero.data is not None and not zero.data.any()
    if not same or not known or int(mask.args[1].data) != limits.max - limits.min:
        return None
    return x


def _folded(node: Node, half: int) -> Node | None:
    """The `m` of where(m >= half, m - 2 half, m)."""
    choice = _before(node, "where")
    if choice is None:
        return None
    test, below, whole = (value.producer for value in choice.args)
    nodes = (test, below, whole)
    if any(each is None for each in nodes) or whole.op != "bitwise_and":
        return None
    kinds = (test.op, below.op) == ("greater_equal", "subtract")
    same = kinds and test.args[0] is choice.args[2] and below.args[0] is choice.args[2]
    if not same:
        return None
    limit = test.args[1].data
    return whole if limit is not None and int(limit) == half else None


def _before(node: Node, op: str) -> Node | None:
    source = node.args[0]
    found = source.producer if isinstance(source, Value) else None
    return found if found is not None and found.op == op else None
