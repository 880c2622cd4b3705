# SPDX-License-Identifier: Apache-2.0
"""Numbers put at places that are computed."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import scatter
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _scatter(planner: Planner, node: Node) -> bool:
    """(tensor, places, numbers) -> the tensor with those numbers in it."""
    spec = scatter.spec_of(node)
    if spec is None:
        return False
    x, places, updates = node.args
    target = planner.fresh(x.shape, x.dtype, packed(x.shape))
    planner.set(node.output, target)
    sources = [planner.dense(each) for each in (x, places, updates)]
    machine = planner.machine
    planner.step(
        ("scatter", spec), lambda name: scatter.kernel(name, spec, machine), [*sources, target],
        "scatter", node.op, shapes_of(x, places, node.output), updates.size,
        (x.dtype, places.dtype, x.dtype, x.dtype),
    )  # fmt: skip
    return True


RULES: dict[str, Rule] = {"scatter_nd": _scatter, "scatter_elements": _scatter}
