# SPDX-License-Identifier: Apache-2.0
"""Sorted values, their places, and the first few of either."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import View, packed
from splitc_targets.kernels import sorting
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of

_WRITTEN: dict[str, tuple[sorting.What, ...]] = {
    "both": ("values", "places"), "values": ("values",), "sort": ("values",),
    "indices": ("places",), "argsort": ("places",),
}  # fmt: skip
"""What an operation gives, by its name or, of top-k, by what it is asked for."""


def _sort(planner: Planner, node: Node) -> bool:
    """Rows along the axis, wherever their elements lie."""
    x, y = node.args[0], node.outputs[0]
    rank = len(x.shape)
    if rank == 0 or x.dtype not in sorting.KEYS:
        return False
    axis = int(node.attrs["axis"]) % rank
    descending = node.attrs["largest" if node.op == "topk" else "descending"]
    what = _WRITTEN[node.attrs["ret_type"] if node.op == "topk" else node.op]
    targets = [planner.result(value, packed(value.shape)) for value in node.outputs]
    if y.size == 0:
        return True
    source = planner.place(x)
    others = [d for d in range(rank) if d != axis]

    def result(kind: sorting.What, view: View) -> sorting.Result:
        rows = tuple(view.strides[d] for d in others)
        return sorting.Result(kind, view.buffer.dtype, view.strides[axis], rows)

    spec = sorting.Sort(
        source.buffer.dtype, x.shape[axis], source.strides[axis],
        tuple((x.shape[d], source.strides[d]) for d in others), y.shape[axis], bool(descending),
        tuple(result(kind, view) for kind, view in zip(what, targets, strict=True)),
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("sort", spec), lambda name: sorting.kernel(name, spec, machine), [source, *targets],
        "sort", node.op, shapes_of(x, y), x.size * (1 + spec.rounds),
        spec.types,
    )  # fmt: skip
    return True


RULES: dict[str, Rule] = dict.fromkeys(("topk", "sort", "argsort"), _sort)
