# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""What ends a detector, in Relax: the boxes of which none overlaps a better one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitc_targets.operators.own import own_call
from splitc_targets.operators.recurrent import sizes


def kept_boxes(builder: Any, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """NonMaxSuppression's places [rows, 3], as many as there can be; those beyond are -1."""
    boxes, scores, *limits = inputs
    most, overlap, least = (_number(each) for each in (*limits, *[None] * (3 - len(limits))))
    batch, classes, count = sizes(scores)
    kept = min(max(int(most or 0), 0), count)
    described = {
        "most": kept, "overlap": float(overlap or 0.0), "least": least,
        "centred": bool(attrs.get("center_point_box", 0)),
    }  # fmt: skip
    kinds = [((batch * classes * kept, 3), "int64"), ((1,), "int64")]
    made = builder.emit(own_call("kept_boxes", [boxes, scores], described, kinds))
    return builder.emit(made[0])


def _number(tensor: Any) -> float | None:
    return None if tensor is None else float(tensor.value.numpy().reshape(()))
