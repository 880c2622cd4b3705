# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operations that arrive as several nodes, as the one that rules know."""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value, joined, made


def drop_nan_guards(graph: Graph) -> None:
    """where(isnan(x), x, bound(x)), as Clip arrives: rules' bounds let not-a-number through."""
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op != "where":
            continue
        condition, yes, no = node.args
        guard, bound = condition.producer, no.producer
        if guard is None or guard.op != "isnan" or bound is None:
            continue
        source = guard.args[0]
        kept = yes is source or (yes.data is not None and bool(np.isnan(yes.data).all()))
        same = no.shape == node.output.shape
        if kept and same and bound.op in ("maximum", "minimum") and source in bound.args:
            replaced[node.output] = no
    graph.replace(replaced)
    graph.prune()


def guard_softmax(graph: Graph) -> None:
    """where(isnan(softmax(x)), 0, softmax(x)) as one node, a softmax that is `guarded`.

    That is how PyTorch's exporter to ONNX writes attention, some of whose rows may be masked
    altogether: their shares are 0.
    """
    readers = graph.consumers()
    for position, node in enumerate(graph.nodes):
        if node.op != "where":
            continue
        condition, yes, no = node.args
        guard, softmax = condition.producer, no.producer
        if guard is None or guard.op != "isnan" or softmax is None or softmax.op != "nn.softmax":
            continue
        alone = no not in graph.outputs and set(readers[no]) == {guard, node}
        zero = yes.data is not None and not yes.data.any()
        same = no.shape == node.output.shape and no.dtype == "float32" and no.size > 0
        if guard.args[0] is no and alone and zero and same:
            graph.nodes[position] = found = made(
                "nn.softmax", softmax.args, no.shape, no.dtype, **softmax.attrs, guarded=True
            )
            found.layers = joined(softmax.layers, guard.layers, node.layers)
            graph.replace({node.output: found.output})
    graph.prune()


def name_local_normalisation(graph: Graph) -> None:
    """Local response normalisation, which arrives as seven operations, as the node "lrn"."""
    nodes = {node.output: node for node in graph.nodes}
    replaced: dict[Value, Value] = {}
    for position, node in enumerate(graph.nodes):
        if node.op != "divide" or node.output.dtype != "float32" or len(node.output.shape) < 3:
            continue
        found = _local_normalisation(node, nodes)
        if found is not None:
            graph.nodes[position] = found
            replaced[node.output] = found.output
    graph.replace(replaced)
    graph.prune()


def _local_normalisation(node: Node, by_output: dict[Value, Node]) -> Node | None:
    """x / (bias + alpha * mean of squares over a window)^beta, read backwards from the division."""
    x, bottom = node.args

    def step(value: Any, op: str) -> Node | None:
        found = by_output.get(value) if isinstance(value, Value) else None
        return found if found is not None and found.op == op else None

    power = step(bottom, "power")
    add = step(power.args[0], "add") if power else None
    if power is None or add is None:
        return None
    product = next((n for n in (step(a, "multiply") for a in add.args) if n), None)
    squeezes = (step(a, "squeeze") for a in product.args) if product else ()
    squeeze = next((n for n in squeezes if n), None)
    pool = step(squeeze.args[0], "nn.avg_pool3d") if squeeze else None
    expand = step(pool.args[0], "expand_dims") if pool else None
    square = step(expand.args[0], "multiply") if expand else None
    if product is None or pool is None or square is None or expand is None:
        return None
    window, *others = pool.attrs["pool_size"]
    scalars = [_scalar(power.args), _scalar(add.args), _scalar(product.args)]
    centred = pool.attrs["padding"] == ((window - 1) // 2, 0, 0, window // 2, 0, 0)
    if square.args != [x, x] or others != [1, 1] or None in scalars or not centred:
        return None
    if beta_unknown(scalars[0]) or expand.attrs["axis"] != (1,):
        return None
    if not pool.attrs["count_include_pad"]:
        return None
    beta, bias, alpha = scalars
    return made(
        "lrn", [x], node.output.shape, node.output.dtype,
        window=window, alpha=alpha, beta=beta, bias=bias,
    )  # fmt: skip


def beta_unknown(beta: float | None) -> bool:
    """Whether no rule computes this power."""
    return beta not in (0.5, 0.75, 1.0)


def _scalar(args: list[Any]) -> float | None:
    """The one number among two operands."""
    found = [a.data for a in args if isinstance(a, Value) and a.data is not None and a.size == 1]
    return float(found[0].reshape(())) if len(found) == 1 else None
