# SPDX-License-Identifier: Apache-2.0
"""Conversions between element types, made on the way to where the result lies."""

from __future__ import annotations

from splitc_targets.graph.expression import Arg
from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.plan.planner import Planner, Rule, order_of

_CAST = frozenset({
    "float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
})  # fmt: skip
"""Types that convert as C's do; what is a truth value is compared instead."""


def _cast(planner: Planner, node: Node) -> bool:
    """Dense where it is a result of the part, else in the order its operand lies in."""
    x, y = node.args[0], node.output
    if x.dtype not in _CAST or y.dtype not in _CAST:
        return False
    source = planner.place(x)
    leaves = y in planner.graph.outputs
    target = planner.result(y, packed(y.shape) if leaves else order_of([source], y.shape))
    planner.map([source], target, Arg(0), "cast")
    return True


RULES: dict[str, Rule] = {"astype": _cast}
