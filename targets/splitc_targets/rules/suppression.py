# SPDX-License-Identifier: Apache-2.0
"""Boxes of which none overlaps a better one."""

from __future__ import annotations

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import packed
from splitc_targets.kernels import suppression
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def _kept_boxes(planner: Planner, node: Node) -> bool:
    """(boxes [batch, boxes, 4], scores [batch, classes, boxes]) -> places [rows, 3], total."""
    boxes, scores = node.args
    if boxes.dtype != "float32" or scores.dtype != "float32" or 0 in (boxes.size, scores.size):
        return False
    batch, classes, count = scores.shape
    attrs, machine = node.attrs, planner.machine
    spec = suppression.Suppression(
        batch, classes, count, attrs["most"], attrs["overlap"], attrs["least"], attrs["centred"]
    )
    if spec.most == 0:
        return False
    kept = planner.fresh((spec.rows * spec.most,), "int32", (1,))
    counts = planner.fresh((spec.rows,), "int32", (1,))
    targets = [planner.result(value, packed(value.shape)) for value in node.outputs]
    planner.step(
        ("kept boxes", spec), lambda name: suppression.kernel(name, spec, machine),
        [planner.dense(boxes), planner.dense(scores), kept, counts], "sort", "kept_boxes",
        shapes_of(boxes, scores, node.outputs[0]), scores.size,
        ("float32", "float32", "int32", "int32"),
    )  # fmt: skip
    planner.step(
        ("kept boxes listed", spec), lambda name: suppression.listing(name, spec),
        [kept, counts, *targets], "sort", "kept_boxes listed", shapes_of(scores, node.outputs[0]),
        3 * spec.rows * spec.most, ("int32", "int32", "int64", "int64"),
    )  # fmt: skip
    return True


RULES: dict[str, Rule] = {"kept_boxes": _kept_boxes}
