# SPDX-License-Identifier: Apache-2.0
"""Attention as one kernel."""

from __future__ import annotations

from splitc_targets.graph.expression import operations
from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, canonical, packed
from splitc_targets.kernels import attention
from splitc_targets.kernels.attention import Attention
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of
from splitc_targets.rules.matmul import result_strides


def _attention(planner: Planner, node: Node) -> bool:
    """Every tensor where it lies: batch dimensions are walked by their own distances."""
    q, k, v, beside, operands = node.args
    *batch, rows, width = node.output.shape
    keys, depth = k.shape[-1], q.shape[-1]

    def spread(value: Value, *sides: int) -> View:
        return planner.place(value).broadcast((*batch, *sides))

    views = [spread(q, rows, depth), spread(k, depth, keys), spread(v, keys, width)]
    masks = [_by_columns(planner, spread(value, rows, keys)) for value in beside]
    ends = [_by_columns(planner, spread(value, rows, width)) for value in operands]
    target = planner.result(node.output, result_strides(planner, node))
    if width > 1 and target.strides[-1] != 1:
        shape = node.output.shape
        target = planner.fresh(shape, node.output.dtype, packed(shape))
        planner.set(node.output, target)

    def steps(view: View) -> tuple[int, ...]:
        return canonical(view.shape, view.strides)

    q_at, k_at, v_at = map(steps, views)
    spec = Attention(
        tuple(batch), rows, keys, depth, width, q_at, k_at, v_at, steps(target),
        node.attrs["scores"], tuple(map(steps, masks)),
        node.attrs["expression"], tuple(map(steps, ends)), node.attrs["guarded"],
    )  # fmt: skip
    words = ["attention", *operations(spec.scores), *operations(spec.expression)]
    planner.step(
        ("attention", spec), lambda name: attention.kernel(name, spec, planner.machine),
        [*views, *masks, *ends, target], "attention",
        "+".join(words), shapes_of(q, k, v, node.output), spec.flops,
    )  # fmt: skip
    return True


def _by_columns(planner: Planner, view: View) -> View:
    """A view whose last dimension is dense, as kernels read vectors, or one element repeated."""
    if view.shape[-1] == 1 or view.strides[-1] in (0, 1):
        return view
    target = planner.fresh(view.shape, view.buffer.dtype, packed(view.shape))
    planner.copy(view, target, "broadcast")
    return target


RULES: dict[str, Rule] = {"attention": _attention}
