# SPDX-License-Identifier: Apache-2.0
"""Attention, which arrives as two products with a softmax between them, as one node."""

from __future__ import annotations

from typing import Any, cast

from splitc_targets.graph.expression import Arg, Do, Expression, Num, substitute
from splitc_targets.graph.graph import Graph, Node, Value, joined, made

LEAST_ROWS = 8
"""Rows from which one kernel is worth it: it shares keys and values among rows."""


def join_attention(graph: Graph, *, largest: int | None = None) -> None:
    """matmul(softmax(matmul(q, k)), v) as attention(q, k, v), where nothing else reads between.

    Comes behind fusion: a scale is in the expression of the first product, what follows in that
    of the second, a mask in a map between, which goes into the first, and so does a factor of all
    of q or k in front. The node's arguments are q, k, v, the operands of the first expression and
    those of the second; its attributes `scores` and `expression` are the two, and `guarded` is
    the softmax's.

    Args:
        graph: Is rewritten in place.
        largest: Columns of q, and of v, up to which a kernel takes them; None for any.
    """
    readers = graph.consumers()
    replaced: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        found = _joined(graph, readers, node)
        if found is None:
            continue
        if largest is None or max(found.args[0].shape[-1], node.output.shape[-1]) <= largest:
            graph.nodes[position] = found
            replaced[node.output] = found.output
    graph.replace(replaced)
    graph.prune()


def _joined(graph: Graph, readers: dict[Value, list[Node]], node: Node) -> Node | None:
    def only(value: Any, op: str, reader: Node) -> Node | None:
        """What makes a value that nothing but `reader` reads, where it is `op`."""
        maker = cast("Value", value).producer
        alone = value not in graph.outputs and readers.get(value) == [reader]
        return maker if maker is not None and maker.op == op and alone else None

    if not _is_product(node):
        return None
    softmax = only(node.args[0], "nn.softmax", node)
    if softmax is None or softmax.attrs["axis"] % len(softmax.output.shape) != (
        len(softmax.output.shape) - 1
    ):
        return None
    masked = only(softmax.args[0], "map", softmax)
    value, reader = softmax.args[0], softmax
    if masked is not None:
        reader = masked
        value = next((each for each in masked.inputs if only(each, "matmul", masked)), value)
    scores = only(value, "matmul", reader)
    if scores is None or not _is_product(scores) or scores.output.shape[-2] < LEAST_ROWS:
        return None
    expression, extras = scores.attrs["expression"], scores.args[-1]
    if masked is not None:
        if masked.output.shape != value.shape or masked.output.dtype != "float32":
            return None
        expression, extras = _behind(expression, extras, masked, value)
    (q, k), v = scores.args[:2], node.args[1]
    factors = list[Node]()
    for maker in (only(q, "map", scores), only(k, "map", scores)):
        if maker is not None and q is not k and _is_factor(maker):
            expression = _behind_factor(expression, maker)
            factors.append(maker)
    q, k = (next((m.inputs[0] for m in factors if m.output is x), x) for x in (q, k))
    if v is softmax.output or node.output.shape[:-2] != scores.output.shape[:-2]:
        return None
    found = made(
        "attention", [q, k, v, extras, node.args[-1]], node.output.shape, "float32",
        scores=expression,
        expression=node.attrs["expression"],
        guarded=softmax.attrs.get("guarded", False),
    )  # fmt: skip
    parts = (*factors, scores, reader, softmax, node)
    found.layers = joined(*(each.layers for each in parts))
    return found


def _behind(
    expression: Expression, extras: list[Value], mapped: Node, value: Value
) -> tuple[Expression, list[Value]]:
    """A product's expression with a map behind it: over the sum and all further operands."""
    inputs = mapped.inputs
    others = [each for each in inputs if each is not value]

    def operand(i: int) -> Expression:
        if inputs[i] is value:
            return expression
        return Arg(1 + len(extras) + others.index(inputs[i]))

    return substitute(mapped.attrs["expression"], operand), [*extras, *others]


def _is_factor(mapped: Node) -> bool:
    """Whether it is a tensor times or over a number."""
    expression = mapped.attrs["expression"]
    return (
        len(mapped.inputs) == 1
        and mapped.inputs[0].shape == mapped.output.shape
        and mapped.inputs[0].dtype == mapped.output.dtype == "float32"
        and isinstance(expression, Do)
        and expression.op in ("multiply", "divide")
        and expression.args[0] == Arg(0)
        and isinstance(expression.args[1], Num)
    )


def _behind_factor(expression: Expression, mapped: Node) -> Expression:
    """A product's expression where a factor is the sum's, not one side's."""
    factor = mapped.attrs["expression"]
    return substitute(expression, lambda i: Arg(i) if i else factor)


def _is_product(node: Node) -> bool:
    """Whether it is a product of two computed tensors of matrices, all in float32."""
    if node.op != "matmul" or len(node.outputs) != 1:
        return False
    a, b = node.args[:2]
    tensors = [*node.inputs, node.output]
    return (
        a.data is None and b.data is None and min(len(a.shape), len(b.shape)) > 1
        and all(value.dtype == "float32" and value.size for value in tensors)
    )  # fmt: skip
