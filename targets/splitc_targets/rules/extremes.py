# SPDX-License-Identifier: Apache-2.0
"""Places of extremes along an axis."""

from __future__ import annotations

import math

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import elementwise, extremes
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _extremes(largest: bool) -> Rule:
    def plan(planner: Planner, node: Node) -> bool:
        x, y, given = node.args[0], node.output, node.attrs["axis"]
        if x.dtype not in extremes.KEYS or y.dtype != "int64" or x.size == 0:
            return False
        view = planner.dense(x).reshaped((x.size,)) if given is None else planner.place(x)
        if view is None:
            return False
        axis = 0 if given is None else int(given) % len(x.shape)
        others = [d for d in range(len(view.shape)) if d != axis]
        target = planner.result(y, packed(y.shape)).reshaped(tuple(view.shape[d] for d in others))
        if target is None:
            return False
        sizes, (outs, ins) = elementwise.collapse(
            target.shape, [target.strides, [view.strides[d] for d in others]]
        )
        spec = extremes.Extremes(
            tuple(zip(sizes, ins, outs, strict=True)), view.shape[axis], view.strides[axis],
            x.dtype, largest,
        )  # fmt: skip
        machine = planner.machine
        planner.step(
            ("extremes", spec), lambda name: extremes.kernel(name, spec, machine), [view, target],
            "extremes", node.op, shapes_of(x, y), math.prod(x.shape), spec.types,
        )  # fmt: skip
        return True

    return plan


RULES: dict[str, Rule] = {"argmax": _extremes(True), "argmin": _extremes(False)}
