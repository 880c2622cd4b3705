# SPDX-License-Identifier: Apache-2.0
"""Cumulative sums and products, for devices whose kernels have them."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import scan
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _scan(planner: Planner, node: Node) -> bool:
    """Rows along the axis, wherever their elements lie."""
    x, y, given = node.args[0], node.output, node.attrs["axis"]
    if x.dtype != y.dtype or x.dtype not in scan.TYPES or x.size == 0 or len(x.shape) == 0:
        return False
    if given is None and len(x.shape) != 1:
        return False
    axis = int(given or 0) % len(x.shape)
    source, target = planner.place(x), planner.result(y, packed(y.shape))
    others = [d for d in range(len(x.shape)) if d != axis]
    spec = scan.Scan(
        tuple((x.shape[d], source.strides[d], target.strides[d]) for d in others), x.shape[axis],
        source.strides[axis], target.strides[axis], x.dtype, node.op,
        bool(node.attrs["exclusive"]),
    )  # fmt: skip
    planner.step(
        ("scan", spec), _by_threads_only, [source, target], "scan", node.op, shapes_of(x, y),
        x.size, (x.dtype, x.dtype),
    )  # fmt: skip
    return True


def _by_threads_only(name: str) -> None:
    raise ValueError(f"{name} has no kernel of a processor's")


RULES: dict[str, Rule] = dict.fromkeys(scan.KINDS, _scan)
