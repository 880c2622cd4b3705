# SPDX-License-Identifier: Apache-2.0
"""Sums, means, products and bounds over any axes."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import View, ordered_like
from splitc_targets.kernels import elementwise, reduction
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of
from splitc_targets.rules.window import whole_maps

_SINGLE = frozenset({"float32"})
_WHOLE = frozenset({"int32", "int64", "uint32", "uint64"})
_NARROW = frozenset({"int8", "uint8", "int16", "uint16"})
_FLOATS = _SINGLE | {"float64"}

TYPES: dict[str, frozenset[str]] = {
    "sum": _FLOATS | _WHOLE,
    "mean": _FLOATS,
    "prod": _FLOATS | _WHOLE,
    "max": _FLOATS | _WHOLE | _NARROW,
    "min": _FLOATS | _WHOLE | _NARROW,
}
"""What kernels combine: a whole number's mean is rounded as TVM's loops do it."""


def _reduce(kind: str, types: frozenset[str]) -> Rule:
    def plan(planner: Planner, node: Node) -> bool:
        x = node.args[0]
        if x.dtype not in types or x.dtype != node.output.dtype or x.size == 0:
            return False
        whole = {"mean": "mean", "max": "largest"}.get(kind) if x.dtype in _SINGLE else None
        if whole is not None and whole_maps(planner, node, whole):
            return True
        rank = len(x.shape)
        given = node.attrs["axis"]
        axes = set(range(rank)) if given is None else {a % rank for a in given}
        view = planner.place(x)
        kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
        strides = ordered_like(kept, view.strides)
        target = planner.fresh(kept, x.dtype, strides)
        shown = target.reshaped(node.output.shape)
        if shown is None:
            return False
        planner.set(node.output, shown)
        spec = _described(view, target, axes, kind)
        machine = planner.machine
        planner.step(
            ("reduce", spec), lambda name: reduction.kernel(name, spec, machine), [view, target],
            "reduce", kind, shapes_of(x, node.output), x.size, (x.dtype, x.dtype),
        )  # fmt: skip
        return True

    return plan


def _described(x: View, y: View, axes: set[int], kind: str) -> reduction.Reduction:
    """The loops, neighbours merged where the tensors allow it."""
    rank = range(len(x.shape))
    kept = [d for d in rank if d not in axes]
    sizes, (outs, ins) = elementwise.collapse(
        [x.shape[d] for d in kept], [[y.strides[d] for d in kept], [x.strides[d] for d in kept]]
    )
    inner = [d for d in rank if d in axes]
    counts, (steps,) = elementwise.collapse(
        [x.shape[d] for d in inner], [[x.strides[d] for d in inner]]
    )
    return reduction.Reduction(
        tuple(zip(sizes, ins, outs, strict=True)), tuple(zip(counts, steps, strict=True)), kind,
        str(x.buffer.dtype),
    )  # fmt: skip


RULES: dict[str, Rule] = {kind: _reduce(kind, types) for kind, types in TYPES.items()}
