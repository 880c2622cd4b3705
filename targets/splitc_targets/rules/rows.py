# SPDX-License-Identifier: Apache-2.0
"""Operations on rows: softmax and normalisations."""

from __future__ import annotations

import math
from typing import Any

from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, channels_last, ordered_like, packed
from splitc_targets.kernels import rows
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _matrix(planner: Planner, value: Value, axis: int) -> View | None:
    """A value as rows along a dimension whose elements lie side by side."""
    view = planner.place(value)
    order = [d for d in range(len(view.shape)) if d != axis] + [axis]
    turned = view.permuted(tuple(order))
    columns = view.shape[axis]
    flat = turned.reshaped((value.size // columns, columns))
    return flat if flat is not None and (columns == 1 or flat.strides[1] == 1) else None


def _line(view: View) -> int:
    """The distance between a matrix's rows; for a single one, what it would be without gaps."""
    return view.strides[0] if view.shape[0] > 1 else view.shape[1]


def _softmax(log: bool) -> Rule:
    def plan(planner: Planner, node: Node) -> bool:
        x = node.args[0]
        rank = len(x.shape)
        axis = node.attrs["axis"] % rank
        if x.dtype != "float32" or x.size == 0:
            return False
        source = _matrix(planner, x, axis)
        if source is None:
            order = [d for d in range(rank) if d != axis] + [axis]
            inner = packed(tuple(x.shape[d] for d in order))
            strides = tuple(inner[order.index(d)] for d in range(rank))
            planner.set(x, planner.laid(x, strides))
            source = _matrix(planner, x, axis)
        planner.result(node.output, ordered_like(x.shape, planner.place(x).strides))
        result = _matrix(planner, node.output, axis)
        if source is None or result is None:
            return False
        count, columns = source.shape
        guarded = bool(node.attrs.get("guarded"))
        spec = rows.Softmax(count, columns, _line(source), _line(result), log, guarded)
        machine = planner.machine
        planner.step(
            ("softmax", spec), lambda name: rows.softmax(name, spec, machine), [source, result],
            "softmax", node.op.removeprefix("nn."), shapes_of(x, node.output), 5 * x.size,
        )  # fmt: skip
        return True

    return plan


def _layer_norm(planner: Planner, node: Node) -> bool:
    """Layer normalisation over the last dimensions."""
    x, scale, shift = node.args[:3]
    rank = len(x.shape)
    axes = sorted(a % rank for a in node.attrs["axes"])
    if x.dtype != "float32" or axes != list(range(rank - len(axes), rank)):
        return False
    columns = math.prod(x.shape[axes[0] :])
    source = planner.dense(x).reshaped((x.size // columns, columns))
    target = planner.result(node.output, packed(x.shape)).reshaped((x.size // columns, columns))
    if source is None or target is None:
        return False
    attrs: Any = node.attrs
    spec = rows.Norm(
        x.size // columns, columns, columns, columns, float(attrs["epsilon"]),
        True, bool(attrs["scale"]), bool(attrs["center"]),
    )  # fmt: skip
    given = [v for v, used in ((scale, attrs["scale"]), (shift, attrs["center"])) if used]
    vectors = [planner.dense(v).reshaped((columns,)) for v in given]
    if any(vector is None for vector in vectors):
        return False
    machine = planner.machine
    planner.step(
        ("norm", spec), lambda name: rows.norm(name, spec, machine),
        [source, *(v for v in vectors if v is not None), target],
        "norm", "layer_norm", shapes_of(x, node.output), 8 * x.size,
    )  # fmt: skip
    return True


def _lrn(planner: Planner, node: Node) -> bool:
    """Local response normalisation across channels."""
    x, attrs = node.args[0], node.attrs
    view = planner.channels_inner(x)
    target = planner.result(node.output, channels_last(x.shape))
    source, result = _pixels(view), _pixels(target)
    if source is None:
        source = _pixels(planner.laid(x, channels_last(x.shape)))
    if result is None:
        target = planner.fresh(x.shape, x.dtype, channels_last(x.shape))
        planner.set(node.output, target)
        result = _pixels(target)
    if source is None or result is None:
        return False
    c = x.shape[1]
    spec = rows.Lrn(
        source.shape[0], c, _line(source), _line(result),
        attrs["window"], attrs["alpha"], attrs["beta"], attrs["bias"],
    )  # fmt: skip
    machine = planner.machine
    planner.step(
        ("lrn", spec), lambda name: rows.lrn(name, spec, machine), [source, result],
        "lrn", "lrn", shapes_of(x, node.output), (attrs["window"] + 5) * x.size,
    )  # fmt: skip
    return True


def _pixels(view: View) -> View | None:
    """A channels-last view as [pixels, channels]."""
    order = (0, *range(2, len(view.shape)), 1)
    n = math.prod(view.shape)
    return view.permuted(order).reshaped((n // view.shape[1], view.shape[1]))


RULES: dict[str, Rule] = {
    "nn.softmax": _softmax(log=False),
    "nn.log_softmax": _softmax(log=True),
    "nn.layer_norm": _layer_norm,
    "lrn": _lrn,
}
