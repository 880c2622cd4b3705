# SPDX-License-Identifier: Apache-2.0
"""Numbers put at places that are computed, for devices whose kernels have them."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import scatter
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of

_MOST = 16384
"""Numbers that may be put into one element, beyond which looking at all of them for each element
takes longer than putting one after the other."""


def _scatter(planner: Planner, node: Node) -> bool:
    """(tensor, places, numbers) -> the tensor with those numbers in it."""
    x, places, updates = node.args
    types_known = x.dtype in scatter.TYPES and places.dtype in ("int32", "int64")
    if not types_known or not x.dtype == updates.dtype == node.output.dtype:
        return False
    if (
        0 in (x.size, places.size, updates.size)
        or node.attrs["reduction"] not in scatter.REDUCTIONS
    ):
        return False
    axis = None if node.op == "scatter_nd" else int(node.attrs["axis"]) % len(x.shape)
    spec = scatter.Scatter(
        x.shape, places.shape, axis, x.dtype, places.dtype, node.attrs["reduction"]
    )
    if spec.updates != updates.size or spec.turns > _MOST:
        return False
    target = planner.fresh(x.shape, x.dtype, packed(x.shape))
    planner.set(node.output, target)
    sources = [planner.dense(each) for each in (x, places, updates)]
    planner.step(
        ("scatter", spec), _by_threads_only, [*sources, target], "scatter", node.op,
        shapes_of(x, places, node.output), updates.size, (x.dtype, places.dtype, x.dtype, x.dtype),
    )  # fmt: skip
    return True


def _by_threads_only(name: str) -> None:
    raise ValueError(f"{name} has no kernel of a processor's")


RULES: dict[str, Rule] = {"scatter_nd": _scatter, "scatter_elements": _scatter}
