# SPDX-License-Identifier: Apache-2.0
"""Cumulative sums and products along one axis."""

from __future__ import annotations

from splitc_targets.graph.expression import Arg
from splitc_targets.graph.graph import Node
from splitc_targets.kernels import scan
from splitc_targets.plan.planner import Planner, Rule, order_of
from splitc_targets.rules.maps import shapes_of


def _scan(planner: Planner, node: Node) -> bool:
    """Rows along the axis, wherever their elements lie."""
    x, y, given = node.args[0], node.output, node.attrs["axis"]
    if y.dtype not in scan.TYPES or x.size == 0 or len(x.shape) == 0:
        return False
    if x.dtype != y.dtype and x.dtype not in _COUNTED:
        return False
    if given is None and len(x.shape) != 1:
        return False
    axis = int(given or 0) % len(x.shape)
    source = planner.place(x)
    if x.dtype != y.dtype:
        wide = planner.fresh(x.shape, y.dtype, order_of([source], x.shape))
        planner.map([source], wide, Arg(0), "cast")
        source = wide
    target = planner.result(y, order_of([source], y.shape))
    others = [d for d in range(len(x.shape)) if d != axis]
    spec = scan.Scan(
        tuple((x.shape[d], source.strides[d], target.strides[d]) for d in others), x.shape[axis],
        source.strides[axis], target.strides[axis], y.dtype, node.op,
        bool(node.attrs["exclusive"]),
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("scan", spec), lambda name: scan.kernel(name, spec, machine), [source, target], "scan",
        node.op, shapes_of(x, y), x.size, (y.dtype, y.dtype),
    )  # fmt: skip
    return True


_COUNTED = frozenset({"bool", "int8", "uint8", "int16", "int32", "int64", "float32"})
"""Types that are summed in wider ones."""


RULES: dict[str, Rule] = dict.fromkeys(scan.KINDS, _scan)
